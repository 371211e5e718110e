package sqlite

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestPreparedStatements uses statements in every way that could mix up two uses of one.
func TestPreparedStatements(t *testing.T) {
	db, err := Open("file:" + filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	exec := func(query string, args ...any) error {
		_, err := db.ExecContext(t.Context(), query, args...)
		return err
	}
	if err := exec("create table a (id bigint primary key); insert into a values (1); insert into a values (2)"); err != nil {
		t.Fatal(err)
	}
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	const query = "select id from a where id >= $1 order by id"
	for range 3 { // the same text again while its rows are being read
		outer, err := tx.QueryContext(t.Context(), query, 1)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for outer.Next() {
			var id, inner int
			if err := outer.Scan(&id); err != nil {
				t.Fatal(err)
			}
			if err := tx.QueryRowContext(t.Context(), query, 2).Scan(&inner); err != nil {
				t.Fatal(err)
			}
			got = append(got, id, inner)
		}
		if err := outer.Close(); err != nil || fmt.Sprint(got) != "[1 2 2 2]" {
			t.Errorf("read %v, %v", got, err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		if err := exec("insert into a values ($1)", 2); err == nil {
			t.Errorf("%d: the same key was inserted twice", n)
		}
		if err := exec("insert into a values ($1)", 3+n); err != nil {
			t.Errorf("%d: after a failure: %v", n, err)
		}
	}
	if err := exec("alter table a add column b bigint"); err != nil { // what is kept is planned anew
		t.Fatal(err)
	}
	for n := range maxPrepared + 10 {
		var got int
		if err := db.QueryRowContext(t.Context(), fmt.Sprintf("select count(*) + %d from a", n)).Scan(&got); err != nil || got != n+4 {
			t.Fatalf("query %d: %d, %v", n, got, err)
		}
	}
	var got int
	if err := db.QueryRowContext(t.Context(), query, 4).Scan(&got); err != nil || got != 4 {
		t.Errorf("read %d, %v", got, err)
	}
}

// TestDamaged tells a file that is spoiled from a statement that is wrong.
func TestDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, bytes.Repeat([]byte("no pages "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path, query string
		want        bool
	}{
		{path, "select count(*) from sqlite_master", true},
		{filepath.Join(t.TempDir(), "y.db"), "select nonsense", false},
	} {
		db, err := Open("file:" + tt.path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.ExecContext(t.Context(), tt.query); err == nil || Damaged(err) != tt.want {
			t.Errorf("%s: %v, damaged %v", tt.query, err, Damaged(err))
		}
	}
}
