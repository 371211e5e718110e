package ssh

// Connections counts those that the server has, to people and to targets.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.peers)
}
