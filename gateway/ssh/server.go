// Package ssh is the gateway's SSH side: people come in with stock clients, targets are stock
// sshd, and in between stands package gateway, which decides.
//
// One port takes both spellings of a target. A connection that begins with TLS carries SSH and
// names its target by the TLS server name (ssh root@web1.brevet with a ProxyCommand); one that
// begins with SSH names it in the user name (ssh root%web1@gateway).
//
// The files follow a connection: server.go and door.go let it in, login.go finds out who it is,
// dialog.go asks what for, target.go connects to the target, person.go serves what the person
// opens, session.go carries one session's bytes, refuse.go says no to everything else.
package ssh

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/gateway"
)

// Protocol is the ALPN name by which a TLS connection says that it carries SSH.
const Protocol = "brevet-ssh"

// Suffix ends the names that people type for targets: web1.brevet.
const Suffix = ".brevet"

// Server takes SSH connections for a Gateway. Fill in the fields, then Serve.
type Server struct {
	Gateway *gateway.Gateway
	HostKey gossh.Signer // shown to clients, and certified for typed names
	// TLS holds the gateway's own certificate. Without it only the spelling login%target works.
	TLS *tls.Config
	// MaxStrangers bounds the connections that have not proven a key yet; zero means 256.
	MaxStrangers int

	buffers buffers
	certs   hostCertificates
	waiting tally // logins that wait for an answer
	inside  tally // connections that are logged in

	mu    sync.Mutex // guards peers
	peers map[*peer]struct{}
	busy  sync.WaitGroup
}

const (
	maxStrangers    = 256
	handshakeWithin = 20 * time.Second // to prove a key
	speakWithin     = time.Second      // for the first byte; a client that waits for ours speaks SSH
	drainWithin     = 3 * time.Second  // for goodbyes, when the server ends
	cutWithin       = 3 * time.Second  // for what is cut then
)

// Serve takes connections from l until ctx ends. Then it closes those that are logging in, and waits a
// few seconds for the others, whose sessions the Gateway ends meanwhile.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	door := &door{max: s.MaxStrangers}
	if door.max == 0 {
		door.max = maxStrangers
	}
	s.busy.Go(func() { s.keepAlive(ctx) })
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	err := s.accept(ctx, l, door)
	s.drain()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (s *Server) accept(ctx context.Context, l net.Listener, door *door) error {
	pause := time.Duration(0)
	for {
		c, err := l.Accept()
		if err == nil {
			pause = 0
			// Here, since who came first is not known once they run beside each other.
			leave := door.enter(addressOf(c.RemoteAddr()), func() { c.Close() })
			s.busy.Go(func() { s.serve(ctx, c, leave) })
			continue
		}
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return err
		}
		// Most likely no file descriptor is free: wait for one, never give up.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.log().ErrorContext(ctx, "cannot accept a connection", "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// drain waits for the goodbyes of sessions that the gateway ends, then cuts what is left. It does not wait for
// ever for that: whoever stops a process wants it to end.
func (s *Server) drain() {
	done := make(chan struct{})
	go func() { s.busy.Wait(); close(done) }()
	if within(done, drainWithin) {
		return
	}
	s.cut()
	if !within(done, cutWithin) {
		s.log().Error("connections were cut and do not end, which is a fault in Brevet: report it", "connections", s.cut())
	}
}

// cut closes all connections and returns how many there are.
func (s *Server) cut() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.peers {
		p.socket.Close()
	}
	return len(s.peers)
}

// serve carries one connection from its first byte to its last. Once it is logged in it outlives ctx
// for as long as drain lets it, so that its sessions can say goodbye. leave lets go of its place among
// strangers.
func (s *Server) serve(serving context.Context, c net.Conn, leave func()) {
	defer leave()
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(serving))
	defer cancel(nil)
	socket := newSocket(c, &s.buffers, cancel)
	defer socket.Close()
	source := addressOf(c.RemoteAddr())
	keepTCPAlive(c)

	l := &login{server: s, ctx: ctx, source: source, leave: leave, out: func() {}, admitted: func() {}}
	l.deadline = time.AfterFunc(handshakeWithin, func() { socket.Close() })
	defer l.deadline.Stop()
	ends, goes := context.AfterFunc(serving, l.hurry), context.AfterFunc(ctx, l.hurry)
	defer ends()
	defer goes()
	defer func() { l.out() }()
	p := &peer{socket: socket}
	s.add(p)
	defer s.remove(p)
	if in := s.letIn(ctx, l, p, func() bool { return ends() && goes() }); in.person != nil {
		in.person.cancel = cancel
		in.person.serve(in.channels, in.requests)
	}
}

// entered is who has come in, and what the client opens and asks.
type entered struct {
	person   *person
	channels <-chan gossh.NewChannel
	requests <-chan *gossh.Request
}

