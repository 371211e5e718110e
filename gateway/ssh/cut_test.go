package ssh

import (
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"
)

// TestWhoCutsSaysWhy: a target closes as soon as its session is cut. Its end must not close the
// person's, to whom the reason is being said just then.
func TestWhoCutsSaysWhy(t *testing.T) {
	s := &session{left: make(chan struct{}), outcome: make(chan string, 1), closed: make(chan struct{})}
	s.over.Store(true) // cut has begun, and has not said anything yet
	requests := make(chan *gossh.Request)
	close(requests)
	s.fromTarget(requested{fromTarget: requests}, &sync.WaitGroup{}) // would close the person's end, which is not there
	select {
	case <-s.closed:
		t.Error("the person's end was closed before the reason was said")
	default:
	}
	if why := <-s.outcome; why == "" {
		t.Error("how the command ended is not told")
	}
}
