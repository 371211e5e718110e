package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/store"
	"github.com/brevet-pim/brevet/test/storetest"
	"github.com/brevet-pim/brevet/test/testenv"
)

// tryBoth tries to write an event, and something that is none.
func tryBoth(t *testing.T, s *store.Store) (change, work error) {
	t.Helper()
	_, change = s.Change(t.Context(), func(*store.Tx) ([]brevet.Event, error) { return []brevet.Event{happened("a")}, nil })
	return change, s.Work(t.Context(), func(w *store.Work) error { _, err := w.Count("x", day, 60e9); return err })
}

// TestFileIsTakenAway: SQLite would go on with a file that has no name any more, and all would be lost.
func TestFileIsTakenAway(t *testing.T) {
	for name, take := range map[string]func(t *testing.T, database string){
		"removed": func(*testing.T, string) {},
		"replaced": func(t *testing.T, database string) {
			if err := os.WriteFile(database, nil, 0o600); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			database := filepath.Join(t.TempDir(), "brevet.db")
			s := storetest.Open(t, database)
			log(t, s, "before")
			if err := os.Rename(database, database+".away"); err != nil {
				t.Fatal(err)
			}
			take(t, database)
			change, work := tryBoth(t, s)
			for _, err := range []error{change, work, s.Ping(t.Context())} {
				kind(t, err, brevet.Unavailable)
				if message, hint := brevet.MessageOf(err); !strings.Contains(message, "removed or replaced") || !strings.Contains(hint, "put it back") {
					t.Errorf("it says %q, %q", message, hint)
				}
			}
			if err := os.Rename(database+".away", database); err != nil {
				t.Fatal(err)
			}
			if err := s.Ping(t.Context()); err != nil {
				t.Error(err)
			}
			log(t, s, "after")
			holds(t, s, nil)
		})
	}
}

// TestPingKnowsOfWrites: a database that can only be read from is not well, until something was written.
func TestPingKnowsOfWrites(t *testing.T) {
	t.Run("sqlite without room", func(t *testing.T) {
		s := storetest.New(t)
		if err := s.LimitPages(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		var err error
		for err == nil {
			err, _ = tryBoth(t, s)
		}
		kind(t, err, brevet.Unavailable)
		_, err = s.Change(t.Context(), func(*store.Tx) ([]brevet.Event, error) { return nil, nil })
		kind(t, err, brevet.Invalid) // which says nothing of the database
		err = s.Ping(t.Context())
		kind(t, err, brevet.Unavailable)
		if message, _ := brevet.MessageOf(err); !strings.Contains(message, "no room") {
			t.Errorf("it says %q", message)
		}
		if err := s.LimitPages(t.Context(), 1<<20); err != nil {
			t.Fatal(err)
		}
		log(t, s, "after")
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("postgres that became a standby", func(t *testing.T) {
		database := testenv.Postgres(t)
		s, db := storetest.Open(t, database), byHand(t, database)
		turn := func(readOnly string) {
			var name string
			if err := db.QueryRowContext(t.Context(), "select current_database()").Scan(&name); err != nil {
				t.Fatal(err)
			}
			do(t, db, `begin read write; alter database "`+name+`" set default_transaction_read_only = `+readOnly+`; commit`)
			do(t, db, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
		}
		turn("on")
		for _, write := range []int{0, 1} {
			change, work := tryBoth(t, s)
			kind(t, []error{change, work}[write], brevet.Unavailable)
			kind(t, s.Ping(t.Context()), brevet.Unavailable)
		}
		turn("off")
		log(t, s, "after")
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestAFailureIsForgotten: a server that gets no more work since it is not well finds out whether it is.
func TestAFailureIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storetest.New(t)
		if err := s.LimitPages(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		for err := error(nil); err == nil; {
			err, _ = tryBoth(t, s)
		}
		time.Sleep(59 * time.Second)
		kind(t, s.Ping(t.Context()), brevet.Unavailable)
		time.Sleep(time.Second)
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
