package issuer

import (
	"crypto/rand"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/seal"
	"github.com/brevet-pim/brevet/statement"
)

func newKey(t *testing.T) seal.Key {
	t.Helper()
	var b [32]byte
	rand.Read(b[:])
	k, err := seal.NewKey(b[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestCreateTwice(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	_, err := Create(w.config.Dir, w.config.Key, prooftest.IssuerName, w.Now)
	refused(t, err, brevet.Conflict, "exists already")
	_, err = Create(filepath.Join(t.TempDir(), "x"), w.config.Key, "A b", w.Now)
	refused(t, err, brevet.Invalid, "machine name")
}

// TestKeysAreSealed looks for private keys in every file of the folder.
func TestKeysAreSealed(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	files, err := os.ReadDir(w.config.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %04o", f.Name(), info.Mode().Perm())
		}
		b, err := os.ReadFile(filepath.Join(w.config.Dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f.Name(), ".key") && !strings.HasPrefix(string(b), "brevet.seal") {
			t.Errorf("%s is not sealed", f.Name())
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct {
		name     string
		damage   func(t *testing.T, w *world)
		kind     brevet.Kind
		sentence string
	}{
		{"a folder that others can reach", func(t *testing.T, w *world) { os.Chmod(w.config.Dir, 0o750) }, brevet.Refused, "can be reached by others"},
		{"no folder", func(t *testing.T, w *world) { w.config.Dir += "-none" }, brevet.NotFound, "there is no issuer"},
		{"another sealing key", func(t *testing.T, w *world) { w.config.Key = newKey(t) }, brevet.NotFound, "is not configured"},
		{"a key that others can read", func(t *testing.T, w *world) {
			os.Chmod(filepath.Join(w.config.Dir, "statement.key"), 0o640)
		}, brevet.Refused, "can be reached by others"},
		{"keys that changed places", func(t *testing.T, w *world) {
			b, _ := os.ReadFile(filepath.Join(w.config.Dir, "ssh-host-ca.key"))
			os.WriteFile(filepath.Join(w.config.Dir, "ssh-user-ca.key"), b, 0o600)
		}, brevet.Refused, "does not open"},
		{"another root", func(t *testing.T, w *world) { w.config.Root = "2c26b46b68ffc68ff99b453c1d304134" }, brevet.Refused, "this issuer is of the organisation"},
		{"no state", func(t *testing.T, w *world) { removeState(w) }, brevet.NotFound, "an issuer that forgot what it signed must not sign"},
		{"a state that others can read", func(t *testing.T, w *world) {
			os.Chmod(filepath.Join(w.config.Dir, stateFile), 0o644)
		}, brevet.Refused, "can be reached by others"},
		{"an empty state", func(t *testing.T, w *world) {
			removeState(w)
			os.WriteFile(filepath.Join(w.config.Dir, stateFile), nil, 0o600)
		}, brevet.Refused, "is unfinished"},
		{"a damaged state", func(t *testing.T, w *world) {
			removeState(w)
			os.WriteFile(filepath.Join(w.config.Dir, stateFile), []byte(strings.Repeat("garbage", 1000)), 0o600)
		}, brevet.Refused, "is damaged"},
		{"a state of a newer version", func(t *testing.T, w *world) { edit(t, w, fmt.Sprint("pragma user_version = ", schemaVersion+1)) }, brevet.Conflict, "written by a newer Brevet"},
		{"a state of an older version", func(t *testing.T, w *world) { edit(t, w, fmt.Sprint("pragma user_version = ", schemaVersion-1)) }, brevet.Conflict, "written by an older Brevet"},
		{"a head that was edited", func(t *testing.T, w *world) {
			edit(t, w, "update issuer set edge = (select edge from issuer) || zeroblob(32)")
		}, brevet.Internal, ""},
		{"a checkpoint that was edited", func(t *testing.T, w *world) { edit(t, w, "update issuer set checkpoint = 'x'") }, brevet.Refused, "does not agree with itself"},
		{"the root removed", func(t *testing.T, w *world) { edit(t, w, "delete from entries") }, brevet.Refused, "followed a log and has no root"},
		{"a statement removed", func(t *testing.T, w *world) {
			edit(t, w, "delete from entries where idx = (select max(idx) - 2 from entries)")
		}, brevet.Refused, "does not agree with itself"},
		{"a manifest removed", func(t *testing.T, w *world) { edit(t, w, "delete from manifests") }, brevet.Refused, "the manifest of catalog 1 is missing"},
		{"a manifest that was edited", func(t *testing.T, w *world) {
			edit(t, w, "update manifests set body = replace(body, 'sre-may-ask', 'SRE-may-ask')")
		}, brevet.Refused, "is not the one that was signed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, prooftest.Options{})
			if err := w.issuer.Close(); err != nil {
				t.Fatal(err)
			}
			tt.damage(t, w)
			i, err := Open(t.Context(), w.config)
			if err == nil {
				i.Close()
			}
			if tt.kind == brevet.Internal {
				if err == nil {
					t.Error("it was opened")
				}
				return
			}
			refused(t, err, tt.kind, tt.sentence)
		})
	}
}

func removeState(w *world) {
	for _, name := range []string{stateFile, stateFile + "-wal", stateFile + "-shm"} {
		os.Remove(filepath.Join(w.config.Dir, name))
	}
}

func edit(t *testing.T, w *world, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(w.config.Dir, stateFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

func TestOneProcessOnly(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	_, err := Open(t.Context(), w.config)
	refused(t, err, brevet.Conflict, "another process has the issuer's folder")
	if err := w.issuer.Close(); err != nil {
		t.Fatal(err)
	}
	w.open(t)
}

// TestAStateOfYesterday puts an older state back: it is brought up to date by the log, and if the
// log is not the same any more, refused.
func TestAStateOfYesterday(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	old := backUp(t, w)
	request, approval := w.agreed()
	bundle := w.Bundle(request, approval)
	intent := w.prepare(bundle)
	leaf := w.logIntent(intent)
	given, err := statement.Parse(w.issue(intent, leaf, bundle).Grant.Raw)
	if err != nil {
		t.Fatal(err)
	}
	w.Append(given)
	restore(t, w, old)
	w.follow()
	_, err = w.issuer.Issue(t.Context(), intent, leaf, bundle)
	refused(t, err, brevet.Refused, "does not remember all that it gave up to place 11 of the log: its state was put back")
	_, err = w.issuer.Prepare(t.Context(), bundle)
	refused(t, err, brevet.Conflict, "is spent")
}

func backUp(t *testing.T, w *world) map[string][]byte {
	t.Helper()
	if err := w.issuer.Close(); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	b, err := os.ReadFile(filepath.Join(w.config.Dir, stateFile))
	if err != nil {
		t.Fatal(err)
	}
	files[stateFile] = b
	w.open(t)
	return files
}

func restore(t *testing.T, w *world, files map[string][]byte) {
	t.Helper()
	if err := w.issuer.Close(); err != nil {
		t.Fatal(err)
	}
	removeState(w)
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(w.config.Dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.open(t)
}

func TestSealingKeyIsChanged(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	w.config.Older = []seal.Key{w.config.Key}
	w.config.Key = newKey(t)
	w.reopen()
	w.config.Older = nil // everything was sealed anew
	w.reopen()
}

// TestClockIsPutBack is what protects ends: a clock that goes back gives nobody time.
func TestClockIsPutBack(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	request, approval := w.agreed()
	bundle := w.Bundle(request, approval)
	w.prepare(bundle)
	signed := w.Now

	w.Now = signed.Add(-time.Minute) // a little: the time stands still
	later, err := w.issuer.clock.now()
	if err != nil || !later.Equal(signed) {
		t.Errorf("got %v, %v; want %v", later, err, signed)
	}
	for _, restart := range []bool{false, true} {
		w.Now = signed.Add(-time.Hour)
		if restart {
			w.reopen()
		}
		_, err = w.issuer.Prepare(t.Context(), bundle)
		refused(t, err, brevet.Refused, "the issuer's clock is 1h0m0s behind")
		w.takeBack(w.Revocation("alice", statement.RevokePerson, "frank")) // always works
		w.Now = signed
		w.follow()
	}
	w.prepare(bundle)
}

// TestClockAhead shows that a wrong clock is found out by what people signed, and passes.
func TestClockAhead(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	request, approval := w.agreed()
	bundle := w.Bundle(request, approval)
	now := w.Now
	w.Now = now.AddDate(10, 0, 0)
	_, err := w.issuer.Prepare(t.Context(), bundle)
	refused(t, err, brevet.Refused, "is out of date")
	w.follow() // while the clock is wrong
	w.Now = now
	w.prepare(bundle)
	w.Enrol(w.Enrolment("frank", "", newSigner(t), "request")) // dated right
	w.follow()
	w.reopen()
}

func TestClosedIssuer(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	request, approval := w.agreed()
	bundle := w.Bundle(request, approval)
	if err := w.issuer.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.issuer.Prepare(t.Context(), bundle); brevet.KindOf(err) != brevet.Unavailable {
		t.Errorf("got %v", err)
	}
	w.open(t)
}

// TestOldGrantsAreForgotten keeps the state from growing, and loses nothing that counts.
func TestOldGrantsAreForgotten(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	request, approval := w.agreed()
	bundle := w.Bundle(request, approval)
	intent := w.prepare(bundle)
	leaf := w.logIntent(intent)
	w.issue(intent, leaf, bundle)
	w.Now = w.Now.AddDate(0, 0, 3)
	w.follow()
	var grants int
	if err := w.issuer.state.reads.QueryRow("select count(*) from grants").Scan(&grants); err != nil || grants != 0 {
		t.Errorf("%d grants are kept, %v", grants, err)
	}
	_, err := w.issuer.Issue(t.Context(), intent, leaf, bundle)
	refused(t, err, brevet.Refused, "the intent is older than 5m0s")
}

func newSigner(t testing.TB) statement.Signer {
	_, key := prooftest.NewKey(t)
	return key
}
