package flow

import (
	"context"
	"maps"
	"sync"

	"github.com/brevet-pim/brevet"
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

// endUnwritten ends grants by issuer and gateways alone, since the database does not answer, and
// returns the error that says so. What was said goes into the log with the end of each.
func (s *Spine) endUnwritten(ctx context.Context, raw []byte, end ending, said []brevet.Event, cause error, grants ...brevet.Grant) error {
	s.takeBack(ctx, raw)
	for _, g := range grants {
		s.urgent.add(g, end, said)
		s.Hub.Wake(g.Holder)
	}
	s.Log.ErrorContext(ctx, "grants were ended without the database", "grants", len(grants), "reason", end.reason, "error", cause)
	return brevet.Errorf(brevet.Unavailable, "the gateways end it now, and the issuer knows; but the database does not answer, so it is not written down").Because(cause).
		WithHint("look, and do it again if need be, as soon as the database answers")
}

// writeUrgent writes down what was ended without the database, if that has come back.
func (s *Spine) writeUrgent(ctx context.Context) {
	for id, u := range s.urgent.all() {
		switch err := s.end(ctx, id, u.end, u.said...); brevet.KindOf(err) {
		case brevet.Conflict, brevet.NotFound: // written meanwhile, or tidied away
			s.urgent.over(id)
		default:
			if err != nil {
				return // nor would the others be
			}
		}
	}
}
