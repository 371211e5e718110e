package flow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/fault"
	"github.com/brevet-pim/brevet/issuer"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// issuing bounds how long somebody who asked or agreed waits for the issuer. What is not done by
// then, a worker finishes.
const issuing = 10 * time.Second

// advanced issues what is ready and returns how the request then stands. That the issuer does not
// answer is no failure of the one who asked: it is tried again.
func (s *Spine) advanced(ctx context.Context, id brevet.RequestID) (RequestView, error) {
	r, err := s.Store.Query(ctx).Request(id)
	if err != nil {
		return RequestView{}, err
	}
	if r.State == brevet.Ready {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), issuing)
		defer cancel()
		if err := s.issue(ctx, id); err != nil {
			s.notAtOnce(ctx, id, err)
		}
		if r, err = s.Store.Query(ctx).Request(id); err != nil {
			return RequestView{}, err
		}
	}
	return s.viewOf(ctx, r)
}

// givenAtOnce gives what nobody need agree to, by what was written a moment ago and need not be read
// again. Whatever comes in between, the rows say how the request then stands.
func (s *Spine) givenAtOnce(ctx context.Context, a application, written store.Commit) (RequestView, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), issuing)
	defer cancel()
	last := written.Count - 1
	g, err := s.fulfil(ctx, intention{
		request: a.row, grant: a.draft.grant, bundle: a.bundle, envelope: a.draft.envelope,
		leaf: issuer.IntentLeaf{Index: written.First + int64(last), Salt: written.Bodies[last].Salt, Body: written.Bodies[last].Record},
	})
	if err == nil && g.State == brevet.Live {
		return s.view().request(a.row, nil, a.raw, g), nil
	}
	if err != nil {
		s.notAtOnce(ctx, a.row.ID, err)
	}
	r, err := s.Store.Query(ctx).Request(a.row.ID)
	if err != nil {
		return RequestView{}, err
	}
	return s.viewOf(ctx, r)
}

// notAtOnce sees to it that a request is tried again soon: by its state it would be only when somebody
// looks at all of them.
func (s *Spine) notAtOnce(ctx context.Context, id brevet.RequestID, why error) {
	s.Log.WarnContext(ctx, "a grant was not issued at once; it will be tried again", "request", id, "error", why)
	s.owe(ctx, id)
}

// owe enqueues a job for each of the requests.
func (s *Spine) owe(ctx context.Context, ids ...brevet.RequestID) {
	due := s.Clock().Add(lead)
	err := s.Store.Work(context.WithoutCancel(ctx), func(w *store.Work) error {
		for _, id := range ids {
			if err := w.Enqueue(jobIssue, string(id), due); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.Log.WarnContext(ctx, "what is ready is tried again only when all of it is looked at", "requests", len(ids), "error", err)
	}
}

// issue brings a request that is ready to its grant, from wherever it stands. It may run again, and
// beside itself: each step is one move that only one can make.
func (s *Spine) issue(ctx context.Context, id brevet.RequestID) error {
	r, err := s.Store.Query(ctx).Request(id)
	if err != nil {
		return err
	}
	if r.State == brevet.Ready {
		if r, err = s.intend(ctx, r); err != nil || r.State != brevet.Granted {
			return err
		}
	}
	if r.State != brevet.Granted {
		return nil // somebody ended it meanwhile
	}
	return s.give(ctx, r)
}

// intend has the issuer say what it will give, and makes that durable: from then on the request is
// spent, and nothing else can be given for it.
func (s *Spine) intend(ctx context.Context, r brevet.Request) (brevet.Request, error) {
	ev, err := s.evidence(ctx, s.Store.Query(ctx), r)
	if err != nil {
		return s.refusedByIssuer(ctx, r, err)
	}
	return s.intendBy(ctx, ev)
}

// intention is an intent that stands in the log, and what is to come of it.
type intention struct {
	request  brevet.Request
	grant    brevet.Grant
	bundle   *proof.Bundle // what the intent rests on
	envelope statement.Envelope
	leaf     issuer.IntentLeaf
}

// draft is an intent that the issuer has signed, on its way into the log, and the grant that is to come of it.
type draft struct {
	envelope statement.Envelope
	event    brevet.Event
	grant    brevet.Grant
}

// draft makes a draft of what the issuer says that it will give.
func (s *Spine) draft(r brevet.Request, prepared issuer.Signed[statement.Intent]) draft {
	intent := prepared.Said
	event := s.onRequest(s.event(string(statement.KindIntent), r.Statement, s.self(), fmt.Sprintf("%s will be given %s for %s", r.Person, r.Role, policy.FormatSeconds(intent.Duration))), r)
	event.Statement, event.Grant = prepared.Raw, r.ID.Grant()
	event.Detail = map[string]any{"intent": prepared.ID, "policies": intent.Policies}
	return draft{prepared.Envelope, event, grantOf(r, prepared.ID, intent)}
}

// intendBy has the issuer say what it will give by the evidence, and writes that.
func (s *Spine) intendBy(ctx context.Context, ev evidence) (brevet.Request, error) {
	r := ev.row
	if err := s.await(ctx, ev.last()+1); err != nil {
		return r, err
	}
	prepared, err := s.Issuer.Prepare(ctx, ev.bundle())
	if err != nil {
		return s.refusedByIssuer(ctx, r, err)
	}
	d := s.draft(r, prepared)
	granted := r
	fault.Point("flow.intend")
	_, err = s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		now, err := t.Request(r.ID)
		if err != nil {
			return nil, err
		}
		if now.State != brevet.Ready {
			return nil, errOvertaken
		}
		now.State = brevet.Granted
		if granted, err = t.UpdateRequest(now); err != nil {
			return nil, err
		}
		if err := t.AddGrant(d.grant); err != nil {
			return nil, err
		}
		return []brevet.Event{d.event}, nil
	})
	fault.Point("flow.intended")
	if errors.Is(err, errOvertaken) {
		return s.Store.Query(ctx).Request(r.ID)
	}
	return granted, err
}

