package issuer

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/seal"
	"github.com/brevet-pim/brevet/statement"
)

// errand is what a child process is told to do with an issuer's folder.
type errand struct {
	Dir    string
	Key    []byte
	Root   statement.ID
	Now    int64
	What   string // follow, issue, takeback
	Feed   Feed
	Bundle []byte // or the revocation
	Intent []byte
	Leaf   IntentLeaf
}

const errandFile = "BREVET_ERRAND"

// TestCrashChild runs an errand, if it is given one. It is not a test of its own.
func TestCrashChild(t *testing.T) {
	path := os.Getenv(errandFile)
	if path == "" {
		return
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var e errand
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatal(err)
	}
	key, err := seal.NewKey(e.Key)
	if err != nil {
		t.Fatal(err)
	}
	i, err := Open(t.Context(), Config{Dir: e.Dir, Key: key, Root: e.Root, Clock: func() time.Time { return time.UnixMicro(e.Now) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.run(t, i); err != nil {
		t.Fatal(err)
	}
}

func (e errand) run(t *testing.T, i *Issuer) (err error) {
	switch e.What {
	case "follow":
		_, err = i.Follow(t.Context(), e.Feed)
	case "issue":
		_, err = byBytes{i}.Issue(t.Context(), e.Intent, e.Leaf, e.Bundle)
	case "takeback":
		_, err = i.TakeBack(t.Context(), e.Bundle)
	default:
		err = errors.New("no errand")
	}
	return err
}

// TestCrash kills the issuer before and after each commit. Before it, nothing was done; after it
// everything, and the same bytes come out when it is asked again.
func TestCrash(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "issuer.test")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", "fault", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, what := range []string{"follow", "issue", "takeback"} {
		for _, when := range []string{"commit", "committed"} {
			t.Run(what+"."+when, func(t *testing.T) {
				w := newWorld(t, prooftest.Options{})
				request, approval := w.agreed()
				e := errand{Dir: w.config.Dir, Key: w.raw[:], Root: w.Root, What: what, Bundle: w.Bundle(request, approval)}
				switch what {
				case "follow":
					w.Append(w.Revocation("alice", statement.RevokePerson, "bob"))
					e.Feed = w.feed()
				case "issue":
					e.Intent = w.prepare(e.Bundle)
					e.Leaf = w.logIntent(e.Intent)
				case "takeback":
					e.Bundle = mustMarshal(t, w.Revocation("alice", statement.RevokePerson, "bob"))
				}
				e.Now = w.Now.UnixMicro()
				if err := w.issuer.Close(); err != nil {
					t.Fatal(err)
				}
				dieAt(t, binary, e, "issuer."+what+"."+when)
				w.open(t)
				w.afterCrash(t, e, when == "committed")
			})
		}
	}
}

// dieAt runs the errand in a process that dies at the point.
func dieAt(t *testing.T, binary string, e errand, point string) {
	t.Helper()
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "errand")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, "-test.run", "^TestCrashChild$")
	cmd.Env = append(os.Environ(), errandFile+"="+path, "BREVET_FAULT="+point)
	out, err := cmd.CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("it did not die at %s: %v\n%s", point, err, out)
	}
}

// afterCrash looks at what is left, and does the errand again.
func (w *world) afterCrash(t *testing.T, e errand, done bool) {
	t.Helper()
	count := func(table string) (n int) {
		if err := w.issuer.state.reads.QueryRow("select count(*) from " + table).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	kept := func(column, table string) (b []byte) {
		if err := w.issuer.state.reads.QueryRow("select " + column + " from " + table).Scan(&b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	table := map[string]string{"follow": "entries where idx = " + strconv.FormatInt(e.Feed.From, 10), "issue": "grants", "takeback": "heard"}[e.What]
	if got := count(table) == 1; got != done {
		t.Fatalf("it is kept: %v, want %v", got, done)
	}
	var before []byte
	if done && e.What != "follow" {
		before = kept("envelope", table)
	}
	switch e.What {
	case "follow":
		w.follow()
	case "issue":
		if r := w.issue(e.Intent, e.Leaf, e.Bundle); done && (!bytes.Equal(r.Grant.Raw, before) || !bytes.Equal(r.Certificate, kept("certificate", table))) {
			t.Error("the grant is another")
		}
	case "takeback":
		if _, suspended := w.issuer.knows().state.Suspended("bob", w.Log.Size()); suspended != done {
			t.Errorf("bob is suspended: %v", suspended)
		}
		if _, err := w.issuer.TakeBack(t.Context(), e.Bundle); err != nil {
			t.Error(err)
		}
	}
	if count(table) != 1 {
		t.Errorf("%d are kept in %s", count(table), table)
	}
}
