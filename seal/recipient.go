package seal

import (
	"crypto/hpke"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	"github.com/brevet-pim/brevet"
)

// The suite of RFC 9180 for sealing to a recipient: X-Wing (ML-KEM-768 with X25519), HKDF
// with SHA-256, AES-256-GCM. Recordings are kept for years, so what is recorded today must
// not open to whoever has a quantum computer then.
func kem() hpke.KEM   { return hpke.MLKEM768X25519() }
func kdf() hpke.KDF   { return hpke.HKDFSHA256() }
func aead() hpke.AEAD { return hpke.AES256GCM() }

// EncapsulationSize is how many bytes Wrap puts in front of the ciphertext, and
// WrapOverhead by how much its result is longer than the secret.
const (
	EncapsulationSize = 1120
	WrapOverhead      = EncapsulationSize + 16
)

// RecipientID is the SHA-256 of a recipient's public key.
type RecipientID [sha256.Size]byte

func (id RecipientID) String() string { return hex.EncodeToString(id[:]) }

// Recipient is the public half of an Identity: secrets can be sealed to it. The zero
// Recipient refuses.
type Recipient struct{ key hpke.PublicKey }

// ParseRecipient reads what String wrote.
func ParseRecipient(s string) (Recipient, error) {
	invalid := brevet.Errorf(brevet.Invalid, "this is not the public key of a recorder (X-Wing, 1216 bytes in base64)")
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return Recipient{}, invalid.Because(err)
	}
	key, err := kem().NewPublicKey(b)
	if err != nil {
		return Recipient{}, invalid.Because(err)
	}
	return Recipient{key}, nil
}

// String returns the public key in base64, as a machine statement carries it.
func (r Recipient) String() string {
	if r.key == nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(r.key.Bytes())
}

// ID returns the recipient's id.
func (r Recipient) ID() RecipientID {
	if r.key == nil {
		return RecipientID{}
	}
	return sha256.Sum256(r.key.Bytes())
}

// Wrap seals a secret to the recipient (HPKE base mode, single shot, RFC 9180 §6.1). The
// context says what it is for, and Unwrap needs the same.
func (r Recipient) Wrap(context string, secret []byte) ([]byte, error) {
	if r.key == nil {
		return nil, brevet.Errorf(brevet.Invalid, "there is no recipient to seal to")
	}
	return hpke.Seal(r.key, kdf(), aead(), []byte(context), secret)
}

// Identity is the private half: it opens what was sealed to its Recipient.
type Identity struct{ key hpke.PrivateKey }

// NewIdentity makes a random identity.
func NewIdentity() (*Identity, error) {
	key, err := kem().GenerateKey()
	if err != nil {
		return nil, err
	}
	return &Identity{key}, nil
}

// ParseIdentity returns the identity of the bytes that Bytes gave.
func ParseIdentity(s brevet.Secret) (*Identity, error) {
	key, err := kem().NewPrivateKey(s.Reveal())
	if err != nil {
		return nil, brevet.Errorf(brevet.Invalid, "this is not the private key of a recorder")
	}
	return &Identity{key}, nil
}

// Bytes returns the private key, 32 bytes, to be kept sealed by a Keeper.
func (i *Identity) Bytes() (brevet.Secret, error) {
	b, err := i.key.Bytes()
	return brevet.NewSecret(b), err
}

// Recipient returns the public half.
func (i *Identity) Recipient() Recipient { return Recipient{i.key.PublicKey()} }

// Unwrap opens what Wrap sealed to this identity in the same context. The error is Refused
// if it was altered, or is for another identity or context.
func (i *Identity) Unwrap(context string, wrapped []byte) (brevet.Secret, error) {
	b, err := hpke.Open(i.key, kdf(), aead(), []byte(context), wrapped)
	if err != nil {
		return brevet.Secret{}, brevet.Errorf(brevet.Refused, "the sealed key does not open: it was altered, or is for another recipient")
	}
	return brevet.NewSecret(b), nil
}
