package ssh

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet/gateway"
)

// authority certifies host keys, as the test says.
type authority struct {
	gateway.Control
	signer gossh.Signer
	asked  atomic.Int64
	change func(*gossh.Certificate)
	err    error
}

func (a *authority) HostCertificate(_ context.Context, name string, key gossh.PublicKey) (*gossh.Certificate, error) {
	a.asked.Add(1)
	if a.err != nil {
		return nil, a.err
	}
	cert := &gossh.Certificate{
		Key: key, CertType: gossh.HostCert, ValidPrincipals: []string{name}, ValidBefore: uint64(time.Now().Add(time.Hour).Unix()),
	}
	if a.change != nil {
		a.change(cert)
	}
	return cert, cert.SignCert(rand.Reader, a.signer)
}

func certifying(t *testing.T) (*Server, *authority) {
	t.Helper()
	_, hostKey := newTestKey(t)
	_, signer := newTestKey(t)
	a := &authority{signer: signer}
	return &Server{Gateway: &gateway.Gateway{Control: a, Log: slog.New(slog.DiscardHandler)}, HostKey: hostKey}, a
}

func TestHostCertificatesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a := certifying(t)
		shown := func() gossh.PublicKey {
			signer, err := s.certs.signer(t.Context(), s, "web1.brevet")
			if err != nil {
				return nil
			}
			return signer.PublicKey()
		}
		var crowd sync.WaitGroup
		for range 20 {
			crowd.Go(func() { shown() })
		}
		crowd.Wait()
		first := shown()
		if a.asked.Load() != 1 || first == nil {
			t.Fatalf("a crowd asked %d times", a.asked.Load())
		}
		time.Sleep(time.Hour - hostCertMargin + time.Minute)
		second := shown()
		if a.asked.Load() != 2 || bytes.Equal(second.Marshal(), first.Marshal()) {
			t.Errorf("before its end it was asked for %d times", a.asked.Load())
		}
		a.err = errors.New("away")
		time.Sleep(time.Hour - time.Minute)
		if got := shown(); got == nil || !bytes.Equal(got.Marshal(), second.Marshal()) {
			t.Error("while the control plane is away the one that is still good is not shown")
		}
		for range 10 {
			shown()
		}
		if a.asked.Load() != 3 {
			t.Errorf("after a failure it is asked for %d times at once", a.asked.Load()-2)
		}
		time.Sleep(2 * time.Minute)
		if shown() != nil {
			t.Error("one that is over is shown")
		}
	})
}

func TestHostCertificatesThatAreNotAsAskedFor(t *testing.T) {
	_, other := newTestKey(t)
	for name, change := range map[string]func(*gossh.Certificate){
		"another name":       func(c *gossh.Certificate) { c.ValidPrincipals = []string{"web2.brevet"} },
		"more names":         func(c *gossh.Certificate) { c.ValidPrincipals = append(c.ValidPrincipals, "web2.brevet") },
		"another key":        func(c *gossh.Certificate) { c.Key = other.PublicKey() },
		"a user certificate": func(c *gossh.Certificate) { c.CertType = gossh.UserCert },
		"over":               func(c *gossh.Certificate) { c.ValidBefore = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			s, a := certifying(t)
			a.change = change
			if _, err := s.certs.signer(t.Context(), s, "web1.brevet"); err == nil {
				t.Error("it is shown to people")
			}
		})
	}
}

func TestHostNamesAreBounded(t *testing.T) {
	var h hostCertificates
	for i := range 3 * maxHostNames {
		h.entry(string(rune('a'+i%26)) + time.Duration(i).String())
	}
	if len(h.byName) > maxHostNames {
		t.Errorf("%d names are kept", len(h.byName))
	}
}
