package ssh_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/gateway"
	sshgateway "github.com/brevet-pim/brevet/gateway/ssh"
	"github.com/brevet-pim/brevet/test/gatewaytest"
)

// pretender shows one key and signs with another.
type pretender struct {
	gossh.Signer
	shows gossh.PublicKey
}

func (p pretender) PublicKey() gossh.PublicKey { return p.shows }

// Who is there is whoever proved a key, never whose key was only shown (Q1).
func TestOfferedKeyIsNobody(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	_, alice := gatewaytest.NewKey()
	w.Plane.Enrol("alice", alice.PublicKey())
	w.Plane.Grant("alice", "web-root", time.Hour)
	w.Plane.Grant("bob", "web-root", time.Hour)
	shown := pretender{w.Bob, alice.PublicKey()}
	if c, err := logIn(w, func(c *gossh.ClientConfig) { c.Auth = []gossh.AuthMethod{gossh.PublicKeys(shown)} }); err == nil {
		c.Close()
		t.Fatal("a key that was only shown logs in")
	}
	socket := w.Client.Dir + "/reluctant.sock"
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(reluctant{agent.NewKeyring(), alice.PublicKey()}, c)
		}
	}()
	if err := w.Client.UseAgent(socket); err != nil {
		t.Fatal(err)
	}
	got := ssh(t, w, nil, "-v", "gw", "true") // offers alice's key, then proves bob's
	if got.status != 0 || !strings.Contains(got.stderr, "Server accepts key: "+gossh.FingerprintSHA256(alice.PublicKey())) &&
		!strings.Contains(got.stderr, gossh.FingerprintSHA256(alice.PublicKey())+" agent") {
		t.Errorf("got %+v", got)
	}
	if s := ended(t, w, 1); s.Person != "bob" {
		t.Errorf("the session is %s's", s.Person)
	}
}

// reluctant is an agent that has a key and does not sign.
type reluctant struct {
	agent.Agent
	key gossh.PublicKey
}

func (r reluctant) List() ([]*agent.Key, error) {
	return []*agent.Key{{Format: r.key.Type(), Blob: r.key.Marshal(), Comment: "victim"}}, nil
}

func (r reluctant) Sign(gossh.PublicKey, []byte) (*gossh.Signature, error) {
	return nil, errors.New("no")
}

func execute(c *gossh.Client, command string) error {
	s, err := c.NewSession()
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Run(command)
}

// A user certificate is no enrolled key, whoever signed it (Q2, Q4).
func TestUserCertificateLogsNobodyIn(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	for name, authority := range map[string]gossh.Signer{"of the authority": w.Plane.UserCA, "of the key itself": w.Bob} {
		cert := &gossh.Certificate{
			Key: w.Bob.PublicKey(), CertType: gossh.UserCert, ValidPrincipals: []string{"web1/" + w.Login},
			ValidBefore: gossh.CertTimeInfinity, Permissions: gossh.Permissions{CriticalOptions: map[string]string{"unknown@critical": ""}},
		}
		if err := cert.SignCert(rand.Reader, authority); err != nil {
			t.Fatal(err)
		}
		signer, err := gossh.NewCertSigner(cert, w.Bob)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := logIn(w, func(c *gossh.ClientConfig) { c.Auth = []gossh.AuthMethod{gossh.PublicKeys(signer)} }); err == nil {
			c.Close()
			t.Errorf("a certificate %s logs in", name)
		}
	}
}

// What the prefix truncation of CVE-2023-48795 works on is not there (Q5).
func TestOnlyAuthenticatedCiphers(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	for _, options := range [][]string{
		{"-o", "Ciphers=chacha20-poly1305@openssh.com"},
		{"-o", "Ciphers=aes128-ctr", "-o", "MACs=hmac-sha2-256-etm@openssh.com"},
	} {
		got := ssh(t, w, nil, append(options, "gw", "true")...)
		if got.status != 255 || !strings.Contains(got.stderr, "no matching cipher") {
			t.Errorf("%v: got %+v", options, got)
		}
	}
}

