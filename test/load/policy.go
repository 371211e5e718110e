package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/policy"
)

const roles = 1000

// measurePolicy decides for an organisation of 100 people and for one of 10,000, by turns of a
// thousand decisions each, so that both see the same machine.
func measurePolicy(_ context.Context, o options, r *report) error {
	few, err := newStaff(100)
	if err != nil {
		return err
	}
	many, err := newStaff(10_000)
	if err != nil {
		return err
	}
	for len(many.took) < o.decisions {
		few.decide(1000)
		many.decide(1000)
	}
	p99 := many.took.at(99)
	r.section("Policy decision: 1,000 roles; a third permitted at once, a third to be agreed to, a third refused with why",
		row{"10,000 people", many.took.String(), "100 people: " + few.took.String(), ratioOf(many.took.at(50), few.took.at(50)),
			"p99 < 100µs", p99 < 100*time.Microsecond},
		row{what: "growth with people, p50", figure: short(many.took.at(50)), beside: short(few.took.at(50)),
			ratio: ratioOf(many.took.at(50), few.took.at(50)), goal: "not growing (< 1.5)", met: many.took.at(50) < few.took.at(50)*3/2})
	return nil
}

// staff asks for roles of an organisation.
type staff struct {
	set  *policy.Set
	asks []policy.Ask
	took times
}

func newStaff(people int) (*staff, error) {
	c := largeCatalog(people)
	set, err := policy.Compile(c, policy.Everybody)
	if err != nil {
		return nil, err
	}
	s := &staff{set: set}
	noon := time.Date(2026, 6, 1, 8, 30, 0, 0, time.UTC)
	for i := range 3000 {
		role := i * 7 % roles
		group := role % len(c.Groups)
		if i%3 == 2 {
			group = (group + 5) % len(c.Groups) // who has no part in the role
		}
		members := c.Groups[group].Members
		s.asks = append(s.asks, policy.Ask{
			Person: members[i%len(members)], Role: c.Roles[role].Name, Targets: []brevet.TargetID{c.Targets[i%len(c.Targets)].ID},
			Logins: []string{"root"}, Duration: 1200, Reason: "load", Via: brevet.ViaCLI, Presence: brevet.TouchPresence, Now: noon,
		})
	}
	return s, nil
}

func (s *staff) decide(n int) {
	for range n {
		ask := s.asks[len(s.took)%len(s.asks)]
		start := time.Now()
		s.set.Decide(ask)
		s.took = append(s.took, time.Since(start))
	}
}

// largeCatalog is an organisation with a policy or two for each role, as many groups as a tenth of
// the roles, and two policies for everybody.
func largeCatalog(people int) brevet.Catalog {
	var c brevet.Catalog
	const groups = roles / 10
	for i := range groups {
		g := brevet.Group{Name: brevet.GroupName(fmt.Sprintf("team-%03d", i))}
		size := max(people/groups, 3) // two may approve what the third asks for
		for n := range size {
			g.Members = append(g.Members, brevet.PersonID(fmt.Sprintf("person-%05d", (i*size+n)%max(people, groups*size))))
		}
		c.Groups = append(c.Groups, g)
	}
	var text strings.Builder
	text.WriteString(`forbid (principal, action == Action::"activate", resource) unless { context.presence != "none" || resource.sensitivity == "low" };
permit (principal, action == Action::"approve", resource) when { principal in context.group };
`)
	for i := range roles {
		name := brevet.RoleName(fmt.Sprintf("role-%04d", i))
		c.Roles = append(c.Roles, brevet.Role{
			Name: name, Owner: "group:team-000", Sensitivity: brevet.Medium, Recording: brevet.RecordingRequired, Zone: "Europe/Berlin",
			Targets:  brevet.Selector{Kind: brevet.SSHHost, Labels: map[string]string{"app": "web"}},
			SSH:      brevet.SSHGives{Logins: []string{"root"}},
			Limits:   brevet.Limits{Duration: 3600, Wait: 3600},
			Asks:     brevet.Asks{ApproverPresence: brevet.NoPresence},
			Approval: []brevet.Stage{{Group: c.Groups[(i+1)%groups].Name, Count: 2}},
		})
		fmt.Fprintf(&text, "permit (principal in Group::\"team-%03d\", action == Action::\"request\", resource == Role::%q);\n", i%groups, name)
		if i%2 == 0 {
			fmt.Fprintf(&text, "permit (principal in Group::\"team-%03d\", action == Action::\"activate\", resource == Role::%q) "+
				"when { context.hour >= 9 && context.hour < 17 && context.duration <= duration(\"30m\") };\n", i%groups, name)
		}
	}
	c.Policies = []brevet.Policy{{Name: "all.cedar", Text: text.String()}}
	for i := range 100 {
		c.Targets = append(c.Targets, brevet.Target{
			ID: brevet.TargetID(fmt.Sprintf("web-%03d", i)), Kind: brevet.SSHHost, Labels: map[string]string{"app": "web"}, Sensitivity: brevet.Medium,
		})
	}
	return c
}
