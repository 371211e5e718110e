package flow_test

import (
	"context"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/test/testenv"
)

// TestDatabaseAway: nothing new is given, taking away works all the same, and it heals by itself.
func TestDatabaseAway(t *testing.T) {
	cluster := testenv.PostgresCluster(t)
	database := must1(cluster.NewDatabase(t.Context()))(t)
	w := newWorld(t, database, nil)
	r := w.granted()
	listening, stop := context.WithCancel(t.Context())
	orders, gone := make(chan flow.Order, 64), make(chan error, 1)
	go func() {
		gone <- w.spine.Listen(listening, gateway, flow.Present{Address: "gw-1:22", At: w.clock()}, func(o flow.Order) error {
			if !o.KeepAlive() {
				orders <- o
			}
			return nil
		})
	}()
	waitForEvent(t, w, "gateway.joined")

	cluster.Stop()
	_, err := w.spine.Ask(t.Context(), w.as("bob"), w.signed(w.Request("bob", "web-now"), w.Keys["bob"]))
	refused(t, err, brevet.Unavailable, "")
	revocation := w.revocation("alice", statement.RevokeGrant, string(r.Grant))
	_, err = w.spine.Revoke(t.Context(), w.as("alice"), revocation, 0)
	refused(t, err, brevet.Unavailable, "the gateways end it now, and the issuer knows")
	if o := <-orders; o.Grant != r.Grant || o.Reason == "" {
		t.Errorf("the gateway was ordered %+v", o)
	}
	if _, err := w.issuer.Status(t.Context(), r.Grant); brevet.KindOf(err) != brevet.Refused {
		t.Errorf("the issuer still stands for the grant: %v", err)
	}

	must(t, cluster.Start(t.Context()))
	for g := (brevet.Grant{}); g.State != brevet.Ending; { // once the store has come back, by itself
		if g, err = w.store.Query(t.Context()).Grant(r.Grant); err != nil && brevet.KindOf(err) != brevet.Unavailable {
			t.Fatal(err)
		}
	}
	for _, kind := range []string{"revocation", "grant.ending"} {
		if n := w.count(kind, r); n != 1 {
			t.Errorf("%d events %s", n, kind)
		}
	}
	must(t, w.spine.Confirm(t.Context(), gateway, flow.Closed{Grant: r.Grant}))
	if g := w.grant(r); g.State != brevet.Ended {
		t.Errorf("the grant is %s", g.State)
	}
	w.granted()
	stop()
	must(t, <-gone)
}

// TestTakenBackAndNotWritten: a grant that only the issuer knows to be over, since the database was away and
// the process died before it came back, is ended when somebody wants to use it, and nobody is alarmed.
func TestTakenBackAndNotWritten(t *testing.T) {
	each(t, func(w *world) {
		r := w.granted()
		must1(w.issuer.TakeBack(t.Context(), w.revocation("alice", statement.RevokeGrant, string(r.Grant))))(t)
		answer, err := w.spine.Lookup(t.Context(), gateway, w.bobsWant("deploy"))
		must(t, err)
		if len(answer.Bundles) > 0 {
			t.Error("it is proven to a gateway")
		}
		if g := w.grant(r); g.State != brevet.Ending || !strings.Contains(g.EndReason, "alice said") {
			t.Errorf("it is %s: %s", g.State, g.EndReason)
		}
		if w.count("log.mismatch", r) > 0 {
			t.Error("it is told as a forgery")
		}
	})
}
