package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/cli/home"
	"github.com/brevet-pim/brevet/issuer"
	"github.com/brevet-pim/brevet/seal"
	"github.com/brevet-pim/brevet/server/config"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// Founding says which organisation to found, and where.
type Founding struct {
	Data         string           // the data folder, which must not be in use
	Organisation string           // its name, for people
	Founder      brevet.PersonID  // the first administrator
	Signer       statement.Signer // their key
	Catalog      brevet.Catalog   // the first one in force
	Files        []catalog.File   // to be kept in the folder "catalog", for people to go on from; may be none
	Config       config.Config    // all but the organisation; a sealing key that it names must exist
	Addresses    []string         // ranges that targets see the gateway connect from; nil: this machine's own
	// Tell, if not nil, hears of the organisation before it counts as founded: who could not
	// be told would have no way in.
	Tell func(Founded) error
}

// Founded is what came of it.
type Founded struct {
	Organisation string
	Founder      brevet.PersonID
	Key          string       // fingerprint of the founder's key
	Root         statement.ID // for people's machines to pin
	Pin          string       // SHA-256, hex, of the TLS authority's public key
	Config       config.Config
}

// Found founds an organisation: its keys, its first statements signed by the founder, its
// configuration, and a database that has all of it.
//
// A folder that is in use is a Conflict. The folder comes into being whole, under its own name, and
// says in founding.json what the database has yet to take in. If Found is cut off before that is
// done, calling it again finishes with what was signed then, whatever else it is asked for.
func Found(ctx context.Context, f Founding) (Founded, error) {
	if err := f.check(); err != nil {
		return Founded{}, err
	}
	begun, unfinished, err := readFounding(f.Data)
	if err != nil {
		return Founded{}, err
	}
	if !unfinished {
		if begun, err = f.prepare(ctx); err != nil {
			return Founded{}, err
		}
	}
	done, err := f.finish(ctx, begun)
	if errors.Is(err, errOccupied) && !unfinished {
		// Nothing rests on this folder, and nothing could: its database is another organisation's.
		err = errors.Join(err, os.RemoveAll(f.Data))
	}
	return done, err
}

// check refuses a folder that holds something, unless that is a founding to finish.
func (f Founding) check() error {
	if err := brevet.CheckName("person", string(f.Founder)); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(f.Data, foundingFile)); err == nil {
		return nil
	}
	entries, err := os.ReadDir(f.Data)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0:
		return nil
	case err != nil:
		return fmt.Errorf("look at the data folder: %w", err)
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == config.Name }) {
		return brevet.Errorf(brevet.Conflict, "%s has an organisation already", f.Data).
			WithHint("start it: brevet server --data %s; or found another one elsewhere: --data DIR", f.Data)
	}
	return brevet.Errorf(brevet.Conflict, "%s is not empty", f.Data).WithHint("name a folder that is not there yet: --data DIR")
}

// prepare makes the folder under another name, with everything in it but the database, and then
// gives it its own.
func (f Founding) prepare(ctx context.Context) (founding, error) {
	data, err := filepath.Abs(f.Data)
	if err != nil {
		return founding{}, fmt.Errorf("find the data folder: %w", err)
	}
	draft := data + ".new"
	if err := os.MkdirAll(filepath.Dir(data), 0o700); err != nil {
		return founding{}, fmt.Errorf("make the data folder: %w", err)
	}
	if err := os.Mkdir(draft, 0o700); errors.Is(err, fs.ErrExist) {
		return founding{}, brevet.Errorf(brevet.Conflict, "%s is there: brevet init was cut off, or still runs", draft).
			WithHint("if it does not run any more: rm -r %s", draft)
	} else if err != nil {
		return founding{}, fmt.Errorf("make the data folder: %w", err)
	}
	begun, err := f.draft(ctx, draft)
	if err == nil {
		err = os.Rename(draft, data) // takes the place of an empty folder, of no other
	}
	if err == nil {
		err = seal.SyncDir(filepath.Dir(data))
	}
	if err != nil {
		return founding{}, errors.Join(err, os.RemoveAll(draft))
	}
	return begun, nil
}

