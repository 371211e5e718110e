package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/seal"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// The names of the machines that every organisation begins with.
const (
	serverName   brevet.MachineID = "server" // keeps the log
	issuerName   brevet.MachineID = "issuer"
	recorderName brevet.MachineID = "recorder"
)

// founding is what makes an organisation: its first statements, in the order of the log, and
// the manifest of its first catalog. It stands in a file until the database has it.
type founding struct {
	Statements [][]byte `json:"statements"`
	Manifest   []byte   `json:"manifest"`
}

// foundingLife is how long the first statements may take on their way into the log.
const foundingLife = 7 * 24 * time.Hour

// founder signs an organisation's first statements, one after the other.
type founder struct {
	person brevet.PersonID
	signer statement.Signer
	now    time.Time

	org     statement.ID
	link    statement.Link // of the roster's next statement
	entries []proof.Entry
}

func (f *founder) header() statement.Header {
	return statement.NewHeader(f.org, f.now, f.now.Add(foundingLife))
}

// sign adds the next statement of the log.
func (f *founder) sign(ctx context.Context, p statement.Payload) (statement.ID, error) {
	e, err := statement.New(ctx, p, f.signer)
	if err != nil {
		return "", err
	}
	f.entries = append(f.entries, proof.Entry{Index: int64(len(f.entries)), Envelope: e})
	return e.ID(), nil
}

// root signs the first root, whose id names the organisation from then on.
func (f *founder) root(ctx context.Context, organisation, origin string) error {
	id, err := f.sign(ctx, statement.Root{
		Header:    f.header(),
		Link:      statement.Link{Number: 1},
		Name:      organisation,
		Founders:  []statement.Founder{{Person: f.person, Keys: []statement.Key{f.signer.Key()}}},
		Threshold: 1,
		Log:       statement.Log{Origin: origin},
		Origins:   []string{},
	})
	f.org, f.link = id, statement.Link{Number: 2, Previous: id}
	return err
}

// machine signs the machine into the roster.
func (f *founder) machine(ctx context.Context, m statement.Machine) error {
	m.Header, m.Link = f.header(), f.link
	if m.Targets.Labels == nil {
		m.Targets.Labels = map[string]string{}
	}
	if m.Targets.Names == nil {
		m.Targets.Names = []brevet.TargetID{}
	}
	if m.Addresses == nil {
		m.Addresses = []string{}
	}
	id, err := f.sign(ctx, m)
	f.link = statement.Link{Number: f.link.Number + 1, Previous: id}
	return err
}

// catalog signs the first catalog and returns its manifest.
func (f *founder) catalog(ctx context.Context, c brevet.Catalog) ([]byte, error) {
	manifest, digest, err := catalog.Manifest(catalog.Normalise(c))
	if err != nil {
		return nil, err
	}
	_, err = f.sign(ctx, statement.Catalog{
		Header: f.header(), Link: statement.Link{Number: 1}, Manifest: digest, Message: "the first catalog",
	})
	return manifest, err
}

// prove checks what was signed by the rules that everybody will judge it by.
func (f *founder) prove(manifest []byte) error {
	state, err := proof.Found(f.entries[0], f.org)
	if err != nil {
		return err
	}
	if state, err = state.Extend(map[string][]byte{catalog.Digest(manifest): manifest}, f.entries[1:]...); err != nil {
		return err
	}
	_, err = state.Catalog.InForce()
	return err
}

// founding returns what was signed.
func (f *founder) founding(manifest []byte) (founding, error) {
	all := founding{Manifest: manifest}
	for _, e := range f.entries {
		b, err := e.Envelope.Marshal()
		if err != nil {
			return founding{}, err
		}
		all.Statements = append(all.Statements, b)
	}
	return all, nil
}

// write puts the founding into its file.
func (f founding) write(dir string) error {
	b, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("write the founding: %w", err)
	}
	return seal.CreateFile(filepath.Join(dir, foundingFile), b)
}

// maxFounding is room for a catalog of the largest size, in base64.
const maxFounding = 2 * catalog.MaxTotal

// readFounding returns the founding that a data folder's database has yet to take in, and
// false if there is none.
func readFounding(dir string) (founding, bool, error) {
	b, err := seal.ReadFile(filepath.Join(dir, foundingFile), maxFounding)
	if errors.Is(err, fs.ErrNotExist) {
		return founding{}, false, nil
	}
	if err != nil {
		return founding{}, false, err
	}
	var f founding
	if err := json.Unmarshal(b.Reveal(), &f); err != nil || len(f.Statements) == 0 {
		return founding{}, false, brevet.Errorf(brevet.Invalid, "%s is damaged", filepath.Join(dir, foundingFile)).Because(err)
	}
	return f, true, nil
}

// record brings the founding into an empty log, all of it at once. A log that begins with it has
// it already; one that begins with anything else is another organisation's.
func (f founding) record(ctx context.Context, s *store.Store, by brevet.Caller) error {
	envelopes := make([]statement.Envelope, len(f.Statements))
	for i, b := range f.Statements {
		var err error
		if envelopes[i], err = statement.Parse(b); err != nil {
			return err
		}
	}
	_, err := s.Change(ctx, func(tx *store.Tx) ([]brevet.Event, error) {
		return f.take(tx, envelopes, by)
	})
	if errors.Is(err, errFounded) {
		return nil
	}
	return err
}

// errFounded is the outcome of a founding that the log has already.
var errFounded = errors.New("the log has this founding")

// errOccupied is the cause of a refusal to found where another organisation is.
var errOccupied = errors.New("the log is of another organisation")

func occupied(cause error) error {
	return brevet.Errorf(brevet.Conflict, "the database has an organisation already").Because(errors.Join(errOccupied, cause)).
		WithHint("give the new one a database of its own")
}

func (f founding) take(tx *store.Tx, envelopes []statement.Envelope, by brevet.Caller) ([]brevet.Event, error) {
	switch first, err := tx.Entries(0, 1); {
	case err != nil:
		return nil, err
	case len(first) > 0 && first[0].Subject == string(envelopes[0].ID()):
		return nil, errFounded
	case len(first) > 0:
		return nil, occupied(nil)
	}
	if _, err := tx.PutManifest(f.Manifest); err != nil {
		return nil, err
	}
	events := make([]brevet.Event, len(envelopes))
	for i, e := range envelopes {
		p, err := statement.OpenAny(e)
		if err != nil {
			return nil, err
		}
		kind := string(p.StatementKind())
		at := time.UnixMicro(p.Head().At)
		events[i] = brevet.Event{
			ID: brevet.NewEventID(at), Kind: kind, Subject: string(e.ID()), At: at, Actor: by,
			Outcome: "success", Message: foundingMessage(p, by.Person), Statement: f.Statements[i],
		}
	}
	return events, nil
}

func foundingMessage(p statement.Payload, by brevet.PersonID) string {
	switch p := p.(type) {
	case statement.Root:
		return fmt.Sprintf("%s founded the organisation %s", by, p.Name)
	case statement.Machine:
		return fmt.Sprintf("%s signed that the %s %s is ours", by, p.Use, p.Name)
	}
	return fmt.Sprintf("%s put the first catalog in force", by)
}
