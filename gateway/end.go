package gateway

import (
	"context"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/record"
)

// Closed confirms an order to end: which sessions it closed, and how long that took.
type Closed struct {
	Sessions []brevet.SessionID
	Took     time.Duration // from the order to the last byte
	All      bool          // false if ctx ended before the last of them was closed
}

// EndGrant ends a grant here for good: its sessions close with the reason, its certificate is
// dropped, and its proof opens nothing again. The reason is a sentence without full stop, as in
// "alice ended this grant (drill)". A grant that was never seen here is remembered as ended too.
func (g *Gateway) EndGrant(ctx context.Context, id brevet.GrantID, reason string) Closed {
	start := time.Now()
	g.mu.Lock()
	held, ok := g.grants[id]
	if !ok {
		held = endedUnseen(id, start)
		if g.grants == nil {
			g.grants = map[brevet.GrantID]*grant{}
		}
		g.grants[id] = held
	}
	live := g.choose(func(s *Session) bool { return s.Grant == id })
	g.mu.Unlock()
	held.end(ended(reason))
	return await(ctx, start, live)
}

// endedUnseen remembers a grant that ended before it was used here. Its own end is not known, so
// it is kept for longer than any grant lasts.
func endedUnseen(id brevet.GrantID, now time.Time) *grant {
	ctx, end := context.WithCancelCause(context.Background())
	return &grant{id: id, ctx: ctx, end: end, first: now, to: now.Round(0).Add(31 * 24 * time.Hour)}
}

// EndSession ends one session; its grant and other sessions live on.
func (g *Gateway) EndSession(ctx context.Context, id brevet.SessionID, reason string) Closed {
	start := time.Now()
	g.mu.Lock()
	live := g.choose(func(s *Session) bool { return s.ID == id })
	g.mu.Unlock()
	for _, s := range live {
		s.cancel(ended(reason))
	}
	return await(ctx, start, live)
}

// endAllWithin bounds how long a shutdown waits for sessions to close and their recordings to be complete.
const endAllWithin = 5 * time.Second

// endAll ends every session, for a shutdown, and waits until they have reported their ends. Grants
// live on: the next process will verify them anew.
func (g *Gateway) endAll(reason string) {
	g.mu.Lock()
	g.closing = true
	live := g.choose(func(*Session) bool { return true })
	g.mu.Unlock()
	for _, s := range live {
		s.cancel(ended(reason))
	}
	late := time.After(endAllWithin)
	for _, s := range live {
		select {
		case <-s.finished:
		case <-late:
			g.Log.Error("sessions did not end in time for the shutdown", "sessions", len(g.Sessions()))
			return
		}
	}
}

// Sessions returns what is live.
func (g *Gateway) Sessions() []brevet.Session {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []brevet.Session
	for _, s := range g.sessions {
		all = append(all, s.Session)
	}
	return all
}

// Watch shows a live session: its latest output first, then what comes. The watcher must be closed.
// Who may watch is the control plane's to decide, and to log, before it asks.
func (g *Gateway) Watch(id brevet.SessionID) (*record.Watcher, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s, ok := g.sessions[id]
	if !ok {
		return nil, brevet.Errorf(brevet.NotFound, "no session %s is live here", id).
			WithHint("brevet sessions lists the live ones; brevet sessions play %s plays a recording", id)
	}
	return s.hub.Watch(), nil
}

// choose returns the live sessions for which want is true. The caller holds mu.
func (g *Gateway) choose(want func(*Session) bool) []*Session {
	var chosen []*Session
	for _, s := range g.sessions {
		if want(s) {
			chosen = append(chosen, s)
		}
	}
	return chosen
}

func ended(reason string) error { return brevet.Errorf(brevet.Refused, "%s", reason) }

func await(ctx context.Context, start time.Time, live []*Session) Closed {
	c := Closed{All: true}
	for _, s := range live {
		select {
		case <-s.closed:
			c.Sessions = append(c.Sessions, s.ID)
		case <-ctx.Done():
			c.All = false
		}
	}
	c.Took = time.Since(start)
	return c
}

// Until returns a context that ends with the grant, for what belongs to a connection rather
// than to a session of it. An unknown grant's is over at once.
func (g *Gateway) Until(id brevet.GrantID) context.Context {
	g.mu.Lock()
	defer g.mu.Unlock()
	if held, ok := g.grants[id]; ok {
		return held.ctx
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(brevet.Errorf(brevet.Refused, "grant %s was not admitted here", id))
	return ctx
}
