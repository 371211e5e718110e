package policy

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"

	"github.com/brevet-pim/brevet"
)

// Ask is a request as policy sees it. Each input has its voucher, see Inputs.
type Ask struct {
	Person   brevet.PersonID
	Role     brevet.RoleName
	Targets  []brevet.TargetID
	Logins   []string
	Duration brevet.Seconds
	Reason   string
	Ticket   string
	Via      brevet.Via
	Presence brevet.Presence // that the key of the request showed
	KeyAge   time.Duration   // since that key was enrolled
	Source   netip.Addr      // of the person, as a gateway saw it; zero if no gateway vouches
	Now      time.Time
	Claimed  Claimed
}

// Decide says whether the request is allowed at once, must be agreed to by the role's stages, or
// is refused, and why. It also holds the request against the role: targets, logins, duration,
// reason and ticket. Of several targets the strictest answer counts.
func (s *Set) Decide(a Ask) brevet.Decision {
	return s.decide(a, s.groupsOf[a.Person], (*view).unfit)
}

// Preview decides as Decide does for somebody who has not yet given a reason and a ticket, for
// lists of what one can have or ask for. Without logins or duration it takes all of the role's.
// It never stands for a decision.
func (s *Set) Preview(a Ask) brevet.Decision {
	if r := s.roles[a.Role]; r != nil {
		if len(a.Logins) == 0 {
			a.Logins = r.SSH.Logins
		}
		if a.Duration == 0 {
			a.Duration = r.Limits.Duration
		}
	}
	return s.decide(a, s.groupsOf[a.Person], (*view).unfitPrivilege)
}

