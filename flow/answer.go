package flow

import (
	"context"
	"fmt"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/fault"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// Approve takes in the caller's signed yes to one exact request, and issues if it was the last
// that was missing. Taken in twice, it is one approval. A yes that may not be is an event, if it is to a
// request that people are to answer.
func (s *Spine) Approve(ctx context.Context, by brevet.Caller, raw []byte) (RequestView, error) {
	envelope, said, wrong := parse[statement.Approval](raw)
	switch {
	case wrong != nil: // whatever else it says, it may name a request that the caller knows
		said, _ = statement.Decode[statement.Approval](envelope.Payload, len(envelope.Payload))
	case said.By != by.Person:
		wrong = brevet.Errorf(brevet.Refused, "the approval is by %s, and you are %s", said.By, by.Person)
	}
	q, v := s.Store.Query(ctx), s.view()
	r, err := q.RequestOf(string(said.Request))
	if err != nil && brevet.KindOf(err) != brevet.NotFound {
		return RequestView{}, err
	}
	seen := err == nil && v.seesRequest(by, r)
	switch {
	case wrong != nil && seen:
		return RequestView{}, s.notAgreed(ctx, by, r, wrong)
	case wrong != nil:
		return RequestView{}, wrong
	case !seen:
		return RequestView{}, unanswerable(said.Request)
	}
	if answered, err := s.answered(q, r, string(envelope.ID())); err != nil || answered {
		return s.orView(ctx, r, err)
	}
	if r.State != brevet.Waiting {
		return RequestView{}, notOpen(r)
	}
	ev, err := s.evidence(ctx, q, r)
	if err != nil {
		return RequestView{}, err
	}
	if err := s.await(ctx, ev.last()+1); err != nil {
		return RequestView{}, err
	}
	v = s.view() // which now has the request and the answers before this one
	if err := s.inTime(ctx, v, ev); err != nil {
		return RequestView{}, err
	}
	counted, err := v.CheckApproval(ev.Evidence, envelope, v.size, v.now, s.Memory)
	if err == nil {
		err = s.agree(ctx, by, r, raw, counted)
	}
	if err != nil {
		if same, _ := s.answered(q, r, string(envelope.ID())); !same { // else it was handed in twice at once
			return RequestView{}, s.notAgreed(ctx, by, r, err)
		}
	}
	return s.advanced(ctx, r.ID)
}

// maxRefusedApprovals is how many refused approvals of one person are told for one request. More
// would tell nothing new, and a log that anybody can fill is no use.
const maxRefusedApprovals = 10

// notAgreed tells of an approval that may not be, and returns why not.
func (s *Spine) notAgreed(ctx context.Context, by brevet.Caller, r brevet.Request, why error) error {
	if kind := brevet.KindOf(why); kind != brevet.Refused && kind != brevet.Invalid {
		return why // something failed: that says nothing of the caller
	}
	const kind = "approval.refused"
	told, err := s.Store.Query(ctx).Search(store.Filter{Kind: kind, Request: r.ID, Person: by.Person, Limit: maxRefusedApprovals})
	if err != nil || len(told) < maxRefusedApprovals {
		message, _ := brevet.MessageOf(why)
		s.tell(ctx, s.onRequest(s.failure(kind, string(r.ID), by, fmt.Sprintf("a yes by %s was not accepted: %s", by.Person, message)), r))
	}
	return why
}

// answered reports whether the statement was handed in before.
func (s *Spine) answered(q *store.Query, r brevet.Request, id string) (bool, error) {
	answers, err := q.Approvals(r.ID)
	for _, a := range answers {
		if a.Statement == id {
			return true, err
		}
	}
	return false, err
}

func (s *Spine) orView(ctx context.Context, r brevet.Request, err error) (RequestView, error) {
	if err != nil {
		return RequestView{}, err
	}
	return s.viewOf(ctx, r)
}

// unanswerable says that there is no request with the statement, that the caller may not see it, or that
// nobody need have answered it.
func unanswerable(id statement.ID) error {
	return brevet.Errorf(brevet.NotFound, "there is no request with the statement %s that waits for an answer", brevet.Quote(string(id))).
		WithHint("it was granted as it was asked for, or you may not see it; brevet requests shows what you may")
}

// notOpen says why a request can no longer be answered.
func notOpen(r brevet.Request) error {
	err := brevet.Errorf(brevet.Conflict, "%s is %s already", r.ID, r.State)
	switch {
	case r.State == brevet.Lapsed:
		return brevet.Errorf(brevet.Conflict, "%s has lapsed: it was not answered in time", r.ID).WithHint("%s", r.Why)
	case r.State == brevet.Granted:
		return err.WithHint("end the grant instead: brevet revoke %s", r.ID.Grant())
	case r.Why != "":
		return err.WithHint("%s", r.Why)
	}
	return err
}

// agree writes an approval that counts.
func (s *Spine) agree(ctx context.Context, by brevet.Caller, r brevet.Request, raw []byte, a proof.Approval) error {
	answer := brevet.Approval{
		Statement: string(a.ID),
		Request:   r.ID,
		By:        a.By,
		Stage:     int(a.Stage),
		Agreed:    true,
		Duration:  a.Duration,
		Comment:   a.Comment,
		Presence:  a.Presence,
		Key:       a.Key.Fingerprint,
		At:        time.UnixMicro(a.At).UTC(),
	}
	said := s.onRequest(s.event(string(statement.KindApproval), answer.Statement, by, agreedTo(r, a)), r)
	said.Statement, said.Detail = raw, map[string]any{"presence": a.Presence, "comment": a.Comment, "stage": a.Stage}
	ready := s.onRequest(s.event("request.ready", string(r.ID), s.self(), "everybody whom "+string(r.ID)+" needed has agreed"), r)
	fault.Point("flow.approve")
	_, err := s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		now, err := t.Request(r.ID)
		if err != nil {
			return nil, err
		}
		if now.State != brevet.Waiting {
			return nil, notOpen(now)
		}
		if err := t.AddApproval(answer); err != nil {
			return nil, err
		}
		answers, err := t.Approvals(r.ID)
		if err != nil {
			return nil, err
		}
		if !complete(now.Decision.Stages, answers) {
			_, err = t.UpdateRequest(now) // its version tells others that something happened
			return []brevet.Event{said}, err
		}
		now.State = brevet.Ready
		if _, err := t.UpdateRequest(now); err != nil {
			return nil, err
		}
		return []brevet.Event{said, ready}, nil
	})
	fault.Point("flow.approved")
	return err
}

