package brevet_test

import (
	"go/ast"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestFilesStayReadable(t *testing.T) {
	const longest, longestTest = 650, 1000
	for _, s := range sources(t) {
		limit := longest
		if s.test() {
			limit = longestTest
		}
		if !s.generated && s.lines > limit {
			t.Errorf("%s has %d lines; look for where its subject ends (at most %d, better 400)", s.path, s.lines, limit)
		}
	}
}

func TestPackagesAreNamedForWhatTheyOwn(t *testing.T) {
	vague := regexp.MustCompile(`^(.*_)?(utils?|common|helpers?|misc|shared|base|lib|tools|types|internal)$`)
	commented := map[string]bool{}
	for _, s := range sources(t) {
		name := s.file.Name.Name
		if vague.MatchString(name) {
			t.Errorf("%s: a package called %q says nothing of what it owns", s.path, name)
		}
		if strings.HasSuffix(s.path, "_test.go") {
			continue
		}
		good := s.generated || name == "main" && s.file.Doc.Text() != "" || strings.HasPrefix(s.file.Doc.Text(), "Package "+name+" ")
		commented[s.folder] = commented[s.folder] || good
	}
	for folder, good := range commented {
		if !good {
			t.Errorf("the package in %q has no comment that says what it owns (Package … )", folder)
		}
	}
}

// selfEvident are methods that a reader knows from the standard library.
var selfEvident = []string{
	"String", "GoString", "Error", "Unwrap", "Is", "Len", "Less", "Swap", "Read", "Write", "Close", "LogValue", "Format",
	"MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText", "MarshalYAML", "UnmarshalYAML", "Scan", "Value",
}

func TestExportedNamesAreExplained(t *testing.T) {
	for _, s := range production(t) {
		if s.file.Name.Name == "main" {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if needsComment(d) && !explains(d.Doc, d.Name.Name) {
					t.Errorf("%s: the comment of %s is missing or does not start with its name", s.at(d), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, name := range unexplained(d) {
					t.Errorf("%s: the comment of %s is missing or does not start with its name", s.at(name), name.Name)
				}
			}
		}
	}
}

// needsComment reports whether d can be called from another package and its
// name alone does not say what it does.
func needsComment(d *ast.FuncDecl) bool {
	if !d.Name.IsExported() {
		return false
	}
	if d.Recv == nil {
		return true
	}
	return ast.IsExported(receiver(d)) && !slices.Contains(selfEvident, d.Name.Name)
}

// receiver returns the name of the type that d is a method of.
func receiver(d *ast.FuncDecl) string {
	expr := d.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.IndexListExpr:
			expr = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}

// unexplained returns the exported names of d without a comment. One comment
// may speak for a group.
func unexplained(d *ast.GenDecl) []*ast.Ident {
	var names []*ast.Ident
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			doc := spec.Doc
			if doc == nil {
				doc = d.Doc
			}
			grouped := d.Lparen.IsValid() && d.Doc != nil
			if spec.Name.IsExported() && !grouped && !explains(doc, spec.Name.Name) {
				names = append(names, spec.Name)
			}
		case *ast.ValueSpec:
			if d.Doc != nil || spec.Doc != nil || spec.Comment != nil {
				continue
			}
			for _, name := range spec.Names {
				if name.IsExported() {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

// explains reports whether doc starts with name, perhaps after an article.
func explains(doc *ast.CommentGroup, name string) bool {
	words := strings.Fields(doc.Text())
	if len(words) > 1 && slices.Contains([]string{"A", "An", "The"}, words[0]) {
		words = words[1:]
	}
	return len(words) > 1 && strings.TrimRight(words[0], ",:'s") == strings.TrimRight(name, ",:'s")
}

func TestNothingHappensAtImport(t *testing.T) {
	for _, s := range production(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: init() runs for everyone who imports the package; have the caller ask for it", s.at(f))
			}
		}
	}
}

func TestPackagesHoldNoState(t *testing.T) {
	written := map[string]map[string]bool{} // by folder, the names that some function writes to
	for _, s := range production(t) {
		if written[s.folder] == nil {
			written[s.folder] = map[string]bool{}
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
				addWritten(f, written[s.folder])
			}
		}
	}
	for _, s := range production(t) {
		if slices.Contains(processWide, s.folder) {
			continue
		}
		for _, v := range packageVars(s) {
			if why := stateful(v, written[s.folder]); why != "" {
				t.Errorf("%s: %s; give it an owner", s.at(v), why)
			}
		}
	}
}

// packageVars returns the variables that s declares outside functions.
func packageVars(s source) []*ast.ValueSpec {
	var vars []*ast.ValueSpec
	for _, d := range s.file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR || embeds(g) {
			continue
		}
		for _, spec := range g.Specs {
			vars = append(vars, spec.(*ast.ValueSpec))
		}
	}
	return vars
}

// embeds reports whether g is filled by the compiler from files.
func embeds(g *ast.GenDecl) bool {
	return g.Doc != nil && slices.ContainsFunc(g.Doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
}

// processWide are packages whose purpose is the whole process.
var processWide = []string{
	"fault", // counts the fault points that were passed, and only with its build tag
}

// harmless are what package sync offers that holds nothing a program can depend on.
var harmless = regexp.MustCompile(`^(Once.+|Pool)$`)

// stateful says why a package variable is state and not a table, an error, or
// something computed once; or "".
func stateful(v *ast.ValueSpec, written map[string]bool) string {
	for _, name := range v.Names {
		if name.Name != "_" && written[name.Name] {
			return name.Name + " is written to"
		}
	}
	if len(v.Values) == 0 {
		return v.Names[0].Name + " starts empty, so something must fill it"
	}
	kept := ""
	for _, part := range append([]ast.Expr{v.Type}, v.Values...) {
		if part == nil {
			continue
		}
		ast.Inspect(part, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncLit:
				return false
			case *ast.ChanType:
				kept = v.Names[0].Name + " is a channel"
			case *ast.SelectorExpr:
				pkg, ok := n.X.(*ast.Ident)
				if ok && (pkg.Name == "atomic" || pkg.Name == "sync" && !harmless.MatchString(n.Sel.Name)) {
					kept = v.Names[0].Name + " has a " + pkg.Name + "." + n.Sel.Name
				}
			}
			return true
		})
	}
	return kept
}