// TargetsOf returns the targets that the role's selector chooses, sorted.
func (s *Set) TargetsOf(name brevet.RoleName) []brevet.TargetID {
	var ids []brevet.TargetID
	if r := s.roles[name]; r != nil {
		for id, t := range s.targets {
			if r.Targets.Matches(t.Target) {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return ids
}

func (s *Set) decide(a Ask, groups []brevet.GroupName, unfit func(*view, Ask, *role) []string) brevet.Decision {
	v, ok := s.viewAs(a.Person, groups)
	if !ok {
		return refusal(fmt.Sprintf("%s is not an identity in force here", brevet.Quote(string(a.Person))))
	}
	r := s.roles[a.Role]
	if r == nil {
		return refusal(unknownNoun("role", string(a.Role), s.roleNames()))
	}
	if wrong := unfit(v, a, r); len(wrong) > 0 {
		return refusal(wrong...)
	}
	return v.weigh(a, r)
}

// notEvaluated is what people are told of an evaluation error; Decision.Errors has the detail.
const notEvaluated = "a policy could not be evaluated, which is a refusal: tell whoever keeps the policies"

// refusal is a no that no policy needed to be asked for.
func refusal(reasons ...string) brevet.Decision {
	return brevet.Decision{Outcome: brevet.Refuse, Policies: []string{}, Reasons: reasons, Errors: []string{}, Stages: []brevet.Stage{}}
}

func unknownNoun(noun, name string, known []string) string {
	text := fmt.Sprintf("there is no %s %s", noun, brevet.Quote(name))
	if near, ok := brevet.Nearest(name, known); ok {
		text += ". Did you mean " + near + "?"
	}
	return text
}

func (s *Set) roleNames() []string {
	var names []string
	for name := range s.roles {
		names = append(names, string(name))
	}
	slices.Sort(names)
	return names
}

// unfit returns what of the request is not the role's, whatever policy says.
func (v *view) unfit(a Ask, r *role) []string {
	wrong := v.unfitPrivilege(a, r)
	if r.Asks.Reason && strings.TrimSpace(a.Reason) == "" {
		wrong = append(wrong, fmt.Sprintf("%s asks for a reason", r.Name))
	}
	if r.ticket != nil && !r.ticket.MatchString(a.Ticket) {
		wrong = append(wrong, fmt.Sprintf("%s asks for a ticket like %s", r.Name, r.Asks.Ticket))
	}
	return wrong
}

func (v *view) unfitPrivilege(a Ask, r *role) []string {
	var wrong []string
	if len(a.Targets) == 0 {
		wrong = append(wrong, "the request names no target")
	}
	for _, id := range a.Targets {
		t := v.targets[id]
		switch {
		case t == nil:
			wrong = append(wrong, fmt.Sprintf("there is no target %s", brevet.Quote(string(id))))
		case !r.Targets.Matches(t.Target):
			wrong = append(wrong, fmt.Sprintf("%s gives nothing on %s", r.Name, id))
		}
	}
	if len(a.Logins) == 0 {
		wrong = append(wrong, "the request names no login")
	}
	for _, login := range a.Logins {
		if !slices.Contains(r.SSH.Logins, login) {
			wrong = append(wrong, fmt.Sprintf("%s does not give the login %s (it gives %s)", r.Name, brevet.Quote(login), joinNames(r.SSH.Logins, 5)))
		}
	}
	if a.Duration <= 0 || a.Duration > r.Limits.Duration {
		wrong = append(wrong, fmt.Sprintf("%s is given for 1s to %s, not for %s", r.Name, FormatSeconds(r.Limits.Duration), FormatSeconds(a.Duration)))
	}
	return wrong
}

// FormatSeconds writes a duration as people write it in a catalog: 1h30m, 45m, 1m30s, 0s.
func FormatSeconds(s brevet.Seconds) string {
	if s == 0 {
		return "0s"
	}
	sign, left := "", uint64(s)
	if s < 0 {
		sign, left = "-", -left
	}
	var text string
	for _, unit := range []struct {
		letter  string
		seconds uint64
	}{{"h", 3600}, {"m", 60}, {"s", 1}} {
		if n := left / unit.seconds; n > 0 {
			text += strconv.FormatUint(n, 10) + unit.letter
		}
		left %= unit.seconds
	}
	return sign + text
}

// weighing is how far the decision on a request has come.
type weighing struct {
	*view
	ask     Ask
	role    *role
	missing claims
	answers []answer // one for each target
}

// answer is what policy says of one target.
type answer struct {
	target            *target
	context           cedar.Record
	activate, request verdict
}

func (a answer) outcome() brevet.Outcome {
	switch {
	case len(a.activate.errors) > 0 || len(a.request.errors) > 0:
		return brevet.Refuse
	case a.activate.allowed:
		return brevet.Allow
	case a.request.allowed:
		return brevet.Ask
	}
	return brevet.Refuse
}

// weigh asks policy about every target. The request fits its role.
func (v *view) weigh(a Ask, r *role) brevet.Decision {
	w := v.weighing(a, r)
	d := brevet.Decision{Outcome: w.outcome(), Policies: []string{}, Reasons: []string{}, Errors: w.errors(), Stages: []brevet.Stage{}}
	if len(d.Errors) > 0 {
		d.Outcome = brevet.Refuse
		d.Reasons = []string{notEvaluated}
		return d
	}
	if d.Outcome == brevet.Allow && w.needsPerson() {
		d.Outcome = brevet.Ask
		d.Reasons = append(d.Reasons, "a gateway's word alone gives nothing above medium sensitivity: sign the request yourself, or let somebody agree")
	}
	d.Policies = w.deciding(d.Outcome)
	switch d.Outcome {
	case brevet.Ask:
		w.demandApproval(&d)
	case brevet.Refuse:
		d.Reasons = append(d.Reasons, w.why()...)
	}
	return d
}

func (v *view) weighing(a Ask, r *role) *weighing {
	w := &weighing{view: v, ask: a, role: r}
	fields := cedar.RecordMap{}
	clockFields(a.Now, r.zone, fields)
	callerFields(a.Via, a.Presence, a.KeyAge, a.Source, fields)
	termsFields(a.Duration, a.Logins, a.Reason, a.Ticket, fields)
	fields[claimedName], w.missing = a.Claimed.record()
	for _, id := range a.Targets {
		fields["target"] = targetUID(id)
		one := answer{target: v.targets[id], context: cedar.NewRecord(fields)}
		one.activate = v.ask(brevet.ActActivate, r.entity.UID, one.context, w.missing)
		if !one.activate.allowed {
			one.request = v.ask(brevet.ActRequest, r.entity.UID, one.context, w.missing)
		}
		w.answers = append(w.answers, one)
	}
	return w
}

func callerFields(via brevet.Via, presence brevet.Presence, keyAge time.Duration, source netip.Addr, fields cedar.RecordMap) {
	if !slices.Contains(presences, string(presence)) {
		presence = brevet.NoPresence // what is unknown shows nothing
	}
	fields["via"] = cedar.String(via)
	fields["presence"] = cedar.String(presence)
	fields["keyAge"] = cedar.NewDuration(keyAge)
	if source.IsValid() {
		fields["source"] = ipOf(source)
	}
}

func termsFields(duration brevet.Seconds, logins []string, reason, ticket string, fields cedar.RecordMap) {
	const most = math.MaxInt64 / 1000 // what is more must not come round as less
	fields["duration"] = cedar.NewDurationFromMillis(int64(min(max(duration, -most), most)) * 1000)
	fields["logins"] = stringSet(logins)
	fields["reason"] = cedar.String(reason)
	fields["ticket"] = cedar.String(ticket)
}

// outcome is the strictest of the answers.
func (w *weighing) outcome() brevet.Outcome {
	order := []brevet.Outcome{brevet.Allow, brevet.Ask, brevet.Refuse}
	strictest := 0
	for _, a := range w.answers {
		strictest = max(strictest, slices.Index(order, a.outcome()))
	}
	return order[strictest]
}

func (w *weighing) errors() []string {
	var errs []string
	for _, a := range w.answers {
		errs = append(errs, a.activate.errors...)
		errs = append(errs, a.request.errors...)
	}
	return sorted(errs)
}

// needsPerson reports whether nothing may be given on a gateway's word alone: the request is not
// signed by the person, and what it asks for is more than medium (TRUST §2).
func (w *weighing) needsPerson() bool {
	if w.ask.Via != brevet.ViaSSH {
		return false
	}
	if w.role.Sensitivity.AtLeast(brevet.High) {
		return true
	}
	return slices.ContainsFunc(w.answers, func(a answer) bool { return a.target.Sensitivity.AtLeast(brevet.High) })
}

// deciding returns the ids of the policies that led to the outcome, sorted.
func (w *weighing) deciding(outcome brevet.Outcome) []string {
	var deciding []string
	for _, a := range w.answers {
		switch {
		case outcome == brevet.Refuse && a.outcome() == brevet.Refuse:
			deciding = append(deciding, ids(a.request)...)
			deciding = append(deciding, ids(a.activate)...)
		case outcome != brevet.Refuse && a.activate.allowed:
			deciding = append(deciding, ids(a.activate)...)
		case outcome != brevet.Refuse:
			deciding = append(deciding, ids(a.request)...)
		}
	}
	return sorted(deciding)
}

// demandApproval names who must agree, or refuses if they cannot: a stage that nobody can answer
// is never taken for one that need not be answered.
func (w *weighing) demandApproval(d *brevet.Decision) {
	if wrong := w.stagesProblem(w.role.Approval, w.person); wrong != "" {
		d.Outcome = brevet.Refuse
		d.Reasons = append(d.Reasons, fmt.Sprintf("%s needs somebody to agree, and %s", w.role.Name, wrong))
		return
	}
	d.Stages = slices.Clone(w.role.Approval)
	for _, stage := range d.Stages {
		d.Reasons = append(d.Reasons, fmt.Sprintf("%d of %s must agree (policy %s)", stage.Count, stage.Group, joinNames(d.Policies, 3)))
	}
	for _, a := range w.answers {
		for _, id := range a.activate.by {
			if !a.activate.allowed {
				d.Reasons = append(d.Reasons, fmt.Sprintf("without a person it is forbidden: %s", w.describe(id)))
			}
		}
	}
	d.Reasons = compactInOrder(d.Reasons)
}

// compactInOrder leaves out what was said before.
func compactInOrder(lines []string) []string {
	said := map[string]bool{}
	return slices.DeleteFunc(lines, func(line string) bool {
		again := said[line]
		said[line] = true
		return again
	})
}
