package attack_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet/test/gatewaytest"
	"github.com/brevet-pim/brevet/test/testenv"
)

// stock runs a stock ssh to a gateway that stands in a world of its own.
func stock(t *testing.T, w *gatewaytest.World, args ...string) ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := w.Client.Command(ctx, append([]string{"-o", "BatchMode=yes"}, args...)...)
	var out, besides bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &besides
	r := ran{what: "ssh " + strings.Join(args, " ")}
	if err := cmd.Run(); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || ctx.Err() != nil {
			t.Fatalf("%s: %v", r.what, err)
		}
		r.status = exit.ExitCode()
	}
	r.out, r.err = out.String(), besides.String()
	return r
}

// logIn is a client of our own, with the key.
func logIn(w *gatewaytest.World, methods ...gossh.AuthMethod) error {
	c, err := gossh.Dial("tcp", w.Addr, &gossh.ClientConfig{
		User: w.Login + "%web1", Auth: methods, HostKeyCallback: gossh.FixedHostKey(w.Server.HostKey.PublicKey()),
	})
	if err != nil {
		return err
	}
	return c.Close()
}

// TestOnlyKeysLogIn (Q1, Q3): nothing but a key that is proven begins a login, so there is no second
// way in that could forget what binds the first.
func TestOnlyKeysLogIn(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	for _, method := range []string{"none", "password", "keyboard-interactive", "gssapi-with-mic", "hostbased"} {
		got := stock(t, w, "-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=1", "-o", "PreferredAuthentications="+method, "gw", "true")
		if got.status != 255 || len(w.Plane.Begun()) != 0 {
			t.Errorf("%s: %+v", method, got)
		}
	}
	questions := gossh.KeyboardInteractive(func(_, _ string, asked []string, _ []bool) ([]string, error) {
		return make([]string, len(asked)), nil
	})
	if err := logIn(w, gossh.Password("x"), questions); err == nil {
		t.Error("without a key it logs in")
	}
	if err := logIn(w, gossh.PublicKeys(w.Bob)); err != nil {
		t.Errorf("with the key: %v", err)
	}
}

// certified is a certificate for the signer's key. Its authority may be one that x/crypto refuses to
// sign with: another certificate.
func certified(t *testing.T, kind uint32, key, authority gossh.Signer, principals ...string) gossh.Signer {
	t.Helper()
	cert := &gossh.Certificate{
		Nonce: make([]byte, 32), Key: key.PublicKey(), CertType: kind, KeyId: "forged", ValidPrincipals: principals,
		ValidBefore: gossh.CertTimeInfinity, SignatureKey: authority.PublicKey(),
	}
	unsigned := cert.Marshal() // ends with the length of a signature, which is not there
	var err error
	cert.Signature, err = authority.Sign(rand.Reader, unsigned[:len(unsigned)-4])
	must(t, err)
	signer, err := gossh.NewCertSigner(cert, key)
	must(t, err)
	return signer
}

// TestCertificatesAreNoAuthorities (Q2): what a certificate has signed is worth nothing, at the gateway's
// door and at a target's, even if the authority that signed the first is the right one. The gateway lives.
func TestCertificatesAreNoAuthorities(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	_, middle := gatewaytest.NewKey()
	between := certified(t, gossh.UserCert, middle, w.Plane.UserCA, "web1/"+w.Login)
	for name, authority := range map[string]gossh.Signer{"a user certificate": between, "a certificate of a certificate": certified(t, gossh.UserCert, middle, between, "web1/"+w.Login)} {
		if err := logIn(w, gossh.PublicKeys(certified(t, gossh.UserCert, w.Bob, authority, "web1/"+w.Login))); err == nil {
			t.Errorf("%s has signed a key that logs in", name)
		}
	}

	_, hostCA := gatewaytest.NewKey()
	_, host := gatewaytest.NewKey()
	below := certified(t, gossh.HostCert, middle, hostCA, "web1")
	target := w.Target
	target.HostKeys, target.HostCAs = nil, []string{string(gossh.MarshalAuthorizedKey(hostCA.PublicKey()))}
	for _, tt := range []struct {
		name   string
		signer gossh.Signer
		logins int32
	}{{"the authority", hostCA, 1}, {"a certificate of the authority", below, 0}} {
		var logins atomic.Int32
		target.Address = serve(t, certified(t, gossh.HostCert, host, tt.signer, "web1", "127.0.0.1"), func() { logins.Add(1) })
		w.Plane.AddTarget(target)
		if got := stock(t, w, "gw", "true"); got.status != 255 || min(1, logins.Load()) != tt.logins {
			t.Errorf("a host key signed by %s: %d logins, %+v", tt.name, logins.Load(), got)
		}
	}
	w.Plane.AddTarget(w.Target)
	if got := stock(t, w, "gw", "echo in"); got.out != "in\n" {
		t.Errorf("afterwards: %+v", got)
	}
}

