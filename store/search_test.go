package store_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/store"
	"github.com/brevet-pim/brevet/test/storetest"
)

func TestSearch(t *testing.T) {
	bob, carol := request(1), request(2)
	carol.Person = "carol"
	event := func(n int, kind string, e brevet.Event) brevet.Event {
		e.Kind, e.At, e.Outcome = kind, day.Add(time.Duration(n)*time.Minute), "success"
		return e
	}
	alice, gw := brevet.Caller{Person: "alice"}, brevet.Caller{Machine: "gw1"}
	events := []brevet.Event{
		event(0, "gateway.joined", brevet.Event{Subject: "gw1", Actor: gw}),
		event(1, "request.ready", brevet.Event{Subject: string(bob.ID), Request: bob.ID, Actor: gw, Message: `Reason: "100%_done" <now> ÉTÉ`}),
		event(2, "request.ready", brevet.Event{Subject: string(carol.ID), Request: carol.ID, Actor: gw}),
		event(3, "grant.ending", brevet.Event{Subject: string(bob.ID.Grant()), Grant: bob.ID.Grant(), Actor: alice, About: "bob"}),
		event(4, "session.ended", brevet.Event{Subject: "ses_1", Session: "ses_1", Grant: carol.ID.Grant(), Actor: gw}),
		event(5, "signin.refused", brevet.Event{Actor: brevet.Caller{Person: "carol"}, Message: "1000 tries"}),
	}
	tests := []struct {
		name   string
		filter store.Filter
		want   []int64
	}{
		{"everything, newest first", store.Filter{}, []int64{5, 4, 3, 2, 1, 0}},
		{"a kind", store.Filter{Kind: "request.ready"}, []int64{2, 1}},
		{"did it", store.Filter{Person: "alice"}, []int64{3}},
		{"it concerns them, or their request", store.Filter{Person: "bob"}, []int64{3, 1}},
		{"all about carol", store.Filter{Person: "carol"}, []int64{5, 4, 2}},
		{"a request, its grant too", store.Filter{Request: bob.ID}, []int64{3, 1}},
		{"a grant", store.Filter{Grant: carol.ID.Grant()}, []int64{4}},
		{"a session", store.Filter{Session: "ses_1"}, []int64{4}},
		{"a subject", store.Filter{Subject: "gw1"}, []int64{0}},
		{"a text in another case", store.Filter{Text: "REASON"}, []int64{1}},
		{"a text with wildcards", store.Filter{Text: "100%_"}, []int64{1}},
		{"a text with quotation marks", store.Filter{Text: `"100`}, []int64{1}},
		{"a text that JSON escapes", store.Filter{Text: "<NOW>"}, []int64{1}},
		{"a text that is not ASCII", store.Filter{Text: "ÉTÉ"}, []int64{1}},
		{"a text that is nowhere", store.Filter{Text: "100_"}, nil},
		{"an attack", store.Filter{Text: "') or 1=1 --"}, nil},
		{"since", store.Filter{Since: day.Add(4 * time.Minute)}, []int64{5, 4}},
		{"until, which is not in it", store.Filter{Until: day.Add(time.Minute)}, []int64{0}},
		{"a page", store.Filter{Limit: 2}, []int64{5, 4}},
		{"the page after it", store.Filter{Limit: 2, Before: 4}, []int64{3, 2}},
		{"several at once", store.Filter{Kind: "request.ready", Person: "bob", Since: day, Until: day.Add(time.Hour)}, []int64{1}},
	}
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		change(t, s, func(tx *store.Tx) error { return tx.AddRequest(bob) }) // one event, before all others
		change(t, s, func(tx *store.Tx) error { return tx.AddRequest(carol) })
		const before = 2
		add(t, s, events...)
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				f := tt.filter
				if f.Before > 0 {
					f.Before += before
				}
				found, err := s.Query(t.Context()).Search(f)
				if err != nil {
					t.Fatal(err)
				}
				var got []int64
				for _, e := range found {
					if e.Index >= before {
						got = append(got, e.Index-before)
					}
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("found %v, want %v", got, tt.want)
				}
			})
		}
	})
}

func TestStatementsAreSaidOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		add(t, s, said("one"))
		_, err := s.Change(t.Context(), func(*store.Tx) ([]brevet.Event, error) { return []brevet.Event{said("two"), said("one")}, nil })
		kind(t, err, brevet.Conflict)
		q := s.Query(t.Context())
		if e, err := q.Statement("one"); err != nil || string(e.Statement) != "envelope of one" {
			t.Errorf("%+v, %v", e, err)
		}
		_, err = q.Statement("two")
		kind(t, err, brevet.NotFound)
		var one []brevet.Event // those of a request that leads to a grant
		for _, kind := range []string{"request", "intent", "grant"} {
			e := said("one")
			e.Kind = kind
			one = append(one, e)
		}
		add(t, s, one...)
		r := request(1)
		g := grantOf(r)
		g.Statement = "one"
		for want, find := range map[string]func() (store.Entry, error){
			"request":  func() (store.Entry, error) { return q.AskedBy(r.ID, "one") },
			"intent":   func() (store.Entry, error) { return q.SpentBy(r.ID, "one") },
			"grant":    func() (store.Entry, error) { return q.GivenBy(g) },
			"approval": func() (store.Entry, error) { return q.Statement("one") },
		} {
			if e, err := find(); err != nil || e.Kind != want {
				t.Errorf("%s: %+v, %v", want, e, err)
			}
		}
		_, err = q.AskedBy(r.ID, "two")
		kind(t, err, brevet.NotFound)
		_, err = q.SpentBy(request(2).ID, "one")
		kind(t, err, brevet.NotFound)
		for _, tt := range []struct {
			kinds []string
			from  int64
			want  int
		}{{[]string{"approval", "intent"}, 0, 2}, {[]string{"approval", "intent"}, 1, 1}, {[]string{"root"}, 0, 0}, {nil, 0, 0}} {
			if got, err := q.Statements(tt.kinds, tt.from, 0); err != nil || len(got) != tt.want {
				t.Errorf("%v from %d: %d, %v", tt.kinds, tt.from, len(got), err)
			}
		}
	})
}

// TestRetention erases by age, as a retention run does.
func TestRetention(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		enrol := said("enrolment")
		enrol.Kind = "enrol"
		old := said("old")
		young := said("young")
		young.At = day.Add(time.Hour)
		add(t, s, happened("a"), enrol, old, happened("b"), young)
		due, err := s.Query(t.Context()).Erasable(day.Add(time.Hour), 10)
		if err != nil || !slices.Equal(due, []int64{0, 2, 3}) { // "b" was given the time of "old"
			t.Fatalf("erasable: %v, %v", due, err)
		}
		_, err = s.Change(t.Context(), func(tx *store.Tx) ([]brevet.Event, error) {
			var told []brevet.Event
			for _, index := range due {
				if err := tx.Erase(index); err != nil {
					return nil, err
				}
			}
			for _, subject := range []string{audit.ErasedSubject(0, 0), audit.ErasedSubject(2, 3)} {
				e := happened(subject)
				e.Kind, e.At = audit.KindErased, day.Add(2*time.Hour)
				told = append(told, e)
			}
			return told, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		v := verify(t, s, nil)
		if v.Problem != nil || v.Erased != 3 {
			t.Errorf("%+v", v)
		}
		q := s.Query(t.Context())
		gone, err := q.Entry(2)
		if err != nil || gone.Body != nil || gone.Salt != nil || gone.Statement != nil || gone.Actor != "" || gone.About != "" || gone.Request != "" {
			t.Errorf("left of it: %+v, %v", gone, err)
		}
		if found, err := q.Search(store.Filter{Text: "Alice"}); err != nil || len(found) != 2 {
			t.Errorf("%d bodies name her, %v", len(found), err)
		}
		_, err = s.Change(t.Context(), func(*store.Tx) ([]brevet.Event, error) { return []brevet.Event{said("old")}, nil })
		kind(t, err, brevet.Conflict) // an erased statement cannot be said again
		for _, index := range []int64{1, 2} {
			kind(t, try(t, s, func(tx *store.Tx) error { return tx.Erase(index) }), brevet.Conflict)
		}
		kind(t, try(t, s, func(tx *store.Tx) error { return tx.Erase(99) }), brevet.NotFound)
		if due, err := q.Erasable(day.Add(time.Hour), 10); err != nil || len(due) != 0 {
			t.Errorf("still erasable: %v, %v", due, err)
		}
	})
}

// TestNews: what a process remembers of what it wrote is what the log has, from wherever one asks.
func TestNews(t *testing.T) {
	storetest.EachDatabase(t, func(t *testing.T, database string) {
		s := storetest.Open(t, database)
		compare := func() {
			t.Helper()
			q := s.Query(t.Context())
			_, size, err := q.Checkpoint()
			if err != nil {
				t.Fatal(err)
			}
			for from := range size + 2 {
				for _, limit := range []int{0, 1, 3} {
					want, err := q.News(from, limit)
					if err != nil {
						t.Fatal(err)
					}
					got, err := s.News(t.Context(), from, limit)
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("from %d, at most %d: (-want +got)\n%s", from, limit, diff)
					}
				}
			}
		}
		compare()
		var all sync.WaitGroup
		for i := range 24 {
			all.Go(func() {
				event := said(fmt.Sprint("news-", i%16)) // some are said twice, and fail in the midst of others
				_, _ = s.Change(t.Context(), func(*store.Tx) ([]brevet.Event, error) { return []brevet.Event{event}, nil })
			})
		}
		all.Wait()
		compare()
		if isPostgres(database) { // where another server may write
			add(t, storetest.Open(t, database), said("of-another"))
			compare()
		}
	})
}
