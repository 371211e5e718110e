package flow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/fault"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// Revoke takes in the caller's signed revocation of a grant. It returns once the grant is ending
// and the issuer knows; with wait, once every enforcement point has confirmed or the time is over.
func (s *Spine) Revoke(ctx context.Context, by brevet.Caller, raw []byte, wait time.Duration) (GrantView, error) {
	v := s.view()
	rev, err := s.revocation(v, by, raw, statement.RevokeGrant)
	if err != nil {
		return GrantView{}, err
	}
	g, err := s.grantToEnd(ctx, v, by, rev.Subject)
	if err != nil {
		return GrantView{}, err
	}
	if string(g.ID) != rev.Subject {
		return GrantView{}, brevet.Errorf(brevet.Invalid, "subject: %s is not the whole id of a grant", brevet.Quote(rev.Subject))
	}
	if g.Person != by.Person { // one's own privilege may always be given back
		if err := v.may(by, onGrant(brevet.ActRevoke, g)); err != nil {
			return GrantView{}, err
		}
	}
	end := ending{at: v.now, by: string(by.Person), caller: by, reason: fmt.Sprintf("%s revoked it: %s", by.Person, rev.Reason)}
	if rev.Reason == "" {
		end.reason = fmt.Sprintf("%s revoked it", by.Person)
	}
	said := s.onGrant(s.revocationEvent(rev, by, raw, fmt.Sprintf("%s revoked %s of %s", by.Person, g.ID, g.Person)), g)
	away := taking{raw, end, []brevet.Event{said}, []brevet.Grant{g}}
	err = s.takeAway(ctx, away, func(ctx context.Context) error { return s.end(ctx, g.ID, end, said) })
	if err != nil {
		return GrantView{}, err
	}
	return s.ended(ctx, g, wait)
}

// grantToEnd finds a grant that the caller wants to end. Of one that this server knows to be live, memory
// says what it is: the database may be away, or slow, or somebody may have changed its row.
func (s *Spine) grantToEnd(ctx context.Context, v view, by brevet.Caller, id string) (brevet.Grant, error) {
	ctx, cancel := context.WithTimeout(ctx, hurry)
	defer cancel()
	g, err := s.findGrant(s.Store.Query(ctx), v, by, id)
	known, live := s.alive.get(brevet.GrantID(id))
	if !live {
		return g, orAway(ctx, err)
	}
	if brevet.KindOf(err) == brevet.NotFound && known.Person != by.Person && v.may(by, onGrant(brevet.ActRevoke, known)) != nil {
		return g, err // it is hidden from them
	}
	return known, nil
}

// orAway says of an error that the database does not answer, if that is since a short time is over.
func orAway(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return brevet.Errorf(brevet.Unavailable, "the database does not answer").Because(err).WithHint("try again; if it goes on, the server's log and brevet doctor say why")
	}
	return err
}

// ended waits until nothing is left of the grant, for as long as the caller would, and tells how it stands.
func (s *Spine) ended(ctx context.Context, g brevet.Grant, wait time.Duration) (view GrantView, err error) {
	patient, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err = s.waitFor(patient, g.Request, func(*store.Query) (bool, error) {
		view, err = s.grantView(s.Store.Query(ctx), g.ID)
		return view.State == brevet.Ended || wait <= 0, err
	})
	if err != nil && patient.Err() != nil && ctx.Err() == nil {
		err = nil // it is ending; who waited sees that
	}
	return view, err
}

// ending is how a grant comes to its end.
type ending struct {
	at     time.Time
	by     string // person, machine or "expiry"
	caller brevet.Caller
	reason string // for the person
}

// end makes a grant that is issuing or live end, with the events that led to it. A grant that is
// over is a Conflict.
func (s *Spine) end(ctx context.Context, id brevet.GrantID, e ending, because ...brevet.Event) error {
	var g brevet.Grant
	begun := s.event("grant.ending", string(id), e.caller, e.reason)
	fault.Point("flow.end")
	_, err := s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		now, err := t.Grant(id)
		if err != nil {
			return nil, err
		}
		if now.State != brevet.Live && now.State != brevet.Issuing {
			return nil, brevet.Errorf(brevet.Conflict, "%s is over already: %s", id, now.EndReason)
		}
		g, err = endIn(t, now, e)
		return append(because, s.onGrant(begun, now)), err
	})
	fault.Point("flow.ending")
	if err == nil {
		s.noted(ctx, g)
	}
	return err
}

