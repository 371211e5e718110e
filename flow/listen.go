package flow

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/flow/watch"
	"github.com/brevet-pim/brevet/store"
)

// Order is something that a gateway is to do.
type Order struct {
	// Grant or Session is to be ended, for the Reason, and confirmed.
	Grant   brevet.GrantID
	Session brevet.SessionID
	Reason  string
	// Watch: these people watch Session from now on; none, nobody does any more.
	Watch    bool
	Watchers []brevet.PersonID
}

// KeepAlive reports whether the order asks for nothing, but shows that somebody is there.
func (o Order) KeepAlive() bool { return o.Grant == "" && o.Session == "" }

const (
	// keepAlive is how often a gateway hears something.
	keepAlive = 5 * time.Second
	// remind is how often an order is given again that is not yet confirmed.
	remind = 10 * time.Second
)

// Present is what a gateway says of itself when it begins to listen.
type Present struct {
	Address string // where people reach it
	// Live are the sessions that it had At the time. Others that began before, and that the
	// database takes for live, were lost with the process before.
	Live []brevet.SessionID
	At   time.Time // by the gateway's clock, as the beginnings of its sessions are
}

// Listen gives the calling gateway its orders, for as long as ctx lasts and send succeeds. What is
// owed stands in the database: it is given again to a gateway that comes back.
func (s *Spine) Listen(ctx context.Context, by brevet.Caller, p Present, send func(Order) error) error {
	link := s.Hub.Join(by.Machine, p.Address)
	defer link.Leave()
	joined := s.event("gateway.joined", string(by.Machine), by, string(by.Machine)+" is connected")
	joined.Detail = map[string]any{"address": p.Address, "live_sessions": len(p.Live)}
	s.tell(ctx, joined) // though the database be away: urgent orders reach the gateway all the same
	defer func() {
		s.tell(ctx, s.event("gateway.left", string(by.Machine), by, string(by.Machine)+" is no longer heard"))
	}()
	looked := s.lookForLost(ctx, link, by, p)
	if !looked {
		s.Log.WarnContext(ctx, "a gateway is connected twice: the connection before is not over yet, or its folder was copied", "machine", by.Machine)
	}
	o := overseer{spine: s, by: by, send: send, given: map[string]time.Time{}, watched: map[brevet.SessionID]string{}}
	if err := o.endStrays(ctx, p.Live); err != nil {
		return err
	}
	pulse := time.NewTicker(keepAlive)
	defer pulse.Stop()
	for {
		if err := o.giveOrders(ctx); err != nil {
			return err
		}
		select {
		case <-link.Woken():
		case <-pulse.C:
			if err := o.beat(ctx, p.Address); err != nil {
				return err
			}
			looked = looked || s.lookForLost(ctx, link, by, p)
		case <-ctx.Done():
			return nil
		}
	}
}

// lookForLost ends the sessions that the gateway does not have any more, unless it has another link: those
// may be of the process behind that. It reports whether it has looked.
func (s *Spine) lookForLost(ctx context.Context, link *watch.Link, by brevet.Caller, p Present) bool {
	if !link.Alone() {
		return false
	}
	if err := s.closeLost(ctx, by, p); err != nil {
		s.Log.WarnContext(ctx, "sessions that a gateway lost were not closed", "machine", by.Machine, "error", err)
	}
	return true
}

// closeLost ends the sessions that the gateway does not have any more.
func (s *Spine) closeLost(ctx context.Context, by brevet.Caller, p Present) error {
	q := s.Store.Query(ctx)
	rows, err := sessionsOf(q, store.SessionFilter{Machine: by.Machine, Live: true})
	if err != nil {
		return err
	}
	for _, session := range rows {
		if slices.Contains(p.Live, session.ID) || session.StartedAt.After(p.At) {
			continue
		}
		gap, err := s.unrecorded(q, by, session)
		if err != nil {
			return err
		}
		if err := s.endSession(ctx, by, session, s.Clock(), "its gateway was restarted", gap...); err != nil {
			return err
		}
	}
	return nil
}

