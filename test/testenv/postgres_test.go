package testenv_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/brevet-pim/brevet/test/testenv"
)

func TestPostgresGivesAFreshDatabaseEachTime(t *testing.T) {
	first, second := testenv.Postgres(t), testenv.Postgres(t)
	if first == second {
		t.Fatalf("both are %s", first)
	}
	query(t, first, "create table there (a bigint)")
	query(t, second, "create table there (a bigint)")
	if got := query(t, first, "show fsync"); got != "on" {
		t.Errorf("fsync is %q, want on", got)
	}
}

func TestPostgresKeepsWhatIsCommittedThroughACrash(t *testing.T) {
	c := testenv.PostgresCluster(t)
	url, err := c.NewDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	query(t, url, "create table kept as select 7 as a")
	c.Crash()
	if _, err := pgconn.Connect(t.Context(), url); err == nil {
		t.Fatal("it answers after it crashed")
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := query(t, url, "select a from kept"); got != "7" {
		t.Errorf("got %q, want 7", got)
	}
	if !strings.Contains(c.Log(), "ready to accept connections") {
		t.Errorf("the log does not say that it is ready:\n%s", c.Log())
	}
}

// query runs sql and returns the last row's first column, or "".
func query(t *testing.T, url, sql string) string {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	results, err := conn.Exec(t.Context(), sql).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	rows := results[len(results)-1].Rows
	if len(rows) == 0 {
		return ""
	}
	return string(rows[len(rows)-1][0])
}
