package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/seal"
)

// Store keeps the recordings of the control plane: a directory each, a file a chunk behind its
// link, which the Store makes. A chunk that is there is never written again. The Store holds no
// key: it follows the chain, sees no seal, and leaves to its caller whether the one who delivers
// is the session's gateway.
type Store struct {
	Dir string // "recordings", 0700, made when it is first needed
}

const (
	chunkSuffix = ".chunk"
	cutFile     = "cut.json"
)

// cutNote is what stands in cutFile.
type cutNote struct {
	Chunks int    `json:"chunks"`
	Reason string `json:"reason"`
}

// Put keeps chunks, the first of which has the given index, and returns how the recording
// then stands, and the hash of each. Once it returns they are durable. It may be repeated. The
// error is Conflict if another chunk stands there already, if they do not follow what stands
// before them, or if the recording is closed: that is an attack or a bug, and never goes away
// by itself.
func (s *Store) Put(session brevet.SessionID, first int, chunks [][]byte) (brevet.RecordingState, []Hash, error) {
	none := brevet.RecordingState{}
	dir, err := s.dir(session)
	if err != nil {
		return none, nil, err
	}
	if first < 0 || len(chunks) == 0 {
		return none, nil, brevet.Errorf(brevet.Invalid, "there is no chunk to keep")
	}
	if err := makeDir(dir); err != nil {
		return none, nil, err
	}
	end, err := s.tail(session, first)
	if err != nil {
		return none, nil, err
	}
	linked, hashes, flaw := end.follow(chunks)
	if err := s.keep(dir, session, first, linked); err != nil {
		return none, nil, err
	}
	if flaw != nil {
		return none, nil, flaw
	}
	// What is delivered is nearly always the newest, and then nothing needs to be counted.
	next := first + len(chunks)
	if _, err := os.Lstat(filepath.Join(dir, chunkName(next))); err == nil {
		state, err := s.State(session)
		return state, hashes, err
	}
	state, err := stateOf(next, linked[len(linked)-1])
	return state, hashes, err
}

// tail is the end of a recording, or of its first chunks.
type tail struct {
	next  place
	chain Hash
}

// follow links the chunks to the end, which moves behind them, and returns those that follow it, their
// hashes, and what is wrong with the next one.
func (t *tail) follow(chunks [][]byte) (linked [][]byte, hashes []Hash, flaw error) {
	for i, chunk := range chunks {
		h, _, err := parseHead(chunk)
		if err != nil {
			return linked, hashes, err
		}
		if !t.next.takes(h) {
			return linked, hashes, brevet.Errorf(brevet.Conflict, "chunk %d of %s does not follow the one before it", t.next.index, t.next.session)
		}
		if h.last && i != len(chunks)-1 {
			return linked, hashes, brevet.Errorf(brevet.Conflict, "chunk %d of %s is the last, and another follows", t.next.index, t.next.session)
		}
		var kept []byte
		kept, t.chain = link(t.chain, chunk)
		t.next.after(chunk)
		linked, hashes = append(linked, kept), append(hashes, t.chain)
	}
	return linked, hashes, nil
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
		return brevet.RecordingState{}, err
	}
	return stateOf(count, chunk)
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

// tail returns what the chunk at index must follow.
func (s *Store) tail(session brevet.SessionID, index int) (*tail, error) {
	end := &tail{next: place{session: session}, chain: seed(session)}
	if index == 0 {
		return end, nil
	}
	rec, err := s.Open(session)
	if err != nil {
		return nil, err
	}
	linked, err := rec.Chunk(index - 1)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, brevet.Errorf(brevet.Conflict, "chunk %d of %s is missing, so chunk %d cannot follow", index-1, session, index)
	}
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
	end.next.index, end.next.before = uint32(index)-1, h.before
	end.next.after(chunk)
	end.chain = sha256.Sum256(linked)
	return end, nil
}

// keep writes linked chunks, or finds the same ones there.
func (s *Store) keep(dir string, session brevet.SessionID, first int, chunks [][]byte) error {
	if len(chunks) == 0 {
		return nil
	}
	_, cut := os.Lstat(filepath.Join(dir, cutFile))
	files := make([]seal.NewFile, len(chunks))
	for i, chunk := range chunks {
		files[i] = seal.NewFile{Name: chunkName(first + i), Data: chunk}
		if cut != nil {
			continue
		}
		if same, err := holds(dir, files[i]); err != nil || !same {
			return brevet.Errorf(brevet.Conflict, "the recording of %s was closed as cut before chunk %d", session, first+i).Because(err)
		}
	}
	if cut == nil {
		return nil
	}
	there, err := seal.CreateFiles(dir, files)
	if err != nil {
		return err
	}
	for _, i := range there {
		same, err := holds(dir, files[i])
		if err != nil {
			return err
		}
		if !same {
			return brevet.Errorf(brevet.Conflict, "another chunk %d of %s is kept already", first+i, session).
				WithHint("two gateways record one session, or somebody forges: look at the audit log")
		}
	}
	return nil
}

// holds reports whether the directory has exactly that file.
func holds(dir string, file seal.NewFile) (bool, error) {
	there, err := os.ReadFile(filepath.Join(dir, file.Name))
	return err == nil && bytes.Equal(there, file.Data), err
}

// Recording is the chunks of one session in a directory. It is a Source.
type Recording struct {
	dir string
	buf []byte
}

// Chunk returns the chunk at the position behind its link, valid until the next call.
func (r *Recording) Chunk(index int) ([]byte, error) {
	f, err := os.Open(filepath.Join(r.dir, chunkName(index)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if r.buf == nil {
		r.buf = make([]byte, hashLen+MaxChunk+1)
	}
	// One byte more than any chunk has is read, so that a longer file is refused, not cut.
	n, err := io.ReadFull(f, r.buf)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("read chunk %d: %w", index, err)
	}
	return r.buf[:n], nil
}

// Count returns one more than the highest position that is taken.
func (r *Recording) Count() (int, error) {
	entries, err := os.ReadDir(r.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	count := 0
	for _, e := range entries {
		if index, ok := chunkIndex(e.Name()); ok {
			count = max(count, index+1)
		}
	}
	return count, err
}

func chunkName(index int) string { return fmt.Sprintf("%08d%s", index, chunkSuffix) }

func chunkIndex(name string) (int, bool) {
	digits, ok := strings.CutSuffix(name, chunkSuffix)
	index, err := strconv.Atoi(digits)
	return index, ok && err == nil && chunkName(index) == name
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
