package flow

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/store"
)

// may asks policy whether the caller may do what the question says, and tells why not.
func (v view) may(by brevet.Caller, q policy.Question) error {
	compiled, err := v.Catalog.InForce()
	if err != nil {
		return err
	}
	q.Person, q.Via, q.Now = by.Person, by.Via, v.now
	if key, ok := v.Roster.Key(by.Key, v.size); ok {
		q.Presence, q.KeyAge = presenceOf(key), max(0, v.now.Sub(time.UnixMicro(key.At)))
	}
	allowed, decision := compiled.Policy.WithPeople(v.InForce(v.size)).May(q)
	if allowed {
		return nil
	}
	reasons := append(slices.Clone(decision.Reasons), decision.Errors...)
	return brevet.Errorf(brevet.Refused, "you may not: %s", strings.Join(reasons, "; "))
}

// presenceOf returns what a signature by the key shows at least, whoever checks it.
func presenceOf(k proof.Key) brevet.Presence {
	if strings.HasPrefix(k.Public.Public, ssh.KeyAlgoSKED25519+" ") || strings.HasPrefix(k.Public.Public, ssh.KeyAlgoSKECDSA256+" ") {
		return brevet.TouchPresence
	}
	return brevet.NoPresence
}

// readsAudit asks whether somebody may read everything.
var readsAudit = policy.Question{Action: brevet.ActAudit, System: policy.SystemAudit}

// audits reports whether the caller may read everything.
func (v view) audits(by brevet.Caller) bool { return v.may(by, readsAudit) == nil }

// administers says whether the caller may change that part of Brevet, and why not.
func (v view) administers(by brevet.Caller, part policy.System) error {
	return v.may(by, policy.Question{Action: brevet.ActAdminister, System: part})
}

// onGrant asks about an action on a grant or a session of it.
func onGrant(action brevet.Action, g brevet.Grant, targets ...brevet.TargetID) policy.Question {
	if len(targets) == 0 {
		targets = g.Targets
	}
	return policy.Question{Action: action, Of: g.Person, Role: g.Role, Targets: targets}
}

// groupsOf returns the groups that the person is in by the catalog in force.
func (v view) groupsOf(person brevet.PersonID) []brevet.GroupName {
	compiled, err := v.Catalog.InForce()
	if err != nil {
		return nil
	}
	return compiled.Policy.GroupsOf(person)
}

// answers reports whether the caller is among those who must agree to the request.
func (v view) answers(by brevet.Caller, r brevet.Request) bool {
	groups := v.groupsOf(by.Person)
	return r.Person != by.Person && slices.ContainsFunc(r.Decision.Stages, func(s brevet.Stage) bool { return slices.Contains(groups, s.Group) })
}

// seesRequest reports whether the caller may know of the request: it is theirs, to be answered by
// them, they may end it, or they audit.
func (v view) seesRequest(by brevet.Caller, r brevet.Request) bool {
	if by.Machine != "" {
		return by.Machine == r.Holder
	}
	return r.Person == by.Person || v.answers(by, r) || v.audits(by) ||
		v.may(by, policy.Question{Action: brevet.ActRevoke, Of: r.Person, Role: r.Role, Targets: r.Targets}) == nil
}

// seesSession reports whether the caller may know of the session.
func (v view) seesSession(by brevet.Caller, session brevet.Session, g brevet.Grant) bool {
	if session.Person == by.Person || v.audits(by) {
		return true
	}
	for _, action := range []brevet.Action{brevet.ActRevoke, brevet.ActJoin, brevet.ActReplay} {
		if v.may(by, onGrant(action, g, session.Target)) == nil {
			return true
		}
	}
	return false
}

// hidden is the one answer for what is not there and for what the caller may not know of, so that
// ids cannot be probed.
func hidden(what, id string) error {
	return brevet.Errorf(brevet.NotFound, "there is no %s %s", what, brevet.Quote(id)).
		WithHint("or you may not see it; the lists show what you may")
}

// noneToSee reports whether the error is one of looking something up that the caller must not tell
// from a thing that they may not see. That an ending fits several things is for those who see all.
func noneToSee(err error) bool {
	kind := brevet.KindOf(err)
	return kind == brevet.NotFound || kind == brevet.Conflict || kind == brevet.Invalid
}

// find returns what has the id, or what alone has one that ends so. The latter looks at all there are.
func find[ID ~string, T any](id, prefix string, parse func(string) (ID, error), get func(ID) (T, error), search func(string) (T, error)) (T, error) {
	if whole, err := parse(id); err == nil {
		return get(whole)
	}
	return search(strings.TrimPrefix(id, prefix))
}

// findRequest returns the request whose id ends so, if the caller may see it.
func (s *Spine) findRequest(q *store.Query, v view, by brevet.Caller, id string) (brevet.Request, error) {
	r, err := find(id, "req_", brevet.ParseRequestID, q.Request, q.FindRequest)
	if err != nil && !noneToSee(err) {
		return r, err
	}
	if err != nil || !v.seesRequest(by, r) {
		return brevet.Request{}, hidden("request", id)
	}
	return r, nil
}

// findGrant returns the grant whose id ends so, with its request, if the caller may see it.
func (s *Spine) findGrant(q *store.Query, v view, by brevet.Caller, id string) (brevet.Grant, error) {
	g, err := find(id, "grt_", brevet.ParseGrantID, q.Grant, q.FindGrant)
	if err == nil {
		var r brevet.Request
		if r, err = q.Request(g.Request); err == nil && v.seesRequest(by, r) {
			return g, nil
		}
	}
	if err != nil && !noneToSee(err) {
		return g, err
	}
	return brevet.Grant{}, hidden("grant", id)
}

// findSession returns the session whose id ends so, with its grant, if the caller may see it.
func (s *Spine) findSession(q *store.Query, v view, by brevet.Caller, id string) (brevet.Session, brevet.Grant, error) {
	session, err := find(id, "ses_", brevet.ParseSessionID, q.Session, q.FindSession)
	if err == nil {
		var g brevet.Grant
		if g, err = q.Grant(session.Grant); err == nil && v.seesSession(by, session, g) {
			return session, g, nil
		}
	}
	if err != nil && !noneToSee(err) {
		return session, brevet.Grant{}, err
	}
	return brevet.Session{}, brevet.Grant{}, hidden("session", id)
}

// needs says who must agree: "nobody", or "one of sre-leads (alice, dan)".
func needs(d brevet.Decision, stages []StageView) string {
	switch d.Outcome {
	case brevet.Allow:
		return "nobody"
	case brevet.Ask:
		parts := make([]string, len(stages))
		for i, stage := range stages {
			parts[i] = fmt.Sprintf("%s of %s (%s)", number(stage.Count), stage.Group, names(stage.MayApprove))
		}
		return strings.Join(parts, ", then ")
	}
	return strings.Join(d.Reasons, "; ")
}

func number(n int) string {
	if words := []string{"none", "one", "two", "three"}; n >= 0 && n < len(words) {
		return words[n]
	}
	return fmt.Sprint(n)
}

// mostNames is how many people a sentence names.
const mostNames = 5

func names(people []brevet.PersonID) string {
	if len(people) == 0 {
		return "nobody who could"
	}
	var list []string
	for _, p := range people[:min(len(people), mostNames)] {
		list = append(list, string(p))
	}
	if more := len(people) - mostNames; more > 0 {
		list = append(list, fmt.Sprintf("%d more", more))
	}
	return strings.Join(list, ", ")
}
