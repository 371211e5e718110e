package policy

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cedar-policy/cedar-go"
	"github.com/google/go-cmp/cmp"

	"github.com/brevet-pim/brevet"
)

// TestIndexChangesNoDecision compares, for random policies and questions, what the engine says
// given the policies that the index finds and given all of them.
func TestIndexChangesNoDecision(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 11))
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	policy := func() string {
		return fmt.Sprintf("%s (%s, %s, %s)%s;", pick("permit", "permit", "permit", "forbid"),
			pick("principal", `principal == Person::"bob"`, `principal == Person::"erin"`, `principal in Group::"sre"`, `principal in Group::"leads"`, `principal is Person`, `principal is Person in Group::"dev"`, `principal in Person::"bob"`),
			pick("action", `action == Action::"request"`, `action == Action::"activate"`, `action in Action::"elevate"`, `action in [Action::"approve", Action::"request"]`, `action == Action::"revoke"`),
			pick("resource", `resource == Role::"web-root"`, `resource == Role::"web-shell"`, `resource is Role`, `resource in Role::"web-root"`, `resource is Role in Role::"web-shell"`),
			pick("", "", ` when { context.hour > 5 }`, ` unless { context.hour > 5 }`))
	}
	compiled := 0
	for range 400 {
		var texts []string
		for range 1 + random.IntN(8) {
			texts = append(texts, policy())
		}
		s, err := Compile(shop(texts...), staff)
		if err != nil {
			continue // a scope that the schema says can never match
		}
		compiled++
		all := candidates{entries: s.policies}
		for _, person := range []brevet.PersonID{"alice", "bob", "carol", "erin", "ci"} {
			for _, role := range []brevet.RoleName{"web-root", "web-shell"} {
				v, _ := s.viewOf(person)
				context := v.weighing(asks(nil), s.roles[role]).answers[0].context
				for _, action := range []brevet.Action{brevet.ActRequest, brevet.ActActivate} {
					found := candidates{entries: s.relevant(action, person, v.groups, roleUID(role))}
					got, want := v.authorize(found, action, roleUID(role), context), v.authorize(all, action, roleUID(role), context)
					if !cmp.Equal(got, want, cmp.AllowUnexported(verdict{})) {
						t.Fatalf("%s %s %s: got %+v, want %+v\n%q", person, action, role, got, want, texts)
					}
					checkScopes(t, s, v, action, roleUID(role), want.by)
				}
			}
		}
	}
	if compiled < 100 {
		t.Errorf("only %d of 400 catalogs compiled", compiled)
	}
}

// checkScopes shows that what Lint and explanations enumerate takes in every policy that decided.
func checkScopes(t *testing.T, s *Set, v *view, action brevet.Action, resource cedar.EntityUID, deciding []cedar.PolicyID) {
	t.Helper()
	listed := map[cedar.PolicyID]bool{}
	for _, e := range s.concerning(action, resource) {
		if principalInScope(v.person, v.groups, e.tree.Principal) {
			listed[e.id] = true
		}
	}
	for _, id := range deciding {
		if !listed[id] {
			t.Fatalf("%s decides %s on %s for %s and is not among those that concern it", id, action, resource, v.person)
		}
	}
}

// TestDecisionsDoNotGrowWithPeople counts what a decision looks at, which seconds would show only
// on a quiet machine: as many policies and people with a hundred times the organisation.
func TestDecisionsDoNotGrowWithPeople(t *testing.T) {
	work := func(people int) (policies, looks int) {
		c := large(100, people)
		s, err := Compile(c, func(brevet.PersonID) (brevet.IdentityKind, bool) { looks++; return brevet.Person, true })
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range c.Roles {
			group := c.Groups[i%len(c.Groups)]
			d := s.Decide(Ask{Person: group.Members[0], Role: r.Name, Targets: []brevet.TargetID{"web-001"}, Logins: []string{"root"},
				Duration: 1200, Via: brevet.ViaCLI, Presence: brevet.TouchPresence, Now: monday, Claimed: Claimed{Risk: number(0)}})
			if d.Outcome == brevet.Refuse {
				t.Fatalf("%+v", d)
			}
			policies += len(s.relevant(brevet.ActActivate, group.Members[0], s.groupsOf[group.Members[0]], roleUID(r.Name)))
		}
		return policies, looks
	}
	fewPolicies, fewLooks := work(100)
	manyPolicies, manyLooks := work(10_000)
	if manyPolicies > fewPolicies || manyLooks > fewLooks {
		t.Errorf("with 100 people %d policies and %d looks at people, with 10,000 %d and %d", fewPolicies, fewLooks, manyPolicies, manyLooks)
	}
}
