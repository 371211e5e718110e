package gateway

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
)

// reports are what the control plane has not yet been told. They wait out its absence in memory.
type reports struct {
	mu      sync.Mutex // guards what follows
	waiting []func(context.Context) error
	wake    chan struct{}
	floods  map[sort]*flood
}

// sort is what refusals are counted by, so that a flood of one sort hides no other.
type sort struct {
	what   string
	person brevet.PersonID
	source netip.Addr
}

// flood counts the refusals of a sort within a minute.
type flood struct {
	since            time.Time
	reported, silent int
}

const (
	maxReported    = 20   // refusals of a sort in a minute that are reported one by one
	maxFloods      = 4096 // sorts that are counted at a time
	maxWaiting     = 8192 // reports that wait; then refusals are only counted
	reportWithin   = 10 * time.Second
	reportAgainMax = 15 * time.Second
)

func (g *Gateway) report(f func(context.Context) error) {
	r := &g.reports
	r.mu.Lock()
	r.waiting = append(r.waiting, f)
	wake := r.signal()
	r.mu.Unlock()
	select {
	case wake <- struct{}{}:
	default:
	}
}

// signal returns the channel that wakes the delivery. The caller holds mu.
func (r *reports) signal() chan struct{} {
	if r.wake == nil {
		r.wake = make(chan struct{}, 1)
	}
	return r.wake
}

// Refuse reports something that was not let through, as one event. Of a flood of the same sort
// twenty a minute are reported; the next that is tells how many were not.
func (g *Gateway) Refuse(refusal Refusal) {
	refusal.Machine, refusal.At = g.Machine, time.Now()
	unreported, ok := g.reports.count(sort{refusal.What, refusal.Person, refusal.Source}, refusal.At)
	if !ok {
		return
	}
	refusal.Unreported = unreported
	g.report(func(ctx context.Context) error { return g.Control.Refused(ctx, refusal) })
}

// count reports whether one more of the sort is to be reported, and how many were not before it.
func (r *reports) count(of sort, now time.Time) (unreported int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.floods[of]
	if f == nil {
		if r.floods == nil || len(r.floods) >= maxFloods {
			r.floods = map[sort]*flood{} // an attacker of many addresses gains a few more events, no memory
		}
		f = &flood{since: now}
		r.floods[of] = f
	}
	if now.Sub(f.since) >= time.Minute {
		f.since, f.reported = now, 0
	}
	if f.reported >= maxReported || len(r.waiting) >= maxWaiting {
		f.silent++
		return 0, false
	}
	f.reported++
	unreported, f.silent = f.silent, 0
	return unreported, true
}

// deliver hands reports to the control plane, about in order, and again and again while it does not
// answer. One that fails goes behind the others, so that it cannot keep them. When ctx ends it tries
// once more, for a moment.
func (g *Gateway) deliver(ctx context.Context) {
	r := &g.reports
	r.mu.Lock()
	wake := r.signal()
	r.mu.Unlock()
	pause := time.Duration(0)
	for ctx.Err() == nil {
		next, ok := r.first()
		if !ok {
			select {
			case <-wake:
			case <-ctx.Done():
			}
			continue
		}
		if g.deliverOne(ctx, next) {
			r.drop()
			pause = 0
			continue
		}
		r.postpone()
		pause = min(max(2*pause, 100*time.Millisecond), reportAgainMax)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	for next, ok := r.first(); ok && last.Err() == nil && g.deliverOne(last, next); next, ok = r.first() {
		r.drop()
	}
}

// deliverOne reports whether the report need not be tried again.
func (g *Gateway) deliverOne(ctx context.Context, report func(context.Context) error) bool {
	ctx, cancel := context.WithTimeout(ctx, reportWithin)
	defer cancel()
	err := report(ctx)
	switch brevet.KindOf(err) {
	case brevet.Invalid, brevet.Refused, brevet.NotFound, brevet.Conflict:
		g.Log.ErrorContext(ctx, "report not accepted", "error", err)
		return true
	}
	return err == nil
}

func (r *reports) first() (func(context.Context) error, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 {
		return nil, false
	}
	return r.waiting[0], true
}

func (r *reports) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting[0] = nil
	r.waiting = r.waiting[1:]
}

// postpone puts the first report behind the others.
func (r *reports) postpone() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting[1:], r.waiting[0])
}
