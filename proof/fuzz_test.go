package proof_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
)

// FuzzParse splices bytes into a good bundle, or puts them in its place, and reads that: what is read
// is written back to the byte, and neither reading nor checking it comes to harm. Only the good
// one is a proof.
func FuzzParse(f *testing.F) {
	g := agreed(f)
	good, err := g.Give(g.ev, nil, nil, nil).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint(0), uint(0), []byte{})
	f.Add(uint(10), uint(1), []byte("x"))
	f.Add(uint(0), uint(len(good)), []byte(`{}`))
	f.Add(uint(len(good)/2), uint(40), []byte(`"index":9223372036854775807`))
	f.Fuzz(func(t *testing.T, at, cut uint, with []byte) {
		at = min(at, uint(len(good)))
		b := slices.Concat(good[:at], with, good[min(at+min(cut, uint(len(good))), uint(len(good))):])
		parsed, err := proof.Parse(b)
		if err != nil {
			return
		}
		again, err := parsed.Marshal()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("read and written it is another: %v", err)
		}
		if _, err := proof.Check(parsed, proof.Trust{Root: g.Root}, g.Now); err == nil && !bytes.Equal(b, good) {
			t.Fatal("something else is a proof")
		}
	})
}

func BenchmarkJudge(b *testing.B) {
	g := agreed(b)
	s := g.State()
	for name, memory := range map[string]*proof.Memory{"cold": nil, "warm": {}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Judge(g.ev, g.Log.Size(), g.Now, memory); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	g := agreed(b)
	bundle := g.Give(g.ev, nil, nil, nil)
	short := *bundle
	short.Roster, short.Catalog, short.Manifest = nil, nil, nil
	state := g.State()
	b.Run("from the root", func(b *testing.B) {
		for b.Loop() {
			if _, err := proof.Check(bundle, proof.Trust{Root: g.Root}, g.Now); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, memory := range map[string]*proof.Memory{"with the chains, cold": nil, "with the chains, warm": {}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := proof.Check(&short, proof.Trust{Root: g.Root, State: state, Memory: memory}, g.Now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkExtend(b *testing.B) {
	o := prooftest.New(b, prooftest.Options{})
	for range 200 {
		_, key := prooftest.NewKey(b)
		o.Keys["someone"] = key
		o.Enrol(o.Enrolment("someone", "", key, "request"))
	}
	for b.Loop() {
		o.State()
	}
}
