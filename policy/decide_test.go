package policy

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/brevet-pim/brevet"
)

func TestDecide(t *testing.T) {
	shell := func(a *Ask) { a.Role, a.Logins = "web-shell", []string{"deploy"} }
	tests := []struct {
		name     string
		policies []string
		ask      func(*Ask)
		want     brevet.Outcome
		deciding []string // nil: any
		reason   string   // a part of one of the reasons
	}{
		{name: "no policy at all", want: brevet.Refuse, deciding: []string{}, reason: "no policy gives web-root to anybody"},
		{name: "asked for", policies: []string{sreMayAsk}, want: brevet.Ask, deciding: []string{"p0.cedar#sre-may-ask"},
			reason: "1 of leads must agree (policy p0.cedar#sre-may-ask)"},
		{name: "at once", policies: []string{shellAtOnce}, ask: shell, want: brevet.Allow, deciding: []string{"p0.cedar#shell"}},
		{name: "at once comes before asking", policies: []string{shellAtOnce, `permit (principal, action == Action::"request", resource);`}, ask: shell,
			want: brevet.Allow, deciding: []string{"p0.cedar#shell"}},
		{name: "another group", policies: []string{sreMayAsk}, ask: func(a *Ask) { a.Person = "erin" }, want: brevet.Refuse, deciding: []string{},
			reason: "web-root is for group sre (policy p0.cedar#sre-may-ask). erin is in: dev"},
		{name: "no group", policies: []string{sreMayAsk}, ask: func(a *Ask) { a.Person = "carol" }, want: brevet.Refuse, reason: "carol is in: no group"},
		{name: "forbid wins over every permit", policies: []string{sreMayAsk, `permit (principal, action, resource);`, `@id("no") forbid (principal == Person::"bob", action, resource);`},
			want: brevet.Refuse, deciding: []string{"p2.cedar#no"}, reason: "it is forbidden: policy p2.cedar#no"},
		{name: "forbid to activate leaves asking", policies: []string{`permit (principal, action in Action::"elevate", resource);`, `@id("no") forbid (principal, action == Action::"activate", resource);`},
			want: brevet.Ask, deciding: []string{"p0.cedar#1"}, reason: "without a person it is forbidden: policy p1.cedar#no"},
		{name: "somebody who is not in force", policies: []string{`permit (principal, action, resource);`}, ask: func(a *Ask) { a.Person = "mallory" },
			want: brevet.Refuse, reason: `"mallory" is not an identity in force here`},
		{name: "nobody", policies: []string{`permit (principal, action, resource);`}, ask: func(a *Ask) { a.Person = "" }, want: brevet.Refuse},
		{name: "another case of the name", policies: []string{`permit (principal, action, resource);`}, ask: func(a *Ask) { a.Person = "Bob" }, want: brevet.Refuse},
		{name: "unknown role", policies: []string{sreMayAsk}, ask: func(a *Ask) { a.Role = "web-rot" }, want: brevet.Refuse,
			reason: `there is no role "web-rot". Did you mean web-root?`},
		{name: "unknown target", policies: []string{`permit (principal, action, resource);`}, ask: func(a *Ask) { a.Targets = []brevet.TargetID{"web9"} },
			want: brevet.Refuse, reason: `there is no target "web9"`},
		{name: "a target that the role does not choose", policies: []string{`permit (principal, action, resource);`}, ask: func(a *Ask) { a.Targets = []brevet.TargetID{"web1", "db1"} },
			want: brevet.Refuse, reason: "web-root gives nothing on db1"},
		{name: "no target", policies: []string{`permit (principal, action, resource);`}, ask: func(a *Ask) { a.Targets = nil }, want: brevet.Refuse, reason: "names no target"},
		{name: "a login that is not the role's", policies: []string{`permit (principal, action, resource);`}, ask: func(a *Ask) { a.Logins = []string{"root", "oracle"} },
			want: brevet.Refuse, reason: `does not give the login "oracle" (it gives root)`},
		{name: "no login", policies: []string{`permit (principal, action, resource);`}, ask: func(a *Ask) { a.Logins = nil }, want: brevet.Refuse, reason: "names no login"},
		{name: "longer than the role", policies: []string{`permit (principal, action, resource);`}, ask: func(a *Ask) { a.Duration = 3601 }, want: brevet.Refuse,
			reason: "web-root is given for 1s to 1h, not for 1h1s"},
		{name: "no duration", policies: []string{`permit (principal, action, resource);`}, ask: func(a *Ask) { a.Duration = 0 }, want: brevet.Refuse},
		{name: "negative duration", policies: []string{`permit (principal, action, resource);`}, ask: func(a *Ask) { a.Duration = -900 }, want: brevet.Refuse},
		{name: "enormous duration", policies: []string{`permit (principal, action, resource);`}, ask: func(a *Ask) { a.Duration = 1 << 62 }, want: brevet.Refuse},
		{name: "a gateway's word on what is medium", policies: []string{`permit (principal, action == Action::"activate", resource);`},
			ask: func(a *Ask) { a.Via = brevet.ViaSSH }, want: brevet.Allow},
		{name: "a gateway's word on a target that is high", policies: []string{`permit (principal, action == Action::"activate", resource);`},
			ask: func(a *Ask) { a.Via, a.Targets = brevet.ViaSSH, []brevet.TargetID{"web2"} }, want: brevet.Ask, reason: "a gateway's word alone"},
		{name: "role without stages cannot be asked for", policies: []string{`permit (principal, action == Action::"request", resource);`}, ask: shell,
			want: brevet.Refuse, reason: "web-shell needs somebody to agree, and the role has no approval stages"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := compile(t, shop(tt.policies...)).Decide(asks(tt.ask))
			if d.Outcome != tt.want || len(d.Errors) > 0 {
				t.Fatalf("got %+v, want %s", d, tt.want)
			}
			if tt.deciding != nil && !cmp.Equal(tt.deciding, d.Policies) {
				t.Errorf("policies %v decided, want %v", d.Policies, tt.deciding)
			}
			if !strings.Contains(strings.Join(d.Reasons, "\n"), tt.reason) {
				t.Errorf("reasons %q, want %q", d.Reasons, tt.reason)
			}
			if d.Outcome == brevet.Refuse && len(d.Reasons) == 0 {
				t.Error("refused without a reason")
			}
			if (d.Outcome == brevet.Ask) != (len(d.Stages) > 0) {
				t.Errorf("%s with stages %v", d.Outcome, d.Stages)
			}
		})
	}
}

