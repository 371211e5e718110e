package server_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/server"
	"github.com/brevet-pim/brevet/server/config"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/test/testenv"
)

func signer(t *testing.T) statement.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := gossh.NewSignerFromSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	s, err := statement.SSHSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func founding(t *testing.T) server.Founding {
	t.Helper()
	c, files, err := catalog.Starter(catalog.Start{Admins: []brevet.PersonID{"alice"}})
	if err != nil {
		t.Fatal(err)
	}
	return server.Founding{
		Data: filepath.Join(t.TempDir(), "data"), Organisation: "Example Ltd", Founder: "alice", Signer: signer(t),
		Catalog: c, Files: files,
		Config: config.Config{Listen: "127.0.0.1:0", Address: "127.0.0.1:7443", Gateway: config.Gateway{Listen: "127.0.0.1:0", Address: "127.0.0.1:7022"}},
	}
}

func mustFound(t *testing.T, f server.Founding) server.Founded {
	t.Helper()
	done, err := server.Found(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// run runs the server of the folder until it is ready, asks it to end, and returns how it ended and what it told.
func run(t *testing.T, dir string) (string, error) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	log := &lines{ready: stop}
	err := server.Run(ctx, server.Options{Data: dir, Version: "test", Log: log})
	return log.text.String(), err
}

// lines ends the server once it says that it is ready.
type lines struct {
	text  strings.Builder
	ready func()
}

func (l *lines) Write(b []byte) (int, error) {
	if strings.Contains(string(b), "msg=ready") {
		l.ready()
	}
	return l.text.Write(b)
}

func TestFoundedServerRuns(t *testing.T) {
	f := founding(t)
	done := mustFound(t, f)
	if p := done.Profile("/key"); p.Validate() != nil {
		t.Errorf("the founder's profile is no good: %+v", p)
	}
	for range 2 { // and again
		if log, err := run(t, f.Data); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
	}
	info, err := os.Stat(f.Data)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the data folder: %v, %v", info.Mode(), err)
	}
	for _, secret := range []string{"log.key", "tls.key", "statement.key", "recorder.key", "gateway/holder.key"} {
		b, err := os.ReadFile(filepath.Join(f.Data, secret))
		if err != nil || !strings.HasPrefix(string(b), "brevet.seal") {
			t.Errorf("%s is not sealed: %v", secret, err)
		}
	}
}

func TestFoundTwiceIsRefused(t *testing.T) {
	f := founding(t)
	mustFound(t, f)
	_, err := server.Found(t.Context(), f)
	if message, hint := brevet.MessageOf(err); brevet.KindOf(err) != brevet.Conflict || !strings.Contains(hint, "brevet server --data") {
		t.Errorf("got %q, %q", message, hint)
	}
}

func TestCutOffFoundingIsFinished(t *testing.T) {
	f := founding(t)
	cut := errors.New("cut off")
	f.Tell = func(server.Founded) error { return cut }
	if _, err := server.Found(t.Context(), f); !errors.Is(err, cut) {
		t.Fatalf("got %v", err)
	}
	if _, err := run(t, f.Data); brevet.KindOf(err) != brevet.Conflict {
		t.Errorf("a server ran on half an organisation: %v", err)
	}
	var told server.Founded
	again := f
	again.Organisation, again.Tell = "Another Ltd", func(d server.Founded) error { told = d; return nil }
	done := mustFound(t, again)
	if done.Organisation != "Example Ltd" || told.Root != done.Root {
		t.Errorf("the second try founded %+v and told of %+v", done, told)
	}
	if log, err := run(t, f.Data); err != nil {
		t.Errorf("%v\n%s", err, log)
	}
}

func TestDraftOfACutOffFoundingIsNamed(t *testing.T) {
	f := founding(t)
	if err := os.Mkdir(f.Data+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := server.Found(t.Context(), f)
	if _, hint := brevet.MessageOf(err); brevet.KindOf(err) != brevet.Conflict || !strings.Contains(hint, "rm -r "+f.Data+".new") {
		t.Errorf("got %v, hint %q", err, hint)
	}
}

func TestFailedFoundingLeavesNothing(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(*server.Founding)
	}{
		{"an address that is none", func(f *server.Founding) { f.Config.Listen = "nowhere" }},
		{"a catalog that breaks a rule", func(f *server.Founding) { f.Catalog.Roles[0].Name = "Web Root" }},
		{"a name with a line end", func(f *server.Founding) { f.Organisation = "a\nb" }},
		{"a founder whose name is none", func(f *server.Founding) { f.Founder = "Alice" }},
		{"a sealing key that is not there", func(f *server.Founding) { f.Config.SealKey = "/nowhere/seal.key" }},
		{"ranges that are none", func(f *server.Founding) { f.Addresses = []string{"10.1.0.7/16"} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := founding(t)
			tt.spoil(&f)
			_, err := server.Found(t.Context(), f)
			if message, _ := brevet.MessageOf(err); err == nil || brevet.KindOf(err) == brevet.Internal {
				t.Errorf("got %v (%s), want a sentence for a person", err, message)
			}
			left, err := os.ReadDir(filepath.Dir(f.Data))
			if err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestDatabaseOfAnotherOrganisationIsRefused(t *testing.T) {
	t.Setenv("BREVET_TEST_DATABASE", testenv.Postgres(t))
	first, second := founding(t), founding(t)
	first.Config.Database, second.Config.Database = "env:BREVET_TEST_DATABASE", "env:BREVET_TEST_DATABASE"
	mustFound(t, first)
	if _, err := server.Found(t.Context(), second); err == nil || brevet.KindOf(err) == brevet.Internal {
		t.Errorf("a second organisation moved in: %v", err)
	}
	if _, err := os.Stat(second.Data); err == nil {
		t.Error("the folder of the second one stays, and could not be used")
	}
	if log, err := run(t, first.Data); err != nil {
		t.Errorf("%v\n%s", err, log)
	}
}

func TestServerIsAloneOnItsFolder(t *testing.T) {
	f := founding(t)
	mustFound(t, f)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var second error
	log := &lines{}
	log.ready = func() {
		_, second = run(t, f.Data)
		stop()
	}
	if err := server.Run(ctx, server.Options{Data: f.Data, Log: log}); err != nil {
		t.Fatalf("%v\n%s", err, log.text.String())
	}
	if brevet.KindOf(second) != brevet.Conflict {
		t.Errorf("a second server: %v", second)
	}
}

func TestServerRefusesFoldersOfOthers(t *testing.T) {
	f := founding(t)
	mustFound(t, f)
	if err := os.Chmod(f.Data, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, f.Data); brevet.KindOf(err) != brevet.Refused {
		t.Errorf("got %v", err)
	}
}
