// Package sqlite opens SQLite files for those who commit small changes all day: the store and the
// issuer. What is in the files is theirs.
package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Open opens the file that the URL names, with the driver's parameters in it, so that each
// connection keeps the statements that it has prepared. To parse and plan a statement is a quarter
// of what a small change costs, and the driver does so each time; pgx, on the other side, has a
// cache of its own. Like sql.Open it does not touch the file yet.
//
// Commits are synced with fdatasync(2), as SQLite does wherever a distribution of Linux has built it:
// as durable as fsync(2), without waiting for the file's time to be journaled as well. The driver
// keeps that choice for the process; where there is no fdatasync, fsync it remains.
func Open(url string) (*sql.DB, error) {
	_, _ = sqlite.Fdatasync(true)         // the error says that there is none
	plain, err := sql.Open("sqlite", url) // opens no connection
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	return sql.OpenDB(&connector{driver: plain.Driver(), url: url}), nil
}

// Damaged reports whether err says that the file is not as SQLite wrote it.
func Damaged(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return false
	}
	class := e.Code() & 0xff // of the extended code
	return class == sqlite3.SQLITE_CORRUPT || class == sqlite3.SQLITE_NOTADB
}

type connector struct {
	driver driver.Driver
	url    string
}

func (c *connector) Driver() driver.Driver { return c.driver }

func (c *connector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.url)
	if err != nil {
		return nil, err
	}
	all, ok := conn.(sqliteConn)
	if !ok {
		return nil, errors.Join(errors.New("the SQLite driver lacks what package sqlite needs"), conn.Close())
	}
	return &preparedConn{sqliteConn: all, idle: map[string]sqliteStmt{}}, nil
}

// sqliteConn is what the driver's connections can do and database/sql makes use of.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type sqliteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// maxPrepared bounds the statements that a connection keeps. The store has about a hundred, the issuer
// fewer, and more only where filters vary.
const maxPrepared = 200

// preparedConn is one connection with its statements. Like any connection of database/sql it
// is used by one goroutine at a time.
type preparedConn struct {
	sqliteConn
	idle map[string]sqliteStmt // by their text; one that is being used is not in it
}

func (c *preparedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if strings.Contains(query, ";") { // several at once, as in a migration
		return c.sqliteConn.ExecContext(ctx, query, args)
	}
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	result, err := s.ExecContext(ctx, args)
	return result, errors.Join(err, c.giveBack(query, s, err))
}

func (c *preparedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(ctx, args)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &preparedRows{Rows: rows, conn: c, query: query, stmt: s}, nil
}

// take returns the statement for this use alone, prepared now if it is not idle.
func (c *preparedConn) take(ctx context.Context, query string) (sqliteStmt, error) {
	if s, ok := c.idle[query]; ok {
		delete(c.idle, query)
		return s, nil
	}
	s, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	all, ok := s.(sqliteStmt)
	if !ok {
		return nil, errors.Join(errors.New("the SQLite driver lacks what package sqlite needs"), s.Close())
	}
	return all, nil
}

// giveBack keeps the statement for the next use. One that failed is not used again.
func (c *preparedConn) giveBack(query string, s sqliteStmt, failed error) error {
	if _, another := c.idle[query]; another || failed != nil || len(c.idle) >= maxPrepared {
		return s.Close()
	}
	c.idle[query] = s
	return nil
}

func (c *preparedConn) Close() error {
	var errs []error
	for _, s := range c.idle {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.sqliteConn.Close())...)
}

// preparedRows gives its statement back when it is closed.
type preparedRows struct {
	driver.Rows
	conn  *preparedConn
	query string
	stmt  sqliteStmt
}

func (r *preparedRows) Close() error {
	err := r.Rows.Close()
	if r.stmt == nil {
		return err
	}
	s := r.stmt
	r.stmt = nil
	return errors.Join(err, r.conn.giveBack(r.query, s, err))
}
