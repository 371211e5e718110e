package record

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/brevet-pim/brevet"
)

func TestStorePut(t *testing.T) {
	id := identity(t)
	good, known := recorded(t, id, testSession, "good")
	twin, _ := recorded(t, id, testSession, "twin")
	other, _ := recorded(t, id, "ses_01h00000000000000000000009", "other")
	altered := bytes.Clone(good.chunks[2])
	altered[len(altered)-1] ^= 1
	within := bytes.Clone(good.chunks[2])
	within[len(within)-100] ^= 1

	tests := []struct {
		name   string
		have   int // chunks of good that are there
		first  int
		chunks [][]byte
		kind   brevet.Kind // -1: kept
		want   int         // chunks afterwards
	}{
		{"all at once", 0, 0, good.chunks, -1, 5},
		{"one after another", 2, 2, good.chunks[2:3], -1, 3},
		{"the same once more", 4, 1, good.chunks[1:3], -1, 4},
		{"the last once more", 5, 4, good.chunks[4:], -1, 5},
		{"none", 2, 2, nil, brevet.Invalid, 2},
		{"a negative index", 2, -1, good.chunks[:1], brevet.Invalid, 2},
		{"after a gap", 2, 3, good.chunks[3:], brevet.Conflict, 2},
		{"with a gap", 2, 2, [][]byte{good.chunks[2], good.chunks[4]}, brevet.Conflict, 3},
		{"at the wrong place", 2, 2, good.chunks[3:4], brevet.Conflict, 2},
		{"another chunk on top", 3, 0, twin.chunks[:1], brevet.Conflict, 3},
		{"a twin's next", 2, 2, twin.chunks[2:3], brevet.Conflict, 2},
		{"an altered one on top", 3, 2, [][]byte{altered}, brevet.Conflict, 3},
		{"one that is altered where its tag does not show it", 2, 2, [][]byte{within}, -1, 3}, // its seal will
		{"another session's", 2, 2, other.chunks[2:3], brevet.Conflict, 2},
		{"after the last", 5, 5, good.chunks[4:], brevet.Conflict, 5},
		{"no chunk", 2, 2, [][]byte{[]byte("hello")}, brevet.Invalid, 2},
		{"an enormous one", 2, 2, [][]byte{make([]byte, MaxChunk+1)}, brevet.Invalid, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &Store{Dir: filepath.Join(t.TempDir(), "recordings")}
			if tt.have > 0 {
				if _, _, err := s.Put(testSession, 0, unlinked(good.chunks[:tt.have])); err != nil {
					t.Fatal(err)
				}
			}
			state, hashes, err := s.Put(testSession, tt.first, unlinked(tt.chunks))
			if tt.kind < 0 && (err != nil || state.Chunks != tt.want || len(hashes) != len(tt.chunks)) {
				t.Errorf("got %+v, %d hashes, %v", state, len(hashes), err)
			}
			for i, c := range hashes {
				if c != sha256.Sum256(tt.chunks[i]) {
					t.Errorf("the hash of chunk %d is %s", i, c)
				}
			}
			if tt.kind >= 0 && (err == nil || brevet.KindOf(err) != tt.kind) {
				t.Errorf("got %v, want kind %v", err, tt.kind)
			}
			state, err = s.State(testSession)
			if err != nil || state.Chunks != tt.want {
				t.Errorf("state %+v, %v", state, err)
			}
			rec, _ := s.Open(testSession)
			if r := Verify(rec, testSession, Known{}); r.Chunks != tt.want || r.Bytes != state.Bytes || r.Complete != state.Complete {
				t.Errorf("report %+v, state %+v", r, state)
			}
			if state.Complete && state.Root != known.Root {
				t.Errorf("root %s", state.Root)
			}
		})
	}
	if _, _, err := (&Store{Dir: t.TempDir()}).Put("ses_../../../../../../../etc/xx", 0, good.chunks); brevet.KindOf(err) != brevet.Invalid || err == nil {
		t.Errorf("a path for a session: %v", err)
	}
}

