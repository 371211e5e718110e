package server_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/server"
)

// check runs brevet config check on the folder.
func check(t *testing.T, dir string) (said string, err error) {
	t.Helper()
	for _, cmd := range server.Commands("test") {
		if cmd.Name() != "config" {
			continue
		}
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetArgs([]string{"check", "--data", dir})
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}
	t.Fatal("there is no brevet config")
	return "", nil
}

// spoilPages overwrites all of a database but its first page, as a disk that fails may.
func spoilPages(t *testing.T, dir string) {
	path := filepath.Join(dir, "brevet.db")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 4096; i < len(b); i++ {
		b[i] = 0xff
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// What is lost comes from the backup: no hint leads to brevet init, which would refuse the folder.
func TestLostFiles(t *testing.T) {
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	put := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name    string
		spoil   func(*testing.T, string)
		says    string
		checked bool // brevet config check finds it too
	}{
		{"no sealing key", remove("seal.key"), "no sealing key", true},
		{"another sealing key", put("seal.key", strings.Repeat("ab", 32)+"\n"), "is not the one", true},
		{"no database", remove("brevet.db"), "brevet.db is missing", false},
		{"an empty database", put("brevet.db", ""), "the database has no organisation", false},
		{"a database that is none", put("brevet.db", strings.Repeat("no pages ", 1000)), "the database is damaged", false},
		{"a database with spoiled pages", spoilPages, "the database is damaged", false},
		{"no issuer", remove("issuer"), "no issuer", false},
		{"no key of the log", remove("log.key"), "log.key is missing", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := founding(t)
			mustFound(t, f)
			if said, err := check(t, f.Data); err != nil || !strings.Contains(said, "can be used") {
				t.Errorf("before: %q, %v", said, err)
			}
			tt.spoil(t, f.Data)
			_, err := run(t, f.Data)
			message, hint := brevet.MessageOf(err)
			if !strings.Contains(message, tt.says) || !strings.Contains(hint, "from the backup") {
				t.Errorf("got %q, %q", message, hint)
			}
			if _, err := check(t, f.Data); (err != nil) != tt.checked {
				t.Errorf("brevet config check: %v", err)
			}
			if _, err := os.Stat(filepath.Join(f.Data, "brevet.db")); tt.name == "no database" && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("an empty database was made: %v", err)
			}
		})
	}
}