// noted sees to it that the gateway of a grant that ends hears of it: the one that its row names, and the
// one that it was given to, should somebody have changed the row.
func (s *Spine) noted(ctx context.Context, g brevet.Grant) {
	s.urgent.over(g.ID)
	if known, live := s.alive.get(g.ID); live && known.Holder != g.Holder {
		s.urgent.add(known, ending{reason: g.EndReason}, nil)
		s.Hub.Wake(known.Holder)
		s.mismatch(ctx, g, fmt.Sprintf("is with %s, and its row says %s", known.Holder, g.Holder), nil)
	}
	s.alive.over(g.ID)
	s.Hub.Wake(g.Holder)
}

// endIn writes that a grant ends: from now on nobody gets in by it, and its gateway is owed the order.
func endIn(t *store.Tx, g brevet.Grant, e ending) (brevet.Grant, error) {
	g.State, g.EndedAt, g.EndedBy, g.EndReason = brevet.Ending, e.at, e.by, e.reason
	g, err := t.UpdateGrant(g)
	if err != nil {
		return g, err
	}
	return g, t.Enqueue(jobEnd, string(g.ID), e.at.Add(lead))
}

// abandon ends a grant whose gateway will never confirm: it is no longer the organisation's, and the
// certificate is over by itself.
func (s *Spine) abandon(ctx context.Context, g brevet.Grant) error {
	at := s.Clock()
	why := fmt.Sprintf("%s is no longer the organisation's and will not confirm; the certificate of %s is over by itself", g.Holder, g.ID)
	ended := s.onGrant(s.event("grant.ended", string(g.ID), s.self(), why), g)
	_, err := s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		now, err := t.Grant(g.ID)
		if err != nil {
			return nil, err
		}
		if now.State != brevet.Ending {
			return nil, errOvertaken
		}
		now.State, now.ClosedAt = brevet.Ended, at
		_, err = t.UpdateGrant(now)
		return []brevet.Event{ended}, err
	})
	if errors.Is(err, errOvertaken) {
		return nil
	}
	return err
}

// Closed is a gateway's word that an order to end something is carried out.
type Closed struct {
	Grant       brevet.GrantID
	Session     brevet.SessionID
	Connections int           // that were open
	Took        time.Duration // from the order's arrival to the last of them closed
}

// Confirm takes in the calling gateway's word that nothing of a grant is left with it. A session's
// end it tells by EndSession.
func (s *Spine) Confirm(ctx context.Context, by brevet.Caller, c Closed) error {
	if c.Grant == "" {
		return nil
	}
	g, err := s.Store.Query(ctx).Grant(c.Grant)
	if brevet.KindOf(err) == brevet.NotFound || err == nil && (g.Holder != by.Machine || g.State == brevet.Ended) {
		s.urgent.carriedOut(c.Grant, by.Machine) // what its row says can't keep that
		s.alive.over(c.Grant)
	}
	if brevet.KindOf(err) == brevet.NotFound || err == nil && g.Holder != by.Machine {
		return hidden("grant", string(c.Grant))
	}
	if err != nil {
		return err
	}
	at := s.Clock()
	confirmed := s.onGrant(s.event("grant.confirmed", string(g.ID), by, fmt.Sprintf("nothing of %s is left at %s", g.ID, by.Machine)), g)
	ended := s.onGrant(s.event("grant.ended", string(g.ID), s.self(), "nothing is left of "+string(g.ID)), g)
	fault.Point("flow.confirm")
	_, err = s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		now, err := t.Grant(c.Grant)
		if err != nil {
			return nil, err
		}
		if now.State != brevet.Ending {
			return nil, errOvertaken
		}
		if _, err := t.Confirm(store.Confirmation{Grant: c.Grant, Machine: by.Machine, At: at}); err != nil {
			return nil, err
		}
		since := at.Sub(now.EndedAt).Microseconds()
		confirmed.Detail = map[string]any{"connections": c.Connections, "took_microseconds": c.Took.Microseconds(), "since_end_microseconds": since}
		ended.Detail = map[string]any{"since_end_microseconds": since}
		now.State, now.ClosedAt = brevet.Ended, at // the holder is the only enforcement point of an SSH grant
		if _, err := t.UpdateGrant(now); err != nil {
			return nil, err
		}
		return []brevet.Event{confirmed, ended}, t.Withdraw(jobEnd, string(c.Grant))
	})
	fault.Point("flow.confirmed")
	if errors.Is(err, errOvertaken) {
		return nil // confirmed before
	}
	return err
}
