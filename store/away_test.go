package store_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/store"
	"github.com/brevet-pim/brevet/test/storetest"
	"github.com/brevet-pim/brevet/test/testenv"
)

// cluster starts a PostgreSQL of the test's own, with one database.
func cluster(t *testing.T) (*testenv.Cluster, string) {
	t.Helper()
	c := testenv.PostgresCluster(t)
	database, err := c.NewDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c, database
}

func TestDatabaseAwayComesBack(t *testing.T) {
	c, database := cluster(t)
	s := storetest.Open(t, database)
	log(t, s, "before")
	woken := make(chan error, 1)
	go func() {
		_, err := s.Wait(t.Context(), 1)
		woken <- err
	}()
	for range 2 {
		c.Stop()
		_, err := s.Change(t.Context(), func(*store.Tx) ([]brevet.Event, error) { return []brevet.Event{happened("lost")}, nil })
		kind(t, err, brevet.Unavailable)
		_, err = s.Query(t.Context()).Entries(0, 1)
		kind(t, err, brevet.Unavailable)
		kind(t, s.Work(t.Context(), func(w *store.Work) error { _, err := w.Count("x", day, 60e9); return err }), brevet.Unavailable)
		kind(t, s.Read(t.Context(), func(*store.Query) error { return nil }), brevet.Unavailable)
		kind(t, s.Ping(t.Context()), brevet.Unavailable)
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		log(t, s, "after") // by itself
	}
	if err := <-woken; err != nil {
		t.Error(err)
	}
	if s.Size() != 3 {
		t.Errorf("the log has %d events", s.Size())
	}
	holds(t, s, nil)
}

// TestDatabaseCrashes crashes the database under load. What callers were told must be true:
// done is there, once; Unavailable is not there; only what is Internal may be either.
func TestDatabaseCrashes(t *testing.T) {
	c, database := cluster(t)
	s := storetest.Open(t, database)
	var mu sync.Mutex
	told := map[string]error{}
	var begun atomic.Int64
	var restart sync.RWMutex // held while the database is away, so that writers do not spin
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				name := fmt.Sprintf("w%d.%d", w, n)
				_, err := s.Change(t.Context(), func(tx *store.Tx) ([]brevet.Event, error) {
					return []brevet.Event{happened(name)}, tx.AddToken(token(name))
				})
				mu.Lock()
				told[name] = err
				mu.Unlock()
				begun.Add(1)
				if err != nil {
					restart.RLock()
					//lint:ignore SA2001 it only waits until the database is back
					restart.RUnlock()
				}
			}
		})
	}
	reach := func(n int64) {
		for begun.Load() < n {
			if _, err := s.Wait(ctx, s.Size()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 3 {
		reach(begun.Load() + 50)
		restart.Lock()
		c.Crash()
		err := c.Start(t.Context())
		restart.Unlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	reach(begun.Load() + 50)
	stop()
	writers.Wait()

	there := map[string]int{}
	for from := int64(0); ; {
		page, err := s.Query(t.Context()).Entries(from, store.MaxPage)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			there[e.Subject]++
		}
		if from += int64(len(page)); len(page) < store.MaxPage {
			break
		}
	}
	failed := 0
	for name, err := range told {
		_, row := s.Query(t.Context()).Token(name)
		switch n := there[name]; {
		case n > 1, (n == 1) != (row == nil):
			t.Errorf("%s stands %d times in the log, and its row: %v", name, n, row)
		case err == nil && n != 1:
			t.Errorf("%s was done and is lost", name)
		case brevet.KindOf(err) == brevet.Unavailable && n != 0:
			t.Errorf("%s: %v, and it is there", name, err)
		}
		if err != nil {
			failed++
		}
	}
	t.Logf("%d changes, of which %d failed", len(told), failed)
	holds(t, s, nil)
}

// TestConnectionIsCut: what was not committed is done again on another connection.
func TestConnectionIsCut(t *testing.T) {
	database := testenv.Postgres(t)
	s := storetest.Open(t, database)
	db := byHand(t, database)
	runs := 0
	_, err := s.Change(t.Context(), func(tx *store.Tx) ([]brevet.Event, error) {
		if runs++; runs == 1 {
			do(t, db, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
		}
		return []brevet.Event{happened("a")}, tx.AddToken(token("a"))
	})
	if err != nil || runs != 2 || s.Size() != 1 {
		t.Errorf("%v after %d runs; the log has %d events", err, runs, s.Size())
	}
	holds(t, s, nil)
}

// TestAnswerToCommitIsLost: a commit of which nobody knows whether it was done is the one
// case where a database client must not guess. Each time the change must be there, once,
// and its caller told so.
func TestAnswerToCommitIsLost(t *testing.T) {
	database := testenv.Postgres(t)
	db := byHand(t, database)
	tests := []struct {
		name string
		runs int // of the change's function
		// fate sends the commit to the server or does not; its connection to the store is gone.
		fate func(t *testing.T, forward func())
	}{
		{name: "it was done", runs: 1, fate: func(_ *testing.T, forward func()) { forward() }},
		{name: "it never arrived", runs: 2, fate: func(*testing.T, func()) {}},
		{name: "it arrives late", runs: 1, fate: func(t *testing.T, forward func()) {
			for waiting := false; !waiting; { // until the store asks what happened
				if err := db.QueryRowContext(t.Context(), `select exists (select 1 from pg_stat_activity
					where datname = current_database() and wait_event_type = 'Lock')`).Scan(&waiting); err != nil {
					t.Error(err)
					break
				}
			}
			forward()
		}},
	}
	p := newProxy(t, database)
	s := storetest.Open(t, p.database)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p.arm(func(forward func()) { tt.fate(t, forward) })
			name, runs := strings.ReplaceAll(tt.name, " ", "."), 0
			before := s.Size()
			c, err := s.Change(t.Context(), func(tx *store.Tx) ([]brevet.Event, error) {
				runs++
				return []brevet.Event{happened(name)}, tx.AddToken(token(name))
			})
			if err != nil || c.First != before || c.Size != before+1 || runs != tt.runs {
				t.Errorf("told %+v, %v after %d runs, want %d", c, err, runs, tt.runs)
			}
			if found, err := s.Query(t.Context()).Search(store.Filter{Subject: name}); err != nil || len(found) != 1 {
				t.Errorf("it stands %d times in the log, %v", len(found), err)
			}
			holds(t, s, nil)
		})
	}
}

