package ssh_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet/test/gatewaytest"
)

// unread is more than x/crypto holds of what nobody takes; when it is full, a connection stands still for good.
const unread = 200

// resizes asks a channel for what needs no answer, again and again.
func resizes(c gossh.Channel) {
	for range unread {
		_, _ = c.SendRequest("window-change", false, make([]byte, 16))
	}
}

type command struct{ Text string }

// begun opens a channel and asks it to start something. Whether that is granted is of no interest here.
func begun(t *testing.T, c *gossh.Client, kind, text string) gossh.Channel {
	t.Helper()
	channel, requests, err := c.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go gossh.DiscardRequests(requests)
	if _, err := channel.SendRequest(kind, false, gossh.Marshal(command{text})); err != nil {
		t.Fatal(err)
	}
	return channel
}

// stops reports whether the gateway ends in time, whoever is still there.
func stops(t *testing.T, w *gatewaytest.World) {
	t.Helper()
	done := make(chan struct{})
	go func() { w.Stop(); close(done) }()
	select {
	case <-done:
	case <-limited(t).Done():
		t.Fatal("the gateway does not stop")
	}
}

// gone waits until the gateway has closed a connection, or has at least seen that the client has.
func gone(t *testing.T, w *gatewaytest.World, c *gossh.Client) {
	t.Helper()
	c.Close()
	eventually(t, "the gateway let go of the connection", func() bool { return w.Server.Connections() == 0 })
}

// TestWhatNobodyTakesHoldsUpNothing: requests on a channel that carries no session are taken all the same, so
// that other sessions of the connection can be revoked, and the connection ends when the client goes.
func TestWhatNobodyTakesHoldsUpNothing(t *testing.T) {
	t.Run("after a refused subsystem", func(t *testing.T) {
		w := gatewaytest.Start(t, gatewaytest.Options{})
		id := w.Plane.Grant("bob", "web-root", time.Hour)
		c := connect(t, w)
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start("sleep 300"); err != nil {
			t.Fatal(err)
		}
		resizes(begun(t, c, "subsystem", "sftp"))
		if err := execute(c, "true"); err != nil {
			t.Errorf("another session of the connection: %v", err)
		}
		ended(t, w, 1)
		if closed := w.Gateway.EndGrant(limited(t), id, "drill"); !closed.All || len(closed.Sessions) != 1 {
			t.Errorf("confirmed %+v", closed)
		}
		ended(t, w, 2)
		stops(t, w)
	})
	t.Run("while the target is silent", func(t *testing.T) {
		w := gatewaytest.Start(t, gatewaytest.Options{})
		hostileTarget(t, w, func(_ *gossh.ServerConn, channels <-chan gossh.NewChannel, _ <-chan *gossh.Request) {
			for c := range channels {
				_, requests, err := c.Accept()
				if err != nil {
					return
				}
				go func() {
					for range requests { // it never answers
					}
				}()
			}
		})
		c := connect(t, w)
		resizes(begun(t, c, "exec", "true"))
		if _, _, err := c.SendRequest("keepalive@openssh.com", true, nil); err != nil {
			t.Errorf("the connection stands still: %v", err)
		}
		gone(t, w, c)
		ended(t, w, 1)
		stops(t, w)
	})
	t.Run("after a session that could not begin", func(t *testing.T) {
		w := gatewaytest.Start(t, gatewaytest.Options{})
		w.Plane.Grant("bob", "web-root", time.Hour)
		c := connect(t, w)
		w.Plane.Away(true)
		resizes(begun(t, c, "exec", "true"))
		gone(t, w, c)
		stops(t, w)
	})
}

// TestTargetThatAsksWithoutEnd: what a target asks is taken at every moment, on channels that it refuses too.
func TestTargetThatAsksWithoutEnd(t *testing.T) {
	asks := func(c gossh.Channel) {
		for range unread {
			_, _ = c.SendRequest("xon-xoff", false, []byte{1})
		}
	}
	hostile := func(t *testing.T) *gatewaytest.World {
		w := gatewaytest.Start(t, gatewaytest.Options{})
		hostileTarget(t, w, func(conn *gossh.ServerConn, channels <-chan gossh.NewChannel, _ <-chan *gossh.Request) {
			go func() {
				for range unread {
					_, _, _ = conn.SendRequest("hostkeys-00@openssh.com", false, nil)
				}
			}()
			for c := range channels {
				channel, requests, err := c.Accept()
				if err != nil {
					return
				}
				go func() {
					for r := range requests {
						asks(channel)
						_ = r.Reply(!strings.Contains(string(r.Payload), "refuse"), nil)
						asks(channel)
						if strings.Contains(string(r.Payload), "status") {
							_, _ = channel.SendRequest("exit-status", false, []byte{0, 0, 0, 7})
							_ = channel.Close()
						}
					}
				}()
			}
		})
		return w
	}
	t.Run("before it refuses", func(t *testing.T) {
		w := hostile(t)
		c := connect(t, w)
		if err := execute(c, "refuse"); err == nil {
			t.Error("it ran")
		}
		ended(t, w, 1)
		if exit, ok := errors.AsType[*gossh.ExitError](execute(c, "status")); !ok || exit.ExitStatus() != 7 {
			t.Errorf("the next command of the connection ended with %v", exit)
		}
		gone(t, w, c)
		stops(t, w)
	})
	t.Run("when its processes are ended", func(t *testing.T) {
		w := hostile(t)
		c := connect(t, w)
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start("sleep"); err != nil {
			t.Fatal(err)
		}
		for _, live := range w.Gateway.Sessions() {
			w.Gateway.EndGrant(limited(t), live.Grant, "drill")
		}
		ended(t, w, 1)
		eventually(t, "the gateway let go of the connection", func() bool { return w.Server.Connections() == 0 })
		stops(t, w)
	})
}

// TestStopIsBounded: a client that opens channels and asks without end, from its login on, does not keep the
// gateway from stopping.
func TestStopIsBounded(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	for range 4 {
		c := connect(t, w)
		go func() {
			for {
				if _, _, err := c.SendRequest("keepalive@openssh.com", false, nil); err != nil {
					return
				}
			}
		}()
		go func() {
			for {
				channel, requests, err := c.OpenChannel("session", nil)
				if refused, ok := errors.AsType[*gossh.OpenChannelError](err); ok && refused.Reason == gossh.ResourceShortage {
					continue
				}
				if err != nil {
					return
				}
				go gossh.DiscardRequests(requests)
				go resizes(channel)
			}
		}()
	}
	stops(t, w)
}
