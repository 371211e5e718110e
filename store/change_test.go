package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/store"
	"github.com/brevet-pim/brevet/test/storetest"
)

// day is when the tests take place.
var day = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

// happened returns an event that needs nothing else.
func happened(subject string) brevet.Event {
	return brevet.Event{Kind: "gateway.joined", Subject: subject, At: day, Outcome: "success", Actor: brevet.Caller{Machine: "gw1"}}
}

// log appends one event for each subject.
func log(t testing.TB, s *store.Store, subjects ...string) store.Commit {
	t.Helper()
	c, err := s.Change(t.Context(), func(*store.Tx) ([]brevet.Event, error) {
		var events []brevet.Event
		for _, subject := range subjects {
			events = append(events, happened(subject))
		}
		return events, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func verify(t testing.TB, s *store.Store, saved []byte) store.Verified {
	t.Helper()
	v, err := s.VerifyLog(t.Context(), store.Verification{Saved: saved})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func holds(t testing.TB, s *store.Store, saved []byte) {
	t.Helper()
	if v := verify(t, s, saved); v.Problem != nil {
		t.Fatalf("the log does not hold: %v", v.Problem)
	}
}

func TestChangeIsLoggedAndProven(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		first := log(t, s, "a", "b", "c")
		if first.First != 0 || first.Count != 3 || first.Size != 3 {
			t.Fatalf("first commit %+v", first)
		}
		second := log(t, s, "d")
		if second.First != 3 || second.Count != 1 || second.Size != 4 {
			t.Fatalf("second commit %+v", second)
		}
		signer := storetest.Signer(t)
		before, err := audit.Open(first.Checkpoint, storetest.Origin, signer.Public())
		if err != nil {
			t.Fatal(err)
		}
		now, err := audit.Open(second.Checkpoint, storetest.Origin, signer.Public())
		if err != nil {
			t.Fatal(err)
		}
		q := s.Query(t.Context())
		consistent, err := q.Consistency(now.Size, before.Size)
		if err != nil {
			t.Fatal(err)
		}
		if err := audit.VerifyConsistency(now, before, consistent); err != nil {
			t.Error(err)
		}
		for i, subject := range []string{"a", "b", "c", "d"} {
			e, err := q.Entry(int64(i))
			if err != nil {
				t.Fatal(err)
			}
			if e.Subject != subject {
				t.Errorf("event %d is of %s, want %s", i, e.Subject, subject)
			}
			proof, err := q.Inclusion(now.Size, int64(i))
			if err != nil {
				t.Fatal(err)
			}
			if err := audit.VerifyInclusion(now, int64(i), e.Leaf(), proof); err != nil {
				t.Error(err)
			}
		}
		holds(t, s, first.Checkpoint)
	})
}

func TestChangeWritesBothOrNeither(t *testing.T) {
	boom := errors.New("boom")
	tests := []struct {
		name string
		fn   func(*store.Tx) ([]brevet.Event, error)
		want error // or by its kind
		kind brevet.Kind
	}{
		{name: "its own error", want: boom,
			fn: func(tx *store.Tx) ([]brevet.Event, error) { return []brevet.Event{happened("x")}, put(tx, boom) }},
		{name: "no event", kind: brevet.Invalid,
			fn: func(tx *store.Tx) ([]brevet.Event, error) { return nil, put(tx, nil) }},
		{name: "an event of no kind", kind: brevet.Invalid,
			fn: func(tx *store.Tx) ([]brevet.Event, error) {
				e := happened("x")
				e.Kind = "nonsense"
				return []brevet.Event{e}, put(tx, nil)
			}},
		{name: "an event with two lines for a subject", kind: brevet.Invalid,
			fn: func(tx *store.Tx) ([]brevet.Event, error) {
				return []brevet.Event{happened("x"), happened("x\ny")}, put(tx, nil)
			}},
		{name: "an error of the database that it swallows", kind: brevet.Conflict,
			fn: func(tx *store.Tx) ([]brevet.Event, error) {
				if err := tx.AddToken(token("same")); err != nil {
					return nil, err
				}
				_ = tx.AddToken(token("same"))
				return []brevet.Event{happened("x")}, put(tx, nil)
			}},
	}
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				_, err := s.Change(t.Context(), tt.fn)
				if err == nil || tt.want != nil && !errors.Is(err, tt.want) || tt.want == nil && brevet.KindOf(err) != tt.kind {
					t.Errorf("got %v, want %v or kind %v", err, tt.want, tt.kind)
				}
				if _, err := s.Query(t.Context()).Token("t"); brevet.KindOf(err) != brevet.Unauthenticated {
					t.Errorf("the row was written: %v", err)
				}
				if s.Size() != 0 {
					t.Errorf("the log has %d events", s.Size())
				}
			})
		}
		log(t, s, "after") // the writer goes on
		holds(t, s, nil)
	})
}