// TestDecideReadsEveryField has for each field of the context a condition that holds for bob's
// usual request, and a change of the request after which it does not.
func TestDecideReadsEveryField(t *testing.T) {
	gateway := netip.MustParseAddr("10.1.4.7")
	tests := []struct {
		when   string
		change func(*Ask)
	}{
		{`context.now == datetime("2026-06-01T08:30:00Z")`, func(a *Ask) { a.Now = monday.Add(time.Millisecond) }},
		{`context.hour == 10`, func(a *Ask) { a.Now = monday.Add(time.Hour) }}, // 10:30 in Berlin, 08:30 UTC
		{`context.minute == 30`, func(a *Ask) { a.Now = monday.Add(time.Minute) }},
		{`context.weekday == "mon"`, func(a *Ask) { a.Now = monday.Add(14 * time.Hour) }}, // 00:30 on Tuesday in Berlin
		{`context.via == "cli"`, func(a *Ask) { a.Via = brevet.ViaAPI }},
		{`context.presence == "touch"`, func(a *Ask) { a.Presence = brevet.NoPresence }},
		{`context.presence != "none"`, func(a *Ask) { a.Presence = "made up" }},
		{`context.keyAge >= duration("1h")`, func(a *Ask) { a.KeyAge = time.Hour - time.Millisecond }},
		{`context has source && context.source.isInRange(ip("10.0.0.0/8"))`, func(a *Ask) { a.Source = netip.MustParseAddr("192.0.2.1") }},
		{`context has source && context.source.isIpv4()`, func(a *Ask) { a.Source = netip.Addr{} }},
		{`context.target == Target::"web1"`, func(a *Ask) { a.Targets = []brevet.TargetID{"web2"} }},
		{`context.target.sensitivity == "medium"`, func(a *Ask) { a.Targets = []brevet.TargetID{"web2"} }},
		{`!context.target.labels.contains("env=prod")`, func(a *Ask) { a.Targets = []brevet.TargetID{"web2"} }},
		{`context.target.owner == "group:leads" && context.target.kind == "ssh" && context.duration <= duration("15m")`, func(a *Ask) { a.Duration++ }},
		{`context.logins == ["root"]`, func(a *Ask) { a.Logins = []string{"root", "deploy"} }},
		{`context.reason like "*nginx*"`, func(a *Ask) { a.Reason = "no" }},
		{`context.ticket == ""`, func(a *Ask) { a.Ticket = "OPS-1" }},
		{`principal in Group::"sre"`, func(a *Ask) { a.Person = "carol" }},
		{`principal.kind == "person"`, func(a *Ask) { a.Person = "ci" }},
		{`resource.sensitivity == "medium"`, func(a *Ask) { a.Role = "web-shell" }},
		{`resource.owner == "group:leads" && resource.recording == "required" && resource.labels.contains("app=web") && resource.logins.contains("root")`,
			func(a *Ask) { a.Role = "web-shell" }},
		{`resource.approvers.contains(Group::"leads")`, func(a *Ask) { a.Role = "web-shell" }},
	}
	c := shop()
	c.Roles[0].SSH.Logins = []string{"deploy", "root"}
	for _, tt := range tests {
		t.Run(tt.when, func(t *testing.T) {
			for _, effect := range []struct {
				policies   string
				met, unmet brevet.Outcome
			}{
				{`permit (principal, action == Action::"activate", resource) when { ` + tt.when + ` };`, brevet.Allow, brevet.Refuse},
				{`permit (principal, action == Action::"activate", resource); forbid (principal, action in Action::"elevate", resource) unless { ` + tt.when + ` };`, brevet.Allow, brevet.Refuse},
				{`permit (principal, action == Action::"activate", resource); forbid (principal, action in Action::"elevate", resource) when { ` + tt.when + ` };`, brevet.Refuse, brevet.Allow},
			} {
				c.Policies = []brevet.Policy{{Name: "p.cedar", Text: effect.policies}}
				s := compile(t, c)
				usual := asks(func(a *Ask) { a.Source = gateway })
				if d := s.Decide(usual); d.Outcome != effect.met {
					t.Errorf("met: got %+v, want %s\n%s", d, effect.met, effect.policies)
				}
				tt.change(&usual)
				if usual.Role == "web-shell" {
					usual.Logins = []string{"deploy"}
				}
				if d := s.Decide(usual); d.Outcome != effect.unmet || len(d.Errors) > 0 {
					t.Errorf("not met: got %+v, want %s\n%s", d, effect.unmet, effect.policies)
				}
			}
		})
	}
}

