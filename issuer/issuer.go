// Package issuer is the only holder of certificate keys. It believes nobody: not the database,
// not the server that it runs beside. With the pinned root, what it has followed of the log and
// its own clock it judges every request itself before it signs (TRUST §2).
//
// It has a folder of its own with its keys, sealed, and its state: the head of the log, the
// statements of roster, catalog and revocation, where requests, approvals and intents stand, and
// what it has signed. The server (package flow) feeds it the log (Follow), asks for an intent
// (Prepare), logs that, and asks for the grant (Issue). What takes away comes to it directly
// (TakeBack) as well as by the log.
//
// It needs a clock that is right. The clock is held against what people signed: requests,
// approvals and keys have their times; and it never goes back behind what was signed before.
package issuer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/seal"
	"github.com/brevet-pim/brevet/statement"
)

// Config says which issuer to open.
type Config struct {
	Dir   string           // its folder, that Create made
	Key   seal.Key         // opens its keys
	Older []seal.Key       // sealing keys of before, that may still be needed
	Root  statement.ID     // pinned id of the organisation's first root
	Clock func() time.Time // nil: time.Now
	Log   *slog.Logger     // hears of what somebody should look into; nil: nobody does
	// Memory is of statements and signatures that were checked, by whoever else checks in this process:
	// only package proof writes to it, and only what it found good, or the log of this process signed. Nil:
	// the issuer's own.
	Memory *proof.Memory
}

// Issuer gives certificates. It is safe for use by many at once.
type Issuer struct {
	root     statement.ID
	name     brevet.MachineID
	log      *slog.Logger
	clock    *clock
	keys     *keyring
	public   map[statement.MachineUse]statement.Key
	folder   *os.File // locked
	state    *state
	memory   *proof.Memory                      // of people's statements
	made     proof.Memory                       // of its own
	prepared proof.Recent[statement.ID, judged] // the last intents
	statuses statuses

	closing func() error // once

	following sync.Mutex // held while a feed is taken in
	current   bool       // guarded by following: the state has caught up with the log since it was opened

	// giving is held for reading from the judgement until what was signed is durable, and for
	// writing while what is known to be in force changes: whoever was told that something is over
	// can rely on nothing being signed any more that rests on less.
	giving sync.RWMutex

	mu    sync.Mutex    // guards what follows
	known known         // replaced, never changed
	moved chan struct{} // closed and replaced when known is
}

// known is what the issuer knows of the world.
type known struct {
	state *proof.State // nil before the first feed
	head  audit.Head
	// followed is when the head was seen.
	followed time.Time
	// forgotten is the place of the last grant in the log that the issuer gave and does not remember.
	forgotten int64
	// unfit is why the issuer may give nothing: the roster does not name it and its keys. Nil: it may.
	unfit error
}

// Open reads the issuer's folder, which no other process may have open. A folder that others can
// reach, or a state that is damaged or does not agree with itself, is Refused.
func Open(ctx context.Context, c Config) (_ *Issuer, err error) {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Memory == nil {
		c.Memory = &proof.Memory{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if err := checkFolder(c.Dir); err != nil {
		return nil, err
	}
	keeper, err := seal.NewKeeper(c.Key, c.Older...)
	if err != nil {
		return nil, err
	}
	i := &Issuer{root: c.Root, log: c.Log, clock: &clock{source: c.Clock}, moved: make(chan struct{}), memory: c.Memory}
	if i.folder, err = lockFolder(c.Dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.folder.Close())
		}
	}()
	if i.keys, i.public, err = openKeys(c.Dir, keeper); err != nil {
		return nil, err
	}
	if i.state, err = openState(ctx, c.Dir, i.clock); err != nil {
		return nil, err
	}
	if err := i.recall(ctx); err != nil {
		return nil, errors.Join(err, i.state.close())
	}
	i.closing = sync.OnceValue(func() error { return errors.Join(i.state.close(), i.folder.Close()) })
	return i, nil
}

// Close ends what is on its way and releases the folder. What comes later is Unavailable.
func (i *Issuer) Close() error {
	return i.closing()
}

// Size returns how many leaves of the log were followed.
func (i *Issuer) Size(context.Context) (int64, error) { return i.knows().head.Size, nil }

