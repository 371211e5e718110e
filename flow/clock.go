package flow

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/store"
)

const (
	// tick is how often what is due is looked for. Gateways end sessions to the moment by themselves.
	tick = time.Second
	// jump is how far the wall clock may move against the monotonic one between two looks.
	jump = 5 * time.Second
	// relook is how often grants that other servers made are taken over into this one's watch.
	relook = 30 * time.Second
)

// keepTime ends what is over and lets requests lapse, until ctx ends.
func (s *Spine) keepTime(ctx context.Context) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	wall, began, looked := s.Clock(), time.Now(), time.Time{}
	for {
		if looked.IsZero() || time.Since(looked) >= relook {
			looked = time.Now()
			s.watchLive(ctx)
		}
		s.lookForDue(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		now, elapsed := s.Clock(), time.Since(began)
		if moved := now.Round(0).Sub(wall.Round(0)) - elapsed; moved.Abs() > jump {
			s.tell(ctx, s.failure("clock.jumped", string(s.Server), s.self(), fmt.Sprintf("the server's clock moved by %s", moved.Round(time.Second))))
			s.Log.WarnContext(ctx, "the clock jumped", "by", moved)
		}
		wall, began = now, time.Now()
	}
}

// lookForDue ends grants that are over by the clock or by the time that has gone by, whichever
// is earlier, and lets unanswered requests lapse.
func (s *Spine) lookForDue(ctx context.Context) {
	now := s.Clock()
	q := s.Store.Query(ctx)
	due, err := q.GrantsDue(now, store.MaxPage)
	if err != nil {
		s.Log.WarnContext(ctx, "grants that are over are not found", "error", err)
	}
	ids := s.alive.overdue(time.Now())
	for _, g := range due {
		ids = append(ids, g.ID)
	}
	for _, id := range ids {
		err := s.end(ctx, id, ending{at: now, by: "expiry", caller: s.self(), reason: "its time is over"})
		switch {
		case brevet.KindOf(err) == brevet.Conflict && err != nil:
			s.alive.over(id) // another server, or somebody, was faster
			s.urgent.over(id)
		case brevet.KindOf(err) == brevet.NotFound && err != nil:
			if g, known := s.alive.get(id); known {
				s.mismatch(ctx, g, "is over, and its row is gone", nil) // its gateway ends it to the moment
			}
			s.alive.over(id)
		case err != nil:
			s.Log.WarnContext(ctx, "a grant that is over has not ended", "grant", id, "error", err)
		}
	}
	lapsed, err := q.RequestsDue(now, store.MaxPage)
	if err != nil {
		s.Log.WarnContext(ctx, "requests that nobody answered are not found", "error", err)
	}
	for _, r := range lapsed {
		if err := s.lapse(ctx, r); err != nil && brevet.KindOf(err) != brevet.Conflict {
			s.Log.WarnContext(ctx, "a request has not lapsed", "request", r.ID, "error", err)
		}
	}
}

// lapse ends a request that nobody answered, or the issuer did not give, in time.
func (s *Spine) lapse(ctx context.Context, r brevet.Request) error {
	why := whyLapsed(r)
	event := s.onRequest(s.event("request.lapsed", string(r.ID), s.self(), why), r)
	_, err := s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		now, err := t.Request(r.ID)
		if err != nil {
			return nil, err
		}
		if now.State != r.State { // looked at again in a moment, if it is open
			return nil, notOpen(now)
		}
		now.State, now.Why = brevet.Lapsed, why
		if _, err := t.UpdateRequest(now); err != nil {
			return nil, err
		}
		return []brevet.Event{event}, nil
	})
	return err
}

// watchLive takes every live grant into the watch by elapsed time.
func (s *Spine) watchLive(ctx context.Context) {
	q := s.Store.Query(ctx)
	var after string
	for {
		grants, err := q.Grants(store.GrantFilter{State: brevet.Live, Page: store.Page{After: after, Limit: store.MaxPage}})
		if err != nil {
			s.Log.WarnContext(ctx, "live grants are not watched", "error", err)
			return
		}
		for _, g := range grants {
			s.alive.seen(g, s.Clock())
		}
		if len(grants) < store.MaxPage {
			return
		}
		after = string(grants[len(grants)-1].ID)
	}
}

// aliveGrants knows every live grant, and by the monotonic clock until when it may live, so that a
// wall clock that is set back lengthens none, and a database that is away hides none.
type aliveGrants struct {
	mu     sync.Mutex // guards grants
	grants map[brevet.GrantID]aliveGrant
}

type aliveGrant struct {
	brevet.Grant
	until time.Time
}

// began notes a grant that has just been given.
func (a *aliveGrants) began(g brevet.Grant) { a.note(g, time.Now().Add(g.To.Sub(g.From))) }

// seen notes a grant that was found live; what is known already stays.
func (a *aliveGrants) seen(g brevet.Grant, now time.Time) {
	a.note(g, time.Now().Add(min(g.To.Sub(now), g.To.Sub(g.From))))
}

func (a *aliveGrants) note(g brevet.Grant, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.grants == nil {
		a.grants = map[brevet.GrantID]aliveGrant{}
	}
	if _, known := a.grants[g.ID]; !known {
		a.grants[g.ID] = aliveGrant{g, until}
	}
}

// over forgets a grant that has ended.
func (a *aliveGrants) over(id brevet.GrantID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.grants, id)
}

// overdue returns the grants whose time has gone by.
func (a *aliveGrants) overdue(now time.Time) []brevet.GrantID {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ids []brevet.GrantID
	for id, g := range a.grants {
		if !now.Before(g.until) {
			ids = append(ids, id)
		}
	}
	return ids
}

// get returns a grant, if it is alive.
func (a *aliveGrants) get(id brevet.GrantID) (brevet.Grant, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g, ok := a.grants[id]
	return g.Grant, ok
}

// find returns the grants that are chosen.
func (a *aliveGrants) find(choose func(brevet.Grant) bool) []brevet.Grant {
	a.mu.Lock()
	defer a.mu.Unlock()
	var found []brevet.Grant
	for _, g := range a.grants {
		if choose(g.Grant) {
			found = append(found, g.Grant)
		}
	}
	return found
}
