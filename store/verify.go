package store

import (
	"context"
	"errors"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
)

// Verification says how to verify the log. The zero value verifies it by itself.
type Verification struct {
	// Saved is a signed checkpoint that somebody kept. Without one, a log that was put back
	// to an older state as a whole cannot be told from an older log.
	Saved []byte
	// Progress, if not nil, hears now and then how many events were verified, of how many.
	Progress func(done, of int64)
}

// Verified is what a verification found.
type Verified struct {
	Events     int64
	Erased     int64            // how many of them retention has erased
	Checkpoint audit.Checkpoint // the newest, as far as it could be read
	Signed     []byte           // the same, signed
	Problem    *audit.Problem   // the first that was found; nil: the log holds
}

// verifyPage is how many events are verified in one read. Each is a short transaction, so
// that a long verification does not keep the database from tidying up behind it.
const verifyPage = 500

// VerifyLog recomputes the log from its rows: bodies and what is kept beside them, leaves,
// tree, head, and the signature of the newest checkpoint. The error says that the log could
// not be read, or that the saved checkpoint is not one of this log; what is wrong with the
// log itself is the Problem.
func (s *Store) VerifyLog(ctx context.Context, v Verification) (Verified, error) {
	var walk audit.Walk
	if v.Saved != nil {
		var err error
		if walk.Saved, err = audit.Open(v.Saved, s.log.Origin(), s.log.Public()); err != nil {
			return Verified{}, err
		}
	}
	end, err := s.readEnd(ctx)
	if err != nil {
		return Verified{}, err
	}
	found := Verified{Signed: end.checkpoint}
	found.Checkpoint, err = audit.Open(end.checkpoint, s.log.Origin(), s.log.Public())
	if err != nil {
		found.Problem = &audit.Problem{First: 0, Last: max(0, end.events-1), What: "no checkpoint of theirs is signed by the log's key: the head was changed or taken away"}
		return found, nil
	}
	found.Events = found.Checkpoint.Size
	if found.Problem, err = s.walk(ctx, &walk, found.Events, v.Progress); err != nil {
		return Verified{}, err
	}
	found.Erased = walk.Erased
	if found.Problem == nil {
		found.Problem = walk.End(found.Checkpoint)
	}
	if found.Problem == nil {
		found.Problem = end.agrees(found.Checkpoint, walk.At)
	}
	return found, nil
}

// end is the head as it stands in its row, whatever somebody wrote there, and what rows
// there are at one moment.
type end struct {
	edge       []byte
	at         int64
	checkpoint []byte
	events     int64 // rows
}

func (s *Store) readEnd(ctx context.Context) (e end, err error) {
	err = s.Read(ctx, func(q *Query) error {
		if e.events, err = one(q, value[int64], "select count(*) from events"); err != nil {
			return err
		}
		found, err := one(q, func(row scanner) (e end, err error) { return e, row.Scan(&e.edge, &e.at, &e.checkpoint) }, selectHead)
		if errors.Is(err, errNone) {
			return nil
		}
		e.edge, e.at, e.checkpoint = found.edge, found.at, found.checkpoint
		return err
	})
	return e, err
}

// agrees verifies that the head is what its checkpoint says, that its time is the newest
// event's, and that there are no rows besides.
func (e end) agrees(c audit.Checkpoint, newest time.Time) *audit.Problem {
	var tree audit.Head
	if err := tree.UnmarshalBinary(e.edge); err != nil || tree.Size != c.Size || tree.Root() != c.Root || e.at != micros(newest) {
		return &audit.Problem{First: 0, Last: max(0, c.Size-1), What: "the head was changed: it does not agree with its checkpoint"}
	}
	if e.events > c.Size {
		return &audit.Problem{First: c.Size, Last: e.events - 1, What: "no checkpoint covers them"}
	}
	return nil
}

func (s *Store) walk(ctx context.Context, walk *audit.Walk, size int64, progress func(done, of int64)) (*audit.Problem, error) {
	for newest := int64(-1); newest < walk.Size() && walk.Size() < size; {
		newest = walk.Size()
		rows, err := list(s.Query(ctx), scanRow, selectRows, newest, size, verifyPage)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			if p := walk.Next(row); p != nil {
				return p, nil
			}
		}
		if progress != nil {
			progress(walk.Size(), size)
		}
	}
	return nil, nil
}

const selectRows = `select idx, id, kind, subject, at, actor, about, request_id, grant_id, session_id, body_hash, salt, body, statement, hashes
	from events where idx >= $1 and idx < $2 order by idx limit $3`

func scanRow(row scanner) (audit.Row, error) {
	var r audit.Row
	var f audit.Fields
	var hash []byte
	if err := row.Scan(&r.Index, &f.ID, &r.Leaf.Kind, &r.Leaf.Subject, instant{&f.At}, &f.Actor, &f.About, &f.Request, &f.Grant, &f.Session,
		&hash, &r.Salt, &r.Body, &r.Statement, &r.Hashes); err != nil {
		return audit.Row{}, err
	}
	if len(hash) == len(r.Leaf.Body) { // of another length it is no leaf of ours, and stays zero
		copy(r.Leaf.Body[:], hash)
	}
	if r.Fields = &f; r.Hashes == nil {
		r.Hashes = []byte{} // taken away; nil would say that we keep none
	}
	return r, nil
}

// Holds returns nil if the event, which Search or another read gave, stands in the log as this process knows
// it, with that body unless it was erased. Whoever edits rows cannot edit the head that is remembered here.
func (s *Store) Holds(ctx context.Context, e Entry) error {
	s.mu.Lock()
	tree := s.trusted.tree
	s.mu.Unlock()
	if e.Body != nil && (len(e.Salt) != audit.SaltSize || audit.BodyHash([audit.SaltSize]byte(e.Salt), e.Body) != e.BodyHash) {
		return changed(e.Index, errors.New("its body is another"))
	}
	path, err := s.Query(ctx).Inclusion(tree.Size, e.Index)
	if brevet.KindOf(err) == brevet.Unavailable {
		return err
	}
	if err == nil {
		err = audit.VerifyInclusion(audit.Checkpoint{Size: tree.Size, Root: tree.Root()}, e.Index, e.Leaf(), path)
	}
	if err != nil {
		return changed(e.Index, err)
	}
	return nil
}

func changed(index int64, because error) error {
	return brevet.Errorf(brevet.Refused, "event %d of the log was changed in the database", index).Because(because).
		WithHint("restore the newest backup; brevet audit verify says what else was changed")
}