// knows returns what is known at the moment. Whoever gives by it holds giving.
func (i *Issuer) knows() known {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.known
}

// learn replaces what is known, and wakes whoever waits for more of the log.
func (i *Issuer) learn(next known) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.known = next
	close(i.moved)
	i.moved = make(chan struct{})
}

// seen returns once the log was followed beyond the index.
func (i *Issuer) seen(ctx context.Context, index int64) error {
	for {
		i.mu.Lock()
		size, moved := i.known.head.Size, i.moved
		i.mu.Unlock()
		if size > index {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return brevet.Errorf(brevet.Unavailable, "the issuer has not seen place %d of the log yet", index).Because(ctx.Err())
		}
	}
}

// recall reads what the state has kept, and verifies it as if it had come just now.
func (i *Issuer) recall(ctx context.Context) error {
	kept, err := i.state.read(ctx)
	if err != nil {
		return fmt.Errorf("read the issuer's state: %w", err)
	}
	i.name = kept.name
	i.clock.sign(kept.signed)
	if kept.root != "" && kept.root != i.root {
		return refuse("this issuer is of the organisation %s…, not of %s", kept.root[:16], brevet.Quote(string(i.root[:min(len(i.root), 16)])))
	}
	if err := i.state.begin(ctx, i.root); err != nil || kept.head.Size == 0 {
		return err
	}
	next, err := i.rebuild(kept)
	if err != nil {
		message, _ := brevet.MessageOf(err)
		return refuse("the issuer's state does not agree with itself: %s", message).Because(err).
			WithHint("restore the issuer's folder from a backup")
	}
	i.learn(next)
	return nil
}

// rebuild makes what is known of what was kept.
func (i *Issuer) rebuild(kept kept) (known, error) {
	if len(kept.entries) == 0 {
		return known{}, refuse("it has followed a log and has no root")
	}
	s, err := proof.Found(kept.entries[0], i.root)
	if err != nil {
		return known{}, err
	}
	if s, err = s.Extend(kept.manifests, kept.entries[1:]...); err != nil {
		return known{}, err
	}
	if err := checkHead(s, kept.checkpoint, kept.head, i.memory); err != nil {
		return known{}, err
	}
	for _, e := range kept.heard {
		h, err := s.VerifyRevocation(proof.Entry{Index: proof.Direct, Envelope: e})
		if err != nil {
			return known{}, err
		}
		s.Revoked.Hear(h)
	}
	return known{state: s, head: kept.head, followed: kept.followed, forgotten: kept.forgotten, unfit: i.unfit(s)}, nil
}

// unfit says why the issuer may give nothing by the roster: nobody would accept what it signs.
func (i *Issuer) unfit(s *proof.State) error {
	m, ok := s.Roster.Machine(i.name, proof.End)
	if !ok || m.Use != statement.MachineIssuer {
		return refuse("the roster does not name %s as an issuer", i.name).WithHint("an administrator signs its machine statement")
	}
	for _, use := range uses {
		found := false
		for _, k := range m.Keys {
			found = found || k.Use == use && k.Key == i.public[use]
		}
		if !found {
			return refuse("the roster names another %s key for %s than the one that is here", use, i.name).
				WithHint("an administrator signs its machine statement anew")
		}
	}
	return nil
}

// able returns an error if nothing can be given at all.
func (k known) able() error {
	if k.state == nil {
		return brevet.Errorf(brevet.Unavailable, "the issuer has not followed the log yet")
	}
	return k.unfit
}

// header returns the header of a statement of the issuer's.
func (i *Issuer) header(at time.Time, good time.Duration) statement.Header {
	return statement.NewHeader(i.root, at, at.Add(good))
}

// sign returns the envelope of a statement of the issuer's own, and its bytes.
func (i *Issuer) sign(ctx context.Context, p statement.Payload) (statement.Envelope, []byte, error) {
	e, err := statement.New(ctx, p, i.keys.statements)
	if err != nil {
		return statement.Envelope{}, nil, fmt.Errorf("sign the %s: %w", p.StatementKind(), err)
	}
	b, err := e.Marshal()
	return e, b, err
}

func refuse(format string, args ...any) *brevet.Error {
	return brevet.Errorf(brevet.Refused, format, args...)
}
