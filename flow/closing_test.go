package flow_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/seal"
	"github.com/brevet-pim/brevet/store"
)

// shelf is a record.Sink that keeps chunks.
type shelf struct{ chunks [][]byte }

func (s *shelf) Put(_ context.Context, _ uint32, chunk []byte) error {
	s.chunks = append(s.chunks, slices.Clone(chunk))
	return nil
}

func (s *shelf) Sync(context.Context) error { return nil }
func (s *shelf) Close() error               { return nil }

// recorded returns the chunks of a recording, sealed by nothing but the recorder's public key.
func (w *world) recorded(of brevet.Session, text string) [][]byte {
	w.t.Helper()
	var kept shelf
	recorder := &record.Recorder{
		Recipients: []seal.Recipient{w.recorder.Recipient()}, Sink: func(brevet.SessionID) (record.Sink, error) { return &kept, nil },
	}
	r, err := recorder.Begin(context.Background(), of, record.Terminal{})
	must(w.t, err)
	must(w.t, r.Output(record.Stdout, []byte(text)))
	must(w.t, r.Close("bob logged out"))
	return kept.chunks
}

// TestForgedRecording: whoever can write files and rows can seal what they like to the recorder. Only what
// the log says of a recording shows that it is the one that was made.
func TestForgedRecording(t *testing.T) {
	quote := func(s string) string { return "'" + s + "'" }
	row := func(id brevet.SessionID, r brevet.RecordingState) string {
		return fmt.Sprintf("update sessions set root = '%s', chunks = %d, bytes = %d, complete = %v where id = '%s'", r.Root, r.Chunks, r.Bytes, r.Complete, id)
	}
	for _, tt := range []struct {
		name    string
		sealed  bool // the true one was delivered, and its root is in the log
		edit    func(id brevet.SessionID, forged brevet.RecordingState) []string
		keep    bool // the files are left as they are
		problem string
		told    bool
	}{
		{name: "nobody forged any", sealed: true, keep: true},
		{name: "files and row", sealed: true, edit: func(id brevet.SessionID, forged brevet.RecordingState) []string { return []string{row(id, forged)} }, problem: "the database does not say of it what event", told: true},
		{name: "files alone", sealed: true, problem: "it is not the one that the log names"},
		{name: "the row alone", sealed: true, keep: true, edit: func(id brevet.SessionID, forged brevet.RecordingState) []string { return []string{row(id, forged)} }, problem: "the database does not say of it what event", told: true},
		{name: "files and row of a session without a recording", edit: func(id brevet.SessionID, forged brevet.RecordingState) []string { return []string{row(id, forged)} }, problem: "the log has not heard of that", told: true},
		{name: "files of a session without a recording", problem: "the log has not heard of its end"},
		{name: "files, row, and the event is gone", sealed: true, edit: func(id brevet.SessionID, forged brevet.RecordingState) []string {
			return []string{row(id, forged), "update events set session_id = '' where kind = 'recording.sealed' and session_id = " + quote(string(id))}
		}, problem: "the log has not heard of that", told: true},
		{name: "files, row, and the event's body", sealed: true, edit: func(id brevet.SessionID, forged brevet.RecordingState) []string {
			return []string{row(id, forged), "update events set body = replace(body, '\"root\"', '\"toor\"') where kind = 'recording.sealed' and session_id = " + quote(string(id))}
		}, problem: "does not stand in the log", told: true},
		{name: "files, row, and the event's body is erased", sealed: true, edit: func(id brevet.SessionID, forged brevet.RecordingState) []string {
			return []string{row(id, forged), "update events set body = null, salt = null where kind = 'recording.sealed' and session_id = " + quote(string(id))}
		}, problem: "nobody can tell any more"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(w *world) {
				session := newSession(w, w.granted())
				session.Login = "deploy"
				must(w.t, w.spine.BeginSession(context.Background(), gateway, session))
				if tt.sealed {
					state, err := w.spine.PutChunks(context.Background(), gateway, session.ID, 0, w.recorded(session, "what bob did"))
					must(w.t, err)
					if !state.Complete {
						w.t.Fatalf("delivered: %+v", state)
					}
				}
				chunks := w.recorded(session, "what bob never did")
				dir := w.spine.Recordings.Dir
				w.restart(func() {
					forger := &record.Store{Dir: w.t.TempDir()}
					forged, _, err := forger.Put(session.ID, 0, chunks)
					must(w.t, err)
					if !tt.keep {
						must(w.t, os.RemoveAll(filepath.Join(dir, string(session.ID))))
						must(w.t, os.MkdirAll(dir, 0o700))
						must(w.t, os.Rename(filepath.Join(forger.Dir, string(session.ID)), filepath.Join(dir, string(session.ID))))
					}
					if tt.edit != nil {
						w.edit(tt.edit(session.ID, forged)...)
					}
				})
				for range 2 {
					report, err := w.spine.PlaySession(context.Background(), w.as("frank"), string(session.ID), func([]byte) error { return nil })
					must(w.t, err)
					if report.Complete != (tt.problem == "") || !strings.Contains(report.Problem, tt.problem) || tt.problem == "" && report.Problem != "" {
						w.t.Errorf("it is said to be complete (%v), or %q; want %q", report.Complete, report.Problem, tt.problem)
					}
				}
				told, err := w.store.Query(context.Background()).Search(store.Filter{Kind: "log.mismatch", Session: session.ID})
				must(w.t, err)
				if want := map[bool]int{true: 1}[tt.told]; len(told) != want {
					w.t.Errorf("%d events of kind log.mismatch, want %d", len(told), want)
				}
			})
		})
	}
}