// Whoever sends rubbish is closed, and the gateway lives on (Q6).
func TestRubbish(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	ident := "SSH-2.0-rubbish\r\n"
	for name, sent := range map[string]string{
		"no SSH":               "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"no line end":          "SSH-2.0-" + strings.Repeat("x", 300),
		"a long first line":    strings.Repeat("A", 1<<20),
		"many lines before":    strings.Repeat("hello\r\n", 5000),
		"SSH 1":                "SSH-1.5-old\r\n",
		"a giant packet":       ident + "\xff\xff\xff\xff" + strings.Repeat("x", 1<<16),
		"an oversize packet":   ident + "\x00\x04\x00\x01\x04" + strings.Repeat("x", 1<<18),
		"an empty packet":      ident + "\x00\x00\x00\x00\x00\x00\x00\x00",
		"padding only":         ident + "\x00\x00\x00\x0c\x0b" + strings.Repeat("\x00", 11),
		"auth before keys":     ident + packet("\x32\x00\x00\x00\x04root\x00\x00\x00\x0essh-connection\x00\x00\x00\x04none"),
		"channel before keys":  ident + packet("\x5a\x00\x00\x00\x07session\x00\x00\x00\x00\x00\x20\x00\x00\x00\x00\x80\x00"),
		"a TLS header":         "\x16\x03\x01\xff\xff" + strings.Repeat("x", 1<<16),
		"a TLS hello, garbled": "\x16\x03\x01\x00\x05\x01\xff\xff\xff\xff",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", w.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(30 * time.Second))
			io.WriteString(c, sent) // it may be closed before all is written
			c.(*net.TCPConn).CloseWrite()
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("it is not closed")
			}
		})
	}
	w.Plane.Grant("bob", "web-root", time.Hour)
	if got := ssh(t, w, nil, "gw", "true"); got.status != 0 {
		t.Errorf("afterwards: %+v", got)
	}
}

// packet frames a payload as SSH does before keys are exchanged.
func packet(payload string) string {
	padding := 8 - (5+len(payload))%8 + 8
	length := 1 + len(payload) + padding
	return string([]byte{0, 0, byte(length >> 8), byte(length), byte(padding)}) + payload + strings.Repeat("\x00", padding)
}

// A crowd of stalled clients pushes out itself, not the one who can prove a key (Q6).
func TestStalledStrangers(t *testing.T) {
	const strangers, most = 1000, 50
	w := gatewaytest.Start(t, gatewaytest.Options{Server: func(s *sshgateway.Server) { s.MaxStrangers = most }})
	w.Plane.Grant("bob", "web-root", time.Hour)
	closed := make(chan struct{}, strangers)
	for i := range strangers {
		c, err := net.Dial("tcp", w.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%2 == 0 {
			io.WriteString(c, "SSH-2.0-stalled\r\n")
		}
		go func() {
			io.Copy(io.Discard, c)
			closed <- struct{}{}
		}()
	}
	if got := ssh(t, w, nil, "gw", "echo in"); got.status != 0 || got.stdout != "in\n" {
		t.Errorf("among stalled clients: %+v", got)
	}
	for range strangers - most { // all but those that there is room for are cut
		select {
		case <-closed:
		case <-limited(t).Done():
			t.Fatal("more strangers than there is room for are still there")
		}
	}
}

// Keys that take long to check hold up nobody else (Q6).
func TestGiantKeys(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	n := new(big.Int).Lsh(big.NewInt(1), 32767)
	giant, err := gossh.NewPublicKey(&rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 1<<31 - 1})
	if err != nil {
		t.Fatal(err)
	}
	var crowd sync.WaitGroup
	for range 50 {
		crowd.Go(func() {
			c, err := logIn(w, func(c *gossh.ClientConfig) { c.Auth = []gossh.AuthMethod{gossh.PublicKeys(pretender{w.Bob, giant})} })
			if err == nil {
				c.Close()
				t.Error("a giant key logs in")
			}
		})
	}
	if got := ssh(t, w, nil, "gw", "echo in"); got.stdout != "in\n" {
		t.Errorf("among giant keys: %+v", got)
	}
	crowd.Wait()
}

