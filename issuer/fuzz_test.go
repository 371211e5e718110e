package issuer

import (
	"slices"
	"testing"

	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
)

// FuzzFollow changes one thing in a good feed: a leaf's kind, subject or body, the checkpoint, or
// which leaves and statements are there. The issuer takes in nothing but the good one.
func FuzzFollow(f *testing.F) {
	w := newWorld(f, prooftest.Options{})
	w.Append(w.Revocation("alice", statement.RevokePerson, "frank"))
	request := w.Ask("bob", "web-root", nil)
	w.Approve("carol", request, 0, nil)
	good := w.feed()
	before := w.issuer.knows()
	f.Add(0, 0, byte(1), []byte("x"))
	f.Add(1, 1, byte(0x20), []byte("intent"))
	f.Add(2, 2, byte(3), []byte{})
	f.Add(3, 9, byte(4), []byte("\n"))
	f.Fuzz(func(t *testing.T, what, at int, flip byte, with []byte) {
		feed := good
		feed.Leaves, feed.Checkpoint = slices.Clone(good.Leaves), slices.Clone(good.Checkpoint)
		leaf := &feed.Leaves[uint(at)%uint(len(feed.Leaves))]
		switch uint(what) % 7 {
		case 0:
			leaf.Kind = string(with)
		case 1:
			leaf.Subject = string(with)
		case 2:
			leaf.Body[uint(at)%32] ^= flip
		case 3:
			feed.Checkpoint[uint(at)%uint(len(feed.Checkpoint))] ^= flip
		case 4:
			feed.Checkpoint = with
		case 5:
			feed.Leaves = slices.Insert(feed.Leaves, int(uint(at)%uint(len(feed.Leaves)+1)), audit.Leaf{Kind: string(with), Subject: "x"})
		case 6:
			feed.Entries = nil
		}
		same := slices.Equal(feed.Leaves, good.Leaves) && string(feed.Checkpoint) == string(good.Checkpoint) && len(feed.Entries) == len(good.Entries)
		if _, _, err := w.issuer.examine(t.Context(), before, feed); (err == nil) != same {
			t.Fatalf("changed %v, and got %v", !same, err)
		}
	})
}

// FuzzBundles gives the issuer bundles and intents that are none.
func FuzzBundles(f *testing.F) {
	w := newWorld(f, prooftest.Options{})
	request, approval := w.agreed()
	bundle := w.Bundle(request, approval)
	intent := w.prepare(bundle)
	leaf := w.logIntent(intent)
	f.Add(uint(3), []byte("x"))
	f.Add(uint(0), []byte(`{}`))
	f.Fuzz(func(t *testing.T, at uint, with []byte) {
		splice := func(b []byte) []byte {
			at := min(at, uint(len(b)))
			return slices.Concat(b[:at], with, b[min(at+uint(len(with)), uint(len(b))):])
		}
		if bad := splice(bundle); string(bad) != string(bundle) {
			if _, err := w.issuer.Issue(t.Context(), intent, leaf, bad); err == nil {
				t.Fatal("issued on a bundle that was changed")
			}
			w.issuer.Prepare(t.Context(), bad)
		}
		if bad := splice(intent); string(bad) != string(intent) {
			if _, err := w.issuer.Issue(t.Context(), bad, leaf, bundle); err == nil {
				t.Fatal("issued an intent that was changed")
			}
		}
		w.issuer.TakeBack(t.Context(), with)
	})
}
