package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/brevet-pim/brevet"
)

// Lint looks at what the catalog means together: roles that nobody or everybody can get,
// policies that can never match, approvals that nobody can give, privileges without an end. It
// enumerates scopes, ids and groups, and takes a condition for one that may hold. canApprove
// tells who has a key that signs approvals and may show that much; nil: not known yet, and not looked at.
func (s *Set) Lint(canApprove func(brevet.PersonID, brevet.Presence) bool) Problems {
	l := linter{Set: s, canApprove: canApprove, everyone: maps.Clone(s.groupsOf)}
	for _, name := range slices.Sorted(maps.Keys(s.roles)) {
		l.role(s.roles[name])
	}
	for _, e := range s.policies {
		l.policy(e)
	}
	l.systems()
	l.problems.Sort()
	return l.problems
}

type linter struct {
	*Set
	canApprove func(brevet.PersonID, brevet.Presence) bool
	everyone   map[brevet.PersonID][]brevet.GroupName // who is in any group
	problems   Problems
}

func (l *linter) add(level Level, about, what, remedy string) {
	l.problems = append(l.problems, Problem{Level: level, About: about, What: about + ": " + what, Remedy: remedy})
}

func (l *linter) role(r *role) {
	about := "role " + string(r.Name)
	if r.Limits.Duration <= 0 {
		l.add(Error, about, "has no longest duration, so what it gives would not end", "set limits.duration")
	}
	activate := l.reach(brevet.ActActivate, r.entity.UID, possible)
	request := l.reach(brevet.ActRequest, r.entity.UID, possible)
	if len(request) > 0 && len(r.Approval) == 0 {
		l.add(Warning, about, "may be asked for, but no approval stage says who must agree, so asking is refused", "add an approval stage")
		request = nil
	}
	if len(activate) == 0 && len(request) == 0 {
		l.add(Warning, about, "nobody can get it", "put people into the groups that are permitted request or activate (groups.yaml), or permit it to one that has some")
	}
	if certain := l.reach(brevet.ActActivate, r.entity.UID, certain); len(certain) > 1 && len(certain) == len(l.everyone) {
		l.add(Warning, about, "everybody can have it at once", "permit it to a group, or add conditions")
	}
	if len(r.Approval) > 0 {
		l.approval(r, about, request)
	}
}

// approval says who cannot be answered.
func (l *linter) approval(r *role, about string, requesters map[brevet.PersonID]bool) {
	if wrong := l.stagesProblemAmong(r.Approval, l.approversBy(r, brevet.NoPresence)); wrong != "" {
		remedy := "add people to the group, and permit approve to them"
		if l.stagesProblemAmong(r.Approval, func(p brevet.PersonID) bool { return l.mayAnswer(p, r) }) == "" {
			remedy = "they have no signing key: brevet people invite"
		}
		l.add(Error, about, "nobody can approve it: "+wrong, remedy)
		return
	}
	able := l.approversBy(r, r.Asks.ApproverPresence)
	if wrong := l.stagesProblemAmong(r.Approval, able); wrong != "" {
		l.add(Warning, about, fmt.Sprintf("nobody can approve it: %s with a key that shows %s, as asks.approver_presence wants", wrong, r.Asks.ApproverPresence),
			"have them make a security key with ssh-keygen -t ed25519-sk, and enrol it with a code from brevet people invite NAME --use approve")
		return
	}
	for _, p := range l.approversOf(r) {
		if !requesters[p] {
			continue
		}
		others := func(q brevet.PersonID) bool { return q != p && able(q) }
		if l.stagesProblemAmong(r.Approval, others) != "" {
			l.add(Note, about, fmt.Sprintf("%s may ask for it and can never get it, since nobody else can agree", p), "")
		}
	}
}

// approversBy tells who may approve and has a key for it that may show that much.
func (l *linter) approversBy(r *role, shows brevet.Presence) func(brevet.PersonID) bool {
	return func(p brevet.PersonID) bool {
		return l.mayAnswer(p, r) && (l.canApprove == nil || l.canApprove(p, shows))
	}
}

// approversOf returns the people of the stages' groups, as long as they are few: among many,
// one more or less does not matter.
func (l *linter) approversOf(r *role) []brevet.PersonID {
	var people []brevet.PersonID
	for _, stage := range r.Approval {
		if members := l.groups[stage.Group]; len(members) <= 20 {
			people = append(people, members...)
		}
	}
	slices.Sort(people)
	return slices.Compact(people)
}

// mayAnswer reports whether the person is one and is permitted to approve.
func (l *linter) mayAnswer(p brevet.PersonID, r *role) bool {
	if !l.isPerson(p) {
		return false
	}
	return slices.ContainsFunc(l.relevant(brevet.ActApprove, p, l.groupsOf[p], r.entity.UID), func(e *entry) bool {
		return e.permits() && principalInScope(p, l.groupsOf[p], e.tree.Principal) && resourceInScope(r.entity.UID, e.tree.Resource)
	})
}

// certainty is how conditions are taken.
type certainty bool

const (
	possible certainty = false // a condition may hold for a permit, and may not for a forbid
	certain  certainty = true  // a condition may not hold for a permit, and may for a forbid
)

