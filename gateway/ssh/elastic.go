package ssh

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
