package audit_test

import (
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
)

func TestInclusion(t *testing.T) {
	g := grow(t, 40)
	for _, size := range []int{1, 2, 3, 7, 8, 31, 32, 33, 40} {
		c := g.checkpoint(size)
		for index := range size {
			proof, err := audit.Inclusion(int64(size), int64(index), g)
			if err != nil {
				t.Fatal(err)
			}
			if err := audit.VerifyInclusion(c, int64(index), g.leaves[index], proof); err != nil {
				t.Errorf("event %d of %d: %v", index, size, err)
			}
			for what, err := range map[string]error{
				"another leaf":  audit.VerifyInclusion(c, int64(index), leafOf("other"), proof),
				"another place": audit.VerifyInclusion(c, int64(index+1), g.leaves[index], proof),
				"no place":      audit.VerifyInclusion(c, -1, g.leaves[index], proof),
				"another root":  audit.VerifyInclusion(audit.Checkpoint{Size: c.Size, Root: tlog.Hash{1}}, int64(index), g.leaves[index], proof),
				"a longer one":  audit.VerifyInclusion(c, int64(index), g.leaves[index], append(slices.Clone(proof), tlog.Hash{})),
				"an endless one": audit.VerifyInclusion(c, int64(index), g.leaves[index],
					make([]tlog.Hash, 1<<10)),
			} {
				if err == nil {
					t.Errorf("event %d of %d: %s was taken for a proof", index, size, what)
				}
			}
			if len(proof) > 0 {
				if err := audit.VerifyInclusion(c, int64(index), g.leaves[index], proof[1:]); brevet.KindOf(err) != brevet.Refused {
					t.Errorf("event %d of %d: half a proof: %v", index, size, err)
				}
			}
		}
	}
	for _, index := range []int64{-1, 40, 41} {
		if _, err := audit.Inclusion(40, index, g); brevet.KindOf(err) != brevet.NotFound {
			t.Errorf("event %d of 40: %v", index, err)
		}
	}
	if err := audit.VerifyInclusion(g.checkpoint(1), 0, audit.Leaf{Kind: "a\n", Subject: "b"}, nil); brevet.KindOf(err) != brevet.Invalid {
		t.Errorf("a malformed leaf: %v", err)
	}
}

func TestConsistency(t *testing.T) {
	g := grow(t, 24)
	for later := range g.heads {
		for earlier := range later + 1 {
			proof, err := audit.Consistency(int64(later), int64(earlier), g)
			if err != nil {
				t.Fatal(err)
			}
			now, before := g.checkpoint(later), g.checkpoint(earlier)
			if err := audit.VerifyConsistency(now, before, proof); err != nil {
				t.Errorf("%d extends %d: %v", later, earlier, err)
			}
			forked := before
			forked.Root[0] ^= 1
			elsewhere := before
			elsewhere.Origin = "log.other"
			for what, err := range map[string]error{
				"a fork":        audit.VerifyConsistency(now, forked, proof),
				"another log":   audit.VerifyConsistency(now, elsewhere, proof),
				"a longer one":  audit.VerifyConsistency(now, before, append(slices.Clone(proof), tlog.Hash{})),
				"an endless":    audit.VerifyConsistency(now, before, make([]tlog.Hash, 1<<10)),
				"negative size": audit.VerifyConsistency(now, audit.Checkpoint{Origin: now.Origin, Size: -1, Root: before.Root}, proof),
			} {
				if err == nil {
					t.Errorf("%d and %d: %s was taken for a proof", later, earlier, what)
				}
			}
			if later > earlier {
				if err := audit.VerifyConsistency(before, now, proof); brevet.KindOf(err) != brevet.Refused {
					t.Errorf("a log cut from %d to %d: %v", later, earlier, err)
				}
			}
		}
	}
	for _, sizes := range [][2]int64{{3, 4}, {3, -1}} {
		if _, err := audit.Consistency(sizes[0], sizes[1], g); brevet.KindOf(err) != brevet.NotFound {
			t.Errorf("%v: %v", sizes, err)
		}
	}
}
