package flow

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/fault"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

const (
	// mostOpen is how many requests one person may have open.
	mostOpen = 20
	// defaultWait is how long a request waits for an answer if its role does not say.
	defaultWait = time.Hour
	// recently is how far back requests count as recent ones for policy.
	recently = 24 * time.Hour
)

// Ask takes in a request that the caller signed, decides it, and issues at once what nobody need
// agree to. Taken in twice, it is one request.
func (s *Spine) Ask(ctx context.Context, by brevet.Caller, raw []byte) (RequestView, error) {
	envelope, said, err := s.readRequest(raw)
	switch {
	case err != nil:
		return RequestView{}, err
	case said.Person != by.Person:
		return RequestView{}, brevet.Errorf(brevet.Refused, "the request is for %s, and you are %s", said.Person, by.Person).
			WithHint("everybody asks for themselves")
	case said.Via == brevet.ViaSSH:
		return RequestView{}, brevet.Errorf(brevet.Refused, "only a gateway hands in requests that came by ssh")
	}
	return s.takeIn(ctx, by, raw, envelope, said)
}

// AskInline takes in a request that the calling gateway signed for a person whose key it saw.
func (s *Spine) AskInline(ctx context.Context, by brevet.Caller, raw []byte) (RequestView, error) {
	envelope, said, err := s.readRequest(raw)
	switch {
	case err != nil:
		return RequestView{}, err
	case said.Via != brevet.ViaSSH:
		return RequestView{}, brevet.Errorf(brevet.Refused, "a gateway hands in requests that came by ssh, no others")
	case said.Holder.Machine != by.Machine:
		return RequestView{}, brevet.Errorf(brevet.Refused, "the credential would be for %s, and you are %s", said.Holder.Machine, by.Machine)
	}
	return s.takeIn(ctx, by, raw, envelope, said)
}

// readRequest reads a request that somebody handed in.
func (s *Spine) readRequest(raw []byte) (envelope statement.Envelope, said statement.Request, err error) {
	if envelope, err = statement.Parse(raw); err != nil {
		return envelope, said, err
	}
	said, err = proof.Open[statement.Request](s.Memory, envelope)
	return envelope, said, err
}

func (s *Spine) takeIn(ctx context.Context, by brevet.Caller, raw []byte, envelope statement.Envelope, said statement.Request) (RequestView, error) {
	id := envelope.ID()
	if _, again := s.taken.Recall(id); again { // the answer was lost, most likely
		if known, found := s.known(ctx, envelope, said); found {
			return s.viewOf(ctx, known)
		}
	}
	s.taken.Keep(id, struct{}{}, mostTaken)
	view, err := s.take(ctx, by, raw, envelope, said)
	if err == nil {
		return view, nil
	}
	if known, found := s.known(ctx, envelope, said); found {
		return s.viewOf(ctx, known)
	}
	return RequestView{}, err
}

// mostTaken is how many of the requests that came last are remembered at least. One that comes again later
// is found out when it is written, for which others wait.
const mostTaken = 1 << 12

// known returns the request if it was handed in before.
func (s *Spine) known(ctx context.Context, envelope statement.Envelope, said statement.Request) (brevet.Request, bool) {
	r, err := s.Store.Query(ctx).Request(envelope.RequestID(said))
	return r, err == nil && r.Statement == string(envelope.ID())
}

// take takes in a request that was not handed in before.
func (s *Spine) take(ctx context.Context, by brevet.Caller, raw []byte, envelope statement.Envelope, said statement.Request) (RequestView, error) {
	v := s.view()
	claimed, err := s.claim(ctx, by, said, v)
	if err != nil {
		return RequestView{}, err
	}
	weighed, err := v.Weigh(proof.Evidence{Request: proof.Pending(envelope, v.size), Claimed: claimed}, v.size+1, v.now, s.Memory)
	if err != nil {
		return RequestView{}, err
	}
	r := requestOf(envelope, said, claimed, weighed)
	if !r.Deadline.After(v.now) {
		return RequestView{}, brevet.Errorf(brevet.Refused, "the request is out of date").WithHint("ask again")
	}
	r, events := s.decided(r, weighed)
	a := application{by: by, raw: raw, bundle: proof.NewEvidence(envelope, nil, claimed), weighed: weighed, row: r, events: events}
	if r.State == brevet.Ready {
		s.intendAtOnce(ctx, &a)
	}
	commit, err := s.begin(ctx, a)
	if err != nil {
		return RequestView{}, err
	}
	switch a.row.State {
	case brevet.Granted:
		return s.givenAtOnce(ctx, a, commit)
	case brevet.Ready:
		return s.advanced(ctx, r.ID)
	}
	return s.view().request(a.row, nil, raw, brevet.Grant{}), nil
}

// claim is what the server alone says of the request: it can only make the answer stricter. Requests
// are counted only where a policy asks how many there were.
func (s *Spine) claim(ctx context.Context, by brevet.Caller, said statement.Request, v view) (policy.Claimed, error) {
	compiled, err := v.Catalog.InForce()
	if err != nil {
		return policy.Claimed{}, err
	}
	var claimed policy.Claimed
	if compiled.Policy.ReadsRecentRequests() {
		count, err := s.Store.Query(ctx).CountSince(said.Person, v.now.Add(-recently))
		if err != nil {
			return policy.Claimed{}, err
		}
		recent := int64(count)
		claimed.RecentRequests = &recent
	}
	if by.Person != "" {
		claimed.Source = by.Source
	}
	return claimed, nil
}

