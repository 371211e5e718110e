package server

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/api/dial"
)

// authority signs certificates of Brevet's own connections: package issuer.
type authority interface {
	TLSCertificate(ctx context.Context, machine brevet.MachineID, names []string, key crypto.PublicKey) (certificate []byte, err error)
	CACertificate() *x509.Certificate
}

// certificate is what a machine shows at its own listener. It is renewed by the handshakes
// themselves, long before its end, and kept nowhere: a restart gets another.
type certificate struct {
	authority authority
	machine   brevet.MachineID
	names     []string
	key       crypto.Signer
	log       *slog.Logger

	mu      sync.Mutex // guards current
	current *tls.Certificate
}

// renewWithin is how long a handshake may wait for a new certificate.
const renewWithin = 5 * time.Second

// get implements tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.current != nil && now.Before(renewAt(c.current.Leaf)) {
		return c.current, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), renewWithin) // the handshake's own deadline is not known here
	defer cancel()
	renewed, err := c.sign(ctx)
	switch {
	case err == nil:
		c.current = renewed
	case c.current == nil || now.After(c.current.Leaf.NotAfter):
		return nil, err
	default: // the old one is good for a while
		c.log.WarnContext(ctx, "the TLS certificate was not renewed", "machine", c.machine, "until", c.current.Leaf.NotAfter, "error", err)
	}
	return c.current, nil
}

// renewAt is when two thirds of a certificate's life are over.
func renewAt(leaf *x509.Certificate) time.Time {
	return leaf.NotAfter.Add(-leaf.NotAfter.Sub(leaf.NotBefore) / 3)
}

func (c *certificate) sign(ctx context.Context) (*tls.Certificate, error) {
	der, err := c.authority.TLSCertificate(ctx, c.machine, c.names, c.key.Public())
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the TLS certificate of %s: %w", c.machine, err)
	}
	// The authority's own certificate goes along: clients know it by its pin alone.
	chain := [][]byte{der, c.authority.CACertificate().Raw}
	return &tls.Certificate{Certificate: chain, PrivateKey: c.key, Leaf: leaf}, nil
}

// readCertificate reads an operator's certificate. Its file must hold the whole chain: people's machines
// pin the last of it, the authority.
func readCertificate(certificate, key string) (*tls.Certificate, dial.Pin, error) {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, dial.Pin{}, brevet.Errorf(brevet.Invalid, "tls: %s and %s cannot be used: %v", certificate, key, err).Because(err)
	}
	authority, err := x509.ParseCertificate(pair.Certificate[len(pair.Certificate)-1])
	if err != nil || !authority.IsCA && len(pair.Certificate) > 1 {
		return nil, dial.Pin{}, brevet.Errorf(brevet.Invalid, "tls: the last certificate in %s is not an authority's", certificate).Because(err)
	}
	return &pair, dial.PinOf(authority), nil
}

// namesFor returns the names by which a listener at listen, called address by others, is dialled.
func namesFor(machine brevet.MachineID, addresses ...string) []string {
	names := []string{string(machine), "localhost", "127.0.0.1", "::1"}
	for _, address := range addresses {
		host, _, err := net.SplitHostPort(address)
		if err != nil || host == "" {
			continue
		}
		if ip, err := netip.ParseAddr(host); err == nil {
			if ip.IsUnspecified() {
				continue
			}
			host = ip.WithZone("").String()
		}
		if !slices.Contains(names, host) {
			names = append(names, host)
		}
	}
	return names
}

// clientLife is how long a gateway's certificate for its own calls lasts. The server looks at
// its key alone, which the roster names, so this is no bound on anything.
const clientLife = 10 * 365 * 24 * time.Hour

// selfSigned returns a certificate by the key itself: who is shown it knows the key already.
func selfSigned(machine brevet.MachineID, key crypto.Signer) (tls.Certificate, error) {
	var serial [16]byte
	rand.Read(serial[:]) // never fails (crypto/rand, Go 1.24)
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial[:]),
		Subject:      pkix.Name{CommonName: string(machine)},
		DNSNames:     []string{string(machine)},
		NotBefore:    now.Add(-time.Hour), // clocks differ
		NotAfter:     now.Add(clientLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make the certificate of %s: %w", machine, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read the certificate of %s: %w", machine, err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
