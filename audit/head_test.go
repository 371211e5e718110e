package audit_test

import (
	"bytes"
	"fmt"
	"math/bits"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
)

// tree is a log in memory: its head after each size, and all of its hashes in the order of
// package tlog.
type tree struct {
	leaves []audit.Leaf
	heads  []audit.Head
	stored []tlog.Hash
}

func grow(t testing.TB, n int) *tree {
	t.Helper()
	g := &tree{heads: []audit.Head{{}}}
	for i := range n {
		leaf := leafOf(fmt.Sprint("s", i))
		// Package tlog is the reference: what it would store is what Append must complete.
		want, err := tlog.StoredHashesForRecordHash(int64(i), leaf.Hash(), g)
		if err != nil {
			t.Fatal(err)
		}
		head, completed := g.heads[i].Append(leaf.Hash())
		if !slices.Equal(completed, want) || len(completed) != completes(int64(i)) {
			t.Fatalf("leaf %d completes %d hashes, which are not those of tlog (%d)", i, len(completed), len(want))
		}
		for level := range completed {
			leaf, at := audit.StoredAt(int64(len(g.stored) + level))
			if leaf != int64(i) || at != level {
				t.Fatalf("stored hash %d is said to be %d of leaf %d", len(g.stored)+level, at, leaf)
			}
		}
		g.leaves, g.heads, g.stored = append(g.leaves, leaf), append(g.heads, head), append(g.stored, completed...)
	}
	return g
}

// ReadHashes makes g a tlog.HashReader.
func (g *tree) ReadHashes(stored []int64) ([]tlog.Hash, error) {
	var all []tlog.Hash
	for _, i := range stored {
		if i >= int64(len(g.stored)) {
			return nil, fmt.Errorf("no hash %d", i)
		}
		all = append(all, g.stored[i])
	}
	return all, nil
}

func (g *tree) checkpoint(size int) audit.Checkpoint {
	return audit.Checkpoint{Origin: "log.test", Size: int64(size), Root: g.heads[size].Root()}
}

func TestHeadIsThatOfTlog(t *testing.T) {
	g := grow(t, 200)
	for size, head := range g.heads {
		want, err := tlog.TreeHash(int64(size), g)
		if err != nil {
			t.Fatal(err)
		}
		if head.Size != int64(size) || head.Root() != want {
			t.Errorf("root of %d leaves is %v, want %v", size, head.Root(), want)
		}
		b, err := head.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var again audit.Head
		if err := again.UnmarshalBinary(b); err != nil || again.Root() != want || again.Size != head.Size {
			t.Errorf("read again: %v, %v", again, err)
		}
	}
}

// TestHeadIsAValue: a batch that is rolled back goes on from the head that it had.
func TestHeadIsAValue(t *testing.T) {
	g := grow(t, 9)
	for size := range 9 {
		before := g.heads[size].Root()
		one, _ := g.heads[size].Append(leafOf("fork").Hash())
		two, _ := g.heads[size].Append(g.leaves[size].Hash())
		if g.heads[size].Root() != before || one.Root() == two.Root() || two.Root() != g.heads[size+1].Root() {
			t.Errorf("two ways on from %d leaves are not apart", size)
		}
	}
}

func TestReplay(t *testing.T) {
	g := grow(t, 50)
	for _, from := range []int{0, 1, 31, 32, 50} {
		head, err := audit.Replay(g.heads[from], g.leaves[from:])
		if err != nil || head.Root() != g.heads[50].Root() {
			t.Errorf("from %d: %v, %v", from, head.Size, err)
		}
	}
	bad := slices.Clone(g.leaves)
	bad[7].Subject = "two\nlines"
	if _, err := audit.Replay(audit.Head{}, bad); brevet.KindOf(err) != brevet.Invalid {
		t.Errorf("a malformed leaf: %v", err)
	}
	bad[7].Subject = "another"
	if head, err := audit.Replay(audit.Head{}, bad); err != nil || head.Root() == g.heads[50].Root() {
		t.Errorf("another leaf has the same root, %v", err)
	}
}

func TestHeadRefusesOtherBytes(t *testing.T) {
	three, err := grow(t, 3).heads[3].MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "half a size": three[:4], "a hash too few": three[:len(three)-32], "a hash too many": append(slices.Clone(three), three[8:40]...),
		"half a hash": three[:len(three)-1], "a size that is negative": append([]byte{0x80, 0, 0, 0, 0, 0, 0, 1}, three[8:]...),
	} {
		head := audit.Head{Size: 7}
		if err := head.UnmarshalBinary(b); brevet.KindOf(err) != brevet.Invalid || head.Size != 7 {
			t.Errorf("%s: %v, and the head has size %d", name, err, head.Size)
		}
	}
}

func FuzzHead(f *testing.F) {
	g := grow(f, 11)
	for _, head := range g.heads {
		b, err := head.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var head audit.Head
		if head.UnmarshalBinary(b) != nil {
			return
		}
		again, err := head.MarshalBinary()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x was read as %x", b, again)
		}
		next, completed := head.Append(tlog.Hash{1})
		if next.Root() == head.Root() || next.Size != head.Size+1 || len(completed) != completes(head.Size) {
			t.Errorf("cannot append to %x", b)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	leaf := leafOf("x").Hash()
	var head audit.Head
	for b.Loop() {
		head, _ = head.Append(leaf)
	}
	head.Root()
}

// completes returns how many hashes the leaf at index completes, its own among them.
func completes(index int64) int { return 1 + bits.TrailingZeros64(uint64(index)+1) }
