package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/gateway"
)

const (
	dialWithin    = 10 * time.Second
	connectWithin = 20 * time.Second // dial, key exchange and login
)

// dialing is a connection to a target that is being made, or was.
type dialing struct {
	done chan struct{} // closed when conn or err is set
	gone chan struct{} // closed when there is no connection any more, or there never was one
	conn gossh.Conn
	err  error // for the person
	sock *socket
	held hold // sock
}

// wait returns the connection to the target once it is there.
func (d *dialing) wait(ctx context.Context) (gossh.Conn, error) {
	select {
	case <-d.done:
		return d.conn, d.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// dial connects to the target of an admission while ctx lasts. All sessions of one person's
// connection share it.
func (s *Server) dial(ctx context.Context, a gateway.Admission, want gateway.Want) *dialing {
	d := &dialing{done: make(chan struct{}), gone: make(chan struct{})}
	s.busy.Go(func() {
		defer close(d.gone)
		if err := s.connect(ctx, &a, d); err != nil {
			s.notReached(ctx, &a, want, d, err)
		}
	})
	return d
}

// notReached lets whoever waits for the target know why it is not there.
func (s *Server) notReached(ctx context.Context, a *gateway.Admission, want gateway.Want, d *dialing, err error) {
	s.log().WarnContext(ctx, "cannot connect to the target", "target", a.Target.ID, "error", cause(err))
	d.err = s.explainDial(*a, want, err)
	close(d.done)
}

// connect logs in to the target and serves the connection until ctx or it ends. It closes d.done
// if it succeeds, and returns nil then.
func (s *Server) connect(ctx context.Context, a *gateway.Admission, d *dialing) error {
	config, err := s.clientConfig(a)
	if err != nil {
		return err
	}
	c, err := dialTCP(ctx, a.Target.Address)
	if err != nil {
		return dialError{err}
	}
	keepTCPAlive(c)
	sock := newSocket(c, &s.buffers, func(error) {})
	stop := context.AfterFunc(ctx, func() { d.held.end(func() { sock.Close() }) })
	defer stop()
	defer sock.Close()
	p := &peer{socket: sock}
	s.add(p)
	defer s.remove(p)
	channels, requests, err := s.reach(a.Target.Address, config, p, d)
	if err != nil {
		return err
	}
	close(d.done)
	refuseAll(channels, requests)
	return nil
}

// clientConfig is what the target must prove, and what is proven to it.
func (s *Server) clientConfig(a *gateway.Admission) (*gossh.ClientConfig, error) {
	keys, err := readHostKeys(a.Target)
	if err != nil {
		return nil, err
	}
	signer, err := gossh.NewCertSigner(a.Certificate, s.Gateway.Holder)
	if err != nil {
		return nil, err
	}
	return &gossh.ClientConfig{
		Config:            crypto(),
		User:              a.Login,
		Auth:              []gossh.AuthMethod{gossh.PublicKeys(signer)},
		ClientVersion:     "SSH-2.0-Brevet",
		HostKeyAlgorithms: keys.algorithms(),
		HostKeyCallback:   keys.check,
	}, nil
}

func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialWithin}
	return dialer.DialContext(ctx, "tcp", address)
}

// reach logs in to the target at the other end of p's socket, and hands the connection to d.
func (s *Server) reach(address string, config *gossh.ClientConfig, p *peer, d *dialing) (<-chan gossh.NewChannel, <-chan *gossh.Request, error) {
	if err := p.socket.SetReadDeadline(time.Now().Add(connectWithin)); err != nil {
		return nil, nil, err
	}
	wire := newPackets(p.socket, &s.buffers, true)
	conn, channels, requests, err := gossh.NewClientConn(wire, address, config)
	if err != nil {
		return nil, nil, err
	}
	if err := p.socket.SetReadDeadline(time.Time{}); err != nil {
		hangUp(p.socket, channels, requests)
		return nil, nil, err
	}
	p.socket.bulk.Store(true)
	wire.joining.Store(true)
	p.alive(conn)
	d.conn, d.sock = conn, p.socket
	return channels, requests, nil
}

// refuseAll says no to whatever the peer opens and asks, until the connection ends. That is for targets, which may
// open nothing at the person's end, and for whoever is hung up on.
func refuseAll(channels <-chan gossh.NewChannel, requests <-chan *gossh.Request) {
	for channels != nil || requests != nil {
		select {
		case c, ok := <-channels:
			if !ok {
				channels = nil
				continue
			}
			_ = c.Reject(gossh.Prohibited, "nothing may be opened here")
		case r, ok := <-requests:
			if !ok {
				requests = nil
				continue
			}
			_ = r.Reply(false, nil)
		}
	}
}

type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// hostKeyError says that the target is not who it should be.
type hostKeyError struct{ shown string }

func (e hostKeyError) Error() string { return "unexpected host key " + e.shown }

