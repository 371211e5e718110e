package script_test

import (
	"database/sql"
	"path/filepath"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// edit does what somebody with the database's password can: edit SQL....
func edit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: edit SQL...")
	}
	driver, name := "sqlite", "file:"+filepath.Join(ts.Getenv("DATA"), "brevet.db")+"?_pragma=busy_timeout(10000)"
	if url := ts.Getenv("DATABASE_URL"); url != "" {
		driver, name = "pgx", url
	}
	db, err := sql.Open(driver, name)
	ts.Check(err)
	defer db.Close()
	for _, statement := range args {
		result, err := db.Exec(statement)
		if err != nil {
			ts.Fatalf("%s: %v", statement, err)
		}
		if n, err := result.RowsAffected(); err == nil && n == 0 && !strings.HasPrefix(statement, "create") {
			ts.Fatalf("%s: changed nothing", statement)
		}
	}
}