// addWritten adds the names that f assigns to and does not declare itself.
func addWritten(f *ast.FuncDecl, written map[string]bool) {
	own := declared(f)
	note := func(expr ast.Expr) {
		if name := rootName(expr); name != "" && !own[name] {
			written[name] = true
		}
	}
	ast.Inspect(f.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, left := range n.Lhs {
					note(left)
				}
			}
		case *ast.IncDecStmt:
			note(n.X)
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				note(n.X)
			}
		case *ast.CallExpr:
			if name, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && (name.Name == "delete" || name.Name == "clear") {
				note(n.Args[0])
			}
		}
		return true
	})
}

// declared returns the names that f declares anywhere: receiver, parameters,
// results, locals, and those of function literals in it.
func declared(f *ast.FuncDecl) map[string]bool {
	own := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			for _, name := range n.Names {
				own[name.Name] = true
			}
		case *ast.ValueSpec:
			for _, name := range n.Names {
				own[name.Name] = true
			}
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, left := range n.Lhs {
					own[rootName(left)] = true
				}
			}
		case *ast.RangeStmt:
			if n.Tok == token.DEFINE {
				own[rootName(n.Key)] = true
				own[rootName(n.Value)] = true
			}
		}
		return true
	})
	return own
}

// rootName returns the variable that expr is part of: x for x[i].y.
func rootName(expr ast.Expr) string {
	for {
		switch e := expr.(type) {
		case *ast.Ident:
			return e.Name
		case *ast.IndexExpr:
			expr = e.X
		case *ast.SelectorExpr:
			expr = e.X
		case *ast.ParenExpr:
			expr = e.X
		default: // what a pointer points to is not the variable
			return ""
		}
	}
}

func TestGeneratedCodeIsCurrent(t *testing.T) {
	if testing.Short() {
		t.Skip("builds buf the first time")
	}
	// Looking at what the script reads tells go test when a cached result is stale.
	for _, pattern := range []string{"proto/*/*/*.proto", "buf*.yaml", "scripts/*", "api/*/*/*.go", "api/*/*/*/*.go"} {
		inputs, err := filepath.Glob(pattern)
		if err != nil || len(inputs) == 0 {
			t.Fatalf("%s: found nothing: %v", pattern, err)
		}
		for _, input := range inputs {
			if _, err := os.Stat(input); err != nil {
				t.Fatal(err)
			}
		}
	}
	out, err := exec.CommandContext(t.Context(), "scripts/generate", "check").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
