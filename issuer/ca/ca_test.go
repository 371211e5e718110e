package ca_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/issuer/ca"
	"github.com/brevet-pim/brevet/test/testenv"
)

func newKey(t testing.TB, a ca.Algorithm) crypto.Signer {
	t.Helper()
	key, err := ca.GenerateKey(a)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newSSH(t testing.TB, a ca.Algorithm) *ca.SSH {
	t.Helper()
	authority, err := ca.NewSSH(newKey(t, a))
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func newSigner(t testing.TB) ssh.Signer {
	t.Helper()
	signer, err := ssh.NewSignerFromSigner(newKey(t, ca.Ed25519))
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// certificate is a good one for a key.
func certificate(key ssh.PublicKey, principals ...string) ca.Certificate {
	now := time.Now()
	return ca.Certificate{
		Key: key, Serial: 7, KeyID: "grt_0000 bob", Principals: principals,
		After: uint64(now.Add(-time.Minute).Unix()), Before: uint64(now.Add(time.Hour).Unix()),
		Options: map[string]string{"source-address": "127.0.0.0/8"}, Extensions: map[string]string{"permit-pty": ""},
	}
}

func parse(t testing.TB, wire []byte) *ssh.Certificate {
	t.Helper()
	key, err := ssh.ParsePublicKey(wire)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*ssh.Certificate)
}

func refused(t *testing.T, err error, sentence string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %q", sentence)
	}
	if message, _ := brevet.MessageOf(err); brevet.KindOf(err) != brevet.Refused && brevet.KindOf(err) != brevet.Invalid || !strings.Contains(message, sentence) {
		t.Errorf("got %v, want %q", err, sentence)
	}
}

func TestSignRefuses(t *testing.T) {
	authority, key := newSSH(t, ca.Ed25519), newSigner(t).PublicKey()
	wire, err := authority.SignUser(certificate(key, "web1/root"))
	if err != nil {
		t.Fatal(err)
	}
	principals := func(list ...string) func(*ca.Certificate) {
		return func(c *ca.Certificate) { c.Principals = list }
	}
	for _, tt := range []struct {
		name     string
		change   func(*ca.Certificate)
		sentence string
	}{
		{"no key", func(c *ca.Certificate) { c.Key = nil }, "needs a key"},
		{"a certificate as its key", func(c *ca.Certificate) { c.Key = parse(t, wire) }, "is not made for a certificate"},
		{"serial zero", func(c *ca.Certificate) { c.Serial = 0 }, "serial is not 0"},
		{"no length", func(c *ca.Certificate) { c.Before = c.After }, "ends after it begins"},
		{"for ever", func(c *ca.Certificate) { c.Before = math.MaxUint64 }, "has an end"},
		{"nearly for ever", func(c *ca.Certificate) { c.Before = math.MaxInt64 }, "has an end"},
		{"no key id", func(c *ca.Certificate) { c.KeyID = "" }, "key id"},
		{"a key id of two lines", func(c *ca.Certificate) { c.KeyID = "bob\nroot" }, "key id"},
		{"a key id with an escape", func(c *ca.Certificate) { c.KeyID = "bob\x1b[2J" }, "key id"},
		{"no principals", principals(), "has principals"},
		{"too many principals", principals(strings.Split(strings.Repeat("a/b ", 257), " ")[:257]...), "at most 256"},
		{"an empty principal", principals(""), "is not fit"},
		{"a list", principals("web1/root,web2/root"), "is not fit"},
		{"a star", principals("web1/*"), "is not fit"},
		{"a question mark", principals("web?/root"), "is not fit"},
		{"a negation", principals("!web1/root"), "is not fit"},
		{"a blank", principals("web1/root web2/root"), "is not fit"},
		{"a line end", principals("web1/root\n"), "is not fit"},
		{"a zero byte", principals("web1/root\x00"), "is not fit"},
		{"a comment", principals("#web1/root"), "is not fit"},
		{"a quote", principals(`"web1/root"`), "is not fit"},
		{"two slashes", principals("a/b/c"), "is not fit"},
		{"a look-alike", principals("wеb1/root"), "is not fit"}, // a Cyrillic е
		{"one too long", principals(strings.Repeat("a", 257)), "is not fit"},
		{"an option of two lines", func(c *ca.Certificate) { c.Options = map[string]string{"force-command": "a\nb"} }, "options are printable"},
		{"an option without a name", func(c *ca.Certificate) { c.Options = map[string]string{"": "a"} }, "options are printable"},
		{"an extension with a value", func(c *ca.Certificate) { c.Extensions = map[string]string{"permit-pty": "yes"} }, "without values"},
		{"an extension without a name", func(c *ca.Certificate) { c.Extensions = map[string]string{"": ""} }, "without values"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := certificate(key, "web1/root")
			tt.change(&c)
			_, err := authority.SignUser(c)
			refused(t, err, tt.sentence)
		})
	}
	_, err = authority.SignHost(certificate(key, "web1.brevet"))
	refused(t, err, "no options and no extensions")
}

