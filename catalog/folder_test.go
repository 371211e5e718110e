package catalog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/policy"
)

func everybody(brevet.PersonID, brevet.Presence) bool { return true }

func TestStarterIsReadyForWork(t *testing.T) {
	c, files, err := Starter(Start{Admins: []brevet.PersonID{"alice"}, Auditors: []brevet.PersonID{"carol"}, SRE: []brevet.PersonID{"bob", "bob"}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := Write(dir, files); err != nil {
		t.Fatal(err)
	}
	again, problems, err := ReadDir(dir)
	if err != nil || len(problems.Errors()) > 0 {
		t.Fatal(err, problems)
	}
	if diff := cmp.Diff(c, again); diff != "" {
		t.Errorf("the files say something else (-catalog +files):\n%s", diff)
	}
	wantGroups := []brevet.Group{
		{Name: "admins", Members: []brevet.PersonID{"alice"}},
		{Name: "auditors", Members: []brevet.PersonID{"carol"}},
		{Name: "sre", Members: []brevet.PersonID{"bob"}},
		{Name: "sre-leads", Members: []brevet.PersonID{"alice"}},
	}
	if diff := cmp.Diff(wantGroups, c.Groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	set, err := policy.Compile(c, policy.Everybody)
	if err != nil {
		t.Fatal(err)
	}
	if errs := set.Lint(everybody).Errors(); len(errs) > 0 {
		t.Errorf("lint: %v", errs)
	}
}

// TestStarterPolicies holds the policies that every organisation begins with to what they promise.
func TestStarterPolicies(t *testing.T) {
	c, _, err := Starter(Start{Admins: []brevet.PersonID{"ada"}, Auditors: []brevet.PersonID{"carol"}, SRE: []brevet.PersonID{"alice", "bob"}, SRELeads: []brevet.PersonID{"alice", "dan"}})
	if err != nil {
		t.Fatal(err)
	}
	c.Targets = goodCatalog().Targets
	set, err := policy.Compile(c, policy.Everybody)
	if err != nil {
		t.Fatal(err)
	}
	cases, problems := ReadCases(os.DirFS("testdata/starter"))
	if len(problems) > 0 || len(cases) < 20 {
		t.Fatal(problems, len(cases))
	}
	for _, r := range set.RunCases(cases) {
		if !r.Passed() {
			t.Errorf("%s:%d: %s: %s", r.Case.File, r.Case.Line, r.Case.Name, r.Failure)
		}
	}
}

func TestStarterRefuses(t *testing.T) {
	for name, s := range map[string]Start{
		"no founder": {},
		"a bad name": {Admins: []brevet.PersonID{"Alice"}},
		"a newline":  {Admins: []brevet.PersonID{"alice\nmallory"}},
	} {
		if _, _, err := Starter(s); brevet.KindOf(err) != brevet.Invalid {
			t.Errorf("%s: got %v, want Invalid", name, err)
		}
	}
}

func TestWriteReplacesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "b.yaml"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Write(dir, []File{{"a.yaml", "a"}, {"b.yaml", "b"}})
	if brevet.KindOf(err) != brevet.Conflict {
		t.Errorf("got %v, want Conflict", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a.yaml")); err == nil {
		t.Error("a.yaml was written although b.yaml was there")
	}
	if err := Write(dir, []File{{"../escaped.yaml", "x"}}); err == nil {
		t.Error("wrote outside the folder")
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "policies")); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, []File{{"policies/x.cedar", "x"}}); err == nil {
		t.Error("wrote through a link that leads out of the folder")
	}
}

// TestReadDirStaysInside gives folders whose links, names and kinds of file would make a reader
// see more than the folder shows.
func TestReadDirStaysInside(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "evil.yaml"), []byte(rest), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		make func(dir string) error
		want string
	}{
		{"a linked file", func(dir string) error {
			return os.Symlink(filepath.Join(outside, "evil.yaml"), filepath.Join(dir, "x.yaml"))
		},
			"x.yaml: is a symbolic link, which is not followed: put the file itself here"},
		{"a linked folder", func(dir string) error { return os.Symlink(outside, filepath.Join(dir, "policies")) },
			"policies: is a symbolic link"},
		{"a folder with a file's name", func(dir string) error { return os.Mkdir(filepath.Join(dir, "x.yaml"), 0o700) }, ""},
		{"a name that acts on a terminal", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "x\x1b[2J.yaml"), []byte("{"), 0o600)
		}, `the file "x\x1b[2J.yaml" has a name that cannot be shown`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "rest.yaml"), []byte(rest), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := tt.make(dir); err != nil {
				t.Fatal(err)
			}
			_, problems, err := ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			got := problems.Errors().Error()
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestReadDirThatIsNone(t *testing.T) {
	if _, _, err := ReadDir(filepath.Join(t.TempDir(), "missing")); brevet.KindOf(err) != brevet.NotFound {
		t.Errorf("got %v, want NotFound", err)
	}
}

// TestLintIsLocated: what is found in the whole catalog is told with file and line too.
func TestLintIsLocated(t *testing.T) {
	folder := good()
	folder["policies/sre.cedar"] = "\n" + `permit (principal in Group::"nobody", action == Action::"request", resource == Role::"web-root");`
	c, places, problems := ReadPlaced(files(folder))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	set, err := policy.Compile(c, policy.Everybody)
	if err != nil {
		t.Fatal(err)
	}
	got := places.Locate(set.Lint(everybody)).Error()
	for _, want := range []string{
		"roles.yaml:1: role web-root: nobody can approve it",
		`policies/sre.cedar:2:1: warning: names the group "nobody"`,
		"warning: system audit: nobody may audit it",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwithout %s", got, want)
		}
	}
	if again := (Places{}).Locate(problems); len(again) != len(problems) {
		t.Errorf("nothing is known of places, and %v became %v", problems, again)
	}
}
