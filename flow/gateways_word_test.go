package flow_test

import (
	"context"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/flow"
)

// TestACommandIsFitToBeKept: whatever somebody runs, the lists that show it can be read.
func TestACommandIsFitToBeKept(t *testing.T) {
	each(t, func(w *world) {
		r := w.granted()
		for name, command := range map[string]string{
			"cut within a character": strings.Repeat("x", 1023) + "é and more",
			"not UTF-8":              "echo \xff\xfe",
			"a zero":                 "printf 'a\x00b'",
		} {
			session := newSession(w, r)
			session.Login, session.Command = "deploy", command
			must(w.t, w.spine.BeginSession(w.t.Context(), gateway, session))
			kept, err := w.store.Query(w.t.Context()).Session(session.ID)
			must(w.t, err)
			if !utf8.ValidString(kept.Command) || strings.Contains(kept.Command, "\x00") || len(kept.Command) > len(command)+3 {
				w.t.Errorf("%s: kept as %q", name, kept.Command)
			}
		}
	})
}

// TestAFailureIsNoAnswerToAConfirmation: a gateway that is told that there is no such grant has
// nothing more to do, so it must not be told that because something failed.
func TestAFailureIsNoAnswerToAConfirmation(t *testing.T) {
	w := onSQLite(t)
	r := w.granted()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.spine.Confirm(ctx, gateway, flow.Closed{Grant: r.Grant}); err == nil || brevet.KindOf(err) == brevet.NotFound {
		t.Errorf("told %v", err)
	}
}

// TestASessionIsEndedOnce: whoever has it ended again is told why it ends, and the log only once.
func TestASessionIsEndedOnce(t *testing.T) {
	w := onSQLite(t)
	r := w.granted()
	session := newSession(w, r)
	session.Login = "deploy"
	must(t, w.spine.BeginSession(t.Context(), gateway, session))
	for _, reason := range []string{"by mistake", "again", "again"} {
		view, err := w.spine.KillSession(t.Context(), w.as("bob"), string(session.ID), reason)
		must(t, err)
		if view.EndReason != "bob ended this session: by mistake" {
			t.Errorf("it ends since %s", view.EndReason)
		}
	}
	if n := w.count("session.killed", r); n != 1 {
		t.Errorf("told %d times", n)
	}
}
