package audit

import (
	"bytes"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Row is one event as somebody keeps it, for a Walk to verify.
type Row struct {
	Index     int64
	Leaf      Leaf
	Salt      []byte
	Body      []byte // nil once erased
	Statement []byte // nil if there is none, or once erased
	// Fields are those kept beside the body; nil if whoever keeps the row keeps none.
	Fields *Fields
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
	Erased int64     // how many bodies were erased, so far
	At     time.Time // of the newest row, if rows have fields

	head   Head
	erased []span // whose bodies are gone
	told   []span // of which an event says that they were erased
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

// row verifies that the row agrees with itself, and its time with those before.
func (w *Walk) row(r Row) string {
	if err := r.Leaf.Check(); err != nil {
		return err.Error()
	}
	if r.Fields != nil {
		if r.Fields.At.Before(w.At) {
			return "its time is before that of the event before it"
		}
		w.At = r.Fields.At
	}
	if r.Leaf.Kind == KindErased {
		if told, ok := parseSpan(r.Leaf.Subject); ok && told.last < r.Index {
			w.told = append(w.told, told)
		}
	}
	if r.Body != nil {
		return whole(r)
	}
	w.Erased++
	w.erased = extend(w.erased, r.Index)
	return emptied(r)
}

// whole verifies a row that has its body: the leaf holds the body, and the body the rest.
func whole(r Row) string {
	if len(r.Salt) != SaltSize || BodyHash([SaltSize]byte(r.Salt), r.Body) != r.Leaf.Body {
		return "its body was changed"
	}
	body, err := readBody(r.Body)
	switch {
	case err != nil:
		return "its body cannot be read"
	case body.kind != r.Leaf.Kind || body.subject != r.Leaf.Subject:
		return "its body is of another event"
	case r.Fields != nil && *r.Fields != body.Fields:
		return "what is kept of it to search by was changed"
	case body.envelope == "" && len(r.Statement) > 0:
		return "it has a statement that was not logged with it"
	case body.envelope != "" && EnvelopeHash(r.Statement) != body.envelope:
		return "its statement was changed"
	}
	return ""
}

// emptied verifies a row without a body: nothing is left that only the body could hold.
func emptied(r Row) string {
	kind, _ := KindOf(r.Leaf.Kind)
	switch {
	case kind.Lasting:
		return fmt.Sprintf("its body is gone, and that of a %s event is never erased", kind.Name)
	case len(r.Salt) > 0 || len(r.Statement) > 0 || r.Fields != nil && !r.Fields.erased():
		return "its body is gone, and what is erased with a body is not"
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

// End verifies that the rows are all that the log's newest checkpoint was made of, that the
// saved one lies within, and that every erasure was told, and returns what is wrong, or nil.
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
	if gone, found := uncovered(w.erased, w.told); found {
		return &Problem{gone.first, gone.last, "the body is gone, and no event says that it was erased"}
	}
	return nil
}
