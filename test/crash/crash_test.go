// Package crash_test kills the real server, as a power cut would, at every fault point of the source
// and at random moments, while people ask, agree, work, revoke and are suspended; starts it again; and
// looks at what is left: everything that was answered is there, nobody has more than was agreed to,
// what was begun reaches its end without help, and the log holds.
//
// Beside that it takes away what the server needs (room on the disk, file descriptors) and sends crowds.
//
// The binary is built once, with the tag "fault" (see package fault), and an organisation is founded
// once for each kind of database. Each crash gets a copy of it.
package crash_test

import (
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var seed = flag.Uint64("crash.seed", 0, "seed of the random moments; 0 takes another one each time")

// pointIn are the ways in which the source marks a point, and those in which the issuer names the
// writes between whose two points it commits (issuer/write.go).
var (
	pointIn = regexp.MustCompile(`fault\.Point\("([^"]+)"\)`)
	builtIn = regexp.MustCompile(`fault\.Point\("issuer\." \+ w\.what \+ "\.(\w+)"\)`)
	writeIn = regexp.MustCompile(`\.write\([^"\n]+, "(\w+)", `)
	anyIn   = regexp.MustCompile(`fault\.Point\([^)]`)
)

// points returns every fault point of the source.
func points(t *testing.T) []string {
	t.Helper()
	var all, ends, writes []string
	places := 0
	err := fs.WalkDir(os.DirFS("../.."), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() && path != "." && (strings.HasPrefix(entry.Name(), ".") || path == "fault" || path == "test") {
			if err == nil {
				err = fs.SkipDir
			}
			return err
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(filepath.Join("../..", path))
		places += len(anyIn.FindAll(text, -1))
		all = append(all, groups(pointIn, text)...)
		ends = append(ends, groups(builtIn, text)...)
		if filepath.Dir(path) == "issuer" {
			writes = append(writes, groups(writeIn, text)...)
		}
		return err
	})
	must(t, err)
	if places != len(all)+len(ends) {
		t.Fatalf("the source has %d fault points, and only %d of them have names that are read here", places, len(all)+len(ends))
	}
	for _, write := range writes {
		for _, end := range ends {
			all = append(all, "issuer."+write+"."+end)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func groups(re *regexp.Regexp, text []byte) []string {
	var found []string
	for _, m := range re.FindAllSubmatch(text, -1) {
		found = append(found, string(m[1]))
	}
	return found
}

// atFounding reports whether the point is passed only before the organisation's first server runs.
func atFounding(point string) bool { return strings.HasPrefix(point, "store.migrate.") }

// often reports whether the point is passed so often that its first time says little: those of the
// store's every commit, and of the issuer's following of the log.
func often(point string) bool {
	return strings.HasPrefix(point, "store.change.") || strings.HasPrefix(point, "issuer.follow.")
}

// afterCrash are the points that only a server passes which finds what a crash has left, and a point
// for that crash.
var afterCrash = map[string]string{"flow.recording.cut": "flow.recording.put:1"}

// laterHits are the times at which points are tried that are passed often.
var laterHits = []int{4, 9, 17, 26}

// TestCrashOnSQLite kills at every point.
func TestCrashOnSQLite(t *testing.T) {
	t.Parallel()
	b := found(t, "")
	for _, point := range points(t) {
		if atFounding(point) {
			t.Run(point, func(t *testing.T) {
				t.Parallel()
				foundAgain(t, point)
			})
			continue
		}
		if first, ok := afterCrash[point]; ok {
			crash(t, b, first, point+":1")
			continue
		}
		hits := []int{1}
		if often(point) {
			hits = append(hits, laterHits...)
		}
		for _, hit := range hits {
			crash(t, b, fmt.Sprintf("%s:%d", point, hit))
		}
	}
	atRandom(t, b, 4)
}

// TestCrashOnPostgreSQL kills at a sample: between the two databases, and around what is given and taken.
func TestCrashOnPostgreSQL(t *testing.T) {
	t.Parallel()
	b := found(t, "postgres")
	for _, point := range []string{
		"store.change.commit:9", "store.change.committed:17", "flow.intended:1", "issuer.issue.committed:1", "flow.given:1",
		"flow.ending:1", "flow.suspended:1", "flow.recording.put:1",
	} {
		crash(t, b, point)
	}
	atRandom(t, b, 2)
}

// crash lives one life, with a crash at each of the points.
func crash(t *testing.T, b *base, faults ...string) {
	t.Run(strings.Join(faults, ","), func(t *testing.T) {
		t.Parallel()
		l := b.begin(t, faults...)
		l.live()
		if l.crashes != len(faults) {
			t.Fatalf("the server was killed %d times, and should have been at %v", l.crashes, faults)
		}
	})
}

// atRandom kills from outside at random moments.
func atRandom(t *testing.T, b *base, times int) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	random := rand.New(rand.NewPCG(*seed, 0))
	for i := range times {
		after := time.Duration(200+random.IntN(5000)) * time.Millisecond // of some seven seconds
		t.Run(fmt.Sprintf("random%d", i), func(t *testing.T) {
			t.Parallel()
			t.Logf("-crash.seed %d: killed from outside after %s", *seed, after)
			l := b.begin(t)
			l.killAfter(after)
			l.live()
			if l.crashes == 0 {
				t.Fatal("the server was never killed")
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
