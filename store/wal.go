package store

import (
	"context"
	"time"
)

const (
	// pause is how long what was written to SQLite's write-ahead log waits at least until it is copied
	// into the database file. Pages that change all the time are so copied once for many changes.
	pause = 100 * time.Millisecond
	// mostAhead is the length of that log, in pages of 4 KiB, from which the writer copies the rest
	// itself, so that it can begin the log anew.
	mostAhead = "8000"
)

// tellWritten says that there is something to copy.
func (s *Store) tellWritten() {
	select {
	case s.written <- struct{}{}:
	default: // it is known
	}
}

// copyBack copies what was written to the write-ahead log into the database file, until ctx ends, beside
// the writer and not in its way. What fails is done later, by the writer at the latest.
func (s *Store) copyBack(ctx context.Context) {
	for {
		select {
		case <-s.written:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return // closing the database copies the rest
		}
		if _, err := s.copies.ExecContext(ctx, "pragma wal_checkpoint(passive)"); err != nil && ctx.Err() == nil {
			s.logger.WarnContext(ctx, "the write-ahead log is not copied back", "error", err)
		}
	}
}
