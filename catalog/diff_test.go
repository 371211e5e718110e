package catalog

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/brevet-pim/brevet"
)

func TestDiff(t *testing.T) {
	tests := []struct {
		name   string
		change func(*brevet.Catalog)
		want   []string
	}{
		{"nothing", func(*brevet.Catalog) {}, nil},
		{"no list for an empty one", func(c *brevet.Catalog) { c.Roles[0].Targets.Names = []brevet.TargetID{} }, nil},
		{"a longer grant", func(c *brevet.Catalog) { c.Roles[0].Limits.Duration = 7200 },
			[]string{"~ role web-root", "    limits.duration 1h → 2h"}},
		{"a login more, one less", func(c *brevet.Catalog) { c.Roles[0].SSH.Logins = []string{"root", "www"} },
			[]string{"~ role web-root", "    ssh.logins + www - deploy"}},
		{"nobody has to agree any more", func(c *brevet.Catalog) { c.Roles[0].Approval = nil },
			[]string{"~ role web-root", `    approval [{"count":1,"group":"sre-leads"}] → nothing`}},
		{"a label", func(c *brevet.Catalog) { c.Targets[0].Labels = map[string]string{"app": "web", "env": "test"} },
			[]string{"~ target web1", `    labels.env "prod" → "test"`}},
		{"a member", func(c *brevet.Catalog) { c.Groups[0].Members = []brevet.PersonID{"alice", "bob", "mallory"} },
			[]string{"~ group sre", "    members + mallory"}},
		{"a group goes, another comes", func(c *brevet.Catalog) { c.Groups[0] = brevet.Group{Name: "ops"} },
			[]string{"+ group ops: nobody", "- group sre: alice, bob"}},
		{"a role goes", func(c *brevet.Catalog) { c.Roles = nil },
			[]string{"- role web-root: deploy, root for up to 1h, asks 1 of sre-leads, recording required"}},
		{"a line of policy", func(c *brevet.Catalog) {
			c.Policies[0].Text = strings.Replace(c.Policies[0].Text, "request", "activate", 1)
		}, []string{"~ policy file sre.cedar",
			`    - permit (principal in Group::"sre", action == Action::"request", resource == Role::"web-root");`,
			`    + permit (principal in Group::"sre", action == Action::"activate", resource == Role::"web-root");`}},
		{"an empty policy file goes", func(c *brevet.Catalog) { c.Policies = nil },
			[]string{"- policy file sre.cedar", `    - @id("sre-may-ask")`, `    - permit (principal in Group::"sre", action == Action::"request", resource == Role::"web-root");`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			after := goodCatalog()
			tt.change(&after)
			if diff := cmp.Diff(tt.want, Diff(goodCatalog(), after)); diff != "" {
				t.Errorf("differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDiffTextIsShort(t *testing.T) {
	before := "a\nb\nc\nd\ne\n"
	after := "a\nc\nx\nd\ny\ne\n"
	want := []string{"    - b", "    + x", "    + y"}
	if diff := cmp.Diff(want, diffText(before, after)); diff != "" {
		t.Errorf("differs (-want +got):\n%s", diff)
	}
}

// TestDiffTextIsBounded shows that two large files that share nothing need no large table.
func TestDiffTextIsBounded(t *testing.T) {
	before, after := strings.Repeat("a\n", 200_000), strings.Repeat("b\n", 200_000)
	if got := len(diffText(before, after)); got != 400_000 {
		t.Errorf("got %d lines", got)
	}
}
