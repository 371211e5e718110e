package ssh

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
)

const (
	// bufioSize is that of the bufio.Writer in golang.org/x/crypto/ssh, which makes two writes of a large
	// packet: what fills it, then the rest.
	bufioSize = 4096
	// mostQueued is how many bytes wait to be written, beside as many at most that are being written.
	// Whoever has more than fits waits with it.
	mostQueued = bigRead - 32<<10
)

// packets is the way out of a connection. It makes one write of a large packet.
//
// Ahead, it lets the next large packet be encrypted while one is written, and writes at once what has come
// meanwhile: fewer system calls, and fewer times that the peer wakes up. That is for the way to a target,
// where uploads gain a twentieth; on the way to a person, downloads lost as much. A small packet, when
// nothing is on its way, is written by its own writer.
//
// It must only be switched on for AES-GCM. There a packet is 20 bytes longer than a multiple of
// 16, so never exactly 4,096 bytes, and a write of that size always has a second part.
type packets struct {
	net.Conn
	joining atomic.Bool
	ahead   bool
	buffers *buffers

	mu      sync.Mutex // guards what follows
	room    sync.Cond  // there is, or nothing is written any more
	queue   []byte     // borrowed; nil if nothing waits
	writing bool       // somebody writes what waits
	err     error      // that a write ended with, for the next one
}

func newPackets(c net.Conn, b *buffers, ahead bool) *packets {
	p := &packets{Conn: c, ahead: ahead, buffers: b}
	p.room.L = &p.mu
	return p
}

// Write is called by one goroutine at a time. Ahead, what it takes may be written after it has returned; an
// error is returned by the next call.
func (c *packets) Write(p []byte) (int, error) {
	first := len(p) == bufioSize && c.joining.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !first && !c.writing && c.queue == nil && c.err == nil {
		return c.Conn.Write(p) // nobody else comes here meanwhile
	}
	for c.err == nil && len(c.queue)+len(p) > mostQueued && c.writing {
		c.room.Wait()
	}
	if c.err != nil {
		return 0, c.err
	}
	if c.queue == nil {
		c.queue = c.buffers.get(bigRead)[:0]
	}
	c.queue = append(c.queue, p...)
	switch {
	case first || c.writing:
	case c.ahead:
		c.writing = true
		go c.empty()
	default:
		b := c.queue
		c.queue = nil
		defer c.buffers.put(b)
		if _, err := c.Conn.Write(b); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// empty writes what waits until nothing does.
func (c *packets) empty() {
	for {
		runtime.Gosched() // to whoever is about to bring more
		c.mu.Lock()
		b := c.queue
		c.queue = nil
		c.writing = b != nil
		c.room.Broadcast()
		c.mu.Unlock()
		if b == nil {
			return
		}
		_, err := c.Conn.Write(b)
		c.buffers.put(b)
		if err != nil {
			c.fail(err)
			return
		}
	}
}

func (c *packets) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.writing = err, false
	c.room.Broadcast()
}
