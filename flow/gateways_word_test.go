package flow_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/statement"
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
		view, err := w.spine.KillSession(t.Context(), w.as("bob"), string(session.ID), reason, 0)
		must(t, err)
		if view.EndReason != "bob ended this session: by mistake" {
			t.Errorf("it ends since %s", view.EndReason)
		}
	}
	if n := w.count("session.killed", r); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// TestWhoTakesBackWaitsForTheGateway: what is to end is not told as ended before its gateway says so.
func TestWhoTakesBackWaitsForTheGateway(t *testing.T) {
	w := onSQLite(t)
	r := w.granted()
	session := newSession(w, r)
	session.Login = "deploy"
	must(t, w.spine.BeginSession(t.Context(), gateway, session))
	killed := make(chan flow.SessionView, 1)
	go func() {
		view, err := w.spine.KillSession(t.Context(), w.as("bob"), string(session.ID), "x", time.Hour)
		if err != nil {
			t.Error(err)
		}
		killed <- view
	}()
	for size := int64(0); w.count("session.killed", r) == 0; {
		size = must1(w.store.Wait(t.Context(), size))(t)
	}
	select {
	case <-killed:
		t.Error("a gateway that said nothing has ended it")
	default:
	}
	session.EndedAt, session.EndReason = w.clock(), "killed"
	must(t, w.spine.EndSession(t.Context(), gateway, session))
	if view := <-killed; view.EndedAt.IsZero() {
		t.Error("it waited for nothing")
	}

	suspension := w.revocation("alice", statement.RevokePerson, "bob")
	suspended := make(chan flow.Suspension, 1)
	go func() {
		done, err := w.spine.Suspend(t.Context(), w.as("alice"), suspension, time.Hour)
		if err != nil {
			t.Error(err)
		}
		suspended <- done
	}()
	waitUntil(t, w, r, func(v flow.RequestView) bool { return v.GrantState == brevet.Ending })
	must(t, w.spine.Confirm(t.Context(), gateway, flow.Closed{Grant: r.Grant}))
	if done := <-suspended; done.Ended != 1 || done.Left != 0 {
		t.Errorf("%d grants ended, something is left of %d", done.Ended, done.Left)
	}
}

// TestAGatewayThatIsThereTwice: one that comes with the identity of another, which is still connected, does
// not end the sessions of that one. Once it is alone, what it does not have is over.
func TestAGatewayThatIsThereTwice(t *testing.T) {
	w := onSQLite(t)
	r, err := w.approve("carol", w.ask("bob", "web-root"), 0)
	must(t, err)
	session := newSession(w, r)
	must(t, w.spine.BeginSession(t.Context(), gateway, session))
	listen := func(live ...brevet.SessionID) (leave func()) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		var gone sync.WaitGroup
		alive := make(chan struct{})
		var once sync.Once
		gone.Go(func() {
			must(t, w.spine.Listen(ctx, gateway, flow.Present{Address: "gw:22", Live: live, At: w.clock()}, func(flow.Order) error {
				once.Do(func() { close(alive) })
				return nil
			}))
		})
		<-alive
		return func() { cancel(); gone.Wait() }
	}
	ended := func() bool {
		now, err := w.store.Query(t.Context()).Session(session.ID)
		must(t, err)
		return !now.EndedAt.IsZero()
	}
	first := listen(session.ID)
	w.wait(time.Second)
	second := listen()
	defer second()
	if ended() {
		t.Error("the session was ended by another gateway's word")
	}
	first()
	for size := w.store.Size(); !ended(); {
		var err error
		if size, err = w.store.Wait(t.Context(), size); err != nil {
			t.Fatal("it goes on for ever, though its gateway has left")
		}
	}
}
