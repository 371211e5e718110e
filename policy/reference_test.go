package policy

import (
	"os"
	"strings"
	"testing"
)

// TestReferenceHasTheWholeSchema wants a word in docs/reference/policy.md on every action, type,
// attribute and value that policies can name.
func TestReferenceHasTheWholeSchema(t *testing.T) {
	page, err := os.ReadFile("../docs/reference/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, schema, ok := strings.Cut(string(page), "\n## What policies can read\n")
	schema, _, _ = strings.Cut(schema, "\n## Recipes\n")
	if !ok {
		t.Fatal("the page does not say what policies can read")
	}
	names := attributeNames()
	for _, f := range forms {
		names = append(names, string(f.action))
	}
	for typ := range entityAttributes {
		names = append(names, string(typ))
	}
	for _, s := range Systems() {
		names = append(names, `System::"`+string(s)+`"`)
	}
	for _, name := range names {
		if !strings.Contains(schema, "`"+name+"`") {
			t.Errorf("docs/reference/policy.md has no word on %s", name)
		}
	}
}
