package ssh

import (
	"sync"

	"github.com/brevet-pim/brevet"
)

// tally counts what each person has of something at a time, so that nobody takes all there is.
type tally struct {
	mu     sync.Mutex // guards counts
	counts map[brevet.PersonID]int
}

// enter counts one more, unless the person has most already.
func (t *tally) enter(p brevet.PersonID, most int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[brevet.PersonID]int{}
	}
	if t.counts[p] >= most {
		return false
	}
	t.counts[p]++
	return true
}

func (t *tally) leave(p brevet.PersonID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts[p]--; t.counts[p] == 0 {
		delete(t.counts, p)
	}
}