// reach returns who of all people can do the action, by scopes alone.
func (l *linter) reach(action brevet.Action, resource cedar.EntityUID, how certainty) map[brevet.PersonID]bool {
	reached := map[brevet.PersonID]bool{}
	forbidden := map[brevet.PersonID]bool{}
	for _, e := range l.concerning(action, resource) {
		conditional := len(e.tree.Conditions) > 0
		switch {
		case e.permits() && !(conditional && how == certain):
			l.addScope(reached, e.tree.Principal)
		case !e.permits() && !(conditional && how == possible):
			l.addScope(forbidden, e.tree.Principal)
		}
	}
	for p := range forbidden {
		delete(reached, p)
	}
	return reached
}

func (l *linter) addScope(people map[brevet.PersonID]bool, scope ast.IsPrincipalScopeNode) {
	named := scopeEntity(scope)
	switch {
	case named.IsZero():
		for p := range l.everyone {
			people[p] = true
		}
	case named.Type == typePerson:
		people[brevet.PersonID(named.ID)] = true
	default:
		for _, p := range l.groups[brevet.GroupName(named.ID)] {
			people[p] = true
		}
	}
}

func (l *linter) policy(e *entry) {
	for _, uid := range namedIn(e.tree) {
		what, known := l.known(uid)
		switch {
		case what == "":
		case known:
			l.problems = append(l.problems, e.problem(Note, what, ""))
		case e.permits():
			l.problems = append(l.problems, e.problem(Warning, what, "this permit never matches there: correct the name or remove it"))
		default:
			l.problems = append(l.problems, e.problem(Error, what, "this forbid forbids nothing there: correct the name or remove it"))
		}
	}
	if e.reads != 0 {
		l.problems = append(l.problems, e.problem(Note, "reads "+strings.Join(e.reads.names(), " and "), "where nobody says a value, that condition counts as met"))
	}
	l.unconditional(e)
}

// known reports whether there is such an entity, and says what is wrong if not, or odd about it.
func (l *linter) known(uid cedar.EntityUID) (what string, ok bool) {
	name, noun := string(uid.ID), strings.ToLower(string(uid.Type))
	var names []string
	switch uid.Type {
	case typeRole:
		_, ok = l.roles[brevet.RoleName(name)]
		names = l.roleNames()
	case typeTarget:
		_, ok = l.targets[brevet.TargetID(name)]
	case typeGroup:
		var members []brevet.PersonID
		members, ok = l.groups[brevet.GroupName(name)]
		for g := range l.groups {
			names = append(names, string(g))
		}
		if ok && len(members) == 0 {
			return fmt.Sprintf("names the group %s, which nobody is in", name), true
		}
	case typePerson:
		_, ok = l.people(brevet.PersonID(name))
	default:
		return "", true
	}
	if ok {
		return "", true
	}
	slices.Sort(names)
	what = fmt.Sprintf("names the %s %s, which there is not", noun, brevet.Quote(name))
	if near, close := brevet.Nearest(name, names); close {
		what += fmt.Sprintf(" (%s?)", near)
	}
	return what, false
}

// namedIn returns the entities that the policy names, in its scope and its conditions.
func namedIn(tree *ast.Policy) []cedar.EntityUID {
	named := []cedar.EntityUID{scopeEntity(tree.Principal), scopeEntity(tree.Resource)}
	for _, c := range tree.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			if value, ok := n.(ast.NodeValue); ok {
				if uid, ok := value.Value.(cedar.EntityUID); ok && !slices.Contains(named, uid) {
					named = append(named, uid)
				}
			}
			return true
		})
	}
	return named
}

// unconditional warns of a permit that gives what is high or critical without any condition and
// without a person.
func (l *linter) unconditional(e *entry) {
	if !e.permits() || len(e.tree.Conditions) > 0 || !actionInScope(brevet.ActActivate, e.tree.Action) {
		return
	}
	var roles []string
	for _, r := range l.roles {
		if r.Sensitivity.AtLeast(brevet.High) && resourceInScope(r.entity.UID, e.tree.Resource) {
			roles = append(roles, string(r.Name))
		}
	}
	if len(roles) > 0 {
		slices.Sort(roles)
		l.problems = append(l.problems, e.problem(Warning,
			fmt.Sprintf("gives %s, of sensitivity high or above, at once and without any condition", joinNames(roles, 3)),
			"permit request instead, or add conditions"))
	}
}

// systems warns where nobody could put things right.
func (l *linter) systems() {
	for _, system := range Systems() {
		action := brevet.ActAdminister
		if system == SystemAudit {
			action = brevet.ActAudit
		}
		if len(l.reach(action, systemUID(system), possible)) == 0 {
			l.add(Warning, "system "+string(system), fmt.Sprintf("nobody may %s it", action), "permit it to a group that has people")
		}
	}
}

// names returns the claimed attributes of the set as policies write them.
func (c claims) names() []string {
	var names []string
	for i, a := range claimedAttributes {
		if c&(1<<i) != 0 {
			names = append(names, "context."+claimedName+"."+a.name)
		}
	}
	return names
}
