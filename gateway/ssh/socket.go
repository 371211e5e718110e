package ssh

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	smallRead = 4 << 10   // before a person is known, so that many strangers cost little
	bigRead   = 256 << 10 // afterwards: fewer system calls, and window updates in bulk

	// writeWithin is how long a peer may leave its receive buffer full.
	writeWithin = 60 * time.Second
)

// buffers lends memory to whoever moves bytes right now, so that idle connections hold none.
type buffers struct{ small, big sync.Pool }

func (b *buffers) get(size int) []byte {
	if p, ok := b.pool(size).Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, size)
}

func (b *buffers) put(p []byte) {
	p = p[:cap(p)]
	b.pool(len(p)).Put(&p)
}

// pool holds slices of one capacity each.
func (b *buffers) pool(size int) *sync.Pool {
	if size == bigRead {
		return &b.big
	}
	return &b.small
}

// socket is a network connection as the kernel has it. It reads as much as there is in one
// system call, holds no buffer while it waits, knows when it last heard the peer, and gives up
// on one that does not take what it is sent.
//
// Short messages it acknowledges at once. OpenSSH logs in, and sshd does until a session begins, with
// Nagle's algorithm (RFC 9293, section 3.7.4): what they have to say next waits for the acknowledgement
// of what they said before, which the system delays by 40 ms when there is nothing to answer yet. That is
// so three times in a login.
type socket struct {
	net.Conn
	buffers *buffers
	raw     syscall.RawConn // nil where reading around the buffer is not possible
	start   time.Time
	heard   atomic.Int64 // nanoseconds after start of the last byte from the peer
	bulk    atomic.Bool  // reads may be big
	lost    func(error)  // called when the peer is gone

	pending []byte // what was read and not yet taken, within lent
	lent    []byte
	first   [1]byte
}

func newSocket(c net.Conn, b *buffers, lost func(error)) *socket {
	s := &socket{Conn: c, buffers: b, start: time.Now(), lost: lost}
	if sc, ok := c.(syscall.Conn); ok {
		s.raw, _ = sc.SyscallConn()
	}
	return s
}

// Read returns what is pending, else waits for more.
func (s *socket) Read(p []byte) (int, error) {
	if len(s.pending) == 0 {
		size := smallRead
		if s.bulk.Load() {
			size = bigRead
		}
		if s.raw == nil || len(p) >= size {
			n, err := s.Conn.Read(p)
			return n, s.hear(n, err)
		}
		err := s.fill(size)
		if err := s.hear(len(s.pending), err); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.pending)
	s.pending = s.pending[n:]
	if len(s.pending) == 0 && s.lent != nil {
		s.buffers.put(s.lent)
		s.pending, s.lent = nil, nil
	}
	return n, nil
}

// hear takes note of n bytes from the peer, or of its loss.
func (s *socket) hear(n int, err error) error {
	if err != nil {
		s.lost(err)
		return err
	}
	if n < smallRead && s.raw != nil {
		_ = s.raw.Control(acknowledge) // else only later
	}
	s.heard.Store(int64(time.Since(s.start)))
	return nil
}

// silent is how long the peer has not been heard.
func (s *socket) silent() time.Duration {
	return time.Since(s.start) - time.Duration(s.heard.Load())
}

// Peek waits for the first byte without taking it.
func (s *socket) Peek() (byte, error) {
	n, err := s.Conn.Read(s.first[:])
	if n == 1 {
		s.pending = s.first[:]
		return s.first[0], nil
	}
	return 0, err
}

// Write writes all of p, or fails when the peer takes nothing for writeWithin.
func (s *socket) Write(p []byte) (int, error) {
	if err := s.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return 0, err
	}
	return s.Conn.Write(p)
}
