package ssh

import (
	"io"
	"net"
	"syscall"
	"testing"
	"unsafe"
)

// TestShortMessagesAreAcknowledged talks back and forth, after which the system delays acknowledgements,
// and then looks after single messages whether the peer still waits to hear that they came.
func TestShortMessagesAreAcknowledged(t *testing.T) {
	ours, peer := tcpPair(t)
	s := newSocket(ours, &buffers{}, func(error) {})
	for _, bulk := range []bool{false, true} {
		s.bulk.Store(bulk)
		if n := acknowledged(t, s, peer); n < 15 {
			t.Errorf("bulk %t: of 20 short messages %d were acknowledged at once", bulk, n)
		}
	}
}

// acknowledged has peer send 20 messages to s, each after an exchange, and counts those of which peer
// knows that they came as soon as they are read.
func acknowledged(t *testing.T, s *socket, peer *net.TCPConn) (n int) {
	t.Helper()
	message, b := []byte("message"), make([]byte, 7)
	pass := func(from io.Writer, to io.Reader) {
		t.Helper()
		if _, err := from.Write(message); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(to, b); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		pass(peer, s)
		pass(s, peer)
		pass(peer, s)
		if unacknowledged(t, peer) == 0 {
			n++
		}
	}
	return n
}

// unacknowledged returns how many bytes the other end has not said to have (tcp(7), SIOCOUTQ).
func unacknowledged(t *testing.T, c *net.TCPConn) (n int32) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var errno syscall.Errno
	if err := raw.Control(func(fd uintptr) {
		_, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	}); err != nil || errno != 0 {
		t.Fatal(err, errno)
	}
	return n
}

func tcpPair(t *testing.T) (ours, peer *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	return near.(*net.TCPConn), far.(*net.TCPConn)
}
