package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/brevet-pim/brevet"
)

const permitAll = `@id("all") permit (principal, action, resource);`

// question is dan's about the action, of bob's grant or request.
func question(action brevet.Action, change func(*Question)) Question {
	q := Question{Person: "dan", Action: action, Via: brevet.ViaCLI, Presence: brevet.TouchPresence, KeyAge: time.Hour, Now: monday}
	switch action {
	case brevet.ActAudit:
		q.System = SystemAudit
	case brevet.ActAdminister:
		q.System = SystemCatalog
	default:
		q.Of, q.Role, q.Targets = "bob", "web-root", []brevet.TargetID{"web1"}
		q.Login, q.Logins, q.Group, q.Duration, q.Reason = "root", []string{"root"}, "leads", 900, "restart nginx"
	}
	if action == brevet.ActConnect {
		q.Of = q.Person
	}
	if change != nil {
		change(&q)
	}
	return q
}

var answerable = []brevet.Action{brevet.ActApprove, brevet.ActConnect, brevet.ActJoin, brevet.ActReplay, brevet.ActRevoke, brevet.ActAudit, brevet.ActAdminister}

// TestMayAnswersEveryAction asks about each action with no policy, a permit of that action alone,
// a permit of all the others, and a forbid beside a permit.
func TestMayAnswersEveryAction(t *testing.T) {
	for _, action := range answerable {
		t.Run(string(action), func(t *testing.T) {
			only := `@id("only") permit (principal, action == Action::"` + string(action) + `", resource);`
			others := ""
			for _, other := range answerable {
				if other != action {
					others += `permit (principal, action == Action::"` + string(other) + `", resource);` + "\n"
				}
			}
			for _, tt := range []struct {
				name, policies string
				want           bool
				deciding       []string
			}{
				{"nothing", "", false, []string{}},
				{"permit", only, true, []string{"p0.cedar#only"}},
				{"others", others, false, []string{}},
				{"forbid wins", only + `@id("no") forbid (principal == Person::"dan", action, resource);`, false, []string{"p0.cedar#no"}},
				{"forbid somebody else", only + `@id("no") forbid (principal == Person::"bob", action, resource);`, true, []string{"p0.cedar#only"}},
			} {
				ok, d := compile(t, shop(tt.policies)).May(question(action, nil))
				if ok != tt.want || !cmp.Equal(d.Policies, tt.deciding) || (d.Outcome == brevet.Allow) != ok || len(d.Errors) > 0 {
					t.Errorf("%s: got %t %+v, want %t %v", tt.name, ok, d, tt.want, tt.deciding)
				}
				if !ok && len(d.Reasons) == 0 {
					t.Errorf("%s: refused without a reason", tt.name)
				}
			}
		})
	}
}

// TestMayRules are the rules that no policy can lift: everything is permitted here.
func TestMayRules(t *testing.T) {
	tests := []struct {
		name   string
		action brevet.Action
		change func(*Question)
		role   func(*brevet.Role)
		want   string // "" if permitted
	}{
		{"a lead approves", brevet.ActApprove, nil, nil, ""},
		{"one's own request", brevet.ActApprove, func(q *Question) { q.Of = "dan" }, nil, "may not approve a request of their own"},
		{"nobody's request", brevet.ActApprove, func(q *Question) { q.Of = "" }, nil, "does not say whose"},
		{"a workload approves", brevet.ActApprove, func(q *Question) { q.Person, q.Group = "ci", "robots" },
			func(r *brevet.Role) { r.Approval = []brevet.Stage{{Group: "robots", Count: 1}} }, "only people approve"},
		{"somebody outside the group", brevet.ActApprove, func(q *Question) { q.Person = "erin" }, nil, "erin is not in group leads"},
		{"a group that the role does not ask", brevet.ActApprove, func(q *Question) { q.Person, q.Group = "alice", "sre" }, nil, `does not ask group "sre"`},
		{"no group", brevet.ActApprove, func(q *Question) { q.Group = "" }, nil, `does not ask group ""`},
		{"a role that is gone", brevet.ActApprove, func(q *Question) { q.Role = "gone" }, nil, `there is no role "gone"`},
		{"a target that is gone", brevet.ActApprove, func(q *Question) { q.Targets = []brevet.TargetID{"web1", "gone"} }, nil, `there is no target "gone"`},
		{"a role without stages", brevet.ActApprove, nil, func(r *brevet.Role) { r.Approval = nil }, "does not ask group"},
		{"touch where verification is asked", brevet.ActApprove, nil, func(r *brevet.Role) { r.Asks.ApproverPresence = brevet.VerifiedPresence },
			"must be approved with a key that shows verified; this one shows touch"},
		{"a file key where a touch is asked", brevet.ActApprove, func(q *Question) { q.Presence = brevet.NoPresence },
			func(r *brevet.Role) { r.Asks.ApproverPresence = brevet.TouchPresence }, "this one shows nothing"},
		{"a presence that is none", brevet.ActApprove, func(q *Question) { q.Presence = "retina" },
			func(r *brevet.Role) { r.Asks.ApproverPresence = brevet.TouchPresence }, "must be approved with a key"},
		{"verified where a touch is asked", brevet.ActApprove, func(q *Question) { q.Presence = brevet.VerifiedPresence },
			func(r *brevet.Role) { r.Asks.ApproverPresence = brevet.TouchPresence }, ""},

		{"the holder connects", brevet.ActConnect, nil, nil, ""},
		{"somebody else connects", brevet.ActConnect, func(q *Question) { q.Of = "bob" }, nil, "the grant is bob's: nobody else may use it"},
		{"a role that is gone: connect", brevet.ActConnect, func(q *Question) { q.Role = "gone" }, nil, `there is no role "gone"`},
		{"a target that is gone: connect", brevet.ActConnect, func(q *Question) { q.Targets = []brevet.TargetID{"gone"} }, nil, "there is no target"},
		{"no target", brevet.ActConnect, func(q *Question) { q.Targets = nil }, nil, "names no target"},

		{"an old recording is replayed", brevet.ActReplay, func(q *Question) { q.Role, q.Targets = "gone", []brevet.TargetID{"gone"} }, nil, ""},
		{"an old grant is revoked", brevet.ActRevoke, func(q *Question) { q.Role, q.Targets, q.Of = "gone", []brevet.TargetID{"gone"}, "mallory" }, nil, ""},
		{"whose recording", brevet.ActReplay, func(q *Question) { q.Of = "" }, nil, "does not say whose"},
		{"watching on no target", brevet.ActJoin, func(q *Question) { q.Targets = nil }, nil, "names no target"},

		{"administer nothing", brevet.ActAdminister, func(q *Question) { q.System = "" }, nil, `nothing to administer called ""`},
		{"administer what is none", brevet.ActAdminister, func(q *Question) { q.System = "issuer" }, nil, `called "issuer"`},
		{"administer the log", brevet.ActAdminister, func(q *Question) { q.System = SystemAudit }, nil, `nothing to administer called "audit"`},
		{"audit the catalog", brevet.ActAudit, func(q *Question) { q.System = SystemCatalog }, nil, `nothing to audit called "catalog"`},
		{"a stranger", brevet.ActAudit, func(q *Question) { q.Person = "mallory" }, nil, "not an identity in force"},
		{"an action that is none", "launch", nil, nil, "policy is not asked about"},
		{"request", brevet.ActRequest, nil, nil, "not asked about \"request\" this way"},
		{"activate", brevet.ActActivate, nil, nil, "not asked about \"activate\" this way"},
		{"the group of actions", elevate, nil, nil, "not asked about \"elevate\" this way"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := shop(permitAll)
			if tt.role != nil {
				tt.role(&c.Roles[0])
			}
			ok, d := compile(t, c).May(question(tt.action, tt.change))
			if ok != (tt.want == "") || !strings.Contains(strings.Join(d.Reasons, "\n"), tt.want) {
				t.Errorf("got %t %+v, want %q", ok, d, tt.want)
			}
		})
	}
}

