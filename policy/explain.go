package policy

import (
	"fmt"
	"slices"
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
	ByNobody  = "assumed" // in a question that nobody has signed
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
		{"keyAge", FormatSeconds(brevet.Seconds(a.KeyAge / time.Second)), ByIssuer},
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
// each target what every policy that concerns the role says and why. The inputs named in assumed have no voucher.
func (s *Set) Explain(a Ask, assumed ...string) []string {
	d := s.Decide(a)
	var lines []string
	for _, in := range a.Inputs() {
		if slices.Contains(assumed, in.Name) {
			in.Voucher = ByNobody
		}
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
	w := v.weighing(a, r)
	for _, answer := range w.answers {
		lines = append(lines, "", fmt.Sprintf("on %s", answer.target.ID))
		for _, action := range []brevet.Action{brevet.ActActivate, brevet.ActRequest} {
			lines = append(lines, w.explainAction(action, answer.context)...)
		}
	}
	return lines
}

func (w *weighing) explainAction(action brevet.Action, context cedar.Record) []string {
	var lines []string
	for _, e := range w.concerning(action, w.role.entity.UID) {
		effect := "permits"
		if !e.permits() {
			effect = "forbids"
		}
		lines = append(lines, fmt.Sprintf("  %s: %s %s %s", action, e.id, effect, w.standing(e, action, context)))
	}
	if len(lines) == 0 {
		lines = append(lines, fmt.Sprintf("  %s: no policy speaks of it", action))
	}
	return lines
}

// standing says whether the policy matches and if not, what keeps it.
func (w *weighing) standing(e *entry, action brevet.Action, context cedar.Record) string {
	if !principalInScope(w.person, w.groups, e.tree.Principal) {
		named := scopeEntity(e.tree.Principal)
		return fmt.Sprintf("(not %s: it is for %s %s)", w.person, strings.ToLower(string(named.Type)), named.ID)
	}
	unmet := w.unmet(e, action, w.role.entity.UID, context, w.missing)
	if len(unmet) > 0 {
		return "(not met: " + strings.Join(unmet, "; ") + ")"
	}
	if unknown := e.reads & w.missing; unknown != 0 {
		return "(it matches: nobody says " + strings.Join(unknown.names(), " and ") + ", which counts as the worst)"
	}
	return "(it matches)"
}
