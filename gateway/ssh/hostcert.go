package ssh

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// hostCertificates keeps the certificates by which the gateway's host key is known under the names
// that people type.
type hostCertificates struct {
	mu     sync.Mutex // guards byName
	byName map[string]*hostCertificate
}

type hostCertificate struct {
	mu     sync.Mutex // held while it is fetched, so that a crowd asks once
	signer gossh.Signer
	until  time.Time
	failed error
	again  time.Time // when a failure may be tried again
}

const (
	maxHostNames    = 4096             // strangers choose the names, so they are bounded
	hostCertWithin  = 5 * time.Second  // for the control plane to answer
	hostCertMargin  = 10 * time.Minute // before its end a certificate is fetched anew
	hostCertRestore = 5 * time.Second  // pause after a failure
)

// signer returns the server's host key with a certificate for name.
func (h *hostCertificates) signer(ctx context.Context, s *Server, name string) (gossh.Signer, error) {
	c := h.entry(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.signer != nil && now.Before(c.until.Add(-hostCertMargin)) {
		return c.signer, nil
	}
	if now.Before(c.again) {
		return c.usable(now)
	}
	ctx, cancel := context.WithTimeout(ctx, hostCertWithin)
	defer cancel()
	signer, until, err := s.certify(ctx, name, now)
	if err != nil {
		c.failed, c.again = err, now.Add(hostCertRestore)
		return c.usable(now)
	}
	c.signer, c.until = signer, until
	return signer, nil
}

// usable returns what is left when no new certificate can be had. The caller holds mu.
func (c *hostCertificate) usable(now time.Time) (gossh.Signer, error) {
	if c.signer != nil && now.Before(c.until) {
		return c.signer, nil
	}
	return nil, c.failed
}

func (h *hostCertificates) entry(name string) *hostCertificate {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byName == nil || len(h.byName) >= maxHostNames {
		h.byName = map[string]*hostCertificate{}
	}
	c := h.byName[name]
	if c == nil {
		c = &hostCertificate{}
		h.byName[name] = c
	}
	return c
}

// certify has the host key certified and looks at what came back: a client would refuse a wrong
// one with a message that helps nobody.
func (s *Server) certify(ctx context.Context, name string, now time.Time) (gossh.Signer, time.Time, error) {
	cert, err := s.Gateway.Control.HostCertificate(ctx, name, s.HostKey.PublicKey())
	if err != nil {
		return nil, time.Time{}, err
	}
	until := time.Unix(int64(min(cert.ValidBefore, 1<<40)), 0)
	if cert.CertType != gossh.HostCert || !slices.Equal(cert.ValidPrincipals, []string{name}) ||
		!bytes.Equal(cert.Key.Marshal(), s.HostKey.PublicKey().Marshal()) || !now.Before(until) {
		return nil, time.Time{}, fmt.Errorf("the host certificate for %q is not one for this key, this name and now", name)
	}
	signer, err := gossh.NewCertSigner(cert, s.HostKey)
	return signer, until, err
}