func TestStrictestOfSeveralTargets(t *testing.T) {
	policies := []string{
		`@id("web1") permit (principal, action == Action::"activate", resource) when { context.target == Target::"web1" };`,
		`@id("web2") permit (principal, action == Action::"request", resource) when { context.target == Target::"web2" };`,
	}
	c := shop(policies...)
	c.Roles[0].Targets.Labels = nil // takes in db1 too, of which no policy speaks
	s := compile(t, c)
	tests := []struct {
		targets []brevet.TargetID
		want    brevet.Outcome
	}{
		{[]brevet.TargetID{"web1"}, brevet.Allow},
		{[]brevet.TargetID{"web2"}, brevet.Ask},
		{[]brevet.TargetID{"web1", "web2"}, brevet.Ask},
		{[]brevet.TargetID{"web2", "web1"}, brevet.Ask},
		{[]brevet.TargetID{"db1"}, brevet.Refuse},
		{[]brevet.TargetID{"web1", "web2", "db1"}, brevet.Refuse},
		{[]brevet.TargetID{"db1", "web1"}, brevet.Refuse},
		{[]brevet.TargetID{"web1", "web1"}, brevet.Allow},
	}
	for _, tt := range tests {
		if d := s.Decide(asks(func(a *Ask) { a.Targets = tt.targets })); d.Outcome != tt.want {
			t.Errorf("%v: got %+v, want %s", tt.targets, d, tt.want)
		}
	}
}

