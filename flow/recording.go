package flow

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/fault"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/store"
)

// PutChunks keeps sealed chunks of a recording of the calling gateway's own session, the first of
// which has the given number. It may be repeated. With the last one the recording is sealed: its
// root goes into the log.
func (s *Spine) PutChunks(ctx context.Context, by brevet.Caller, id brevet.SessionID, first int, chunks [][]byte) (brevet.RecordingState, error) {
	session, err := s.own(ctx, by, id)
	if err != nil {
		return brevet.RecordingState{}, err
	}
	if !session.Recorded {
		return brevet.RecordingState{}, brevet.Errorf(brevet.Refused, "%s is not recorded", id)
	}
	state, hashes, err := s.Recordings.Put(id, first, chunks)
	if err != nil {
		if brevet.KindOf(err) == brevet.Conflict {
			s.tellGap(ctx, by, session, "chunks came that do not fit: "+err.Error())
		}
		return state, err
	}
	fault.Point("flow.recording.put")
	err = s.Store.Work(ctx, func(w *store.Work) error {
		for i, chunk := range chunks {
			if _, err := w.AddChunk(store.Chunk{Session: id, Number: int64(first + i), SHA256: hashes[i].String(), Size: int64(len(chunk))}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || !state.Complete || session.Recording.Complete {
		return state, err
	}
	return state, s.sealed(ctx, by, session, state)
}

// sealed puts the root of a complete recording into the log.
func (s *Spine) sealed(ctx context.Context, by brevet.Caller, session brevet.Session, state brevet.RecordingState) error {
	event := s.event("recording.sealed", string(session.ID), by, fmt.Sprintf("the recording of %s is complete", session.ID))
	event.Session, event.Grant, event.Request, event.About = session.ID, session.Grant, session.Grant.Request(), session.Person
	event.Detail = map[string]any{"root": state.Root, "chunks": state.Chunks, "bytes": state.Bytes}
	_, err := s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		now, err := t.Session(session.ID)
		if err != nil {
			return nil, err
		}
		if now.Recording.Complete {
			return nil, errOvertaken
		}
		return []brevet.Event{event}, t.SetRecording(session.ID, state)
	})
	fault.Point("flow.recording.sealed")
	if errors.Is(err, errOvertaken) {
		return nil
	}
	return err
}

// CutRecording notes that a recording of the calling gateway ends after so many chunks, without its
// end, and why. It may be repeated.
func (s *Spine) CutRecording(ctx context.Context, by brevet.Caller, id brevet.SessionID, chunks int, reason string) (brevet.RecordingState, error) {
	session, err := s.own(ctx, by, id)
	if err != nil {
		return brevet.RecordingState{}, err
	}
	state, err := s.Recordings.Cut(id, chunks, reason)
	if err != nil {
		if brevet.KindOf(err) == brevet.Conflict {
			s.tellGap(ctx, by, session, "it cannot be closed as cut: "+err.Error())
		}
		return state, err
	}
	fault.Point("flow.recording.cut")
	_, err = s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		now, err := t.Session(id)
		if err != nil {
			return nil, err
		}
		if now.Recording == state {
			return nil, errOvertaken
		}
		return []brevet.Event{s.gap(by, session, reason)}, t.SetRecording(id, state)
	})
	if errors.Is(err, errOvertaken) {
		return state, nil // told before
	}
	return state, err
}

func (s *Spine) gap(by brevet.Caller, session brevet.Session, reason string) brevet.Event {
	event := s.failure("recording.gap", string(session.ID), by, fmt.Sprintf("the recording of %s is not whole: %s", session.ID, reason))
	event.Session, event.Grant, event.Request, event.About = session.ID, session.Grant, session.Grant.Request(), session.Person
	return event
}

// tellGap tells of a flaw in a recording, once.
func (s *Spine) tellGap(ctx context.Context, by brevet.Caller, session brevet.Session, reason string) {
	told, err := s.Store.Query(ctx).Search(store.Filter{Kind: "recording.gap", Session: session.ID, Limit: 1})
	if err == nil && len(told) > 0 {
		return
	}
	s.tell(ctx, s.gap(by, session, reason))
}

// RecordingReport says whether a recording is whole.
type RecordingReport struct {
	Chunks   int
	Frames   int64
	Bytes    int64
	Complete bool
	Problem  string // what is wrong with it, or ""
}

