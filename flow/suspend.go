package flow

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/fault"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// Suspend takes in the caller's signed revocation of a person: every grant and session of theirs
// ends at once, their open requests are refused, and their sign-ins are over. It returns when that is
// durable and the issuer knows; with wait, once every enforcement point has confirmed or the time is over.
func (s *Spine) Suspend(ctx context.Context, by brevet.Caller, raw []byte, wait time.Duration) (Suspension, error) {
	v := s.view()
	rev, err := s.revocation(v, by, raw, statement.RevokePerson)
	if err != nil {
		return Suspension{}, err
	}
	if err := v.administers(by, policy.SystemPeople); err != nil {
		return Suspension{}, err
	}
	person := brevet.PersonID(rev.Subject)
	_, there := v.Roster.Identity(person)
	_, already := v.Suspended(person, v.size)
	switch {
	case !there:
		return Suspension{}, hidden("person", rev.Subject)
	case person == by.Person:
		return Suspension{}, brevet.Errorf(brevet.Refused, "nobody suspends themselves").WithHint("another administrator does it")
	case already:
		return Suspension{}, brevet.Errorf(brevet.Conflict, "%s is suspended already", person)
	}
	why := fmt.Sprintf("%s was suspended by %s: %s", person, by.Person, rev.Reason)
	event := s.revocationEvent(rev, by, raw, why)
	before := v.person(person)
	after := before
	after.Suspension = string(rev.ID)
	event.About = person
	event.Detail = map[string]any{"what": rev.What, "subject": rev.Subject, "reason": rev.Reason, "before": before.told(), "after": after.told()}
	var ended []brevet.Grant
	var commit store.Commit
	theirs := s.alive.find(func(g brevet.Grant) bool { return g.Person == person })
	away := taking{raw, ending{at: v.now, by: by.String(), caller: by, reason: why}, nil, theirs}
	err = s.takeAway(ctx, away, func(ctx context.Context) (err error) {
		ended, commit, err = s.suspend(ctx, by, person, why, event)
		return err
	})
	s.signedIn.forget(func(t store.Token) bool { return t.Person == person })
	if err != nil {
		return Suspension{}, err
	}
	over := s.passedOver(ctx, person, away, ended)
	if err := s.await(ctx, commit.Size); err != nil {
		s.Log.WarnContext(ctx, "a suspension is written, and not followed yet", "person", person, "error", err)
	}
	view := s.view().person(person)
	view.Suspension = string(rev.ID)
	left, err := s.leftOf(ctx, ended, wait)
	return Suspension{Person: view, Ended: len(ended) + len(over), Left: left + len(over)}, err
}

// passedOver ends those of a person's grants that the rows did not show as theirs, since somebody has changed
// them: issuer and gateways do it.
func (s *Spine) passedOver(ctx context.Context, person brevet.PersonID, t taking, ended []brevet.Grant) (over []brevet.Grant) {
	t.grants = slices.DeleteFunc(t.grants, func(g brevet.Grant) bool {
		return slices.ContainsFunc(ended, func(e brevet.Grant) bool { return e.ID == g.ID })
	})
	t.grants = s.stillLive(ctx, t.grants, brevet.Errorf(brevet.Conflict, "it is not among those of %s", person))
	if len(t.grants) > 0 {
		s.endNow(ctx, t)
	}
	return t.grants
}

// leftOf waits until nothing is left of the grants, for as long as the caller would, and counts those of
// which something may be.
func (s *Spine) leftOf(ctx context.Context, grants []brevet.Grant, wait time.Duration) (left int, err error) {
	patient, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for _, g := range grants {
		view, err := s.ended(patient, g, wait)
		if err != nil && patient.Err() == nil {
			return 0, err
		}
		if view.State != brevet.Ended {
			left++
		}
	}
	return left, ctx.Err()
}

// Suspension is what became of one.
type Suspension struct {
	Person PersonView
	Ended  int // grants that it ended
	Left   int // of these, those that not every gateway has confirmed yet
}

// suspend writes the suspension with all that it ends, in one change.
func (s *Spine) suspend(ctx context.Context, by brevet.Caller, person brevet.PersonID, why string, event brevet.Event) ([]brevet.Grant, store.Commit, error) {
	e := ending{at: s.Clock(), by: by.String(), caller: by, reason: why}
	var ended []brevet.Grant
	fault.Point("flow.suspend")
	commit, err := s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		ended = nil
		events := []brevet.Event{event}
		for _, state := range []brevet.GrantState{brevet.Live, brevet.Issuing} {
			grants, err := grantsOf(&t.Query, store.GrantFilter{State: state, Person: person})
			if err != nil {
				return nil, err
			}
			for _, g := range grants {
				if g, err = endIn(t, g, e); err != nil {
					return nil, err
				}
				ended = append(ended, g)
				events = append(events, s.onGrant(s.eventAt(e.at, "grant.ending", string(g.ID), by, why), g))
			}
		}
		open, err := t.Requests(store.RequestFilter{Person: person, Open: true, Page: store.Page{Limit: store.MaxPage}})
		if err != nil {
			return nil, err
		}
		for _, r := range open {
			r.State, r.Why = brevet.Denied, why
			if _, err := t.UpdateRequest(r); err != nil {
				return nil, err
			}
			events = append(events, s.onRequest(s.eventAt(e.at, "request.refused", string(r.ID), by, why), r))
		}
		n, err := t.RevokeTokens(person, e.at)
		if n > 0 {
			out := s.eventAt(e.at, "token.revoked", string(person), by, why)
			out.About = person
			events = append(events, out)
		}
		return events, err
	})
	fault.Point("flow.suspended")
	if err != nil {
		return nil, commit, err
	}
	s.wakeHolders(ctx, ended)
	return ended, commit, nil
}

func (s *Spine) wakeHolders(ctx context.Context, ended []brevet.Grant) {
	for _, g := range ended {
		s.noted(ctx, g)
	}
}