// One person's flood ends that person's connection, and nothing else (Q7).
func TestFloodHurtsItself(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	other := connect(t, w)
	floods := map[string]func(*gossh.Client) error{
		"channels": func(c *gossh.Client) error {
			_, _, err := c.OpenChannel("direct-tcpip", []byte("rubbish"))
			if _, rejected := errors.AsType[*gossh.OpenChannelError](err); rejected {
				return nil
			}
			return err
		},
		"requests": func(c *gossh.Client) error {
			_, _, err := c.SendRequest("tcpip-forward", true, nil)
			return err
		},
	}
	for name, flood := range floods {
		t.Run(name, func(t *testing.T) {
			c := connect(t, w)
			for i := 0; ; i++ {
				if i > 10000 {
					t.Fatal("the connection lives on")
				}
				if flood(c) != nil {
					break
				}
			}
			if err := execute(other, "true"); err != nil {
				t.Errorf("another connection: %v", err)
			}
		})
	}
}

func TestSessionsOfOneConnectionAreBounded(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	c := connect(t, w)
	for i := range 11 {
		_, err := c.NewSession()
		if (err != nil) != (i >= 10) {
			t.Errorf("session %d: %v", i+1, err)
		}
	}
}

// deaf is a connection that can stop reading, as a client that hangs does.
type deaf struct {
	net.Conn
	once sync.Once
	stop chan struct{} // closed: from now on nothing is read
	gone chan struct{} // closed with the connection
}

func (d *deaf) Read(p []byte) (int, error) {
	select {
	case <-d.stop:
		<-d.gone
		return 0, net.ErrClosed
	default:
		return d.Conn.Read(p)
	}
}

func (d *deaf) Close() error {
	d.once.Do(func() { close(d.gone) })
	return d.Conn.Close()
}

// A client that takes nothing more holds back neither a revocation nor the gateway.
func TestClientThatNeverReads(t *testing.T) {
	for _, level := range []string{"channel", "connection"} {
		t.Run(level, func(t *testing.T) {
			w := gatewaytest.Start(t, gatewaytest.Options{})
			id := w.Plane.Grant("bob", "web-root", time.Hour)
			raw, err := net.Dial("tcp", w.Addr)
			if err != nil {
				t.Fatal(err)
			}
			d := &deaf{Conn: raw, stop: make(chan struct{}), gone: make(chan struct{})}
			defer d.Close()
			conn, channels, requests, err := gossh.NewClientConn(d, w.Addr, &gossh.ClientConfig{
				User: w.Login + "%web1", Auth: []gossh.AuthMethod{gossh.PublicKeys(w.Bob)},
				HostKeyCallback: gossh.FixedHostKey(w.Server.HostKey.PublicKey()),
			})
			if err != nil {
				t.Fatal(err)
			}
			c := gossh.NewClient(conn, channels, requests)
			s, err := c.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			out, err := s.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Start("cat /dev/zero"); err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, out, 8<<20); err != nil {
				t.Fatal(err)
			}
			if level == "connection" {
				close(d.stop)
			}
			closed := w.Gateway.EndGrant(limited(t), id, "alice ended this grant")
			if !closed.All || len(closed.Sessions) != 1 {
				t.Errorf("confirmed %+v", closed)
			}
			if s := ended(t, w, 1); s.EndReason != "alice ended this grant" || !s.Recording.Complete {
				t.Errorf("the end was reported as %+v", s)
			}
		})
	}
}

// hostileTarget is an SSH server that takes any certificate, and lets play have the connection.
func hostileTarget(t *testing.T, w *gatewaytest.World, play func(*gossh.ServerConn, <-chan gossh.NewChannel, <-chan *gossh.Request)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, hostKey := gatewaytest.NewKey()
	config := &gossh.ServerConfig{
		ServerVersion:     "SSH-2.0-OpenSSH_9.9", // else no command is run there that ends what is left
		PublicKeyCallback: func(gossh.ConnMetadata, gossh.PublicKey) (*gossh.Permissions, error) { return nil, nil },
	}
	config.AddHostKey(hostKey)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if conn, channels, requests, err := gossh.NewServerConn(c, config); err == nil {
					play(conn, channels, requests)
				}
			}()
		}
	}()
	target := w.Target
	target.Address, target.HostKeys = l.Addr().String(), []string{line(hostKey.PublicKey())}
	w.Plane.AddTarget(target)
	w.Plane.Grant("bob", "web-root", time.Hour)
}

