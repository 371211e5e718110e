package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver, for the bare rows

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/store"
)

// logBatch is how many events a change has, where the rate of appending is measured.
const logBatch = 500

// measureLog fills a log, verifies all of it, and proves the places of events.
func measureLog(ctx context.Context, o options, r *report) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	signer, err := audit.NewSigner("brevet.load/log", key)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "log")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "brevet.db")
	s, err := store.Open(ctx, store.Config{Database: path, Log: signer})
	if err != nil {
		return err
	}
	defer s.Close()
	appending, err := appendEvents(ctx, s, o.events)
	if err != nil {
		return err
	}
	plain, err := plainRows(ctx, filepath.Join(dir, "plain.db"), o.events)
	if err != nil {
		return err
	}
	began := time.Now()
	found, err := s.VerifyLog(ctx, store.Verification{})
	if err != nil {
		return err
	}
	verifying := time.Since(began)
	if found.Problem != nil || found.Events != o.events {
		return fmt.Errorf("the log does not hold: %v, %d events", found.Problem, found.Events)
	}
	reading, err := readRows(ctx, path)
	if err != nil {
		return err
	}
	proving, hashes, err := prove(ctx, s, signer)
	if err != nil {
		return err
	}
	rate := func(d time.Duration) string { return fmt.Sprintf("%.0f/s", float64(o.events)/d.Seconds()) }
	r.section(fmt.Sprintf("Log of %d events, SQLite", o.events),
		row{what: fmt.Sprintf("append, %d events a change", logBatch), figure: rate(appending), beside: "bare rows of the same size, no log, no index: " + rate(plain), ratio: ratioOf(plain, appending)},
		row{what: "verify all", figure: fmt.Sprintf("%s, %s", rate(verifying), short(verifying)), beside: "reading the rows alone: " + rate(reading), ratio: ratioOf(reading, verifying)},
		row{what: "prove a place and check the proof", figure: proving.String(), beside: "", ratio: ""},
		row{what: "size of a proof", figure: fmt.Sprintf("%d hashes, %d bytes", hashes, hashes*32)})
	return nil
}

func appendEvents(ctx context.Context, s *store.Store, n int64) (time.Duration, error) {
	began := time.Now()
	for s.Size() < n {
		now := time.Now()
		batch := make([]brevet.Event, min(logBatch, n-s.Size()))
		for i := range batch {
			batch[i] = brevet.Event{
				ID: brevet.NewEventID(now), Kind: "grant.ended", Subject: "grt_0123456789abcdefghjkmnpqrs", At: now, Actor: brevet.Caller{Person: "alice"},
				Outcome: "success", Message: "an event like those of every day, about one grant that has ended",
			}
		}
		if _, err := s.Change(ctx, func(*store.Tx) ([]brevet.Event, error) { return batch, nil }); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// plainRows writes rows of about the size of an event's, as many to a durable commit, and nothing else.
func plainRows(ctx context.Context, path string, n int64) (time.Duration, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=cache_size(-8000)")
	if err != nil {
		return 0, err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, "create table plain (idx bigint primary key, body bytea not null)"); err != nil {
		return 0, err
	}
	body := make([]byte, 800)
	began := time.Now()
	for at := int64(0); at < n; {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return 0, err
		}
		insert, err := tx.PrepareContext(ctx, "insert into plain (idx, body) values ($1, $2)")
		if err != nil {
			return 0, err
		}
		for range min(logBatch, n-at) {
			if _, err := insert.ExecContext(ctx, at, body); err != nil {
				return 0, err
			}
			at++
		}
		if err := tx.Commit(); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// readRows reads every row of the log and looks at nothing.
func readRows(ctx context.Context, path string) (time.Duration, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		return 0, err
	}
	defer db.Close()
	began := time.Now()
	rows, err := db.QueryContext(ctx, "select kind, subject, body_hash, hashes, salt, body from events order by idx")
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var a, b, c, d, e, f sql.RawBytes
		if err := rows.Scan(&a, &b, &c, &d, &e, &f); err != nil {
			return 0, err
		}
	}
	return time.Since(began), rows.Err()
}

// prove proves places all over the log and checks each proof. hashes is the longest proof's length.
func prove(ctx context.Context, s *store.Store, signer *audit.Signer) (took times, hashes int, err error) {
	q, size := s.Query(ctx), s.Size()
	signed, _, err := q.Checkpoint()
	if err != nil {
		return nil, 0, err
	}
	checkpoint, err := audit.Open(signed, signer.Origin(), signer.Public())
	if err != nil {
		return nil, 0, err
	}
	for n := int64(0); len(took) < 1000; n = (n + 7919) % size {
		start := time.Now()
		path, err := q.Inclusion(size, n)
		if err != nil {
			return nil, 0, err
		}
		e, err := q.Entry(n)
		if err != nil {
			return nil, 0, err
		}
		if err := audit.VerifyInclusion(checkpoint, n, e.Leaf(), path); err != nil {
			return nil, 0, err
		}
		took = append(took, time.Since(start))
		hashes = max(hashes, len(path))
	}
	return took, hashes, nil
}
