package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/fault"
)

//go:embed migrations/*.sql
var files embed.FS

// migrations are applied in the order of their numbers, forward only. What was released is
// never edited: a change is a new file.
var migrations, _ = fs.Sub(files, "migrations") // the path is valid, so this does not fail

// migration is one file: 0001_begin.sql has number 1.
type migration struct {
	number int
	name   string
	sql    string
	digest string
}

// migrationLock is the key of PostgreSQL's advisory lock: "brevet" in ASCII.
const migrationLock = 0x627265766574

// migrate brings the tables to the state that this binary knows, in one transaction that
// several servers may try at once. A database of a newer binary is a Conflict.
func migrate(ctx context.Context, db *sql.DB, d dialect, from fs.FS) error {
	wanted, err := readMigrations(from)
	if err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return d.explain(err)
	}
	defer conn.Close()
	if d == onSQLite {
		// Rebuilding a table drops it; with foreign keys on that would touch its children.
		// The switch has no effect inside a transaction, so it comes before.
		if _, err := conn.ExecContext(ctx, "pragma foreign_keys = off"); err != nil {
			return d.explain(err)
		}
		defer conn.ExecContext(context.WithoutCancel(ctx), "pragma foreign_keys = on")
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return d.explain(err)
	}
	defer tx.Rollback()
	if err := applyAll(ctx, tx, d, wanted); err != nil {
		return d.explain(err)
	}
	fault.Point("store.migrate.commit")
	if err := tx.Commit(); err != nil {
		return d.explain(err)
	}
	fault.Point("store.migrate.committed")
	return nil
}

func applyAll(ctx context.Context, tx *sql.Tx, d dialect, wanted []migration) error {
	if d == onPostgres { // SQLite's transaction holds the only lock already
		if _, err := tx.ExecContext(ctx, "select pg_advisory_xact_lock($1)", int64(migrationLock)); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, `create table if not exists migrations (
		number bigint primary key, name text not null, digest text not null, applied_at bigint not null)`); err != nil {
		return err
	}
	done, err := applied(ctx, tx)
	if err != nil {
		return err
	}
	if err := agree(done, wanted); err != nil {
		return err
	}
	for _, m := range wanted[len(done):] {
		if _, err := tx.ExecContext(ctx, d.schema(m.sql)); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
		if _, err := tx.ExecContext(ctx, "insert into migrations (number, name, digest, applied_at) values ($1, $2, $3, $4)",
			m.number, m.name, m.digest, time.Now().UnixMicro()); err != nil {
			return err
		}
	}
	if d == onSQLite && len(done) < len(wanted) {
		return checkForeignKeys(ctx, tx)
	}
	return nil
}

// schema returns the migration as the database likes it best. "integer primary key" is what SQLite finds
// a row by anyway. With any other key a table is two trees for it, the rows and an index, of which
// each new row changes both; if it is said to be by its key, it is one. Rows there should be small.
func (d dialect) schema(sql string) string {
	if d != onSQLite {
		return sql
	}
	return strings.NewReplacer("bigint primary key", "integer primary key", "); -- by its key", ") without rowid;").Replace(sql)
}

// agree refuses a database that was migrated by other files than ours.
func agree(done, wanted []migration) error {
	if len(done) > len(wanted) {
		return brevet.Errorf(brevet.Conflict, "the database is of a newer Brevet: it has migration %s", done[len(done)-1].name).
			WithHint("start the newer version, or restore the backup made before it was started")
	}
	for i, m := range done {
		if m.number != wanted[i].number || m.digest != wanted[i].digest {
			return brevet.Errorf(brevet.Conflict, "the database was migrated by another %s than this Brevet has", m.name).
				WithHint("it was made by a build that was never released, or somebody edited it")
		}
	}
	return nil
}

func applied(ctx context.Context, tx *sql.Tx) ([]migration, error) {
	rows, err := tx.QueryContext(ctx, "select number, name, digest from migrations order by number")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var done []migration
	for rows.Next() {
		var m migration
		if err := rows.Scan(&m.number, &m.name, &m.digest); err != nil {
			return nil, err
		}
		done = append(done, m)
	}
	return done, rows.Err()
}

func checkForeignKeys(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, "pragma foreign_key_check")
	if err != nil {
		return err
	}
	defer rows.Close()
	if rows.Next() {
		return errors.New("a migration left rows without those that they refer to")
	}
	return rows.Err()
}

// readMigrations reads NNNN_name.sql, which must be numbered from 1 without a gap.
func readMigrations(from fs.FS) ([]migration, error) {
	names, err := fs.Glob(from, "*.sql") // sorted
	if err != nil {
		return nil, err
	}
	var all []migration
	for _, name := range names {
		text, err := fs.ReadFile(from, name)
		if err != nil {
			return nil, err
		}
		digits, _, _ := strings.Cut(name, "_")
		number, err := strconv.Atoi(digits)
		if err != nil || number != len(all)+1 {
			return nil, fmt.Errorf("migration %s: want number %d", name, len(all)+1)
		}
		sum := sha256.Sum256(text)
		all = append(all, migration{number, name, string(text), hex.EncodeToString(sum[:])})
	}
	return all, nil
}
