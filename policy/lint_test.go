package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet"
)

// sound is a catalog of which Lint has nothing to say: each test of TestLint breaks one thing.
func sound() brevet.Catalog {
	c := shop(`@id("ask") permit (principal in Group::"sre", action == Action::"request", resource == Role::"web-root");
@id("approve") permit (principal, action == Action::"approve", resource) when { principal in context.group };
@id("admin") permit (principal in Group::"admins", action in [Action::"administer", Action::"audit"], resource);`, shellAtOnce)
	c.Groups = append(c.Groups, brevet.Group{Name: "admins", Members: []brevet.PersonID{"carol"}})
	return c
}

func TestLintOfASoundCatalog(t *testing.T) {
	if problems := compile(t, sound()).Lint(nil); len(problems) > 0 {
		t.Errorf("got %v", problems)
	}
}

func TestLint(t *testing.T) {
	add := func(text string) func(*brevet.Catalog) {
		return func(c *brevet.Catalog) {
			c.Policies = append(c.Policies, brevet.Policy{Name: "new.cedar", Text: text})
		}
	}
	group := func(name brevet.GroupName, members ...brevet.PersonID) func(*brevet.Catalog) {
		return func(c *brevet.Catalog) {
			i := slices.IndexFunc(c.Groups, func(g brevet.Group) bool { return g.Name == name })
			c.Groups[i].Members = members
		}
	}
	tests := []struct {
		name   string
		change func(*brevet.Catalog)
		want   string
	}{
		{"a role that nobody can get", func(c *brevet.Catalog) { c.Policies[1].Text = "" }, "warning: role web-shell: nobody can get it: put people into the groups"},
		{"a role that only an empty group can get", group("sre"), "warning: role web-shell: nobody can get it"},
		{"a role that is forbidden to all who could get it", add(`forbid (principal in Group::"sre", action, resource == Role::"web-shell");`), "role web-shell: nobody can get it"},
		{"a role that everybody can get", add(`permit (principal, action == Action::"activate", resource == Role::"web-shell");`), "warning: role web-shell: everybody can have it at once"},
		{"asking without a stage", add(`permit (principal in Group::"dev", action == Action::"request", resource == Role::"web-shell");`),
			"warning: role web-shell: may be asked for, but no approval stage says who must agree"},
		{"approvals that an empty group gives", group("leads"), "role web-root: nobody can approve it: group leads has too few other people who may answer (1 needed)"},
		{"approvals that only workloads give", group("leads", "ci"), "role web-root: nobody can approve it"},
		{"approvals that nobody may give", func(c *brevet.Catalog) {
			c.Policies[0].Text = strings.Replace(c.Policies[0].Text, `action == Action::"approve"`, `action == Action::"revoke"`, 1)
			c.Policies[0].Text = strings.Replace(c.Policies[0].Text, `context.group`, `Group::"leads"`, 1)
		}, "role web-root: nobody can approve it"},
		{"approvals of a group that is gone", func(c *brevet.Catalog) { c.Roles[0].Approval[0].Group = "gone" }, `nobody can approve it: there is no group "gone"`},
		{"the only lead asks", group("leads", "alice"), "note: role web-root: alice may ask for it and can never get it, since nobody else can agree"},
		{"a privilege without an end", func(c *brevet.Catalog) { c.Roles[0].Limits.Duration = 0 }, "role web-root: has no longest duration, so what it gives would not end"},
		{"a permit for a role that is not", add(`permit (principal, action == Action::"request", resource == Role::"web-rot");`),
			`new.cedar:1:1: warning: names the role "web-rot", which there is not (web-root?): this permit never matches there`},
		{"a permit for a group that is not", add(`permit (principal in Group::"srre", action == Action::"revoke", resource);`), `warning: names the group "srre", which there is not (sre?)`},
		{"a permit for somebody who is not", add(`permit (principal == Person::"mallory", action == Action::"revoke", resource);`), `warning: names the person "mallory", which there is not`},
		{"a forbid that forbids nothing", add(`forbid (principal in Group::"contractors", action, resource);`), `new.cedar:1:1: names the group "contractors", which there is not: this forbid forbids nothing`},
		{"a forbid of a group that nobody is in", func(c *brevet.Catalog) {
			c.Groups = append(c.Groups, brevet.Group{Name: "contractors"})
			add(`forbid (principal in Group::"contractors", action, resource);`)(c)
		}, "names the group contractors, which nobody is in"},
		{"a target in a condition that is not", add(`forbid (principal, action == Action::"activate", resource) when { context.target == Target::"web9" };`), `names the target "web9", which there is not`},
		{"a role in a condition's set that is not", add(`forbid (principal, action == Action::"activate", resource) when { [Role::"web-shel"].contains(resource) };`), `names the role "web-shel"`},
		{"a claimed value", add(`forbid (principal, action in Action::"elevate", resource) when { context.claimed.risk >= 60 && context.claimed.recentRequests > 9 };`),
			"new.cedar:1:1: note: reads context.claimed.risk and context.claimed.recentRequests: where nobody says a value, that condition counts as met"},
		{"what is high, at once, without a condition", func(c *brevet.Catalog) {
			c.Roles[0].Sensitivity = brevet.High
			add(`permit (principal in Group::"sre", action in Action::"elevate", resource);`)(c)
		}, "new.cedar:1:1: warning: gives web-root, of sensitivity high or above, at once and without any condition"},
		{"nobody administers", group("admins"), "warning: system catalog: nobody may administer it"},
		{"nobody reads the log", func(c *brevet.Catalog) {
			c.Policies[0].Text = strings.Replace(c.Policies[0].Text, `, Action::"audit"`, "", 1)
		}, "warning: system audit: nobody may audit it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := sound()
			tt.change(&c)
			if got := compile(t, c).Lint(nil).Error(); !strings.Contains(got, tt.want) {
				t.Errorf("got\n%s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestLintKnowsWhoHasAKey(t *testing.T) {
	s := compile(t, sound())
	problems := s.Lint(func(p brevet.PersonID, _ brevet.Presence) bool { return p != "alice" && p != "dan" })
	want := "role web-root: nobody can approve it: group leads has too few other people who may answer (1 needed): they have no signing key: brevet people invite"
	if len(problems.Errors()) != 1 || problems[0].String() != want {
		t.Errorf("got %v, want %s", problems, want)
	}
	if problems := s.Lint(func(brevet.PersonID, brevet.Presence) bool { return true }); len(problems) > 0 {
		t.Errorf("everybody has a key: %v", problems)
	}
}

func TestLintKnowsWhatKeysShow(t *testing.T) {
	touches := func(people ...brevet.PersonID) func(brevet.PersonID, brevet.Presence) bool {
		return func(p brevet.PersonID, shows brevet.Presence) bool {
			return !shows.AtLeast(brevet.TouchPresence) || slices.Contains(people, p)
		}
	}
	tests := []struct {
		name  string
		asks  brevet.Presence
		count int
		keys  func(brevet.PersonID, brevet.Presence) bool
		want  string // "": nothing
	}{
		{"keys in files only", brevet.TouchPresence, 1, touches(), "warning: role web-root: nobody can approve it: group leads has too few other people who may answer (1 needed) " +
			"with a key that shows touch, as asks.approver_presence wants: have them make a security key"},
		{"one security key, and two are needed", brevet.TouchPresence, 2, touches("dan"), "too few other people who may answer (2 needed) with a key that shows touch"},
		{"keys in files, and a PIN is asked for", brevet.VerifiedPresence, 1, touches("bob"), "with a key that shows verified"},
		{"keys in files, which the role takes", brevet.NoPresence, 1, touches(), ""},
		{"one security key", brevet.TouchPresence, 1, touches("dan"), ""},
		{"files, where keys are not known", brevet.TouchPresence, 1, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := sound()
			c.Roles[0].Asks.ApproverPresence = tt.asks
			c.Roles[0].Approval[0].Count = tt.count
			got := compile(t, c).Lint(tt.keys).Error()
			if !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("got\n%s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestLintOfALargeCatalog shows that enumeration stays affordable; it counts work, not seconds.
func TestLintOfALargeCatalog(t *testing.T) {
	c := large(200, 20_000)
	looked := 0
	s, err := Compile(c, func(brevet.PersonID) (brevet.IdentityKind, bool) { looked++; return brevet.Person, true })
	if err != nil {
		t.Fatal(err)
	}
	s.Lint(nil)
	if looked > 10*len(c.Roles) {
		t.Errorf("asked the roster %d times for %d roles", looked, len(c.Roles))
	}
}

func TestProblemsAreOneErrorForPeople(t *testing.T) {
	p := Problems{{Level: Error, File: "a.yaml", Line: 3, What: "x", Remedy: "y"}, {Level: Note, What: "z"}}
	if brevet.KindOf(p) != brevet.Invalid {
		t.Errorf("kind %v", brevet.KindOf(p))
	}
	if text, _ := brevet.MessageOf(p); text != "a.yaml:3: x: y\nnote: z" {
		t.Errorf("message %q", text)
	}
	if err := (Problems{{Level: Warning, What: "x"}}).Err(); err != nil {
		t.Errorf("a warning is an error: %v", err)
	}
	if fmt.Sprint(p.Errors()) == fmt.Sprint(p) {
		t.Error("Errors has more than errors")
	}
}
