package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/brevet-pim/brevet"
)

// dialect is what differs between the two databases, and nothing else: how to open, how to
// lock the head of the log, the lock of migrations, and what an error means.
type dialect string

const (
	onSQLite   dialect = "sqlite"
	onPostgres dialect = "postgres"
)

func dialectOf(database string) (dialect, error) {
	scheme, _, found := strings.Cut(database, "://")
	switch {
	case database == "":
		return "", brevet.Errorf(brevet.Invalid, "no database is named").WithHint("give the path of a SQLite file or a postgres:// URL")
	case !found:
		return onSQLite, nil
	case scheme == "postgres" || scheme == "postgresql":
		return onPostgres, nil
	}
	return "", brevet.Errorf(brevet.Invalid, "a database %s:// is not known", scheme).WithHint("give the path of a SQLite file or a postgres:// URL")
}

// shared reports whether other servers may write to the same database.
func (d dialect) shared() bool { return d == onPostgres }

// snapshot is the isolation under which several reads see one moment.
func (d dialect) snapshot() sql.IsolationLevel {
	if d == onPostgres {
		return sql.LevelRepeatableRead
	}
	return sql.LevelDefault // a SQLite transaction always does
}

// isolation is that of every write. On PostgreSQL it is named, since a database may have
// another default, under which a change that waited for the head would only see the past.
func (d dialect) isolation() *sql.TxOptions {
	if d == onPostgres {
		return &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	return nil
}

// forUpdate ends the query that takes the log's head. On PostgreSQL it makes changes of all
// servers wait for each other; whoever has the row sees all that was committed before
// (read committed: each statement looks anew). On SQLite the transaction has the only lock.
func (d dialect) forUpdate() string {
	if d == onPostgres {
		return " for update"
	}
	return ""
}

// verdict is what an error of the database means for what was being done.
type verdict int

const (
	ours     verdict = iota // it is about the statement: a constraint, a mistake
	again                   // another transaction was in the way: the same may succeed at once
	cut                     // the connection broke; another one may work
	away                    // the database does not answer: nothing can be done now
	full                    // it has no room
	occupied                // a row with this key is there
	damaged                 // the file is not as SQLite wrote it
)

// judge says what an error of database/sql or a driver means.
func (d dialect) judge(err error) verdict {
	if _, ok := errors.AsType[*brevet.Error](err); ok {
		return ours // a rule of ours, not the database; its cause is no matter
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return judgePostgres(e.Code)
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return judgeSQLite(e.Code())
	}
	return judgeConnection(err)
}

func judgeConnection(err error) verdict {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return away
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return away
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return cut
	}
	for _, gone := range []error{driver.ErrBadConn, sql.ErrConnDone, sql.ErrTxDone, net.ErrClosed, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, gone) {
			return cut
		}
	}
	if pgconn.SafeToRetry(err) { // pgx: the connection was gone before anything was sent
		return cut
	}
	return ours
}

// judgePostgres reads an SQLSTATE (PostgreSQL manual, appendix A).
func judgePostgres(code string) verdict {
	switch code {
	case "40001", "40P01", "55P03": // serialization failure, deadlock, lock not available
		return again
	case "23505":
		return occupied
	case "25006": // read-only: a fail-over left us with a standby
		return away
	case "25P03", "57P01", "57P02", "57P05": // we were idle in a transaction, or it is told to stop
		return cut
	case "53100": // disk full
		return full
	case "40003": // the fate of a commit is not known
		return away
	}
	switch code[:min(2, len(code))] {
	case "08", "53", "57", "58": // connection, resources, operator intervention, system
		return away
	}
	return ours
}

func judgeSQLite(code int) verdict {
	switch code {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return occupied
	}
	switch code & 0xff { // the extended code's class
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return again
	case sqlite3.SQLITE_FULL:
		return full
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return damaged
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT:
		return away
	}
	return ours
}

// fatal reports whether err is of the database and ends the transaction for everybody in it.
func (d dialect) fatal(err error) bool {
	switch d.judge(err) {
	case again, cut, away, full:
		return true
	}
	return false
}

// worthTrying reports whether what failed, and wrote nothing, may be tried once more after so
// many tries in that time.
func (d dialect) worthTrying(err error, tries int, took time.Duration) bool {
	if took > batchTime {
		return false
	}
	switch d.judge(err) {
	case again:
		return tries < maxTries
	case cut: // as may be every other connection that idles in the pool
		return tries <= postgresReaders
	}
	return false
}

// connected runs what only reads, again on another connection if the one that it got from
// the pool was cut.
func connected[T any](d dialect, read func() (T, error)) (T, error) {
	began := time.Now()
	for try := 1; ; try++ {
		v, err := read()
		if err == nil || d.judge(err) != cut || !d.worthTrying(err, try, time.Since(began)) {
			return v, err
		}
	}
}

// explain turns an error of the database into one that says what it means for the caller.
func (d dialect) explain(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*brevet.Error](err); ok {
		return err
	}
	switch d.judge(err) {
	case occupied:
		return brevet.Errorf(brevet.Conflict, "there is one already").Because(err)
	case full:
		return brevet.Errorf(brevet.Unavailable, "the database has no room left; nothing was changed").Because(err).
			WithHint("make room on its disk; it goes on by itself")
	case damaged: // Unavailable, so that what is taken away is ended without the database
		return brevet.Errorf(brevet.Unavailable, "the database is damaged").Because(err).
			WithHint("stop the server, and put its whole data folder back from the backup; then brevet audit verify and brevet doctor say whether the log is whole, and what it lacks")
	case again, cut, away:
		return brevet.Errorf(brevet.Unavailable, "the database does not answer; nothing was changed").Because(err).
			WithHint("try again; if it goes on, the server's log and brevet doctor say why")
	}
	return fmt.Errorf("database: %w", err)
}
