package ssh

import (
	"slices"

	gossh "golang.org/x/crypto/ssh"
)

// x/crypto queues 16 requests of a channel. When one more comes it reads nothing further from the whole
// connection until somebody takes one: no other session's bytes, no hang-up, and it does not notice that its
// socket was closed. So there is no moment at which nobody takes the requests of a channel, from either side.

// early takes the requests of a channel while nobody else does.
type early struct {
	ended chan struct{}
	kept  chan []*gossh.Request
}

// takeEarly begins to. Of what later says are requests to keep, the latest of each type is kept; others are
// answered by refuse.
func takeEarly(requests <-chan *gossh.Request, later []string, refuse func(*gossh.Request)) *early {
	e := &early{ended: make(chan struct{}), kept: make(chan []*gossh.Request, 1)}
	go func() {
		var kept []*gossh.Request
		defer func() { e.kept <- kept }()
		for {
			select {
			case <-e.ended:
				return
			case r, ok := <-requests:
				if !ok {
					return
				}
				if !slices.Contains(later, r.Type) {
					refuse(r)
					continue
				}
				kept = slices.DeleteFunc(kept, func(old *gossh.Request) bool {
					if old.Type == r.Type {
						_ = old.Reply(false, nil)
					}
					return old.Type == r.Type
				})
				kept = append(kept, r)
			}
		}
	}()
	return e
}

// end stops that, for somebody else to go on, and returns what was kept.
func (e *early) end() []*gossh.Request {
	close(e.ended)
	return <-e.kept
}

// refuseRequests says no to requests until there will be no more: the channel is closed by its peer.
func refuseRequests(requests <-chan *gossh.Request) {
	for r := range requests {
		_ = r.Reply(false, nil)
	}
}
