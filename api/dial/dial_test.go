package dial

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
)

// authority signs certificates for tests.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return authority{certificate(t, template, template, key, key), key}
}

func certificate(t *testing.T, template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// server starts one with a certificate of the authority, changed as asked.
func (a authority) server(t *testing.T, handler http.Handler, change func(*x509.Certificate)) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(template)
	}
	leaf := certificate(t, template, a.certificate, key, a.key)
	s := httptest.NewUnstartedServer(handler)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw, a.certificate.Raw}, PrivateKey: key}}}
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func hello(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }

type dialer func(address string, pin Pin, certificate *tls.Certificate) (*http.Client, error)

func get(address string, pin Pin) (string, error) { return getBy(Client, address, pin) }

func getBy(dial dialer, address string, pin Pin) (string, error) {
	client, err := dial(address, pin, nil)
	if err != nil {
		return "", err
	}
	defer client.CloseIdleConnections()
	response, err := client.Get("https://" + address)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	return string(b), err
}

func TestPinnedServerIsReached(t *testing.T) {
	a := newAuthority(t)
	got, err := get(a.server(t, http.HandlerFunc(hello), nil), PinOf(a.certificate))
	if err != nil || got != "HTTP/2.0" {
		t.Errorf("got %q, %v, want an answer by HTTP/2", got, err)
	}
}

// TestAPersonsCallsAndStreams shows which way each goes.
func TestAPersonsCallsAndStreams(t *testing.T) {
	a := newAuthority(t)
	address := a.server(t, http.HandlerFunc(hello), nil)
	client, err := Person(address, PinOf(a.certificate), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	for content, want := range map[string]string{"application/proto": "HTTP/1.1", "application/connect+proto": "HTTP/2.0"} {
		response, err := client.Post("https://"+address, content, strings.NewReader("a call"))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if got, err := io.ReadAll(response.Body); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %s", content, got, err, want)
		}
	}
}

func TestOtherServersAreRefused(t *testing.T) {
	a := newAuthority(t)
	other := newAuthority(t)
	for name, test := range map[string]struct {
		pin    Pin
		change func(*x509.Certificate)
		want   string
	}{
		"another authority": {pin: PinOf(other.certificate), want: "another authority"},
		"no pin":            {want: "another authority"},
		"another name":      {PinOf(a.certificate), func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 2)} }, "not for"},
		"out of date":       {PinOf(a.certificate), func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, "not good"},
		"a client's": {PinOf(a.certificate), func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}, "not good"},
	} {
		t.Run(name, func(t *testing.T) {
			reached := false
			address := a.server(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }), test.change)
			for _, dial := range []dialer{Client, Person} {
				_, err := getBy(dial, address, test.pin)
				if brevet.KindOf(err) != brevet.Refused || !strings.Contains(err.Error(), test.want) || reached {
					t.Errorf("got %v (request arrived: %v), want a refusal that says %q before anything is sent", err, reached, test.want)
				}
			}
		})
	}
}

// A thief who has the authority's certificate, which is public, cannot make a chain with it.
func TestPinnedAuthorityMustHaveSigned(t *testing.T) {
	a, thief := newAuthority(t), newAuthority(t)
	thief.certificate.Raw = a.certificate.Raw // shown beside a leaf that the thief signed
	_, err := get(thief.server(t, http.HandlerFunc(hello), nil), PinOf(a.certificate))
	if brevet.KindOf(err) != brevet.Refused {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	a := newAuthority(t)
	followed := false
	elsewhere := a.server(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed = true }), nil)
	address := a.server(t, http.RedirectHandler("https://"+elsewhere, http.StatusTemporaryRedirect), nil)
	for _, dial := range []dialer{Client, Person} {
		if _, err := getBy(dial, address, PinOf(a.certificate)); err != nil || followed {
			t.Errorf("err %v, followed %v: want the redirect itself as the answer", err, followed)
		}
	}
}

func TestParsePin(t *testing.T) {
	p := PinOf(newAuthority(t).certificate)
	if got, err := ParsePin(p.String()); err != nil || got != p {
		t.Errorf("ParsePin(%v) = %v, %v", p, got, err)
	}
	for _, bad := range []string{"", "00", strings.ToUpper("ab" + p.String()[2:]), p.String() + "00"} {
		if _, err := ParsePin(bad); brevet.KindOf(err) != brevet.Invalid {
			t.Errorf("ParsePin(%q): %v, want an Invalid error", bad, err)
		}
	}
}
