package issuer

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/issuer/ca"
	"github.com/brevet-pim/brevet/seal"
	"github.com/brevet-pim/brevet/statement"
)

// keyring is the private keys, each for one use. All are Ed25519.
type keyring struct {
	statements  statement.Signer // intents, grants, status, receipts
	users       *ca.SSH
	hosts       *ca.SSH
	connections *ca.X509
	checkpoints crypto.Signer // cosigns the log
}

// uses are what the issuer has keys for, as a machine statement names them.
var uses = []statement.MachineUse{
	statement.KeyStatement, statement.KeyUserCA, statement.KeyHostCA, statement.KeyX509CA, statement.KeyCheckpoint,
}

const caCertificate = "x509-ca.der"

func keyFile(use statement.MachineUse) string { return string(use) + ".key" }

// sealedName is the name that the key of the use is sealed for, so that no key can be put in another's place.
func sealedName(use statement.MachineUse) string { return "issuer/" + string(use) }

// Create makes the issuer's folder, its keys sealed under key, and its empty state, and returns the
// public keys for its machine statement. The folder must not exist; if it was left unfinished it
// has no state, and Open refuses it. now begins the X.509 authority's own certificate.
func Create(dir string, key seal.Key, name brevet.MachineID, now time.Time) ([]statement.MachineKey, error) {
	if err := brevet.CheckName("machine", string(name)); err != nil {
		return nil, err
	}
	keeper, err := seal.NewKeeper(key)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, brevet.Errorf(brevet.Conflict, "%s exists already", brevet.Quote(dir)).WithHint("an issuer's keys are made once")
		}
		return nil, err
	}
	var public []statement.MachineKey
	for _, use := range uses {
		k, err := createKey(dir, keeper, name, use, now)
		if err != nil {
			return nil, err
		}
		public = append(public, statement.MachineKey{Use: use, Key: k})
	}
	if err := createState(dir, name, now); err != nil {
		return nil, err
	}
	return public, errors.Join(seal.SyncDir(dir), seal.SyncDir(filepath.Dir(dir)))
}

// checkFolder refuses a folder that others can reach.
func checkFolder(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return brevet.Errorf(brevet.NotFound, "there is no issuer in %s", brevet.Quote(dir)).Because(err).WithHint("brevet init makes one")
	}
	if mode := info.Mode().Perm(); !info.IsDir() || mode&0o077 != 0 {
		return brevet.Errorf(brevet.Refused, "%s can be reached by others than its owner (mode %04o)", brevet.Quote(dir), mode).
			WithHint("chmod 700 %s", dir)
	}
	return nil
}

// createKey makes the key of the use and writes it to its file, sealed.
func createKey(dir string, keeper *seal.Keeper, name brevet.MachineID, use statement.MachineUse, now time.Time) (statement.Key, error) {
	private, err := ca.GenerateKey(ca.Ed25519)
	if err != nil {
		return statement.Key{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return statement.Key{}, err
	}
	defer clear(der)
	sealed, err := keeper.Seal(sealedName(use), der)
	if err != nil {
		return statement.Key{}, err
	}
	if err := seal.CreateFile(filepath.Join(dir, keyFile(use)), sealed); err != nil {
		return statement.Key{}, err
	}
	if use == statement.KeyX509CA {
		if err := createAuthority(dir, private, name, now); err != nil {
			return statement.Key{}, err
		}
	}
	return publicKey(use, private)
}

func createAuthority(dir string, private crypto.Signer, name brevet.MachineID, now time.Time) error {
	der, err := ca.CreateX509(private, "Brevet "+string(name), now)
	if err != nil {
		return err
	}
	return seal.CreateFile(filepath.Join(dir, caCertificate), der)
}

// publicKey returns the public key as the roster has it: those of SSH authorities in SSH's form.
func publicKey(use statement.MachineUse, private crypto.Signer) (statement.Key, error) {
	if use != statement.KeyUserCA && use != statement.KeyHostCA {
		return statement.MachineKeyOf(private.Public())
	}
	authority, err := ca.NewSSH(private)
	if err != nil {
		return statement.Key{}, err
	}
	return statement.SSHKey(authority.Public())
}

// openKeys reads the keys and returns with them the public ones, by use.
func openKeys(dir string, keeper *seal.Keeper) (*keyring, map[statement.MachineUse]statement.Key, error) {
	private, public := map[statement.MachineUse]crypto.Signer{}, map[statement.MachineUse]statement.Key{}
	for _, use := range uses {
		var err error
		if private[use], err = openKey(dir, keeper, use); err != nil {
			return nil, nil, err
		}
		if public[use], err = publicKey(use, private[use]); err != nil {
			return nil, nil, err
		}
	}
	der, err := os.ReadFile(filepath.Join(dir, caCertificate))
	if err != nil {
		return nil, nil, fmt.Errorf("read the X.509 authority: %w", err)
	}
	k := &keyring{checkpoints: private[statement.KeyCheckpoint]}
	if k.statements, err = statement.MachineSigner(private[statement.KeyStatement]); err != nil {
		return nil, nil, err
	}
	if k.users, err = ca.NewSSH(private[statement.KeyUserCA]); err != nil {
		return nil, nil, err
	}
	if k.hosts, err = ca.NewSSH(private[statement.KeyHostCA]); err != nil {
		return nil, nil, err
	}
	if k.connections, err = ca.NewX509(private[statement.KeyX509CA], der); err != nil {
		return nil, nil, err
	}
	return k, public, nil
}

const maxKeyFile = 4 << 10

// openKey reads the key of the use, and seals it anew if that was under an older sealing key.
func openKey(dir string, keeper *seal.Keeper, use statement.MachineUse) (crypto.Signer, error) {
	path := filepath.Join(dir, keyFile(use))
	file, err := seal.ReadFile(path, maxKeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the %s key: %w", use, err)
	}
	sealed := bytes.Clone(file.Reveal())
	if keeper.Stale(sealed) {
		if sealed, err = keeper.Rewrap(sealedName(use), sealed); err != nil {
			return nil, err
		}
		if err := seal.WriteFile(path, sealed); err != nil {
			return nil, err
		}
	}
	der, err := keeper.Open(sealedName(use), sealed)
	if err != nil {
		return nil, err
	}
	defer der.Erase()
	parsed, err := x509.ParsePKCS8PrivateKey(der.Reveal())
	if err != nil {
		return nil, fmt.Errorf("the %s key cannot be read", use) // the cause could quote it
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the %s key is a %T", use, parsed)
	}
	return private, nil
}
