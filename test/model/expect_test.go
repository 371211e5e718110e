package model_test

import (
	"fmt"
	"slices"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
)

// expected is what must be answered to a move that is made alone.
type expected struct {
	sure bool // otherwise both are right
	good bool
	why  string
}

var (
	either = expected{}
	good   = expected{sure: true, good: true}
)

func bad(format string, args ...any) expected {
	return expected{sure: true, why: fmt.Sprintf(format, args...)}
}

// met compares the answer with what was expected.
func (e expected) met(err error) error {
	switch {
	case e.sure && e.good && err != nil:
		return fmt.Errorf("it was refused, and should not be: %w", err)
	case e.sure && !e.good && err == nil:
		return fmt.Errorf("it was let through, though %s", e.why)
	case err != nil && brevet.KindOf(err) == brevet.Internal:
		return fmt.Errorf("the answer is no sentence for a person: %w", err)
	}
	return nil
}

// but makes an expected success unsure where something else may get in its way.
func (e expected) but(obstacle bool) expected {
	if obstacle && e.good {
		return either
	}
	return e
}

// expect tells what must be answered to the move, by what the log says.
func (w *world) expect(m move) expected {
	switch m.verb {
	case ask:
		return w.expectAsk(m).but(w.behind())
	case approve:
		return w.expectApprove(m).but(w.behind())
	case refuse:
		return w.expectRefuse(m).but(w.behind())
	case revoke:
		return w.expectRevoke(m).but(w.behind())
	case suspend:
		return w.expectSuspend(m).but(w.behind())
	case begin:
		return w.expectBegin(m).but(w.behind())
	case reinstate, apply, enrol, retire, end, confirm:
		return either
	}
	return good
}

// acts says why the person may not act with the key that they use, or nil.
func (w *world) acts(id brevet.PersonID, use statement.Use) error {
	return w.ledger.mayAct(id, prooftest.Fingerprint(w.t, w.Keys[id].Key()), use)
}

func (w *world) expectAsk(m move) expected {
	if askForms[m.form] == "again" && w.request(m.pick) != nil {
		return good
	}
	r := w.wish(m)
	role := roleOf(&w.ledger.catalog, r.Role)
	open := 0
	for _, other := range w.ledger.inOrder {
		if other.said.Person == r.Person && !other.state.Final() {
			open++
		}
	}
	if r.Person != m.by {
		return bad("it is in another's name")
	}
	if err := w.acts(m.by, statement.UseRequest); err != nil {
		return bad("%v", err)
	}
	digest, err := catalog.RoleDigest(*role)
	must(w.t, err)
	switch {
	case r.RoleDigest != digest:
		return bad("the role has changed")
	case r.Duration > role.Limits.Duration, !subset(r.Logins, role.SSH.Logins):
		return bad("it is more than the role gives")
	case !inGroup(w.ledger.catalog, "sre", m.by):
		return bad("%s may not ask", m.by)
	case open >= 20:
		return bad("%s has %d requests open", m.by, open)
	}
	return good.but(w.few(*role, m.by))
}

// few reports whether too few people are left to agree to the role: then nobody need be asked.
func (w *world) few(role brevet.Role, requester brevet.PersonID) bool {
	for _, stage := range role.Approval {
		n := 0
		for _, id := range people {
			if id != requester && inGroup(w.ledger.catalog, stage.Group, id) && w.acts(id, statement.UseApprove) == nil {
				n++
			}
		}
		if n < stage.Count {
			return true
		}
	}
	return false
}

func (w *world) expectApprove(m move) expected {
	r := w.request(m.pick)
	if r == nil || approveForms[m.form] == "again" && w.lastOf(m.by) != nil {
		return either
	}
	a := w.yes(m, r)
	role := roleOf(&w.ledger.catalog, r.said.Role)
	if err := w.acts(m.by, statement.UseApprove); err != nil {
		return bad("%v", err)
	}
	switch {
	case r.state != brevet.Asked && r.state != brevet.Waiting:
		return bad("the request is %s", r.state)
	case approveForms[m.form] == "with another's key":
		return bad("it is not signed by %s", m.by)
	case m.by == r.said.Person:
		return bad("it is their own request")
	case within(a.Terms, r.said.Terms, nil) != nil:
		return bad("it is not what was asked for")
	case int(a.Stage) >= len(role.Approval), !inGroup(w.ledger.catalog, role.Approval[a.Stage].Group, m.by):
		return bad("%s is not asked at stage %d", m.by, a.Stage)
	case slices.ContainsFunc(r.yeses, func(y yes) bool { return y.By == m.by }):
		return bad("%s has agreed before", m.by)
	}
	// It may have become void by a change since, and lapse at any time.
	digest, err := catalog.RoleDigest(*role)
	must(w.t, err)
	return good.but(r.said.RoleDigest != digest || w.ledger.mayAct(r.said.Person, r.key, statement.UseRequest) != nil ||
		!inGroup(w.ledger.catalog, "sre", r.said.Person) || w.clock().UnixMicro() >= r.said.Until)
}

func (w *world) expectRefuse(m move) expected {
	r := w.request(m.pick)
	if r == nil {
		return either
	}
	stages := []brevet.Stage{}
	if role := roleOf(&w.ledger.catalog, r.said.Role); role != nil {
		stages = role.Approval
	}
	asked := slices.ContainsFunc(stages, func(s brevet.Stage) bool { return inGroup(w.ledger.catalog, s.Group, m.by) })
	switch {
	case r.state.Final():
		return bad("the request is %s", r.state)
	case m.by != r.said.Person && m.by != "alice" && !asked:
		return bad("nobody asked %s", m.by)
	case m.by == r.said.Person || m.by == "alice":
		return good.but(w.acts(m.by, statement.UseRequest) != nil || w.clock().UnixMicro() >= r.said.Until)
	}
	return either
}

func (w *world) expectRevoke(m move) expected {
	g := w.grant(m.pick)
	switch {
	case g == nil:
		return either
	case g.state != brevet.Live && g.state != brevet.Issuing:
		return bad("the grant is %s", g.state)
	case m.by != "alice" && m.by != g.terms.Person:
		return bad("%s may not", m.by)
	}
	return good.but(w.acts(m.by, statement.UseRequest) != nil || g.said == nil || w.clock().UnixMicro() >= g.said.To)
}

func (w *world) expectSuspend(m move) expected {
	id := people[m.pick%len(people)]
	_, already := w.ledger.suspended[id]
	switch {
	case m.by != "alice":
		return bad("%s does not administer", m.by)
	case id == "alice", already:
		return bad("%s cannot be suspended", id)
	}
	return good
}

func (w *world) expectBegin(m move) expected {
	g := w.grant(m.pick)
	if g == nil {
		return either
	}
	s := w.sessionOf(g, m)
	_, suspended := w.ledger.suspended[g.terms.Person]
	switch {
	case g.state != brevet.Live || g.said.To <= w.clock().UnixMicro():
		return bad("the grant is over")
	case s.Login != g.terms.Logins[0] || s.Person != g.terms.Person:
		return bad("the grant does not give that")
	case suspended:
		return bad("%s is suspended", g.terms.Person)
	}
	return good
}