func TestStoreCut(t *testing.T) {
	id := identity(t)
	good, _ := recorded(t, id, testSession, "good")
	s := &Store{Dir: t.TempDir()}
	if _, err := s.State(testSession); brevet.KindOf(err) != brevet.NotFound {
		t.Errorf("no recording: %v", err)
	}
	s.Put(testSession, 0, unlinked(good.chunks[:3]))
	if _, err := s.Cut(testSession, 2, "died"); brevet.KindOf(err) != brevet.Conflict {
		t.Errorf("cut before what is there: %v", err)
	}
	for range 2 {
		if state, err := s.Cut(testSession, 3, "died"); err != nil || state.Chunks != 3 || state.Complete {
			t.Errorf("cut: %+v, %v", state, err)
		}
	}
	if why, err := s.CutReason(testSession); err != nil || why != "died" {
		t.Errorf("cut for %q, %v", why, err)
	}
	if _, _, err := s.Put(testSession, 3, unlinked(good.chunks[3:])); brevet.KindOf(err) != brevet.Conflict {
		t.Errorf("grown after it was cut: %v", err)
	}
	if _, _, err := s.Put(testSession, 2, unlinked(good.chunks[2:3])); err != nil {
		t.Errorf("the same once more: %v", err)
	}
	if err := s.Remove(testSession); err != nil {
		t.Fatal(err)
	}
	if ids, err := s.Sessions(); err != nil || len(ids) != 0 {
		t.Errorf("after Remove: %v, %v", ids, err)
	}
}

// keep keeps the chunks of a recording, so many in a batch.
func keep(t testing.TB, s *Store, m *memory, each int) {
	t.Helper()
	for i := 0; i < len(m.chunks); i += each {
		if _, _, err := s.Put(testSession, i, unlinked(m.chunks[i:min(i+each, len(m.chunks))])); err != nil {
			t.Fatal(err)
		}
	}
}

func batchPath(s *Store, first int) string {
	return (&Recording{dir: filepath.Join(s.Dir, string(testSession))}).path(first)
}

// What hands do in the directory is named.
func TestStoreTampering(t *testing.T) {
	id := identity(t)
	good, _ := recorded(t, id, testSession, "good")
	flip := func(path string, at int64) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[at] ^= 1
		os.WriteFile(path, b, 0o600)
	}
	record := func(i int) int64 { return int64(lengthLen + len(good.chunks[i])) }
	tests := []struct {
		name  string
		each  int // chunks in a batch
		edit  func(s *Store)
		fault Fault
		chunk int
	}{
		{"removed", 1, func(s *Store) { os.Remove(batchPath(s, 1)) }, Missing, 1},
		{"renamed", 1, func(s *Store) { os.Rename(batchPath(s, 1), batchPath(s, 7)) }, Missing, 1},
		{"another's place", 1, func(s *Store) { os.Rename(batchPath(s, 2), batchPath(s, 1)) }, Reordered, 1},
		{"a directory", 1, func(s *Store) { os.Remove(batchPath(s, 1)); os.Mkdir(batchPath(s, 1), 0o700) }, Unread, 1},
		{"the end removed", 1, func(s *Store) { os.Remove(batchPath(s, 4)) }, Cut, 4},
		{"empty", 1, func(s *Store) { os.Truncate(batchPath(s, 1), 0) }, Altered, 1},
		{"cut short", 1, func(s *Store) { os.Truncate(batchPath(s, 1), 1000) }, Altered, 1},
		{"enormous", 1, func(s *Store) { os.Truncate(batchPath(s, 4), 1<<30) }, Foreign, 5},
		{"two removed", 2, func(s *Store) { os.Remove(batchPath(s, 2)) }, Missing, 2},
		{"the end cut within a length", 5, func(s *Store) { os.Truncate(batchPath(s, 0), 3) }, Altered, 0},
		{"cut between two", 5, func(s *Store) { os.Truncate(batchPath(s, 0), record(0)+record(1)+record(2)) }, Cut, 3},
		{"a length", 2, func(s *Store) { flip(batchPath(s, 2), 3) }, Altered, 2},
		{"an enormous length", 2, func(s *Store) { flip(batchPath(s, 2), 0) }, Altered, 2},
		{"the second one's length", 2, func(s *Store) { flip(batchPath(s, 2), record(2)+3) }, Altered, 3},
		{"nothing, and a stranger's file", 2, func(s *Store) { os.WriteFile(batchPath(s, 2)+"~", nil, 0o600) }, "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &Store{Dir: t.TempDir()}
			keep(t, s, good, tt.each)
			tt.edit(s)
			r := report(t, s, testSession, Known{}, id)
			if tt.fault == "" {
				if !r.Complete {
					t.Errorf("got %v", r.Problem)
				}
				return
			}
			if r.Problem == nil || r.Problem.Fault != tt.fault || r.Problem.Chunk != tt.chunk {
				t.Errorf("got %v", r.Problem)
			}
		})
	}
}

