package brevet_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// client is what speaks to the control plane from outside: the generated API
// and the two small packages that dial it and carry its errors.
var client = []string{"api/brevet", "api/dial", "api/failure"}

// layer is a folder, with all below it that has no row of its own, and what of
// ours its packages may import besides the root package and each other.
type layer struct {
	folder  string
	may     []string // folders, with all below them; "*" is everything
	apart   bool     // its packages may not import each other
	without []string // modules and standard packages that it does without
}

// layers is the architecture. A folder that no row covers is a noun that nobody
// named yet.
var layers = []layer{
	{folder: ""},
	{folder: "statement"},
	{folder: "policy"},
	{folder: "seal"},
	{folder: "fault"},
	{folder: "sqlite"},
	{folder: "catalog", may: []string{"statement", "policy"}},
	{folder: "audit", without: []string{"database/sql", "github.com/jackc", "modernc.org"}},
	{folder: "proof", may: []string{"statement", "policy", "audit", "catalog"}},
	{folder: "issuer", may: []string{"proof", "seal", "statement", "policy", "audit", "catalog", "connector", "fault", "sqlite"}},
	{folder: "connector"},
	{folder: "record", may: []string{"seal"}},
	{folder: "store", may: []string{"audit", "fault", "sqlite"}},
	{folder: "identity", may: []string{"statement"}},
	{folder: "notify"},
	// The spine speaks to the issuer in the issuer's words, and opens recordings for those who may play them.
	{folder: "flow", may: []string{"issuer", "record", "seal", "store", "proof", "policy", "statement", "audit", "catalog", "fault"}},
	{folder: "flow/", may: []string{"store", "proof", "policy", "statement", "audit", "catalog", "fault"}, apart: true},
	{folder: "gateway", may: append([]string{"proof", "record", "statement"}, client...)},
	{folder: "agent", may: append([]string{"proof", "record", "statement"}, client...)},
	{folder: "cli", may: append([]string{"proof", "record", "statement", "audit", "policy", "catalog", "identity"}, client...)},
	// Handlers fill in the filters and questions that flow takes.
	{folder: "api", may: []string{"flow", "statement", "identity", "store", "policy"}},
	{folder: "api/brevet"},
	{folder: "api/dial"},
	{folder: "api/failure", may: []string{"api/brevet"}},
	{folder: "web", may: []string{"flow"}},
	{folder: "metric"},
	{folder: "server", may: []string{"*"}},
	{folder: "server/config"},
	{folder: "cmd", may: []string{"*"}},
}

func TestImportsFollowTheDesign(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() || s.generated {
			continue
		}
		for _, spec := range s.file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatalf("%s: %v", s.at(spec), err)
			}
			if why := forbidden(s.folder, imported); why != "" {
				t.Errorf("%s: %q imports %q: %s", s.at(spec), s.folder, imported, why)
			}
		}
	}
}

// TestImportRulesForbid shows that the rules can say no.
func TestImportRulesForbid(t *testing.T) {
	tests := []struct {
		name, folder, imported string
		forbidden              bool
	}{
		{name: "the root uses the standard library", folder: "", imported: "time"},
		{name: "the root uses a library", folder: "", imported: "golang.org/x/crypto/ssh", forbidden: true},
		{name: "the root uses ours", folder: "", imported: module + "/statement", forbidden: true},
		{name: "statement uses the vocabulary", folder: "statement", imported: module},
		{name: "statement uses policy", folder: "statement", imported: module + "/policy", forbidden: true},
		{name: "issuer uses store", folder: "issuer", imported: module + "/store", forbidden: true},
		{name: "issuer uses its authority", folder: "issuer", imported: module + "/issuer/ca"},
		{name: "a part of issuer uses store", folder: "issuer/ca", imported: module + "/store", forbidden: true},
		{name: "audit uses SQL", folder: "audit", imported: "database/sql", forbidden: true},
		{name: "a sink of audit uses a driver", folder: "audit/sink", imported: "github.com/jackc/pgx/v5", forbidden: true},
		{name: "a step uses a step", folder: "flow/ask", imported: module + "/flow/decide", forbidden: true},
		{name: "a step uses the spine", folder: "flow/ask", imported: module + "/flow", forbidden: true},
		{name: "the spine uses a step", folder: "flow", imported: module + "/flow/ask"},
		{name: "gateway uses the generated client", folder: "gateway/ssh", imported: module + "/api/brevet/v1"},
		{name: "gateway uses the handlers", folder: "gateway/ssh", imported: module + "/api", forbidden: true},
		{name: "cli uses server", folder: "cli", imported: module + "/server", forbidden: true},
		{name: "cmd uses server", folder: "cmd/brevet", imported: module + "/server"},
		{name: "server uses what is for tests", folder: "server", imported: module + "/test/testenv", forbidden: true},
		{name: "a folder without a row", folder: "misc", imported: module, forbidden: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if why := forbidden(tt.folder, tt.imported); (why != "") != tt.forbidden {
				t.Errorf("got %q, want forbidden %v", why, tt.forbidden)
			}
		})
	}
}

// forbidden says why a package in folder may not import imported, or "".
func forbidden(folder, imported string) string {
	l, found := layerOf(folder)
	if !found {
		return "the folder has no row in the table of layers"
	}
	target, ours := "", imported == module
	if !ours {
		target, ours = strings.CutPrefix(imported, module+"/")
	}
	among := func(folders []string) bool {
		return slices.ContainsFunc(folders, func(f string) bool { return below(target, f) })
	}
	switch {
	case !ours && folder == "" && strings.Contains(strings.Split(imported, "/")[0], "."):
		return "the vocabulary uses the standard library only"
	case !ours && among(l.without):
		return "this layer does without it"
	case !ours, target == "":
		return ""
	case below(target, "test"):
		return "it is for tests only"
	case slices.Contains(l.may, "*"), among(l.may):
		return ""
	case l.folder != "" && !l.apart && below(target, l.folder):
		return ""
	}
	return "the table of layers does not allow it"
}

// layerOf returns the most specific row for folder. A row that ends with "/" is
// for each folder below, not for the folder itself.
func layerOf(folder string) (most layer, found bool) {
	for _, l := range layers {
		covers := folder == l.folder
		if parent, only := strings.CutSuffix(l.folder, "/"); only {
			covers = folder != parent && below(folder, parent)
		} else if l.folder != "" {
			covers = below(folder, l.folder)
		}
		if covers && (!found || len(l.folder) > len(most.folder)) {
			most, found = l, true
		}
	}
	return most, found
}