func token(hash string) store.Token {
	return store.Token{Hash: hash, Person: "bob", IssuedAt: day, ExpiresAt: day.Add(time.Hour)}
}

func put(tx *store.Tx, result error) error {
	if err := tx.AddToken(token("t")); err != nil {
		return err
	}
	return result
}

// TestManyWriters checks what the whole product rests on: that the log has every event
// exactly once, without a gap, that each caller learns the truth of its own, and that a
// failing change leaves no trace among those that share its commit.
func TestManyWriters(t *testing.T) {
	const writers, each = 16, 30
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		var mu sync.Mutex
		at := map[int64]string{} // index → subject, as callers were told
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					name := fmt.Sprintf("w%d.%d", w, i)
					c, err := s.Change(t.Context(), func(tx *store.Tx) ([]brevet.Event, error) {
						if err := tx.AddToken(token(name)); err != nil {
							return nil, err
						}
						if i%5 == 4 {
							return nil, brevet.Errorf(brevet.Refused, "no")
						}
						if i%7 == 3 { // a row that is there: an error of the database's own
							if err := tx.AddToken(token(name)); err != nil {
								return nil, err
							}
						}
						return []brevet.Event{happened(name), happened(name + ".second")}, nil
					})
					if (err != nil) != (i%5 == 4 || i%7 == 3) {
						t.Errorf("%s: %v", name, err)
					}
					if err != nil {
						continue
					}
					mu.Lock()
					for n := range int64(c.Count) {
						if other, taken := at[c.First+n]; taken {
							t.Errorf("index %d was given to %s and %s", c.First+n, other, name)
						}
						at[c.First+n] = name + []string{"", ".second"}[n]
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if s.Size() != int64(len(at)) {
			t.Fatalf("the log has %d events, callers were told of %d", s.Size(), len(at))
		}
		entries, err := s.Query(t.Context()).Entries(0, store.MaxPage)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range entries {
			if e.Index != int64(i) || e.Subject != at[int64(i)] {
				t.Errorf("row %d: index %d of %s, want %s", i, e.Index, e.Subject, at[int64(i)])
			}
		}
		for w := range writers {
			for i := range each {
				name := fmt.Sprintf("w%d.%d", w, i)
				_, err := s.Query(t.Context()).Token(name)
				if (err == nil) != (i%5 != 4 && i%7 != 3) {
					t.Errorf("row of %s: %v", name, err)
				}
			}
		}
		holds(t, s, nil)
	})
}

func TestTimesNeverGoBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		for _, shift := range []time.Duration{0, -time.Hour, time.Minute, 30 * time.Second} {
			_, err := s.Change(t.Context(), func(*store.Tx) ([]brevet.Event, error) {
				e := happened("clock")
				e.At = day.Add(shift)
				return []brevet.Event{e}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		entries, err := s.Query(t.Context()).Entries(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		want := []time.Duration{0, 0, time.Minute, time.Minute}
		for i, e := range entries {
			if got := e.At.Sub(day); got != want[i] {
				t.Errorf("event %d at %v, want %v", i, got, want[i])
			}
		}
	})
}

func TestGivenUpBeforeItBegan(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		started, release := make(chan bool), make(chan bool)
		go s.Change(t.Context(), func(*store.Tx) ([]brevet.Event, error) {
			started <- true
			<-release
			return []brevet.Event{happened("slow")}, nil
		})
		<-started
		done := make(chan error)
		go func() {
			_, err := s.Change(ctx, func(*store.Tx) ([]brevet.Event, error) {
				t.Error("a change that was given up ran")
				return []brevet.Event{happened("given up")}, nil
			})
			done <- err
		}()
		cancel()
		if err := <-done; brevet.KindOf(err) != brevet.Unavailable {
			t.Errorf("got %v", err)
		}
		close(release)
		log(t, s, "next")
		if s.Size() != 2 {
			t.Errorf("the log has %d events", s.Size())
		}
	})
}