// explainDial makes a sentence of what went wrong, and an event of a host key that is not the one.
func (s *Server) explainDial(a gateway.Admission, want gateway.Want, err error) error {
	name := a.Target.ID
	switch e := err.(type) {
	case dialError:
		return brevet.Errorf(brevet.Unavailable, "%s does not answer at %s", name, a.Target.Address).
			WithHint("is it up, and its address right? brevet doctor looks").Because(err)
	case *brevet.Error:
		return e
	}
	if wrong, ok := errors.AsType[hostKeyError](err); ok {
		why := brevet.Errorf(brevet.Refused, "%s shows the host key %s, which is not the one in the catalog, so nothing was sent to it", name, wrong.shown).
			WithHint("if its key was changed on purpose, the owner of %s puts the new one into the catalog", name).Because(err)
		s.Gateway.Refuse(gateway.Refusal{
			What: "host-key", Why: sentence(why), Person: a.Person, Grant: a.Grant, Target: name, Login: a.Login, Key: want.Key, Source: want.Source,
		})
		return why
	}
	if strings.Contains(err.Error(), "unable to authenticate") { // x/crypto has no type for it
		return brevet.Errorf(brevet.Unavailable, "%s does not accept the certificate for %s", name, gateway.Principal(name, a.Login)).
			WithHint("its sshd needs TrustedUserCAKeys with this organisation's key, and %s in the principals file of %s", gateway.Principal(name, a.Login), a.Login).Because(err)
	}
	return brevet.Errorf(brevet.Unavailable, "the connection to %s failed", name).
		WithHint("the gateway's log says why").Because(err)
}

// hostKeys is what proves that a target is the one in the catalog.
type hostKeys struct {
	target  brevet.Target
	pinned  []gossh.PublicKey
	signers []gossh.PublicKey // authorities of host certificates
}

func readHostKeys(t brevet.Target) (hostKeys, error) {
	k := hostKeys{target: t}
	for _, list := range []struct {
		from []string
		to   *[]gossh.PublicKey
	}{{t.HostKeys, &k.pinned}, {t.HostCAs, &k.signers}} {
		for _, line := range list.from {
			key, _, _, _, err := gossh.ParseAuthorizedKey([]byte(line))
			if err != nil {
				return hostKeys{}, brevet.Errorf(brevet.Invalid, "a host key of %s in the catalog cannot be read", t.ID).Because(err)
			}
			if _, ok := key.(*gossh.Certificate); ok { // a certificate is no authority (CVE-2025-49825)
				return hostKeys{}, brevet.Errorf(brevet.Invalid, "a host key of %s in the catalog is a certificate: write the key", t.ID)
			}
			*list.to = append(*list.to, key)
		}
	}
	if len(k.pinned)+len(k.signers) == 0 {
		return hostKeys{}, brevet.Errorf(brevet.Refused, "the catalog has no host key for %s, and nothing connects blindly", t.ID).
			WithHint("the owner of %s adds host_keys or host_cas to it", t.ID)
	}
	return k, nil
}

// algorithms are those that can lead to a key which check accepts; certificates come first.
func (k hostKeys) algorithms() []string {
	var list []string
	if len(k.signers) > 0 {
		list = []string{
			gossh.CertAlgoED25519v01, gossh.CertAlgoECDSA256v01, gossh.CertAlgoECDSA384v01, gossh.CertAlgoECDSA521v01,
			gossh.CertAlgoRSASHA512v01, gossh.CertAlgoRSASHA256v01,
		}
	}
	for _, key := range k.pinned {
		names := []string{key.Type()}
		if key.Type() == gossh.KeyAlgoRSA {
			names = []string{gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSASHA256}
		}
		for _, name := range names {
			if !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
	}
	return list
}

// check is called after the key exchange, in which the target has proven to hold key, and before
// anything is sent that tells who comes.
func (k hostKeys) check(address string, _ net.Addr, key gossh.PublicKey) error {
	if cert, ok := key.(*gossh.Certificate); ok {
		if err := k.checkCertificate(address, cert); err != nil {
			return fmt.Errorf("%w: %w", hostKeyError{gossh.FingerprintSHA256(cert.Key)}, err)
		}
		return nil
	}
	if !contains(k.pinned, key) {
		return hostKeyError{gossh.FingerprintSHA256(key)}
	}
	return nil
}

// checkCertificate accepts a certificate for the host of the address or for the target's name.
func (k hostKeys) checkCertificate(address string, cert *gossh.Certificate) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	checker := gossh.CertChecker{}
	if cert.CertType != gossh.HostCert || !contains(k.signers, cert.SignatureKey) {
		return errors.New("not a host certificate of an authority in the catalog")
	}
	if len(cert.ValidPrincipals) == 0 { // which x/crypto takes for any host
		return errors.New("the host certificate names no host")
	}
	if checker.CheckCert(host, cert) == nil {
		return nil
	}
	return checker.CheckCert(string(k.target.ID), cert)
}

func contains(keys []gossh.PublicKey, key gossh.PublicKey) bool {
	return slices.ContainsFunc(keys, func(k gossh.PublicKey) bool { return bytes.Equal(k.Marshal(), key.Marshal()) })
}
