package flow

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// review looks at every live grant after roster or catalog have changed, and ends those that could
// not be given any more: whoever takes a role, a group, a key or a gateway away means it for what
// was given before, too.
func (s *Spine) review(ctx context.Context, by brevet.Caller) {
	v := s.view()
	q := s.Store.Query(ctx)
	for after := ""; ; {
		grants, err := q.Grants(store.GrantFilter{State: brevet.Live, Page: store.Page{After: after, Limit: store.MaxPage}})
		if err != nil {
			s.Log.ErrorContext(ctx, "live grants were not looked at after a change", "error", err)
			return
		}
		for _, g := range grants {
			after = string(g.ID)
			why := s.unfounded(q, v, g)
			if why == "" {
				continue
			}
			err := s.end(ctx, g.ID, ending{at: v.now, by: by.String(), caller: by, reason: why})
			if err != nil && brevet.KindOf(err) != brevet.Conflict {
				s.Log.ErrorContext(ctx, "a grant that nothing supports any more has not ended", "grant", g.ID, "error", err)
			}
		}
		if len(grants) < store.MaxPage {
			return
		}
	}
}

// unfounded says why a grant could not be given any more, or "".
func (s *Spine) unfounded(q *store.Query, v view, g brevet.Grant) string {
	r, err := q.Request(g.Request)
	if err != nil {
		return ""
	}
	_, envelope, err := logged(q, r.Statement)
	if err != nil {
		return "what it rests on is no longer in the log"
	}
	said, err := statement.Open[statement.Request](envelope)
	if err != nil {
		return "what it rests on is no longer in the log"
	}
	key, err := v.KeyFor(r.Key, statement.UseRequest, v.size, v.now.UnixMicro())
	if err != nil {
		message, _ := brevet.MessageOf(err)
		return message
	}
	if _, _, err := v.Roster.MachineOf(said.Holder.Key, statement.KeyHolder, v.size); err != nil {
		return "its gateway " + string(g.Holder) + " is no longer the organisation's"
	}
	if why := suspect(q, v, g); why != "" {
		return why
	}
	compiled, err := v.Catalog.InForce()
	if err != nil {
		return ""
	}
	claimed, err := s.claimed(q, r.ID)
	if err != nil {
		return ""
	}
	role, _, ok := compiled.Role(g.Role)
	if !ok {
		return "there is no role " + string(g.Role) + " any more"
	}
	for _, login := range g.Logins {
		if !slices.Contains(role.SSH.Logins, login) {
			return string(g.Role) + " does not give " + login + " any more"
		}
	}
	ask := policy.Ask{
		Person: g.Person, Role: g.Role, Targets: g.Targets, Logins: g.Logins, Duration: min(said.Duration, role.Limits.Duration), Reason: said.Reason,
		Ticket: said.Ticket, Via: said.Via, Presence: presenceOf(key), KeyAge: max(0, v.now.Sub(time.UnixMicro(key.At))),
		Now:     time.UnixMicro(said.At).UTC(), // the hour at which it was asked for
		Claimed: claimed,
	}
	if said.Via == brevet.ViaSSH {
		ask.Presence, ask.Source = said.Seen.Presence, sourceOf(said.Seen)
	}
	if d := compiled.Policy.WithPeople(v.InForce(v.size)).Decide(ask); d.Outcome == brevet.Refuse {
		return "policy would refuse it now: " + strings.Join(append(slices.Clone(d.Reasons), d.Errors...), "; ")
	}
	return ""
}

// suspect says whose yes to a grant is not to be believed any more, since their key was retired for
// what it signed then, or "".
func suspect(q *store.Query, v view, g brevet.Grant) string {
	answers, err := q.Approvals(g.Request)
	if err != nil {
		return ""
	}
	for _, a := range answers {
		key, known := v.Roster.Key(a.Key, v.size)
		if a.Agreed && (!known || key.Retired < v.size && a.At.UnixMicro() >= key.Since) {
			return "the key of " + string(a.By) + " was retired, and what it signed for the grant is suspect"
		}
	}
	return ""
}