// unrecorded tells of a lost session of whose recording nothing has come. A gateway that died between
// a session's beginning and its first chunk has nothing to deliver or to cut, so nobody else would.
func (s *Spine) unrecorded(q *store.Query, by brevet.Caller, session brevet.Session) ([]brevet.Event, error) {
	if !session.Recorded {
		return nil, nil
	}
	chunks, err := q.Chunks(session.ID)
	if err != nil || len(chunks) > 0 {
		return nil, err
	}
	return []brevet.Event{s.gap(by, session, "nothing of it had come when its gateway was restarted")}, nil
}

// overseer is one gateway's stream of orders.
type overseer struct {
	spine   *Spine
	by      brevet.Caller
	send    func(Order) error
	given   map[string]time.Time // when an order was last given
	watched map[brevet.SessionID]string
}

// beat shows that somebody is there, both ways.
func (o *overseer) beat(ctx context.Context, address string) error {
	if err := o.send(Order{}); err != nil {
		return err
	}
	now := o.spine.Clock()
	err := o.spine.Store.Work(ctx, func(w *store.Work) error {
		return w.Beat(store.Heartbeat{Machine: o.by.Machine, Address: address, At: now})
	})
	if err != nil {
		o.spine.Log.WarnContext(ctx, "a heartbeat was not written", "machine", o.by.Machine, "error", err)
	}
	return nil
}

// giveOrders gives what is owed now, each again only after a while. A database that does not
// answer is no reason to let the gateway go: it keeps what it has.
func (o *overseer) giveOrders(ctx context.Context) error {
	for _, order := range o.spine.urgent.of(o.by.Machine) {
		if err := o.give(string(order.Grant), order); err != nil {
			return err
		}
	}
	q := o.spine.Store.Query(ctx)
	grants, err := grantsOf(q, store.GrantFilter{State: brevet.Ending, Holder: o.by.Machine})
	if err != nil {
		return o.unread(ctx, err)
	}
	sessions, err := sessionsOf(q, store.SessionFilter{Machine: o.by.Machine, Ending: true})
	if err != nil {
		return o.unread(ctx, err)
	}
	for _, g := range grants {
		if err := o.give(string(g.ID), Order{Grant: g.ID, Reason: g.EndReason}); err != nil {
			return err
		}
	}
	for _, session := range sessions {
		if err := o.give(string(session.ID), Order{Session: session.ID, Reason: session.EndReason}); err != nil {
			return err
		}
	}
	return o.giveWatchers()
}

// endStrays has the gateway end sessions that it says it has, and that by the rows have no grant any more:
// somebody may have changed those while nobody looked, so that nobody would end them.
func (o *overseer) endStrays(ctx context.Context, live []brevet.SessionID) error {
	q := o.spine.Store.Query(ctx)
	for _, id := range live {
		session, err := q.Session(id)
		var g brevet.Grant
		if err == nil {
			g, err = q.Grant(session.Grant)
		}
		switch {
		case err != nil && brevet.KindOf(err) != brevet.NotFound:
			return o.unread(ctx, err)
		case err == nil && g.State != brevet.Ended:
			continue
		case err == nil:
			o.spine.mismatch(ctx, g, fmt.Sprintf("is over by its row, and %s has session %s of it", o.by.Machine, id), nil)
		}
		if err := o.give(string(id), Order{Session: id, Reason: "its grant is over, or not known any more"}); err != nil {
			return err
		}
	}
	return nil
}

func (o *overseer) unread(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		o.spine.Log.WarnContext(ctx, "orders cannot be read", "machine", o.by.Machine, "error", err)
	}
	return nil
}

func (o *overseer) give(key string, order Order) error {
	now := time.Now()
	if last, given := o.given[key]; given && now.Sub(last) < remind {
		return nil
	}
	o.given[key] = now
	if len(o.given) > 4*store.MaxPage { // confirmed long ago, most of them
		o.given = map[string]time.Time{key: now}
	}
	return o.send(order)
}

// giveWatchers tells which sessions are watched, where that has changed.
func (o *overseer) giveWatchers() error {
	current := o.spine.Hub.Watchers(o.by.Machine)
	for id, people := range current {
		if known := fmt.Sprint(people); o.watched[id] != known {
			o.watched[id] = known
			if err := o.send(Order{Session: id, Watch: true, Watchers: people}); err != nil {
				return err
			}
		}
	}
	for id := range o.watched {
		if _, still := current[id]; !still {
			delete(o.watched, id)
			if err := o.send(Order{Session: id, Watch: true}); err != nil {
				return err
			}
		}
	}
	return nil
}
