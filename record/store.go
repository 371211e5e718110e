package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/seal"
)

// Store keeps the recordings of the control plane: a directory each, a file for what each Put
// brought (see Recording). A chunk that is there is never written again. The Store holds no key:
// it makes the links and follows the chain, sees no seal, and leaves to its caller whether the one
// who delivers is the session's gateway.
type Store struct {
	Dir string // "recordings", 0700, made when it is first needed

	mu     sync.Mutex
	newest map[brevet.SessionID]int // first chunk of the newest batch, of recordings that grow; only a hint
}

const (
	cutFile  = "cut.json"
	maxPut   = 4 * batchChunks // chunks that one Put may bring
	maxHints = 4096            // recordings that grow, as far as the Store remembers
)

// cutNote is what stands in cutFile.
type cutNote struct {
	Chunks int    `json:"chunks"`
	Reason string `json:"reason"`
}

// Put keeps chunks, the first of which has the given index, and returns how the recording
// then stands, and the hash of each. Once it returns they are durable. It may be repeated. The
// error is Conflict if another chunk stands there already, if they do not follow what stands
// before them, if that is damaged, or if the recording is closed: that is an attack, a bug or a
// broken disk, and never goes away by itself.
func (s *Store) Put(session brevet.SessionID, first int, chunks [][]byte) (brevet.RecordingState, []Hash, error) {
	none := brevet.RecordingState{}
	dir, err := s.dir(session)
	if err != nil {
		return none, nil, err
	}
	if first < 0 || len(chunks) == 0 || len(chunks) > maxPut {
		return none, nil, brevet.Errorf(brevet.Invalid, "1 to %d chunks are kept at a time, not %d from chunk %d on", maxPut, len(chunks), first)
	}
	if err := makeDir(dir); err != nil {
		return none, nil, err
	}
	end, err := s.tail(session, first)
	if err != nil {
		return none, nil, err
	}
	fits, hashes, flaw := end.follow(chunks)
	news, err := s.keep(end, first, fits)
	if err != nil {
		return none, nil, err
	}
	if flaw != nil {
		return none, nil, flaw
	}
	if !news {
		state, err := s.State(session)
		return state, hashes, err
	}
	state, err := stateOf(first+len(chunks), fits.linked[len(chunks)-1])
	if state.Complete {
		s.note(session, -1)
	}
	return state, hashes, err
}

// tail is the end of a recording, or of its first chunks.
type tail struct {
	rec    *Recording // read up to there
	newest bool       // it is known that no batch follows the one that is read
	next   place
	chain  Hash
}

// follow links the chunks to the end, which moves behind them, and returns those that follow it, their
// hashes, and what is wrong with the next one.
func (t *tail) follow(chunks [][]byte) (fits batch, hashes []Hash, flaw error) {
	fits = newBatch(chunks)
	for i, chunk := range chunks {
		h, _, err := parseHead(chunk)
		if err != nil {
			return fits, hashes, err
		}
		if !t.next.takes(h) {
			return fits, hashes, brevet.Errorf(brevet.Conflict, "chunk %d of %s does not follow the one before it", t.next.index, t.next.session)
		}
		if h.last && i != len(chunks)-1 {
			return fits, hashes, brevet.Errorf(brevet.Conflict, "chunk %d of %s is the last, and another follows", t.next.index, t.next.session)
		}
		t.chain = fits.add(t.chain, chunk)
		t.next.after(chunk)
		hashes = append(hashes, t.chain)
	}
	return fits, hashes, nil
}

// Cut notes that the recording ends after so many chunks, without its End, and why. It may
// be repeated with the same number.
func (s *Store) Cut(session brevet.SessionID, chunks int, reason string) (brevet.RecordingState, error) {
	state, err := s.State(session)
	if err != nil && brevet.KindOf(err) != brevet.NotFound {
		return state, err
	}
	if state.Complete || state.Chunks != chunks {
		return state, brevet.Errorf(brevet.Conflict, "%s has %d chunks and is not cut after %d", session, state.Chunks, chunks)
	}
	dir, _ := s.dir(session) // State has checked the id
	if err := makeDir(dir); err != nil {
		return state, err
	}
	note, err := json.Marshal(cutNote{chunks, reason[:min(len(reason), maxReason)]})
	if err != nil {
		return state, err
	}
	if err := seal.CreateFile(filepath.Join(dir, cutFile), note); err != nil && !errors.Is(err, fs.ErrExist) {
		return state, err
	}
	s.note(session, -1)
	return state, nil
}

