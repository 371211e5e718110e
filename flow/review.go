package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// review looks at every open request and every grant that is live or being made, after roster or catalog
// have changed, and ends those that could not be given any more: whoever takes a role, a group, a key or
// a gateway away means it for what was given before, too. Each change owes a job for it, which is done
// again until it succeeds.
func (s *Spine) review(ctx context.Context, by brevet.Caller) error {
	q := s.Store.Query(ctx)
	var given []brevet.Grant
	for _, state := range []brevet.GrantState{brevet.Issuing, brevet.Live} { // in the order in which a grant goes through them
		grants, err := grantsOf(q, store.GrantFilter{State: state})
		if err != nil {
			return err
		}
		given = append(given, grants...)
	}
	_, size, err := q.Checkpoint() // after them, so that nothing is judged by less than it was given on
	if err != nil {
		return err
	}
	if err := s.await(ctx, size); err != nil { // another server may have made the change
		return err
	}
	v, err := s.viewOnward(ctx)
	if err != nil {
		return err
	}
	var failed []error
	for _, g := range given {
		failed = append(failed, s.reviewGrant(ctx, q, v, by, g))
	}
	waiting, err := everyPage(func(p store.Page) ([]brevet.Request, error) {
		return q.Requests(store.RequestFilter{State: brevet.Waiting, Page: p})
	}, func(r brevet.Request) string { return string(r.ID) })
	failed = append(failed, err)
	for _, r := range waiting {
		failed = append(failed, s.reviewRequest(ctx, q, by, r))
	}
	return errors.Join(failed...)
}

// viewOnward is the view at a time that is not before the last event's: with a clock that was put back
// everything in force would seem to be of the future.
func (s *Spine) viewOnward(ctx context.Context) (view, error) {
	v := s.view()
	at, err := s.latest(ctx, v)
	v.now = at
	return v, err
}

// reviewRequest ends a request that nobody's yes could lead to a grant any more, so that whoever
// waits for it learns that now.
func (s *Spine) reviewRequest(ctx context.Context, q *store.Query, by brevet.Caller, r brevet.Request) error {
	ev, err := s.evidence(ctx, q, r)
	if brevet.KindOf(err) == brevet.Refused {
		return nil // its rows were changed, which was told; an answer to it will be refused
	}
	if err != nil {
		return err
	}
	if err := s.await(ctx, ev.last()+1); err != nil {
		return err
	}
	v, err := s.viewOnward(ctx) // which has the request and its answers, however new
	if err != nil {
		return err
	}
	if !v.now.Before(r.Deadline) {
		return nil // it lapses, which says more
	}
	var why string
	w, err := v.Weigh(ev.Evidence, v.size, v.now, s.Memory)
	switch {
	case brevet.KindOf(err) == brevet.Refused:
		why, _ = brevet.MessageOf(err)
	case err != nil:
		return err
	case w.Refused():
		why = "policy refuses it now: " + strings.Join(append(slices.Clone(w.Decision.Reasons), w.Decision.Errors...), "; ")
	default:
		return nil
	}
	event := s.onRequest(s.failure("request.refused", string(r.ID), by, why), r)
	_, err = s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		now, err := t.Request(r.ID)
		if err != nil {
			return nil, err
		}
		if now.State != brevet.Waiting {
			return nil, errOvertaken
		}
		now.State, now.Why = brevet.Denied, why
		_, err = t.UpdateRequest(now)
		return []brevet.Event{event}, err
	})
	if errors.Is(err, errOvertaken) {
		return nil
	}
	return err
}

// reviewNow reviews for the caller whose change it follows. What fails, the job makes good.
func (s *Spine) reviewNow(ctx context.Context, by brevet.Caller) {
	if err := s.review(ctx, by); err != nil {
		s.Log.WarnContext(ctx, "grants were not all looked at after a change; they will be again", "error", err)
	}
}

func (s *Spine) reviewGrant(ctx context.Context, q *store.Query, v view, by brevet.Caller, g brevet.Grant) error {
	why, err := s.unfounded(q, v, g)
	if err == nil && why != "" {
		err = s.withdraw(ctx, v, by, g, why)
	}
	if err == nil || brevet.KindOf(err) == brevet.Conflict { // over meanwhile
		return nil
	}
	return fmt.Errorf("%s: %w", g.ID, err)
}

