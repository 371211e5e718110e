package catalog

import (
	"testing"

	"github.com/brevet-pim/brevet"
)

// FuzzRead reads hostile files. Nothing may panic or hang; problems are fit for a terminal; what
// is good has a manifest that Parse takes, and files that mean the same.
func FuzzRead(f *testing.F) {
	f.Add(webRoot, rest, cedarText)
	f.Add("kind: Role\nname: x\n", "a: &a [*a]", "permit")
	f.Add("- a\n- {b: [c, 'd']}", "? a\n: b", "\x00")
	f.Add("---\n...\n---\n# x", "a: |\n  text\n  more\nb: >-\n  folded", "")
	f.Add("a: \"\\x1b\\u202e\\0\"", "{a: {b: {c: ", "@id(\"\\u{1b}\")permit(principal,action,resource);")
	f.Fuzz(func(t *testing.T, first, second, third string) {
		r, problems := readFiles([]File{{"roles.yaml", first}, {"rest.yaml", second}, {"sre.cedar", third}})
		for _, p := range problems {
			if err := brevet.CheckText("problem", p.String(), false); err != nil {
				t.Fatalf("%q: %v", p, err)
			}
		}
		if problems.Err() != nil {
			return
		}
		c := r.catalog
		manifest, _, err := Manifest(c)
		if err != nil {
			t.Fatalf("read without a problem, and no manifest: %v", err)
		}
		if _, err := Parse(manifest); err != nil {
			t.Fatal(err)
		}
		roundTrip(t, c)
	})
}

// FuzzParse parses hostile manifests: what is taken is what Manifest writes.
func FuzzParse(f *testing.F) {
	good, _, err := Manifest(goodCatalog())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"groups":[],"policies":[],"roles":[],"targets":[]}`))
	f.Add([]byte(`{"groups":[{"members":["a"],"name":"b"}],"policies":[{"name":"a.cedar","text":"permit(principal,action,resource);"}],"roles":[],"targets":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err != nil {
			return
		}
		again, _, err := Manifest(c)
		if err != nil || string(again) != string(b) {
			t.Fatalf("taken, and written as something else: %v", err)
		}
		if Diff(c, c) != nil {
			t.Error("a catalog differs from itself")
		}
		roundTrip(t, c)
	})
}
