package record

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A recording is kept in batches, each of what one delivery brought, named after its first
// chunk and never changed. A batch is records
//
//	length (4) | link (32) | chunk
//
// and where one ends, the next begins. A file for each chunk would be some four thousand for a GiB.
const (
	keptSuffix = ".chunks"
	lengthLen  = 4

	maxFirst = 1<<31 - 1 // a chunk's place is 32 bits, of which the API takes 31

	leastLinked = hashLen + headLen + gcmTag
	mostLinked  = hashLen + MaxChunk
)

// batch is one that is to be kept.
type batch struct {
	data   []byte
	linked [][]byte // the chunks behind their links, in data
}

// newBatch returns one with room for the chunks.
func newBatch(chunks [][]byte) batch {
	size := 0
	for _, c := range chunks {
		size += lengthLen + hashLen + len(c)
	}
	return batch{data: make([]byte, 0, size)}
}

// add links the next chunk to the one with the given hash, and returns its own.
func (b *batch) add(chain Hash, chunk []byte) Hash {
	at := len(b.data) + lengthLen
	b.data = binary.BigEndian.AppendUint32(b.data, uint32(hashLen+len(chunk)))
	b.data = append(b.data, chain[:]...)
	b.data = append(b.data, chunk...)
	linked := b.data[at:]
	b.linked = append(b.linked, linked)
	return sha256.Sum256(linked)
}

// part returns the batch of the chunks from i to before j.
func (b *batch) part(i, j int) []byte {
	size := func(linked [][]byte) (n int) {
		for _, c := range linked {
			n += lengthLen + len(c)
		}
		return n
	}
	return b.data[size(b.linked[:i]):size(b.linked[:j])]
}

// Recording is the chunks of one session in a directory. It is a Source that is fastest when it is
// read in order, and serves one goroutine.
type Recording struct {
	dir string
	buf []byte

	// Where it is read.
	first  int   // chunk of the batch
	offset int64 // in the batch
	next   int   // the chunk there
}

// Chunk returns the chunk at the position behind its link, valid until the next call.
func (r *Recording) Chunk(index int) ([]byte, error) {
	if index != r.next {
		if err := r.seek(index); err != nil {
			return nil, err
		}
	}
	chunk, err := r.read()
	if errors.Is(err, io.EOF) {
		r.enter(index) // its batch is over, and if there is more, it is in the one named so
		chunk, err = r.read()
	}
	return chunk, err
}

// Count returns one more than the highest position that is taken.
func (r *Recording) Count() (int, error) {
	firsts, err := r.batches()
	if err != nil || len(firsts) == 0 {
		return 0, err
	}
	last := Recording{dir: r.dir}
	last.enter(firsts[len(firsts)-1])
	err = last.walk(maxFirst + 1)
	switch _, bad := errors.AsType[errFault](err); {
	case bad:
		return last.next + 1, nil // something is there
	case errors.Is(err, fs.ErrNotExist):
		return last.next, nil
	}
	return 0, err
}

func (r *Recording) enter(first int) { r.first, r.offset, r.next = first, 0, first }

// seek goes to a position, in the batch where it is read if that has it.
func (r *Recording) seek(index int) error {
	if r.first <= index {
		r.enter(r.first)
		if r.walk(index) == nil {
			return nil
		}
	}
	firsts, err := r.batches()
	if err != nil {
		return err
	}
	i, found := slices.BinarySearch(firsts, index)
	if !found {
		i--
	}
	if i < 0 {
		return fs.ErrNotExist
	}
	r.enter(firsts[i])
	return r.walk(index)
}

// walk goes on to a position in the batch, which may be just behind it.
func (r *Recording) walk(index int) error {
	f, err := os.Open(r.path(r.first))
	if err != nil {
		return err
	}
	defer f.Close()
	for r.next < index {
		n, err := r.length(f)
		if errors.Is(err, io.EOF) {
			return fs.ErrNotExist
		} else if err != nil {
			return err
		}
		r.offset += lengthLen + int64(n)
		r.next++
	}
	return nil
}

// read returns the chunk there and goes on to the next. At the end of the batch that is io.EOF.
func (r *Recording) read() ([]byte, error) {
	f, err := os.Open(r.path(r.first))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, err := r.length(f)
	if err != nil {
		return nil, err
	}
	if r.buf == nil {
		r.buf = make([]byte, mostLinked)
	}
	if _, err := f.ReadAt(r.buf[:n], r.offset+lengthLen); errors.Is(err, io.EOF) {
		return nil, errFault{Altered, malformed("its file is cut short")}
	} else if err != nil {
		return nil, fmt.Errorf("read chunk %d: %w", r.next, err)
	}
	r.offset += lengthLen + int64(n)
	r.next++
	return r.buf[:n], nil
}

// length returns the length of the record that is read next.
func (r *Recording) length(f *os.File) (int, error) {
	var b [lengthLen]byte
	switch n, err := f.ReadAt(b[:], r.offset); {
	case n == 0 && r.offset > 0 && errors.Is(err, io.EOF):
		return 0, io.EOF
	case errors.Is(err, io.EOF):
		return 0, errFault{Altered, malformed("its file is cut short")}
	case err != nil:
		return 0, fmt.Errorf("read chunk %d: %w", r.next, err)
	}
	n := int(binary.BigEndian.Uint32(b[:]))
	if n < leastLinked || n > mostLinked {
		return 0, errFault{Altered, malformed("its length is none that Brevet writes")}
	}
	return n, nil
}

// after returns where the first batch behind a position begins, or math.MaxInt.
func (r *Recording) after(index int) (int, error) {
	firsts, err := r.batches()
	if i, _ := slices.BinarySearch(firsts, index+1); i < len(firsts) {
		return firsts[i], err
	}
	return math.MaxInt, err
}

func (r *Recording) path(first int) string {
	return filepath.Join(r.dir, fmt.Sprintf("%08d%s", first, keptSuffix))
}

// batches lists the batches by their first chunk.
func (r *Recording) batches() ([]int, error) {
	entries, err := os.ReadDir(r.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var firsts []int
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), keptSuffix)
		first, bad := strconv.Atoi(digits)
		if ok && bad == nil && 0 <= first && first <= maxFirst && filepath.Base(r.path(first)) == e.Name() {
			firsts = append(firsts, first)
		}
	}
	slices.Sort(firsts)
	return firsts, err
}
