package flow

import (
	"context"
	"fmt"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/store"
)

const (
	// tidying is how often what is of no use any more is looked for.
	tidying = time.Hour
	// useless is for how long tokens that expired, jobs that are done and counters are kept: longer
	// than any stream that was opened with a token may last.
	useless = 24 * time.Hour
	// LeastKept is the shortest time for which events keep their bodies. What is live rests on them.
	LeastKept = 30 * 24 * time.Hour
	// away is for how long a server may have been off, to be believed at once that it is so late.
	away = 7 * 24 * time.Hour
	// mostErased is how many bodies one change erases.
	mostErased = 500
)

// tidy removes what is of no use any more, and the bodies of events that are older than KeepEvents,
// until ctx ends.
func (s *Spine) tidy(ctx context.Context) error {
	ticker := time.NewTicker(tidying)
	defer ticker.Stop()
	// What is erased is gone for good. A clock that is far ahead at the start has an hour to be set.
	latest := s.before.Add(away)
	for {
		now := s.Clock()
		if !latest.IsZero() && now.After(latest) {
			now = latest
		}
		s.tidyOnce(ctx, now)
		latest = time.Time{}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Spine) tidyOnce(ctx context.Context, now time.Time) {
	for more := true; more; {
		var removed int64
		err := s.Store.Work(ctx, func(w *store.Work) (err error) {
			removed, err = w.Tidy(now.Add(-useless), store.MaxPage)
			return err
		})
		if err != nil {
			s.complain(ctx, "what is of no use any more is still there", err)
		}
		more = err == nil && removed >= store.MaxPage
	}
	if s.KeepEvents == 0 {
		return
	}
	for more := true; more; {
		erased, err := s.erase(ctx, now.Add(-max(s.KeepEvents, LeastKept)))
		if err != nil {
			s.complain(ctx, "old events were not erased", err)
		}
		more = err == nil && erased == mostErased
	}
}

// complain logs a failure, unless the process is ending.
func (s *Spine) complain(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		s.Log.WarnContext(ctx, what, "error", err)
	}
}

// erase erases the bodies of some events from before the time, and returns of how many. What the
// log says of each run of them is an event; the leaves stay, and the log still verifies.
func (s *Spine) erase(ctx context.Context, before time.Time) (int, error) {
	indexes, err := s.Store.Query(ctx).Erasable(before, mostErased)
	if err != nil || len(indexes) == 0 {
		return 0, err
	}
	var events []brevet.Event
	for first := 0; first < len(indexes); {
		last := first
		for last+1 < len(indexes) && indexes[last+1] == indexes[last]+1 {
			last++
		}
		events = append(events, s.event(audit.KindErased, audit.ErasedSubject(indexes[first], indexes[last]), s.self(),
			fmt.Sprintf("the bodies of %d events were erased, since they are older than is kept", last-first+1)))
		first = last + 1
	}
	_, err = s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		for _, index := range indexes {
			if err := t.Erase(index); err != nil {
				return nil, err
			}
		}
		return events, nil
	})
	return len(indexes), err
}
