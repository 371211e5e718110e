package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/cedar-policy/cedar-go"

	"github.com/brevet-pim/brevet"
)

// Question is whether somebody may do something other than getting privilege. Which fields are
// read depends on the action; the others are ignored.
type Question struct {
	Person   brevet.PersonID // who wants to
	Action   brevet.Action
	Via      brevet.Via
	Presence brevet.Presence // that their key showed
	KeyAge   time.Duration   // since that key was enrolled
	Source   netip.Addr      // as a gateway saw it; zero if no gateway vouches
	Now      time.Time

	System System // administer, audit: of which part

	// approve, connect, join, replay, revoke: of which request, grant or session
	Of      brevet.PersonID // whose it is: context.requester or context.holder
	Role    brevet.RoleName
	Targets []brevet.TargetID // every one must be permitted
	Login   string            // connect

	// approve: the stage's group, and the terms that are agreed to
	Group    brevet.GroupName
	Logins   []string
	Duration brevet.Seconds
	Reason   string
	Ticket   string
}

// May answers the question, with the policies that decided. An action of the group elevate is
// refused here: it has more answers than two, see Decide.
func (s *Set) May(q Question) (bool, brevet.Decision) {
	d := s.may(q, s.groupsOf[q.Person])
	return d.Outcome == brevet.Allow, d
}

func (s *Set) may(q Question, groups []brevet.GroupName) brevet.Decision {
	v, ok := s.viewAs(q.Person, groups)
	if !ok {
		return refusal(fmt.Sprintf("%s is not an identity in force here", brevet.Quote(string(q.Person))))
	}
	f, ok := formOf(q.Action)
	if !ok || elevates(q.Action) {
		return refusal(fmt.Sprintf("policy is not asked about %s this way", brevet.Quote(string(q.Action))))
	}
	if f.resource == typeSystem {
		return v.maySystem(q)
	}
	if wrong := v.unanswerable(q); wrong != "" {
		return refusal(wrong)
	}
	return v.mayRole(q)
}

// unanswerable returns the rule that says no whatever policies say, or "".
func (v *view) unanswerable(q Question) string {
	switch {
	case q.Of == "":
		return "the question does not say whose request or grant it is about"
	case len(q.Targets) == 0:
		return "the question names no target"
	case q.Action == brevet.ActConnect && q.Of != q.Person:
		return fmt.Sprintf("the grant is %s's: nobody else may use it", q.Of)
	}
	if q.Action != brevet.ActApprove && q.Action != brevet.ActConnect {
		return "" // what ends or looks at the past must work after a role or target is gone
	}
	r := v.roles[q.Role]
	if r == nil {
		return unknownNoun("role", string(q.Role), v.roleNames())
	}
	for _, id := range q.Targets {
		if v.targets[id] == nil {
			return fmt.Sprintf("there is no target %s", brevet.Quote(string(id)))
		}
	}
	if q.Action == brevet.ActApprove {
		return v.cannotApprove(q, r)
	}
	return ""
}

// cannotApprove holds the rules of approving that no policy can lift.
func (v *view) cannotApprove(q Question, r *role) string {
	switch {
	case q.Of == q.Person:
		return fmt.Sprintf("%s may not approve a request of their own", q.Person)
	case v.kind != brevet.Person:
		return fmt.Sprintf("%s is a workload: only people approve", q.Person)
	case !slices.ContainsFunc(r.Approval, func(s brevet.Stage) bool { return s.Group == q.Group }):
		return fmt.Sprintf("%s does not ask group %s", r.Name, brevet.Quote(string(q.Group)))
	case !slices.Contains(v.groups, q.Group):
		return fmt.Sprintf("%s is not in group %s, which must agree", q.Person, q.Group)
	case !q.Presence.AtLeast(r.Asks.ApproverPresence):
		return fmt.Sprintf("%s must be approved with a key that shows %s; this one shows %s", r.Name, r.Asks.ApproverPresence, orNothing(q.Presence))
	}
	return ""
}

func orNothing(p brevet.Presence) string {
	if p == brevet.NoPresence || p == "" {
		return "nothing"
	}
	return string(p)
}

func (v *view) maySystem(q Question) brevet.Decision {
	if !slices.Contains(Systems(), q.System) || (q.System == SystemAudit) != (q.Action == brevet.ActAudit) {
		return refusal(fmt.Sprintf("there is nothing to %s called %s", q.Action, brevet.Quote(string(q.System))))
	}
	fields := cedar.RecordMap{}
	clockFields(q.Now, time.UTC, fields)
	callerFields(q.Via, q.Presence, q.KeyAge, q.Source, fields)
	return v.conclude(q.Action, systemUID(q.System), []cedar.Record{cedar.NewRecord(fields)})
}

func (v *view) mayRole(q Question) brevet.Decision {
	zone := time.UTC
	if r := v.roles[q.Role]; r != nil {
		zone = r.zone
	}
	fields := cedar.RecordMap{}
	clockFields(q.Now, zone, fields)
	callerFields(q.Via, q.Presence, q.KeyAge, q.Source, fields)
	switch q.Action {
	case brevet.ActApprove:
		termsFields(q.Duration, q.Logins, q.Reason, q.Ticket, fields)
		fields["requester"] = personUID(q.Of)
		fields["group"] = groupUID(q.Group)
	case brevet.ActConnect:
		fields["login"] = cedar.String(q.Login)
		fields["holder"] = personUID(q.Of)
	default:
		fields["holder"] = personUID(q.Of)
	}
	var contexts []cedar.Record
	for _, id := range q.Targets {
		fields["target"] = targetUID(id)
		contexts = append(contexts, cedar.NewRecord(fields))
	}
	return v.conclude(q.Action, roleUID(q.Role), contexts)
}

// conclude permits only what is permitted in every context, and there must be one.
func (v *view) conclude(action brevet.Action, resource cedar.EntityUID, contexts []cedar.Record) brevet.Decision {
	permitted := brevet.Decision{Outcome: brevet.Allow, Policies: []string{}, Reasons: []string{}, Errors: []string{}, Stages: []brevet.Stage{}}
	refused := refusal()
	for _, context := range contexts {
		answer := v.ask(action, resource, context, 0)
		if answer.allowed {
			permitted.Policies = append(permitted.Policies, ids(answer)...)
			continue
		}
		refused.Policies = append(refused.Policies, ids(answer)...)
		refused.Errors = append(refused.Errors, answer.errors...)
		refused.Reasons = append(refused.Reasons, v.whyRefused(answer, action, resource, context)...)
	}
	if len(contexts) > 0 && len(refused.Reasons) == 0 {
		permitted.Policies = sorted(permitted.Policies)
		return permitted
	}
	refused.Policies, refused.Errors = sorted(refused.Policies), sorted(refused.Errors)
	refused.Reasons = compactInOrder(refused.Reasons)
	return refused
}

// whyRefused returns at least one sentence about an answer that was no.
func (v *view) whyRefused(answer verdict, action brevet.Action, resource cedar.EntityUID, context cedar.Record) []string {
	switch {
	case len(answer.errors) > 0:
		return []string{notEvaluated}
	case len(answer.by) > 0:
		return v.forbidden(answer.by)
	}
	return v.whyNoPermit([]brevet.Action{action}, resource, context)
}

func ids(answer verdict) []string {
	list := make([]string, len(answer.by))
	for i, id := range answer.by {
		list[i] = string(id)
	}
	return list
}

// sorted sorts the list in place and returns it with each element once, never nil.
func sorted(list []string) []string {
	if list == nil {
		return []string{}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
