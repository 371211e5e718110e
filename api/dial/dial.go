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
	"strings"
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

// Client returns an HTTP client for one server at host:port, known by the pin. All goes over one
// connection of HTTP/2, whose pings find out for all calls whether the server is still there.
func Client(address string, pin Pin, certificate *tls.Certificate) (*http.Client, error) {
	host, err := hostOf(address)
	if err != nil {
		return nil, err
	}
	return client(transport(host, pin, certificate, (*http.Protocols).SetHTTP2)), nil
}

// Person returns the client of somebody who makes a call now and then, each with a deadline of its own.
// Calls go over HTTP/1.1, which costs the server less; only streams go over HTTP/2.
func Person(address string, pin Pin, certificate *tls.Certificate) (*http.Client, error) {
	host, err := hostOf(address)
	if err != nil {
		return nil, err
	}
	return client(split{
		calls:   transport(host, pin, certificate, (*http.Protocols).SetHTTP1),
		streams: transport(host, pin, certificate, (*http.Protocols).SetHTTP2),
	}), nil
}

func hostOf(address string) (string, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", brevet.Errorf(brevet.Invalid, "%s is not host:port", brevet.Quote(address)).Because(err)
	}
	return host, nil
}

func client(over http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: over,
		// The API never redirects, and a token must not follow if somebody makes it.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func transport(host string, pin Pin, certificate *tls.Certificate, speak func(*http.Protocols, bool)) *http.Transport {
	t := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSClientConfig:     Config(pin, certificate, host),
		TLSHandshakeTimeout: connectTimeout,
		IdleConnTimeout:     idleTimeout, // shorter than the server's
		Protocols:           &http.Protocols{},
		HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
	speak(t.Protocols, true)
	return t
}

// split sends streams another way than calls.
type split struct{ calls, streams *http.Transport }

// RoundTrip implements http.RoundTripper.
func (s split) RoundTrip(r *http.Request) (*http.Response, error) {
	// So the Connect protocol marks the requests of its streams.
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/connect+") {
		return s.streams.RoundTrip(r)
	}
	return s.calls.RoundTrip(r)
}

// CloseIdleConnections is what http.Client looks for.
func (s split) CloseIdleConnections() {
	s.calls.CloseIdleConnections()
	s.streams.CloseIdleConnections()
}
