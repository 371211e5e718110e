package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
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

// Connections to PostgreSQL, and readers beside the writer on SQLite.
const (
	postgresConnections = 16
	sqliteReaders       = 4
)

func (d dialect) open(ctx context.Context, database string) (writes, reads *sql.DB, err error) {
	if d == onSQLite {
		return openSQLite(database)
	}
	db, err := openPostgres(ctx, database)
	return db, db, err
}

// openSQLite opens the file with one connection that writes and a pool that only reads.
func openSQLite(path string) (writes, reads *sql.DB, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return nil, nil, err
	}
	// SQLite would make the file readable to all that the umask lets; its companions
	// (-wal, -shm) take over the file's mode.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, brevet.Errorf(brevet.Unavailable, "the database %s cannot be opened", path).Because(err)
	}
	if err := f.Close(); err != nil {
		return nil, nil, err
	}
	pragmas := url.Values{"_pragma": {
		"busy_timeout(10000)",
		"journal_mode(wal)",
		"synchronous(full)", // an intent survives a power cut
		"foreign_keys(1)",
		"journal_size_limit(67108864)", // a WAL that a long reader made grow shrinks again
		"cache_size(-8000)",            // 8 MB
	}}
	file := url.URL{Scheme: "file", OmitHost: true, Path: path}

	write := file
	pragmas.Set("_txlock", "immediate") // the lock is taken where it can be waited for
	write.RawQuery = pragmas.Encode()
	if writes, err = sql.Open("sqlite", write.String()); err != nil {
		return nil, nil, err
	}
	writes.SetMaxOpenConns(1)

	read := file
	pragmas.Del("_txlock")
	pragmas.Add("_pragma", "query_only(1)")
	read.RawQuery = pragmas.Encode()
	if reads, err = sql.Open("sqlite", read.String()); err != nil {
		return nil, nil, errors.Join(err, writes.Close())
	}
	reads.SetMaxOpenConns(sqliteReaders)
	reads.SetMaxIdleConns(sqliteReaders)
	return writes, reads, nil
}

func openPostgres(ctx context.Context, database string) (*sql.DB, error) {
	config, err := pgx.ParseConfig(database)
	if err != nil {
		// pgx takes care not to put the password into this error.
		return nil, brevet.Errorf(brevet.Invalid, "the database's URL cannot be read").Because(err)
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 5 * time.Second
	}
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(postgresConnections)
	db.SetMaxIdleConns(postgresConnections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	if err := checkPostgres(ctx, db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// checkPostgres refuses a server that would forget what it confirmed, or that cannot hold every text.
func checkPostgres(ctx context.Context, db *sql.DB) error {
	wanted := []struct{ setting, not, remedy string }{
		{"fsync", "off", "set fsync = on"},
		{"full_page_writes", "off", "set full_page_writes = on"},
		{"synchronous_commit", "off", "set synchronous_commit = on for Brevet's user"},
		{"server_encoding", "SQL_ASCII", "create the database with encoding UTF8"},
		{"transaction_read_only", "on", "name the primary server, not a standby"},
	}
	for _, w := range wanted {
		var value string
		if err := db.QueryRowContext(ctx, "select current_setting($1)", w.setting).Scan(&value); err != nil {
			return onPostgres.explain(err)
		}
		if value == w.not {
			return brevet.Errorf(brevet.Unavailable, "the PostgreSQL server has %s = %s, with which Brevet could lose what it confirmed", w.setting, value).WithHint("%s", w.remedy)
		}
	}
	return nil
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
	away                    // the database does not answer or has no room: nothing can be done now
	occupied                // a row with this key is there
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
	if _, ok := errors.AsType[net.Error](err); ok {
		return away
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return away
	}
	for _, gone := range []error{driver.ErrBadConn, sql.ErrConnDone, sql.ErrTxDone, context.DeadlineExceeded, context.Canceled, net.ErrClosed, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, gone) {
			return away
		}
	}
	if pgconn.SafeToRetry(err) { // pgx: the connection was gone before anything was sent
		return away
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
	}
	switch code[:2] {
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
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT:
		return away
	}
	return ours
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
	case again, away:
		return brevet.Errorf(brevet.Unavailable, "the database does not answer; nothing was changed").Because(err).
			WithHint("try again; if it goes on, the server's log and brevet doctor say why")
	}
	return fmt.Errorf("database: %w", err)
}
