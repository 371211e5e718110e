// Package dial reaches Brevet's own servers over TLS and knows them by a pin: the
// SHA-256 of the SubjectPublicKeyInfo of the authority of their certificate. No
// public authority and no "trust on first use" is involved.
package dial

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net"
	"net/http"
	"time"

	"github.com/brevet-pim/brevet"
)

// How long a server may take.
const (
	connectTimeout = 10 * time.Second
	idleTimeout    = time.Minute
	// A stream may be silent for long; a ping finds out whether the other end is still there.
	pingAfter   = 15 * time.Second
	pingTimeout = 10 * time.Second
)

// Pin is the SHA-256 of an authority's SubjectPublicKeyInfo.
type Pin [sha256.Size]byte

// PinOf returns the pin of an authority.
func PinOf(authority *x509.Certificate) Pin { return sha256.Sum256(authority.RawSubjectPublicKeyInfo) }

// ParsePin reads a pin in lower-case hex, or returns an Invalid error.
func ParsePin(s string) (Pin, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != sha256.Size || hex.EncodeToString(b) != s {
		return Pin{}, brevet.Errorf(brevet.Invalid, "the pin %s is not a SHA-256 in lower-case hex", brevet.Quote(s[:min(len(s), 80)]))
	}
	return Pin(b), nil
}

// String returns the pin in lower-case hex.
func (p Pin) String() string { return hex.EncodeToString(p[:]) }

// Config returns a TLS configuration that trusts a server only if its certificate leads to the
// pinned authority and is for one of the names (host names or IP addresses). The certificate,
// if there is one, is shown to the server.
func Config(pin Pin, certificate *tls.Certificate, names ...string) *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: names[0],
		// The standard verification asks the system's authorities. VerifyConnection takes its
		// place, and is called for every connection, resumed ones too.
		InsecureSkipVerify: true, //nolint:gosec // see VerifyConnection
		VerifyConnection: func(s tls.ConnectionState) error {
			return verify(pin, s.PeerCertificates, names)
		},
	}
	if certificate != nil {
		c.Certificates = []tls.Certificate{*certificate}
	}
	return c
}

// verify checks that one of the certificates shown is the pinned authority, and that the first
// leads to it, is a server's, is in date and is for one of the names.
func verify(pin Pin, shown []*x509.Certificate, names []string) error {
	if len(shown) == 0 {
		return untrusted("it shows no certificate")
	}
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	found := false
	for _, c := range shown {
		if PinOf(c) == pin {
			roots.AddCert(c)
			found = true
		} else {
			others.AddCert(c)
		}
	}
	if !found {
		return untrusted("its certificate is of another authority than the pinned one")
	}
	_, err := shown[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: others, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return untrusted("its certificate is not good").Because(err)
	}
	for _, name := range names {
		if shown[0].VerifyHostname(name) == nil {
			return nil
		}
	}
	return untrusted("its certificate is not for " + brevet.Quote(names[0]))
}

func untrusted(why string) *brevet.Error {
	return brevet.Errorf(brevet.Refused, "that is not the server it should be: %s. Nothing was sent", why).
		WithHint("somebody may be in between; if the server was set up anew, ask an administrator for a new code")
}

// Client returns an HTTP client for one server at host:port, known by the pin.
func Client(address string, pin Pin, certificate *tls.Certificate) (*http.Client, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, brevet.Errorf(brevet.Invalid, "%s is not host:port", brevet.Quote(address)).Because(err)
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: connectTimeout}).DialContext,
			TLSClientConfig:     Config(pin, certificate, host),
			TLSHandshakeTimeout: connectTimeout,
			IdleConnTimeout:     idleTimeout,
			ForceAttemptHTTP2:   true, // a TLSClientConfig of one's own turns it off
			HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		},
		// The API never redirects, and a token must not follow if somebody makes it.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}
