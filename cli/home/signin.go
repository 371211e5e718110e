package home

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/identity/enrol"
)

const (
	tokenFile  = "token"
	signinFile = "signin.json"
)

// The files that curl takes as --key and --cert.
const (
	ClientKeyFile         = "client.key"
	ClientCertificateFile = "client.crt"
)

// SignIn is what a sign-in left behind: a token and the TLS client certificate it is bound to.
type SignIn struct {
	Token       enrol.Token
	Certificate tls.Certificate
	Server      string // the one that gave the token, host:port; no other is ever sent it
	Until       time.Time
}

// signInRecord is the form of signin.json, beside the bare token so that the token's file holds
// nothing else.
type signInRecord struct {
	Server      string    `json:"server"`
	Until       time.Time `json:"until"`
	Certificate string    `json:"certificate"` // thumbprint that the token is bound to
}

// SignIn reads the last sign-in. The error is NotFound if there is none that is whole.
func (h *Home) SignIn() (SignIn, error) {
	var s SignIn
	err := h.Locked(func() (err error) {
		s, err = h.signIn()
		return err
	})
	return s, err
}

func (h *Home) signIn() (SignIn, error) {
	files := map[string][]byte{tokenFile: nil, signinFile: nil, ClientKeyFile: nil, ClientCertificateFile: nil}
	for name := range files {
		b, err := h.Read(name)
		if err != nil {
			return SignIn{}, err
		}
		files[name] = b
	}
	token, err := enrol.ParseToken(strings.TrimSpace(string(files[tokenFile])))
	if err != nil {
		return SignIn{}, noSignIn().Because(err)
	}
	var record signInRecord
	if err := json.Unmarshal(files[signinFile], &record); err != nil {
		return SignIn{}, noSignIn().Because(err)
	}
	certificate, err := tls.X509KeyPair(files[ClientCertificateFile], files[ClientKeyFile])
	if err != nil || Thumbprint(certificate) != record.Certificate {
		return SignIn{}, noSignIn().Because(err)
	}
	return SignIn{Token: token, Certificate: certificate, Server: record.Server, Until: record.Until}, nil
}

func noSignIn() *brevet.Error { return brevet.Errorf(brevet.NotFound, "there is no sign-in here") }

// SetSignIn keeps a sign-in.
func (h *Home) SetSignIn(s SignIn) error {
	key, err := x509.MarshalPKCS8PrivateKey(s.Certificate.PrivateKey)
	if err != nil {
		return brevet.Errorf(brevet.Internal, "cannot write the client key").Because(err)
	}
	record, err := json.Marshal(signInRecord{Server: s.Server, Until: s.Until, Certificate: Thumbprint(s.Certificate)})
	if err != nil {
		return brevet.Errorf(brevet.Internal, "cannot write the sign-in").Because(err)
	}
	files := []struct {
		name  string
		bytes []byte
	}{
		{ClientKeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})},
		{ClientCertificateFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate.Certificate[0]})},
		{signinFile, append(record, '\n')},
		{tokenFile, []byte(s.Token.Reveal() + "\n")},
	}
	return h.Locked(func() error {
		for _, f := range files {
			if err := h.Write(f.name, f.bytes); err != nil {
				return err
			}
		}
		return nil
	})
}

// ForgetSignIn removes the token and the client certificate.
func (h *Home) ForgetSignIn() error {
	return h.Locked(func() error {
		for _, name := range []string{tokenFile, signinFile, ClientKeyFile, ClientCertificateFile} {
			if err := h.Remove(name); err != nil {
				return err
			}
		}
		return nil
	})
}

// certificateLife is longer than any token's, so that the token's end alone counts.
const certificateLife = 30 * 24 * time.Hour

// NewCertificate returns a fresh self-signed TLS client certificate. It proves nothing but that
// two connections come from the same holder of its key, which is all that a token is bound to.
func NewCertificate(now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, brevet.Errorf(brevet.Internal, "cannot make a client key").Because(err)
	}
	serial := make([]byte, 16)
	rand.Read(serial)
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		Subject:      pkix.Name{CommonName: "brevet client"},
		NotBefore:    now.Add(-time.Hour), // clocks differ
		NotAfter:     now.Add(certificateLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, brevet.Errorf(brevet.Internal, "cannot make a client certificate").Because(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, brevet.Errorf(brevet.Internal, "cannot read the client certificate").Because(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// Thumbprint returns the SHA-256, hex, of the SubjectPublicKeyInfo of c's certificate: what a
// SignIn statement and the token bind to. It is empty if c has no certificate.
func Thumbprint(c tls.Certificate) string {
	leaf := c.Leaf
	if leaf == nil && len(c.Certificate) > 0 {
		leaf, _ = x509.ParseCertificate(c.Certificate[0])
	}
	if leaf == nil {
		return ""
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}
