package policy

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
)

// large is an organisation with a policy or two for each role, as many groups as a tenth of the
// roles, and a few policies for everybody.
func large(roles, people int) brevet.Catalog {
	var c brevet.Catalog
	groups := roles / 10
	for i := range groups {
		g := brevet.Group{Name: brevet.GroupName(fmt.Sprintf("team-%03d", i))}
		for n := range max(people/groups, 3) { // two may approve what the third asks for
			g.Members = append(g.Members, brevet.PersonID(fmt.Sprintf("person-%05d", (i+n*groups+n*groups/people)%people)))
		}
		c.Groups = append(c.Groups, g)
	}
	text := `forbid (principal, action in Action::"elevate", resource) when { context.claimed.risk >= 60 };
forbid (principal, action == Action::"activate", resource) unless { context.presence != "none" || resource.sensitivity == "low" };
permit (principal, action == Action::"approve", resource) when { principal in context.group };
`
	for i := range roles {
		name := brevet.RoleName(fmt.Sprintf("role-%04d", i))
		r := testRole(name, brevet.Medium, []string{"root"}, brevet.Stage{Group: c.Groups[(i+1)%groups].Name, Count: 2})
		c.Roles = append(c.Roles, r)
		text += fmt.Sprintf("permit (principal in Group::\"team-%03d\", action == Action::\"request\", resource == Role::%q);\n", i%groups, name)
		if i%2 == 0 {
			text += fmt.Sprintf("permit (principal in Group::\"team-%03d\", action == Action::\"activate\", resource == Role::%q) when { context.hour >= 9 && context.hour < 17 && context.duration <= duration(\"30m\") };\n", i%groups, name)
		}
	}
	c.Policies = []brevet.Policy{{Name: "all.cedar", Text: text}}
	for i := range 100 {
		c.Targets = append(c.Targets, brevet.Target{ID: brevet.TargetID(fmt.Sprintf("web-%03d", i)), Kind: brevet.SSHHost,
			Labels: map[string]string{"app": "web"}, Sensitivity: brevet.Medium})
	}
	return c
}

// BenchmarkDecide reports the time of one decision as percentiles: a third of the requests are
// permitted at once, a third must be agreed to, a third are refused with an explanation.
func BenchmarkDecide(b *testing.B) {
	for _, people := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("roles=1000/people=%d", people), func(b *testing.B) {
			s, err := Compile(large(1000, people), Everybody)
			if err != nil {
				b.Fatal(err)
			}
			c, risk := large(1000, people), int64(0)
			ask := func(i int) Ask {
				role := i * 7 % 1000
				group := role % len(c.Groups)
				if i%3 == 2 {
					group = (group + 5) % len(c.Groups) // who has no part in the role
				}
				members := c.Groups[group].Members
				return Ask{
					Person: members[i%len(members)], Role: brevet.RoleName(fmt.Sprintf("role-%04d", role)),
					Targets: []brevet.TargetID{brevet.TargetID(fmt.Sprintf("web-%03d", i%100))}, Logins: []string{"root"},
					Duration: 1200, Reason: "load", Via: brevet.ViaCLI, Presence: brevet.TouchPresence, Now: monday, Claimed: Claimed{Risk: &risk},
				}
			}
			asks := make([]Ask, 3000)
			for i := range asks {
				asks[i] = ask(i)
			}
			taken := make([]time.Duration, 0, b.N)
			outcomes := map[brevet.Outcome]int{}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				start := time.Now()
				d := s.Decide(asks[i%len(asks)])
				taken = append(taken, time.Since(start))
				outcomes[d.Outcome]++
			}
			for _, o := range []brevet.Outcome{brevet.Allow, brevet.Ask, brevet.Refuse} {
				if outcomes[o] == 0 && b.N > len(asks) {
					b.Fatalf("no decision was %s: %v", o, outcomes)
				}
			}
			slices.Sort(taken)
			b.ReportMetric(float64(taken[len(taken)/2].Nanoseconds())/1e3, "p50-µs")
			b.ReportMetric(float64(taken[len(taken)*99/100].Nanoseconds())/1e3, "p99-µs")
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	c := large(1000, 10_000)
	for b.Loop() {
		if _, err := Compile(c, Everybody); err != nil {
			b.Fatal(err)
		}
	}
}
