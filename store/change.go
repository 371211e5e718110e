package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/fault"
)

// Commit says where in the log a change's events stand.
type Commit struct {
	First      int64  // index of its first event
	Count      int    // how many events it has
	Bodies     []Body // of its events, in order
	Size       int64  // of the log when it was committed; events of others may lie in between
	Checkpoint []byte // signed, of this size
}

// Body is what a leaf of the log has the hash of (audit.BodyHash).
type Body struct{ Salt, Record []byte }

// Tx is one change while it is made: reads see what it has written, and what it writes
// becomes real with its events or not at all. It must not be used after fn has returned.
type Tx struct{ Query }

// Change runs fn in a transaction and appends the events that it returns to the audit log:
// both, or neither. It returns when that is durable, with the signed checkpoint that covers
// the events. A change without events is Invalid.
//
// Changes run one after another, in the order of the log. Those that wait at the same time
// share a commit, but not each other's failures. fn may run again if another transaction
// was in the way, so it touches nothing outside the database, sets its results anew each
// time, and does what is slow (signatures, the network) before.
//
// On behalf of a job that another worker has taken over (OnBehalf) it is a Conflict. If ctx ends before fn starts, nothing is done. Afterwards Change waits for the outcome
// and tells the truth about it. A database that does not answer or has no room is
// Unavailable: then nothing was changed, and the next Change finds out by itself whether it
// has come back. Events that go back in time are given the time of the last one.
func (s *Store) Change(ctx context.Context, fn func(*Tx) ([]brevet.Event, error)) (Commit, error) {
	return s.change(&change{ctx: ctx, fn: func(t *Tx) ([]pending, error) {
		events, err := fn(t)
		if err != nil {
			return nil, err
		}
		return prepared(events)
	}})
}

// ChangeSaying is a Change whose events are known before. They are written out here and not by the
// writer, for whom all others wait.
func (s *Store) ChangeSaying(ctx context.Context, events []brevet.Event, fn func(*Tx) error) (Commit, error) {
	said, err := prepared(events)
	if err != nil {
		return Commit{}, err
	}
	return s.change(&change{ctx: ctx, fn: func(t *Tx) ([]pending, error) { return said, fn(t) }})
}

func (s *Store) change(c *change) (Commit, error) {
	ctx := c.ctx
	c.done = make(chan struct{})
	select {
	case s.changes <- c:
	case <-s.closed:
		return Commit{}, errClosed
	case <-ctx.Done():
		return Commit{}, givenUp(ctx)
	}
	<-c.done
	if c.panicked != nil {
		panic(c.panicked) // in the goroutine whose function it was
	}
	return c.commit, c.err
}

func givenUp(ctx context.Context) error {
	return brevet.Errorf(brevet.Unavailable, "this took too long and was not begun; nothing was changed").
		Because(context.Cause(ctx)).WithHint("try again")
}

// change is one call of Change on its way through the writer. Only the writer touches it
// until done is closed.
type change struct {
	ctx      context.Context
	fn       func(*Tx) ([]pending, error)
	done     chan struct{}
	settled  bool // it has failed for a reason of its own, in this try
	commit   Commit
	err      error
	panicked any
}

func (c *change) fail(err error) { c.settled, c.commit, c.err = true, Commit{}, err }

const (
	// maxBatch bounds how many changes share a commit. On PostgreSQL more than 64 savepoints
	// in one transaction would slow other sessions down.
	maxBatch = 64
	// batchTime is how long a batch may take before the database counts as away.
	batchTime = 20 * time.Second
	// maxTries is how often a batch is run when other transactions are in its way, as long as
	// all tries together take no longer than batchTime.
	maxTries = 8
	// doubtTime is how long to look whether a commit was done whose answer was lost.
	doubtTime = 15 * time.Second
)

// write is the one writer of nouns and of the log. It ends when ctx does.
func (s *Store) write(ctx context.Context) {
	defer close(s.closed)
	for {
		select {
		case <-ctx.Done():
			return
		case first := <-s.changes:
			batch := s.gather(first)
			s.settle(ctx, batch)
			for _, c := range batch {
				close(c.done)
			}
		}
	}
}

