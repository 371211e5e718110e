package flow_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
	"github.com/brevet-pim/brevet/test/storetest"
)

// unchecked signs an approval that statement.New would not make.
func (w *world) unchecked(a statement.Approval, by brevet.PersonID) []byte {
	w.t.Helper()
	payload, err := statement.Canonical(a)
	must(w.t, err)
	e := statement.Envelope{PayloadType: statement.KindApproval.PayloadType(), Payload: payload}
	must(w.t, e.Add(w.t.Context(), w.Keys[by]))
	raw, err := e.Marshal()
	must(w.t, err)
	return raw
}

// TestRefusedApprovalsAreEvents: who tries to agree where they may not is refused and told of, and
// who may not know of the request leaves nothing in its story.
func TestRefusedApprovalsAreEvents(t *testing.T) {
	carolMayAsk := func(c *brevet.Catalog) {
		i := slices.IndexFunc(c.Groups, func(g brevet.Group) bool { return g.Name == "sre" })
		c.Groups[i].Members = append(c.Groups[i].Members, "carol")
	}
	storetest.EachDatabase(t, func(t *testing.T, database string) {
		w, ctx := newWorld(t, database, carolMayAsk), t.Context()
		own := w.ask("carol", "db-admin") // carol is of the group that must agree first
		tries := []struct {
			name string
			by   brevet.PersonID
			raw  []byte
			says string // "": nothing is told
		}{
			{"one's own request", "carol", w.unchecked(w.approval("carol", own, 0), "carol"), "nobody approves their own request"},
			{"in another's name", "carol", w.signed(w.approval("dave", own, 0), w.Keys["carol"]), "the approval is by dave, and you are carol"},
			{"by another's key", "dave", w.signed(w.approval("dave", own, 0), w.Keys["carol"]), "is of carol"},
			{"a stage of others", "dave", w.signed(w.approval("dave", own, 1), w.Keys["dave"]), "dave is not in the group dba"},
			{"who may not know of it", "bob", w.signed(w.approval("bob", own, 0), w.Keys["bob"]), ""},
			{"rubbish", "carol", []byte("{}"), ""},
		}
		for _, tt := range tries {
			before := w.count("approval.refused", own)
			if _, err := w.spine.Approve(ctx, w.as(tt.by), tt.raw); err == nil {
				w.t.Errorf("%s: it counts", tt.name)
			}
			told := w.count("approval.refused", own) - before
			if said, _ := w.told("approval.refused", own); tt.says != "" && (told != 1 || !strings.Contains(said, tt.says)) || tt.says == "" && told != 0 {
				w.t.Errorf("%s: %d events, the last says %s", tt.name, told, said)
			}
		}
		if now := w.request(own); now.State != brevet.Waiting {
			w.t.Errorf("the request is %s", now.State)
		}
		for range 2 * maxTold {
			_, _ = w.spine.Approve(ctx, w.as("carol"), tries[0].raw)
		}
		events, err := w.store.Query(ctx).Search(store.Filter{Kind: "approval.refused", Request: own.ID, Person: "carol", Limit: store.MaxPage})
		must(w.t, err)
		if len(events) > maxTold+2 { // dave's concern carol as well
			w.t.Errorf("one person fills the log with %d refusals", len(events))
		}
	})
}

// maxTold is how often one person's refused approvals are told for one request.
const maxTold = 10
