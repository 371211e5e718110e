package catalog

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/brevet-pim/brevet"
)

// TestHostileFilesAreBounded has files that would keep a YAML parser busy, fill memory or overflow
// a stack (billion laughs and its kin): each is refused, in few words.
func TestHostileFilesAreBounded(t *testing.T) {
	laughs := "a: &a [x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c <= 'i'; c++ {
		laughs += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", c-1), 9), ", "))
	}
	keys := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "k%d: v\n", i)
		}
		return b.String()
	}
	nested := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.Repeat(" ", i) + "k:\n")
		}
		return b.String()
	}
	tests := []struct{ name, text, want string }{
		{"a file too large", strings.Repeat("# comment\n", MaxFile/10+1), "x.yaml: the file has more than 1 MiB"},
		{"a line too long", "kind: Group\nname: " + strings.Repeat("a", maxLine), "x.yaml:2: the line has more than 8192 bytes: divide it"},
		{"a billion laughs", laughs, "anchors and aliases are not read here"},
		{"an alias to itself", "a: &a [*a]\n", "anchors and aliases are not read here"},
		{"lists in lists", strings.Repeat("[", 3000) + strings.Repeat("]", 3000), "nested too deep"},
		{"mappings in mappings", strings.Repeat("{a: ", 1500) + strings.Repeat("}", 1500), "nested too deep"},
		{"indented mappings", nested(500), "nested too deep"},
		{"dashes in a line", strings.Repeat("- ", 3000) + "x", "nested too deep"},
		{"too many keys", keys(maxKeys + 1), "too many keys"},
		{"too many documents", strings.Repeat("---\na: b\n", maxDocument+1), "too many keys in a document"},
		{"many problems", strings.Repeat("---\nkind: Nothing\n", 10_000), "there are 9800 more problems"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := Read(files(map[string]string{"x.yaml": tt.text}))
			got := problems.Errors().Error()
			if got == "" || !strings.Contains(got, tt.want) {
				t.Errorf("got %.300s, want %s", got, tt.want)
			}
			if len(got) > 64<<10 {
				t.Errorf("%d bytes of problems", len(got))
			}
		})
	}
}

// endless is a file whose size says nothing and whose end never comes.
type endless struct{ fs.FS }

type endlessFile struct{ fs.File }

func (e endless) Open(name string) (fs.File, error) {
	f, err := e.FS.Open(name)
	if err == nil && strings.HasSuffix(name, ".yaml") {
		return endlessFile{f}, nil
	}
	return f, err
}

func (endlessFile) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '#'
	}
	return len(p), nil
}

func TestAFileWithoutEndIsBounded(t *testing.T) {
	_, problems := Read(endless{files(map[string]string{"x.yaml": ""})})
	if got := problems.Error(); !strings.Contains(got, "x.yaml: the file has more than 1 MiB") {
		t.Errorf("got %s", got)
	}
}

func TestAFolderIsBounded(t *testing.T) {
	fsys := fstest.MapFS{}
	for i := range maxFiles + 1 {
		fsys[fmt.Sprintf("%05d.yaml", i)] = &fstest.MapFile{}
	}
	_, problems := Read(fsys)
	if got := problems.Errors().Error(); !strings.Contains(got, "more than 10000 files or 16 MiB") {
		t.Errorf("got %.200s", got)
	}
	fsys = fstest.MapFS{}
	for i := range 17 {
		fsys[fmt.Sprintf("%05d.cedar", i)] = &fstest.MapFile{Data: []byte(strings.Repeat("//\n", MaxFile/3))}
	}
	_, problems = Read(fsys)
	if got := problems.Errors().Error(); !strings.Contains(got, "more than 10000 files or 16 MiB") {
		t.Errorf("got %.200s", got)
	}
}

// TestALargeOrganisation must be read, written and read back within all bounds.
func TestALargeOrganisation(t *testing.T) { roundTrip(t, largeCatalog()) }

func TestTooManyNouns(t *testing.T) {
	c := goodCatalog()
	for i := range maxNouns {
		c.Groups = append(c.Groups, brevet.Group{Name: brevet.GroupName(fmt.Sprintf("z%05d", i))})
	}
	if err := Check(c).Err(); err == nil || !strings.Contains(err.Error(), "catalog: has 10002 of kind group, more than 10000") {
		t.Errorf("got %v", err)
	}
}
