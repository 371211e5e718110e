package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/brevet-pim/brevet"
)

// Query reads. It runs on the newest committed state, on one moment (Store.Read), or inside
// a change, where it sees what the change has written so far (Tx).
//
// Its methods take no context: a Query of a store's caller has the caller's, and one inside
// a change must not, since giving up in the middle would undo the changes of others that
// share the transaction.
type Query struct {
	ctx     context.Context
	on      executor
	dialect dialect
	broken  *error // the first error of the database; nil where nobody asks
}

// executor is *sql.DB or *sql.Tx.
type executor interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// scanner is *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

// fail notes and explains an error of the database.
func (q *Query) fail(err error) error {
	if q.broken != nil && *q.broken == nil {
		*q.broken = err
	}
	return q.dialect.explain(err)
}

// list returns what the query selects, in order.
func list[T any](q *Query, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	read := func() ([]T, error) { return scanAll(q, scan, query, args...) }
	var all []T
	var err error
	if _, pooled := q.on.(*sql.DB); pooled {
		all, err = connected(q.dialect, read)
	} else {
		all, err = read()
	}
	if err != nil {
		return nil, q.fail(err)
	}
	return all, nil
}

func scanAll[T any](q *Query, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.on.QueryContext(q.ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// errNone says that a query that wants one row found none; callers say what is missing.
var errNone = errors.New("no such row")

// one returns the only row that the query selects, or errNone.
func one[T any](q *Query, scan func(scanner) (T, error), query string, args ...any) (T, error) {
	all, err := list(q, scan, query, args...)
	if err == nil && len(all) == 0 {
		err = errNone
	}
	if err != nil {
		var none T
		return none, err
	}
	return all[0], nil
}

// named returns the only row, or a NotFound error that says what there is not.
func named[T any](q *Query, what string, id any, scan func(scanner) (T, error), query string, args ...any) (T, error) {
	found, err := one(q, scan, query, args...)
	if errors.Is(err, errNone) {
		return found, brevet.Errorf(brevet.NotFound, "there is no %s %s", what, brevet.Quote(fmt.Sprint(id)))
	}
	return found, err
}

// exec runs a statement and returns how many rows it changed.
func (q *Query) exec(query string, args ...any) (int64, error) {
	result, err := q.on.ExecContext(q.ctx, query, args...)
	if err != nil {
		return 0, q.fail(err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, q.fail(err)
	}
	return n, nil
}

// insert runs a statement that writes one new row. A row that is there is a Conflict.
func (q *Query) insert(what string, id any, query string, args ...any) error {
	_, err := q.exec(query, args...)
	if brevet.KindOf(err) == brevet.Conflict {
		return brevet.Errorf(brevet.Conflict, "there is a %s %s already", what, brevet.Quote(fmt.Sprint(id))).Because(err)
	}
	return err
}

// value scans the only column of a row.
func value[T any](row scanner) (T, error) {
	var v T
	err := row.Scan(&v)
	return v, err
}

// micros is a time as it is stored: microseconds since 1970 UTC, 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// instant scans such a time. A null is an error: it must not pass for "no end".
type instant struct{ *time.Time }

func (i instant) Scan(src any) error {
	us, ok := src.(int64)
	if !ok {
		return fmt.Errorf("a time is stored as %T", src)
	}
	*i.Time = time.Time{}
	if us != 0 {
		*i.Time = time.UnixMicro(us).UTC()
	}
	return nil
}

// packed returns v as JSON for a text column. Lists are written [] when they are empty.
func packed(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		// Only strings, numbers, lists and structs of the vocabulary come here.
		panic(fmt.Sprintf("store: pack %T: %v", v, err))
	}
	return string(b)
}

// unpack scans such a column into v, a pointer.
type unpack struct{ v any }

func (u unpack) Scan(src any) error {
	switch text := src.(type) {
	case string:
		return json.Unmarshal([]byte(text), u.v)
	case []byte:
		return json.Unmarshal(text, u.v)
	}
	return fmt.Errorf("a record is stored as %T", src)
}

// Page says which part of a list is wanted.
type Page struct {
	After string // the id that the page before ended with; "" for the first
	Limit int    // at most so many; 0 for 100, never more than MaxPage
}

// MaxPage is the longest list that one read returns.
const MaxPage = 1000

// Size returns how many the page has at most.
func (p Page) Size() int { return p.limit() }

func (p Page) limit() int {
	if p.Limit <= 0 {
		return 100
	}
	return min(p.Limit, MaxPage)
}