// draft makes the keys, has the founder sign, and writes it all.
func (f Founding) draft(ctx context.Context, dir string) (founding, error) {
	v, key, err := f.makeVault(dir)
	if err != nil {
		return founding{}, err
	}
	machines, err := f.makeMachines(v, key)
	if err != nil {
		return founding{}, err
	}
	by := &founder{person: f.Founder, signer: f.Signer, now: time.Now()}
	c := f.Config
	c.Organisation.Log = originOf(f.Organisation)
	if err := by.root(ctx, f.Organisation, c.Organisation.Log); err != nil {
		return founding{}, err
	}
	c.Organisation.Root = string(by.org)
	for _, m := range machines {
		if err := by.machine(ctx, m); err != nil {
			return founding{}, err
		}
	}
	manifest, err := by.catalog(ctx, f.Catalog)
	if err != nil {
		return founding{}, err
	}
	if err := by.prove(manifest); err != nil {
		return founding{}, err
	}
	begun, err := by.founding(manifest)
	if err != nil {
		return founding{}, err
	}
	return begun, errors.Join(f.writeCatalog(dir), writeConfig(dir, c), begun.write(dir))
}

// makeVault makes the sealing key, or takes the one that it was given.
func (f Founding) makeVault(dir string) (vault, seal.Key, error) {
	path := config.Path(dir, f.Config.SealKey)
	if f.Config.SealKey == "" {
		path = filepath.Join(dir, config.DefaultSealKey)
		if _, err := seal.CreateKey(path); err != nil {
			return vault{}, seal.Key{}, err
		}
	}
	return openVault(dir, path)
}

// makeMachines makes the keys of the machines that the organisation begins with.
func (f Founding) makeMachines(v vault, key seal.Key) ([]statement.Machine, error) {
	issuing, err := issuer.Create(filepath.Join(v.dir, issuerDir), key, issuerName, time.Now())
	if err != nil {
		return nil, err
	}
	logging, err := newServerKeys(v)
	if err != nil {
		return nil, err
	}
	recorder, err := v.newIdentity(recorderFile)
	if err != nil {
		return nil, err
	}
	gateway, err := newNodeKeys(v)
	if err != nil {
		return nil, err
	}
	carrying, err := gateway.roster()
	if err != nil {
		return nil, err
	}
	addresses := f.Addresses
	if addresses == nil {
		if addresses, err = ownRanges(); err != nil {
			return nil, err
		}
	}
	slices.Sort(addresses)
	opens := statement.Key{Kind: statement.KindXWing, Public: recorder.Recipient().String()}
	return []statement.Machine{
		{Name: issuerName, Use: statement.MachineIssuer, Keys: issuing},
		{Name: serverName, Use: statement.MachineLog, Keys: logging},
		{Name: recorderName, Use: statement.MachineRecorder, Keys: []statement.MachineKey{{Use: statement.KeySeal, Key: opens}}},
		{Name: brevet.MachineID(f.gatewayName()), Use: statement.MachineGateway, Keys: carrying,
			Targets: brevet.Selector{Kind: brevet.SSHHost}, Addresses: addresses},
	}, nil
}

func (f Founding) gatewayName() string {
	if f.Config.Gateway.Name != "" {
		return f.Config.Gateway.Name
	}
	return config.DefaultGatewayName
}

