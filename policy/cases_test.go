package policy

import (
	"strings"
	"testing"

	"github.com/brevet-pim/brevet"
)

func TestRunCases(t *testing.T) {
	s := compile(t, shop(sreMayAsk, shellAtOnce,
		`@id("approve") permit (principal, action == Action::"approve", resource) when { principal in context.group };`,
		`@id("robots") forbid (principal, action, resource) when { principal.kind == "workload" };`,
		`@id("log") permit (principal == Person::"zoe", action == Action::"audit", resource);`,
		`@id("risky") forbid (principal, action in Action::"elevate", resource) when { context.claimed.risk >= 60 };`))
	low := Claimed{Risk: number(0)}
	tests := []struct {
		c    Case
		want string // "" passes
	}{
		{Case{Who: "bob", Role: "web-root", Claimed: low, Expect: brevet.Ask}, ""},
		{Case{Who: "bob", Role: "web-root", Claimed: low, Expect: brevet.Ask, Policies: []string{"sre-may-ask"}}, ""},
		{Case{Who: "bob", Role: "web-root", Claimed: low, Expect: brevet.Ask, Policies: []string{"p0.cedar#sre-may-ask"}}, ""},
		{Case{Who: "bob", Role: "web-root", Claimed: low, Expect: brevet.Ask, Policies: []string{"p1.cedar#sre-may-ask"}}, "policy p0.cedar#sre-may-ask decided too"},
		{Case{Who: "bob", Role: "web-root", Claimed: low, Expect: brevet.Ask, Policies: []string{"sre-may-ask", "shell"}}, `policy "shell" did not decide (p0.cedar#sre-may-ask did)`},
		{Case{Who: "bob", Role: "web-root", Claimed: low, Expect: brevet.Allow}, "expected allow, got ask: 1 of leads must agree"},
		{Case{Who: "bob", Role: "web-root", Expect: brevet.Refuse, Policies: []string{"risky"}}, ""}, // nobody said a risk
		{Case{Who: "bob", Role: "web-shell", Claimed: low, Expect: brevet.Allow}, ""},
		{Case{Who: "bob", Role: "web-shell", Claimed: low, Groups: []brevet.GroupName{}, Expect: brevet.Refuse, Policies: []string{}}, ""},
		{Case{Who: "new-hire", Role: "web-shell", Claimed: low, Groups: []brevet.GroupName{"sre"}, Expect: brevet.Allow}, ""},
		{Case{Who: "ci", Kind: brevet.Workload, Role: "web-shell", Claimed: low, Groups: []brevet.GroupName{"sre"}, Expect: brevet.Refuse, Policies: []string{"robots"}}, ""},
		{Case{Who: "bob", Role: "web-rot", Expect: brevet.Refuse}, ""},
		{Case{Who: "bob", Role: "web-rot", Expect: brevet.Ask}, `there is no role "web-rot"`},
		{Case{Who: "dan", Action: brevet.ActApprove, Role: "web-root", Of: "bob", Group: "leads", Expect: brevet.Allow}, ""},
		{Case{Who: "dan", Action: brevet.ActApprove, Role: "web-root", Of: "dan", Group: "leads", Expect: brevet.Refuse}, ""},
		{Case{Who: "zoe", Action: brevet.ActAudit, System: SystemAudit, Expect: brevet.Allow, Policies: []string{"log"}}, ""},
		{Case{Who: "bob", Action: brevet.ActAudit, System: SystemAudit, Expect: brevet.Allow}, "audit is for person zoe"},
	}
	var cases []Case
	for _, tt := range tests {
		tt.c.At = monday
		cases = append(cases, tt.c)
	}
	results := s.RunCases(cases)
	if len(results) != len(tests) {
		t.Fatalf("%d results of %d cases", len(results), len(tests))
	}
	for i, r := range results {
		want := tests[i].want
		if r.Passed() != (want == "") || !strings.Contains(r.Failure, want) {
			t.Errorf("case %d: got %q, want %q (%+v)", i+1, r.Failure, want, r.Decision)
		}
	}
}
