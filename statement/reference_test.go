package statement_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet/statement"
)

var update = flag.Bool("update", false, "write the examples of the reference anew")

const reference = "../docs/reference/statements.md"

// section returns the part of the page below "### `name`".
func section(t *testing.T, page, name string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page, "\n### `"+name+"`\n")
	if !ok {
		t.Fatalf("%s has no section on %s", reference, name)
	}
	if end := strings.Index(rest, "\n##"); end >= 0 {
		rest = rest[:end]
	}
	return rest
}

// fieldRow is a row of a table that begins with a field's name.
var fieldRow = regexp.MustCompile("(?m)^\\| `([a-z_0-9.]+)` \\| .{3,} \\|$")

func fieldsIn(text string) []string {
	var names []string
	for _, m := range fieldRow.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	slices.Sort(names)
	return names
}

// explainedElsewhere are structs that a field of theirs does not take apart again.
var explainedElsewhere = []string{"Key", "Selector"}

// fieldsOf returns the JSON names of the struct, those of structs in it as "outer.inner", without
// the embedded ones, which have sections of their own.
func fieldsOf(t reflect.Type, prefix string) []string {
	var names []string
	for f := range t.Fields() {
		name := prefix + f.Tag.Get("json")
		inner := f.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		switch {
		case f.Anonymous:
		case inner.Kind() == reflect.Struct && !slices.Contains(explainedElsewhere, inner.Name()):
			names = append(names, fieldsOf(inner, name+".")...)
		default:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// TestReferenceHasEveryField compares the page with the payloads: a field that somebody adds
// without a word on it fails here.
func TestReferenceHasEveryField(t *testing.T) {
	page := readReference(t)
	types := map[string]reflect.Type{
		"key": reflect.TypeFor[statement.Key](), "header": reflect.TypeFor[statement.Header](), "link": reflect.TypeFor[statement.Link](), "terms": reflect.TypeFor[statement.Terms](),
	}
	for _, p := range samples(t) {
		types[string(p.StatementKind())] = reflect.TypeOf(p)
	}
	for name, typ := range types {
		if got, want := fieldsIn(section(t, page, name)), fieldsOf(typ, ""); !slices.Equal(got, want) {
			t.Errorf("%s: the page has the fields %v, the payload %v", name, got, want)
		}
	}
}

func readReference(t *testing.T) string {
	t.Helper()
	return string(must(os.ReadFile(reference))(t))
}

// TestReferenceExamplesAreReal holds the example of each kind against a payload that is signed,
// read and opened in other tests.
func TestReferenceExamplesAreReal(t *testing.T) {
	page := readReference(t)
	for _, p := range samples(t) {
		kind := string(p.StatementKind())
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, must(statement.Canonical(p))(t), "", "  "); err != nil {
			t.Fatal(err)
		}
		want := "```json\n" + pretty.String() + "\n```"
		text := section(t, page, kind)
		start := strings.Index(text, "```json\n")
		if start < 0 {
			t.Errorf("%s has no example", kind)
			continue
		}
		length := strings.Index(text[start+3:], "```") + 6
		if got := text[start : start+length]; got != want {
			page = strings.Replace(page, text, strings.Replace(text, got, want, 1), 1)
			if !*update {
				t.Errorf("%s: the example is not that of samples_test.go; run with -update", kind)
			}
		}
	}
	if *update {
		if err := os.WriteFile(reference, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReferenceCommandsVerify runs the commands of the page, as they stand there, on an approval:
// stock OpenSSH accepts it, and no other statement nor another's key.
func TestReferenceCommandsVerify(t *testing.T) {
	_, rest, ok := strings.Cut(readReference(t), "\n## Checking a signature with stock OpenSSH\n")
	if !ok {
		t.Fatal("the page does not say how to check a signature")
	}
	_, rest, _ = strings.Cut(rest, "```sh\n") // how to come to the two files: test/script/verify.txtar
	_, rest, _ = strings.Cut(rest, "```sh\n")
	commands, _, _ := strings.Cut(rest, "```")

	signer := newSSH(t, newEd25519(t))
	e := must(statement.New(t.Context(), approval(t), signer))(t)
	o := newOpenSSH(t)
	o.write(t, "approval.json", must(e.Marshal())(t))
	o.write(t, "alice.pub", []byte(signer.Key().Public+"\n"))
	out := o.must(t, []byte(commands), "sh", "-eu", "-s")
	for _, want := range []string{`Good "brevet" signature for alice`, string(e.ID())} {
		if !strings.Contains(out, want) {
			t.Errorf("the commands printed\n%s\nwithout %q", out, want)
		}
	}
	if got := must(os.ReadFile(o.path("approval.pae")))(t); !bytes.Equal(got, e.PAE()) {
		t.Errorf("the commands make other bytes than what is signed:\n%q\n%q", got, e.PAE())
	}

	other := approval(t)
	other.Comment = "something else"
	forged := must(statement.New(t.Context(), other))(t)
	forged.Signatures = e.Signatures
	o.write(t, "approval.json", must(forged.Marshal())(t))
	if out, err := o.run(t.Context(), t, []byte(commands), "sh", "-eu", "-s"); err == nil {
		t.Errorf("another statement under the same signature is good:\n%s", out)
	}
	o.write(t, "approval.json", must(e.Marshal())(t))
	o.write(t, "alice.pub", fmt.Appendln(nil, newSSH(t, newEd25519(t)).Key().Public))
	if out, err := o.run(t.Context(), t, []byte(commands), "sh", "-eu", "-s"); err == nil {
		t.Errorf("the signature is good by another key:\n%s", out)
	}
}
