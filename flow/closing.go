package flow

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/store"
)

// closing is what is known of how a recording ended. Its chunks alone tell nothing: anybody can seal some to
// the recorder, whose key is public. Nor does the row, which whoever can write the database can write.
type closing struct {
	row    brevet.RecordingState
	sealed bool                  // the log has an event of it
	logged brevet.RecordingState // what that says; without a root once it was erased
	wrong  string                // what row and log disagree in, or ""
}

// closingOf reads what row and log say of a recording, at one moment.
func (s *Spine) closingOf(ctx context.Context, id brevet.SessionID) (c closing, err error) {
	var told []store.Entry
	err = s.Store.Read(ctx, func(q *store.Query) error {
		session, err := q.Session(id)
		if err != nil {
			return err
		}
		c.row = session.Recording
		told, err = q.Search(store.Filter{Kind: "recording.sealed", Session: id, Subject: string(id), Limit: store.MaxPage})
		return err
	})
	if err != nil {
		return c, err
	}
	if len(told) == 0 {
		if c.row.Complete {
			c.wrong = "the database says that it is complete, and the log has not heard of that"
		}
		return c, nil
	}
	first := told[len(told)-1] // it is told once; what else may stand there came later
	if err := s.Store.Holds(ctx, first); err != nil {
		if brevet.KindOf(err) != brevet.Refused {
			return c, err
		}
		c.wrong = fmt.Sprintf("what the database has as event %d, which says how it ended, does not stand in the log", first.Index)
		return c, nil
	}
	c.sealed = true
	switch c.logged, err = sealedAs(first); {
	case err != nil:
		return c, err
	case !c.row.Complete || c.logged.Root != "" && c.row != c.logged:
		c.wrong = fmt.Sprintf("the database does not say of it what event %d of the log says", first.Index)
	}
	return c, nil
}

// sealedAs reads what an event says of a complete recording.
func sealedAs(e store.Entry) (brevet.RecordingState, error) {
	state := brevet.RecordingState{Complete: true}
	if e.Body == nil {
		return state, nil
	}
	var record struct {
		Unmapped struct {
			Brevet struct {
				Detail struct {
					Root   string
					Chunks int
					Bytes  int64
				}
			}
		}
	}
	if err := json.Unmarshal(e.Body, &record); err != nil {
		return state, fmt.Errorf("read event %d of the log: %w", e.Index, err)
	}
	detail := record.Unmapped.Brevet.Detail
	state.Root, state.Chunks, state.Bytes = detail.Root, detail.Chunks, detail.Bytes
	return state, nil
}

// problem says why chunks that end as they should, in a root, are not known to be what was recorded; or "".
func (c closing) problem(root string) string {
	switch {
	case c.wrong != "":
		return c.wrong + ": what was shown may be forged"
	case !c.sealed:
		return "the log has not heard of its end: what was shown may be forged, unless its gateway is about to say so"
	case c.logged.Root == "":
		return "the log knew its root, and has erased it by its age: nobody can tell any more whether what was shown is forged"
	case c.logged.Root != root:
		return "it is not the one that the log names: what was shown may be forged"
	}
	return ""
}

// tellMismatch tells, once, that row and log do not say the same of a recording.
func (s *Spine) tellMismatch(ctx context.Context, session brevet.Session, g brevet.Grant, c closing) {
	event := s.onSession(s.failure("log.mismatch", "", s.self(), fmt.Sprintf("the recording of %s: %s", session.ID, c.wrong)), session, g)
	event.Detail = map[string]any{"row": c.row, "log": c.logged}
	s.tellOnce(ctx, store.Filter{Session: session.ID}, event)
}
