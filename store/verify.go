package store

import (
	"context"

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

// VerifyLog recomputes the log from its rows: bodies, leaves, tree, head, and the signature
// of the newest checkpoint. The error says that the log could not be read, or that the saved
// checkpoint is not one of this log; what is wrong with the log itself is the Problem.
func (s *Store) VerifyLog(ctx context.Context, v Verification) (Verified, error) {
	var walk audit.Walk
	if v.Saved != nil {
		var err error
		if walk.Saved, err = audit.Open(v.Saved, s.log.Origin(), s.log.Public()); err != nil {
			return Verified{}, err
		}
	}
	head, beyond, err := s.extent(ctx)
	if err != nil {
		return Verified{}, err
	}
	found := Verified{Events: head.tree.Size, Signed: head.checkpoint}
	found.Checkpoint, err = audit.Open(head.checkpoint, s.log.Origin(), s.log.Public())
	if brevet.KindOf(err) == brevet.Refused {
		found.Problem = &audit.Problem{First: 0, Last: max(0, head.tree.Size-1), What: "their checkpoint is not signed by the log's key"}
		return found, nil
	}
	if err != nil {
		return Verified{}, err
	}
	if found.Problem, err = s.walk(ctx, &walk, found.Checkpoint.Size, v.Progress); err != nil {
		return Verified{}, err
	}
	found.Erased = walk.Erased
	if found.Problem == nil {
		found.Problem = walk.End(found.Checkpoint)
	}
	switch {
	case found.Problem != nil:
	case head.tree.Size != found.Checkpoint.Size || head.tree.Root() != found.Checkpoint.Root:
		found.Problem = &audit.Problem{First: 0, Last: max(0, head.tree.Size-1), What: "the head was changed: it does not agree with its checkpoint"}
	case beyond > 0:
		found.Problem = &audit.Problem{First: head.tree.Size, Last: head.tree.Size + beyond - 1, What: "no checkpoint covers them"}
	}
	return found, nil
}

// extent reads the head, and how many rows there are that it does not cover, of one moment.
func (s *Store) extent(ctx context.Context) (h head, beyond int64, err error) {
	err = s.Read(ctx, func(q *Query) error {
		if h, err = q.head(); err != nil {
			return err
		}
		beyond, err = one(q, value[int64], "select count(*) from events where idx < 0 or idx >= $1", h.tree.Size)
		return err
	})
	return h, beyond, err
}

func (s *Store) walk(ctx context.Context, walk *audit.Walk, size int64, progress func(done, of int64)) (*audit.Problem, error) {
	newest := walk.Size()
	for walk.Size() < size {
		rows, err := list(s.Query(ctx), scanRow, "select idx, kind, subject, body_hash, salt, body, statement, hashes from events where idx >= $1 and idx < $2 order by idx limit $3",
			walk.Size(), size, verifyPage)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			if p := walk.Next(row); p != nil {
				return p, nil
			}
		}
		if walk.Size() == newest {
			break // no row more
		}
		newest = walk.Size()
		if progress != nil {
			progress(newest, size)
		}
	}
	return nil, nil
}

func scanRow(row scanner) (audit.Row, error) {
	var r audit.Row
	var hash []byte
	if err := row.Scan(&r.Index, &r.Leaf.Kind, &r.Leaf.Subject, &hash, &r.Salt, &r.Body, &r.Statement, &r.Hashes); err != nil {
		return audit.Row{}, err
	}
	copy(r.Leaf.Body[:], hash) // of another length: then it is not the body's
	return r, nil
}
