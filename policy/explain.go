package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"

	"github.com/brevet-pim/brevet"
)

// Input is one thing that a decision rests on, and who stands for its being true.
type Input struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Voucher string `json:"voucher"`
}

// The vouchers of inputs (TRUST §3).
const (
	BySigner  = "signed by the requester"
	ByGateway = "signed by the gateway"
	ByIssuer  = "computed by whoever decides" // from clock, roster and catalog
	ByClaim   = "claimed by the control plane"
)

// Inputs lists what the decision on the request rests on, each with its voucher. Of a request
// that came by ssh all was said by the gateway.
func (a Ask) Inputs() []Input {
	who := BySigner
	if a.Via == brevet.ViaSSH {
		who = ByGateway
	}
	list := []Input{
		{"person", plainly(string(a.Person)), who},
		{"role", plainly(string(a.Role)), who},
		{"targets", plainly(joinNames(a.Targets, len(a.Targets))), who},
		{"logins", plainly(joinNames(a.Logins, len(a.Logins))), who},
		{"duration", FormatSeconds(a.Duration), who},
		{"reason", brevet.Quote(a.Reason), who},
		{"ticket", brevet.Quote(a.Ticket), who},
		{"via", plainly(string(a.Via)), who},
		{"presence", plainly(string(a.Presence)), who},
		{"keyAge", a.KeyAge.String(), ByIssuer},
		{"now", a.Now.UTC().Format(time.RFC3339), ByIssuer},
	}
	if a.Source.IsValid() {
		list = append(list, Input{"source", a.Source.String(), ByGateway})
	}
	if a.Claimed.Risk != nil {
		list = append(list, Input{"claimed.risk", fmt.Sprint(*a.Claimed.Risk), ByClaim})
	}
	if a.Claimed.RecentRequests != nil {
		list = append(list, Input{"claimed.recentRequests", fmt.Sprint(*a.Claimed.RecentRequests), ByClaim})
	}
	if a.Claimed.Source.IsValid() {
		list = append(list, Input{"claimed.source", a.Claimed.Source.String(), ByClaim})
	}
	return list
}

// plainly returns text as it is if it can do no harm on a screen, and quoted otherwise: a question
// may hold names that are none.
func plainly(text string) string {
	if brevet.CheckText("", text, false) != nil {
		return brevet.Quote(text)
	}
	return text
}

// Explain returns, line by line, how the request is decided: its inputs, the answer, and for
// each target what every policy that concerns the role says and why.
func (s *Set) Explain(a Ask) []string {
	d := s.Decide(a)
	var lines []string
	for _, in := range a.Inputs() {
		lines = append(lines, fmt.Sprintf("%-22s %s (%s)", in.Name, in.Value, in.Voucher))
	}
	lines = append(lines, "", fmt.Sprintf("answer: %s", d.Outcome))
	for _, text := range append(append([]string{}, d.Reasons...), d.Errors...) {
		lines = append(lines, "  "+text)
	}
	v, ok := s.viewOf(a.Person)
	r := s.roles[a.Role]
	if !ok || r == nil || len(v.unfitPrivilege(a, r)) > 0 {
		return lines // policy was not asked
	}
	lines = append(lines, "groups: "+orNone(joinNames(v.groups, len(v.groups))))
	for _, answer := range v.weighing(a, r).answers {
		lines = append(lines, "", fmt.Sprintf("on %s", answer.target.ID))
		for _, action := range []brevet.Action{brevet.ActActivate, brevet.ActRequest} {
			lines = append(lines, v.explainAction(action, r.entity.UID, answer.context)...)
		}
	}
	return lines
}

func (v *view) explainAction(action brevet.Action, resource cedar.EntityUID, context cedar.Record) []string {
	var lines []string
	for _, e := range v.concerning(action, resource) {
		effect := "permits"
		if !e.permits() {
			effect = "forbids"
		}
		lines = append(lines, fmt.Sprintf("  %s: %s %s %s", action, e.id, effect, v.standing(e, action, resource, context)))
	}
	if len(lines) == 0 {
		lines = append(lines, fmt.Sprintf("  %s: no policy speaks of it", action))
	}
	return lines
}

// standing says whether the policy matches and if not, what keeps it.
func (v *view) standing(e *entry, action brevet.Action, resource cedar.EntityUID, context cedar.Record) string {
	if !principalInScope(v.person, v.groups, e.tree.Principal) {
		named := scopeEntity(e.tree.Principal)
		return fmt.Sprintf("(not %s: it is for %s %s)", v.person, strings.ToLower(string(named.Type)), named.ID)
	}
	unmet := v.unmet(e, action, resource, context)
	if len(unmet) == 0 {
		return "(it matches)"
	}
	if e.reads != 0 {
		unmet = append(unmet, "a claimed value that is missing counts as met")
	}
	return "(not met: " + strings.Join(unmet, "; ") + ")"
}