// A target gets nothing opened at the person's end, and nothing that it sends ends more than itself.
func TestTargetOpensNothing(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	answers := make(chan string, 100)
	hostileTarget(t, w, func(conn *gossh.ServerConn, channels <-chan gossh.NewChannel, requests <-chan *gossh.Request) {
		go gossh.DiscardRequests(requests)
		for _, kind := range []string{"forwarded-tcpip", "x11", "auth-agent@openssh.com", "session", "direct-tcpip"} {
			_, _, err := conn.OpenChannel(kind, nil)
			if refused, ok := errors.AsType[*gossh.OpenChannelError](err); !ok || refused.Reason != gossh.Prohibited {
				answers <- kind + " was not refused"
			}
		}
		if ok, _, err := conn.SendRequest("tcpip-forward", true, nil); ok || err != nil {
			answers <- "a request was granted"
		}
		answers <- "done"
		for c := range channels {
			channel, requests, err := c.Accept()
			if err != nil {
				return
			}
			for r := range requests {
				r.Reply(true, nil)
				if r.Type == "exec" {
					channel.SendRequest("exit-status", false, []byte{1})          // too short
					channel.SendRequest("exit-signal", false, []byte("\xff\xff")) // no string
					channel.SendRequest("auth-agent-req@openssh.com", true, nil)
					io.WriteString(channel, "out")
					channel.SendRequest("exit-status", false, []byte{0, 0, 0, 9})
					channel.Close()
				}
			}
		}
	})
	got := ssh(t, w, nil, "gw", "true")
	if got.stdout != "out" || got.status != 9 {
		t.Errorf("got %+v", got)
	}
	for answer := range answers {
		if answer == "done" {
			break
		}
		t.Error(answer)
	}
}

func TestTargetsThatFail(t *testing.T) {
	accept := func(c gossh.NewChannel) (gossh.Channel, <-chan *gossh.Request) {
		channel, requests, err := c.Accept()
		if err != nil {
			return nil, nil
		}
		return channel, requests
	}
	tests := []struct {
		name   string
		play   func(*gossh.ServerConn, <-chan gossh.NewChannel, <-chan *gossh.Request)
		status int
		says   string
	}{
		{
			name: "it hangs up before a session", status: 255, says: "the connection to web1 was lost. Connect again.",
			play: func(c *gossh.ServerConn, channels <-chan gossh.NewChannel, _ <-chan *gossh.Request) {
				<-channels
				c.Close()
			},
		},
		{
			name: "it refuses sessions", status: 255, says: "web1 does not start a session",
			play: func(_ *gossh.ServerConn, channels <-chan gossh.NewChannel, _ <-chan *gossh.Request) {
				for c := range channels {
					c.Reject(gossh.ResourceShortage, "\x1b]0;owned\x07 no")
				}
			},
		},
		{
			name: "it refuses commands", status: 255, says: "web1 does not start a session",
			play: func(_ *gossh.ServerConn, channels <-chan gossh.NewChannel, _ <-chan *gossh.Request) {
				for c := range channels {
					_, requests := accept(c)
					for r := range requests {
						r.Reply(false, nil)
					}
				}
			},
		},
		{
			name: "it dies within a session", status: 255, says: "the connection to web1 was lost",
			play: func(conn *gossh.ServerConn, channels <-chan gossh.NewChannel, _ <-chan *gossh.Request) {
				_, requests := accept(<-channels)
				(<-requests).Reply(true, nil)
				conn.Close()
			},
		},
		{
			name: "it does not say how the command ended", status: 255, says: "the connection to web1 was lost",
			play: func(_ *gossh.ServerConn, channels <-chan gossh.NewChannel, _ <-chan *gossh.Request) {
				for c := range channels {
					channel, requests := accept(c)
					(<-requests).Reply(true, nil)
					channel.Close()
					gossh.DiscardRequests(requests)
				}
			},
		},
		{
			name: "it floods standard error", status: 4, says: strings.Repeat("e", 1<<20),
			play: func(_ *gossh.ServerConn, channels <-chan gossh.NewChannel, _ <-chan *gossh.Request) {
				for c := range channels {
					channel, requests := accept(c)
					(<-requests).Reply(true, nil)
					channel.Stderr().Write(bytes.Repeat([]byte("e"), 1<<20))
					channel.SendRequest("exit-status", false, []byte{0, 0, 0, 4})
					channel.Close()
					gossh.DiscardRequests(requests)
				}
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := gatewaytest.Start(t, gatewaytest.Options{})
			hostileTarget(t, w, tt.play)
			got := ssh(t, w, nil, "gw", "true")
			if got.status != tt.status || !strings.Contains(got.stderr, tt.says) || strings.Contains(got.stderr, "\x1b") {
				t.Errorf("status %d, %d bytes: %.300q", got.status, len(got.stderr), got.stderr)
			}
			if s := ended(t, w, 1); !s.Recording.Complete {
				t.Errorf("the end was reported as %+v", s)
			}
		})
	}
}

