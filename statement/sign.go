package statement

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/brevet-pim/brevet"
)

// Signer is a private key that signs statements.
type Signer interface {
	// Key returns the public key.
	Key() Key
	// Sign signs the PAE of a statement. It may ask a person for a touch or a PIN and wait
	// until ctx ends.
	Sign(ctx context.Context, pae []byte) (Signature, error)
}

// keyPair is what all signers have: the public key, and what signatures call it.
type keyPair struct {
	key         Key
	fingerprint string
}

func (k keyPair) Key() Key { return k.key }

// SSHSigner returns a signer by an SSH private key, or an Invalid error if its public key is
// of a kind that SSHKey refuses.
func SSHSigner(s ssh.Signer) (Signer, error) {
	pair, err := sshPair(s.PublicKey())
	if err != nil {
		return nil, err
	}
	return sshSigner{pair, s}, nil
}

func sshPair(pub ssh.PublicKey) (keyPair, error) {
	key, err := SSHKey(pub)
	if err != nil {
		return keyPair{}, err
	}
	fingerprint, err := Fingerprint(key)
	return keyPair{key, fingerprint}, err
}

type sshSigner struct {
	keyPair
	ssh ssh.Signer
}

func (s sshSigner) Sign(_ context.Context, pae []byte) (Signature, error) {
	return s.sign(pae, s.ssh)
}

func (k keyPair) sign(pae []byte, by ssh.Signer) (Signature, error) {
	sig, err := sshsig.Sign(bytes.NewReader(pae), by, sshsig.HashSHA512, Namespace)
	if err != nil {
		return Signature{}, brevet.Errorf(brevet.Unavailable, "the key %s did not sign", k.fingerprint).Because(err)
	}
	return Signature{Scheme: SchemeSSHSIG, Key: k.fingerprint, Sig: sig.Marshal()}, nil
}

// MachineSigner returns a signer by a machine's Ed25519 or ECDSA P-256 key, which may live in
// a file, a token or a KMS. Other keys are Invalid.
func MachineSigner(s crypto.Signer) (Signer, error) {
	key, err := MachineKeyOf(s.Public())
	if err != nil {
		return nil, err
	}
	fingerprint, err := Fingerprint(key)
	if err != nil {
		return nil, err
	}
	hash := crypto.SHA256
	if key.Kind == KindEd25519 {
		hash = 0 // Ed25519 takes the message itself
	}
	return machineSigner{keyPair{key, fingerprint}, s, hash}, nil
}

type machineSigner struct {
	keyPair
	private crypto.Signer
	hash    crypto.Hash
}

// here reports whether the private key is in this process's memory, and pairs with the public one.
func (s machineSigner) here() bool {
	switch s.private.(type) {
	case ed25519.PrivateKey, *ecdsa.PrivateKey:
		return true
	}
	return false
}

func (s machineSigner) Sign(_ context.Context, pae []byte) (Signature, error) {
	sig, err := crypto.SignMessage(s.private, rand.Reader, pae, s.hash)
	if err != nil {
		return Signature{}, brevet.Errorf(brevet.Unavailable, "the key %s did not sign", s.fingerprint).Because(err)
	}
	return Signature{Scheme: s.key.Kind.scheme(), Key: s.fingerprint, Sig: sig}, nil
}

// Passphrase asks for the passphrase of a private key in a file.
type Passphrase func(ctx context.Context, path string) (brevet.Secret, error)

const maxKeyFile = 64 << 10

// FileSigner returns a signer by the SSH private key in a file that others cannot read. ask
// is called if the key is encrypted, and may be nil. A FIDO key's file holds no key that
// could sign: see SecurityKeySigner.
func FileSigner(ctx context.Context, path string, ask Passphrase) (Signer, error) {
	b, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	s, err := ssh.ParsePrivateKey(b)
	if missing, ok := errors.AsType[*ssh.PassphraseMissingError](err); ok {
		s, err = decryptKey(ctx, path, b, ask, missing)
	}
	if err != nil {
		return nil, keyFileError(path, err)
	}
	return SSHSigner(s)
}