// letIn shakes hands and logs somebody in, unless inTime says that this took too long. Nobody came in
// if it returns no person.
//
// It is apart from serve since that waits for as long as the connection lasts: what a function needs
// before it waits stays on its stack meanwhile, for each of many connections. So it is with reach.
func (s *Server) letIn(ctx context.Context, l *login, p *peer, inTime func() bool) (in entered) {
	transport, err := s.greet(ctx, p.socket, l)
	if err != nil {
		s.log().DebugContext(ctx, "connection refused", "source", l.source, "error", cause(err))
		return in
	}
	config, err := s.config(ctx, l)
	if err != nil {
		s.log().WarnContext(ctx, "no host certificate", "name", shown(l.typed, maxShown), "error", cause(err))
		return in
	}
	ahead := &ahead{Conn: transport}
	l.admitted = func() { ahead.loggedIn.Store(true) }
	wire := newPackets(ahead, &s.buffers, false)
	conn, channels, requests, err := gossh.NewServerConn(wire, config)
	if !inTime() || err != nil {
		if err == nil {
			err = errors.New("the login took too long, or the gateway was stopped meanwhile")
			hangUp(p.socket, channels, requests)
		}
		s.log().InfoContext(ctx, "not logged in", "source", l.source, "user", shown(l.user, maxShown), "error", cause(err))
		return in
	}
	l.deadline.Stop()
	p.socket.bulk.Store(true)
	wire.joining.Store(true)
	p.alive(conn)
	who := &person{server: s, ctx: ctx, conn: conn, socket: p.socket, source: l.source, again: l.again()}
	if !who.welcome(conn.Permissions) {
		hangUp(p.socket, channels, requests)
		return in
	}
	return entered{who, channels, requests}
}

// hangUp closes a connection that nobody serves. What has come before is taken: Close of x/crypto's own
// connection waits for that for ever, which is why it is called nowhere.
func hangUp(socket net.Conn, channels <-chan gossh.NewChannel, requests <-chan *gossh.Request) {
	socket.Close()
	refuseAll(channels, requests)
}

// greet reads the first byte and, if it is that of TLS, shakes hands and learns the typed name.
func (s *Server) greet(ctx context.Context, socket *socket, l *login) (net.Conn, error) {
	const tlsHandshake = 0x16
	if err := socket.SetReadDeadline(time.Now().Add(speakWithin)); err != nil {
		return nil, err
	}
	first, err := socket.Peek()
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		err = nil // it waits for our greeting
	}
	if err != nil {
		return nil, err
	}
	if err := socket.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	if first != tlsHandshake {
		return socket, nil
	}
	if s.TLS == nil {
		return nil, errors.New("TLS is not served here")
	}
	config := s.TLS.Clone()
	config.NextProtos = []string{Protocol}
	config.MinVersion = tls.VersionTLS13
	conn := tls.Server(socket, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	state := conn.ConnectionState()
	if state.NegotiatedProtocol != Protocol {
		return nil, errors.New("the TLS client does not speak " + Protocol)
	}
	l.typed = strings.ToLower(state.ServerName)
	target, ok := strings.CutSuffix(l.typed, Suffix)
	if !ok {
		return nil, brevet.Errorf(brevet.Invalid, "the server name %s does not end in %s", brevet.Quote(l.typed), Suffix)
	}
	l.target = brevet.TargetID(target)
	return conn, brevet.CheckName("target", target)
}

func keepTCPAlive(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 3})
	}
}

// addressOf returns the IP address of a peer, or the zero Addr, which no range contains.
func addressOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

func (s *Server) log() *slog.Logger { return s.Gateway.Log }

// crypto is what both legs speak. AES-GCM alone: it is the fastest here, stock OpenSSH has had it
// for a decade, and without ChaCha20-Poly1305 and the ETM MACs there is nothing for the prefix
// truncation of CVE-2023-48795 (Terrapin) to work on, strict key exchange or not. See also packets.
func crypto() gossh.Config {
	return gossh.Config{
		Ciphers: []string{gossh.CipherAES128GCM, gossh.CipherAES256GCM},
		KeyExchanges: []string{
			gossh.KeyExchangeMLKEM768X25519, gossh.KeyExchangeCurve25519,
			gossh.KeyExchangeECDHP256, gossh.KeyExchangeECDHP384, gossh.KeyExchangeECDHP521,
		},
	}
}

// config is made for each connection, since the callbacks belong to its login.
func (s *Server) config(ctx context.Context, l *login) (*gossh.ServerConfig, error) {
	config := &gossh.ServerConfig{
		Config:        crypto(),
		ServerVersion: "SSH-2.0-Brevet",
		MaxAuthTries:  6,
		PublicKeyAuthAlgorithms: []string{
			gossh.KeyAlgoED25519, gossh.KeyAlgoSKED25519, gossh.KeyAlgoSKECDSA256,
			gossh.KeyAlgoECDSA256, gossh.KeyAlgoECDSA384, gossh.KeyAlgoECDSA521,
			gossh.KeyAlgoRSASHA256, gossh.KeyAlgoRSASHA512,
		},
		PreAuthConnCallback:         func(c gossh.ServerPreAuthConn) { l.pre = c },
		PublicKeyCallback:           l.offered,
		VerifiedPublicKeyCallback:   l.verified,
		KeyboardInteractiveCallback: l.explain,
	}
	if l.typed == "" {
		config.AddHostKey(s.HostKey)
		return config, nil
	}
	certified, err := s.certs.signer(ctx, s, l.typed)
	if err != nil {
		return nil, err
	}
	config.AddHostKey(certified)
	return config, nil
}
