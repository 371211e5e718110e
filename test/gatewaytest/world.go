package gatewaytest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/api/dial"
	"github.com/brevet-pim/brevet/gateway"
	"github.com/brevet-pim/brevet/gateway/ssh"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/seal"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/test/testenv"
)

// World is a gateway in front of the target web1, a real sshd, with bob at a stock ssh client. His
// roles there are web-root (one of sre-leads must agree) and web-now (nobody must).
type World struct {
	Plane   *Plane
	Gateway *gateway.Gateway
	Server  *ssh.Server
	SSHD    *testenv.Host
	Client  *testenv.Client
	Bob     gossh.Signer
	BobKey  crypto.PrivateKey
	Addr    string // of the gateway
	Port    string
	Pin     dial.Pin      // of what certifies its TLS key
	Target  brevet.Target // web1
	Login   string        // on web1: root, or the running account
	Store   *record.Store
	Spool   *record.Spool
	Opens   *seal.Identity // opens recordings
	Stop    func()         // ends the gateway, and waits

	log lines
}

// Log returns what the gateway has logged.
func (w *World) Log() string { return w.log.String() }

// lines collects what is logged, for a test to look into while more comes.
type lines struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Options change a world before it is made.
type Options struct {
	Role    func(*brevet.Role)     // both roles
	Target  func(*brevet.Target)   // web1
	Gateway func(*gateway.Gateway) //
	Server  func(*ssh.Server)      //
	SSHD    testenv.SSHDOptions    // UserCA and Principals are set
	Limits  record.Limits          // of recordings
	Listen  func(net.Listener) net.Listener
	Direct  bool // bob's key opens the target without the gateway, to compare
}

// Start makes a world that ends with t.
func Start(t testenv.TB, o Options) *World {
	t.Helper()
	_, userCA := NewKey()
	_, hostCA := NewKey()
	_, holder := NewKey()
	_, hostKey := NewKey()
	bobKey, bob := NewKey()
	machine, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	signer, err := statement.MachineSigner(machine)
	must(t, err)
	w := &World{
		Plane: &Plane{UserCA: userCA, HostCA: hostCA, Holder: holder.PublicKey(), Gateway: signer.Key()},
		Bob:   bob, BobKey: bobKey, Login: testenv.Login(t),
	}
	o.SSHD.UserCA = userCA.PublicKey()
	if o.SSHD.Principals == nil {
		o.SSHD.Principals = map[string][]string{w.Login: {gateway.Principal("web1", w.Login)}}
	}
	if o.Direct {
		o.SSHD.AuthorizedKeys = append(o.SSHD.AuthorizedKeys, bob.PublicKey())
	}
	w.SSHD = testenv.SSHD(t, o.SSHD)
	w.catalog(o)
	w.Plane.Enrol("bob", bob.PublicKey())
	w.record(t, o)
	w.Gateway.Machine, w.Gateway.Org = "gw-1", "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
	w.Gateway.Control, w.Gateway.Verifier = w.Plane, w.Plane
	w.Gateway.Holder, w.Gateway.Signer = holder, signer
	w.Gateway.Log = slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if o.Gateway != nil {
		o.Gateway(w.Gateway)
	}
	w.Server = &ssh.Server{Gateway: w.Gateway, HostKey: hostKey, TLS: w.serverTLS(t)}
	if o.Server != nil {
		o.Server(w.Server)
	}
	w.run(t, o)
	w.client(t, bobKey, hostKey.PublicKey())
	return w
}

func must(t testenv.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v", err)
	}
}

// catalog describes web1 and the two roles.
func (w *World) catalog(o Options) {
	target := brevet.Target{
		ID: "web1", Kind: brevet.SSHHost, Address: w.SSHD.Addr, Sensitivity: brevet.Medium,
		HostKeys: []string{string(gossh.MarshalAuthorizedKey(w.SSHD.HostKey))},
	}
	if o.Target != nil {
		o.Target(&target)
	}
	w.Target = target
	w.Plane.AddTarget(target)
	for _, r := range []struct {
		name  brevet.RoleName
		needs string
	}{{"web-root", "one of sre-leads (alice, dan)"}, {"web-now", "nobody"}} {
		role := brevet.Role{
			Name: r.name, Sensitivity: brevet.Medium, Recording: brevet.RecordingRequired,
			Targets: brevet.Selector{Kind: brevet.SSHHost, Names: []brevet.TargetID{"web1"}},
			SSH:     brevet.SSHGives{Logins: []string{w.Login}, Permit: []string{"pty"}, Environment: []string{"LC_*"}},
			Limits:  brevet.Limits{Duration: 3600}, Asks: brevet.Asks{Reason: true},
		}
		if o.Role != nil {
			o.Role(&role)
		}
		w.Plane.AddRole(role, r.needs)
	}
}

// record wires recordings as the product does: spooled on disk, delivered to a store.
func (w *World) record(t testenv.TB, o Options) {
	t.Helper()
	dir, err := os.MkdirTemp("", "brevet-recordings-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	w.Store = &record.Store{Dir: filepath.Join(dir, "store")}
	w.Spool, err = record.OpenSpool(filepath.Join(dir, "spool"), upload{w.Store})
	must(t, err)
	w.Opens, err = seal.NewIdentity()
	must(t, err)
	w.Gateway = &gateway.Gateway{Recorder: &record.Recorder{
		Recipients: []seal.Recipient{w.Opens.Recipient()}, Sink: w.Spool.Session, Limits: o.Limits,
	}}
}

// upload delivers recordings in one process.
type upload struct{ store *record.Store }

func (u upload) Put(_ context.Context, s brevet.SessionID, first int, chunks [][]byte) error {
	_, _, err := u.store.Put(s, first, chunks)
	return err
}

func (u upload) Cut(_ context.Context, s brevet.SessionID, chunks int, reason string) error {
	_, err := u.store.Cut(s, chunks, reason)
	return err
}

// run keeps gateway, spool and server running until Stop.
func (w *World) run(t testenv.TB, o Options) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w.Addr = l.Addr().String()
	_, w.Port, _ = net.SplitHostPort(w.Addr)
	if o.Listen != nil {
		l = o.Listen(l)
	}
	ctx, cancel := context.WithCancel(context.Background())
	spool, stopSpool := context.WithCancel(context.Background())
	done := make(chan error, 3)
	go func() { done <- w.Gateway.Run(ctx) }()
	go func() { done <- w.Server.Serve(ctx, l) }()
	go func() { done <- w.Spool.Run(spool) }()
	stopped := false
	w.Stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Logf("the gateway ended: %v", err)
			}
		}
		stopSpool()
		<-done
	}
	t.Cleanup(w.Stop)
}

func (w *World) client(t testenv.TB, key crypto.PrivateKey, host gossh.PublicKey) {
	t.Helper()
	w.Client = testenv.SSHClient(t)
	_, err := w.Client.AddKey("bob", key, nil)
	must(t, err)
	must(t, w.Client.Trust(
		"gw "+string(gossh.MarshalAuthorizedKey(host)),
		"@cert-authority *.brevet "+string(gossh.MarshalAuthorizedKey(w.Plane.HostCA.PublicKey())),
	))
	must(t, w.Client.Configure(
		"Host gw", "HostName 127.0.0.1", "Port "+w.Port, "HostKeyAlias gw", "User "+w.Login+"%web1", "LogLevel INFO",
	))
}

// serverTLS makes a certificate for the gateway, which is its own authority.
func (w *World) serverTLS(t testenv.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"gw-1"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	made, err := x509.ParseCertificate(der)
	must(t, err)
	w.Pin = dial.PinOf(made)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
