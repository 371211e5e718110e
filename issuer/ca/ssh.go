package ca

import (
	"crypto/rand"
	"fmt"
	"math"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
)

// maxPrincipals is how many OpenSSH reads of a certificate (SSHKEY_CERT_MAX_PRINCIPALS).
const maxPrincipals = 256

// Certificate is what an SSH certificate says.
type Certificate struct {
	Key        ssh.PublicKey // whom it is for; never a certificate
	Serial     uint64        // never 0, which tools take for "none"
	KeyID      string        // shown in the target's log
	Principals []string
	After      uint64            // seconds since 1970
	Before     uint64            // seconds since 1970; there is always an end
	Options    map[string]string // critical: who does not know one refuses
	Extensions map[string]string
}

// SignUser returns the user certificate in its wire form.
func (a *SSH) SignUser(c Certificate) ([]byte, error) { return a.sign(ssh.UserCert, c) }

// SignHost returns the host certificate in its wire form.
func (a *SSH) SignHost(c Certificate) ([]byte, error) {
	if len(c.Options) > 0 || len(c.Extensions) > 0 {
		return nil, refuse("a host certificate has no options and no extensions")
	}
	return a.sign(ssh.HostCert, c)
}

func (a *SSH) sign(kind uint32, c Certificate) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	cert := &ssh.Certificate{
		Key:             c.Key,
		Serial:          c.Serial,
		CertType:        kind,
		KeyId:           c.KeyID,
		ValidPrincipals: c.Principals,
		ValidAfter:      c.After,
		ValidBefore:     c.Before,
		Permissions:     ssh.Permissions{CriticalOptions: c.Options, Extensions: c.Extensions},
	}
	if err := cert.SignCert(rand.Reader, a.signer); err != nil {
		return nil, fmt.Errorf("sign an SSH certificate: %w", err)
	}
	return cert.Marshal(), nil
}

// check refuses what could mean more than it seems to.
func (c Certificate) check() error {
	switch {
	case c.Key == nil:
		return refuse("a certificate needs a key")
	case strings.Contains(c.Key.Type(), "-cert-"):
		return refuse("a certificate is not made for a certificate")
	case c.Serial == 0:
		return refuse("a certificate's serial is not 0")
	case c.Before <= c.After:
		return refuse("a certificate ends after it begins")
	case c.Before >= math.MaxInt64: // OpenSSH takes the largest number for "forever"
		return refuse("a certificate has an end")
	case c.KeyID == "" || !printable(c.KeyID):
		return refuse("a certificate's key id is one line of printable ASCII")
	case len(c.Principals) == 0: // would be good for every name (CVE-2024-7594)
		return refuse("a certificate has principals")
	case len(c.Principals) > maxPrincipals:
		return refuse("a certificate has at most %d principals", maxPrincipals)
	}
	for _, p := range c.Principals {
		if err := checkPrincipal(p); err != nil {
			return err
		}
	}
	for name, value := range c.Options {
		if !printable(name) || !printable(value) || name == "" {
			return refuse("a certificate's options are printable ASCII")
		}
	}
	for name, value := range c.Extensions {
		if !printable(name) || name == "" || value != "" {
			return refuse("a certificate's extensions are printable words without values")
		}
	}
	return nil
}

// checkPrincipal refuses a principal that some reader could split, expand or take for another:
// lists are separated by commas (CVE-2026-35414), patterns have stars, files have lines.
func checkPrincipal(p string) error {
	if p == "" || len(p) > 256 || !printable(p) || strings.ContainsAny(p, " ,*?!\"'\\#;") || strings.Count(p, "/") > 1 {
		return refuse("%s is not fit to be a principal", brevet.Quote(p[:min(len(p), 80)]))
	}
	return nil
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

func refuse(format string, args ...any) error { return brevet.Errorf(brevet.Refused, format, args...) }
