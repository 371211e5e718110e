package store

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/sqlite"
)

// pools are the connections to a database. Writes have their own, so that a revocation does
// not wait until slow searches have let go of a connection.
type pools struct {
	writes *sql.DB
	reads  *sql.DB
	copies *sql.DB // of SQLite alone, see Store.copyBack
	lock   *sql.DB // keeps other servers away
	file   file    // of SQLite alone
}

// How many connections each pool has. SQLite has one writer, whatever one opens.
const (
	sqliteReaders   = 4
	postgresReaders = 12
	postgresWriters = 4 // the writer, and Work beside it
)

func (p pools) close() error {
	var errs []error
	if p.reads != nil {
		errs = append(errs, p.reads.Close())
	}
	if p.copies != nil {
		errs = append(errs, p.copies.Close())
	}
	if p.writes != nil {
		errs = append(errs, p.writes.Close())
	}
	if p.lock != nil {
		errs = append(errs, p.lock.Close())
	}
	return errors.Join(errs...)
}

func (d dialect) open(ctx context.Context, database string) (p pools, err error) {
	if d == onSQLite {
		err = p.openSQLite(ctx, database)
	} else {
		err = p.openPostgres(ctx, database)
	}
	if err != nil {
		return pools{}, errors.Join(err, p.close())
	}
	return p, nil
}

// openSQLite opens the file with one connection that writes and a pool that only reads.
func (p *pools) openSQLite(ctx context.Context, path string) (err error) {
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	if p.lock, err = lockSQLite(ctx, path); err != nil {
		return err
	}
	opened, err := touch(path)
	if err != nil {
		return err
	}
	p.file = file{path, opened}
	settings := url.Values{"_pragma": {
		"busy_timeout(10000)",
		"journal_mode(wal)",
		"synchronous(full)", // an intent survives a power cut
		"foreign_keys(1)",
		"wal_autocheckpoint(" + mostAhead + ")",
		"journal_size_limit(67108864)", // a WAL that a long reader made grow shrinks again
		"cache_size(-8000)",            // 8 MB
	}}
	settings.Set("_txlock", "immediate") // the lock is taken where it can be waited for
	if p.writes, err = sqlite.Open(sqliteURL(path, settings)); err != nil {
		return err
	}
	p.writes.SetMaxOpenConns(1)

	settings.Del("_txlock")
	if p.copies, err = sqlite.Open(sqliteURL(path, settings)); err != nil {
		return err
	}
	p.copies.SetMaxOpenConns(1)
	settings.Add("_pragma", "query_only(1)")
	if p.reads, err = sqlite.Open(sqliteURL(path, settings)); err != nil {
		return err
	}
	p.reads.SetMaxOpenConns(sqliteReaders)
	p.reads.SetMaxIdleConns(sqliteReaders)
	return nil
}

func sqliteURL(path string, settings url.Values) string {
	u := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: settings.Encode()}
	return u.String()
}

// touch makes the file, if there is none, for its owner alone: SQLite would make it readable
// to all that the umask lets. Its companions (-wal, -shm) take over the file's mode.
func touch(path string) (fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, brevet.Errorf(brevet.Unavailable, "the database %s cannot be opened", path).Because(err).
			WithHint("its folder must be there, and writable for the account of the server")
	}
	info, err := f.Stat()
	return info, errors.Join(err, f.Close())
}

// lockSQLite takes the database for this process, until what it returns is closed: two
// servers would each give what the other has heard was revoked. What is locked is an empty
// SQLite file beside the database, since that works wherever SQLite does, and the system
// lets go of it when the process dies.
func lockSQLite(ctx context.Context, path string) (*sql.DB, error) {
	if _, err := touch(path + "-lock"); err != nil {
		return nil, err
	}
	lock, err := sql.Open("sqlite", sqliteURL(path+"-lock", nil))
	if err != nil {
		return nil, err
	}
	lock.SetMaxOpenConns(1) // the one that has the lock, and stays in its transaction
	_, err = lock.ExecContext(ctx, "begin exclusive")
	if err == nil {
		return lock, nil
	}
	if onSQLite.judge(err) == again {
		err = brevet.Errorf(brevet.Conflict, "another server has the database %s open", path).
			WithHint("stop it first: one server at a time uses a database")
	}
	return nil, errors.Join(onSQLite.explain(err), lock.Close())
}

func (p *pools) openPostgres(ctx context.Context, database string) error {
	config, err := pgx.ParseConfig(database)
	if err != nil {
		// pgx takes care not to put the password into this error.
		return brevet.Errorf(brevet.Invalid, "the database's URL cannot be read").Because(err)
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 5 * time.Second
	}
	p.writes = postgresPool(*config, postgresWriters)
	p.reads = postgresPool(*config, postgresReaders)
	return checkPostgres(ctx, p.writes)
}

const (
	// aloneLock is the key of PostgreSQL's advisory lock of the one server: "brevets" in ASCII.
	aloneLock = 0x62726576657473
	// aloneWithin is how long a server waits for the one before it, which may have died just now.
	aloneWithin = 10 * time.Second
	alonePause  = 100 * time.Millisecond
)

// beAlone takes the database for this server, on a connection that does nothing else.
func (p *pools) beAlone(ctx context.Context, database string) error {
	config, err := pgx.ParseConfig(database)
	if err != nil {
		return brevet.Errorf(brevet.Invalid, "the database's URL cannot be read").Because(err)
	}
	p.lock = postgresPool(*config, 1)
	p.lock.SetConnMaxIdleTime(0) // it stays
	patient := time.After(aloneWithin)
	for {
		var got bool
		if err := p.lock.QueryRowContext(ctx, "select pg_try_advisory_lock($1)", int64(aloneLock)).Scan(&got); err != nil {
			return onPostgres.explain(err)
		}
		if got {
			return nil
		}
		select {
		case <-time.After(alonePause):
		case <-ctx.Done():
			return givenUp(ctx)
		case <-patient:
			return brevet.Errorf(brevet.Conflict, "another server uses this database").
				WithHint("stop it first: each server has an issuer of its own, and two would not know what the other gave")
		}
	}
}

// idleLimit ends the transaction of a server that stopped in the middle (SIGSTOP, a cut
// network): it would hold the log's head, and all others up.
const idleLimit = "set idle_in_transaction_session_timeout = '30s'"

func postgresPool(config pgx.ConnConfig, connections int) *sql.DB {
	db := stdlib.OpenDB(config, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, idleLimit)
		return err
	}))
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db
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