// TestMayReadsTheContext has a condition on each field that is peculiar to an action.
func TestMayReadsTheContext(t *testing.T) {
	tests := []struct {
		action brevet.Action
		when   string
		change func(*Question)
	}{
		{brevet.ActApprove, `context.requester == Person::"bob"`, func(q *Question) { q.Of = "erin" }},
		{brevet.ActApprove, `!(context.requester in Group::"dev")`, func(q *Question) { q.Of = "erin" }},
		{brevet.ActApprove, `context.group == Group::"leads" && principal in context.group && context.duration <= duration("15m")`, func(q *Question) { q.Duration++ }},
		{brevet.ActApprove, `context.logins.contains("root") && context.reason == "restart nginx" && context.ticket == ""`, func(q *Question) { q.Ticket = "OPS-1" }},
		{brevet.ActApprove, `context.presence == "touch"`, func(q *Question) { q.Presence = brevet.NoPresence }},
		{brevet.ActConnect, `context.login == "root"`, func(q *Question) { q.Login = "oracle" }},
		{brevet.ActConnect, `context.holder == principal && context.hour == 10`, func(q *Question) { q.Now = monday.Add(time.Hour) }},
		{brevet.ActJoin, `context.holder != Person::"erin"`, func(q *Question) { q.Of = "erin" }},
		{brevet.ActReplay, `context.target.sensitivity == "medium"`, func(q *Question) { q.Targets = []brevet.TargetID{"web1", "gone"} }}, // what is gone is critical
		{brevet.ActReplay, `resource.sensitivity == "medium"`, func(q *Question) { q.Role = "gone" }},
		{brevet.ActRevoke, `context.target == Target::"web1"`, func(q *Question) { q.Targets = []brevet.TargetID{"web1", "web2"} }},
		{brevet.ActAudit, `resource == System::"audit" && context.hour == 8`, func(q *Question) { q.Now = monday.Add(time.Hour) }}, // UTC
		{brevet.ActAdminister, `resource == System::"catalog"`, func(q *Question) { q.System = SystemPeople }},
		{brevet.ActAdminister, `context.keyAge > duration("30m") && context.via == "cli"`, func(q *Question) { q.Via = brevet.ViaAPI }},
	}
	for _, tt := range tests {
		t.Run(string(tt.action)+" "+tt.when, func(t *testing.T) {
			s := compile(t, shop(`permit (principal, action == Action::"`+string(tt.action)+`", resource) when { `+tt.when+` };`))
			if ok, d := s.May(question(tt.action, nil)); !ok {
				t.Errorf("met: got %+v", d)
			}
			if ok, d := s.May(question(tt.action, tt.change)); ok || len(d.Errors) > 0 {
				t.Errorf("not met: got %t %+v", ok, d)
			}
		})
	}
}