// gather takes the changes that wait already, and those of callers that are about to run: it lets them
// go first as long as that brings one more. Alone, a change is committed at once; under load, the
// commit before it and the callers that are awake fill the batch.
func (s *Store) gather(first *change) []*change {
	batch := []*change{first}
	for yielded := false; len(batch) < maxBatch; {
		select {
		case next := <-s.changes:
			batch, yielded = append(batch, next), false
		default:
			if yielded {
				return batch
			}
			runtime.Gosched()
			yielded = true
		}
	}
	return batch
}

// settle commits the batch, and tries again while only other transactions are in the way, or
// on another connection if this one broke. At first it trusts that no change fails for a reason of
// its own, which is rare; if one does, they are run once more, each behind a savepoint.
func (s *Store) settle(ctx context.Context, batch []*change) {
	began := time.Now()
	apart := false
	for try := 1; ; try++ {
		err := s.commit(ctx, batch, apart)
		if err == nil {
			return
		}
		again := errors.Is(err, errOneFailed) || s.dialect.worthTrying(err, try, time.Since(began))
		// Also a change that failed by itself begins anew: what it failed by may have been
		// written by another of this batch, and is not there now.
		for _, c := range batch {
			if again {
				c.settled, c.commit, c.err, c.panicked = false, Commit{}, nil, nil
			} else {
				c.fail(s.dialect.explain(err))
			}
		}
		if errors.Is(err, errOneFailed) {
			apart = true
			continue
		}
		if !again {
			if s.dialect.fatal(err) {
				s.wrote(&s.ailing.change, s.dialect.explain(err))
			}
			s.logger.WarnContext(ctx, "changes were not committed", "changes", len(batch), "tries", try, "error", err)
			return
		}
		time.Sleep(time.Duration(try) * time.Millisecond) // the other one gets ahead
	}
}

// errOneFailed says that a change of a batch failed for a reason of its own, and took the others with it.
var errOneFailed = errors.New("a change of the batch failed")

// commit runs the batch in one transaction. An error means that nothing of it was written.
// If the changes are kept apart, one that fails for a reason of its own is settled with that and
// leaves no trace; so is one that is alone.
func (s *Store) commit(parent context.Context, batch []*change, apart bool) error {
	ctx, cancel := s.batchContext(parent)
	defer cancel()
	if err := s.file.there(); err != nil {
		return err
	}
	fault.Point("store.change.begin")
	tx, err := s.writes.BeginTx(ctx, s.dialect.isolation())
	if err != nil {
		return err
	}
	defer tx.Rollback() // after Commit this does nothing
	log, err := s.openLog(ctx, tx)
	if err != nil {
		return err
	}
	before := log.tree.Size
	for _, c := range batch {
		if err := s.run(ctx, tx, log, c, apart); err != nil {
			return err
		}
		if c.settled && !apart && len(batch) > 1 {
			return errOneFailed
		}
	}
	if log.tree.Size == before {
		return nil // every change of the batch failed
	}
	now, err := log.seal(s.log)
	if err != nil {
		return err
	}
	fault.Point("store.change.commit")
	if err := s.finish(ctx, tx, log.tip); err != nil {
		return err
	}
	fault.Point("store.change.committed")
	for _, c := range batch {
		if !c.settled {
			c.commit.Size, c.commit.Checkpoint = now.tree.Size, now.checkpoint
		}
	}
	s.told(now, log.news)
	s.tellWritten()
	return nil
}

// batchContext bounds a batch on a database that is reached over a network. On SQLite the
// lock's own time-out is the bound, and a context that can end costs a goroutine a statement.
func (s *Store) batchContext(parent context.Context) (context.Context, context.CancelFunc) {
	ctx := context.WithoutCancel(parent) // Close lets a batch that has begun end
	if s.dialect == onSQLite {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, batchTime)
}

