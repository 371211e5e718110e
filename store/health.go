package store

import (
	"cmp"
	"context"
	"io/fs"
	"os"
	"time"

	"github.com/brevet-pim/brevet"
)

// Ping returns nil if the database answers, and as far as is known takes what is written to it.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.file.there(); err != nil {
		return err
	}
	if err := s.reads.PingContext(ctx); err != nil {
		return s.dialect.explain(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.ailing.at) >= failureCounts {
		return nil
	}
	return cmp.Or(s.ailing.change, s.ailing.work)
}

// failureCounts is for how long a write that failed says that the database is not well. A server that gets no
// more work for it would never learn otherwise.
const failureCounts = time.Minute

// ailing is why the last write of each kind failed, if that was for want of the database. Whoever only reads
// from a database with a full disk finds nothing wrong with it. They are kept apart, for a heartbeat that is
// written over the one before may succeed where there is no room for an event.
type ailing struct {
	change, work error
	at           time.Time // of the last failure
}

// wrote remembers in one of the two how a write ended: nil, or what the database said.
func (s *Store) wrote(which *error, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *which = err; err != nil {
		s.ailing.at = time.Now()
	}
}

// file is a SQLite file as it was opened. The zero value, of other databases, is always there.
type file struct {
	path   string
	opened fs.FileInfo
}

// there returns nil if the path still leads to the file that is open. Otherwise SQLite would go on and write
// to a file that has no name any more, and all of that would be lost with the process.
func (f file) there() error {
	if f.path == "" {
		return nil
	}
	now, err := os.Stat(f.path)
	if err == nil && os.SameFile(now, f.opened) {
		return nil
	}
	return brevet.Errorf(brevet.Unavailable, "the database file was removed or replaced while the server ran; nothing was changed").Because(err).
		WithHint("stop the server and put it back, or restore the newest backup")
}
