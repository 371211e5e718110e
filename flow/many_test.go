package flow_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// morePages is more than one read of the store returns.
const morePages = store.MaxPage + 3

// manyGrants writes grants of bob, as if a pipeline had asked all day.
func (w *world) manyGrants(n int) {
	w.t.Helper()
	r := w.granted()
	like := w.grant(r)
	at := w.clock()
	_, err := w.store.Change(context.Background(), func(t *store.Tx) ([]brevet.Event, error) {
		for i := range n {
			next := r.Request
			next.ID = brevet.RequestID("req_" + string(brevet.NewEventID(at))[len("evt_"):])
			next.Statement, next.State = fmt.Sprintf("%064x", i), brevet.Asked
			if err := t.AddRequest(next); err != nil {
				return nil, err
			}
			g := like
			g.ID, g.Request, g.Intent, g.Statement, g.State = next.ID.Grant(), next.ID, next.Statement, "", brevet.Issuing
			if err := t.AddGrant(g); err != nil {
				return nil, err
			}
		}
		return []brevet.Event{{ID: brevet.NewEventID(at), Kind: "clock.jumped", Subject: "server", At: at, Actor: gateway, Outcome: "success", Message: "many"}}, nil
	})
	must(w.t, err)
}

// TestSuspensionEndsHoweverMany: not only as many as fit on a page.
func TestSuspensionEndsHoweverMany(t *testing.T) {
	w := onSQLite(t)
	w.manyGrants(morePages)
	done, err := w.spine.Suspend(t.Context(), w.as("alice"), w.revocation("alice", statement.RevokePerson, "bob"), 0)
	must(t, err)
	if done.Ended != morePages+1 {
		t.Errorf("%d of %d grants were ended", done.Ended, morePages+1)
	}
	orders := map[brevet.GrantID]bool{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	must(t, w.spine.Listen(ctx, gateway, flow.Present{Address: "gw:22", At: w.clock()}, func(o flow.Order) error {
		if orders[o.Grant] = true; len(orders) == done.Ended {
			cancel()
		}
		if o.KeepAlive() {
			t.Errorf("after %d orders the gateway had to wait", len(orders)-1)
			cancel()
		}
		return nil
	}))
}

// TestEverySessionIsCounted: a gateway with more sessions than fit on a page is shown with all of them.
func TestEverySessionIsCounted(t *testing.T) {
	w := onSQLite(t)
	session := newSession(w, w.granted())
	event := brevet.Event{Kind: "clock.jumped", Subject: "server", At: w.clock(), Actor: gateway, Outcome: "success", Message: "many"}
	_, err := w.store.Change(t.Context(), func(t *store.Tx) ([]brevet.Event, error) {
		for range morePages {
			session.ID = brevet.NewSessionID(w.clock())
			if err := t.AddSession(session); err != nil {
				return nil, err
			}
		}
		return []brevet.Event{event}, nil
	})
	must(t, err)
	for _, m := range must1(w.spine.Machines(t.Context(), w.as("alice")))(t) {
		if want := map[brevet.MachineID]int{"gw-1": morePages}[m.ID]; m.Sessions != want {
			t.Errorf("%s has %d sessions, want %d", m.ID, m.Sessions, want)
		}
	}
}

// untilWritten is a context that ends as soon as something is written: its caller goes away then.
type untilWritten struct {
	context.Context
	store *store.Store
	size  int64
}

var gone = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (c untilWritten) Done() <-chan struct{} {
	if c.Err() != nil {
		return gone
	}
	return nil
}

func (c untilWritten) Err() error {
	if c.store.Size() > c.size {
		return context.Canceled
	}
	return nil
}

// TestTakingAwayOutlivesWhoDidIt: whoever retires a key need not stay for what that ends.
func TestTakingAwayOutlivesWhoDidIt(t *testing.T) {
	w := onSQLite(t)
	r := w.granted()
	head, number := w.spine.State().Roster.Head()
	retire := w.signed(statement.Retire{
		Header: w.Header(time.Hour), Link: statement.Link{Number: number + 1, Previous: head}, Person: "bob",
		Key: prooftest.Fingerprint(t, w.Keys["bob"].Key()), Since: w.clock().UnixMicro(), Reason: "lost",
	}, w.Keys["alice"])
	ctx := untilWritten{t.Context(), w.store, w.store.Size()}
	_, _, err := w.spine.AppendRoster(ctx, w.as("alice"), retire)
	t.Logf("whoever went away was told %v", err)
	w.wait(10 * time.Second)
	waitUntil(t, w, r, func(v flow.RequestView) bool { return v.GrantState == brevet.Ending })
}

// TestStoryIsWhole: it begins with the request however much happened since. Of sessions it tells those who
// may know of them; whoever agreed learns no more than that.
func TestStoryIsWhole(t *testing.T) {
	w := onSQLite(t)
	r, err := w.approve("carol", w.ask("bob", "web-root"), 0)
	must(t, err)
	session := newSession(w, r)
	must(t, w.spine.BeginSession(t.Context(), gateway, session))
	at := w.clock()
	var many []brevet.Event
	for range morePages {
		many = append(many, brevet.Event{
			ID: brevet.NewEventID(at), Kind: "session.refused", Subject: string(session.ID), At: at, Actor: gateway, Outcome: "failure", Message: "a tunnel",
			Request: r.ID, Grant: r.Grant, Session: session.ID,
		})
	}
	_, err = w.store.Change(t.Context(), func(*store.Tx) ([]brevet.Event, error) { return many, nil })
	must(t, err)
	for _, tt := range []struct {
		who      brevet.PersonID
		sessions int
		events   int
	}{{"bob", 1, 6 + morePages}, {"alice", 1, 6 + morePages}, {"dave", 0, 5}} {
		story, err := w.spine.Story(t.Context(), w.as(tt.who), string(r.ID))
		must(t, err)
		if len(story.Events) == 0 || story.Events[0].Kind != "request" || len(story.Events) != tt.events || len(story.Sessions) != tt.sessions {
			t.Errorf("%s is told %d events and %d sessions, want %d and %d", tt.who, len(story.Events), len(story.Sessions), tt.events, tt.sessions)
		}
	}
}
