package record

import "time"

// A session that moves much wants the processors and the disk that a delivery takes as well: to
// deliver random data costs about as much as to relay and to record it. So while there is a burst,
// what is large waits in the Spool. What is small is delivered all the same, and nothing waits for
// long: a gateway that loses its disk loses what waits there.
const (
	burstChunks = 16                     // a burst is so many chunks of one recording
	burstWithin = 500 * time.Millisecond // in so little time
	lull        = 500 * time.Millisecond // it is over when it was not seen for so long
	smallChunks = 4                      // of a recording that are not worth waiting with
	holdWithin  = 10 * time.Second       // of burst that a recording waits at most
	holdBytes   = 1 << 30                // that wait at most, of all recordings
)

// growth sees that a recording grows in bursts.
type growth struct {
	count int
	mark  time.Time // of the first of these chunks
}

// chunk counts one more and reports whether there is a burst.
func (g *growth) chunk(now time.Time) (burst bool) {
	if g.count == 0 || g.count == burstChunks {
		burst = g.count > 0 && now.Sub(g.mark) < burstWithin
		g.count, g.mark = 0, now
	}
	g.count++
	return burst
}

// burst notes that the recording grows in a burst. The caller holds the lock.
func (s *Spool) burst(d *delivery, now time.Time) { s.bursting, s.burstSeen = d, now }

// held reports whether d must wait for a lull. The caller holds the lock.
func (s *Spool) held(d *delivery) bool {
	now := time.Now()
	if s.bursting == nil || now.Sub(s.burstSeen) > lull || d.durable-d.next <= smallChunks {
		return false
	}
	if d.heldSince.IsZero() {
		d.heldSince = now
	}
	// Once it has waited so long, it goes on until nothing waits: see rest.
	return now.Sub(d.heldSince) < holdWithin && s.waiting() < holdBytes
}

// waiting is how many bytes are not delivered. The caller holds the lock.
func (s *Spool) waiting() (bytes int64) {
	for _, d := range s.open {
		bytes += d.waiting
	}
	return bytes
}

// lookAgain wakes those who deliver, a little later. The caller holds the lock.
func (s *Spool) lookAgain() {
	if s.looking {
		return
	}
	s.looking = true
	time.AfterFunc(lull/5, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.looking = false
		s.changed.Broadcast()
	})
}
