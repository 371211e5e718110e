package store_test

import (
	"crypto/ed25519"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/store"
	"github.com/brevet-pim/brevet/test/storetest"
	"github.com/brevet-pim/brevet/test/testenv"
)

func refuses(t *testing.T, c store.Config, want brevet.Kind, says string) {
	t.Helper()
	s, err := store.Open(t.Context(), c)
	if err == nil {
		s.Close()
		t.Fatal("it opened")
	}
	if message, _ := brevet.MessageOf(err); brevet.KindOf(err) != want || !strings.Contains(message, says) {
		t.Errorf("got %v (%v), want %v that says %q", err, brevet.KindOf(err), want, says)
	}
}

func TestOpenRefuses(t *testing.T) {
	signer := storetest.Signer(t)
	tests := []struct {
		name   string
		config store.Config
		want   brevet.Kind
		says   string
	}{
		{name: "no database", config: store.Config{Log: signer}, want: brevet.Invalid, says: "no database"},
		{name: "no key", config: store.Config{Database: "x.db"}, want: brevet.Invalid, says: "no key"},
		{name: "another kind of database", config: store.Config{Database: "mysql://x", Log: signer}, want: brevet.Invalid, says: "mysql"},
		{name: "a folder that is not there", config: store.Config{Database: "/nowhere/at/all/x.db", Log: signer}, want: brevet.Unavailable, says: "/nowhere/at/all/x.db"},
		{name: "a URL with a mistake", config: store.Config{Database: "postgres://u:geheim@h:port/x", Log: signer}, want: brevet.Invalid, says: "cannot be read"},
		{name: "a server that does not answer", config: store.Config{Database: "postgres://u:geheim@127.0.0.1:1/x", Log: signer}, want: brevet.Unavailable, says: "does not answer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			refuses(t, tt.config, tt.want, tt.says)
			if _, err := store.Open(t.Context(), tt.config); err != nil && strings.Contains(err.Error(), "geheim") {
				t.Errorf("the password is shown: %v", err)
			}
		})
	}
}

func TestOneServerOnAFile(t *testing.T) {
	database := filepath.Join(t.TempDir(), "brevet.db")
	first := storetest.Open(t, database)
	log(t, first, "a")
	second := store.Config{Database: database, Log: storetest.Signer(t)}
	for range 2 { // the refused one must not have broken the lock
		refuses(t, second, brevet.Conflict, "another server")
	}
	log(t, first, "b")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	s := storetest.Open(t, database)
	log(t, s, "c")
	holds(t, s, nil)
}

func TestSeveralServersOnPostgres(t *testing.T) {
	database := testenv.Postgres(t)
	const servers, each = 3, 20
	var all sync.WaitGroup
	for n := range servers { // they migrate at once, too
		all.Go(func() {
			s, err := store.Open(t.Context(), store.Config{Database: database, Log: storetest.Signer(t)})
			if err != nil {
				t.Errorf("server %d: %v", n, err)
				return
			}
			defer s.Close()
			for range each {
				if _, err := s.Change(t.Context(), func(*store.Tx) ([]brevet.Event, error) { return []brevet.Event{happened("x")}, nil }); err != nil {
					t.Errorf("server %d: %v", n, err)
				}
			}
		})
	}
	all.Wait()
	s := storetest.Open(t, database)
	if s.Size() != servers*each {
		t.Errorf("the log has %d events", s.Size())
	}
	holds(t, s, nil)
}

func TestFilesAreForTheirOwner(t *testing.T) {
	dir := t.TempDir()
	log(t, storetest.Open(t, filepath.Join(dir, "brevet.db")), "a")
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode()&(fs.ModePerm&^0o600) != 0 {
			t.Errorf("%s has mode %v", f.Name(), info.Mode())
		}
	}
}

func TestOpenRefusesWhatItCannotVouchFor(t *testing.T) {
	stranger, err := audit.NewSigner(storetest.Origin, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	ours := storetest.Signer(t)
	tests := []struct {
		name      string
		statement string
		signer    *audit.Signer
		want      brevet.Kind
		says      string
	}{
		{name: "a newer schema", signer: ours, want: brevet.Conflict, says: "newer Brevet",
			statement: "insert into migrations (number, name, digest, applied_at) values (9999, '9999_later.sql', 'x', 0)"},
		{name: "another schema", signer: ours, want: brevet.Conflict, says: "another 0001_begin.sql",
			statement: "update migrations set digest = 'x' where number = 1"},
		{name: "another key", signer: stranger, want: brevet.Refused, says: "log.key is of another log", statement: "select 1"},
		{name: "no head", signer: ours, want: brevet.Refused, says: "edited", statement: "delete from heads"},
		{name: "a head that cannot be read", signer: ours, want: brevet.Refused, says: "edited", statement: "update heads set edge = checkpoint"},
		{name: "a head with another time", signer: ours, want: brevet.Refused, says: "edited", statement: "update heads set at = at + 1"},
		{name: "a newest event with another time", signer: ours, want: brevet.Refused, says: "edited", statement: "update events set at = at + 1"},
	}
	storetest.EachDatabase(t, func(t *testing.T, database string) {
		s := storetest.Open(t, database)
		log(t, s, "a")
		other(t, s, database)
		db := byHand(t, database)
		for _, table := range []string{"migrations", "heads", "events"} {
			do(t, db, "create table kept_"+table+" as select * from "+table)
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				do(t, db, tt.statement)
				refuses(t, store.Config{Database: database, Log: tt.signer}, tt.want, tt.says)
				for _, table := range []string{"migrations", "heads", "events"} {
					do(t, db, "delete from "+table)
					do(t, db, "insert into "+table+" select * from kept_"+table)
				}
			})
		}
		s = storetest.Open(t, database)
		log(t, s, "b")
		holds(t, s, nil)
	})
}

// TestPostgresThatForgets: a server that would lose what it confirmed is not used.
func TestPostgresThatForgets(t *testing.T) {
	database := testenv.Postgres(t)
	refuses(t, store.Config{Database: database + "&options=-c%20synchronous_commit%3Doff", Log: storetest.Signer(t)}, brevet.Unavailable, "synchronous_commit")
	refuses(t, store.Config{Database: database + "&options=-c%20default_transaction_read_only%3Don", Log: storetest.Signer(t)}, brevet.Unavailable, "read_only")
	// Under another default isolation a change that waited for the head must still see the newest state.
	s := storetest.Open(t, database+"&options=-c%20default_transaction_isolation%3Dserializable")
	log(t, s, "a")
}

// TestOneServerOnPostgres: a server that wants the database alone keeps others that want it so away,
// until it is gone, however it goes.
func TestOneServerOnPostgres(t *testing.T) {
	database := testenv.Postgres(t)
	open := func() (*store.Store, error) {
		return store.Open(t.Context(), store.Config{Database: database, Alone: true, Log: storetest.Signer(t)})
	}
	first, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if second, err := open(); brevet.KindOf(err) != brevet.Conflict || err == nil {
		t.Errorf("a second server: %v, %v", second, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	third, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if err := third.Close(); err != nil {
		t.Fatal(err)
	}
}
