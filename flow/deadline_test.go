package flow_test

import (
	"context"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/test/storetest"
)

// TestYesTooLate: a yes at the deadline or later is refused, whether or not the clock has let the request
// lapse before, and whatever deadline somebody has written into the row.
func TestYesTooLate(t *testing.T) {
	const role = 10 * time.Minute // for which web-root waits; what was signed is good for longer
	for _, tt := range []struct {
		name  string
		after time.Duration
		edit  string // of the row, by hand
		late  bool
	}{
		{name: "just in time", after: role - time.Microsecond},
		{name: "at the deadline", after: role, late: true},
		{name: "after it", after: role + 450*time.Millisecond, late: true},
		{name: "after it, with a later one in the row", after: role + time.Second, edit: "update requests set deadline = deadline + 86400000000", late: true},
		{name: "after it, and the row says that it was asked later", after: role + time.Second, edit: "update requests set at = at + 86400000000, deadline = deadline + 86400000000", late: true},
		{name: "after an earlier one in the row", after: role / 2, edit: "update requests set deadline = deadline - 300000000", late: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			storetest.EachDatabase(t, func(t *testing.T, database string) {
				w := newWorld(t, database, func(c *brevet.Catalog) {
					for i := range c.Roles {
						c.Roles[i].Limits.Wait = brevet.Seconds(role / time.Second)
					}
				})
				r := w.ask("bob", "web-root")
				if tt.edit != "" {
					w.restart(func() { w.edit(tt.edit) })
				}
				w.wait(tt.after - w.clock().Sub(r.At))
				got, err := w.approve("carol", r, 0)
				if !tt.late {
					must(w.t, err)
					if !got.Live() {
						w.t.Errorf("it is %s", got.State)
					}
					return
				}
				refused(w.t, err, brevet.Conflict, "it was not answered in time")
				if now := w.request(r); now.State != brevet.Lapsed {
					w.t.Errorf("it is %s", now.State)
				}
				if _, told := w.told("request.lapsed", r); !told {
					w.t.Error("no event tells of it")
				}
				_, err = w.approve("dave", r, 0)
				refused(w.t, err, brevet.Conflict, "it was not answered in time")
				if _, err := w.store.Query(context.Background()).Grant(r.ID.Grant()); brevet.KindOf(err) != brevet.NotFound {
					w.t.Errorf("there is a grant: %v", err)
				}
			})
		})
	}
}
