package brevet_test

import (
	"go/ast"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// A row of a table names what holds it, in its last column: tests as
// `folder.TestName` (`brevet.TestName` at the root) and scripts as
// `test/script/name.txtar`. A row that nothing holds yet has a dash there, and
// the column before says why.
var (
	heldBy  = regexp.MustCompile("`([^`]+)`")
	goTest  = regexp.MustCompile(`^([a-z0-9/_]+)\.((?:Test|Fuzz|Benchmark)[A-Za-z0-9_]+)$`)
	nothing = regexp.MustCompile(`^(–|-)$`)
	why     = regexp.MustCompile(`^(Not yet|Out of reach|Does not apply): .{20,}`)
)

func TestRowsOfCapabilitiesAreHeld(t *testing.T) {
	for _, row := range tableOf(t, "docs/capabilities.md") {
		checkHeld(t, row, namedTests(t))
	}
}

func TestRowsOfAttacksAreHeld(t *testing.T) {
	for _, row := range tableOf(t, "docs/attacks.md") {
		checkHeld(t, row, namedTests(t))
	}
}

// TestRowsCanFail shows that a row which nothing holds is found.
func TestRowsCanFail(t *testing.T) {
	tests := []struct {
		name string
		row  row
		bad  bool
	}{
		{name: "a test that exists", row: row{"Q1", "what", "`brevet.TestRowsCanFail`"}},
		{name: "an unknown test", row: row{"Q1", "what", "`brevet.TestNobodyWroteThis`"}, bad: true},
		{name: "one of two is unknown", row: row{"Q1", "what", "`brevet.TestRowsCanFail`, `flow.TestNobodyWroteThis`"}, bad: true},
		{name: "an unknown script", row: row{"Q1", "what", "`test/script/nobody.txtar`"}, bad: true},
		{name: "words instead of a test", row: row{"Q1", "what", "see the README"}, bad: true},
		{name: "nothing", row: row{"Q1", "what", ""}, bad: true},
		{name: "a dash without a reason", row: row{"Q1", "what", "–"}, bad: true},
		{name: "a dash with a reason", row: row{"Q1", "Not yet: SFTP is refused until a later issue", "–"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := notHeld(tt.row, namedTests(t)); (got != "") != tt.bad {
				t.Errorf("got %q, want bad %v", got, tt.bad)
			}
		})
	}
}

// row is the cells of one line of a table.
type row []string

// tableOf returns the rows of all tables of a page whose first column is an id.
func tableOf(t *testing.T, page string) []row {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	id := regexp.MustCompile(`^[A-Z][0-9]+$`)
	var rows []row
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") || !strings.HasSuffix(line, "|") {
			continue
		}
		var r row
		for cell := range strings.SplitSeq(line[1:len(line)-1], "|") {
			r = append(r, strings.TrimSpace(cell))
		}
		if id.MatchString(r[0]) {
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		t.Errorf("%s has no row that starts with an id", page)
	}
	return rows
}

func checkHeld(t *testing.T, r row, known map[string]bool) {
	t.Helper()
	if problem := notHeld(r, known); problem != "" {
		t.Errorf("%s: %s", r[0], problem)
	}
}

// notHeld says what is wrong with the last cell of r, or "".
func notHeld(r row, known map[string]bool) string {
	if len(r) < 3 {
		return "the row has too few columns"
	}
	last := r[len(r)-1]
	if nothing.MatchString(last) {
		if !why.MatchString(r[len(r)-2]) {
			return `nothing holds it, and the column before does not say why ("Not yet: …", "Out of reach: …", "Does not apply: …")`
		}
		return ""
	}
	named := heldBy.FindAllStringSubmatch(last, -1)
	if len(named) == 0 {
		return "it names no test"
	}
	for _, n := range named {
		if strings.HasPrefix(n[1], "test/") {
			if _, err := os.Stat(n[1]); err == nil {
				continue
			}
		}
		if !known[n[1]] {
			return "there is no " + n[1]
		}
	}
	return ""
}

// namedTests returns the tests of the checkout, as rows name them.
func namedTests(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	for _, s := range sources(t) {
		if !strings.HasSuffix(s.path, "_test.go") {
			continue
		}
		folder := s.folder
		if folder == "" {
			folder = path.Base(module)
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				if name := folder + "." + f.Name.Name; goTest.MatchString(name) {
					known[name] = true
				}
			}
		}
	}
	return known
}

func TestEveryDependencyHasAReason(t *testing.T) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := modfile.Parse("go.mod", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	reasons, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]string{} // by module, a file that imports it
	for _, s := range sources(t) {
		for _, spec := range s.file.Imports {
			imported := strings.Trim(spec.Path.Value, `"`)
			for _, r := range mod.Require {
				if below(imported, r.Mod.Path) {
					used[r.Mod.Path] = s.path
				}
			}
		}
	}
	for name, file := range used {
		if !strings.Contains(string(reasons), "| "+name+" |") {
			t.Errorf("CONTRIBUTING.md does not say why %s needs %s", file, name)
		}
	}
}

// TestPagesLinkToWhatExists follows every relative link of every page.
func TestPagesLinkToWhatExists(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
	pages, err := exec.CommandContext(t.Context(), "git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md").Output()
	if err != nil {
		t.Fatal(err)
	}
	for page := range strings.Lines(string(pages)) {
		page = strings.TrimSpace(page)
		text, err := os.ReadFile(page)
		if os.IsNotExist(err) { // deleted and not yet committed
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			if _, err := os.Stat(path.Join(path.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			}
		}
	}
}
