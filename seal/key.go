package seal

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"

	"github.com/brevet-pim/brevet"
)

// KeyID tells sealing keys apart. It is derived from the key and gives nothing of it away.
type KeyID [8]byte

func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// Key is a key-encryption key. It has no way back to its bytes.
type Key struct {
	id   KeyID
	aead cipher.AEAD
}

// NewKey returns the key of 32 bytes, which the caller may erase.
func NewKey(b []byte) (Key, error) {
	if len(b) != dataKeySize {
		return Key{}, brevet.Errorf(brevet.Invalid, "a sealing key has %d random bytes, not %d", dataKeySize, len(b))
	}
	h := sha256.New()
	h.Write([]byte("brevet.seal.key.v1\n"))
	h.Write(b)
	return Key{id: KeyID(h.Sum(nil)[:len(KeyID{})]), aead: newAEAD(b)}, nil
}

// ReadKey reads a key from a file that only its owner may read: 32 bytes, written as 64
// hexadecimal digits or as base64, with or without a line end.
func ReadKey(path string) (Key, error) {
	text, err := ReadFile(path, 256)
	if errors.Is(err, fs.ErrNotExist) {
		return Key{}, brevet.Errorf(brevet.NotFound, "there is no sealing key at %s", brevet.Quote(path)).Because(err).
			WithHint("brevet init makes one; openssl rand -hex 32 does too")
	}
	if err != nil {
		return Key{}, err
	}
	defer text.Erase()
	b, err := decodeKey(bytes.TrimSpace(text.Reveal()))
	defer clear(b)
	if err != nil {
		return Key{}, brevet.Errorf(brevet.Invalid, "%s does not hold a sealing key: 32 bytes as 64 hexadecimal digits or base64", brevet.Quote(path))
	}
	return NewKey(b)
}

// CreateKey makes a random key and writes it to a new file, in hexadecimal. If the file
// exists, it stays and the error matches fs.ErrExist.
func CreateKey(path string) (Key, error) {
	b := make([]byte, dataKeySize)
	defer clear(b)
	rand.Read(b)
	text := append(hex.AppendEncode(nil, b), '\n')
	defer clear(text)
	if err := CreateFile(path, text); err != nil {
		return Key{}, err
	}
	return NewKey(b)
}

func decodeKey(text []byte) ([]byte, error) {
	decode := base64.StdEncoding.Strict().AppendDecode
	if len(text) == 2*dataKeySize {
		decode = hex.AppendDecode
	}
	b, err := decode(nil, text)
	if err == nil && len(b) != dataKeySize {
		err = errors.New("wrong length")
	}
	return b, err
}
