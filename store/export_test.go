package store

import (
	"context"
	"database/sql"
	"fmt"
)

// LimitPages bounds the size of a SQLite database, in pages, as a full disk would.
func (s *Store) LimitPages(ctx context.Context, pages int) error {
	_, err := s.writes.ExecContext(ctx, fmt.Sprintf("pragma max_page_count = %d", pages))
	return err
}

// InsertPrograms returns, for each table, the operations of SQLite's program that writes a row of it.
func (s *Store) InsertPrograms(ctx context.Context) (map[string][]string, error) {
	q := s.Query(ctx)
	tables, err := list(q, value[string], "select name from sqlite_schema where type = 'table' and name not like 'sqlite_%'")
	if err != nil {
		return nil, err
	}
	programs := map[string][]string{}
	for _, table := range tables {
		programs[table], err = list(q, operation, "explain insert into "+table+" default values")
		if err != nil {
			return nil, err
		}
	}
	return programs, nil
}

// operation scans the name of an operation.
func operation(row scanner) (op string, err error) {
	var rest any
	return op, row.Scan(&rest, &op, &rest, &rest, &rest, &rest, &rest, &rest)
}

// Explained returns a Query that notes how SQLite finds the rows of each of its queries.
func (s *Store) Explained(ctx context.Context) (*Query, *[]string) {
	e := &explained{DB: s.reads}
	return &Query{ctx: ctx, on: e, dialect: s.dialect}, &e.plans
}

type explained struct {
	*sql.DB
	plans []string
}

func (e *explained) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := e.DB.QueryContext(ctx, "explain query plan "+query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, none int
		var plan string
		if err := rows.Scan(&id, &parent, &none, &plan); err != nil {
			return nil, err
		}
		e.plans = append(e.plans, plan)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return e.DB.QueryContext(ctx, query, args...)
}
