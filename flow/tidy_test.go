package flow_test

import (
	"context"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// TestOldBodiesAreErased: what is older than is kept loses its bodies, and the log still verifies.
// What is in force stays, for all that rests on it.
func TestOldBodiesAreErased(t *testing.T) {
	each(t, func(w *world) {
		ctx := context.Background()
		old := w.granted()
		_, err := w.spine.Revoke(ctx, w.as("alice"), w.revocation("alice", statement.RevokeGrant, string(old.Grant)), 0)
		must(w.t, err)
		must(w.t, w.spine.Confirm(ctx, gateway, flow.Closed{Grant: old.Grant}))
		w.wait(40 * 24 * time.Hour)
		young := w.granted()

		w.keep = flow.LeastKept
		w.restart(nil)
		waitForEvent(t, w, "audit.erased")
		if _, there := w.told("request", old); there {
			w.t.Error("the old request's body is still there")
		}
		if _, there := w.told("request", young); !there {
			w.t.Error("the young request's body is gone")
		}
		verified, err := w.store.VerifyLog(ctx, store.Verification{})
		must(w.t, err)
		if verified.Problem != nil || verified.Erased == 0 {
			w.t.Errorf("%d erased; the log: %v", verified.Erased, verified.Problem)
		}
		view, err := w.spine.Request(ctx, w.as("bob"), string(old.ID))
		must(w.t, err)
		if view.State != brevet.Granted {
			w.t.Errorf("the old request is %s", view.State)
		}
		w.restart(nil) // roster, catalog and revocations are still there
		w.granted()
	})
}

// TestAClockThatIsAheadErasesNothing: what is old by the log goes, and what is old only by the clock with
// which the server starts stays.
func TestAClockThatIsAheadErasesNothing(t *testing.T) {
	w := onSQLite(t)
	old := w.granted()
	w.wait(40 * 24 * time.Hour)
	young := w.granted()
	w.keep = flow.LeastKept
	w.restart(func() { w.wait(400 * 24 * time.Hour) })
	waitForEvent(t, w, "audit.erased")
	if _, there := w.told("request", old); there {
		t.Error("the old request's body is still there")
	}
	if _, there := w.told("request", young); !there {
		t.Error("the young request's body is gone")
	}
}
