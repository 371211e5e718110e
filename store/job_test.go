package store_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/store"
	"github.com/brevet-pim/brevet/test/storetest"
)

func work(t testing.TB, s *store.Store, fn func(*store.Work) error) {
	t.Helper()
	if err := s.Work(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// claim claims for a minute.
func claim(t testing.TB, s *store.Store, worker string, now time.Time, limit int) (jobs []store.Job) {
	t.Helper()
	work(t, s, func(w *store.Work) (err error) { jobs, err = w.Claim(worker, now, time.Minute, limit); return err })
	return jobs
}

func enqueue(t testing.TB, s *store.Store, subject string, due time.Time) {
	t.Helper()
	change(t, s, func(tx *store.Tx) error { return tx.Enqueue("revoke", subject, due) })
}

func next(t testing.TB, s *store.Store) time.Time {
	t.Helper()
	at, err := s.Query(t.Context()).NextJob()
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestJobIsDoneOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		if at := next(t, s); !at.IsZero() {
			t.Errorf("the next of no jobs is due at %v", at)
		}
		enqueue(t, s, "g1", day.Add(time.Hour))
		enqueue(t, s, "g1", day.Add(time.Minute)) // brought forward
		enqueue(t, s, "g1", day.Add(2*time.Hour)) // not put off
		if at := next(t, s); !at.Equal(day.Add(time.Minute)) {
			t.Errorf("due at %v", at)
		}
		if got := claim(t, s, "w1", day, 9); len(got) != 0 {
			t.Errorf("claimed before it is due: %+v", got)
		}
		now := day.Add(time.Minute)
		got := claim(t, s, "w1", now, 9)
		if len(got) != 1 || got[0].Subject != "g1" || got[0].Attempts != 1 || got[0].Epoch != 1 {
			t.Fatalf("claimed %+v", got)
		}
		if again := claim(t, s, "w2", now, 9); len(again) != 0 {
			t.Errorf("claimed twice: %+v", again)
		}
		if at := next(t, s); !at.Equal(now.Add(time.Minute)) {
			t.Errorf("the next look is at %v, want the lease's end", at)
		}
		work(t, s, func(w *store.Work) error { return w.Finish(got[0], now) })
		if left, err := s.Query(t.Context()).Jobs(9); err != nil || len(left) != 0 {
			t.Errorf("left: %+v, %v", left, err)
		}
		kind(t, s.Work(t.Context(), func(w *store.Work) error { return w.Finish(got[0], now) }), brevet.Conflict)
		enqueue(t, s, "g1", now) // a new one may come
		if got := claim(t, s, "w1", now, 9); len(got) != 1 || got[0].Epoch != 1 {
			t.Errorf("claimed %+v", got)
		}
	})
}

// TestJobIsTakenOver: a worker that was too slow can write nothing any more, by any way.
func TestJobIsTakenOver(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		enqueue(t, s, "g1", day)
		slow := claim(t, s, "w1", day, 1)[0]
		later := day.Add(time.Minute)
		fast := claim(t, s, "w2", later, 1)
		if len(fast) != 1 || fast[0].Epoch <= slow.Epoch || fast[0].Attempts != 2 {
			t.Fatalf("claimed %+v after %+v", fast, slow)
		}
		for name, err := range map[string]error{
			"finish":        s.Work(t.Context(), func(w *store.Work) error { return w.Finish(slow, later) }),
			"retry":         s.Work(t.Context(), func(w *store.Work) error { return w.Retry(slow, later, errors.New("x")) }),
			"change":        onBehalf(t, s, slow),
			"change saying": onBehalfSaying(t, s, slow),
		} {
			if brevet.KindOf(err) != brevet.Conflict {
				t.Errorf("%s by the slow one: %v", name, err)
			}
		}
		if _, err := s.Query(t.Context()).Token("t"); err == nil {
			t.Error("the change of the slow one was written")
		}
		for _, err := range []error{onBehalf(t, s, fast[0]), onBehalfSaying(t, s, fast[0])} {
			if err != nil {
				t.Errorf("a change on behalf of the one who has it: %v", err)
			}
		}
		work(t, s, func(w *store.Work) error { return w.Finish(fast[0], later) })
		if err := onBehalfSaying(t, s, fast[0]); brevet.KindOf(err) != brevet.Conflict {
			t.Errorf("a change on behalf of a job that is done: %v", err)
		}
	})
}

