package ca_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/brevet-pim/brevet/issuer/ca"
)

func newX509(t testing.TB, now time.Time) *ca.X509 {
	t.Helper()
	key := newKey(t, ca.Ed25519)
	der, err := ca.CreateX509(key, "Brevet issuer-1", now)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := ca.NewX509(key, der)
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func connection(key crypto.PublicKey, now time.Time) ca.Connection {
	return ca.Connection{Key: key, Owner: "gw-1", Names: []string{"127.0.0.1", "gw1.internal"}, After: now.Add(-time.Minute), Before: now.Add(time.Hour)}
}

// TestTLS speaks TLS, both ends with certificates of the authority.
func TestTLS(t *testing.T) {
	now := time.Now()
	authority := newX509(t, now)
	pool := x509.NewCertPool()
	pool.AddCert(authority.Certificate())
	var ends []tls.Certificate
	for _, a := range []ca.Algorithm{ca.Ed25519, ca.ECDSA} {
		key := newKey(t, a)
		der, err := authority.Sign(connection(key.Public(), now))
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
	}
	for _, tt := range []struct {
		name, dialled string
		roots         *x509.CertPool
		good          bool
	}{
		{"by address", "127.0.0.1", pool, true},
		{"by name", "gw1.internal", pool, true},
		{"by another name", "gw2.internal", pool, false},
		{"of another authority", "127.0.0.1", x509.NewCertPool(), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
				Certificates: ends[:1], ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS13,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go greet(l)
			conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{
				RootCAs: tt.roots, ServerName: tt.dialled, Certificates: ends[1:], MinVersion: tls.VersionTLS13,
			})
			if err == nil {
				defer conn.Close()
				_, err = io.ReadFull(conn, make([]byte, 2))
			}
			if (err == nil) != tt.good {
				t.Errorf("got %v, want good %v", err, tt.good)
			}
		})
	}
}

func greet(l net.Listener) {
	conn, err := l.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	io.WriteString(conn, "ok")
}

func TestX509SaysNoMoreThanItShould(t *testing.T) {
	now := time.Now()
	authority := newX509(t, now)
	der, err := authority.Sign(connection(newKey(t, ca.ECDSA).Public(), now))
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if c.IsCA || c.KeyUsage != x509.KeyUsageDigitalSignature || c.Subject.CommonName != "gw-1" {
		t.Errorf("CA %v, usage %v, subject %v", c.IsCA, c.KeyUsage, c.Subject)
	}
	root := authority.Certificate()
	if !root.MaxPathLenZero || root.KeyUsage != x509.KeyUsageCertSign {
		t.Errorf("the authority: path %v, usage %v", root.MaxPathLen, root.KeyUsage)
	}
	if c.SerialNumber.Sign() <= 0 || c.SerialNumber.BitLen() > 159 {
		t.Errorf("serial %v", c.SerialNumber)
	}
	// A certificate of a connection signs no certificate.
	if _, err := ca.NewX509(newKey(t, ca.Ed25519), der); err == nil {
		t.Error("a connection's certificate was taken for an authority's")
	}
	if _, err := ca.NewX509(newKey(t, ca.Ed25519), root.Raw); err == nil {
		t.Error("the authority opened with another key")
	}
	if _, err := ca.NewX509(newKey(t, ca.Ed25519), []byte("x")); err == nil {
		t.Error("garbage is an authority")
	}
}

func TestX509Refuses(t *testing.T) {
	now := time.Now()
	authority := newX509(t, now)
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	names := func(list ...string) func(*ca.Connection) { return func(c *ca.Connection) { c.Names = list } }
	for _, tt := range []struct {
		name     string
		change   func(*ca.Connection)
		sentence string
	}{
		{"a key of another kind", func(c *ca.Connection) { c.Key = &other.PublicKey }, "Ed25519 or ECDSA P-256"},
		{"no key", func(c *ca.Connection) { c.Key = nil }, "Ed25519 or ECDSA P-256"},
		{"no length", func(c *ca.Connection) { c.Before = c.After }, "ends after it begins"},
		{"longer than the authority", func(c *ca.Connection) { c.Before = now.Add(ca.RootLifetime + time.Hour) }, "the X.509 authority ends before"},
		{"an owner with a blank", func(c *ca.Connection) { c.Owner = "gw 1" }, "machine name"},
		{"no names", names(), "from 1 to 100 names"},
		{"a star", names("*.internal"), "is not a host name"},
		{"an empty label", names("a..b"), "is not a host name"},
		{"an empty name", names(""), "is not a host name"},
		{"capitals", names("GW1"), "is not a host name"},
		{"a port", names("gw1:22"), "is not a host name"},
		{"a leading dash", names("-gw1"), "is not a host name"},
		{"a zero byte", names("gw1\x00.evil"), "is not a host name"},
		{"every address", names("0.0.0.0"), "is not an address that can be dialled"},
		{"an address with a zone", names("fe80::1%eth0"), "is not an address"},
		{"an address otherwise written", names("::ffff:0a00:0001"), "is not an address"},
		{"a long label", names(strings.Repeat("a", 64)), "is not a host name"},
		{"a long name", names(strings.Repeat("a.", 130) + "a"), "is too long"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := connection(newKey(t, ca.Ed25519).Public(), now)
			tt.change(&c)
			_, err := authority.Sign(c)
			refused(t, err, tt.sentence)
		})
	}
}
