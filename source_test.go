package brevet_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// module is the import path of the root package.
const module = "github.com/brevet-pim/brevet"

// source is one Go file of the checkout, parsed.
type source struct {
	path      string // with slashes, from the root
	folder    string // "" for the root
	lines     int
	generated bool
	file      *ast.File
	positions *token.FileSet
}

// test reports whether the file is only part of tests: those beside the code,
// and everything below test/.
func (s source) test() bool {
	return strings.HasSuffix(s.path, "_test.go") || below(s.folder, "test")
}

// at says where n is, for an error message.
func (s source) at(n ast.Node) string {
	p := s.positions.Position(n.Pos())
	p.Filename = s.path
	return p.String()
}

// parsed holds the checkout's files, which several tests look at.
var parsed = sync.OnceValues(parseCheckout)

// sources returns every Go file of the checkout that somebody wrote.
func sources(t *testing.T) []source {
	t.Helper()
	all, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("found only %d Go files: is this the root of the checkout?", len(all))
	}
	return all
}

// production returns the files that become part of Brevet and were written by hand.
func production(t *testing.T) []source {
	t.Helper()
	var found []source
	for _, s := range sources(t) {
		if !s.test() && !s.generated {
			found = append(found, s)
		}
	}
	return found
}

func parseCheckout() ([]source, error) {
	var all []source
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			if base == "testdata" || base == "demo-data" || len(base) > 1 && strings.HasPrefix(base, ".") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") {
			return nil
		}
		s, err := parse(filepath.ToSlash(name))
		all = append(all, s)
		return err
	})
	return all, err
}

func parse(name string) (source, error) {
	positions := token.NewFileSet()
	file, err := parser.ParseFile(positions, name, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return source{}, err
	}
	folder := path.Dir(name)
	if folder == "." {
		folder = ""
	}
	return source{
		path:      name,
		folder:    folder,
		lines:     positions.File(file.Pos()).LineCount(),
		generated: ast.IsGenerated(file),
		file:      file,
		positions: positions,
	}, nil
}

// below reports whether folder is parent or in it.
func below(folder, parent string) bool {
	return folder == parent || strings.HasPrefix(folder, parent+"/")
}