// onBehalf makes a change on behalf of the job. It writes token "t".
func onBehalf(t *testing.T, s *store.Store, j store.Job) error {
	_, err := s.Change(store.OnBehalf(t.Context(), j), func(tx *store.Tx) ([]brevet.Event, error) {
		return []brevet.Event{happened("change")}, put(tx, nil)
	})
	return err
}

func onBehalfSaying(t *testing.T, s *store.Store, j store.Job) error {
	_, err := s.ChangeSaying(store.OnBehalf(t.Context(), j), []brevet.Event{happened("change")}, func(*store.Tx) error { return nil })
	return err
}

func TestJobIsOwedAgain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		enqueue(t, s, "g1", day)
		j := claim(t, s, "w1", day, 1)[0]
		enqueue(t, s, "g1", day) // by a change that the worker may not have seen
		now := day.Add(time.Second)
		work(t, s, func(w *store.Work) error { return w.Finish(j, now) })
		again := claim(t, s, "w1", now, 1)
		if len(again) != 1 || again[0].Attempts != 1 {
			t.Fatalf("claimed %+v", again)
		}

		enqueue(t, s, "g1", day)
		work(t, s, func(w *store.Work) error { return w.Retry(again[0], now.Add(time.Hour), errors.New("x")) })
		again = claim(t, s, "w1", now, 1)
		if len(again) != 1 {
			t.Fatal("a retry put off what was asked for meanwhile")
		}
		work(t, s, func(w *store.Work) error {
			return w.Retry(again[0], now.Add(time.Hour), errors.New(strings.Repeat("ä", 400)+"\x00"))
		})
		if at := next(t, s); !at.Equal(now.Add(time.Hour)) {
			t.Errorf("due at %v", at)
		}
		left, err := s.Query(t.Context()).Jobs(1)
		if err != nil || len(left) != 1 || left[0].Attempts != 2 || len(left[0].Error) > 500 || left[0].Claimed != "" {
			t.Errorf("left: %+v, %v", left, err)
		}
	})
}

// TestManyWorkers: of many that claim at once, each job has one.
func TestManyWorkers(t *testing.T) {
	const jobs, workers = 60, 8
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		change(t, s, func(tx *store.Tx) error {
			for n := range jobs {
				if err := tx.Enqueue("advance", fmt.Sprint(n), day); err != nil {
					return err
				}
			}
			return nil
		})
		var mu sync.Mutex
		done := map[string]int{}
		var all sync.WaitGroup
		for n := range workers {
			all.Go(func() {
				for {
					var got []store.Job
					if err := s.Work(t.Context(), func(w *store.Work) (err error) {
						got, err = w.Claim(fmt.Sprint("w", n), day, time.Minute, 3)
						return err
					}); err != nil {
						t.Error(err)
						return
					}
					if len(got) == 0 {
						return
					}
					for _, j := range got {
						mu.Lock()
						done[j.Subject]++
						mu.Unlock()
						if err := s.Work(t.Context(), func(w *store.Work) error { return w.Finish(j, day) }); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		all.Wait()
		for n := range jobs {
			if done[fmt.Sprint(n)] != 1 {
				t.Errorf("job %d was done %d times", n, done[fmt.Sprint(n)])
			}
		}
	})
}

func TestJobsNeedWhatTheyNeed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		kind(t, try(t, s, func(tx *store.Tx) error { return tx.Enqueue("", "x", day) }), brevet.Invalid)
		kind(t, try(t, s, func(tx *store.Tx) error { return tx.Enqueue("x", "x", time.Time{}) }), brevet.Invalid)
		for _, err := range []error{
			s.Work(t.Context(), func(w *store.Work) error { _, err := w.Claim("", day, time.Minute, 1); return err }),
			s.Work(t.Context(), func(w *store.Work) error { _, err := w.Claim("w", day, 0, 1); return err }),
			s.Work(t.Context(), func(w *store.Work) error { _, err := w.Claim("w", day, time.Minute, 0); return err }),
		} {
			kind(t, err, brevet.Invalid)
		}
	})
}

