package ssh

import "time"

// elastic is memory to copy with: little while little comes, much while much does. What
// waits for input holds a kilobyte.
type elastic struct {
	bytes []byte
	small []byte
	pool  *buffers
}

const (
	quiet  = 1 << 10
	shrink = 4 << 10 // fewer bytes than this at once need no big buffer
)

// Of output that comes in bulk, so much at once, more is let come together for a moment: fewer reads,
// recorded pieces, messages about the window and wake-ups of both peers. That makes a download a
// fortieth faster. The channel's window, which is 2 MiB, keeps the target busy meanwhile.
const (
	muchRead = 16 << 10
	gather   = 200 * time.Microsecond
)

func newElastic(pool *buffers) *elastic {
	small := make([]byte, quiet)
	return &elastic{bytes: small, small: small, pool: pool}
}

// fit chooses the size for the next read by how much the last one gave.
func (e *elastic) fit(n int) {
	switch {
	case n == quiet && len(e.bytes) == quiet:
		e.bytes = e.pool.get(bigRead)
	case n < shrink:
		e.release()
	}
}

// release gives back what was borrowed.
func (e *elastic) release() {
	if len(e.bytes) != quiet {
		clear(e.bytes) // it goes to another session next
		e.pool.put(e.bytes)
		e.bytes = e.small
	}
}
