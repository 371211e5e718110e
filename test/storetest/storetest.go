// Package storetest opens real stores for tests: SQLite in the test's folder, and PostgreSQL,
// which it starts itself. There is nothing to imitate a store, here or elsewhere.
package storetest

import (
	"crypto/ed25519"
	"path/filepath"
	"testing"

	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/store"
	"github.com/brevet-pim/brevet/test/testenv"
)

// Origin names the log of every store of this package.
const Origin = "log.test"

// Key returns the key of every log of this package. It is the same each time, so that a
// store can be closed and opened again, also by another process.
func Key() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte("a seed for tests, of thirty-two."))
}

// Signer returns what signs every log of this package.
func Signer(t testing.TB) *audit.Signer {
	t.Helper()
	signer, err := audit.NewSigner(Origin, Key())
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// New returns an empty store on SQLite, closed when the test ends.
func New(t testing.TB) *store.Store {
	t.Helper()
	return Open(t, filepath.Join(t.TempDir(), "brevet.db"))
}

// Open opens the store in the database, a path or a URL, closed when the test ends.
func Open(t testing.TB, database string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Database: database, Log: Signer(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return s
}

// Each runs the test on an empty store of each kind of database.
func Each(t *testing.T, test func(*testing.T, *store.Store)) {
	t.Helper()
	EachDatabase(t, func(t *testing.T, database string) { test(t, Open(t, database)) })
}

// EachDatabase runs the test with the name of an empty database of each kind, for tests that
// open it themselves.
func EachDatabase(t *testing.T, test func(t *testing.T, database string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, filepath.Join(t.TempDir(), "brevet.db")) })
	t.Run("postgres", func(t *testing.T) { test(t, testenv.Postgres(t)) })
}
