package enrol

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"log/slog"
	"strings"

	"github.com/brevet-pim/brevet"
)

// TokenPrefix begins every sign-in token, so that scanners of code and logs find leaked ones.
const TokenPrefix = "brevet_t_"

const tokenSize = 32

// Token is what a sign-in gives: 256 random bits. It opens nothing without the TLS client
// certificate that it was made for.
type Token struct{ text string }

// NewToken returns a fresh token.
func NewToken() Token {
	b := make([]byte, tokenSize)
	rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return Token{TokenPrefix + letters.EncodeToString(append(b, tokenChecksum(b)...))}
}

// ParseToken returns s as a token, or an Unauthenticated error if it has not the form or
// the checksum of one. The error does not repeat s.
func ParseToken(s string) (Token, error) {
	text, ok := strings.CutPrefix(s, TokenPrefix)
	b, err := letters.DecodeString(text)
	// Decoding forgives some last letters; comparing again leaves one text per token.
	if !ok || err != nil || len(b) != tokenSize+checksumSize || letters.EncodeToString(b) != text ||
		!bytes.Equal(tokenChecksum(b[:tokenSize]), b[tokenSize:]) {
		return Token{}, brevet.Errorf(brevet.Unauthenticated, "that is not a sign-in token").WithHint("brevet login")
	}
	return Token{s}, nil
}

// tokenChecksum is CRC-32 as in IEEE 802.3, so that a scanner can tell a token from a look-alike.
func tokenChecksum(b []byte) []byte {
	return binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(b))
}

// Reveal returns the token's text, for the one header that carries it and the one file that keeps it.
func (t Token) Reveal() string { return t.text }

// Digest returns the SHA-256 of the token's text, hex: what the server stores.
func (t Token) Digest() string {
	sum := sha256.Sum256([]byte(t.text))
	return hex.EncodeToString(sum[:])
}

// String hides the token.
func (Token) String() string { return "[secret]" }

// GoString hides the token.
func (Token) GoString() string { return "[secret]" }

// LogValue hides the token.
func (Token) LogValue() slog.Value { return slog.StringValue("[secret]") }
