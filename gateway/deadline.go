package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
)

// A grant is one that was admitted here. It is remembered for a while after its end, so that
// a bundle which is shown again after a revocation opens nothing.
type grant struct {
	id      brevet.GrantID
	person  brevet.PersonID
	ctx     context.Context // ends with the grant; the cause is the sentence for the person
	end     context.CancelCauseFunc
	first   time.Time // when it was first seen here, with the monotonic reading
	to      time.Time // wall clock
	expires *time.Timer
}

// remembered is how long a grant is kept after its end: longer than any clock is wrong.
const remembered = 2 * time.Hour

// admit notes a grant when it is first seen, and refuses one that is over.
//
// From then on it ends at the earlier of two clocks. The monotonic one cannot be set back, but
// stands still while the machine sleeps; that is when the wall clock, checked by Run, ends it.
func (g *Gateway) admit(a Admission, now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if known, ok := g.grants[a.Grant]; ok {
		return context.Cause(known.ctx)
	}
	left := a.To.Sub(now.Round(0))
	if left <= 0 {
		return expired(a)
	}
	ctx, end := context.WithCancelCause(context.Background())
	held := &grant{id: a.Grant, person: a.Person, ctx: ctx, end: end, first: now, to: a.To}
	held.expires = time.AfterFunc(left, func() { end(expired(a)) })
	if g.grants == nil {
		g.grants = map[brevet.GrantID]*grant{}
	}
	g.grants[a.Grant] = held
	return nil
}

func expired(a Admission) error {
	return brevet.Errorf(brevet.Refused, "your grant ended at %s", a.To.Local().Format("15:04")).
		WithHint("ask again: connect once more, or brevet request %s %s", a.Role.Name, a.Target.ID)
}

// over reports whether a grant that ends at to and was first seen at first is over at now, both by the
// wall clock, or after so much elapsed time.
func over(to, first, now time.Time, elapsed time.Duration) bool {
	return !now.Before(to) || elapsed >= to.Sub(first)
}

// Run watches the clocks and delivers reports until ctx ends; then it ends every session, lets none
// begin any more, and delivers what is left within a few seconds.
func (g *Gateway) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	delivering, stop := context.WithCancel(context.WithoutCancel(ctx))
	var delivery sync.WaitGroup
	delivery.Go(func() { g.deliver(delivering) })
	for {
		select {
		case <-ctx.Done():
			g.endAll("the gateway is shutting down")
			stop() // only now, since the ends of sessions are reported too
			delivery.Wait()
			return nil
		case <-tick.C:
			g.sweep(time.Now())
		}
	}
}

// sweep ends what is over at now, by the wall clock or by idling, and forgets what is long over.
func (g *Gateway) sweep(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, held := range g.grants {
		if over(held.to, held.first.Round(0), now.Round(0), now.Sub(held.first)) {
			held.end(brevet.Errorf(brevet.Refused, "your grant ended at %s", held.to.Local().Format("15:04")).
				WithHint("ask again: connect once more"))
		}
		if held.ctx.Err() != nil && now.Sub(held.first) > held.to.Sub(held.first.Round(0))+remembered {
			delete(g.grants, id)
		}
	}
	for _, s := range g.sessions {
		if idle := s.admission.Role.Limits.Idle.Duration(); idle > 0 && s.idleFor(now) > idle {
			s.cancel(brevet.Errorf(brevet.Refused, "nothing happened for %s, so this session ended", idle).
				WithHint("connect again while the grant lasts"))
		}
	}
}
