// Package enrol owns two texts that people carry between machines: the one-time
// code that an administrator hands to somebody new (Code), and the token that a
// sign-in gives (Token). Both carry a checksum, so that a slip of the hand and a
// leaked one are recognised without asking anybody.
//
// Who may have one, for how long, and what becomes of it are the server's matters.
package enrol

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"net"
	"strconv"
	"strings"
	"unicode"

	"github.com/brevet-pim/brevet"
)

// codePrefix is the version of the code's layout.
const codePrefix = "brevet1-"

const (
	secretSize   = 16
	digestSize   = sha256.Size
	checksumSize = 4
	maxAddress   = 255
	maxCode      = 1024 // characters, before anything is decoded
)

// letters is RFC 4648 base32 in lower case, without padding: it survives being read aloud,
// retyped and double-clicked.
var letters = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Code is what a newcomer's machine must know before it can trust a server and be trusted.
// It replaces "trust on first use": who has it knows the server's certificate authority and
// the organisation's root before the first byte is sent.
type Code struct {
	Secret  Secret          // shown to the server, once
	Pin     [32]byte        // SHA-256 of the SubjectPublicKeyInfo of the authority of the server's TLS certificate
	Root    [32]byte        // id of the organisation's first root statement
	Address string          // host:port of the server
	Person  brevet.PersonID // whom it is for
}

// Encode returns the code as text, or an Invalid error if its address or person cannot be
// in one.
func (c Code) Encode() (string, error) {
	if err := c.validate(); err != nil {
		return "", err
	}
	var b []byte
	b = append(b, c.Secret[:]...)
	b = append(b, c.Pin[:]...)
	b = append(b, c.Root[:]...)
	b = append(b, byte(len(c.Address)))
	b = append(b, c.Address...)
	b = append(b, byte(len(c.Person)))
	b = append(b, c.Person...)
	return codePrefix + letters.EncodeToString(append(b, checksum(b)...)), nil
}

// ParseCode reads a code as people paste it: letters of either case, with blanks and line
// breaks anywhere. A code with a mistake in it is an Invalid error.
func ParseCode(s string) (Code, error) {
	if len(s) > maxCode {
		return Code{}, badCode("is too long")
	}
	text, ok := strings.CutPrefix(strings.ToLower(withoutBlanks(s)), codePrefix)
	if !ok {
		return Code{}, badCode("does not begin with " + codePrefix)
	}
	b, err := letters.DecodeString(text)
	if err != nil || letters.EncodeToString(b) != text {
		return Code{}, badCode("has a letter that no code has, or is cut off")
	}
	if len(b) < checksumSize || !bytes.Equal(checksum(b[:len(b)-checksumSize]), b[len(b)-checksumSize:]) {
		return Code{}, badCode("has a mistake in it, or is cut off")
	}
	return decode(b[:len(b)-checksumSize])
}

func decode(b []byte) (Code, error) {
	var c Code
	for _, field := range [][]byte{c.Secret[:], c.Pin[:], c.Root[:]} {
		if len(b) < len(field) {
			return Code{}, badCode("is cut off")
		}
		b = b[copy(field, b):]
	}
	address, b, ok := cutText(b)
	if !ok {
		return Code{}, badCode("is cut off")
	}
	person, b, ok := cutText(b)
	if !ok || len(b) != 0 {
		return Code{}, badCode("is cut off, or goes on too long")
	}
	c.Address, c.Person = address, brevet.PersonID(person)
	if err := c.validate(); err != nil {
		return Code{}, err
	}
	return c, nil
}

// cutText takes a text that stands behind its own length.
func cutText(b []byte) (text string, rest []byte, ok bool) {
	if len(b) == 0 || len(b)-1 < int(b[0]) {
		return "", nil, false
	}
	end := 1 + int(b[0])
	return string(b[1:end]), b[end:], true
}

func (c Code) validate() error {
	if err := CheckAddress(c.Address); err != nil {
		return err
	}
	return brevet.CheckName("person", string(c.Person))
}

// CheckAddress returns an Invalid error unless address is host:port with a host of plain
// ASCII and a port from 1 to 65535.
func CheckAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	number, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || number == 0 || host == "" || len(address) > maxAddress || strings.ContainsFunc(host, notInHost) {
		return brevet.Errorf(brevet.Invalid, "%s is not the address of a server", brevet.Quote(clip(address))).
			WithHint("write host:port, as in brevet.example.org:7443")
	}
	return nil
}

func notInHost(r rune) bool {
	return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(".-_:%", r)
}

// checksum finds slips and cut-off codes. It is no proof: whoever can write a code can
// write its checksum.
func checksum(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:checksumSize]
}

func badCode(what string) error {
	return brevet.Errorf(brevet.Invalid, "the code %s", what).
		WithHint("paste the whole line that `brevet people invite` printed, from %s on", codePrefix)
}

func withoutBlanks(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

// Secret is the part of a code that the server must be shown. The server keeps its digest
// only.
type Secret [secretSize]byte

// NewSecret returns a fresh secret of 128 random bits.
func NewSecret() Secret {
	var s Secret
	rand.Read(s[:]) // never fails (crypto/rand, Go 1.24)
	return s
}

// ParseSecret reads what Reveal wrote, or returns an Invalid error.
func ParseSecret(s string) (Secret, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != secretSize || hex.EncodeToString(b) != s {
		return Secret{}, badCode("has no secret of the right form")
	}
	return Secret(b), nil
}

// Reveal returns the secret in hex, as AnswerInvitation sends it.
func (s Secret) Reveal() string { return hex.EncodeToString(s[:]) }

// Digest returns the SHA-256 of the secret's bytes, hex: what the server stores and what an
// enrolment statement names. It gives nothing away, since the secret has 128 random bits.
func (s Secret) Digest() string {
	sum := sha256.Sum256(s[:])
	return hex.EncodeToString(sum[:])
}

// String hides the secret.
func (Secret) String() string { return "[secret]" }

// GoString hides the secret.
func (Secret) GoString() string { return "[secret]" }