// errOvertaken says that somebody else has moved what was to be moved.
var errOvertaken = errors.New("overtaken")

func grantOf(r brevet.Request, id statement.ID, intent statement.Intent) brevet.Grant {
	from := time.UnixMicro(intent.At).UTC()
	return brevet.Grant{
		ID:      r.ID.Grant(),
		Version: 1,
		Request: r.ID,
		Intent:  string(id),
		State:   brevet.Issuing,
		Person:  intent.Person,
		Role:    intent.Role,
		Targets: intent.Targets,
		Logins:  intent.Logins,
		Holder:  intent.Holder.Machine,
		From:    from,
		To:      from.Add(intent.Duration.Duration()),
	}
}

// refusedByIssuer ends a request that the issuer, or the look at its rows, said no to: people and
// policy had agreed by what the database said, or it was spent before, so somebody should look.
// Whatever is no such no is returned, to be tried again.
func (s *Spine) refusedByIssuer(ctx context.Context, r brevet.Request, cause error) (brevet.Request, error) {
	if kind := brevet.KindOf(cause); kind != brevet.Refused && kind != brevet.Conflict {
		return r, cause
	}
	message, _ := brevet.MessageOf(cause)
	why := "the issuer refused: " + message
	finding := s.onRequest(s.failure("issuer.refused", string(r.ID), s.self(), why), r)
	finding.Detail = map[string]any{"error": cause.Error()}
	refused := s.onRequest(s.failure("request.refused", string(r.ID), s.self(), why), r)
	denied := r
	_, err := s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		now, err := t.Request(r.ID)
		if err != nil {
			return nil, err
		}
		if now.State != brevet.Ready {
			return nil, errOvertaken
		}
		now.State, now.Why = brevet.Denied, why
		if denied, err = t.UpdateRequest(now); err != nil {
			return nil, err
		}
		return []brevet.Event{finding, refused}, nil
	})
	if errors.Is(err, errOvertaken) {
		return s.Store.Query(ctx).Request(r.ID)
	}
	return denied, err
}

// give makes the grant live whose intent is written.
func (s *Spine) give(ctx context.Context, r brevet.Request) error {
	q := s.Store.Query(ctx)
	g, err := q.Grant(r.ID.Grant())
	if err != nil || g.State != brevet.Issuing {
		return err
	}
	ev, err := s.evidence(ctx, q, r)
	if err != nil {
		return s.unlessRefused(ctx, r, g, err)
	}
	entry, err := q.SpentBy(r.ID, r.Statement)
	if err != nil {
		return err
	}
	envelope, err := envelopeOf(entry)
	if err != nil {
		return s.unlessRefused(ctx, r, g, err)
	}
	_, err = s.fulfil(ctx, intention{r, g, ev.bundle(), envelope, issuer.IntentLeaf{Index: entry.Index, Salt: entry.Salt, Body: entry.Body}})
	return err
}