// CutReason returns why the recording is cut, or "" if nobody has said so.
func (s *Store) CutReason(session brevet.SessionID) (string, error) {
	dir, err := s.dir(session)
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(filepath.Join(dir, cutFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	var note cutNote
	if err == nil {
		err = json.Unmarshal(b, &note)
	}
	return note.Reason, err
}

// State returns how a recording stands by its chunks: it is Complete once the last one is
// there, which then gives the Root. Verify says whether what stands there is sound. The
// error is NotFound if there is no chunk.
func (s *Store) State(session brevet.SessionID) (brevet.RecordingState, error) {
	rec, err := s.Open(session)
	if err != nil {
		return brevet.RecordingState{}, err
	}
	count, err := rec.Count()
	if err != nil {
		return brevet.RecordingState{}, err
	}
	if count == 0 {
		return brevet.RecordingState{}, brevet.Errorf(brevet.NotFound, "there is no recording of %s", session)
	}
	chunk, err := rec.Chunk(count - 1)
	if err != nil {
		return brevet.RecordingState{}, damaged(session, count-1, err)
	}
	state, err := stateOf(count, chunk)
	return state, damaged(session, count-1, err)
}

// stateOf returns how a recording stands by its newest chunk, behind its link.
func stateOf(count int, linked []byte) (brevet.RecordingState, error) {
	_, chunk, err := unlink(linked)
	if err != nil {
		return brevet.RecordingState{}, err
	}
	h, _, err := parseHead(chunk)
	if err != nil {
		return brevet.RecordingState{}, err
	}
	state := brevet.RecordingState{Chunks: count, Bytes: int64(h.before) + int64(len(chunk)), Complete: h.last}
	if h.last {
		state.Root = Hash(sha256.Sum256(linked)).String()
	}
	return state, nil
}

// Open returns the chunks of a session. A session that has none opens too.
func (s *Store) Open(session brevet.SessionID) (*Recording, error) {
	dir, err := s.dir(session)
	return &Recording{dir: dir}, err
}

// Sessions lists the sessions that have a recording, in the order of their beginning.
func (s *Store) Sessions() ([]brevet.SessionID, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var ids []brevet.SessionID
	for _, e := range entries {
		if id, err := brevet.ParseSessionID(e.Name()); err == nil && e.IsDir() {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, err
}

// Remove erases a recording, chunks and all: retention is over, and nothing holds it.
func (s *Store) Remove(session brevet.SessionID) error {
	dir, err := s.dir(session)
	if err != nil {
		return err
	}
	s.note(session, -1)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return seal.SyncDir(s.Dir)
}

// dir returns the session's directory. Only a well-formed id becomes part of a path.
func (s *Store) dir(session brevet.SessionID) (string, error) {
	if _, err := brevet.ParseSessionID(string(session)); err != nil {
		return "", err
	}
	return filepath.Join(s.Dir, string(session)), nil
}

// note remembers the first chunk of the newest batch; negative: nothing more will come.
func (s *Store) note(session brevet.SessionID, first int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if first < 0 {
		delete(s.newest, session)
		return
	}
	if s.newest == nil || len(s.newest) >= maxHints {
		s.newest = map[brevet.SessionID]int{}
	}
	s.newest[session] = first
}

// tail returns what the chunk at index must follow.
func (s *Store) tail(session brevet.SessionID, index int) (*tail, error) {
	s.mu.Lock()
	first, hinted := s.newest[session]
	s.mu.Unlock()
	end, err := s.tailFrom(session, index, first, hinted)
	if hinted && errors.Is(err, fs.ErrNotExist) { // somebody has moved the files
		s.note(session, -1)
		end, err = s.tailFrom(session, index, 0, false)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, brevet.Errorf(brevet.Conflict, "chunk %d of %s is missing, so chunk %d cannot follow", index-1, session, index)
	}
	return end, damaged(session, index-1, err)
}

// tailFrom is tail that looks first in the batch that begins with the chunk first.
func (s *Store) tailFrom(session brevet.SessionID, index, first int, newest bool) (*tail, error) {
	rec, err := s.Open(session)
	end := &tail{rec: rec, next: place{session: session}, chain: seed(session)}
	if err != nil || index == 0 {
		return end, err
	}
	rec.enter(first)
	linked, err := rec.Chunk(index - 1)
	if err != nil {
		return nil, err
	}
	_, chunk, err := unlink(linked)
	if err != nil {
		return nil, err
	}
	h, _, err := parseHead(chunk)
	if err != nil {
		return nil, err
	}
	if h.last {
		return nil, brevet.Errorf(brevet.Conflict, "the recording of %s is closed after chunk %d", session, index-1)
	}
	end.newest = newest && rec.first == first
	end.next.index, end.next.before = uint32(index)-1, h.before
	end.next.after(chunk)
	end.chain = sha256.Sum256(linked)
	return end, nil
}

// damaged makes of what is wrong with a chunk that is kept an error that is final: nothing mends it.
func damaged(session brevet.SessionID, index int, err error) error {
	if err == nil || brevet.KindOf(err) != brevet.Invalid {
		return err
	}
	return brevet.Errorf(brevet.Conflict, "chunk %d of %s is not as it was kept: %v", index, session, err).Because(err)
}

// keep writes chunks that follow the end, or finds the same ones there, and reports whether some are news
// and nothing is behind them. Once it returns all of them are durable.
func (s *Store) keep(end *tail, first int, fits batch) (news bool, err error) {
	session, rec := end.next.session, end.rec
	_, open := os.Lstat(filepath.Join(rec.dir, cutFile))
	for i, chunk := range fits.linked {
		there, err := rec.Chunk(first + i)
		if errors.Is(err, fs.ErrNotExist) {
			if open == nil {
				return false, brevet.Errorf(brevet.Conflict, "the recording of %s was closed as cut before chunk %d", session, first+i)
			}
			behind := math.MaxInt // where the next batch begins, if a gap is to be filled
			if !end.newest {
				if behind, err = rec.after(first + i); err != nil {
					return false, err
				}
			}
			err = seal.CreateFile(rec.path(first+i), fits.part(i, min(len(fits.linked), behind-first)))
			if err == nil && behind == math.MaxInt {
				s.note(session, first+i)
				return true, nil
			}
			if err == nil || errors.Is(err, fs.ErrExist) { // another call may have brought it just now
				there, err = rec.Chunk(first + i)
			}
		}
		if err != nil {
			return false, damaged(session, first+i, err)
		}
		if !bytes.Equal(there, chunk) {
			return false, brevet.Errorf(brevet.Conflict, "another chunk %d of %s is kept already", first+i, session).
				WithHint("two gateways record one session, or somebody forges: look at the audit log")
		}
	}
	return false, seal.SyncDir(rec.dir) // whoever wrote them may not have come so far
}

// makeDir makes a directory for its owner only, and its parents, durably.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return seal.SyncDir(filepath.Dir(dir))
}