func TestGivenUpAfterItBegan(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		c, err := s.Change(ctx, func(*store.Tx) ([]brevet.Event, error) {
			cancel()
			return []brevet.Event{happened("a")}, nil
		})
		if err != nil || c.Size != 1 {
			t.Errorf("it was done, and Change says %+v, %v", c, err)
		}
	})
}

func TestPanicReachesItsCaller(t *testing.T) {
	s := storetest.New(t)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		s.Change(t.Context(), func(tx *store.Tx) ([]brevet.Event, error) {
			put(tx, nil)
			panic("oops")
		})
	}()
	log(t, s, "the.writer.lives")
	if _, err := s.Query(t.Context()).Token("t"); err == nil {
		t.Error("the row of the change that panicked was written")
	}
}

func TestWaitIsWoken(t *testing.T) {
	storetest.EachDatabase(t, func(t *testing.T, database string) {
		s := storetest.Open(t, database)
		got := make(chan int64)
		wait := func(after int64) {
			size, err := s.Wait(t.Context(), after)
			if err != nil {
				t.Error(err)
			}
			got <- size
		}
		go wait(0)
		log(t, s, "a")
		if size := <-got; size != 1 {
			t.Errorf("woken at %d", size)
		}
		if strings.HasPrefix(database, "postgres") { // another server may write there
			go wait(1)
			log(t, storetest.Open(t, database), "b")
			if size := <-got; size != 2 {
				t.Errorf("woken at %d by another server", size)
			}
		}
	})
}

func TestClosedStore(t *testing.T) {
	s, err := store.Open(t.Context(), store.Config{Database: t.TempDir() + "/x.db", Log: storetest.Signer(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = s.Change(t.Context(), func(*store.Tx) ([]brevet.Event, error) { return []brevet.Event{happened("x")}, nil })
	if brevet.KindOf(err) != brevet.Unavailable {
		t.Errorf("got %v", err)
	}
}

// TestFakeTime: on SQLite a store lives in a bubble of testing/synctest, as tests of expiry need.
func TestFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := store.Open(t.Context(), store.Config{Database: t.TempDir() + "/x.db", Log: storetest.Signer(t)})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(30 * time.Minute)
			log(t, s, "later")
		}()
		began := time.Now()
		if _, err := s.Wait(t.Context(), 0); err != nil {
			t.Error(err)
		}
		if passed := time.Since(began); passed != 30*time.Minute {
			t.Errorf("%v passed", passed)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestFailureOfWhatWasNotWritten: three changes share a commit. The second fails because of
// what the first wrote; the third finds no room, so that nothing of all that is written.
// Then the second must not be told of a conflict with what never was.
func TestFailureOfWhatWasNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := store.Open(t.Context(), store.Config{Database: t.TempDir() + "/x.db", Log: storetest.Signer(t)})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.LimitPages(t.Context(), 200); err != nil {
			t.Fatal(err)
		}
		release := make(chan bool)
		go s.Change(t.Context(), func(*store.Tx) ([]brevet.Event, error) {
			<-release
			return []brevet.Event{happened("slow")}, nil
		})
		synctest.Wait()
		errs := make([]error, 3)
		var all sync.WaitGroup
		for i, fn := range []func(*store.Tx) error{
			func(tx *store.Tx) error { return tx.AddToken(token("x")) },
			func(tx *store.Tx) error { return tx.AddToken(token("x")) },
			func(tx *store.Tx) error { _, err := tx.PutManifest(make([]byte, 1<<20)); return err },
		} {
			all.Go(func() { errs[i] = try(t, s, fn) })
			synctest.Wait() // it waits for the writer, behind the one before
		}
		release <- true
		all.Wait()
		for i, err := range errs {
			if brevet.KindOf(err) != brevet.Unavailable {
				t.Errorf("change %d: %v", i, err)
			}
		}
		if s.Size() != 1 {
			t.Errorf("the log has %d events", s.Size())
		}
	})
}
