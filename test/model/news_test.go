package model_test

import (
	"fmt"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// ends are the events by which a request ends that leads to no grant.
var ends = map[string]brevet.RequestState{
	"request.refused": brevet.Denied, "request.cancelled": brevet.Cancelled, "request.lapsed": brevet.Lapsed,
}

// takeNews holds an event that is no statement against the rules.
func (l *ledger) takeNews(e store.Entry) error {
	if next, ok := ends[e.Kind]; ok {
		r := l.requests[brevet.RequestID(e.Subject)]
		if r == nil {
			return fmt.Errorf("there is no such request")
		}
		r.decided(next)
		return r.move(next)
	}
	switch e.Kind {
	case "request.ready":
		return l.takeReady(brevet.RequestID(e.Subject))
	case "grant.ending", "grant.confirmed", "grant.ended":
		g := l.grants[brevet.GrantID(e.Subject)]
		if g == nil {
			return fmt.Errorf("there is no such grant")
		}
		return g.takeEnd(e.Kind)
	case "session.started":
		return l.takeBegin(e)
	case "session.ended":
		s := l.sessions[brevet.SessionID(e.Subject)]
		if s == nil || s.ended {
			return fmt.Errorf("there is no such session any more")
		}
		s.ended = true
	}
	return nil
}

// decided moves a request on of which an event tells that policy had people asked: that they answered,
// or did not.
func (r *request) decided(next brevet.RequestState) {
	if r.state == brevet.Asked && (len(r.yeses)+r.noes > 0 || next == brevet.Lapsed) {
		r.state = brevet.Waiting
	}
}

// takeReady takes in that nobody more is asked. Whether everybody has agreed is held against the intent.
func (l *ledger) takeReady(id brevet.RequestID) error {
	r := l.requests[id]
	if r == nil {
		return fmt.Errorf("there is no such request")
	}
	r.decided(brevet.Ready)
	return r.move(brevet.Ready)
}

// takeEnd takes in how a grant ends. One that was never given has nothing to confirm.
func (g *grant) takeEnd(kind string) error {
	switch kind {
	case "grant.ending":
		return g.move(brevet.Ending)
	case "grant.confirmed":
		if g.confirms++; g.state != brevet.Ending || g.confirms > 1 {
			return fmt.Errorf("the grant is %s, confirmed %d times", g.state, g.confirms)
		}
		return nil
	}
	if g.state == brevet.Issuing {
		if err := g.move(brevet.Ending); err != nil {
			return err
		}
	} else if g.confirms == 0 {
		return fmt.Errorf("nobody has confirmed that nothing is left")
	}
	return g.move(brevet.Ended)
}

// takeBegin checks that a session begins under a grant that is live and gives it.
func (l *ledger) takeBegin(e store.Entry) error {
	id, g := brevet.SessionID(e.Subject), l.grants[e.Grant]
	switch {
	case g == nil || g.state != brevet.Live || g.revoked:
		return fmt.Errorf("the session begins under no live grant")
	case l.sessions[id] != nil:
		return fmt.Errorf("the session began before")
	case e.About != g.terms.Person:
		return fmt.Errorf("the session is %s's, and the grant %s's", e.About, g.terms.Person)
	}
	if _, suspended := l.suspended[e.About]; suspended {
		return fmt.Errorf("%s is suspended", e.About)
	}
	l.sessions[id] = &session{id: id, grant: g}
	l.begun = append(l.begun, l.sessions[id])
	return nil
}

// stageFor returns the first stage of the request's role that waits for the person, or 0.
func (l *ledger) stageFor(r *request, by brevet.PersonID) int {
	role := roleOf(&l.catalog, r.said.Role)
	if role == nil {
		return 0
	}
	for i, stage := range role.Approval {
		if inGroup(l.catalog, stage.Group, by) {
			return i
		}
	}
	return 0
}

// supported says why a live grant could not be given any more as things stand, or "".
func (l *ledger) supported(g *grant) string {
	role := roleOf(&l.catalog, g.terms.Role)
	switch {
	case role == nil:
		return "there is no such role any more"
	case !subset(g.terms.Logins, role.SSH.Logins):
		return "the role gives its logins no more"
	case !inGroup(l.catalog, "sre", g.terms.Person):
		return "its person may not ask any more"
	}
	if err := l.mayAct(g.terms.Person, g.request.key, statement.UseRequest); err != nil {
		return err.Error()
	}
	return ""
}
