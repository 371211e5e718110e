package flow_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/store"
)

// many writes n nouns, some hundred in a change, as one person's.
func (w *world) many(n int, each func(t *store.Tx, i int) error) {
	w.t.Helper()
	const batch = 500
	for from := 0; from < n; from += batch {
		_, err := w.store.Change(context.Background(), func(t *store.Tx) ([]brevet.Event, error) {
			for i := from; i < min(n, from+batch); i++ {
				if err := each(t, i); err != nil {
					return nil, err
				}
			}
			at := w.clock()
			return []brevet.Event{{ID: brevet.NewEventID(at), Kind: "gateway.joined", Subject: "gw-1", At: at, Actor: gateway, Outcome: "success", Message: "a crowd"}}, nil
		})
		must(w.t, err)
	}
}

// another returns the i'th copy of a request, by somebody who is nobody else.
func (w *world) another(r brevet.Request, i int) brevet.Request {
	digest := [32]byte{1, byte(i >> 16), byte(i >> 8), byte(i)}
	at := w.clock().Add(time.Duration(i) * time.Microsecond)
	r.ID, r.Statement, r.Person = brevet.RequestIDOf(at, digest), hex.EncodeToString(digest[:]), brevet.PersonID(fmt.Sprintf("person-%d", i))
	r.At, r.Deadline, r.Version = at, at.Add(time.Hour), 1
	return r
}

// TestTenThousandWait: with ten thousand requests before an approver, a page of the list is as long as
// was asked for, newest first, one follows the other up to the oldest, and a yes is taken as ever.
func TestTenThousandWait(t *testing.T) {
	const waiting, page = 10_000, 100
	w := onSQLite(t)
	mine := w.ask("bob", "web-root")
	model := w.request(mine)
	w.many(waiting, func(tx *store.Tx, i int) error {
		r := w.another(model, i)
		r.State = brevet.Asked
		if err := tx.AddRequest(r); err != nil {
			return err
		}
		r.State = brevet.Waiting
		_, err := tx.UpdateRequest(r)
		return err
	})
	want := flow.RequestWant{ForMe: true, States: []brevet.RequestState{brevet.Waiting}, Page: store.Page{Limit: page}}
	var last brevet.RequestID
	for range 3 {
		list, next, err := w.spine.Requests(t.Context(), w.as("carol"), want)
		must(t, err)
		if len(list) != page || last != "" && list[0].ID >= last || next != string(list[page-1].ID) {
			t.Fatalf("after %q come %d requests, and then those after %q", last, len(list), next)
		}
		last, want.Page.After = list[page-1].ID, next
	}
	want.Page.After = string(w.another(model, page/2).ID) // the oldest come last
	list, next, err := w.spine.Requests(t.Context(), w.as("carol"), want)
	must(t, err)
	if len(list) < page/2 || len(list) > page/2+1 || next != "" { // bob's own is of the same millisecond
		t.Errorf("the last page has %d requests, and then %q", len(list), next)
	}
	agreed, err := w.approve("carol", mine, 0)
	must(t, err)
	if !agreed.Live() {
		t.Errorf("agreed in the crowd: %s, %s", agreed.State, agreed.GrantState)
	}
}

// TestAllEndAtOnce: thousands of grants, more than one read returns, end at one instant. Each ends
// once, none is left, and what somebody asks meanwhile is answered before all of them are through.
func TestAllEndAtOnce(t *testing.T) {
	const ending = store.MaxPage + 500
	w := onSQLite(t)
	mine := w.granted()
	model, grant := w.request(mine), w.grant(mine)
	w.many(ending, func(tx *store.Tx, i int) error {
		r := w.another(model, i)
		r.State = brevet.Asked
		if err := tx.AddRequest(r); err != nil {
			return err
		}
		g := grant
		g.ID, g.Request, g.Person, g.Intent, g.Statement, g.State, g.Version = r.ID.Grant(), r.ID, r.Person, "intent-"+r.Statement, "", brevet.Issuing, 1
		return tx.AddGrant(g)
	})
	w.wait(grant.To.Sub(w.clock()) + time.Second)
	waitForEvent(t, w, "grant.ending")
	asked := w.ask("bob", "web-root")
	for {
		size := w.store.Size()
		due, err := w.store.Query(t.Context()).GrantsDue(w.clock(), store.MaxPage)
		must(t, err)
		if len(due) == 0 {
			break
		}
		if _, err := w.store.Wait(t.Context(), size); err != nil {
			t.Fatal(err)
		}
	}
	ends, after := map[string]int{}, 0 // by grant; after bob had asked
	answered := false
	for from := int64(0); ; {
		entries, err := w.store.Query(t.Context()).Entries(from, store.MaxPage)
		must(t, err)
		for _, e := range entries {
			answered = answered || e.Kind == "request" && e.Request == asked.ID
			if e.Kind != "grant.ending" {
				continue
			}
			if ends[e.Subject]++; ends[e.Subject] > 1 {
				t.Errorf("%s ended %d times", e.Subject, ends[e.Subject])
			}
			if answered {
				after++
			}
		}
		if from += int64(len(entries)); len(entries) < store.MaxPage {
			break
		}
	}
	if len(ends) != ending+1 {
		t.Errorf("%d grants ended, want %d", len(ends), ending+1)
	}
	if after == 0 {
		t.Error("bob was answered when all had ended")
	}
}
