package catalog

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/policy"
)

// namedBlock is a file of the reference: its name by itself in a line, and its text in a fence.
var namedBlock = regexp.MustCompile("(?ms)^`([a-z/]+\\.(?:yaml|cedar))`\n\n```[a-z]+\n(.*?)^```$")

// TestReferenceIsAGoodCatalog reads the files of docs/reference/policy.md as they stand there,
// and runs their test cases.
func TestReferenceIsAGoodCatalog(t *testing.T) {
	page, err := os.ReadFile("../docs/reference/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	folder := map[string]string{}
	for _, m := range namedBlock.FindAllStringSubmatch(string(page), -1) {
		folder[m[1]] = m[2]
	}
	if len(folder) != 5 {
		t.Fatalf("the page has %d files", len(folder))
	}
	fsys := files(folder)
	c, problems := Read(fsys)
	if len(problems) > 0 {
		t.Error(problems)
	}
	set, err := policy.Compile(c, policy.Everybody)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range set.Lint(everybody) {
		if p.Level != Note {
			t.Error(p)
		}
	}
	cases, wrong := ReadCases(fsys)
	if len(wrong) > 0 || len(cases) < 8 {
		t.Errorf("%d cases, %v", len(cases), wrong)
	}
	for _, r := range set.RunCases(cases) {
		if !r.Passed() {
			t.Errorf("%s: %s", r.Case.Name, r.Failure)
		}
	}
}

// TestRecipesCompile takes the recipes of the page, all together.
func TestRecipesCompile(t *testing.T) {
	page, err := os.ReadFile("../docs/reference/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "\n## Recipes\n\n```cedar\n")
	recipes, _, _ := strings.Cut(rest, "```")
	if !ok || strings.Count(recipes, "//") < 5 {
		t.Fatalf("the page has these recipes: %q", recipes)
	}
	if problems := policy.Check([]brevet.Policy{{Name: "recipes.cedar", Text: recipes}}); len(problems) > 0 {
		t.Error(problems)
	}
}
