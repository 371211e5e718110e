// Package store keeps everything that Brevet knows, on SQLite or PostgreSQL, with one
// implementation: plain database/sql and SQL of the subset that both understand.
//
// There are two doors to a write. Change writes nouns, and takes the events that tell of
// the write with it into the audit log: both or neither, in one order, each once, under a
// signed checkpoint. Work writes what is no noun: leases of jobs, heartbeats, counters.
// Its type reaches only these tables. Reads go through Query.
//
// Only package flow and the server's wiring call Change. There is no interface in front of
// this package and no mock of it: tests use the real thing, see storetest.
package store

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
)

// Config says which database to open.
type Config struct {
	// Database is the path of a SQLite file, which is made if it is missing, or the URL of
	// a PostgreSQL database (postgres://…). One server may use SQLite; see also Alone.
	Database string
	// Alone keeps other servers that ask for the same away from a PostgreSQL database, for as
	// long as the connection that holds the lock lasts. A SQLite file has one server anyway.
	Alone bool
	// Log signs a checkpoint of the audit log with every Change.
	Log *audit.Signer
	// Logger hears of retries and of a database that is away. Nil: nobody does.
	Logger *slog.Logger
}

// Store is an open database. Its methods may be called from many goroutines.
type Store struct {
	pools
	dialect dialect
	log     *audit.Signer
	logger  *slog.Logger

	changes chan *change
	written chan struct{}      // has one when there is something for copyBack
	stop    context.CancelFunc // ends the writer and the listener
	closed  chan struct{}      // closed when the writer has ended
	running sync.WaitGroup     // the writer and the listener

	mu      sync.Mutex    // guards what follows
	size    int64         // events in the log, as far as this process knows
	signal  chan struct{} // closed and replaced when size grows
	trusted head          // the newest that this process signed or verified
	recent  []audit.Leaf  // the last of trusted that this process wrote itself
	ailing  ailing        // what Ping knows of writes
}

// Open opens the database, makes or migrates its tables, and starts the writer, which runs
// until Close. A database of a newer Brevet, a log of another key, and a SQLite file that
// another server has open are refused.
func Open(ctx context.Context, c Config) (*Store, error) {
	s, err := connect(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.pools.close())
	}
	// The writer outlives the call that opened the store; Close ends it.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.running.Go(func() { s.write(running) })
	if s.dialect == onSQLite {
		s.running.Go(func() { s.copyBack(running) })
	}
	if s.dialect.shared() {
		s.running.Go(func() { s.listen(running) })
	}
	return s, nil
}

// connect reaches the database and changes nothing in it.
func connect(ctx context.Context, c Config) (*Store, error) {
	if c.Log == nil {
		return nil, brevet.Errorf(brevet.Invalid, "the store has no key to sign its log with")
	}
	d, err := dialectOf(c.Database)
	if err != nil {
		return nil, err
	}
	s := &Store{dialect: d, log: c.Log, logger: c.Logger,
		changes: make(chan *change), written: make(chan struct{}, 1), closed: make(chan struct{}), signal: make(chan struct{})}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	if s.pools, err = d.open(ctx, c.Database); err == nil && c.Alone && d == onPostgres {
		if err = s.pools.beAlone(ctx, c.Database); err != nil {
			err = errors.Join(err, s.pools.close())
		}
	}
	return s, err
}

func (s *Store) prepare(ctx context.Context) error {
	if err := migrate(ctx, s.writes, s.dialect, migrations); err != nil {
		return err
	}
	return s.begin(ctx)
}

// Close ends the writer when the batch that it is at is done, and closes the database.
// Changes that come later, or still wait, are Unavailable.
func (s *Store) Close() error {
	s.stop()
	s.running.Wait()
	return s.pools.close()
}

// Query returns reads that each see the newest committed state, under ctx.
func (s *Store) Query(ctx context.Context) *Query {
	return &Query{ctx: ctx, on: s.reads, dialect: s.dialect}
}

// Read runs fn in one read transaction: all that it reads is of one moment.
func (s *Store) Read(ctx context.Context, fn func(*Query) error) error {
	tx, err := connected(s.dialect, func() (*sql.Tx, error) {
		return s.reads.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: s.dialect.snapshot()})
	})
	if err != nil {
		return s.dialect.explain(err)
	}
	defer tx.Rollback() // nothing to commit
	return fn(&Query{ctx: ctx, on: tx, dialect: s.dialect})
}

// Size returns how many events the log has, as far as this process knows.
func (s *Store) Size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// Wait returns the size of the log once it is more than after. It is how workers and
// listeners learn that there is something new. It returns ctx's error when ctx ends first.
func (s *Store) Wait(ctx context.Context, after int64) (int64, error) {
	for {
		s.mu.Lock()
		size, signal := s.size, s.signal
		s.mu.Unlock()
		if size > after {
			return size, nil
		}
		select {
		case <-ctx.Done():
			return size, context.Cause(ctx)
		case <-s.closed:
			return size, errClosed
		case <-signal:
		}
	}
}

// otherServers is how often a server looks for what others wrote. What it writes itself
// wakes its listeners at once.
const otherServers = 200 * time.Millisecond

// listen wakes listeners when another server has written, until ctx ends. While the database
// is away there is nothing to tell.
func (s *Store) listen(ctx context.Context) {
	poll := time.NewTicker(otherServers)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
			if head, err := s.Query(ctx).head(); err == nil {
				s.grown(head.tree.Size)
			}
		}
	}
}

// grown wakes everybody who waits, if size is news.
func (s *Store) grown(size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if size <= s.size {
		return
	}
	s.size = size
	close(s.signal)
	s.signal = make(chan struct{})
}

// trust remembers a head that was verified, and wakes those who wait for it.
func (s *Store) trust(h head) {
	s.mu.Lock()
	s.trusted, s.recent = h, nil
	s.mu.Unlock()
	s.grown(h.tree.Size)
}

// mostRecent is how many leaves are remembered at least, once there are so many.
const mostRecent = 1024

// told remembers the head of what was just written, on top of the one that was trusted, with its leaves,
// and wakes those who wait for it.
func (s *Store) told(h head, leaves []audit.Leaf) {
	s.mu.Lock()
	if len(s.recent) >= 2*mostRecent {
		s.recent = append(make([]audit.Leaf, 0, 3*mostRecent), s.recent[mostRecent:]...)
	}
	s.trusted, s.recent = h, append(s.recent, leaves...)
	s.ailing = ailing{}
	s.mu.Unlock()
	s.grown(h.tree.Size)
}

// News returns what the log has from an index on (Query.News). Where nobody else writes, what was written a
// moment ago is known without asking the database.
func (s *Store) News(ctx context.Context, from int64, limit int) (News, error) {
	s.mu.Lock()
	n := News{Checkpoint: s.trusted.checkpoint, Size: s.trusted.tree.Size}
	count := n.Size - from
	known := !s.dialect.shared() && count > 0 && count <= int64(min(len(s.recent), Page{Limit: limit}.limit()))
	if known {
		n.Leaves = slices.Clone(s.recent[int64(len(s.recent))-count:])
	}
	s.mu.Unlock()
	if known {
		return n, nil
	}
	return s.Query(ctx).News(from, limit)
}

var errClosed = brevet.Errorf(brevet.Unavailable, "the server is stopping").WithHint("try again in a moment")