// fulfil has the issuer give what its intent says, and makes the grant live.
func (s *Spine) fulfil(ctx context.Context, i intention) (brevet.Grant, error) {
	r, g := i.request, i.grant
	result, err := s.issued(ctx, i)
	if err != nil {
		return g, s.unlessRefused(ctx, r, g, err)
	}
	given := result.Grant.Said
	credential, err := credentialOf(given, result)
	if err != nil {
		return g, err
	}
	g.State, g.Statement = brevet.Live, string(result.Grant.ID)
	g.From, g.To = time.UnixMicro(given.From).UTC(), time.UnixMicro(given.To).UTC()
	event := s.event(string(statement.KindGrant), g.Statement, s.self(), fmt.Sprintf("%s has %s on %s until %s", g.Person, g.Role, list(g.Targets), g.To.Format(time.RFC3339)))
	event.Statement, event.Request, event.Grant, event.About = result.Grant.Raw, r.ID, g.ID, g.Person
	event.Detail = map[string]any{"serial": given.Serial, "from": g.From, "to": g.To}
	fault.Point("flow.give")
	_, err = s.Store.ChangeSaying(ctx, []brevet.Event{event}, func(t *store.Tx) error {
		if err := t.GiveGrant(g, credential); brevet.KindOf(err) != brevet.Conflict {
			return err
		}
		return errOvertaken
	})
	fault.Point("flow.given")
	if err == nil {
		s.alive.began(g)
		return g, nil
	}
	if errors.Is(err, errOvertaken) {
		err = nil
	}
	return i.grant, err
}

// issued hands the issuer its intent, which waits until it has seen that in the log, and returns when
// proofs of what was given can be made.
func (s *Spine) issued(ctx context.Context, i intention) (issuer.Result, error) {
	patient, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	result, err := s.Issuer.Issue(patient, i.envelope, i.leaf, i.bundle)
	if err := s.await(ctx, i.leaf.Index+1); err != nil {
		return issuer.Result{}, err
	}
	return result, err
}

func credentialOf(g statement.Grant, result issuer.Result) (brevet.Credential, error) {
	digest := sha256.Sum256(result.Certificate)
	if hex.EncodeToString(digest[:]) != g.Cert {
		return brevet.Credential{}, fmt.Errorf("the issuer's certificate is not the one of its grant %s", g.ID)
	}
	serial, err := strconv.ParseUint(g.Serial, 10, 64)
	if err != nil {
		return brevet.Credential{}, fmt.Errorf("serial of the certificate: %w", err)
	}
	return brevet.Credential{Kind: "ssh-certificate", Serial: serial, Public: result.Certificate, To: time.UnixMicro(g.To).UTC()}, nil
}

// unlessRefused ends a grant that was refused for good. Any other error is returned, to be tried again.
func (s *Spine) unlessRefused(ctx context.Context, r brevet.Request, g brevet.Grant, err error) error {
	if brevet.KindOf(err) == brevet.Refused {
		return s.notGiven(ctx, r, g, err)
	}
	return err
}

// notGiven ends a grant that the issuer would not give after all: something that it rests on was
// revoked or changed in between, or the rows were.
func (s *Spine) notGiven(ctx context.Context, r brevet.Request, g brevet.Grant, cause error) error {
	message, _ := brevet.MessageOf(cause)
	why := "the issuer refused: " + message
	finding := s.onRequest(s.failure("issuer.refused", string(r.ID), s.self(), why), r)
	finding.Grant, finding.Detail = g.ID, map[string]any{"error": cause.Error()}
	over := s.onGrant(s.failure("grant.ended", string(g.ID), s.self(), why), g)
	at := s.Clock()
	_, err := s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		now, err := t.Grant(g.ID)
		if err != nil {
			return nil, err
		}
		if now.State != brevet.Issuing {
			return nil, errOvertaken
		}
		now.State, now.EndedAt, now.EndedBy, now.EndReason = brevet.Ending, at, string(s.Server), why
		if now, err = t.UpdateGrant(now); err != nil {
			return nil, err
		}
		now.State, now.ClosedAt = brevet.Ended, at // nothing was ever given
		if _, err := t.UpdateGrant(now); err != nil {
			return nil, err
		}
		return []brevet.Event{finding, over}, nil
	})
	if errors.Is(err, errOvertaken) {
		return nil
	}
	return err
}

// onGrant says in an event which grant it is about.
func (s *Spine) onGrant(e brevet.Event, g brevet.Grant) brevet.Event {
	e.Grant, e.Request, e.About = g.ID, g.Request, g.Person
	return e
}
