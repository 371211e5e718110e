package proof

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

// CertificateLead is how long before its grant a certificate is valid, for targets whose clocks are late.
const CertificateLead = 30 * time.Second

// The options and extensions that a certificate may have.
const (
	sourceAddress = "source-address"
	permitPrefix  = "permit-"
)

// CertificateTerms are everything that an SSH certificate for a grant says, but its keys.
type CertificateTerms struct {
	KeyID      string
	Principals []string
	After      uint64 // seconds since 1970
	Before     uint64 // seconds since 1970
	Options    map[string]string
	Extensions map[string]string
}

// CertificateFor returns what the certificate for a grant must say: nothing else may be signed,
// and nothing else is accepted. Its end is never after the grant's.
func CertificateFor(g statement.Grant, role brevet.Role, gateway statement.Machine) (CertificateTerms, error) {
	principals, err := Principals(g.Terms)
	if err != nil {
		return CertificateTerms{}, err
	}
	from := time.UnixMicro(g.From).Add(-CertificateLead)
	t := CertificateTerms{
		KeyID:      string(g.ID) + " " + string(g.Person),
		Principals: principals,
		After:      uint64(max(0, from.Unix())),
		Before:     uint64(max(0, time.UnixMicro(g.To).Unix())), // rounded down
		Options:    map[string]string{},
		Extensions: map[string]string{},
	}
	if t.Before <= t.After {
		return CertificateTerms{}, refuse("the grant is too short for a certificate")
	}
	if len(gateway.Addresses) > 0 {
		t.Options[sourceAddress] = strings.Join(gateway.Addresses, ",")
	}
	for _, what := range role.SSH.Permit {
		if !slices.Contains(knownPermits, what) {
			return CertificateTerms{}, refuse("the role %s permits %s, which this version does not give", role.Name, brevet.Quote(what))
		}
		t.Extensions[permitPrefix+what] = ""
	}
	return t, nil
}

// knownPermits are the certificate extensions that a role may give, without "permit-". Forwarding of
// any kind would lead past the recording.
var knownPermits = []string{"pty"}

// maxPrincipals is how many principals OpenSSH reads of a certificate (SSHKEY_CERT_MAX_PRINCIPALS).
const maxPrincipals = 256

// Principals returns `target/login` for each pair of the terms, sorted. There is at least one: a
// certificate without principals would be good for everybody, and one with a star or a comma
// for others than were meant (CVE-2024-7594, CVE-2026-35414).
func Principals(t statement.Terms) ([]string, error) {
	var principals []string
	for _, target := range t.Targets {
		if err := brevet.CheckName("target", string(target)); err != nil {
			return nil, err
		}
		for _, login := range t.Logins {
			if err := statement.CheckLogin("login", login); err != nil {
				return nil, err
			}
			principals = append(principals, string(target)+"/"+login)
		}
	}
	if len(principals) == 0 || len(principals) > maxPrincipals {
		return nil, refuse("%d pairs of target and login do not fit one certificate", len(principals)).
			WithHint("ask for from 1 to %d", maxPrincipals)
	}
	slices.Sort(principals)
	return slices.Compact(principals), nil
}

// checkCertificate checks that the wire form is the certificate that the grant names, signed by an
// authority of the issuer, and says exactly what CertificateFor says.
func (r *Roster) checkCertificate(wire []byte, g statement.Grant, want CertificateTerms, at int64) (*ssh.Certificate, error) {
	if digestOf(wire) != g.Cert {
		return nil, refuse("the certificate is not the one that the grant names")
	}
	parsed, err := ssh.ParsePublicKey(wire)
	if err != nil {
		return nil, refuse("the certificate cannot be read").Because(err)
	}
	cert, ok := parsed.(*ssh.Certificate)
	if !ok || !bytes.Equal(cert.Marshal(), wire) {
		return nil, refuse("the certificate is a mere key, or not written in the usual way")
	}
	return cert, cmp.Or(
		r.checkAuthority(cert, at),
		checkFields(cert, g, want),
	)
}

// checkAuthority checks the signature and that its key was an authority of the issuer before at.
// x/crypto's CertChecker would ask about principals and times as of now; here they must be exact.
func (r *Roster) checkAuthority(cert *ssh.Certificate, at int64) error {
	fingerprint := ssh.FingerprintSHA256(cert.SignatureKey)
	m, key, err := r.MachineOf(fingerprint, statement.KeyUserCA, at)
	if err != nil {
		return within(err, "the certificate's authority")
	}
	if m.Use != statement.MachineIssuer {
		return refuse("the certificate's authority %s is a %s, not an issuer", m.Name, m.Use)
	}
	public, err := key.SSH()
	if err != nil {
		return err
	}
	unsigned := *cert
	unsigned.Signature = nil
	bytes := unsigned.Marshal()
	if err := public.Verify(bytes[:len(bytes)-4], cert.Signature); err != nil { // without the empty signature's length
		return refuse("the certificate's signature is not good").Because(err)
	}
	return nil
}

func checkFields(cert *ssh.Certificate, g statement.Grant, want CertificateTerms) error {
	same := func(a, b map[string]string) bool {
		return len(a) == len(b) && !slices.ContainsFunc(sortedKeys(a), func(k string) bool { v, ok := b[k]; return !ok || v != a[k] })
	}
	for _, field := range []struct {
		name string
		good bool
	}{
		{"type", cert.CertType == ssh.UserCert},
		{"serial", cert.Serial != 0 && strconv.FormatUint(cert.Serial, 10) == g.Serial},
		{"key id", cert.KeyId == want.KeyID},
		{"key", ssh.FingerprintSHA256(cert.Key) == g.Holder.Key},
		{"principals", slices.Equal(cert.ValidPrincipals, want.Principals)},
		{"beginning", cert.ValidAfter == want.After},
		{"end", cert.ValidBefore == want.Before},
		{"critical options", same(cert.CriticalOptions, want.Options)},
		{"extensions", same(cert.Extensions, want.Extensions)},
	} {
		if !field.good {
			return refuse("the certificate's %s is not the grant's", field.name)
		}
	}
	return nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
