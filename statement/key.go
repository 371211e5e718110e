package statement

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hpke"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
)

// KeyKind says what sort of public key a Key is, and so how it is written.
type KeyKind string

// The kinds of key. People have SSH keys; machines have one key of some kind for each use.
const (
	KindSSH     KeyKind = "ssh"        // Public is "ssh-ed25519 AAAA…": type and base64, no comment
	KindEd25519 KeyKind = "ed25519"    // Public is the SubjectPublicKeyInfo (RFC 5280), base64
	KindECDSA   KeyKind = "ecdsa-p256" // as KindEd25519
	// KindXWing opens what is sealed to it and signs nothing: ML-KEM-768 with X25519 (X-Wing,
	// draft-connolly-cfrg-xwing-kem). Public is its 1216 bytes in base64.
	KindXWing KeyKind = "x-wing"
)

// scheme returns the scheme by which keys of the kind sign; empty if they do not.
func (k KeyKind) scheme() Scheme {
	switch k {
	case KindSSH:
		return SchemeSSHSIG
	case KindEd25519:
		return SchemeEd25519
	case KindECDSA:
		return SchemeECDSA
	}
	return ""
}

// Key is a public key. Equal keys are equal values: there is one way to write each.
type Key struct {
	Kind   KeyKind `json:"kind"`
	Public string  `json:"public"` // as its kind says
}

const (
	minRSA = 3072 // bits
	maxRSA = 8192 // bits; larger ones serve only to keep a verifier busy

	maxAuthorizedKey = 8 << 10 // bytes of a line of authorized_keys
)

// ParseSSHKey reads a public key as it stands in authorized_keys or a .pub file: "ssh-ed25519
// AAAA… comment". Ed25519, ECDSA, RSA of 3072 bits or more, and FIDO keys are good;
// certificates, options before the key, DSA and whatever else are refused (Invalid).
func ParseSSHKey(authorizedKey string) (Key, error) {
	if len(authorizedKey) > maxAuthorizedKey {
		return Key{}, brevet.Errorf(brevet.Invalid, "this is too long for a public key")
	}
	line := strings.TrimSpace(authorizedKey)
	pub, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil || len(options) > 0 || len(rest) > 0 || strings.ContainsAny(line, "\r\n") {
		return Key{}, brevet.Errorf(brevet.Invalid, "this is not one SSH public key").Because(err).
			WithHint("give the one line of a .pub file, as in ~/.ssh/id_ed25519.pub")
	}
	return SSHKey(pub)
}

// SSHKey returns an SSH public key as a Key, or an Invalid error if it is of a kind or size
// that Brevet does not trust.
func SSHKey(pub ssh.PublicKey) (Key, error) {
	if err := checkSSHKey(pub); err != nil {
		return Key{}, err
	}
	return Key{Kind: KindSSH, Public: pub.Type() + " " + base64.StdEncoding.EncodeToString(pub.Marshal())}, nil
}

