package store_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/store"
	"github.com/brevet-pim/brevet/test/storetest"
	"github.com/brevet-pim/brevet/test/testenv"
)

// writer is the program test/fault/writer, built with fault points, and what it was told so far.
type writer struct {
	binary, database string
	runs             int
	tried            []string
	done             map[string]bool
	saved            []byte // the newest checkpoint that was seen
}

func newWriter(binary, database string) *writer {
	return &writer{binary: binary, database: database, done: map[string]bool{}}
}

func buildWriter(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "writer")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", "fault", "-o", binary, "../test/fault/writer").CombinedOutput()
	if err != nil {
		t.Fatalf("build the writer: %v\n%s", err, out)
	}
	return binary
}

// points returns the fault points of this package, from its source.
func points(t *testing.T) (all []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(`fault\.Point\("([^"]+)"\)`).FindAllStringSubmatch(string(text), -1) {
			all = append(all, found[1])
		}
	}
	if len(all) < 7 {
		t.Fatalf("found only the fault points %v", all)
	}
	return all
}

// run runs the writer with the fault armed, and kills it after so many changes were done (0: never).
func (w *writer) run(t *testing.T, fault string, killAfter int, args ...string) (killed bool) {
	t.Helper()
	w.runs++
	args = append([]string{"-database", w.database, "-name", "run" + strconv.Itoa(w.runs)}, args...)
	cmd := exec.CommandContext(t.Context(), w.binary, args...)
	cmd.Env = append(os.Environ(), "BREVET_FAULT="+fault)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		word, name, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "try":
			w.tried = append(w.tried, name)
		case "done":
			w.done[name] = true
			if done++; done == killAfter {
				cmd.Process.Kill()
			}
		}
	}
	err = cmd.Wait()
	exit, failed := errors.AsType[*exec.ExitError](err)
	if failed {
		status, ok := exit.Sys().(syscall.WaitStatus)
		killed = ok && status.Signal() == syscall.SIGKILL
	}
	if err != nil && !killed {
		t.Fatalf("the writer: %v", err)
	}
	return killed
}

// check opens what the writer has left: nothing that it was told is lost, no event is
// without its rows nor rows without their event, and the log extends what was seen of it.
func (w *writer) check(t *testing.T) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Database: w.database, Log: storetest.Signer(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	v := verify(t, s, w.saved)
	if v.Problem != nil {
		t.Fatalf("the log does not hold: %v", v.Problem)
	}
	w.saved = v.Signed
	there := map[string]int{}
	for from := int64(0); from < v.Events; {
		page, err := s.Query(t.Context()).Entries(from, store.MaxPage)
		if err != nil || len(page) == 0 {
			t.Fatalf("%d entries from %d: %v", len(page), from, err)
		}
		for _, e := range page {
			there[e.Subject]++
		}
		from += int64(len(page))
	}
	jobs := w.jobs(t, s)
	for _, name := range w.tried {
		_, err := s.Query(t.Context()).Token(name)
		switch n := there[name]; {
		case n > 1:
			t.Errorf("%s stands %d times in the log", name, n)
		case w.done[name] && n == 0:
			t.Errorf("%s was done and is lost", name)
		case (n == 1) != (err == nil) || (n == 1) != jobs[name]:
			t.Errorf("%s stands %d times in the log, its row: %v, its job: %v", name, n, err, jobs[name])
		}
		delete(there, name)
	}
	if len(there) > 0 {
		t.Errorf("nobody tried %v", there)
	}
}

func (w *writer) jobs(t *testing.T, s *store.Store) map[string]bool {
	t.Helper()
	rows, err := byHand(t, w.database).QueryContext(t.Context(), "select subject from jobs where done_at = 0")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	found := map[string]bool{}
	for rows.Next() {
		var subject string
		if err := rows.Scan(&subject); err != nil {
			t.Fatal(err)
		}
		found[subject] = true
	}
	return found
}

// TestCrash kills a real process at each fault point of the store, and from outside, and
// looks at what is left. On PostgreSQL it does so at those around the commit.
func TestCrash(t *testing.T) {
	binary := buildWriter(t)
	t.Run("sqlite", func(t *testing.T) {
		database := filepath.Join(t.TempDir(), "brevet.db")
		w := newWriter(binary, database)
		for _, point := range points(t) {
			for _, hit := range []string{"", ":3"} {
				if strings.HasPrefix(point, "store.migrate.") {
					if hit != "" {
						continue // a process migrates once
					}
					w.database = filepath.Join(t.TempDir(), "brevet.db")
				} else {
					w.database = database
				}
				if !w.run(t, point+hit, 0) {
					t.Errorf("the writer was not killed at %s%s", point, hit)
				}
				if w.database == database {
					w.check(t)
				} else {
					newWriter(binary, w.database).check(t)
				}
			}
		}
		for _, after := range []int{1, 17, 90} {
			if !w.run(t, "", after) {
				t.Errorf("the writer ended before it was killed")
			}
			w.check(t)
		}
		if w.run(t, "", 0) {
			t.Errorf("the writer was killed")
		}
		w.check(t)
	})
	t.Run("postgres", func(t *testing.T) {
		w := newWriter(binary, testenv.Postgres(t))
		for _, fault := range []string{"store.migrate.commit", "store.change.commit:2", "store.change.committed"} {
			if !w.run(t, fault, 0) {
				t.Errorf("the writer was not killed at %s", fault)
			}
			w.check(t)
		}
		if !w.run(t, "", 17) {
			t.Errorf("the writer ended before it was killed")
		}
		w.check(t)
	})
}

// TestPointsAreListed: a run says which points it passed, so that a test can find out.
func TestPointsAreListed(t *testing.T) {
	list := filepath.Join(t.TempDir(), "points")
	t.Setenv("BREVET_FAULT_LIST", list)
	w := newWriter(buildWriter(t), filepath.Join(t.TempDir(), "brevet.db"))
	if w.run(t, "", 0) {
		t.Error("the writer was killed")
	}
	text, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	got, want := strings.Fields(string(text)), points(t)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("passed %v, want %v", got, want)
	}
}

// TestDiskFull lets a real process run against a limit on the length of files, which fails
// its writes in the middle of a commit, and then takes the limit away.
func TestDiskFull(t *testing.T) {
	binary := buildWriter(t)
	for _, room := range []string{"300000", "303000", "700001"} {
		w := newWriter(binary, filepath.Join(t.TempDir(), "brevet.db"))
		w.run(t, "", 0, "-room", room, "-writers", "2", "-changes", "5")
		w.check(t)
		failed := slices.DeleteFunc(slices.Clone(w.tried), func(name string) bool { return w.done[name] })
		if len(failed) != 1 || !strings.Contains(failed[0], "fill") || len(w.done) < 10 {
			t.Errorf("room for %s bytes: %v failed, %d were done", room, failed, len(w.done))
		}
	}
}

func TestNoRoom(t *testing.T) {
	s := storetest.New(t)
	big := func(pages int) error {
		if err := s.LimitPages(t.Context(), pages); err != nil {
			t.Fatal(err)
		}
		return try(t, s, func(tx *store.Tx) error { _, err := tx.PutManifest(make([]byte, 1<<20)); return err })
	}
	err := big(200)
	message, hint := brevet.MessageOf(err)
	if brevet.KindOf(err) != brevet.Unavailable || !strings.Contains(message, "no room") || hint == "" {
		t.Errorf("got %v", err)
	}
	if err := big(1 << 20); err != nil { // it goes on by itself
		t.Error(err)
	}
	if s.Size() != 1 {
		t.Errorf("the log has %d events", s.Size())
	}
	holds(t, s, nil)
}