func TestReasonAndTicket(t *testing.T) {
	c := shop(`permit (principal, action == Action::"activate", resource);`)
	c.Roles[0].Asks.Reason, c.Roles[0].Asks.Ticket = true, "OPS-[0-9]+|none"
	s := compile(t, c)
	tests := []struct {
		reason, ticket string
		want           brevet.Outcome
	}{
		{"nginx", "OPS-1", brevet.Allow},
		{"nginx", "none", brevet.Allow},
		{"", "OPS-1", brevet.Refuse},
		{" \n\t ", "OPS-1", brevet.Refuse},
		{"nginx", "", brevet.Refuse},
		{"nginx", "xOPS-1", brevet.Refuse},
		{"nginx", "OPS-1\nnone", brevet.Refuse}, // the whole of it, not a line
		{"nginx", "OPS-1x", brevet.Refuse},
		{"nginx", "nonesuch", brevet.Refuse}, // the bar does not escape the anchors
	}
	for _, tt := range tests {
		a := asks(func(a *Ask) { a.Reason, a.Ticket = tt.reason, tt.ticket })
		if d := s.Decide(a); d.Outcome != tt.want {
			t.Errorf("reason %q, ticket %q: got %+v, want %s", tt.reason, tt.ticket, d, tt.want)
		}
		if d := s.Preview(a); d.Outcome != brevet.Allow {
			t.Errorf("Preview: reason %q, ticket %q: got %+v", tt.reason, tt.ticket, d)
		}
	}
}

func TestPreviewFillsIn(t *testing.T) {
	s := compile(t, shop(sreMayAsk))
	d := s.Preview(Ask{Person: "bob", Role: "web-root", Targets: s.TargetsOf("web-root"), Via: brevet.ViaCLI, Now: monday})
	if d.Outcome != brevet.Ask {
		t.Errorf("got %+v", d)
	}
	if diff := cmp.Diff([]brevet.TargetID{"web1", "web2"}, s.TargetsOf("web-root")); diff != "" {
		t.Error(diff)
	}
	if got := s.TargetsOf("web-rot"); got != nil {
		t.Errorf("targets of an unknown role: %v", got)
	}
}

// TestErrorsRefuse has policies that fit the schema and still fail for some requests, beside a
// permit for everybody. Cedar skips what fails: a forbid too (cedar #2428), which here must not
// let anything through.
func TestErrorsRefuse(t *testing.T) {
	everything := `permit (principal, action, resource);`
	overflow := `9223372036854775807 + context.hour > 0`
	tests := []struct{ name, policy string }{
		{"a forbid", `@id("bad") forbid (principal, action, resource) when { ` + overflow + ` };`},
		{"a permit", `@id("bad") permit (principal, action, resource) when { ` + overflow + ` };`},
		{"an unless", `@id("bad") forbid (principal, action, resource) unless { ` + overflow + ` };`},
		{"a duration", `@id("bad") forbid (principal, action == Action::"activate", resource) when { context.now.offset(duration("9223372036854775807ms")) > context.now };`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := compile(t, shop(everything, tt.policy))
			d := s.Decide(asks(nil))
			if d.Outcome != brevet.Refuse || len(d.Errors) == 0 || !cmp.Equal(d.Reasons, []string{notEvaluated}) {
				t.Errorf("Decide: got %+v", d)
			}
			if len(d.Errors) > 0 && !strings.Contains(d.Errors[0], "p1.cedar#bad") {
				t.Errorf("the error does not name the policy: %q", d.Errors)
			}
		})
	}
	s := compile(t, shop(everything, tests[0].policy))
	ok, d := s.May(Question{Person: "bob", Action: brevet.ActRevoke, Of: "alice", Role: "web-root", Targets: []brevet.TargetID{"web1"}, Via: brevet.ViaCLI, Now: monday})
	if ok || len(d.Errors) == 0 {
		t.Errorf("May: got %v %+v", ok, d)
	}
}

