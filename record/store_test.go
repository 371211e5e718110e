package record

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
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

// What hands do in the directory is named.
func TestStoreTampering(t *testing.T) {
	id := identity(t)
	good, _ := recorded(t, id, testSession, "good")
	path := func(s *Store, name string) string { return filepath.Join(s.Dir, string(testSession), name) }
	tests := []struct {
		name  string
		edit  func(s *Store)
		fault Fault
		chunk int
	}{
		{"removed", func(s *Store) { os.Remove(path(s, chunkName(1))) }, Missing, 1},
		{"renamed", func(s *Store) { os.Rename(path(s, chunkName(1)), path(s, chunkName(7))) }, Missing, 1},
		{"copied over", func(s *Store) { os.WriteFile(path(s, chunkName(1)), good.chunks[2], 0o600) }, Reordered, 1},
		{"longer", func(s *Store) { os.WriteFile(path(s, chunkName(1)), append(slices.Clone(good.chunks[1]), 0), 0o600) }, Altered, 1},
		{"enormous", func(s *Store) { os.Truncate(path(s, chunkName(1)), 1<<30) }, Altered, 1},
		{"a directory", func(s *Store) { os.Remove(path(s, chunkName(1))); os.Mkdir(path(s, chunkName(1)), 0o700) }, Unread, 1},
		{"the end removed", func(s *Store) { os.Remove(path(s, chunkName(4))) }, Cut, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &Store{Dir: t.TempDir()}
			if _, _, err := s.Put(testSession, 0, unlinked(good.chunks)); err != nil {
				t.Fatal(err)
			}
			tt.edit(s)
			r := report(t, s, testSession, Known{}, id)
			if r.Problem == nil || r.Problem.Fault != tt.fault || r.Problem.Chunk != tt.chunk {
				t.Errorf("got %v", r.Problem)
			}
		})
	}
}
