package server

import (
	"context"
	"net"
	"net/netip"
	"sync"
)

// The bounds on connections to the API. A single source cannot take them all, so a crowd from
// one address leaves the others served.
const (
	maxConnections = 4096
	maxOfSource    = 1024
)

// crowd is a listener that bounds how many of its connections are open at once, in all and of
// each source. One too many is closed at once.
type crowd struct {
	net.Listener
	most, mostOfSource int

	mu       sync.Mutex // guards what follows
	count    int
	ofSource map[netip.Prefix]int
}

func newCrowd(l net.Listener) *crowd {
	return &crowd{Listener: l, most: maxConnections, mostOfSource: maxOfSource, ofSource: map[netip.Prefix]int{}}
}

// Accept returns the next connection that there is room for.
func (c *crowd) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		source := sourceOf(conn.RemoteAddr())
		if c.enter(source) {
			return &counted{Conn: conn, leave: sync.OnceFunc(func() { c.leave(source) })}, nil
		}
		conn.Close()
	}
}

func (c *crowd) enter(source netip.Prefix) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count >= c.most || c.ofSource[source] >= c.mostOfSource {
		return false
	}
	c.count++
	c.ofSource[source]++
	return true
}

func (c *crowd) leave(source netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count--
	if c.ofSource[source]--; c.ofSource[source] == 0 {
		delete(c.ofSource, source)
	}
}

// sourceOf is what counts as one source: an IPv4 address, or the IPv6 network that one subscriber has.
func sourceOf(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip, bits := tcp.AddrPort().Addr().Unmap().WithZone(""), 64
	if ip.Is4() {
		bits = 32
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address: a source of its own
	}
	return p
}

type counted struct {
	net.Conn
	leave func()
}

func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}

// memory is a listener without a network: the gateway in the server's process reaches the API
// through it, by the same TLS and the same calls as any other.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newMemory() *memory {
	m := &memory{conns: make(chan net.Conn), closed: make(chan struct{})}
	m.close = sync.OnceFunc(func() { close(m.closed) })
	return m
}

// dial connects to whoever accepts.
func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case m.conns <- theirs:
		return ours, nil
	case <-m.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Accept returns the next connection.
func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.close()
	return nil
}

// Addr returns a name for logs.
func (m *memory) Addr() net.Addr { return inProcess{} }

type inProcess struct{}

func (inProcess) Network() string { return "memory" }
func (inProcess) String() string  { return "in process" }
