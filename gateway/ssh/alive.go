package ssh

import (
	"context"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

const (
	askAfter  = 30 * time.Second // of silence: is anybody there?
	askAgain  = 15 * time.Second
	goneAfter = 75 * time.Second // of silence: nobody is
)

// peer is one end of a connection, as the watch over dead connections sees it.
type peer struct {
	socket *socket

	mu    sync.Mutex // guards what follows
	conn  gossh.Conn // nil until logged in
	since time.Time  // logged in since; who waited for an approval may have been silent for hours
	asked time.Time
}

// alive hands over the connection, once there is one to ask on.
func (p *peer) alive(c gossh.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn, p.since = c, time.Now()
}

func (s *Server) add(p *peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peers == nil {
		s.peers = map[*peer]struct{}{}
	}
	s.peers[p] = struct{}{}
}

func (s *Server) remove(p *peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.peers, p)
}

// keepAlive asks silent peers for a sign of life and cuts those that give none, so that whoever
// vanished, or takes nothing more, holds nothing for longer than goneAfter.
func (s *Server) keepAlive(ctx context.Context) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.mu.Lock()
			for p := range s.peers {
				s.check(p, now)
			}
			s.mu.Unlock()
		}
	}
}

// check asks or cuts one peer. It never blocks: the question may wait in a full socket.
func (s *Server) check(p *peer, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	silent := min(p.socket.silent(), now.Sub(p.since))
	switch {
	case p.conn == nil: // its login has a deadline of its own
	case silent > goneAfter:
		p.socket.Close()
	case silent > askAfter && now.Sub(p.asked) > askAgain:
		p.asked = now
		conn := p.conn
		s.busy.Go(func() { _, _, _ = conn.SendRequest("keepalive@openssh.com", true, nil) })
	}
}