// TestBatches: however the chunks came, each is found, in any order, also by a Store that has just been
// opened; and what comes again in other pieces is the same.
func TestBatches(t *testing.T) {
	good, known := recorded(t, identity(t), testSession, "good")
	for each := 1; each <= len(good.chunks); each++ {
		dir := t.TempDir()
		keep(t, &Store{Dir: dir}, good, each)
		s := &Store{Dir: dir}
		rec, err := s.Open(testSession)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range []int{4, 0, 1, 3, 2, 2, 4, 3, 0} {
			if c, err := rec.Chunk(i); err != nil || !bytes.Equal(c, good.chunks[i]) {
				t.Errorf("%d in a batch: chunk %d is another one, %v", each, i, err)
			}
		}
		if _, err := rec.Chunk(5); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%d in a batch: chunk 5 is there: %v", each, err)
		}
		if n, err := rec.Count(); n != 5 || err != nil {
			t.Errorf("%d in a batch: %d chunks, %v", each, n, err)
		}
		for first := range good.chunks {
			state, _, err := s.Put(testSession, first, unlinked(good.chunks[first:]))
			if err != nil || state.Root != known.Root || state.Chunks != 5 {
				t.Errorf("%d in a batch: again from %d: %+v, %v", each, first, state, err)
			}
		}
	}
}

