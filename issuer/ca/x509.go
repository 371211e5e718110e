package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"time"

	"github.com/brevet-pim/brevet"
)

// RootLifetime is how long an X.509 authority's own certificate is good.
const RootLifetime = 10 * 365 * 24 * time.Hour

// X509 is an authority for the certificates of Brevet's own connections.
type X509 struct {
	key  crypto.Signer
	cert *x509.Certificate
}

// CreateX509 makes the authority's own certificate, which says nothing but its name and that it may
// sign certificates of servers and clients directly, and returns it in DER. Its beginning is now.
func CreateX509(key crypto.Signer, name string, now time.Time) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-time.Minute),
		NotAfter:              now.Add(RootLifetime),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // nobody below it signs certificates
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the X.509 authority's certificate: %w", err)
	}
	return der, nil
}

// NewX509 returns the authority with the key and the certificate that CreateX509 made for it.
func NewX509(key crypto.Signer, der []byte) (*X509, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("X.509 authority: %w", err)
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(cert.PublicKey) || !cert.IsCA {
		return nil, refuse("the X.509 authority's certificate is not of its key")
	}
	return &X509{key, cert}, nil
}

// Certificate returns the authority's own certificate.
func (a *X509) Certificate() *x509.Certificate { return a.cert }

// Connection is what a certificate of Brevet's own connections says.
type Connection struct {
	Key    crypto.PublicKey // Ed25519 or ECDSA P-256
	Owner  string           // the machine, or "server"
	Names  []string         // DNS names and IP addresses, exactly as they will be dialled
	Before time.Time
	After  time.Time
}

// Sign returns the certificate in DER. It is good for both ends of a TLS connection and for
// nothing else. It never outlives the authority's own.
func (a *X509) Sign(c Connection) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.Before.After(a.cert.NotAfter) {
		return nil, refuse("the X.509 authority ends before this certificate would")
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: c.Owner},
		NotBefore:             c.After,
		NotAfter:              c.Before,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	for _, name := range c.Names {
		if addr, err := netip.ParseAddr(name); err == nil {
			template.IPAddresses = append(template.IPAddresses, addr.AsSlice())
			continue
		}
		template.DNSNames = append(template.DNSNames, name)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, c.Key, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign a TLS certificate: %w", err)
	}
	return der, nil
}

func (c Connection) check() error {
	switch key := c.Key.(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return refuse("a TLS key is Ed25519 or ECDSA P-256")
		}
	default:
		return refuse("a TLS key is Ed25519 or ECDSA P-256")
	}
	switch {
	case !c.Before.After(c.After):
		return refuse("a certificate ends after it begins")
	case len(c.Names) == 0 || len(c.Names) > 100:
		return refuse("a TLS certificate has from 1 to 100 names")
	}
	if err := brevet.CheckName("machine", c.Owner); err != nil {
		return err
	}
	for _, name := range c.Names {
		if err := checkHostName(name); err != nil {
			return err
		}
	}
	return nil
}

// checkHostName wants a DNS name in lower case without a star, or an IP address in its usual form.
func checkHostName(name string) error {
	if addr, err := netip.ParseAddr(name); err == nil {
		if addr.String() != name || addr.Zone() != "" || addr.IsUnspecified() {
			return refuse("%s is not an address that can be dialled", brevet.Quote(name))
		}
		return nil
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
			return refuse("%s is not a host name", brevet.Quote(name[:min(len(name), 80)]))
		}
	}
	if len(name) > 253 {
		return refuse("a host name of %d bytes is too long", len(name))
	}
	return nil
}

// serial returns 127 random bits (RFC 5280 §4.1.2.2 wants a positive number of at most 20 octets).
func serial() *big.Int {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand, Go 1.24)
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:])
}
