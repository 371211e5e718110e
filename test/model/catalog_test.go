package model_test

import (
	"slices"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/proof/prooftest"
)

// administration is who may end grants and suspend people, and who audits.
const administration = `@id("admins") permit (principal in Group::"admins", action in [Action::"administer", Action::"revoke"], resource);
@id("auditors") permit (principal in Group::"auditors", action in [Action::"audit", Action::"replay", Action::"join"], resource);
@id("sre-may-ask-two") permit (principal in Group::"sre", action == Action::"request", resource == Role::"web-two");
`

// variants are the catalogs that alice puts in force: each the whole one with a change.
var variants = []struct {
	name   string
	change func(*brevet.Catalog)
}{
	{"the whole catalog", func(*brevet.Catalog) {}},
	{"bob is in no group", func(c *brevet.Catalog) { leave(c, "sre", "bob") }},
	{"carol is in no group", func(c *brevet.Catalog) { leave(c, "sre-leads", "carol"); leave(c, "sre", "carol") }},
	{"web-root gives deploy alone", func(c *brevet.Catalog) { roleOf(c, "web-root").SSH.Logins = []string{"deploy"} }},
	{"web-root for ten minutes", func(c *brevet.Catalog) { roleOf(c, "web-root").Limits.Duration = 600 }},
	{"web-now gives another login", func(c *brevet.Catalog) { roleOf(c, "web-now").SSH.Logins = []string{"nobody"} }},
}

// variant returns the catalog of the number: prooftest's, where carol asks too, two leads must agree to
// web-two, and some administer; with the change.
func variant(n int) brevet.Catalog {
	c := prooftest.Catalog()
	two := *roleOf(&c, "web-root")
	two.Name, two.Approval = "web-two", []brevet.Stage{{Group: "sre-leads", Count: 2}}
	c.Roles = append(c.Roles, two)
	i := slices.IndexFunc(c.Groups, func(g brevet.Group) bool { return g.Name == "sre" })
	c.Groups[i].Members = []brevet.PersonID{"bob", "carol", "ci"}
	c.Groups = append(c.Groups, brevet.Group{Name: "admins", Members: []brevet.PersonID{"alice"}}, brevet.Group{Name: "auditors", Members: []brevet.PersonID{"frank"}})
	c.Policies = append(c.Policies, brevet.Policy{Name: "people.cedar", Text: administration})
	variants[n].change(&c)
	return catalog.Normalise(c)
}

func roleOf(c *brevet.Catalog, name brevet.RoleName) *brevet.Role {
	i := slices.IndexFunc(c.Roles, func(r brevet.Role) bool { return r.Name == name })
	if i < 0 {
		return nil
	}
	return &c.Roles[i]
}

func leave(c *brevet.Catalog, group brevet.GroupName, id brevet.PersonID) {
	for i := range c.Groups {
		if c.Groups[i].Name == group {
			c.Groups[i].Members = slices.DeleteFunc(slices.Clone(c.Groups[i].Members), func(m brevet.PersonID) bool { return m == id })
		}
	}
}

// inGroup reports whether the catalog has the person in the group.
func inGroup(c brevet.Catalog, group brevet.GroupName, id brevet.PersonID) bool {
	return slices.ContainsFunc(c.Groups, func(g brevet.Group) bool { return g.Name == group && slices.Contains(g.Members, id) })
}
