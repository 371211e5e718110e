package server

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/api/dial"
	"github.com/brevet-pim/brevet/issuer/ca"
)

// signs is an authority whose certificates last for life.
type signs struct {
	*ca.X509
	life   time.Duration
	broken error
	signed int
}

func newAuthority(t *testing.T, life time.Duration) *signs {
	t.Helper()
	key, err := ca.GenerateKey("")
	if err != nil {
		t.Fatal(err)
	}
	der, err := ca.CreateX509(key, "test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	authority, err := ca.NewX509(key, der)
	if err != nil {
		t.Fatal(err)
	}
	return &signs{X509: authority, life: life}
}

func (s *signs) CACertificate() *x509.Certificate { return s.X509.Certificate() }

func (s *signs) TLSCertificate(_ context.Context, machine brevet.MachineID, names []string, key crypto.PublicKey) ([]byte, error) {
	if s.broken != nil {
		return nil, s.broken
	}
	s.signed++
	now := time.Now()
	return s.X509.Sign(ca.Connection{Key: key, Owner: string(machine), Names: names, After: now, Before: now.Add(s.life)})
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestCertificateIsRenewedBeforeItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const life = 30 * 24 * time.Hour
		authority := newAuthority(t, life)
		c := &certificate{authority: authority, machine: "gw-1", names: []string{"gw-1"}, key: newKey(t), log: slog.New(slog.NewTextHandler(io.Discard, nil))}
		get := func() *tls.Certificate {
			t.Helper()
			got, err := c.get(nil)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		first := get()
		time.Sleep(life/3*2 - time.Hour)
		if get() != first {
			t.Error("it was renewed too early")
		}
		authority.broken = errors.New("the issuer is away")
		time.Sleep(2 * time.Hour)
		if get() != first {
			t.Error("while no new one can be had, the old one is good")
		}
		authority.broken = nil
		second := get()
		if second == first || !second.Leaf.NotAfter.After(first.Leaf.NotAfter) {
			t.Error("it was not renewed once that was possible")
		}
		authority.broken = errors.New("the issuer is away")
		time.Sleep(life + time.Hour)
		if _, err := c.get(nil); err == nil {
			t.Error("a certificate that is over is shown")
		}
	})
}

// TestShownCertificateIsKnownByItsPin has both kinds of certificate looked at as people's machines do.
func TestShownCertificateIsKnownByItsPin(t *testing.T) {
	authority := newAuthority(t, time.Hour)
	c := &certificate{authority: authority, machine: "gw-1", names: []string{"gw-1"}, key: newKey(t), log: slog.New(slog.DiscardHandler)}
	byAuthority, err := c.get(nil)
	if err != nil {
		t.Fatal(err)
	}
	own, err := selfSigned("gw-1", newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		shown tls.Certificate
		pin   dial.Pin
		host  string
		good  bool
	}{
		{"the authority's", *byAuthority, dial.PinOf(authority.CACertificate()), "gw-1", true},
		{"the gateway's own", own, dial.PinOf(own.Leaf), "gw-1", true},
		{"another name", *byAuthority, dial.PinOf(authority.CACertificate()), "gw-2", false},
		{"another pin", own, dial.PinOf(authority.CACertificate()), "gw-1", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer ours.Close()
			go func() { // ends with the pipe
				server := tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{tt.shown}, MinVersion: tls.VersionTLS13})
				_ = server.Handshake() // the client says how it went
				server.Close()
			}()
			err := tls.Client(ours, dial.Config(tt.pin, nil, tt.host)).HandshakeContext(t.Context())
			if (err == nil) != tt.good {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestNamesFor(t *testing.T) {
	got := namesFor("server", "0.0.0.0:7443", "brevet.example.org:7443", "[2001:db8::1]:7443", "127.0.0.1:7443", ":7443")
	want := []string{"server", "localhost", "127.0.0.1", "::1", "brevet.example.org", "2001:db8::1"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
