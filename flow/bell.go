package flow

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/store"
)

// bells wake those who wait for a request, so that ten thousand of them cost nothing while
// something happens to another one.
type bells struct {
	mu      sync.Mutex // guards waiting
	waiting map[brevet.RequestID]map[chan struct{}]bool
}

// hang returns a channel that is sent to when something happens to the request or its grant, and
// the function that takes it down.
func (b *bells) hang(id brevet.RequestID) (<-chan struct{}, func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == nil {
		b.waiting = map[brevet.RequestID]map[chan struct{}]bool{}
	}
	if b.waiting[id] == nil {
		b.waiting[id] = map[chan struct{}]bool{}
	}
	bell := make(chan struct{}, 1)
	b.waiting[id][bell] = true
	return bell, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.waiting[id], bell)
		if len(b.waiting[id]) == 0 {
			delete(b.waiting, id)
		}
	}
}

func (b *bells) anybody() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting) > 0
}

func (b *bells) ring(id brevet.RequestID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for bell := range b.waiting[id] {
		select {
		case bell <- struct{}{}:
		default: // it rings already
		}
	}
}

// orders are the kinds of event that give gateways something to do.
var orders = []string{"grant.ending", "session.killed"}

// ring wakes whom the news concerns: those who wait for a request here, and the gateways that are
// connected here, whichever server wrote the events.
func (s *Spine) ring(ctx context.Context, n news) {
	if ctx.Err() != nil {
		return
	}
	if s.bells.anybody() {
		ids, err := s.Store.Query(ctx).RequestsIn(n.from, n.size)
		if err != nil {
			s.Log.WarnContext(ctx, "those who wait for requests were not woken", "error", err)
		}
		for _, id := range ids {
			s.bells.ring(id)
		}
	}
	if slices.ContainsFunc(n.leaves, func(l audit.Leaf) bool { return slices.Contains(orders, l.Kind) }) {
		s.Hub.WakeAll()
	}
}

// oversleep is how long whoever waits sleeps at most: a bell that did not ring is made good then.
const oversleep = 15 * time.Second

// waitFor calls look now and each time that something has happened to the request, until look
// says that it is done, fails, or ctx ends.
func (s *Spine) waitFor(ctx context.Context, id brevet.RequestID, look func(*store.Query) (done bool, err error)) error {
	bell, takeDown := s.bells.hang(id)
	defer takeDown()
	timer := time.NewTimer(oversleep)
	defer timer.Stop()
	for {
		if done, err := look(s.Store.Query(ctx)); done || err != nil {
			return err
		}
		timer.Reset(oversleep)
		select {
		case <-bell:
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
