package issuer

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"slices"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/fault"
)

// write is one change of the state. do either writes or refuses: when it returns a brevet.Error it
// has written nothing. Any other error is the database's, and takes the whole batch back.
type write struct {
	what string // issue, takeback …: names its fault points
	do   func(context.Context, *sql.Tx) error
	// patient says that it may wait a moment for another, to share a commit.
	patient bool
	err     error
	done    chan struct{}
}

const (
	// maxBatch is how many writes share a commit.
	maxBatch = 256
	// company is how long a patient write waits for another.
	company = 3 * time.Millisecond
)

// write makes a change durable. It does not wait for ctx once the change is on its way.
func (s *state) write(ctx context.Context, what string, do func(context.Context, *sql.Tx) error) error {
	w := &write{what: what, do: do, done: make(chan struct{})}
	if err := s.send(ctx, w); err != nil {
		return err
	}
	return s.wait(w)
}

// send puts a change behind those that were sent before: it becomes durable with the last of them, or later.
func (s *state) send(ctx context.Context, w *write) error {
	if ctx.Err() == nil {
		select {
		case s.queue <- w:
			return nil
		case <-s.stop:
			return errStopping
		case <-ctx.Done():
		}
	}
	return brevet.Errorf(brevet.Unavailable, "the issuer did not answer in time").Because(ctx.Err())
}

// wait returns when the change that was sent is durable, or has failed.
func (s *state) wait(w *write) error {
	select {
	case <-w.done:
		return w.err
	case <-s.ended:
	}
	select {
	case <-w.done:
		return w.err
	default: // it came when nobody took it any more
		return errStopping
	}
}

// run commits what comes until close.
func (s *state) run() {
	defer close(s.ended)
	var batch []*write
	var late <-chan time.Time
	for stopping := false; !stopping; {
		select {
		case first := <-s.queue:
			batch = append(batch, s.gather(first)...)
			if !slices.ContainsFunc(batch, func(w *write) bool { return !w.patient }) {
				if late == nil {
					late = time.After(company)
				}
				continue
			}
		case <-late:
		case <-s.stop:
			stopping = true
			batch = append(batch, s.left()...)
		}
		if len(batch) > 0 {
			s.commit(batch)
		}
		batch, late = nil, nil
	}
}

// left takes what waits, and no more.
func (s *state) left() (batch []*write) {
	for {
		select {
		case w := <-s.queue:
			batch = append(batch, w)
		default:
			return batch
		}
	}
}

// gather takes what waits already, and what callers bring that are about to run: it lets them go
// first as long as that brings one more. So one synchronous commit serves many.
func (s *state) gather(first *write) []*write {
	batch := []*write{first}
	for yielded := false; len(batch) < maxBatch; {
		select {
		case w := <-s.queue:
			batch, yielded = append(batch, w), false
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

// commit makes the batch durable, all or nothing, and tells everybody who waits.
func (s *state) commit(batch []*write) {
	err := failed(s.try(batch))
	for _, w := range batch {
		if err != nil {
			w.err = err
		}
		close(w.done)
	}
}

func (s *state) try(batch []*write) error {
	ctx := context.Background() // the batch is of many callers
	tx, err := s.writes.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // nothing once it is committed
	for _, w := range batch {
		w.err = w.do(ctx, tx)
		if _, refused := errors.AsType[*brevet.Error](w.err); w.err != nil && !refused {
			return w.err
		}
	}
	signed := s.clock.lastSigned()
	if signed.After(s.signed) {
		if _, err := tx.ExecContext(ctx, "update issuer set signed = $1 where id = 1 and signed < $1", signed.UnixMicro()); err != nil {
			return err
		}
	}
	for _, w := range batch {
		fault.Point("issuer." + w.what + ".commit")
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	for _, w := range batch {
		fault.Point("issuer." + w.what + ".committed")
	}
	s.signed = signed
	return nil
}