func TestAuthorityKeys(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.Signer{weak, other} {
		_, err := ca.NewSSH(key)
		refused(t, err, "an SSH authority's key is Ed25519 or ECDSA P-256")
	}
	_, err = ca.GenerateKey("rsa")
	refused(t, err, "is not an algorithm for certificate keys")
}

// TestStockToolsRead shows a certificate to ssh-keygen and lets it say what is in it.
func TestStockToolsRead(t *testing.T) {
	keygen, err := testenv.Program("ssh-keygen")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []ca.Algorithm{ca.Ed25519, ca.ECDSA} {
		authority := newSSH(t, a)
		user, err := authority.SignUser(certificate(newSigner(t).PublicKey(), "db1/postgres", "web1/root"))
		if err != nil {
			t.Fatal(err)
		}
		c := certificate(newSigner(t).PublicKey(), "web1.brevet")
		c.Options, c.Extensions = nil, nil
		host, err := authority.SignHost(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			wire []byte
			want []string
		}{
			{user, []string{"user certificate", `Key ID: "grt_0000 bob"`, "Serial: 7", "db1/postgres", "web1/root", "source-address 127.0.0.0/8", "permit-pty", ssh.FingerprintSHA256(authority.Public())}},
			{host, []string{"host certificate", "web1.brevet", "Critical Options: (none)", "Extensions: (none)"}},
		} {
			path := filepath.Join(t.TempDir(), "cert.pub")
			if err := os.WriteFile(path, ssh.MarshalAuthorizedKey(parse(t, tt.wire)), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), keygen, "-L", "-f", path).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, want := range tt.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("%s: ssh-keygen does not show %q:\n%s", a, want, out)
				}
			}
		}
	}
}

// TestStockServerAdmits lets a real sshd judge.
func TestStockServerAdmits(t *testing.T) {
	login := testenv.Login(t)
	for _, a := range []ca.Algorithm{ca.Ed25519, ca.ECDSA} {
		t.Run(string(a), func(t *testing.T) {
			authority := newSSH(t, a)
			host := testenv.SSHD(t, testenv.SSHDOptions{
				UserCA: authority.Public(), Principals: map[string][]string{login: {"web1/" + login}},
			})
			for _, tt := range []struct {
				name     string
				by       *ca.SSH
				change   func(*ca.Certificate)
				admitted bool
			}{
				{name: "good", admitted: true},
				{name: "another target's principal", change: func(c *ca.Certificate) { c.Principals = []string{"web2/" + login} }},
				{name: "the login alone", change: func(c *ca.Certificate) { c.Principals = []string{login} }},
				{name: "over", change: func(c *ca.Certificate) { c.Before = uint64(time.Now().Add(-time.Second).Unix()) }},
				{name: "not begun", change: func(c *ca.Certificate) { c.After = uint64(time.Now().Add(time.Minute).Unix()) }},
				{name: "another authority's", by: newSSH(t, a)},
				{name: "another address", change: func(c *ca.Certificate) { c.Options["source-address"] = "192.0.2.0/24" }},
				{name: "an unknown critical option", change: func(c *ca.Certificate) { c.Options["be-careful@brevet"] = "yes" }},
			} {
				t.Run(tt.name, func(t *testing.T) {
					if tt.by == nil {
						tt.by = authority
					}
					key := newSigner(t)
					c := certificate(key.PublicKey(), "web1/"+login)
					if tt.change != nil {
						tt.change(&c)
					}
					wire, err := tt.by.SignUser(c)
					if err != nil {
						t.Fatal(err)
					}
					if err := enter(host, login, key, parse(t, wire)); (err == nil) != tt.admitted {
						t.Errorf("got %v, want admitted %v", err, tt.admitted)
					}
				})
			}
			// A host certificate of the same authority opens nothing.
			key := newSigner(t)
			c := certificate(key.PublicKey(), "web1/"+login)
			c.Options, c.Extensions = nil, nil
			wire, err := authority.SignHost(c)
			if err != nil {
				t.Fatal(err)
			}
			if enter(host, login, key, parse(t, wire)) == nil {
				t.Error("a host certificate let somebody in")
			}
		})
	}
}

func enter(host *testenv.Host, login string, key ssh.Signer, cert *ssh.Certificate) error {
	signer, err := ssh.NewCertSigner(cert, key)
	if err != nil {
		return err
	}
	client, err := ssh.Dial("tcp", host.Addr, &ssh.ClientConfig{
		User: login, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(host.HostKey),
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519}, Timeout: 10 * time.Second,
	})
	if err != nil {
		return err
	}
	return client.Close()
}

func TestCertificateSaysWhatItIsTold(t *testing.T) {
	authority, key := newSSH(t, ""), newSigner(t).PublicKey()
	want := certificate(key, "web1/root")
	wire, err := authority.SignUser(want)
	if err != nil {
		t.Fatal(err)
	}
	got := parse(t, wire)
	if got.Serial != want.Serial || got.KeyId != want.KeyID || !slices.Equal(got.ValidPrincipals, want.Principals) ||
		got.ValidAfter != want.After || got.ValidBefore != want.Before || got.CertType != ssh.UserCert ||
		string(got.SignatureKey.Marshal()) != string(authority.Public().Marshal()) {
		t.Errorf("got %+v", got)
	}
}
