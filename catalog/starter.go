package catalog

import (
	_ "embed"
	"slices"

	"github.com/brevet-pim/brevet"
)

//go:embed starter.cedar
var starterPolicies string

// The groups that the starter's policies speak of.
const (
	Admins   brevet.GroupName = "admins"
	Auditors brevet.GroupName = "auditors"
)

// Starter returns the catalog that a new organisation begins with: its founders are
// administrators, nobody audits yet, and nobody can get any privilege, since there is no role.
func Starter(founders ...brevet.PersonID) brevet.Catalog {
	members := slices.Clone(founders)
	slices.Sort(members)
	return brevet.Catalog{
		Roles:    []brevet.Role{},
		Targets:  []brevet.Target{},
		Policies: []brevet.Policy{{Name: "brevet.cedar", Text: starterPolicies}},
		Groups:   []brevet.Group{{Name: Admins, Members: slices.Compact(members)}, {Name: Auditors, Members: []brevet.PersonID{}}},
	}
}
