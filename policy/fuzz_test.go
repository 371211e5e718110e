package policy

import (
	"net/netip"
	"testing"

	"github.com/brevet-pim/brevet"
)

// order of outcomes, the strictest last.
var order = map[brevet.Outcome]int{brevet.Allow: 0, brevet.Ask: 1, brevet.Refuse: 2}

// FuzzPolicy compiles hostile text and, if it is good, asks it about everything: nothing may
// panic, hang or overflow, a claimed value may never turn a refusal into anything else, and text
// that people see may not act on their terminal.
func FuzzPolicy(f *testing.F) {
	for _, seed := range []string{
		sreMayAsk, shellAtOnce, permitAll,
		`@id("x") @description("y") permit (principal is Person in Group::"sre", action in [Action::"request", Action::"activate"], resource == Role::"web-root") when { context.hour >= 9 && context.duration <= duration("30m") } unless { context.weekday == "sun" };`,
		`forbid (principal, action in Action::"elevate", resource) when { context.claimed.risk >= 60 || context.claimed.source.isInRange(ip("10.0.0.0/8")) };`,
		`forbid (principal, action, resource) unless { if context has source then context.source.isIpv4() else principal.kind == "person" };`,
		`permit (principal, action == Action::"approve", resource) when { principal in context.group && [1, -2].contains(context.hour * -3 + 7) && {a: {b: "c"}}.a.b like "*\*c*" };`,
		`forbid (principal, action, resource) when { context.now.toTime() > duration("1h") && decimal("1.23").lessThan(decimal("2.0")) };`,
		"permit (principal, action, resource) when { \"\u202e\" == \"\\u{202e}\" };",
		`// only a comment`, `permit(`, "\x00", `@a@b permit (principal, action, resource);`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		harmless := func(where string, lines ...string) {
			for _, line := range lines {
				if err := brevet.CheckText(where, line, false); err != nil {
					t.Errorf("%q: %v", line, err)
				}
			}
		}
		s, err := Compile(shop(text, permitAll), staff)
		if err != nil {
			for _, p := range Check([]brevet.Policy{{Name: "p0.cedar", Text: text}}) {
				harmless("problem", p.String())
			}
			return
		}
		for _, change := range []func(*Ask){nil, func(a *Ask) { a.Person, a.Via = "ci", brevet.ViaSSH }, func(a *Ask) { a.Claimed = Claimed{Risk: number(0), RecentRequests: number(0)} }} {
			a := asks(change)
			d := s.Decide(a)
			harmless("decision", append(append(d.Reasons, d.Errors...), s.Explain(a)...)...)
			if len(d.Errors) > 0 && d.Outcome != brevet.Refuse {
				t.Errorf("errors and %s", d.Outcome)
			}
			whole := a
			whole.Claimed = Claimed{Risk: number(50), RecentRequests: number(5), Source: netip.MustParseAddr("10.1.4.7")}
			a.Claimed = Claimed{}
			said := s.Decide(whole)
			if order[s.Decide(a).Outcome] < order[said.Outcome] && len(said.Errors) == 0 {
				t.Errorf("saying nothing gives more than saying something")
			}
		}
		for _, action := range answerable {
			_, d := s.May(question(action, nil))
			harmless("answer", append(d.Reasons, d.Errors...)...)
		}
		for _, p := range s.Lint(nil) {
			harmless("lint", p.String())
		}
	})
}
