//go:build unix

package ssh

import (
	"errors"
	"io"
	"syscall"
)

// fill waits until there is something to read, and only then borrows the memory for it.
func (s *socket) fill(size int) error {
	var failed error
	err := s.raw.Read(func(fd uintptr) bool {
		b := s.buffers.get(size)
		n, err := readAgain(int(fd), b)
		if err == nil && n > 0 {
			s.lent, s.pending = b, b[:n]
			return true
		}
		s.buffers.put(b)
		if errors.Is(err, syscall.EAGAIN) {
			return false // wait until the descriptor is readable, then come again
		}
		if failed = err; err == nil {
			failed = io.EOF
		}
		return true
	})
	if err != nil {
		return err
	}
	return failed
}

func readAgain(fd int, b []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, b)
		if !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}