func TestBackoff(t *testing.T) {
	for attempts, want := range map[int]time.Duration{-1: time.Second, 0: time.Second, 1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 7: time.Minute, 1000: time.Minute} {
		if got := store.Backoff(attempts); got != want {
			t.Errorf("after %d attempts %v, want %v", attempts, got, want)
		}
	}
}

func TestWork(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		count := func(now time.Time) (n int) {
			work(t, s, func(w *store.Work) (err error) { n, err = w.Count("signin bob", now, time.Minute); return err })
			return n
		}
		for i, tt := range []struct {
			after time.Duration
			want  int
		}{{0, 1}, {time.Second, 2}, {59 * time.Second, 3}, {time.Minute, 1}, {61 * time.Second, 2}} {
			if got := count(day.Add(tt.after)); got != tt.want {
				t.Errorf("%d: after %v counted %d, want %d", i, tt.after, got, tt.want)
			}
		}
		beat := store.Heartbeat{Machine: "gw1", Instance: "i2", Version: "1", Address: "192.0.2.1:22", Sessions: 3, At: day.Add(time.Minute)}
		stale := store.Heartbeat{Machine: "gw1", Instance: "i1", At: day}
		work(t, s, func(w *store.Work) error { return errors.Join(w.Beat(beat), w.Beat(stale)) })
		if got, err := s.Query(t.Context()).Heartbeats(); err != nil || len(got) != 1 || got[0] != beat {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestTidyKeepsWhatIsOfUse(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		change(t, s, func(tx *store.Tx) error { return tx.AddToken(token("t")) }) // expires after an hour
		enqueue(t, s, "owed", day)
		enqueue(t, s, "done", day.Add(-time.Hour))
		done := claim(t, s, "w", day.Add(-time.Minute), 1)[0]
		work(t, s, func(w *store.Work) error {
			_, err := w.Count("x", day, time.Minute)
			return errors.Join(err, w.Finish(done, day))
		})
		for _, tt := range []struct {
			before time.Time
			want   int64
		}{{day, 0}, {day.Add(time.Minute), 2}, {day.Add(time.Hour), 0}, {day.Add(2 * time.Hour), 1}} {
			work(t, s, func(w *store.Work) error {
				n, err := w.Tidy(tt.before, 100)
				if n != tt.want {
					t.Errorf("before %v: %d rows went, want %d", tt.before, n, tt.want)
				}
				return err
			})
		}
		if left, err := s.Query(t.Context()).Jobs(9); err != nil || len(left) != 1 || left[0].Subject != "owed" {
			t.Errorf("left: %+v, %v", left, err)
		}
	})
}

// TestWorkIsUndone: what fails leaves nothing, and an error of the database is not passed over.
func TestWorkIsUndone(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		err := s.Work(t.Context(), func(w *store.Work) error {
			if _, err := w.Count("x", day, time.Minute); err != nil {
				return err
			}
			return brevet.Errorf(brevet.Refused, "no")
		})
		kind(t, err, brevet.Refused)
		work(t, s, func(w *store.Work) error {
			n, err := w.Count("x", day, time.Minute)
			if n != 1 {
				t.Errorf("counted %d", n-1)
			}
			return err
		})
	})
}
