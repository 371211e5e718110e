// Package seal is encryption at rest: a Keeper seals small objects (keys, secrets) under
// a key that an operator holds, and a Recipient lets anyone seal a recording's data key
// that only the holder of the matching Identity can open.
//
// It also owns how secret files are read and written (file.go). What is sealed, and
// where it is kept, is the caller's business.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"slices"

	"github.com/brevet-pim/brevet"
)

// A sealed object is
//
//	"brevet.seal" 0x01 | key id (8) | wrapped data key (12+32+16) | body (12+n+16)
//
// Both sealings are AES-256-GCM with a random nonce in front. The data key is used once;
// it is wrapped by the key that the id names. Each has the object's name as associated
// data, so that an object moved to another name does not open. The key id is bound to
// the wrapped key only, so that Rewrap leaves the body as it is.
const (
	magic       = "brevet.seal\x01"
	dataKeySize = 32
	gcmOverhead = 12 + 16
	wrappedSize = dataKeySize + gcmOverhead
	headerSize  = len(magic) + len(KeyID{}) + wrappedSize
)

// MaxName is the longest name of a sealed object, in bytes.
const MaxName = 1024

// Keeper seals under one key and opens what that key or an older one sealed. It is safe
// for concurrent use.
type Keeper struct {
	current Key
	keys    map[KeyID]Key
}

// NewKeeper returns a Keeper that seals under current. The older keys only open; they may
// go once Stale reports false for everything that is kept.
func NewKeeper(current Key, older ...Key) (*Keeper, error) {
	k := &Keeper{current: current, keys: map[KeyID]Key{}}
	for _, key := range append([]Key{current}, older...) {
		if key.aead == nil {
			return nil, brevet.Errorf(brevet.Invalid, "the sealing key is empty")
		}
		k.keys[key.id] = key
	}
	return k, nil
}

// Seal encrypts plaintext under a fresh data key. The name says which object this is, as
// in "issuer/ssh-user-ca"; Open needs the same.
func (k *Keeper) Seal(name string, plaintext []byte) ([]byte, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	dataKey := make([]byte, dataKeySize)
	defer clear(dataKey)
	rand.Read(dataKey) // never fails (crypto/rand, Go 1.24)

	out := make([]byte, 0, headerSize+len(plaintext)+gcmOverhead)
	out = k.wrap(out, name, dataKey)
	return newAEAD(dataKey).Seal(out, nil, plaintext, associated("body", name)), nil
}

// Open decrypts what Seal made for the same name. The error is Refused if the object was
// altered or is another's, and NotFound if the key that sealed it is not here.
func (k *Keeper) Open(name string, sealed []byte) (brevet.Secret, error) {
	dataKey, err := k.unwrap(name, sealed)
	if err != nil {
		return brevet.Secret{}, err
	}
	defer clear(dataKey)
	plaintext, err := newAEAD(dataKey).Open(nil, nil, sealed[headerSize:], associated("body", name))
	if err != nil {
		return brevet.Secret{}, altered(name)
	}
	return brevet.NewSecret(plaintext), nil
}

// Stale reports whether the object is sealed under another key than the current one, and
// should be rewrapped.
func (k *Keeper) Stale(sealed []byte) bool {
	id, err := keyIDOf(sealed)
	return err != nil || id != k.current.id
}

// Rewrap returns the object with its data key wrapped by the current key, and everything
// else as it was. It is how keys are rotated.
func (k *Keeper) Rewrap(name string, sealed []byte) ([]byte, error) {
	dataKey, err := k.unwrap(name, sealed)
	if err != nil {
		return nil, err
	}
	defer clear(dataKey)
	out := k.wrap(make([]byte, 0, len(sealed)), name, dataKey)
	return append(out, sealed[headerSize:]...), nil
}

// wrap appends the header: magic, id of the current key, data key wrapped by it.
func (k *Keeper) wrap(out []byte, name string, dataKey []byte) []byte {
	out = append(out, magic...)
	out = append(out, k.current.id[:]...)
	return k.current.aead.Seal(out, nil, dataKey, associated("key", name))
}

func (k *Keeper) unwrap(name string, sealed []byte) ([]byte, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	id, err := keyIDOf(sealed)
	if err != nil {
		return nil, err
	}
	key, ok := k.keys[id]
	if !ok {
		return nil, brevet.Errorf(brevet.NotFound, "%s is sealed under key %s, which is not configured", brevet.Quote(name), id).
			WithHint("name the file of that key among the older sealing keys")
	}
	wrapped := sealed[headerSize-wrappedSize : headerSize]
	dataKey, err := key.aead.Open(nil, nil, wrapped, associated("key", name))
	if err != nil || len(dataKey) != dataKeySize {
		return nil, altered(name)
	}
	return dataKey, nil
}

func keyIDOf(sealed []byte) (KeyID, error) {
	if len(sealed) < headerSize+gcmOverhead || string(sealed[:len(magic)]) != magic {
		return KeyID{}, brevet.Errorf(brevet.Invalid, "this is not an object that Brevet sealed")
	}
	return KeyID(sealed[len(magic):][:len(KeyID{})]), nil
}

func altered(name string) error {
	return brevet.Errorf(brevet.Refused, "%s does not open: it was altered, or belongs to another name", brevet.Quote(name)).
		WithHint("restore it from a backup, and find out who can write there")
}

func checkName(name string) error {
	if name == "" || len(name) > MaxName {
		return brevet.Errorf(brevet.Invalid, "the name of a sealed object has 1 to %d bytes, not %d", MaxName, len(name))
	}
	return nil
}

// associated separates the two uses of a name, so that a wrapped key never passes for a body.
func associated(use, name string) []byte {
	return slices.Concat([]byte(magic), []byte(use), []byte{0}, []byte(name))
}

// newAEAD returns AES-256-GCM that puts a random nonce in front of what it seals.
func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // unreachable: every caller has checked that the key has 32 bytes
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // unreachable: AES has the block size that GCM needs
	}
	return aead
}