// run runs one change of the batch. The error is one that ends the whole batch; a failure
// of the change itself is settled here, and what it wrote is undone.
func (s *Store) run(ctx context.Context, tx *sql.Tx, log *openLog, c *change, apart bool) error {
	switch {
	case c.settled:
		return nil
	case c.ctx.Err() != nil:
		c.fail(givenUp(c.ctx))
		return nil
	}
	if apart {
		if err := log.mark(); err != nil {
			return err
		}
	}
	begin := log.tip
	failure, err := s.attempt(ctx, tx, log, c)
	if err != nil || failure == nil {
		return err
	}
	c.fail(failure)
	log.tip = begin
	if !apart { // the transaction itself is undone
		return nil
	}
	_, err = tx.ExecContext(ctx, "rollback to savepoint part")
	return err
}

// attempt runs the change's function and appends its events. A failure is the change's own;
// an error is one of the database, after which the transaction cannot go on.
func (s *Store) attempt(ctx context.Context, tx *sql.Tx, log *openLog, c *change) (failure, err error) {
	var broken error
	events, failure := guard(c, &Tx{Query{ctx: ctx, on: tx, dialect: s.dialect, broken: &broken}})
	if broken != nil {
		if s.dialect.fatal(broken) {
			return nil, broken
		}
		// If fn went on after the error, what it read or wrote is not what it believes. If it
		// says nothing better itself, the first error says most.
		if brevet.KindOf(failure) == brevet.Internal {
			failure = s.dialect.explain(broken)
		}
	}
	if failure != nil {
		return failure, nil
	}
	if len(events) == 0 {
		return brevet.Errorf(brevet.Invalid, "a change without an event"), nil
	}
	first := log.tree.Size
	bodies, err := log.append(events)
	if err != nil {
		if s.dialect.fatal(err) {
			return nil, err
		}
		return s.dialect.explain(err), nil
	}
	c.commit = Commit{First: first, Count: len(events), Bodies: bodies}
	return nil, nil
}

// guard runs fn, and keeps its panic for the caller of Change: it must not end the writer.
func guard(c *change, tx *Tx) (events []pending, err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		c.panicked = fmt.Sprintf("%v\n\n%s", recover(), debug.Stack())
		err = brevet.Errorf(brevet.Internal, "a change panicked")
	}()
	if err = tx.fence(c.ctx); err == nil {
		events, err = c.fn(tx)
	}
	returned = true
	return events, err
}

// finish commits. If the answer to the commit is lost, it finds out what happened: an
// error means that nothing was written.
func (s *Store) finish(ctx context.Context, tx *sql.Tx, written tip) error {
	err := tx.Commit()
	if err == nil || s.dialect.judge(err) == again {
		return err
	}
	s.logger.WarnContext(ctx, "the answer to a commit was lost; looking whether it was done", "error", err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), doubtTime)
	defer cancel()
	for {
		done, doubt := s.committed(ctx, written)
		switch {
		case doubt == nil && done:
			return nil
		case doubt == nil:
			return err
		case ctx.Err() != nil:
			return &unknown{errors.Join(err, doubt)}
		}
		time.Sleep(100 * time.Millisecond) // the database is away: it has until doubtTime
	}
}

// committed reports whether what was written is in the log: its last event, where it was put. It waits for the log's head first: the
// transaction in doubt holds it as long as its own commit may still happen.
func (s *Store) committed(ctx context.Context, written tip) (bool, error) {
	tx, err := s.writes.BeginTx(ctx, s.dialect.isolation())
	if err != nil {
		return false, err
	}
	defer tx.Rollback() // nothing to commit
	q := &Query{ctx: ctx, on: tx, dialect: s.dialect}
	if _, err := one(q, value[int64], "select id from heads where id = 1"+s.dialect.forUpdate()); err != nil {
		return false, err
	}
	return one(q, value[bool], "select exists (select 1 from events where idx = $1 and id = $2)", written.tree.Size-1, written.last)
}

// unknown says that a commit was sent and its fate could not be learnt. It is Internal and
// not Unavailable, which would say that nothing was done.
type unknown struct{ err error }

func (u *unknown) Error() string {
	return "it is not known whether the change was committed: " + u.err.Error()
}
