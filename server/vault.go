package server

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/seal"
	"github.com/brevet-pim/brevet/statement"
)

// maxKey bounds a sealed private key's file.
const maxKey = 16 << 10

// vault keeps the private keys of a data folder, each in a file of its own, sealed.
type vault struct {
	dir    string
	keeper *seal.Keeper
}

// putBack is what helps when a part of a data folder is gone or is another's: nothing makes it anew.
const putBack = "put it back from the backup"

// openVault opens the vault of a data folder whose sealing key is in the file.
func openVault(dir, sealKey string) (vault, seal.Key, error) {
	key, err := seal.ReadKey(sealKey)
	if brevet.KindOf(err) == brevet.NotFound && holdsSealed(dir) {
		err = brevet.Errorf(brevet.NotFound, "there is no sealing key at %s, and only the one that belongs to %s opens what is there",
			brevet.Quote(sealKey), brevet.Quote(dir)).Because(err).WithHint(putBack)
	}
	if err != nil {
		return vault{}, seal.Key{}, err
	}
	keeper, err := seal.NewKeeper(key)
	return vault{dir, keeper}, key, err
}

// holdsSealed reports whether a folder, a server's or a gateway's, has keys that are sealed.
func holdsSealed(dir string) bool {
	for _, name := range []string{logKeyFile, filepath.Join(gatewayDir, "tls.key")} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// newKey makes an Ed25519 key and keeps it.
func (v vault) newKey(name string) (crypto.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	defer clear(der)
	return key, v.keep(name, der)
}

// key opens a key that newKey made.
func (v vault) key(name string) (crypto.Signer, error) {
	secret, err := v.open(name)
	if err != nil {
		return nil, err
	}
	defer secret.Erase()
	parsed, err := x509.ParsePKCS8PrivateKey(secret.Reveal())
	if err != nil {
		return nil, brevet.Errorf(brevet.Invalid, "%s is not a private key", name).Because(err)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, brevet.Errorf(brevet.Invalid, "%s is not a key that signs", name)
	}
	return key, nil
}

// newIdentity makes the key that recordings are sealed to, and keeps it.
func (v vault) newIdentity(name string) (*seal.Identity, error) {
	identity, err := seal.NewIdentity()
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	secret, err := identity.Bytes()
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	defer secret.Erase()
	return identity, v.keep(name, secret.Reveal())
}

// identity opens what newIdentity made.
func (v vault) identity(name string) (*seal.Identity, error) {
	secret, err := v.open(name)
	if err != nil {
		return nil, err
	}
	defer secret.Erase()
	return seal.ParseIdentity(secret)
}

func (v vault) keep(name string, plain []byte) error {
	path := filepath.Join(v.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the folder of %s: %w", name, err)
	}
	sealed, err := v.keeper.Seal(name, plain)
	if err != nil {
		return err
	}
	return seal.CreateFile(path, sealed)
}

func (v vault) open(name string) (brevet.Secret, error) {
	sealed, err := seal.ReadFile(filepath.Join(v.dir, name), maxKey)
	if errors.Is(err, fs.ErrNotExist) {
		return brevet.Secret{}, brevet.Errorf(brevet.NotFound, "%s is missing in the data folder", name).Because(err).
			WithHint(putBack)
	}
	if err != nil {
		return brevet.Secret{}, err
	}
	plain, err := v.keeper.Open(name, sealed.Reveal())
	if brevet.KindOf(err) == brevet.NotFound {
		err = brevet.Errorf(brevet.Refused, "the sealing key is not the one that %s is sealed with", filepath.Join(v.dir, name)).Because(err).
			WithHint("the key belongs to this data folder: " + putBack)
	}
	return plain, err
}

// machineKey is how the roster names a machine's key.
func machineKey(use statement.MachineUse, public crypto.PublicKey) (statement.MachineKey, error) {
	key, err := statement.MachineKeyOf(public)
	return statement.MachineKey{Use: use, Key: key}, err
}

// sshKey is how the roster names a key that SSH uses.
func sshKey(use statement.MachineUse, public crypto.PublicKey) (statement.MachineKey, error) {
	pub, err := gossh.NewPublicKey(public)
	if err != nil {
		return statement.MachineKey{}, fmt.Errorf("write the %s key: %w", use, err)
	}
	key, err := statement.SSHKey(pub)
	return statement.MachineKey{Use: use, Key: key}, err
}
