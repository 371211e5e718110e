package store_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/store"
	"github.com/brevet-pim/brevet/test/storetest"
)

// TestEverythingIsFoundByAnIndex: what is asked again and again, or may be asked by anybody, walks through
// no table from one end to the other.
func TestEverythingIsFoundByAnIndex(t *testing.T) {
	s := storetest.New(t)
	for name, ask := range map[string]func(*store.Query) error{
		"events of a person":  func(q *store.Query) error { _, err := q.Search(store.Filter{Person: "bob"}); return err },
		"events of a request": func(q *store.Query) error { _, err := q.Search(store.Filter{Request: "req_1"}); return err },
		"events of a grant":   func(q *store.Query) error { _, err := q.Search(store.Filter{Grant: "grt_1"}); return err },
		"events of a session": func(q *store.Query) error { _, err := q.Search(store.Filter{Session: "ses_1"}); return err },
		"events of a kind":    func(q *store.Query) error { _, err := q.Search(store.Filter{Kind: "signin"}); return err },
		"events of a time": func(q *store.Query) error {
			_, err := q.Search(store.Filter{Since: time.Now(), Until: time.Now()})
			return err
		},
		"trusted statements": func(q *store.Query) error { _, err := q.Statements([]string{"root", "enrol"}, 3, 10); return err },
		"a statement":        func(q *store.Query) error { _, err := q.Statement("x"); return err },
		"what asked for it":  func(q *store.Query) error { _, err := q.AskedBy("req_1", "x"); return err },
		"the intent":         func(q *store.Query) error { _, err := q.SpentBy("req_1", "x"); return err },
		"what gave a grant": func(q *store.Query) error {
			_, err := q.GivenBy(brevet.Grant{Request: "req_1", Statement: "x"})
			return err
		},
		"news":            func(q *store.Query) error { _, err := q.News(3, 10); return err },
		"the request":     func(q *store.Query) error { _, err := q.RequestOf("x"); return err },
		"open requests":   func(q *store.Query) error { _, err := q.CountOpen("bob"); return err },
		"recent requests": func(q *store.Query) error { _, err := q.CountSince("bob", time.Now()); return err },
		"requests due":    func(q *store.Query) error { _, err := q.RequestsDue(time.Now(), 10); return err },
		"requests that wait": func(q *store.Query) error {
			_, err := q.Requests(store.RequestFilter{State: brevet.Waiting})
			return err
		},
		"grants due":   func(q *store.Query) error { _, err := q.GrantsDue(time.Now(), 10); return err },
		"the next end": func(q *store.Query) error { _, err := q.NextEnd(); return err },
		"live grants":  func(q *store.Query) error { _, err := q.Grants(store.GrantFilter{State: brevet.Live}); return err },
		"grants in force": func(q *store.Query) error {
			_, err := q.Grants(store.GrantFilter{States: []brevet.GrantState{brevet.Issuing, brevet.Live, brevet.Ending}, Newest: true})
			return err
		},
		"open requests, newest first": func(q *store.Query) error {
			_, err := q.Requests(store.RequestFilter{States: []brevet.RequestState{brevet.Asked, brevet.Waiting, brevet.Ready}, Newest: true})
			return err
		},
		"grants of a person": func(q *store.Query) error {
			_, err := q.Grants(store.GrantFilter{Person: "bob"})
			return err
		},
		"live grants of a person": func(q *store.Query) error {
			_, err := q.Grants(store.GrantFilter{Person: "bob", State: brevet.Live})
			return err
		},
		"grants of a gateway": func(q *store.Query) error {
			_, err := q.Grants(store.GrantFilter{Holder: "gw-1", Open: true})
			return err
		},
		"sessions of a grant": func(q *store.Query) error { _, err := q.Sessions(store.SessionFilter{Grant: "grt_1"}); return err },
		"sessions that go on": func(q *store.Query) error {
			_, err := q.Sessions(store.SessionFilter{Machine: "gw-1", Live: true})
			return err
		},
		"a token":              func(q *store.Query) error { _, err := q.Token("x"); return err },
		"jobs that are due":    func(q *store.Query) error { _, err := q.NextJob(); return err },
		"answers to a request": func(q *store.Query) error { _, err := q.Approvals("req_1"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			q, plans := s.Explained(t.Context())
			if err := ask(q); err != nil && brevet.KindOf(err) != brevet.NotFound && brevet.KindOf(err) != brevet.Unauthenticated {
				t.Fatal(err)
			}
			walks := slices.DeleteFunc(*plans, func(plan string) bool {
				return !strings.HasPrefix(plan, "SCAN") || plan == "SCAN recent" // a part that is bounded
			})
			if len(walks) > 0 {
				t.Errorf("%q", walks)
			}
		})
	}
}

// TestNoRowMakesATable: a condition of an index that is a list has SQLite make a table for it, with each row
// that is written.
func TestNoRowMakesATable(t *testing.T) {
	programs, err := storetest.New(t).InsertPrograms(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(programs["events"]) == 0 {
		t.Error("no program writes an event")
	}
	for table, program := range programs {
		if slices.Contains(program, "OpenEphemeral") {
			t.Errorf("%s: %q", table, program)
		}
	}
}