// withdraw ends a grant that nothing supports any more, by a revocation that this server signs as
// the part that noticed. Without one, only a row would say that the grant is over, and whoever
// writes rows could have it live again.
func (s *Spine) withdraw(ctx context.Context, v view, by brevet.Caller, g brevet.Grant, why string) error {
	envelope, err := statement.New(ctx, statement.Revocation{
		Header:  statement.NewHeader(s.Root, v.now, v.now.Add(noticeGood)),
		By:      string(s.Server),
		What:    statement.RevokeGrant,
		Subject: string(g.ID),
		Reason:  "roster or catalog do not support it any more",
	}, s.Signer)
	if err != nil {
		return err
	}
	raw, err := envelope.Marshal()
	if err != nil {
		return err
	}
	said := s.onGrant(s.event(string(statement.KindRevocation), string(envelope.ID()), by, fmt.Sprintf("%s is withdrawn: %s", g.ID, why)), g)
	said.Statement, said.Detail = raw, map[string]any{"what": statement.RevokeGrant, "subject": g.ID, "reason": why}
	if err := s.end(ctx, g.ID, ending{at: v.now, by: by.String(), caller: by, reason: why}, said); err != nil {
		return err
	}
	s.takeBack(ctx, raw)
	return nil
}

// noticeGood is for how long a revocation that the server signs may be taken in.
const noticeGood = time.Hour

// unfounded says why a grant could not be given any more, or "".
func (s *Spine) unfounded(q *store.Query, v view, g brevet.Grant) (why string, err error) {
	r, err := q.Request(g.Request)
	if err != nil {
		return gone(err)
	}
	_, envelope, err := known(q.AskedBy(r.ID, r.Statement))
	if err != nil {
		return gone(err)
	}
	said, err := statement.Open[statement.Request](envelope)
	if err != nil {
		return gone(err)
	}
	claims, err := claimed(r)
	if err != nil {
		return gone(err)
	}
	if !askedBy(r.Key, said, envelope) {
		return "the key that asked for it was changed in the database", nil
	}
	key, err := v.KeyFor(r.Key, statement.UseRequest, v.size, v.now.UnixMicro())
	if err != nil {
		message, _ := brevet.MessageOf(err)
		return message, nil
	}
	if _, _, err := v.Roster.MachineOf(said.Holder.Key, statement.KeyHolder, v.size); err != nil {
		return "its gateway " + string(g.Holder) + " is no longer the organisation's", nil
	}
	if why, err := suspect(q, v, g); why != "" || err != nil {
		return why, err
	}
	return v.forbidden(g, said, key, claims)
}

// gone tells what was taken out of the database or changed there from a database that does not answer.
func gone(err error) (why string, failed error) {
	if kind := brevet.KindOf(err); kind == brevet.NotFound || kind == brevet.Refused || kind == brevet.Invalid {
		return "what it rests on is no longer in the log", nil
	}
	return "", err
}

// forbidden says why role or policy would not give the grant any more, or "".
func (v view) forbidden(g brevet.Grant, said statement.Request, key proof.Key, claimed policy.Claimed) (why string, err error) {
	compiled, err := v.Catalog.InForce()
	if err != nil {
		return "", err
	}
	role, _, ok := compiled.Role(g.Role)
	if !ok {
		return "there is no role " + string(g.Role) + " any more", nil
	}
	for _, login := range g.Logins {
		if !slices.Contains(role.SSH.Logins, login) {
			return string(g.Role) + " does not give " + login + " any more", nil
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
		return "policy would refuse it now: " + strings.Join(append(slices.Clone(d.Reasons), d.Errors...), "; "), nil
	}
	return "", nil
}

// suspect says whose yes to a grant is not to be believed any more, since their key was retired for
// what it signed then, or "".
func suspect(q *store.Query, v view, g brevet.Grant) (why string, err error) {
	answers, err := q.Approvals(g.Request)
	if err != nil {
		return "", err
	}
	for _, a := range answers {
		key, known := v.Roster.Key(a.Key, v.size)
		if a.Agreed && (!known || key.Retired < v.size && a.At.UnixMicro() >= key.Since) {
			return "the key of " + string(a.By) + " was retired, and what it signed for the grant is suspect", nil
		}
	}
	return "", nil
}