// TestPutBesideDamage: what is broken elsewhere in a recording keeps nothing from being kept, what is
// broken where something is to follow is final, and a gap is filled without saying anything twice.
func TestPutBesideDamage(t *testing.T) {
	good, known := recorded(t, identity(t), testSession, "good")
	bare := unlinked(good.chunks)
	tests := []struct {
		name  string
		each  int // chunks in a batch
		have  int // chunks that are there
		edit  func(t *testing.T, s *Store)
		first int
		kind  brevet.Kind // -1: kept
	}{
		{"an older batch is short", 1, 3, func(t *testing.T, s *Store) { os.Truncate(batchPath(s, 0), 2) }, 3, -1},
		{"an older batch is a directory", 1, 3, func(t *testing.T, s *Store) { os.Remove(batchPath(s, 0)); os.Mkdir(batchPath(s, 0), 0o700) }, 3, -1},
		{"the newest is short", 1, 3, func(t *testing.T, s *Store) { os.Truncate(batchPath(s, 2), 1000) }, 3, brevet.Conflict},
		{"the newest is short, again", 1, 3, func(t *testing.T, s *Store) { os.Truncate(batchPath(s, 2), 1000) }, 2, brevet.Conflict},
		{"the newest is gone", 1, 3, func(t *testing.T, s *Store) { os.Remove(batchPath(s, 2)) }, 3, brevet.Conflict},
		{"a gap", 1, 5, func(t *testing.T, s *Store) { os.Remove(batchPath(s, 2)) }, 0, -1},
		{"a gap of two", 2, 5, func(t *testing.T, s *Store) { os.Remove(batchPath(s, 2)) }, 1, -1},
		{"a gap at the beginning", 2, 5, func(t *testing.T, s *Store) { os.Remove(batchPath(s, 0)) }, 0, -1},
		{"names that are none", 2, 2, func(t *testing.T, s *Store) {
			for _, name := range []string{"-0000005", "9223372036854775807", "3", "2147483648"} {
				os.WriteFile(filepath.Join(s.Dir, string(testSession), name+keptSuffix), []byte{1}, 0o600)
			}
		}, 2, -1},
		{"other batches than before", 1, 3, func(t *testing.T, s *Store) {
			os.RemoveAll(filepath.Join(s.Dir, string(testSession)))
			keep(t, &Store{Dir: s.Dir}, &memory{chunks: good.chunks[:3]}, 3)
		}, 3, -1},
	}
	for _, tt := range tests {
		for _, anew := range []bool{false, true} { // by a Store that has seen it grow, and one that has not
			t.Run(fmt.Sprint(tt.name, " ", anew), func(t *testing.T) {
				s := &Store{Dir: t.TempDir()}
				keep(t, s, &memory{chunks: good.chunks[:tt.have]}, tt.each)
				tt.edit(t, s)
				if anew {
					s = &Store{Dir: s.Dir}
				}
				state, _, err := s.Put(testSession, tt.first, bare[tt.first:])
				if tt.kind >= 0 {
					if err == nil || brevet.KindOf(err) != tt.kind {
						t.Errorf("got %v, want kind %v", err, tt.kind)
					}
					return
				}
				if err != nil || !state.Complete || state.Root != known.Root || state.Chunks != 5 {
					t.Errorf("got %+v, %v", state, err)
				}
				if rec, err := s.Open(testSession); err != nil {
					t.Error(err)
				} else if c, err := rec.Chunk(3); err != nil || !bytes.Equal(c, good.chunks[3]) {
					t.Errorf("chunk 3 is another one, %v", err)
				}
			})
		}
	}
	s := &Store{Dir: t.TempDir()}
	if _, _, err := s.Put(testSession, 0, make([][]byte, maxPut+1)); brevet.KindOf(err) != brevet.Invalid || err == nil {
		t.Errorf("too many at a time: %v", err)
	}
}

// TestPutsAtOnce: of calls that bring the same recording in different pieces each finds what the others
// brought, and nothing stands there twice.
func TestPutsAtOnce(t *testing.T) {
	good, known := recorded(t, identity(t), testSession, "good")
	s := &Store{Dir: t.TempDir()}
	var all sync.WaitGroup
	for each := range len(good.chunks) {
		all.Go(func() {
			for i := 0; i < len(good.chunks); i += each + 1 {
				if _, _, err := s.Put(testSession, i, unlinked(good.chunks[i:min(i+each+1, len(good.chunks))])); err != nil {
					t.Errorf("%d at once, from %d: %v", each+1, i, err)
				}
			}
		})
	}
	all.Wait()
	rec, err := s.Open(testSession)
	if err != nil {
		t.Fatal(err)
	}
	if r := Verify(rec, testSession, known); !r.Complete {
		t.Errorf("report %+v", r)
	}
	size := int64(0)
	entries, err := os.ReadDir(rec.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if state, err := s.State(testSession); err != nil || size != state.Bytes+5*(lengthLen+hashLen) {
		t.Errorf("%d bytes stand there, of %+v, %v", size, state, err)
	}
}

func FuzzBatch(f *testing.F) {
	good, _ := recorded(f, identity(f), testSession, "good")
	s := newBatch(nil)
	s.add(seed(testSession), good.chunks[0][hashLen:])
	f.Add(s.data, 0)
	f.Add(append(s.data, 0, 0, 0, 1, 7), 1)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, 3)
	f.Fuzz(func(t *testing.T, data []byte, index int) {
		r := &Recording{dir: t.TempDir()}
		if err := os.WriteFile(r.path(0), data, 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := r.Count()
		if err != nil || n < 1 || n > 1+len(data)/leastLinked {
			t.Fatalf("%d chunks in %d bytes, %v", n, len(data), err)
		}
		if c, err := r.Chunk(index); err == nil && (index < 0 || index >= n || len(c) > mostLinked) {
			t.Fatalf("chunk %d of %d has %d bytes", index, n, len(c))
		}
		Verify(r, testSession, Known{})
	})
}
