package issuer

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/test/testenv"
)

// TestGrantOpensTheTarget shows what was given to a real sshd, which trusts the issuer's authority,
// and to ssh-keygen.
func TestGrantOpensTheTarget(t *testing.T) {
	login := testenv.Login(t)
	w := newWorld(t, prooftest.Options{Addresses: []string{"127.0.0.0/8"}, Catalog: func(c *brevet.Catalog) {
		c.Roles[2].SSH.Logins = []string{login}
	}})
	request, approval := w.agreed()
	r, _ := w.give(w.Bundle(request, approval))
	authority, err := w.issuer.public[statement.KeyUserCA].SSH()
	if err != nil {
		t.Fatal(err)
	}
	cert := certificate(t, r.Certificate)
	signer, err := ssh.NewCertSigner(cert, w.Gateways["gw-1"].Holder)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name      string
		principal string
		admitted  bool
	}{{"web1", "web1/" + login, true}, {"web2", "web2/" + login, false}} {
		host := testenv.SSHD(t, testenv.SSHDOptions{UserCA: authority, Principals: map[string][]string{login: {tt.principal}}})
		client, err := ssh.Dial("tcp", host.Addr, &ssh.ClientConfig{
			User: login, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(host.HostKey),
			HostKeyAlgorithms: []string{ssh.KeyAlgoED25519}, Timeout: 10 * time.Second,
		})
		if err == nil {
			client.Close()
		}
		if (err == nil) != tt.admitted {
			t.Errorf("%s: got %v, want admitted %v", tt.name, err, tt.admitted)
		}
	}
	out := keygen(t, cert)
	for _, want := range []string{"user certificate", string(open[statement.Grant](t, r.Grant.Raw).ID) + " bob", "web1/" + login, "source-address 127.0.0.0/8", "permit-pty"} {
		if !strings.Contains(out, want) {
			t.Errorf("ssh-keygen does not show %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "forwarding") || strings.Contains(out, "user-rc") {
		t.Errorf("it gives more than a terminal:\n%s", out)
	}
}

func keygen(t *testing.T, cert *ssh.Certificate) string {
	t.Helper()
	program, err := testenv.Program("ssh-keygen")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cert.pub")
	if err := os.WriteFile(path, ssh.MarshalAuthorizedKey(cert), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, "-L", "-f", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func TestHostCertificate(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	hostKey := w.Gateways["gw-1"].Host.PublicKey()
	for _, name := range []string{"web1.brevet", "gw-1", "mistyped.brevet"} {
		wire, err := w.issuer.HostCertificate(t.Context(), "gw-1", name, hostKey.Marshal())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c := certificate(t, wire)
		authority, err := w.issuer.public[statement.KeyHostCA].SSH()
		if err != nil {
			t.Fatal(err)
		}
		checker := &ssh.CertChecker{
			IsHostAuthority: func(key ssh.PublicKey, _ string) bool {
				return string(key.Marshal()) == string(authority.Marshal())
			},
			Clock: func() time.Time { return w.Now },
		}
		if err := checker.CheckHostKey(name+":22", nil, c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(c.ValidPrincipals, []string{name}) || c.ValidBefore > uint64(w.Now.Add(24*time.Hour).Unix()) || c.CertType != ssh.HostCert {
			t.Errorf("%s: for %v until %d", name, c.ValidPrincipals, c.ValidBefore)
		}
		if out := keygen(t, c); !strings.Contains(out, "host certificate") {
			t.Errorf("ssh-keygen says\n%s", out)
		}
	}
	other := w.Gateways["gw-2"].Host.PublicKey()
	stranger, _ := prooftest.NewKey(t)
	for _, tt := range []struct {
		name, machine, host string
		key                 ssh.PublicKey
		sentence            string
	}{
		{"another gateway's key", "gw-1", "web1.brevet", other, "is of gw-2, not of gw-1"},
		{"nobody's key", "gw-1", "web1.brevet", stranger.PublicKey(), "is of no machine of ours"},
		{"its holder key", "gw-1", "web1.brevet", w.Gateways["gw-1"].Holder.PublicKey(), "is its holder key, not its host key"},
		{"a target that it does not serve", "gw-2", "db1.brevet", other, "does not serve db1"},
		{"another gateway's name", "gw-1", "gw-2", hostKey, "is neither the gateway gw-1 nor"},
		{"a host of the world", "gw-1", "github.com", hostKey, "is neither the gateway gw-1 nor"},
		{"a list", "gw-1", "a,b.brevet", hostKey, "host name"},
		{"a star", "gw-1", "*.brevet", hostKey, "host name"},
		{"nothing", "gw-1", "", hostKey, "is neither"},
		{"the suffix alone", "gw-1", ".brevet", hostKey, "has no name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := w.issuer.HostCertificate(t.Context(), brevet.MachineID(tt.machine), tt.host, tt.key.Marshal())
			if err == nil {
				t.Fatal("it was given")
			}
			if message, _ := brevet.MessageOf(err); !strings.Contains(message, tt.sentence) {
				t.Errorf("got %q, want %q", message, tt.sentence)
			}
		})
	}
	if _, err := w.issuer.HostCertificate(t.Context(), "gw-1", "web1.brevet", []byte("x")); brevet.KindOf(err) != brevet.Invalid {
		t.Errorf("a key that is none: %v", err)
	}
	w.takeBack(w.Revocation("alice", statement.RevokeKey, ssh.FingerprintSHA256(hostKey)))
	_, err := w.issuer.HostCertificate(t.Context(), "gw-1", "web1.brevet", hostKey.Marshal())
	refused(t, err, brevet.Refused, "is revoked")
}

func TestTLSCertificate(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := statement.MachineKeyOf(public)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.issuer.TLSCertificate(t.Context(), "gw-2", []string{"gw2.internal"}, public)
	refused(t, err, brevet.Refused, "is of no machine of ours")
	m := w.Gateways["gw-2"].Machine
	m.Keys = append(m.Keys, statement.MachineKey{Use: statement.KeyTLS, Key: key})
	w.SetMachine(m)
	w.follow()
	der, err := w.issuer.TLSCertificate(t.Context(), "gw-2", []string{"gw2.internal"}, public)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(w.issuer.CACertificate())
	if _, err := c.Verify(x509.VerifyOptions{DNSName: "gw2.internal", Roots: pool, CurrentTime: w.Now}); err != nil {
		t.Error(err)
	}
	if c.NotAfter.After(w.Now.AddDate(0, 0, 30)) {
		t.Errorf("it is good until %v", c.NotAfter)
	}
	_, err = w.issuer.TLSCertificate(t.Context(), "gw-1", []string{"gw2.internal"}, public)
	refused(t, err, brevet.Refused, "is of gw-2, not of gw-1")
	var none crypto.PublicKey = "x"
	if _, err := w.issuer.TLSCertificate(t.Context(), "gw-2", []string{"gw2.internal"}, none); brevet.KindOf(err) != brevet.Invalid {
		t.Errorf("a key that is none: %v", err)
	}
}
