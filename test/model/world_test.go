package model_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/flow/watch"
	"github.com/brevet-pim/brevet/issuer"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/seal"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// world is an organisation with its control plane, real in every part, and what a reader of its log
// knows of it.
type world struct {
	*prooftest.Org
	t        testing.TB
	bubble   bool // whether it lives in a bubble of testing/synctest
	database string
	config   issuer.Config
	memory   prooftest.Running
	recorder *seal.Identity
	log      *slog.Logger

	store  *store.Store
	issuer *tapped
	spine  *flow.Spine
	stop   func()

	mu     sync.Mutex    // guards offset, acked and heard while moves are made
	offset time.Duration // of the clock of store, issuer, spine and people against the real one

	ledger *ledger
	gate   *proof.Verifier // what gw-1 believes
	acked  []ack
	said   map[brevet.PersonID][]byte // the last approval that somebody handed in
	heard  map[brevet.GrantID]bool    // grants whose revocation the issuer may know alone, as the database was away
	shown  map[brevet.GrantID][]byte  // the last proof by which the gateway let somebody in
	latest time.Time                  // the highest that the clock ever stood at
}

// ack is a statement that somebody handed in and was answered: it must never be missing.
type ack struct {
	what string
	id   statement.ID
}

func newWorld(t testing.TB, database string, bubble bool, log *slog.Logger) *world {
	t.Helper()
	raw := make([]byte, 32)
	rand.Read(raw)
	key, err := seal.NewKey(raw)
	must(t, err)
	dir := filepath.Join(t.TempDir(), "issuer")
	start := time.Now().Add(-3 * time.Hour) // so that clocks may be put back
	keys, err := issuer.Create(dir, key, prooftest.IssuerName, start)
	must(t, err)
	w := &world{
		t: t, bubble: bubble, database: database, log: log, ledger: newLedger(),
		said: map[brevet.PersonID][]byte{}, shown: map[brevet.GrantID][]byte{}, heard: map[brevet.GrantID]bool{},
	}
	w.recorder, err = seal.NewIdentity()
	must(t, err)
	w.Org = prooftest.New(t, prooftest.Options{Start: start, Issuer: keys, Catalog: func(c *brevet.Catalog) { *c = variant(0) }})
	w.config = issuer.Config{Dir: dir, Key: key, Root: w.Root, Clock: w.clock}
	w.gate = proof.NewVerifier(w.Root)
	w.openStore()
	w.writeLog()
	w.run()
	w.quiet()
	return w
}

func (w *world) openStore() {
	w.t.Helper()
	var err error
	w.store, err = store.Open(context.Background(), store.Config{Database: w.database, Log: w.Log.Signer().Telling(w.memory.Told), Logger: w.log})
	must(w.t, err)
}

// writeLog takes what the organisation was founded with over into the store.
func (w *world) writeLog() {
	w.t.Helper()
	_, err := w.store.Change(context.Background(), func(t *store.Tx) ([]brevet.Event, error) {
		for _, manifest := range w.Manifests {
			if _, err := t.PutManifest(manifest); err != nil {
				return nil, err
			}
		}
		var events []brevet.Event
		for _, e := range w.Entries {
			kind, err := e.Envelope.Kind()
			if err != nil {
				return nil, err
			}
			raw, err := e.Envelope.Marshal()
			if err != nil {
				return nil, err
			}
			at := w.clock()
			events = append(events, brevet.Event{
				ID: brevet.NewEventID(at), Kind: string(kind), Subject: string(e.Envelope.ID()), At: at,
				Actor: brevet.Caller{Person: "alice"}, Outcome: "success", Message: "founded", Statement: raw,
			})
		}
		return events, nil
	})
	must(w.t, err)
}

// run starts the control plane on what store and issuer hold.
func (w *world) run() {
	w.t.Helper()
	w.config.Memory = &proof.Memory{} // one for all, as in the server
	w.memory.Store(w.config.Memory)
	open, err := issuer.Open(context.Background(), w.config)
	must(w.t, err)
	w.issuer = &tapped{Issuer: open}
	w.spine = &flow.Spine{
		Store: w.store, Issuer: w.issuer, Root: w.Root, Hub: &watch.Hub{}, Recordings: &record.Store{Dir: filepath.Join(filepath.Dir(w.config.Dir), "recordings")},
		Recorder: w.recorder, Server: prooftest.LogName, Signer: w.LogStatements, Memory: w.config.Memory, Clock: w.clock, Log: w.log,
	}
	ctx, cancel := context.WithCancel(context.Background())
	must(w.t, w.spine.Begin(ctx))
	w.tell("server.started")
	var running sync.WaitGroup
	spine := w.spine
	running.Go(func() { must(w.t, spine.Run(ctx)) })
	w.stop = func() {
		cancel()
		running.Wait()
		must(w.t, open.Close())
	}
}