// requestOf is the row of a request that was weighed.
func requestOf(envelope statement.Envelope, said statement.Request, claimed policy.Claimed, w *proof.Weighed) brevet.Request {
	return brevet.Request{
		ID:        envelope.RequestID(said),
		Statement: string(envelope.ID()),
		State:     brevet.Asked,
		Person:    said.Person,
		Role:      said.Role,
		Targets:   said.Targets,
		Logins:    said.Logins,
		Duration:  said.Duration,
		Reason:    said.Reason,
		Ticket:    said.Ticket,
		Holder:    said.Holder.Machine,
		Via:       said.Via,
		Key:       w.Key.Fingerprint,
		At:        time.UnixMicro(said.At).UTC(),
		Deadline:  deadlineOf(said, w.Role),
		Claimed:   proof.ClaimsOf(claimed),
		Decision:  w.Decision,
		Version:   1,
	}
}

// application is a request that was weighed, on its way into the log.
type application struct {
	by      brevet.Caller
	raw     []byte
	bundle  *proof.Bundle
	weighed *proof.Weighed
	row     brevet.Request // as it comes to stand
	events  []brevet.Event // of what it came to
	draft   *draft         // whose event is among them
}

// intendAtOnce has the issuer say what it will give, so that a request to which nobody need agree is
// written with its intent. If it does not, it is asked again once the request is in the log.
func (s *Spine) intendAtOnce(ctx context.Context, a *application) {
	prepared, err := s.Issuer.PrepareNew(ctx, a.bundle)
	if err != nil {
		s.Log.WarnContext(ctx, "the issuer says no before a request is in the log; it will be asked again", "request", a.row.ID, "error", err)
		return
	}
	d := s.draft(a.row, prepared)
	a.row.State, a.draft, a.events = brevet.Granted, &d, []brevet.Event{d.event}
}

// begin writes a new request, what policy said of it, and its intent if there is one.
func (s *Spine) begin(ctx context.Context, a application) (store.Commit, error) {
	r := a.row
	asked := s.event(string(statement.KindRequest), r.Statement, a.by, askedFor(r))
	asked.Statement, asked.Request, asked.About = a.raw, r.ID, r.Person
	asked.Detail = map[string]any{"decision": a.weighed.Decision, "inputs": a.weighed.Inputs()}
	events := append([]brevet.Event{asked}, a.events...)
	fault.Point("flow.ask")
	commit, err := s.Store.ChangeSaying(ctx, events, func(t *store.Tx) error {
		if !r.State.Final() { // so it stays open
			if open, err := t.CountOpen(r.Person); err != nil || open >= mostOpen {
				return tooMany(err, r.Person, open)
			}
		}
		if err := t.AddRequest(r); err != nil {
			return err
		}
		if a.draft != nil {
			return t.AddGrant(a.draft.grant)
		}
		return nil
	})
	fault.Point("flow.asked")
	return commit, err
}

// askedFor says what was asked for, and why.
func askedFor(r brevet.Request) string {
	text := fmt.Sprintf("%s asks for %s on %s for %s", r.Person, r.Role, list(r.Targets), policy.FormatSeconds(r.Duration))
	if r.Ticket != "" {
		text += ", ticket " + r.Ticket
	}
	return text + because(r.Reason)
}

// because adds somebody's own words to a sentence. They come last: whatever they say, nothing follows that
// they could be taken for.
func because(words string) string {
	if words == "" {
		return ""
	}
	return ": " + words
}

func tooMany(err error, person brevet.PersonID, open int) error {
	if err != nil {
		return err
	}
	return brevet.Errorf(brevet.Limited, "%s has %d requests open", person, open).WithHint("cancel some first: brevet requests --mine")
}

// decided moves a request that was just asked for to where policy sends it.
func (s *Spine) decided(r brevet.Request, w *proof.Weighed) (brevet.Request, []brevet.Event) {
	switch {
	case w.Refused():
		r.State, r.Why = brevet.Denied, "policy refuses: "+strings.Join(append(append([]string{}, r.Decision.Reasons...), r.Decision.Errors...), "; ")
		return r, []brevet.Event{s.onRequest(s.failure("request.refused", string(r.ID), s.self(), r.Why), r)}
	case w.Missing == nil:
		r.State = brevet.Ready
		return r, []brevet.Event{s.onRequest(s.event("request.ready", string(r.ID), s.self(), "nobody need agree to "+string(r.ID)), r)}
	case w.Decision.Outcome == brevet.Ask && len(w.Stages) > 0:
		r.State = brevet.Waiting
		return r, nil
	}
	// Policy allows, and a rule above it does not, as that a gateway's word alone is not enough.
	message, _ := brevet.MessageOf(w.Missing)
	r.State, r.Why = brevet.Denied, message
	return r, []brevet.Event{s.onRequest(s.failure("request.refused", string(r.ID), s.self(), r.Why), r)}
}

// onRequest says in an event which request it is about.
func (s *Spine) onRequest(e brevet.Event, r brevet.Request) brevet.Event {
	e.Request, e.About = r.ID, r.Person
	return e
}

func list[T ~string](words []T) string {
	text := make([]string, len(words))
	for i, w := range words {
		text[i] = string(w)
	}
	return strings.Join(text, ", ")
}
