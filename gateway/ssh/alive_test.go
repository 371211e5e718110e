package ssh

import (
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/gateway"
)

// asked is a connection that counts the questions, and never gets an answer.
type asked struct {
	gossh.Conn
	questions chan time.Time
	gone      chan struct{}
}

func (a asked) SendRequest(string, bool, []byte) (bool, []byte, error) {
	a.questions <- time.Now()
	<-a.gone
	return false, nil, net.ErrClosed
}

// Whoever vanished is asked, and then holds nothing for longer than goneAfter; whoever speaks stays.
func TestVanishedPeersAreCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Gateway: &gateway.Gateway{Log: slog.New(slog.DiscardHandler)}}
		go s.keepAlive(t.Context())
		ours, theirs := net.Pipe()
		conn := asked{questions: make(chan time.Time, 100), gone: make(chan struct{})}
		p := &peer{socket: newSocket(ours, &s.buffers, func(error) {})}
		s.add(p)
		time.Sleep(5 * time.Minute) // a login has a deadline of its own
		p.alive(conn)
		time.Sleep(askAfter - time.Second) // it was silent for long, and is asked nothing yet
		speaks := time.Now()
		go func() {
			var b [1]byte
			for {
				if _, err := p.socket.Read(b[:]); err != nil {
					return
				}
			}
		}()
		if _, err := theirs.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := theirs.Read(make([]byte, 1)); err == nil {
			t.Fatal("something was sent")
		}
		took := time.Since(speaks)
		if took < goneAfter || took > goneAfter+10*time.Second {
			t.Errorf("cut after %v of silence", took)
		}
		if n := len(conn.questions); n < 2 || n > 4 {
			t.Errorf("asked %d times", n)
		}
		if first := <-conn.questions; first.Sub(speaks) < askAfter {
			t.Errorf("asked after %v", first.Sub(speaks))
		}
		close(conn.gone)
		s.remove(p)
		s.busy.Wait()
	})
}

func TestTally(t *testing.T) {
	var counts tally
	for i := range 3 {
		if got := counts.enter("bob", 2); got != (i < 2) {
			t.Errorf("bob's connection %d: %v", i+1, got)
		}
	}
	if !counts.enter("alice", 2) {
		t.Error("bob keeps alice out")
	}
	for _, p := range []brevet.PersonID{"bob", "bob", "alice"} {
		counts.leave(p)
	}
	if len(counts.counts) != 0 {
		t.Errorf("those who left are counted: %v", counts.counts)
	}
}
