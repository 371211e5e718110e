package catalog

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"

	"github.com/brevet-pim/brevet"
)

// starterFiles are the files of a first catalog, with comments for whoever goes on from there;
// the groups are added to them.
//
//go:embed starter
var starterFiles embed.FS

// The groups that the starter's roles and policies speak of.
const (
	Admins   brevet.GroupName = "admins"    // keep catalog, people and machines
	Auditors brevet.GroupName = "auditors"  // read the log, watch, replay
	SRE      brevet.GroupName = "sre"       // may ask for the example roles
	SRELeads brevet.GroupName = "sre-leads" // agree to what sre asks for
)

// Start says who is in the groups of a new organisation's catalog.
type Start struct {
	Admins   []brevet.PersonID // the founders; at least one
	Auditors []brevet.PersonID
	SRE      []brevet.PersonID
	SRELeads []brevet.PersonID // none: the founders, since somebody must be able to agree
}

// Starter returns the catalog that a new organisation begins with, and the files that say the
// same with comments, for people to edit and apply. Its two example roles choose targets by the
// label app: web; there is no target yet, so nobody can get any privilege.
// Names that are none, and a start without founders, are Invalid.
func Starter(s Start) (brevet.Catalog, []File, error) {
	if len(s.Admins) == 0 {
		return brevet.Catalog{}, nil, brevet.Errorf(brevet.Invalid, "a new organisation needs a founder").WithHint("name at least one person")
	}
	if len(s.SRELeads) == 0 {
		s.SRELeads = s.Admins
	}
	files, err := starterText()
	if err != nil {
		return brevet.Catalog{}, nil, err
	}
	files = append(files, File{Name: groupsFile, Text: formatGroups([]brevet.Group{
		{Name: Admins, Members: sortedNames(s.Admins)},
		{Name: Auditors, Members: sortedNames(s.Auditors)},
		{Name: SRE, Members: sortedNames(s.SRE)},
		{Name: SRELeads, Members: sortedNames(s.SRELeads)},
	})})
	r, problems := readFiles(files)
	if err := problems.Err(); err != nil {
		return brevet.Catalog{}, nil, err
	}
	return r.catalog, files, nil
}

func starterText() ([]File, error) {
	top, err := fs.Sub(starterFiles, "starter")
	if err != nil {
		return nil, fmt.Errorf("open the starter's files: %w", err)
	}
	files, problems := collect(top, func(string) bool { return true })
	return files, problems.Err()
}

func sortedNames(names []brevet.PersonID) []brevet.PersonID {
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}