func TestTargetThatIsDown(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	w.SSHD.Stop()
	got := ssh(t, w, nil, "gw", "true")
	if got.status != 255 || !strings.Contains(got.stderr, "web1 does not answer at "+w.SSHD.Addr) {
		t.Errorf("got %+v", got)
	}
}

// An unrecorded role is said to be none, and is not recorded; a recorded one without a recorder cannot be used.
func TestRecordingIsAsTheRoleSays(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{Role: func(r *brevet.Role) { r.Recording = brevet.RecordingOff }})
	w.Plane.Grant("bob", "web-root", time.Hour)
	got := ssh(t, w, nil, "gw", "echo in")
	if got.stdout != "in\n" || strings.Contains(got.stderr, "recorded") {
		t.Errorf("got %+v", got)
	}
	if s := ended(t, w, 1); s.Recorded || s.Recording.Chunks != 0 {
		t.Errorf("reported %+v", s)
	}
	w = gatewaytest.Start(t, gatewaytest.Options{Gateway: func(g *gateway.Gateway) { g.Recorder = nil }})
	w.Plane.Grant("bob", "web-root", time.Hour)
	if got := ssh(t, w, nil, "gw", "echo in"); got.status != 255 || !strings.Contains(got.stderr, "must be recorded, and this gateway cannot record") {
		t.Errorf("got %+v", got)
	}
}

// Signals and breaks reach the command, and how it was killed reaches the client.
func TestSignals(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	heard := make(chan string, 10)
	hostileTarget(t, w, func(_ *gossh.ServerConn, channels <-chan gossh.NewChannel, _ <-chan *gossh.Request) {
		for c := range channels {
			channel, requests, err := c.Accept()
			if err != nil {
				return
			}
			for r := range requests {
				heard <- r.Type
				r.Reply(true, nil)
				if r.Type == "signal" {
					signal := struct {
						Name        string
						Dumped      bool
						Text, Langs string
					}{"USR1", false, "", ""}
					channel.SendRequest("exit-signal", false, gossh.Marshal(signal))
					channel.Close()
				}
			}
		}
	})
	s, err := connect(t, w).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("wait"); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.SendRequest("break", true, []byte{0, 0, 0, 0}); !ok || err != nil {
		t.Errorf("break: %v, %v", ok, err)
	}
	if err := s.Signal(gossh.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	exit, ok := errors.AsType[*gossh.ExitError](s.Wait())
	if !ok || exit.Signal() != "USR1" {
		t.Errorf("the client hears %v", exit)
	}
	for _, want := range []string{"exec", "break", "signal"} {
		if got := <-heard; got != want {
			t.Errorf("the target hears %q, want %q", got, want)
		}
	}
	if s := ended(t, w, 1); s.EndReason != "signal USR1" {
		t.Errorf("reported %+v", s)
	}
}
