// Package flow is the life of a request and of the grant that it leads to.
//
// A request is taken in (ask.go), decided by policy, agreed to by people (answer.go),
// issued (issue.go), used in sessions (session.go), and its grant ends by expiry or
// revocation (end.go, clock.go). What may follow what stands in the tables of package brevet; the
// Spine here makes each move durable together with the events that tell of it, and decides
// what comes next. A crash at any instruction is finished by the next run: whatever is
// neither new nor final is found again by Run.
//
// The rules themselves are elsewhere and have no side effects: package proof judges requests
// and approvals, for the issuer as well, and package policy decides.
package flow

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/flow/watch"
	"github.com/brevet-pim/brevet/issuer"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/seal"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// Spine moves requests and grants along. Fill in the fields, call Begin once, and keep Run running.
type Spine struct {
	Store      *store.Store
	Issuer     Issuer
	Root       statement.ID // id of the organisation's first root
	Hub        *watch.Hub
	Recordings *record.Store
	Recorder   *seal.Identity   // opens recordings for those who may play them
	Server     brevet.MachineID // this process, in events and leases, and in the roster
	Signer     statement.Signer // signs what the server notices to be over, by its key of the roster
	Memory     *proof.Memory    // of statements and signatures that were checked; nil: all are checked each time
	LogKey     string           // verifier key of the log (golang.org/x/mod/sumdb/note), for whoever keeps checkpoints
	Clock      func() time.Time
	Log        *slog.Logger
	// KeepEvents is for how long events keep their bodies, never shorter than LeastKept; 0: for
	// ever. Roster, catalog and revocations keep theirs for ever.
	KeepEvents time.Duration

	bells    bells
	alive    aliveGrants
	urgent   urgent
	signedIn signedIn
	taken    proof.Recent[statement.ID, struct{}] // the requests that came last

	before   time.Time     // of the last event before this process; set by Begin
	planning chan struct{} // held by whoever has a plan made, of those who wait their turn

	mu       sync.Mutex    // guards what follows
	state    *proof.State  // what the followed part of the log adds up to
	followed int64         // leaves of the log that state and issuer have taken in
	cosigned []byte        // the checkpoint of that size, signed by the log and the issuer
	moved    chan struct{} // closed and replaced when followed grows or following fails
	trouble  error         // why following stands still, or nil
}

// Issuer is the only holder of certificate keys: see package issuer, which is one in this process.
type Issuer interface {
	Size(ctx context.Context) (int64, error)
	Follow(ctx context.Context, feed issuer.Feed) (cosigned []byte, err error)
	Prepare(ctx context.Context, bundle *proof.Bundle) (issuer.Signed[statement.Intent], error)
	PrepareNew(ctx context.Context, bundle *proof.Bundle) (issuer.Signed[statement.Intent], error)
	Issue(ctx context.Context, intent statement.Envelope, leaf issuer.IntentLeaf, bundle *proof.Bundle) (issuer.Result, error)
	TakeBack(ctx context.Context, revocation []byte) (receipt []byte, err error)
	Status(ctx context.Context, grant brevet.GrantID) (status []byte, err error)
	HostCertificate(ctx context.Context, machine brevet.MachineID, name string, key []byte) (certificate []byte, err error)
}

// Run does what is due until ctx ends: it follows the log, ends what is over, lets requests
// lapse, finishes what a crash has left, and tidies up.
func (s *Spine) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all := []func(context.Context) error{s.followLog, s.work, s.keepTime, s.tidy}
	errs := make([]error, len(all))
	for i, part := range all {
		parts.Go(func() {
			defer cancel() // the first to end ends all
			errs[i] = part(ctx)
		})
	}
	parts.Wait()
	return errors.Join(errs...)
}

// State returns what the log says is in force: keys, catalog, revocations.
func (s *Spine) State() *proof.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// view is what is in force at a moment: size is that of the log that it rests on, and the place
// that a statement taken in now would get at the earliest.
type view struct {
	*proof.State
	size int64
	now  time.Time
}

func (s *Spine) view() view {
	now := s.Clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return view{s.state, s.followed, now}
}

// event begins an event of now.
func (s *Spine) event(kind, subject string, by brevet.Caller, message string) brevet.Event {
	return s.eventAt(s.Clock(), kind, subject, by, message)
}

// eventAt begins one of a time that is given: inside a change there is no clock.
func (s *Spine) eventAt(at time.Time, kind, subject string, by brevet.Caller, message string) brevet.Event {
	return brevet.Event{ID: brevet.NewEventID(at), Kind: kind, Subject: subject, At: at, Actor: by, Outcome: "success", Message: message}
}

// failure begins an event of something that was refused or went wrong.
func (s *Spine) failure(kind, subject string, by brevet.Caller, message string) brevet.Event {
	e := s.event(kind, subject, by, message)
	e.Outcome = "failure"
	return e
}

// self is the server as an actor.
func (s *Spine) self() brevet.Caller { return brevet.Caller{Machine: s.Server} }

// tell writes an event that comes with no other change. That it could not be written is logged.
func (s *Spine) tell(ctx context.Context, events ...brevet.Event) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), telling)
	defer cancel()
	if _, err := s.Store.Change(ctx, func(*store.Tx) ([]brevet.Event, error) { return events, nil }); err != nil {
		s.Log.ErrorContext(ctx, "an event was not written", "kind", events[0].Kind, "message", events[0].Message, "error", err)
	}
}

// telling bounds how long an event may take that nobody waits for.
const telling = 10 * time.Second
