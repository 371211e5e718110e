package flow

import (
	"context"
	"sync"

	"github.com/brevet-pim/brevet"
)

// urgent are grants that were ended while the database could not write it down. Taking away does
// not wait for it: the issuer has heard, and the gateways are ordered from here. Whoever revoked
// is told to do it again, since only what is written down survives this process.
type urgent struct {
	mu     sync.Mutex // guards grants
	grants map[brevet.GrantID]urgentEnd
}

type urgentEnd struct {
	holder brevet.MachineID
	reason string
}

func (u *urgent) add(g brevet.Grant, reason string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.grants == nil {
		u.grants = map[brevet.GrantID]urgentEnd{}
	}
	u.grants[g.ID] = urgentEnd{g.Holder, reason}
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
			orders = append(orders, Order{Grant: id, Reason: end.reason})
		}
	}
	return orders
}

// endUnwritten ends grants by issuer and gateways alone, since the database does not answer, and
// returns the error that says so.
func (s *Spine) endUnwritten(ctx context.Context, raw []byte, reason string, cause error, grants ...brevet.Grant) error {
	s.takeBack(ctx, raw)
	for _, g := range grants {
		s.urgent.add(g, reason)
		s.Hub.Wake(g.Holder)
	}
	s.Log.ErrorContext(ctx, "grants were ended without the database", "grants", len(grants), "reason", reason, "error", cause)
	return brevet.Errorf(brevet.Unavailable, "the gateways end it now, and the issuer knows; but the database does not answer, so it is not written down").Because(cause).
		WithHint("do it again as soon as the database answers")
}
