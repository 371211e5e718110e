package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"

	"github.com/brevet-pim/brevet"
)

// mostReasons bounds how many policies a refusal explains.
const mostReasons = 4

// why returns what would change a refusal: the forbids that matched; else the conditions that
// kept a permit from matching; else the groups that could have it.
func (w *weighing) why() []string {
	var reasons []string
	for _, a := range w.answers {
		if a.outcome() != brevet.Refuse {
			continue
		}
		reasons = append(reasons, w.whyNot(a)...)
	}
	reasons = compactInOrder(reasons)
	if len(reasons) > mostReasons {
		reasons = append(reasons[:mostReasons], "… and more: brevet policy explain shows all")
	}
	return reasons
}

func (w *weighing) whyNot(a answer) []string {
	// A forbid that matched the request is the reason; one that matched only activate is a reason
	// if asking was not permitted either.
	if len(a.request.by) > 0 {
		return w.forbidden(a.request.by)
	}
	return append(w.forbidden(a.activate.by),
		w.view.whyNoPermit([]brevet.Action{brevet.ActActivate, brevet.ActRequest}, w.role.entity.UID, a.context)...)
}

func (v *view) forbidden(ids []cedar.PolicyID) []string {
	var reasons []string
	for _, id := range ids {
		reasons = append(reasons, "it is forbidden: "+v.describe(id))
	}
	return reasons
}

// whyNoPermit explains that no permit of the actions matched.
func (v *view) whyNoPermit(actions []brevet.Action, resource cedar.EntityUID, context cedar.Record) []string {
	if near := v.nearMisses(actions, resource, context); len(near) > 0 {
		return near
	}
	return []string{v.whoCould(actions, resource)}
}

// nearMisses are the permits that take in this person and resource but whose conditions do not hold.
func (v *view) nearMisses(actions []brevet.Action, resource cedar.EntityUID, context cedar.Record) []string {
	var near []string
	for _, action := range actions {
		for _, e := range v.relevant(action, v.person, v.groups, resource) {
			if len(near) > mostReasons {
				return near
			}
			if !e.permits() || !principalInScope(v.person, v.groups, e.tree.Principal) || !resourceInScope(resource, e.tree.Resource) {
				continue
			}
			if unmet := v.unmet(e, action, resource, context, 0); len(unmet) > 0 {
				near = append(near, fmt.Sprintf("policy %s would permit it, but not now: %s", e.id, e.explain(unmet)))
			}
		}
	}
	return compactInOrder(near)
}

// explain returns the policy's own words if it has any, and the clauses otherwise.
func (e *entry) explain(clauses []string) string {
	if e.description != "" {
		return e.description
	}
	if len(clauses) == 0 {
		return "it has no conditions"
	}
	return strings.Join(clauses, "; ")
}

// describe returns the policy's id and what it is about.
func (s *Set) describe(id cedar.PolicyID) string {
	i := slices.IndexFunc(s.policies, func(e *entry) bool { return e.id == id })
	if i < 0 {
		return "policy " + string(id)
	}
	e := s.policies[i]
	var texts []string
	if e.description == "" {
		for _, c := range e.clauses() {
			texts = append(texts, c.text)
		}
	}
	return fmt.Sprintf("policy %s: %s", id, e.explain(texts))
}

// whoCould says for whom there is a permit, and which groups this person is in.
func (v *view) whoCould(actions []brevet.Action, resource cedar.EntityUID) string {
	var who, by []string
	for _, action := range actions {
		for _, e := range v.concerning(action, resource) {
			named := scopeEntity(e.tree.Principal)
			if !e.permits() || named.IsZero() {
				continue
			}
			who = append(who, strings.ToLower(string(named.Type))+" "+string(named.ID))
			by = append(by, string(e.id))
		}
	}
	if len(who) == 0 {
		return fmt.Sprintf("no policy gives %s to anybody", resource.ID)
	}
	word := "policy"
	if len(by) > 1 {
		word = "policies"
	}
	return fmt.Sprintf("%s is for %s (%s %s). %s is in: %s", resource.ID,
		joinNames(compactInOrder(who), mostReasons), word, joinNames(compactInOrder(by), mostReasons), v.person, orNone(joinNames(v.groups, 10)))
}

func orNone(list string) string {
	if list == "" {
		return "no group"
	}
	return list
}
