package catalog

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/policy"
)

const wholeCase = `
- name: everything
  who: bob
  kind: workload
  groups: [sre]
  action: approve
  role: web-root
  targets: [web1]
  logins: [root]
  duration: 15m
  reason: drill
  ticket: OPS-1
  via: ssh
  presence: verified
  key_age: 2d
  source: 10.1.4.7
  at: 2026-06-01T10:30:00+02:00
  claimed: {risk: 60, recent_requests: 3, source: 10.0.0.1}
  of: alice
  group: sre-leads
  system: catalog
  expect: refuse
  policies: [no-self-approval]
`

func TestReadCases(t *testing.T) {
	risk, recent := int64(60), int64(3)
	noon := time.Date(2026, time.January, 7, 12, 0, 0, 0, time.UTC)
	got, problems := ReadCases(files(map[string]string{
		"tests/a.yaml":        wholeCase,
		"team/tests/b.yaml":   "- {who: bob, role: web-root, expect: ask, groups: []}",
		"not-in-tests/c.yaml": "- {}",
	}))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := []policy.Case{
		{File: "team/tests/b.yaml", Line: 1, Who: "bob", Groups: []brevet.GroupName{}, Role: "web-root", At: noon, Expect: brevet.Ask},
		{Name: "everything", File: "tests/a.yaml", Line: 2, Who: "bob", Kind: brevet.Workload, Groups: []brevet.GroupName{"sre"},
			Action: brevet.ActApprove, Role: "web-root", Targets: []brevet.TargetID{"web1"}, Logins: []string{"root"}, Duration: 900,
			Reason: "drill", Ticket: "OPS-1", Via: brevet.ViaSSH, Presence: brevet.VerifiedPresence, KeyAge: 48 * time.Hour,
			Source: netip.MustParseAddr("10.1.4.7"), At: time.Date(2026, 6, 1, 8, 30, 0, 0, time.UTC),
			Claimed: policy.Claimed{Risk: &risk, RecentRequests: &recent, Source: netip.MustParseAddr("10.0.0.1")},
			Of:      "alice", Group: "sre-leads", System: "catalog", Expect: brevet.Refuse, Policies: []string{"no-self-approval"}},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmpopts.EquateApproxTime(0)); diff != "" {
		t.Errorf("differs (-want +got):\n%s", diff)
	}
}

func TestCasesWithMistakes(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"no list", "who: bob", "tests/x.yaml:1: test cases are a list, and this is a mapping: begin each case with a dash"},
		{"no person", "- {expect: ask}", "tests/x.yaml:1:3: case 1: has no who: add who: …"},
		{"no expectation", "- {who: bob}", "case 1: has no expect"},
		{"unknown field", "- {who: bob, expect: ask, rolle: x}", "rolle is not a field: did you mean role?"},
		{"unknown word", "- {who: bob, expect: aks}", `expect "aks" is none: did you mean ask?`},
		{"no time", "- {who: bob, expect: ask, at: noon}", `at "noon" is not a time`},
		{"no address", "- {who: bob, expect: ask, source: home}", `source "home" is not an address`},
		{"no number", "- {who: bob, expect: ask, claimed: {risk: high}}", "claimed.risk is text: write a number"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := ReadCases(files(map[string]string{"tests/x.yaml": tt.text}))
			if got := Problems(problems).Error(); !strings.Contains(got, tt.want) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
