package store

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/brevet-pim/brevet/test/testenv"
)

// folder is a folder of migrations: names and SQL, by turns.
func folder(files ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		m[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return m
}

func TestMigrate(t *testing.T) {
	const one, two = "create table a (id bigint primary key)", "alter table a add column b bigint"
	for name, database := range map[string]string{"sqlite": filepath.Join(t.TempDir(), "x.db"), "postgres": testenv.Postgres(t)} {
		t.Run(name, func(t *testing.T) {
			d, err := dialectOf(database)
			if err != nil {
				t.Fatal(err)
			}
			p, err := d.open(t.Context(), database)
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			steps := []struct {
				name string
				from fstest.MapFS
				want string // in the error; "" for none
			}{
				{"the second fails, and the first is undone with it", folder("0001_one.sql", one, "0002_two.sql", "create nonsense"), "0002_two.sql"},
				{"the first", folder("0001_one.sql", one), ""},
				{"the first again", folder("0001_one.sql", one), ""},
				{"both", folder("0001_one.sql", one, "0002_two.sql", two), ""},
				{"an older binary", folder("0001_one.sql", one), "newer Brevet"},
				{"one that was edited", folder("0001_one.sql", one+" ", "0002_two.sql", two), "another 0001_one.sql"},
				{"a gap", folder("0001_one.sql", one, "0003_three.sql", two), "want number 2"},
				{"no number", folder("first.sql", one), "want number 1"},
			}
			for _, tt := range steps {
				err := migrate(t.Context(), p.writes, d, tt.from)
				if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
				}
			}
			var columns int
			if err := p.writes.QueryRowContext(t.Context(), "select count(b) from a").Scan(&columns); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestMigrationLeavesNoOrphan: SQLite's foreign keys are off while tables are rebuilt, so what
// was left without its parent is looked for.
func TestMigrationLeavesNoOrphan(t *testing.T) {
	p, err := onSQLite.open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	err = migrate(t.Context(), p.writes, onSQLite, folder("0001_one.sql",
		"create table a (id bigint primary key); create table b (a bigint references a (id)); insert into b values (7)"))
	if err == nil || !strings.Contains(err.Error(), "without those that they refer to") {
		t.Errorf("got %v", err)
	}
	var on bool
	if err := p.writes.QueryRowContext(t.Context(), "pragma foreign_keys").Scan(&on); err != nil || !on {
		t.Errorf("foreign keys are on: %v, %v", on, err)
	}
}
