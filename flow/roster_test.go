package flow_test

import (
	"testing"
	"time"

	"github.com/brevet-pim/brevet/statement"
)

// TestRosterGoesOnWhereOneIs: it tells of the statements behind the one that somebody has, with the
// suspensions among them, and of no other revocation.
func TestRosterGoesOnWhereOneIs(t *testing.T) {
	w := onSQLite(t)
	_, number := w.spine.State().Roster.Head()
	statements := func(after int64) int { return len(must1(w.spine.Roster(t.Context(), after))(t)) }
	for range 3 {
		r := w.ask("bob", "web-root")
		_, err := w.spine.Refuse(t.Context(), w.as("bob"), w.revocation("bob", statement.RevokeRequest, r.Request.Statement))
		must(t, err)
	}
	if got := statements(number); got != 0 {
		t.Errorf("%d statements behind the last", got)
	}
	suspension := w.revocation("alice", statement.RevokePerson, "erin")
	_, err := w.spine.Suspend(t.Context(), w.as("alice"), suspension, 0)
	must(t, err)
	e := must1(statement.Parse(suspension))(t)
	head, _ := w.spine.State().Roster.Head()
	reinstate := w.signed(statement.Reinstate{
		Header: w.Header(time.Hour), Link: statement.Link{Number: number + 1, Previous: head}, Person: "erin", Revocation: e.ID(), Reason: "back",
	}, w.Keys["alice"])
	if got := statements(number); got != 1 {
		t.Errorf("%d statements, want the suspension", got)
	}
	_, _, err = w.spine.AppendRoster(t.Context(), w.as("alice"), reinstate)
	must(t, err)
	for after, want := range map[int64]int64{0: number + 2, number: 2, number + 1: 0, number + 7: 0} {
		if got := statements(after); int64(got) != want {
			t.Errorf("after %d: %d statements, want %d", after, got, want)
		}
	}
}