// MachineKeyOf returns an Ed25519, ECDSA P-256 or X-Wing (crypto/hpke) public key of the
// standard library as a Key; any other is Invalid.
func MachineKeyOf(pub crypto.PublicKey) (Key, error) {
	if pub, ok := pub.(hpke.PublicKey); ok && pub.KEM().ID() == hpke.MLKEM768X25519().ID() {
		return Key{Kind: KindXWing, Public: base64.StdEncoding.EncodeToString(pub.Bytes())}, nil
	}
	kind, err := kindOf(pub)
	if err != nil {
		return Key{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return Key{}, brevet.Errorf(brevet.Invalid, "this public key cannot be written").Because(err)
	}
	return Key{Kind: kind, Public: base64.StdEncoding.EncodeToString(der)}, nil
}

func kindOf(pub crypto.PublicKey) (KeyKind, error) {
	switch pub := pub.(type) {
	case ed25519.PublicKey:
		return KindEd25519, nil
	case *ecdsa.PublicKey:
		if pub.Curve == elliptic.P256() {
			return KindECDSA, nil
		}
	}
	return "", brevet.Errorf(brevet.Invalid, "a machine's key is Ed25519, ECDSA P-256 or X-Wing, not %T", pub)
}

// checkSSHKey refuses keys that no statement may be signed with.
func checkSSHKey(pub ssh.PublicKey) error {
	switch pub.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return nil
	case ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		return checkApplication(pub)
	case ssh.KeyAlgoRSA:
		return checkRSA(pub)
	}
	if _, isCert := pub.(*ssh.Certificate); isCert {
		return brevet.Errorf(brevet.Invalid, "this is a certificate, not a key").
			WithHint("give the public key that it was made for: the .pub file without -cert")
	}
	return brevet.Errorf(brevet.Invalid, "keys of type %s are not accepted", quoteShort(pub.Type())).
		WithHint("make one with: ssh-keygen -t ed25519, or -t ed25519-sk for a security key")
}

// checkApplication wants a FIDO key that was made for SSH. One made for a web site would
// sign there what reads here as a statement.
func checkApplication(pub ssh.PublicKey) error {
	application, ok := applicationOf(pub)
	if !ok || !strings.HasPrefix(application, "ssh:") {
		return brevet.Errorf(brevet.Invalid, "this security key's credential was not made for SSH but for %s", quoteShort(application))
	}
	return nil
}

// applicationOf returns what a FIDO key was made for, from its wire form (OpenSSH's PROTOCOL.u2f, "SSH U2F Key formats").
func applicationOf(pub ssh.PublicKey) (string, bool) {
	switch pub.Type() {
	case ssh.KeyAlgoSKED25519:
		var w struct{ Type, Key, Application string }
		return w.Application, ssh.Unmarshal(pub.Marshal(), &w) == nil
	case ssh.KeyAlgoSKECDSA256:
		var w struct{ Type, Curve, Key, Application string }
		return w.Application, ssh.Unmarshal(pub.Marshal(), &w) == nil
	}
	return "", false
}

func checkRSA(pub ssh.PublicKey) error {
	if c, ok := pub.(ssh.CryptoPublicKey); ok {
		if k, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && k.N.BitLen() >= minRSA && k.N.BitLen() <= maxRSA {
			return nil
		}
	}
	return brevet.Errorf(brevet.Invalid, "an RSA key must have from %d to %d bits", minRSA, maxRSA).
		WithHint("make a better one with: ssh-keygen -t ed25519")
}

// Fingerprint returns the name by which statements call k: of an SSH key what ssh-keygen -l
// prints (SHA256:…), of any other the SHA-256 in hex of its SubjectPublicKeyInfo, or of the bare
// key where there is none. A key that is not well formed has none (Invalid).
func Fingerprint(k Key) (string, error) {
	p, err := k.parse()
	if err != nil {
		return "", err
	}
	return p.fingerprint(), nil
}

// SSH returns the SSH public key that k is, or an Invalid error.
func (k Key) SSH() (ssh.PublicKey, error) {
	p, err := k.parse()
	if err != nil {
		return nil, err
	}
	if p.ssh == nil {
		return nil, brevet.Errorf(brevet.Invalid, "this is not an SSH key")
	}
	return p.ssh, nil
}

// Crypto returns the public key of a machine as ed25519.PublicKey, *ecdsa.PublicKey or
// hpke.PublicKey, or an Invalid error.
func (k Key) Crypto() (crypto.PublicKey, error) {
	p, err := k.parse()
	if err != nil {
		return nil, err
	}
	if p.machine == nil {
		return nil, brevet.Errorf(brevet.Invalid, "this is an SSH key")
	}
	return p.machine, nil
}