// TestRequestOutsideTheSchemaIsRefused gives inputs that no caller should: words that are none.
func TestRequestOutsideTheSchemaIsRefused(t *testing.T) {
	s := compile(t, shop(`permit (principal, action, resource);`)).WithPeople(func(brevet.PersonID) (brevet.IdentityKind, bool) { return "demon", true })
	if d := s.Decide(asks(nil)); d.Outcome != brevet.Refuse {
		t.Errorf("an identity of no kind: %+v", d)
	}
	if d := s.WithPeople(nil).Decide(asks(nil)); d.Outcome != brevet.Refuse {
		t.Errorf("no roster: %+v", d)
	}
}

func TestReasonsAreForPeople(t *testing.T) {
	described := `@id("hours") @description("only from two in the afternoon") permit (principal in Group::"sre", action == Action::"activate", resource) when { context.hour >= 14 };`
	bare := `@id("hours") permit (principal in Group::"sre", action == Action::"activate", resource) when { context.hour >= 14 && context.duration <= duration("10m") } unless { context.via == "api" };`
	tests := []struct{ policy, want string }{
		{described, "policy p0.cedar#hours would permit it, but not now: only from two in the afternoon"},
		{bare, "policy p0.cedar#hours would permit it, but not now: context.hour >= 14 (hour is 10); context.duration <= duration(\"10m\") (duration is 15m)"},
	}
	for _, tt := range tests {
		d := compile(t, shop(tt.policy)).Decide(asks(nil))
		if diff := cmp.Diff([]string{tt.want}, d.Reasons); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
}

// TestManyReasonsAreCut shows that a refusal stays readable with many policies.
func TestManyReasonsAreCut(t *testing.T) {
	var policies []string
	for i := range 50 {
		policies = append(policies, fmt.Sprintf(`permit (principal in Group::"sre", action == Action::"activate", resource) when { context.hour > %d };`, 20+i%3))
	}
	d := compile(t, shop(policies...)).Decide(asks(nil))
	if len(d.Reasons) != mostReasons+1 || !strings.Contains(d.Reasons[mostReasons], "policy explain") {
		t.Errorf("got %q", d.Reasons)
	}
}

// TestHostileTextIsQuoted shows that what a requester wrote cannot act on the terminal of whoever
// reads why.
func TestHostileTextIsQuoted(t *testing.T) {
	const escape = "\x1b]52;c;cm0gLXJm\x07\u202eevil"
	s := compile(t, shop(`permit (principal in Group::"sre", action == Action::"activate", resource) when { context.reason == "x" && context.ticket == "y" };`))
	for _, change := range []func(*Ask){
		func(a *Ask) { a.Reason, a.Ticket = escape, escape },
		func(a *Ask) { a.Person = escape },
		func(a *Ask) { a.Role = escape },
		func(a *Ask) { a.Targets = []brevet.TargetID{escape} },
		func(a *Ask) { a.Logins = []string{escape} },
		func(a *Ask) { a.Via = escape },
	} {
		d := s.Decide(asks(change))
		for _, text := range append(append(d.Reasons, d.Errors...), s.Explain(asks(change))...) {
			if err := brevet.CheckText("reason", text, false); err != nil {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
}

func TestFormatSeconds(t *testing.T) {
	for s, want := range map[brevet.Seconds]string{
		0: "0s", 1: "1s", 59: "59s", 60: "1m", 90: "1m30s", 3600: "1h", 3601: "1h1s", 5400: "1h30m", 7 * 86400: "168h", -61: "-1m1s",
		math.MaxInt64: "2562047788015215h30m7s", math.MinInt64: "-2562047788015215h30m8s",
	} {
		if got := FormatSeconds(s); got != want {
			t.Errorf("%d: got %s, want %s", s, got, want)
		}
	}
}

// TestEnormousDurationsDoNotComeRound has a permit to approve what is short: what is so long that
// it has no milliseconds must not look short.
func TestEnormousDurationsDoNotComeRound(t *testing.T) {
	s := compile(t, shop(`permit (principal, action == Action::"approve", resource) when { context.duration <= duration("1h") };`))
	for _, d := range []brevet.Seconds{3601, math.MaxInt64, math.MaxInt64/1000 + 1, math.MaxInt64 / 500} {
		if ok, decision := s.May(question(brevet.ActApprove, func(q *Question) { q.Duration = d })); ok {
			t.Errorf("%d s: got %+v", d, decision)
		}
	}
}
