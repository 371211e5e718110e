// Package ca signs certificates: SSH certificates for people and hosts, and X.509 certificates for
// Brevet's own connections.
//
// It signs exactly what it is told, after checking that it could not mean more to whoever reads
// it: no certificate without an end, without principals, or with a principal that a reader could
// take for several. What may be signed is for package issuer to know. Keys are crypto.Signers,
// so they may live in a token.
package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
)

// Algorithm is the kind of an authority's key.
type Algorithm string

// The algorithms. Ed25519 is the default; ECDSA is for targets and clients that lack it.
const (
	Ed25519 Algorithm = "ed25519"
	ECDSA   Algorithm = "ecdsa-p256"
)

// GenerateKey makes a key of the algorithm; "" is Ed25519.
func GenerateKey(a Algorithm) (crypto.Signer, error) {
	switch a {
	case Ed25519, "":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case ECDSA:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return nil, brevet.Errorf(brevet.Invalid, "%s is not an algorithm for certificate keys", brevet.Quote(string(a))).
		WithHint("use %s or %s", Ed25519, ECDSA)
}

// SSH is an authority for SSH certificates.
type SSH struct{ signer ssh.Signer }

// NewSSH returns the authority with the key, which is Ed25519 or ECDSA P-256.
func NewSSH(key crypto.Signer) (*SSH, error) {
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		return nil, fmt.Errorf("SSH authority: %w", err)
	}
	if t := signer.PublicKey().Type(); t != ssh.KeyAlgoED25519 && t != ssh.KeyAlgoECDSA256 {
		return nil, brevet.Errorf(brevet.Invalid, "an SSH authority's key is Ed25519 or ECDSA P-256, not %s", t)
	}
	return &SSH{signer}, nil
}

// Public returns the key that sshd's TrustedUserCAKeys or a client's @cert-authority names.
func (a *SSH) Public() ssh.PublicKey { return a.signer.PublicKey() }