// proxy stands between the store and PostgreSQL and may decide the fate of one commit.
type proxy struct {
	database string // URL by way of the proxy
	server   string // PostgreSQL's socket
	fate     chan func(forward func())
}

func newProxy(t *testing.T, database string) *proxy {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	query, dir := u.Query(), t.TempDir()
	p := &proxy{server: filepath.Join(query.Get("host"), ".s.PGSQL.5432"), fate: make(chan func(func()), 1)}
	query.Set("host", dir)
	u.RawQuery = query.Encode()
	p.database = u.String()
	listener, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				if err := p.serve(client); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
					t.Errorf("proxy: %v", err)
				}
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		all.Wait() // the store, opened later, is closed by now
	})
	return p
}

// arm decides the fate of the next commit.
func (p *proxy) arm(fate func(forward func())) { p.fate <- fate }

func (p *proxy) serve(client net.Conn) error {
	defer client.Close()
	server, err := net.Dial("unix", p.server)
	if err != nil {
		return err
	}
	defer server.Close()
	go func() {
		io.Copy(client, server)
		client.Close()
	}()
	for first := true; ; first = false {
		message, err := readMessage(client, first)
		if err != nil {
			return err
		}
		forward := func() { server.Write(message) }
		if string(message[min(5, len(message)):]) == "commit\x00" {
			select {
			case fate := <-p.fate:
				client.Close() // before the answer can come
				fate(forward)
				return nil
			default:
			}
		}
		forward()
	}
}

// readMessage reads one message of PostgreSQL's protocol; the first has no type.
func readMessage(from io.Reader, first bool) ([]byte, error) {
	header := make([]byte, 5)
	if first {
		header = header[:4]
	}
	if _, err := io.ReadFull(from, header); err != nil {
		return nil, err
	}
	rest := int(binary.BigEndian.Uint32(header[len(header)-4:])) - 4
	message := append(header, make([]byte, rest)...)
	_, err := io.ReadFull(from, message[len(header):])
	return message, err
}