// tell writes an event of the server's own life.
func (w *world) tell(kind string) {
	w.t.Helper()
	at := w.clock()
	_, err := w.store.Change(context.Background(), func(*store.Tx) ([]brevet.Event, error) {
		return []brevet.Event{{
			ID: brevet.NewEventID(at), Kind: kind, Subject: "server", At: at, Actor: brevet.Caller{Machine: "server"}, Outcome: "success", Message: "the server came up",
		}}, nil
	})
	must(w.t, err)
}

// restart starts the control plane again, whether it was stopped or has died.
func (w *world) restart() {
	w.t.Helper()
	w.close()
	w.openStore()
	w.run()
}

func (w *world) close() {
	w.t.Helper()
	w.stop()
	must(w.t, w.store.Close())
}

// clock is everybody's clock.
func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.offset)
}

// shift sets the clock forward or back.
func (w *world) shift(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.offset += d
}

// behind reports whether the clock was put back and has not caught up: then people may be refused what
// they would have otherwise.
func (w *world) behind() bool { return w.clock().Before(w.latest) }

// quiet waits until nothing moves any more but by time.
func (w *world) quiet() {
	w.t.Helper()
	if w.bubble {
		synctest.Wait()
		return
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		heard, err := w.issuer.Size(context.Background())
		must(w.t, err)
		q := w.store.Query(context.Background())
		due, err := q.GrantsDue(w.clock(), 1)
		must(w.t, err)
		if len(due) == 0 && heard >= w.store.Size() { // what is over by now has been ended, too
			return
		}
		<-tick.C
	}
}

// as is a person with the key that signed them in.
func (w *world) as(id brevet.PersonID) brevet.Caller {
	return brevet.Caller{Person: id, Via: brevet.ViaCLI, Key: prooftest.Fingerprint(w.t, w.Keys[id].Key())}
}

// header returns a header of now by everybody's clock.
func (w *world) header() statement.Header {
	now := w.clock()
	return statement.NewHeader(w.Root, now, now.Add(time.Hour))
}

// envelope signs a payload by the key. What breaks a rule of its kind cannot be signed.
func (w *world) envelope(p statement.Payload, by statement.Signer) (statement.ID, []byte, error) {
	e, err := statement.New(context.Background(), p, by)
	if err != nil {
		return "", nil, err
	}
	raw, err := e.Marshal()
	return e.ID(), raw, err
}

// tapped is an issuer at whose calls something else may happen, or the process die.
type tapped struct {
	*issuer.Issuer
	mu   sync.Mutex // guards tap
	tap  hook
	then func() error
}

// errDead is what the rest of a process sees that has died: nobody is told of it.
var errDead = errors.New("the process is dead")

// at runs what was to happen at the place, once.
func (i *tapped) at(h hook) error {
	i.mu.Lock()
	then := i.then
	if i.tap != h || then == nil {
		i.mu.Unlock()
		return nil
	}
	i.then = nil
	i.mu.Unlock()
	return then()
}

// arm has something happen at the next passing of the place.
func (i *tapped) arm(h hook, then func() error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.tap, i.then = h, then
}

func (i *tapped) Prepare(ctx context.Context, bundle *proof.Bundle) (issuer.Signed[statement.Intent], error) {
	if err := i.at(beforePrepare); err != nil {
		return issuer.Signed[statement.Intent]{}, err
	}
	intent, err := i.Issuer.Prepare(ctx, bundle)
	return intent, errors.Join(err, i.at(afterPrepare))
}

func (i *tapped) PrepareNew(ctx context.Context, bundle *proof.Bundle) (issuer.Signed[statement.Intent], error) {
	if err := i.at(beforePrepare); err != nil {
		return issuer.Signed[statement.Intent]{}, err
	}
	intent, err := i.Issuer.PrepareNew(ctx, bundle)
	return intent, errors.Join(err, i.at(afterPrepare))
}

func (i *tapped) Issue(ctx context.Context, intent statement.Envelope, leaf issuer.IntentLeaf, bundle *proof.Bundle) (issuer.Result, error) {
	if err := i.at(beforeIssue); err != nil {
		return issuer.Result{}, err
	}
	result, err := i.Issuer.Issue(ctx, intent, leaf, bundle)
	if dead := i.at(afterIssue); dead != nil {
		return issuer.Result{}, dead
	}
	return result, err
}

func (i *tapped) Follow(ctx context.Context, feed issuer.Feed) ([]byte, error) {
	if err := i.at(beforeFollow); err != nil {
		return nil, err
	}
	return i.Issuer.Follow(ctx, feed)
}

func (i *tapped) TakeBack(ctx context.Context, revocation []byte) ([]byte, error) {
	if err := i.at(beforeTakeBack); err != nil {
		return nil, err
	}
	return i.Issuer.TakeBack(ctx, revocation)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