// newServerKeys makes the key that signs the log's checkpoints and that of the API's connections.
func newServerKeys(v vault) ([]statement.MachineKey, error) {
	var keys []statement.MachineKey
	for _, k := range []struct {
		file string
		use  statement.MachineUse
	}{
		{logKeyFile, statement.KeyCheckpoint},
		{tlsKeyFile, statement.KeyTLS},
		{statementFile, statement.KeyStatement},
	} {
		made, err := v.newKey(k.file)
		if err != nil {
			return nil, err
		}
		key, err := machineKey(k.use, made.Public())
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (f Founding) writeCatalog(dir string) error {
	if len(f.Files) == 0 {
		return nil
	}
	return catalog.Write(filepath.Join(dir, catalogDir), f.Files)
}

func writeConfig(dir string, c config.Config) error {
	text, err := c.Text()
	if err != nil {
		return err
	}
	if _, err := config.Parse(text); err != nil { // what the flags said may be no configuration
		return err
	}
	return seal.CreateFile(filepath.Join(dir, config.Name), text)
}

// finish brings what was signed into the database.
func (f Founding) finish(ctx context.Context, begun founding) (Founded, error) {
	lock, err := lockFolder(f.Data)
	if err != nil {
		return Founded{}, err
	}
	defer lock.Close()
	c, err := config.Read(f.Data)
	if err != nil {
		return Founded{}, err
	}
	founded, err := begun.describe(c)
	if err != nil {
		return Founded{}, err
	}
	v, _, err := openVault(f.Data, config.Path(f.Data, c.SealKey))
	if err != nil {
		return Founded{}, err
	}
	signer, err := logSigner(v, c)
	if err != nil {
		return Founded{}, err
	}
	s, err := openStore(ctx, f.Data, c, signer, nil)
	if brevet.KindOf(err) == brevet.Refused { // a log that our key has not signed
		return Founded{}, occupied(err)
	}
	if err != nil {
		return Founded{}, err
	}
	err = begun.record(ctx, s, brevet.Caller{Person: founded.Founder, Key: founded.Key, Via: brevet.ViaCLI})
	if err := errors.Join(err, s.Close()); err != nil {
		return Founded{}, err
	}
	if f.Tell != nil {
		if err := f.Tell(founded); err != nil {
			return Founded{}, err
		}
	}
	if err := os.Remove(filepath.Join(f.Data, foundingFile)); err != nil {
		return Founded{}, fmt.Errorf("finish the founding: %w", err)
	}
	return founded, seal.SyncDir(f.Data)
}

// describe reads what was founded from the statements themselves.
func (f founding) describe(c config.Config) (Founded, error) {
	first, err := statement.Parse(f.Statements[0])
	if err != nil {
		return Founded{}, err
	}
	root, err := statement.Open[statement.Root](first)
	if err != nil {
		return Founded{}, err
	}
	founded := Founded{Organisation: root.Name, Founder: root.Founders[0].Person, Root: first.ID(), Config: c}
	if founded.Key, err = statement.Fingerprint(root.Founders[0].Keys[0]); err != nil {
		return Founded{}, err
	}
	for _, b := range f.Statements[1:] {
		e, err := statement.Parse(b)
		if err != nil {
			return Founded{}, err
		}
		m, err := statement.Open[statement.Machine](e)
		if err != nil {
			continue // the catalog
		}
		for _, k := range m.Keys {
			if m.Use == statement.MachineIssuer && k.Use == statement.KeyX509CA {
				founded.Pin, err = statement.Fingerprint(k.Key)
			}
		}
		if err != nil {
			return Founded{}, err
		}
	}
	return founded, nil
}

// Profile is what the founder's own machine must know; key is where their key is.
func (f Founded) Profile(key string) home.Profile {
	return home.Profile{Server: f.Config.Address, Root: string(f.Root), Pin: f.Pin, Person: f.Founder, Key: key}
}

// openStore opens the database that the configuration names, whose log the signer signs.
func openStore(ctx context.Context, dir string, c config.Config, signer *audit.Signer, logger *slog.Logger) (*store.Store, error) {
	database, err := c.DatabaseURL(dir)
	if err != nil {
		return nil, err
	}
	if database == "" {
		database = filepath.Join(dir, databaseFile)
	}
	return store.Open(ctx, store.Config{Database: database, Alone: true, Log: signer, Logger: logger})
}

// statementSigner opens the key that signs what the server notices.
func statementSigner(v vault) (statement.Signer, error) {
	key, err := v.key(statementFile)
	if err != nil {
		return nil, err
	}
	return statement.MachineSigner(key)
}

// logSigner opens the key that signs the log.
func logSigner(v vault, c config.Config) (*audit.Signer, error) {
	key, err := v.key(logKeyFile)
	if err != nil {
		return nil, err
	}
	return audit.NewSigner(c.Organisation.Log, key)
}
