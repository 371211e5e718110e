package statement_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hpke"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math/big"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet/statement"
)

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// newSSH returns a signer by a fresh key for SSH.
func newSSH(t testing.TB, private crypto.Signer) statement.Signer {
	t.Helper()
	return must(statement.SSHSigner(must(ssh.NewSignerFromSigner(private))(t)))(t)
}

func newEd25519(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	return must(private, err)(t)
}

func newECDSA(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	return must(ecdsa.GenerateKey(curve, rand.Reader))(t)
}

// rsa3072 and rsa2048 are made once: they take long.
var (
	rsa3072 = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 3072) })
	rsa2048 = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })
)

func newXWing(t testing.TB) statement.Key {
	t.Helper()
	return must(statement.MachineKeyOf(must(hpke.MLKEM768X25519().GenerateKey())(t).PublicKey()))(t)
}

// fidoKey is a security key in software, by OpenSSH's PROTOCOL.u2f: a real private key, and
// flags as the test wants them.
type fidoKey struct {
	application string
	flags       byte
	public      ssh.PublicKey
	sign        func(message []byte) []byte // returns the signature's blob
}

const touched, verified = 0x01, 0x04

func newFIDOEd25519(t testing.TB, application string, flags byte) *fidoKey {
	t.Helper()
	private := newEd25519(t)
	wire := ssh.Marshal(struct {
		Type        string
		Key         []byte
		Application string
	}{ssh.KeyAlgoSKED25519, private.Public().(ed25519.PublicKey), application})
	return &fidoKey{
		application: application,
		flags:       flags,
		public:      must(ssh.ParsePublicKey(wire))(t),
		sign:        func(message []byte) []byte { return ed25519.Sign(private, message) },
	}
}

func newFIDOECDSA(t testing.TB, application string, flags byte) *fidoKey {
	t.Helper()
	private := newECDSA(t, elliptic.P256())
	point := must(private.PublicKey.Bytes())(t)
	wire := ssh.Marshal(struct {
		Type, Curve string
		Key         []byte
		Application string
	}{ssh.KeyAlgoSKECDSA256, "nistp256", point, application})
	return &fidoKey{
		application: application,
		flags:       flags,
		public:      must(ssh.ParsePublicKey(wire))(t),
		sign: func(message []byte) []byte {
			digest := sha256.Sum256(message)
			r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
			if err != nil {
				t.Error(err)
			}
			return ssh.Marshal(struct{ R, S *big.Int }{r, s})
		},
	}
}

func (k *fidoKey) PublicKey() ssh.PublicKey { return k.public }

func (k *fidoKey) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) {
	application, message := sha256.Sum256([]byte(k.application)), sha256.Sum256(data)
	rest := binary.BigEndian.AppendUint32([]byte{k.flags}, 7)
	signed := append(append(application[:], rest...), message[:]...)
	return &ssh.Signature{Format: k.public.Type(), Blob: k.sign(signed), Rest: rest}, nil
}

// certificateFor returns a certificate for signer's key, made by that key itself.
func certificateFor(t testing.TB, signer ssh.Signer) *ssh.Certificate {
	t.Helper()
	c := &ssh.Certificate{Key: signer.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"bob"}, ValidBefore: ssh.CertTimeInfinity}
	if err := c.SignCert(rand.Reader, signer); err != nil {
		t.Fatal(err)
	}
	return c
}
