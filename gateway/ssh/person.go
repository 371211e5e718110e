package ssh

import (
	"context"
	"net/netip"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet/gateway"
)

// person is one connection of somebody who was let in. Its sessions come and go (a ControlMaster has
// many); its admission stays, and ends it.
type person struct {
	server    *Server
	ctx       context.Context // ends when the peer is gone
	cancel    context.CancelCauseFunc
	conn      *gossh.ServerConn
	socket    *socket
	source    netip.Addr
	again     string // what the person does to come once more
	admission gateway.Admission
	target    *dialing
	sessions  sync.WaitGroup

	mu           sync.Mutex // guards what follows
	open         int
	served       bool     // a session was open, and whoever had it was told how it ended
	remarks      []string // for the next session to show
	refused      int
	refusedSince time.Time
	swept        *sweep // the latest; nil: none
}

const (
	maxSessions = 10 // of one connection at a time, as in sshd
	maxRemarks  = 8
	lingerAfter = 2 * time.Second // after the end of a grant or a target, for the client to read the goodbye
)

// welcome takes over what the login ended with, and reports whether it ended well.
func (p *person) welcome(permissions *gossh.Permissions) bool {
	e, ok := permissions.ExtraData[entranceKey{}].(entrance)
	if !ok {
		return false
	}
	p.admission, p.target = e.admission, e.target
	p.server.log().InfoContext(p.ctx, "logged in", "person", e.admission.Person, "target", e.admission.Target.ID,
		"login", e.admission.Login, "grant", e.admission.Grant, "source", p.source)
	return true
}

// serve takes what the client opens until the connection or the grant ends.
func (p *person) serve(channels <-chan gossh.NewChannel, requests <-chan *gossh.Request) {
	stop := context.AfterFunc(p.server.Gateway.Until(p.admission.Grant), p.leave)
	defer stop()
	gone := p.target.gone
	for channels != nil || requests != nil {
		select {
		case <-gone:
			gone = nil
			p.closeIfLost()
		case c, ok := <-channels:
			if !ok {
				channels = nil
				continue
			}
			p.channel(c)
		case r, ok := <-requests:
			if !ok {
				requests = nil
				continue
			}
			p.refuseGlobal(r)
		}
	}
	p.cancel(nil)
	p.sessions.Wait()
}

// over reports whether the grant has ended.
func (p *person) over() bool { return p.server.Gateway.Until(p.admission.Grant).Err() != nil }

// leave closes the connection a moment after the grant's end, when its sessions have said goodbye.
func (p *person) leave() { time.AfterFunc(lingerAfter, p.close) }

// close closes the connection, and the one to the target at the same time: whoever passes something on there,
// to a target that takes nothing, could not come home else.
func (p *person) close() {
	p.socket.Close()
	p.cancel(nil)
}

// channel serves a session, and nothing else.
func (p *person) channel(c gossh.NewChannel) {
	if c.ChannelType() != "session" {
		p.refuseChannel(c)
		return
	}
	if !p.enter() {
		_ = c.Reject(gossh.ResourceShortage, "Brevet: at most 10 sessions at a time on one connection.")
		return
	}
	down, requests, err := c.Accept()
	if err != nil {
		p.exit()
		return
	}
	p.sessions.Go(func() {
		defer p.exit()
		s := &session{person: p, down: down, stderr: make(chan struct{}, 1), closed: make(chan struct{}), left: make(chan struct{}), outcome: make(chan string, 1)}
		s.serve(requests)
	})
}

func (p *person) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open >= maxSessions {
		return false
	}
	p.open++
	return true
}

func (p *person) exit() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	p.served = true
	if p.lost() {
		time.AfterFunc(lingerAfter, p.closeIfLost)
	}
}

// closeIfLost closes a connection on which nothing can begin any more, since that to the target is gone. A
// ControlMaster would stay for ever else, and all its sessions fail. Whoever has one is told before.
func (p *person) closeIfLost() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost() {
		p.close()
	}
}

// lost reports whether the target is gone and nobody waits to be told so. The caller holds mu.
func (p *person) lost() bool {
	select {
	case <-p.target.gone:
		return p.served && p.open == 0
	default:
		return false
	}
}

// remark keeps a sentence until there is a session to show it on.
func (p *person) remark(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.remarks) < maxRemarks {
		p.remarks = append(p.remarks, text)
	}
}

func (p *person) takeRemarks() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.remarks
	p.remarks = nil
	return r
}