// frameRun is about how many bytes of frames are shown at a time.
const frameRun = 128 << 10

// PlaySession shows a recording, as frames of the recording format, and says whether it is whole.
// That somebody plays it is an event before they see anything.
func (s *Spine) PlaySession(ctx context.Context, by brevet.Caller, id string, show func(frames []byte) error) (RecordingReport, error) {
	session, g, err := s.actOn(ctx, by, id, brevet.ActReplay)
	if err != nil {
		return RecordingReport{}, err
	}
	if !session.Recorded {
		return RecordingReport{}, brevet.Errorf(brevet.NotFound, "%s was not recorded", session.ID).WithHint("its role does not ask for it")
	}
	played := s.onSession(s.event("recording.played", string(session.ID), by, fmt.Sprintf("%s plays the recording of %s", by.Person, session.ID)), session, g)
	if _, err := s.Store.Change(ctx, func(*store.Tx) ([]brevet.Event, error) { return []brevet.Event{played}, nil }); err != nil {
		return RecordingReport{}, err
	}
	delivered, err := s.Store.Query(ctx).Chunks(session.ID) // so far; more may come while they are read
	if err != nil {
		return RecordingReport{}, err
	}
	recording, err := s.Recordings.Open(session.ID)
	if err != nil {
		return RecordingReport{}, err
	}
	c, err := s.closingOf(ctx, session.ID)
	if err != nil {
		return RecordingReport{}, err
	}
	reading := record.Open(recording, session.ID, record.Known{Root: c.logged.Root}, s.Recorder)
	out := &runs{show: show}
	streamed := record.WriteEvents(out, reading.Events())
	if problem := (*record.Problem)(nil); streamed != nil && !errors.As(streamed, &problem) {
		return RecordingReport{}, streamed
	}
	if err := out.flush(); err != nil {
		return RecordingReport{}, err
	}
	return s.report(ctx, session, g, len(delivered), reading.Report())
}

// report says how what was shown of a recording stands, of which so many chunks had been delivered. What
// is wrong with it is an event.
func (s *Spine) report(ctx context.Context, session brevet.Session, g brevet.Grant, delivered int, r record.Report) (RecordingReport, error) {
	report := RecordingReport{Chunks: r.Chunks, Frames: int64(r.Frames), Bytes: r.Bytes, Complete: r.Complete}
	c, err := s.closingOf(ctx, session.ID) // again: it may have been sealed while it was read
	if err != nil {
		return report, err
	}
	if c.wrong != "" {
		s.tellMismatch(ctx, session, g, c)
	}
	if r.Problem == nil {
		report.Problem = c.problem(r.Root)
		report.Complete = r.Complete && report.Problem == ""
		return report, nil
	}
	if c.wrong != "" {
		report.Problem = c.problem(r.Root) + "; and " + r.Problem.Error()
		return report, nil
	}
	coming, err := s.coming(session, c, delivered, r)
	switch {
	case err != nil:
		return report, err
	case !coming:
		report.Problem = r.Problem.Error()
		s.tellGap(ctx, s.self(), session, report.Problem)
	case session.EndedAt.IsZero():
		report.Problem = "the session goes on; this is what there is so far"
	default:
		report.Problem = fmt.Sprintf("its rest has not come yet from %s", session.Machine)
	}
	return report, nil
}

// coming reports whether a recording that stops before its end may be no more than on its way: its
// gateway delivers it later, and has not said that it is cut; and of what was delivered all is there.
func (s *Spine) coming(session brevet.Session, c closing, delivered int, r record.Report) (bool, error) {
	if r.Problem.Fault != record.Cut || c.sealed || r.Chunks < delivered {
		return false, nil
	}
	reason, err := s.Recordings.CutReason(session.ID)
	return reason == "", err
}

// runs gathers what is written into messages of a fair size.
type runs struct {
	show   func([]byte) error
	buffer bytes.Buffer
}

func (r *runs) Write(p []byte) (int, error) {
	r.buffer.Write(p)
	if r.buffer.Len() < frameRun {
		return len(p), nil
	}
	return len(p), r.flush()
}

func (r *runs) flush() error {
	if r.buffer.Len() == 0 {
		return nil
	}
	err := r.show(bytes.Clone(r.buffer.Bytes()))
	r.buffer.Reset()
	return err
}
