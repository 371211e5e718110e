package issuer

import (
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
)

// clockSlack is by how much the clock may go back before the issuer stops giving.
const clockSlack = 5 * time.Minute

// clock is the issuer's time. It never goes back behind what was signed, also not by a restart: a
// grant that ended must not come to life again. What it signs is bounded by the ends that people
// signed, so a clock that was wrongly ahead keeps the issuer from giving until then at most.
type clock struct {
	source func() time.Time

	mu     sync.Mutex
	signed time.Time // guarded by mu: the latest time that something was signed with
}

// now returns the time. Refused: the clock was put back by more than the slack.
func (c *clock) now() (time.Time, error) {
	now, behind := c.read()
	if behind > clockSlack {
		return time.Time{}, brevet.Errorf(brevet.Refused, "the issuer's clock is %s behind what it signed with before", behind.Round(time.Second)).
			WithHint("set the clock of the issuer's machine; nothing is given until then")
	}
	return now, nil
}

// latest returns the time whether or not the clock was put back, for what must always work.
func (c *clock) latest() time.Time {
	now, _ := c.read()
	return now
}

// read returns the time in whole microseconds, and by how much the source is behind.
func (c *clock) read() (now time.Time, behind time.Duration) {
	now = c.source().UTC().Truncate(time.Microsecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	if behind = c.signed.Sub(now); behind > 0 {
		return c.signed, behind
	}
	return now, 0
}

// sign notes that something is signed with the time.
func (c *clock) sign(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at.After(c.signed) {
		c.signed = at
	}
}

// lastSigned returns the latest time that was signed with.
func (c *clock) lastSigned() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.signed
}
