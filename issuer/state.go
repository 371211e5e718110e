package issuer

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/sqlite"
	"github.com/brevet-pim/brevet/statement"
)

// state is the issuer's own database, state.db. One goroutine writes, many writes to a commit; a
// write is durable when it returns.
type state struct {
	writes *sql.DB // one connection
	reads  *sql.DB
	clock  *clock

	queue  chan *write
	coming atomic.Pointer[coming]
	// gave are the last grants that were given, by the ids of their statements, after a restart those of the
	// last intents. They are followed in the log a moment later.
	gave    proof.Recent[statement.ID, struct{}]
	tidied  time.Time     // the writer's: when old grants were last forgotten
	stop    chan struct{} // closed by close
	ended   chan struct{} // closed when nothing is taken from the queue any more
	running sync.WaitGroup
	signed  time.Time // the writer's: what the database has
}

//go:embed state.sql
var schema string

const (
	maxGave       = 1 << 12
	schemaVersion = 3
	stateFile     = "state.db"
	readers       = 4
)

// createState makes the database of an issuer that knows nothing yet.
func createState(dir string, name brevet.MachineID, now time.Time) (err error) {
	path := filepath.Join(dir, stateFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	db, err := openFile(path, url.Values{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	edge, err := audit.Head{}.MarshalBinary()
	if err != nil {
		return err
	}
	if _, err := db.Exec(schema); err != nil {
		return fmt.Errorf("make the issuer's state: %w", err)
	}
	if _, err := db.Exec("insert into issuer (id, name, root, edge, checkpoint, followed, signed, forgotten) values (1, $1, '', $2, '', 0, $3, -1)",
		name, edge, now.UnixMicro()); err != nil {
		return fmt.Errorf("make the issuer's state: %w", err)
	}
	_, err = db.Exec(fmt.Sprintf("pragma user_version = %d", schemaVersion)) // last: without it the state is unfinished
	return err
}

// openFile opens the database with one connection. What was given or heard must survive a power cut, so
// every commit is synchronous.
func openFile(path string, query url.Values) (*sql.DB, error) {
	for _, pragma := range []string{"busy_timeout(10000)", "journal_mode(wal)", "synchronous(full)", "wal_autocheckpoint(4000)", "journal_size_limit(67108864)"} {
		query.Add("_pragma", pragma)
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	file := url.URL{Scheme: "file", OmitHost: true, Path: absolute, RawQuery: query.Encode()}
	db, err := sqlite.Open(file.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// openState opens the database and verifies that it is whole.
func openState(ctx context.Context, dir string, c *clock) (*state, error) {
	path := filepath.Join(dir, stateFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, brevet.Errorf(brevet.NotFound, "%s is missing: an issuer that forgot what it signed must not sign", brevet.Quote(path)).
			WithHint("restore it, or make a new issuer with new keys and enrol its machine statement")
	}
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, brevet.Errorf(brevet.Refused, "%s can be reached by others than its owner (mode %04o)", brevet.Quote(path), mode).WithHint("chmod 600 %s", path)
	}
	s := &state{clock: c, queue: make(chan *write, maxBatch), stop: make(chan struct{}), ended: make(chan struct{})}
	if s.writes, err = openFile(path, url.Values{"_txlock": {"immediate"}}); err != nil {
		return nil, err
	}
	if s.reads, err = openFile(path, url.Values{"_pragma": {"query_only(1)"}}); err != nil {
		return nil, errors.Join(err, s.writes.Close())
	}
	s.reads.SetMaxOpenConns(readers)
	s.reads.SetMaxIdleConns(readers)
	if err := s.checkWhole(ctx, path); err != nil {
		return nil, errors.Join(err, s.reads.Close(), s.writes.Close())
	}
	s.running.Go(s.run)
	return s, nil
}

// checkWhole refuses a file that is damaged, unfinished, or of another version.
func (s *state) checkWhole(ctx context.Context, path string) error {
	var version int
	var verdict string
	err := s.writes.QueryRowContext(ctx, "pragma user_version").Scan(&version)
	if err == nil {
		err = s.writes.QueryRowContext(ctx, "pragma quick_check(1)").Scan(&verdict)
	}
	switch {
	case err != nil:
	case version > schemaVersion:
		return brevet.Errorf(brevet.Conflict, "%s was written by a newer Brevet", brevet.Quote(path)).WithHint("run that one")
	case version != 0 && version != schemaVersion:
		return brevet.Errorf(brevet.Conflict, "%s was written by an older Brevet, whose state this one does not read", brevet.Quote(path)).WithHint("run that one, or found the organisation anew: before version 0.1 nothing is taken over")
	case version == 0:
		return brevet.Errorf(brevet.Refused, "%s is unfinished", brevet.Quote(path)).WithHint("move the issuer's folder away and run brevet init again")
	case verdict != "ok":
		err = errors.New(verdict)
	}
	if err != nil {
		return brevet.Errorf(brevet.Refused, "%s is damaged", brevet.Quote(path)).Because(err).WithHint("restore the issuer's folder from a backup")
	}
	return nil
}

// close ends the writer when the batch that it is at is done, and closes the database.
func (s *state) close() error {
	close(s.stop)
	s.running.Wait()
	return errors.Join(s.reads.Close(), s.writes.Close())
}

// stopping reports whether nothing is taken any more.
func (s *state) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

var (
	errStopping = brevet.Errorf(brevet.Unavailable, "the issuer is stopping").WithHint("try again in a moment")
	errState    = brevet.Errorf(brevet.Unavailable, "the issuer's own database does not answer; nothing was signed").
			WithHint("try again; if it goes on, the server's log says why")
	errDamaged = brevet.Errorf(brevet.Unavailable, "the issuer's own database is damaged; nothing was signed").
			WithHint("stop the server, and put its whole data folder back from the backup")
)

// failed turns an error of the database into one that says so.
func failed(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*brevet.Error](err); ok {
		return err
	}
	if sqlite.Damaged(err) {
		return errDamaged.Because(err)
	}
	return errState.Because(err)
}