// parsedKey is a Key that is well formed. One of ssh and machine is set.
type parsedKey struct {
	kind    KeyKind
	wire    []byte // SSH wire form, SubjectPublicKeyInfo or, of X-Wing, the bare key
	ssh     ssh.PublicKey
	machine crypto.PublicKey
}

func (p parsedKey) fingerprint() string {
	digest := sha256.Sum256(p.wire)
	if p.kind == KindSSH {
		return sshPrefix + base64.RawStdEncoding.EncodeToString(digest[:])
	}
	return hex.EncodeToString(digest[:])
}

// parse reads k and refuses it unless it is written in the one way that SSHKey and
// MachineKeyOf write it: with two spellings, one key could pass for two.
func (k Key) parse() (parsedKey, error) {
	if len(k.Public) > maxAuthorizedKey {
		return parsedKey{}, brevet.Errorf(brevet.Invalid, "this is too long for a public key")
	}
	switch k.Kind {
	case KindSSH:
		return k.parseSSH()
	case KindEd25519, KindECDSA:
		return k.parseMachine()
	case KindXWing:
		return k.parseXWing()
	}
	return parsedKey{}, brevet.Errorf(brevet.Invalid, "there is no kind of key %s", quoteShort(string(k.Kind)))
}

func (k Key) parseSSH() (parsedKey, error) {
	name, body, _ := strings.Cut(k.Public, " ")
	wire, err := decodeBase64(body)
	if err != nil {
		return parsedKey{}, brevet.Errorf(brevet.Invalid, "this is not an SSH public key").Because(err)
	}
	pub, err := ssh.ParsePublicKey(wire)
	if err != nil {
		return parsedKey{}, brevet.Errorf(brevet.Invalid, "this is not an SSH public key").Because(err)
	}
	if err := checkSSHKey(pub); err != nil {
		return parsedKey{}, err
	}
	if pub.Type() != name || !bytes.Equal(pub.Marshal(), wire) {
		return parsedKey{}, brevet.Errorf(brevet.Invalid, "this SSH public key is not written in the usual way")
	}
	return parsedKey{kind: KindSSH, wire: wire, ssh: pub}, nil
}

func (k Key) parseMachine() (parsedKey, error) {
	wire, err := decodeBase64(k.Public)
	if err != nil {
		return parsedKey{}, brevet.Errorf(brevet.Invalid, "this is not a public key in base64").Because(err)
	}
	pub, err := x509.ParsePKIXPublicKey(wire)
	if err != nil {
		return parsedKey{}, brevet.Errorf(brevet.Invalid, "this is not a SubjectPublicKeyInfo").Because(err)
	}
	if again, err := MachineKeyOf(pub); err != nil || again != k {
		return parsedKey{}, brevet.Errorf(brevet.Invalid, "this is not a public key of kind %s, written in the usual way", k.Kind).Because(err)
	}
	return parsedKey{kind: k.Kind, wire: wire, machine: pub}, nil
}

func (k Key) parseXWing() (parsedKey, error) {
	wire, err := decodeBase64(k.Public)
	if err != nil {
		return parsedKey{}, brevet.Errorf(brevet.Invalid, "this is not a public key in base64").Because(err)
	}
	pub, err := hpke.MLKEM768X25519().NewPublicKey(wire)
	if err != nil {
		return parsedKey{}, brevet.Errorf(brevet.Invalid, "this is not an X-Wing public key").Because(err)
	}
	return parsedKey{kind: KindXWing, wire: wire, machine: pub}, nil
}

// checkKind wants a well-formed key of one of the kinds.
func (k Key) checkKind(field string, kinds ...KeyKind) error {
	if !slices.Contains(kinds, k.Kind) {
		return checkOneOf(field+".kind", k.Kind, kinds...)
	}
	if _, err := k.parse(); err != nil {
		message, hint := brevet.MessageOf(err)
		return brevet.Errorf(brevet.Invalid, "%s: %s", field, message).Because(err).WithHint("%s", hint)
	}
	return nil
}
