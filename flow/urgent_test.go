package flow_test

import (
	"context"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/statement"
)

// TestRowsKeepNothingAlive: somebody who changes rows while the server runs does not keep a grant from being
// taken back. Its gateway is ordered to end it, the issuer stands for it no more, and what was done is told.
func TestRowsKeepNothingAlive(t *testing.T) {
	edits := []struct{ name, query, seen string }{
		{"the row is gone", "delete from grants where id = $", "log.mismatch"},
		{"the row says over", "update grants set state = 'ended' where id = $", "log.mismatch"},
		{"the row says somebody else", "update grants set person = 'carol' where id = $", ""},
		{"the row says another gateway", "update grants set holder = 'gw-9' where id = $", "log.mismatch"},
		{"the log takes nothing", "delete from heads", ""},
	}
	acts := []struct {
		name string
		act  func(*world, flow.RequestView) error
	}{
		{"revoked", func(w *world, r flow.RequestView) error {
			_, err := w.spine.Revoke(context.Background(), w.as("alice"), w.revocation("alice", statement.RevokeGrant, string(r.Grant)), 0)
			return err
		}},
		{"suspended", func(w *world, _ flow.RequestView) error {
			_, err := w.spine.Suspend(context.Background(), w.as("alice"), w.revocation("alice", statement.RevokePerson, "bob"), 0)
			return err
		}},
	}
	for _, edit := range edits {
		for _, act := range acts {
			t.Run(edit.name+", "+act.name, func(t *testing.T) {
				each(t, func(w *world) {
					r := w.granted()
					session := newSession(w, r)
					session.Login = "deploy"
					must(w.t, w.spine.BeginSession(context.Background(), gateway, session))
					ctx, leave := context.WithCancel(context.Background())
					defer leave()
					orders, gone := make(chan flow.Order, 64), make(chan error, 1)
					go func() {
						gone <- w.spine.Listen(ctx, gateway, flow.Present{Address: "gw-1:22", At: w.clock()}, func(o flow.Order) error {
							if !o.KeepAlive() {
								orders <- o
							}
							return nil
						})
					}()
					waitForEvent(w.t, w, "gateway.joined")
					sessions := 1
					if edit.name == "the row is gone" && strings.HasPrefix(w.database, "postgres") { // which demands it
						w.edit("delete from sessions")
						sessions = 0
					}
					w.edit(strings.ReplaceAll(edit.query, "$", "'"+string(r.Grant)+"'"))
					if list, _, err := w.spine.Sessions(ctx, w.as("frank"), flow.SessionWant{}); err != nil || len(list) != sessions {
						w.t.Errorf("an auditor sees %d sessions: %v", len(list), err)
					}
					if err := act.act(w, r); err != nil && brevet.KindOf(err) != brevet.Unavailable {
						w.t.Errorf("told: %v", err)
					}
					if o := <-orders; o.Grant != r.Grant || !strings.Contains(o.Reason, "alice") {
						w.t.Errorf("the gateway was ordered %+v", o)
					}
					if _, err := w.issuer.Status(ctx, r.Grant); brevet.KindOf(err) != brevet.Refused {
						w.t.Errorf("the issuer stands for it: %v", err)
					}
					if edit.seen != "" && w.count(edit.seen, r) != 1 {
						w.t.Errorf("%d events %s", w.count(edit.seen, r), edit.seen)
					}
					err := w.spine.Confirm(ctx, gateway, flow.Closed{Grant: r.Grant})
					if err != nil && brevet.KindOf(err) != brevet.NotFound && edit.query != "delete from heads" {
						w.t.Errorf("the gateway's word: %v", err)
					}
					leave()
					must(w.t, <-gone)
				})
			})
		}
	}
}

// TestASessionWithoutItsRow: that somebody took a session out of the database is told when it ends.
func TestASessionWithoutItsRow(t *testing.T) {
	each(t, func(w *world) {
		r := w.granted()
		session := newSession(w, r)
		session.Login = "deploy"
		must(w.t, w.spine.BeginSession(t.Context(), gateway, session))
		w.edit("delete from sessions")
		session.EndedAt, session.EndReason = w.clock(), "exit 0"
		for range 2 {
			refused(w.t, w.spine.EndSession(t.Context(), gateway, session), brevet.NotFound, "no session")
		}
		if n := w.count("log.mismatch", r); n != 1 {
			w.t.Errorf("told %d times", n)
		}
	})
}

// TestAStrayIsEnded: a gateway that comes back with a session whose grant's row was changed meanwhile, so that
// nobody could end it, is told to end it. One whose grant is live goes on.
func TestAStrayIsEnded(t *testing.T) {
	for _, edit := range []string{"update grants set state = 'ended' where id = $", "delete from sessions where grant_id = $"} {
		t.Run(edit, func(t *testing.T) {
			each(t, func(w *world) {
				r := w.granted()
				good, err := w.approve("carol", w.ask("bob", "web-root"), 0)
				must(w.t, err)
				var live []brevet.SessionID
				for _, of := range []flow.RequestView{good, r} {
					session := newSession(w, of)
					session.Login = "deploy"
					must(w.t, w.spine.BeginSession(t.Context(), gateway, session))
					live = append(live, session.ID)
				}
				w.restart(func() { w.edit(strings.ReplaceAll(edit, "$", "'"+string(r.Grant)+"'")) })
				var first flow.Order
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				must(w.t, w.spine.Listen(ctx, gateway, flow.Present{Address: "gw-1:22", At: w.clock(), Live: live}, func(o flow.Order) error {
					first = o
					leave()
					return nil
				}))
				if first.Session != live[1] {
					w.t.Errorf("of %v the gateway was ordered %+v", live, first)
				}
			})
		})
	}
}
