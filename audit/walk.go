package audit

import (
	"bytes"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Row is one event as somebody keeps it, for a Walk to verify.
type Row struct {
	Index     int64
	Leaf      Leaf
	Salt      []byte
	Body      []byte // nil once erased
	Statement []byte // nil if there is none, or once erased
	// Hashes are those that the leaf completes, as they are kept (see Head.Append), one after
	// another; nil if whoever keeps the row keeps none.
	Hashes []byte
}

// Problem is the first thing about a log that does not hold. It lies among the events from
// First to Last: one event where it can be told, else as few as can.
type Problem struct {
	First, Last int64
	What        string
}

func (p Problem) String() string {
	if p.First == p.Last {
		return fmt.Sprintf("event %d: %s", p.First, p.What)
	}
	return fmt.Sprintf("events %d to %d: %s", p.First, p.Last, p.What)
}

// Walk verifies a log row by row, from the first on. The zero Walk begins an empty log.
type Walk struct {
	// Saved is an earlier checkpoint that the log must extend, and the zero one if there is none.
	Saved  Checkpoint
	Erased int64 // how many bodies were erased, so far

	head Head
}

// Size returns how many rows the walk has seen.
func (w *Walk) Size() int64 { return w.head.Size }

// Next verifies the next row and returns what is wrong, or nil. After a problem the walk is over.
func (w *Walk) Next(r Row) *Problem {
	at := w.head.Size
	if r.Index != at {
		return &Problem{at, at, fmt.Sprintf("it is missing: event %d comes next", r.Index)}
	}
	if what := w.row(r); what != "" {
		return &Problem{at, at, what}
	}
	head, completed := w.head.Append(r.Leaf.Hash())
	if p := compare(at, completed, r.Hashes); p != nil {
		return p
	}
	w.head = head
	if w.Saved.Size == head.Size && w.Saved.Root != head.Root() {
		return &Problem{0, at, "they are not the events that the saved checkpoint was made of"}
	}
	return nil
}

// row verifies that the row agrees with itself.
func (w *Walk) row(r Row) string {
	if err := r.Leaf.Check(); err != nil {
		return err.Error()
	}
	if r.Body == nil {
		w.Erased++
		return ""
	}
	if len(r.Salt) != SaltSize || BodyHash([SaltSize]byte(r.Salt), r.Body) != r.Leaf.Body {
		return "its body was changed"
	}
	if want := EnvelopeHashOf(r.Body); want != "" && len(r.Statement) > 0 && EnvelopeHash(r.Statement) != want {
		return "its statement was changed"
	}
	return ""
}

// compare looks for the first kept hash that is not the computed one. The leaf's own hash
// tells of this event; one of a subtree, of the events below it whose own hashes agreed.
func compare(at int64, computed []tlog.Hash, kept []byte) *Problem {
	if kept == nil {
		return nil
	}
	if len(kept) != len(computed)*tlog.HashSize {
		return &Problem{at, at, "its hashes were changed"}
	}
	for level, hash := range computed {
		if !bytes.Equal(kept[level*tlog.HashSize:(level+1)*tlog.HashSize], hash[:]) {
			first := at + 1 - 1<<level
			if level == 0 {
				return &Problem{first, at, "it is not the event that was logged"}
			}
			return &Problem{first, at, "one of them is not the event that was logged"}
		}
	}
	return nil
}

// End verifies that the rows are all that the log's newest checkpoint was made of, and that
// the saved one lies within, and returns what is wrong, or nil.
func (w *Walk) End(newest Checkpoint) *Problem {
	size := w.head.Size
	switch {
	case size < newest.Size:
		return &Problem{size, newest.Size - 1, "they are missing: the log was cut"}
	case size < w.Saved.Size:
		return &Problem{size, w.Saved.Size - 1, "they are missing: the saved checkpoint has seen them"}
	case size > newest.Size:
		return &Problem{newest.Size, size - 1, "no checkpoint covers them"}
	case w.head.Root() != newest.Root:
		return &Problem{0, size - 1, "they are not the events that the newest checkpoint was made of"}
	}
	return nil
}
