package flow

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/store"
)

// urgent are grants that were ended while the database could not write it down. Taking away does
// not wait for it: the issuer has heard, and the gateways are ordered from here. It is written as soon as
// the database takes it. Should this process die before, the issuer still knows (see discredited).
type urgent struct {
	mu     sync.Mutex // guards grants
	grants map[brevet.GrantID]urgentEnd
}

type urgentEnd struct {
	holder brevet.MachineID
	end    ending
	said   []brevet.Event // what led to it
}

func (u *urgent) add(g brevet.Grant, end ending, said []brevet.Event) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.grants == nil {
		u.grants = map[brevet.GrantID]urgentEnd{}
	}
	u.grants[g.ID] = urgentEnd{g.Holder, end, said}
}

// all returns what is to be written.
func (u *urgent) all() map[brevet.GrantID]urgentEnd {
	u.mu.Lock()
	defer u.mu.Unlock()
	return maps.Clone(u.grants)
}

// over forgets a grant whose end is written down.
func (u *urgent) over(id brevet.GrantID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.grants, id)
}

// of returns the orders for a gateway.
func (u *urgent) of(machine brevet.MachineID) []Order {
	u.mu.Lock()
	defer u.mu.Unlock()
	var orders []Order
	for id, end := range u.grants {
		if end.holder == machine {
			orders = append(orders, Order{Grant: id, Reason: end.end.reason})
		}
	}
	return orders
}

// carriedOut forgets a grant of which its gateway says that nothing is left.
func (u *urgent) carriedOut(id brevet.GrantID, by brevet.MachineID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.grants[id].holder == by {
		delete(u.grants, id)
	}
}

// hurry is how long the database may take when something is to end, before issuer and gateways do it alone.
const hurry = 2 * time.Second

// taking is what somebody takes away.
type taking struct {
	raw    []byte // the signed revocation
	end    ending
	said   []brevet.Event // what led to it
	grants []brevet.Grant // that it ends
}

// takeAway writes that grants end, and has them end whatever becomes of that: if the database does not take
// it, or takes long, issuer and gateways end them first. Whoever asks may leave meanwhile.
func (s *Spine) takeAway(ctx context.Context, t taking, write func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), telling)
	defer cancel()
	late := time.AfterFunc(hurry, func() { s.endNow(ctx, t) })
	defer late.Stop()
	err := write(ctx)
	if err == nil {
		s.takeBack(ctx, t.raw)
		return nil
	}
	live := s.stillLive(ctx, t.grants, err)
	if len(live) == 0 && brevet.KindOf(err) != brevet.Unavailable {
		return err
	}
	if len(live) > 0 {
		t.grants = live
	}
	s.endNow(ctx, t)
	s.Log.ErrorContext(ctx, "grants were ended without the database", "grants", len(t.grants), "reason", t.end.reason, "error", err)
	return brevet.Errorf(brevet.Unavailable, "the gateways end it now, and the issuer knows; but it could not be written into the database").Because(err).
		WithHint("look with brevet grants, and do it again if need be, once the database takes it; the server's log and brevet doctor say why")
}

// stillLive returns those of the grants that are live for all that was said in the log, so that their end,
// which could not be written for that reason, must come all the same. Where the rows say something else,
// somebody has changed them, which is told.
func (s *Spine) stillLive(ctx context.Context, grants []brevet.Grant, cause error) (live []brevet.Grant) {
	for _, g := range grants {
		if _, known := s.alive.get(g.ID); !known {
			continue
		}
		if ended, err := s.endIsLogged(ctx, g.ID); err == nil && ended {
			continue // somebody was faster
		}
		live = append(live, g)
		if kind := brevet.KindOf(cause); kind == brevet.Conflict || kind == brevet.NotFound {
			message, _ := brevet.MessageOf(cause)
			s.mismatch(ctx, g, "is live, and its row does not let it end: "+message, cause)
		}
	}
	return live
}

// endIsLogged reports whether the log has the end of a grant, whatever its row says. It does not wait long.
func (s *Spine) endIsLogged(ctx context.Context, id brevet.GrantID) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, hurry)
	defer cancel()
	found, err := s.Store.Query(ctx).Search(store.Filter{Kind: "grant.ending", Grant: id, Limit: 1})
	return len(found) > 0, err
}

// endNow ends grants by issuer and gateways alone.
func (s *Spine) endNow(ctx context.Context, t taking) {
	for _, g := range t.grants {
		s.urgent.add(g, t.end, t.said)
		s.Hub.Wake(g.Holder)
	}
	s.takeBack(ctx, t.raw)
}

// writeUrgent writes down what was ended without the database, if that takes it now. What its row does not let
// end stays until the gateway has confirmed.
func (s *Spine) writeUrgent(ctx context.Context) {
	for id, u := range s.urgent.all() {
		err := s.end(ctx, id, u.end, u.said...)
		if brevet.KindOf(err) != brevet.Conflict || err == nil {
			continue
		}
		if ended, err := s.endIsLogged(ctx, id); err == nil && ended {
			s.urgent.over(id) // written meanwhile
		}
	}
}