func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, brevet.Errorf(brevet.NotFound, "the key file %s cannot be opened", path).Because(err)
	}
	defer f.Close()
	info, err := f.Stat() // of the open file, not of what the name may mean a moment later
	if err != nil {
		return nil, brevet.Errorf(brevet.Unavailable, "the key file %s cannot be read", path).Because(err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxKeyFile {
		return nil, brevet.Errorf(brevet.Invalid, "%s is not a key file", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, brevet.Errorf(brevet.Refused, "others can read the key file %s, so it is not secret", path).
			WithHint("chmod 600 %s", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, brevet.Errorf(brevet.Unavailable, "the key file %s cannot be read", path).Because(err)
	}
	return b, nil
}

func decryptKey(ctx context.Context, path string, b []byte, ask Passphrase, missing error) (ssh.Signer, error) {
	if ask == nil {
		return nil, brevet.Errorf(brevet.Invalid, "the key in %s is encrypted", path).Because(missing).
			WithHint("load it into your agent: ssh-add %s", path)
	}
	passphrase, err := ask(ctx, path)
	if err != nil {
		return nil, err
	}
	defer passphrase.Erase()
	return ssh.ParsePrivateKeyWithPassphrase(b, passphrase.Reveal())
}

// keyFileError says what is wrong with a file that gave no key, without its content.
func keyFileError(path string, err error) error {
	if known, ok := errors.AsType[*brevet.Error](err); ok {
		return known
	}
	if errors.Is(err, context.Canceled) { // at the passphrase
		return err
	}
	return brevet.Errorf(brevet.Invalid, "the file %s gives no key that signs: it is not a private key of OpenSSH, or the passphrase is another", path).Because(err)
}

// AgentKeys lists the keys that the ssh-agent at the socket offers and that could sign
// statements. Its certificates and other keys are left out.
func AgentKeys(ctx context.Context, socket string) ([]Key, error) {
	var keys []Key
	err := withAgent(ctx, socket, func(a agent.ExtendedAgent) error {
		offered, err := a.List()
		for _, o := range offered {
			if pub, err := ssh.ParsePublicKey(o.Marshal()); err == nil {
				if key, err := SSHKey(pub); err == nil {
					keys = append(keys, key)
				}
			}
		}
		return err
	})
	return keys, err
}

// AgentSigner returns a signer by the key of the given fingerprint in the ssh-agent at the
// socket; FIDO keys are asked for a touch by the agent. A key that is not there is NotFound.
func AgentSigner(ctx context.Context, socket, fingerprint string) (Signer, error) {
	keys, err := AgentKeys(ctx, socket)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if name, err := Fingerprint(key); err == nil && name == fingerprint {
			return agentSigner{keyPair{key, fingerprint}, socket}, nil
		}
	}
	return nil, brevet.Errorf(brevet.NotFound, "the ssh-agent does not have the key %s", quoteShort(fingerprint)).
		WithHint("see what it has with: ssh-add -l; add yours with: ssh-add %s", filepath.Join("~", ".ssh", "FILE"))
}

// agentSigner connects anew for each signature: nothing is left open while a person thinks.
type agentSigner struct {
	keyPair
	socket string
}

func (s agentSigner) Sign(ctx context.Context, pae []byte) (sig Signature, err error) {
	err = withAgent(ctx, s.socket, func(a agent.ExtendedAgent) error {
		signers, err := a.Signers()
		if err != nil {
			return err
		}
		for _, by := range signers {
			if ssh.FingerprintSHA256(by.PublicKey()) == s.fingerprint {
				sig, err = s.sign(pae, by)
				return err
			}
		}
		return brevet.Errorf(brevet.NotFound, "the ssh-agent no longer has the key %s", s.fingerprint)
	})
	return sig, err
}

// withAgent connects to an ssh-agent for as long as use lasts, but not longer than ctx.
func withAgent(ctx context.Context, socket string, use func(agent.ExtendedAgent) error) error {
	if socket == "" {
		return brevet.Errorf(brevet.Unavailable, "no ssh-agent is running here").
			WithHint("start one with: eval $(ssh-agent); or name a key file")
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return brevet.Errorf(brevet.Unavailable, "the ssh-agent at %s does not answer", socket).Because(err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	err = use(agent.NewClient(conn))
	if ctx.Err() != nil {
		return brevet.Errorf(brevet.Unavailable, "the ssh-agent did not answer in time").Because(errors.Join(ctx.Err(), err))
	}
	if err != nil && brevet.KindOf(err) == brevet.Internal {
		return brevet.Errorf(brevet.Unavailable, "the ssh-agent failed").Because(err)
	}
	return err
}