// serve is a target of our own, with any host key that a signer can show.
func serve(t *testing.T, host gossh.Signer, loggedIn func()) (address string) {
	t.Helper()
	config := &gossh.ServerConfig{PublicKeyCallback: func(gossh.ConnMetadata, gossh.PublicKey) (*gossh.Permissions, error) {
		loggedIn()
		return nil, nil
	}}
	config.AddHostKey(host)
	l := listen(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _, _, _ = gossh.NewServerConn(c, config) // it fails, if the gateway looks
			}()
		}
	}()
	return l.Addr().String()
}

// tokenKey is a FIDO key in software, which signs whether or not it is touched.
type tokenKey struct {
	private ed25519.PrivateKey
	flags   byte
}

const (
	skType      = "sk-ssh-ed25519@openssh.com"
	application = "ssh:"
	touched     = 1
)

func (k tokenKey) PublicKey() gossh.PublicKey {
	blob := gossh.Marshal(struct {
		Type        string
		Key         []byte
		Application string
	}{skType, k.private.Public().(ed25519.PublicKey), application})
	key, err := gossh.ParsePublicKey(blob)
	if err != nil {
		panic(err)
	}
	return key
}

// Sign does what a token does: see OpenSSH's PROTOCOL.u2f.
func (k tokenKey) Sign(_ io.Reader, data []byte) (*gossh.Signature, error) {
	rest := binary.BigEndian.AppendUint32([]byte{k.flags}, 7)
	app, message := sha256.Sum256([]byte(application)), sha256.Sum256(data)
	signed := append(append(app[:], rest...), message[:]...)
	return &gossh.Signature{Format: skType, Blob: ed25519.Sign(k.private, signed), Rest: rest}, nil
}

// TestUntouchedKeyLogsNobodyIn (Q4): a FIDO key's signature without a touch is no proof.
func TestUntouchedKeyLogsNobodyIn(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	key := tokenKey{private, touched}
	w.Plane.Enrol("bob", key.PublicKey())
	w.Plane.Grant("bob", "web-root", time.Hour)
	if err := logIn(w, gossh.PublicKeys(key)); err != nil {
		t.Fatalf("touched: %v", err)
	}
	for _, flags := range []byte{0, 4, 0xfe} {
		key.flags = flags
		if err := logIn(w, gossh.PublicKeys(key)); err == nil {
			t.Errorf("with the flags %x, which say that nobody touched it, it logs in", flags)
		}
	}
}

// TestTunnelsAreRefusedAndTold (Q8): with a grant that gives a shell, no stock client's way to carry
// anything else goes through, and each try is one event.
func TestTunnelsAreRefusedAndTold(t *testing.T) {
	w := found(t)
	w.join("erin")
	w.granted("page 4711")
	inside := listen(t) // what nobody may reach
	reached := make(chan struct{}, 10)
	go func() {
		for {
			c, err := inside.Accept()
			if err != nil {
				return
			}
			reached <- struct{}{}
			c.Close()
		}
	}()
	there := inside.Addr().String()
	local, err := testenv.FreePorts(3)
	must(t, err)
	socket := filepath.Join(t.TempDir(), "s")
	tests := []struct {
		name string
		args []string
		dial string // what to connect to, for the client to ask
		what string // the event
	}{
		{"-W", []string{"-W", there, w.web1()}, "", "direct-tcpip"},
		{"-L", []string{"-N", "-L", local[0] + ":" + there, w.web1()}, local[0], "direct-tcpip"},
		{"-D", []string{"-N", "-D", local[1], w.web1()}, local[1], "direct-tcpip"},
		{"-L to a socket", []string{"-N", "-L", local[2] + ":/run/docker.sock", w.web1()}, local[2], "direct-streamlocal@openssh.com"},
		{"-R", []string{"-o", "ExitOnForwardFailure=yes", "-N", "-R", "0:" + there, w.web1()}, "", "tcpip-forward"},
		{"-R of a socket", []string{"-o", "ExitOnForwardFailure=yes", "-N", "-R", socket + ":" + there, w.web1()}, "", "streamlocal-forward@openssh.com"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := strings.Count(w.events("session.refused", "--most", "200"), `\"what\":\"`+tt.what+`\"`)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cmd := w.command(ctx, "erin", "ssh", append(append(w.config("erin"), "-o", "BatchMode=yes"), tt.args...)...)
			if tt.dial == "" {
				if err := cmd.Run(); err == nil || ctx.Err() != nil {
					t.Errorf("it ended with %v", err)
				}
			} else {
				must(t, cmd.Start())
				knock(t, ctx, tt.dial, tt.name == "-D", there)
				cancel()
				_ = cmd.Wait() // it was killed
			}
			after := 0
			w.awaits(".", func() string {
				if after = strings.Count(w.events("session.refused", "--most", "200"), `\"what\":\"`+tt.what+`\"`); after == before {
					return ""
				}
				return "there"
			})
			if after != before+1 {
				t.Errorf("%d events", after-before)
			}
		})
	}
	select {
	case <-reached:
		t.Error("something was reached through the gateway")
	default:
	}
	if got := w.ssh("erin", w.web1(), "echo", "in"); got.out != "in\n" {
		t.Errorf("what the grant gives: %+v", got)
	}
}
