package policy

import (
	"fmt"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
)

// monday is a Monday, 10:30 in Berlin, 08:30 in UTC.
var monday = time.Date(2026, 6, 1, 8, 30, 0, 0, time.UTC)

// shop is the small organisation that most tests ask about.
func shop(policies ...string) brevet.Catalog {
	c := brevet.Catalog{
		Roles: []brevet.Role{
			testRole("web-root", brevet.Medium, []string{"root"}, brevet.Stage{Group: "leads", Count: 1}),
			testRole("web-shell", brevet.Low, []string{"deploy"}),
		},
		Targets: []brevet.Target{
			{ID: "web1", Kind: brevet.SSHHost, Address: "web1:22", Labels: map[string]string{"app": "web"}, Sensitivity: brevet.Medium, Owner: "group:leads"},
			{ID: "web2", Kind: brevet.SSHHost, Address: "web2:22", Labels: map[string]string{"app": "web", "env": "prod"}, Sensitivity: brevet.High, Owner: "group:leads"},
			{ID: "db1", Kind: brevet.SSHHost, Address: "db1:22", Labels: map[string]string{"app": "db"}, Sensitivity: brevet.Critical, Owner: "group:leads"},
		},
		Groups: []brevet.Group{
			{Name: "sre", Members: []brevet.PersonID{"alice", "bob"}},
			{Name: "leads", Members: []brevet.PersonID{"alice", "dan"}},
			{Name: "dev", Members: []brevet.PersonID{"erin"}},
			{Name: "robots", Members: []brevet.PersonID{"ci"}},
		},
	}
	for i, text := range policies {
		c.Policies = append(c.Policies, brevet.Policy{Name: fmt.Sprintf("p%d.cedar", i), Text: text})
	}
	return c
}

func testRole(name brevet.RoleName, s brevet.Sensitivity, logins []string, stages ...brevet.Stage) brevet.Role {
	return brevet.Role{
		Name: name, Owner: "group:leads", Sensitivity: s, Approval: stages, Recording: brevet.RecordingRequired, Zone: "Europe/Berlin",
		Targets: brevet.Selector{Kind: brevet.SSHHost, Labels: map[string]string{"app": "web"}},
		SSH:     brevet.SSHGives{Logins: logins},
		Limits:  brevet.Limits{Duration: 3600, Wait: 3600},
		Asks:    brevet.Asks{ApproverPresence: brevet.NoPresence},
	}
}

// staff knows the people of shop; ci is a workload.
func staff(id brevet.PersonID) (brevet.IdentityKind, bool) {
	switch id {
	case "alice", "bob", "carol", "dan", "erin":
		return brevet.Person, true
	case "ci":
		return brevet.Workload, true
	}
	return "", false
}

func compile(t testing.TB, c brevet.Catalog) *Set {
	t.Helper()
	s, err := Compile(c, staff)
	if err != nil {
		t.Fatalf("Compile: %v", err)
	}
	return s
}

// asks is bob's usual request, changed by change.
func asks(change func(*Ask)) Ask {
	a := Ask{
		Person: "bob", Role: "web-root", Targets: []brevet.TargetID{"web1"}, Logins: []string{"root"}, Duration: 900,
		Reason: "restart nginx", Via: brevet.ViaCLI, Presence: brevet.TouchPresence, KeyAge: time.Hour, Now: monday,
	}
	if change != nil {
		change(&a)
	}
	return a
}

const (
	sreMayAsk   = `@id("sre-may-ask") permit (principal in Group::"sre", action == Action::"request", resource == Role::"web-root");`
	shellAtOnce = `@id("shell") permit (principal in Group::"sre", action == Action::"activate", resource == Role::"web-shell");`
)