// agreedTo says who agreed to how much of what was asked for, and what they added.
func agreedTo(r brevet.Request, a proof.Approval) string {
	text := fmt.Sprintf("%s agreed to %s for %s", a.By, r.ID, policy.FormatSeconds(a.Duration))
	if a.Duration < r.Duration {
		text += " of " + policy.FormatSeconds(r.Duration)
	}
	if len(a.Targets) < len(r.Targets) {
		text += ", only on " + list(a.Targets)
	}
	if len(a.Logins) < len(r.Logins) {
		text += ", only as " + list(a.Logins)
	}
	return text + ", presence " + string(a.Presence) + because(a.Comment)
}

// complete reports whether every stage has its approvals, each person counted once. It decides
// when the issuer is asked, who judges by the statements themselves.
func complete(stages []brevet.Stage, answers []brevet.Approval) bool {
	people := map[brevet.PersonID]bool{}
	counted := make([]int, len(stages))
	for _, a := range answers {
		if a.Agreed && !people[a.By] && a.Stage >= 0 && a.Stage < len(stages) {
			people[a.By] = true
			counted[a.Stage]++
		}
	}
	for i, stage := range stages {
		if counted[i] < stage.Count {
			return false
		}
	}
	return len(stages) > 0
}

// Refuse takes in a signed revocation of a request: the no of somebody who was asked or may
// revoke, or its requester's cancelling.
func (s *Spine) Refuse(ctx context.Context, by brevet.Caller, raw []byte) (RequestView, error) {
	v := s.view()
	rev, err := s.revocation(v, by, raw, statement.RevokeRequest)
	if err != nil {
		return RequestView{}, err
	}
	q := s.Store.Query(ctx)
	r, err := q.RequestOf(rev.Subject)
	if err != nil && brevet.KindOf(err) != brevet.NotFound {
		return RequestView{}, err
	}
	if err != nil || !v.seesRequest(by, r) {
		return RequestView{}, unanswerable(statement.ID(rev.Subject))
	}
	if err := v.mayRefuse(by, r); err != nil {
		return RequestView{}, err
	}
	if err := s.refuse(ctx, by, r, rev, raw); err != nil {
		return RequestView{}, err
	}
	s.takeBack(ctx, raw)
	return s.advanced(ctx, r.ID)
}

// mayRefuse says whether the caller may say no: the requester, who cancels, whoever was asked, and
// whoever may revoke.
func (v view) mayRefuse(by brevet.Caller, r brevet.Request) error {
	if r.Person == by.Person || v.answers(by, r) {
		return nil
	}
	return v.may(by, policy.Question{Action: brevet.ActRevoke, Of: r.Person, Role: r.Role, Targets: r.Targets})
}

// refuse ends an open request by a no.
func (s *Spine) refuse(ctx context.Context, by brevet.Caller, r brevet.Request, rev revoked, raw []byte) error {
	state, kind := brevet.Denied, "request.refused"
	why := fmt.Sprintf("%s said no: %s", by.Person, rev.Reason)
	if r.Person == by.Person {
		state, kind, why = brevet.Cancelled, "request.cancelled", fmt.Sprintf("%s took it back", by.Person)
		if rev.Reason != "" {
			why += ": " + rev.Reason
		}
	}
	events := []brevet.Event{
		s.onRequest(s.revocationEvent(rev, by, raw, why), r),
		s.onRequest(s.event(kind, string(r.ID), by, why), r),
	}
	answer := brevet.Approval{
		Statement: string(rev.ID), Request: r.ID, By: by.Person, Stage: -1, Comment: rev.Reason,
		Presence: rev.presence, Key: rev.key, At: time.UnixMicro(rev.At).UTC(),
	}
	fault.Point("flow.refuse")
	_, err := s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		now, err := t.Request(r.ID)
		if err != nil {
			return nil, err
		}
		if now.State.Final() {
			return nil, notOpen(now)
		}
		now.State, now.Why = state, why
		if _, err := t.UpdateRequest(now); err != nil {
			return nil, err
		}
		return events, t.AddApproval(answer)
	})
	fault.Point("flow.refused")
	return err
}
