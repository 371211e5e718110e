package audit

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/brevet-pim/brevet"
)

// Head is the right edge of a tree: all that is needed to append to it and to know its
// root, without reading an older hash. The zero Head is the empty tree. It is a value:
// Append leaves its receiver as it is.
type Head struct {
	Size int64
	Edge []tlog.Hash // the roots of the complete subtrees, largest first: one for each 1 bit of Size
}

// Root returns the root of the tree (RFC 6962 §2.1).
func (h Head) Root() tlog.Hash {
	if len(h.Edge) == 0 {
		empty, _ := tlog.TreeHash(0, nil) // reads nothing when the tree is empty
		return empty
	}
	root := h.Edge[len(h.Edge)-1]
	for i := len(h.Edge) - 2; i >= 0; i-- {
		root = tlog.NodeHash(h.Edge[i], root)
	}
	return root
}

// Append returns the head with one more leaf, and the hashes that the leaf completes: its
// own, then those of the subtrees that it is the last leaf of, from small to large. The
// hash at (level, n) of the tree is the one numbered level that leaf (n+1)·2^level − 1
// completes (see Completes).
func (h Head) Append(leaf tlog.Hash) (Head, []tlog.Hash) {
	done := bits.TrailingZeros64(uint64(h.Size) + 1)
	completed := make([]tlog.Hash, 1, 1+done)
	completed[0] = leaf
	for i := range done {
		left := h.Edge[len(h.Edge)-1-i]
		completed = append(completed, tlog.NodeHash(left, completed[i]))
	}
	rest := h.Edge[:len(h.Edge)-done]
	return Head{Size: h.Size + 1, Edge: append(slices.Clip(rest), completed[done])}, completed
}

// StoredAt returns which leaf completes the hash with the stored index of package tlog,
// and which of the hashes that this leaf completes it is.
func StoredAt(stored int64) (leaf int64, level int) {
	level, n := tlog.SplitStoredHashIndex(stored)
	return (n+1)<<level - 1, level
}

// Replay returns the head that stands after the leaves were appended to h. Whoever follows
// a log without keeping it compares its Root with that of the signed checkpoint. A leaf
// that is not well formed is an Invalid error, so what was compared is what was read.
func Replay(h Head, leaves []Leaf) (Head, error) {
	for _, leaf := range leaves {
		if err := leaf.Check(); err != nil {
			return Head{}, err
		}
		h, _ = h.Append(leaf.Hash())
	}
	return h, nil
}

// MarshalBinary returns the head as 8 bytes of size, big-endian, and the edge.
func (h Head) MarshalBinary() ([]byte, error) {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(h.Edge)*tlog.HashSize), uint64(h.Size))
	for _, hash := range h.Edge {
		b = append(b, hash[:]...)
	}
	return b, nil
}

// UnmarshalBinary reads what MarshalBinary wrote. Anything else is an Invalid error.
func (h *Head) UnmarshalBinary(b []byte) error {
	if len(b) < 8 || (len(b)-8)%tlog.HashSize != 0 {
		return brevet.Errorf(brevet.Invalid, "the head of the log has a length of %d bytes", len(b))
	}
	size, edge := binary.BigEndian.Uint64(b), b[8:]
	if size>>62 != 0 || bits.OnesCount64(size) != len(edge)/tlog.HashSize {
		return brevet.Errorf(brevet.Invalid, "the head of the log has %d hashes, which do not fit a size of %d", len(edge)/tlog.HashSize, size)
	}
	*h = Head{Size: int64(size)}
	for len(edge) > 0 {
		h.Edge = append(h.Edge, tlog.Hash(edge[:tlog.HashSize]))
		edge = edge[tlog.HashSize:]
	}
	return nil
}
