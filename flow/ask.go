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
	envelope, said, err := parse[statement.Request](raw)
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
	envelope, said, err := parse[statement.Request](raw)
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

func (s *Spine) takeIn(ctx context.Context, by brevet.Caller, raw []byte, envelope statement.Envelope, said statement.Request) (RequestView, error) {
	known, err := s.Store.Query(ctx).RequestOf(string(envelope.ID()))
	if err == nil {
		return s.viewOf(ctx, known) // handed in before
	}
	if brevet.KindOf(err) != brevet.NotFound {
		return RequestView{}, err
	}
	v := s.view()
	claimed, err := s.claim(ctx, by, said, v)
	if err != nil {
		return RequestView{}, err
	}
	weighed, err := v.Weigh(proof.Evidence{Request: proof.Pending(envelope, v.size), Claimed: claimed}, v.size+1, v.now, &s.memory)
	if err != nil {
		return RequestView{}, err
	}
	r := requestOf(envelope, said, weighed)
	if !r.Deadline.After(v.now) {
		return RequestView{}, brevet.Errorf(brevet.Refused, "the request is out of date").WithHint("ask again")
	}
	bundle, err := proof.NewEvidence(envelope, nil, claimed).Marshal()
	if err != nil {
		return RequestView{}, err
	}
	r, index, err := s.begin(ctx, by, r, raw, bundle, weighed)
	if err != nil {
		if same, unknown := s.Store.Query(ctx).RequestOf(string(envelope.ID())); unknown == nil { // handed in twice at once
			return s.viewOf(ctx, same)
		}
		return RequestView{}, err
	}
	if r.State != brevet.Ready {
		return s.view().request(r, nil, raw, brevet.Grant{}), nil
	}
	placed := proof.Entry{Index: index, Envelope: envelope}
	return s.issuedAtOnce(ctx, raw, evidence{r, said, proof.Evidence{Request: placed, Claimed: claimed}})
}

// claim is what the server alone says of the request: it can only make the answer stricter.
func (s *Spine) claim(ctx context.Context, by brevet.Caller, said statement.Request, v view) (policy.Claimed, error) {
	count, err := s.Store.Query(ctx).CountSince(said.Person, v.now.Add(-recently))
	if err != nil {
		return policy.Claimed{}, err
	}
	recent := int64(count)
	claimed := policy.Claimed{RecentRequests: &recent}
	if by.Person != "" {
		claimed.Source = by.Source
	}
	return claimed, nil
}

// requestOf is the row of a request that was weighed.
func requestOf(envelope statement.Envelope, said statement.Request, w *proof.Weighed) brevet.Request {
	at := time.UnixMicro(said.At).UTC()
	wait := w.Role.Limits.Wait.Duration()
	if wait <= 0 {
		wait = defaultWait
	}
	deadline := at.Add(wait)
	if until := time.UnixMicro(said.Until).UTC(); until.Before(deadline) {
		deadline = until
	}
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
		At:        at,
		Deadline:  deadline,
		Decision:  w.Decision,
		Version:   1,
	}
}

// begin writes a new request and what policy said of it, and returns it with its place in the log.
func (s *Spine) begin(ctx context.Context, by brevet.Caller, r brevet.Request, raw, bundle []byte, w *proof.Weighed) (written brevet.Request, index int64, err error) {
	asked := s.event(string(statement.KindRequest), r.Statement, by, fmt.Sprintf("%s asks for %s on %s for %s", r.Person, r.Role, list(r.Targets), policy.FormatSeconds(r.Duration)))
	asked.Statement, asked.Request, asked.About = raw, r.ID, r.Person
	asked.Detail = map[string]any{"decision": w.Decision, "inputs": w.Inputs}
	decided, more := s.decided(r, w)
	events := append([]brevet.Event{asked}, more...)
	due := s.Clock().Add(lead)
	fault.Point("flow.ask")
	commit, err := s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		if open, err := t.CountOpen(r.Person); err != nil || open >= mostOpen {
			return nil, tooMany(err, r.Person, open)
		}
		if err := t.AddRequest(r); err != nil {
			return nil, err
		}
		if err := t.PutBundle(r.ID.Grant(), bundle); err != nil {
			return nil, err
		}
		if written, err = t.UpdateRequest(decided); err != nil {
			return nil, err
		}
		if decided.State == brevet.Ready {
			if err := t.Enqueue(jobIssue, string(r.ID), due); err != nil {
				return nil, err
			}
		}
		return events, nil
	})
	fault.Point("flow.asked")
	return written, commit.First, err
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
