//go:build !unix

package ssh

// fill reads into borrowed memory, and keeps it while it waits.
func (s *socket) fill(size int) error {
	b := s.buffers.get(size)
	n, err := s.Conn.Read(b)
	if err != nil {
		s.buffers.put(b)
		return err
	}
	s.lent, s.pending = b, b[:n]
	return nil
}
