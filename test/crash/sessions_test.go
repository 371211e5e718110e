package crash_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	pb "github.com/brevet-pim/brevet/api/brevet/v1"
)

// enter connects to web1 through the gateway with bob's key alone, so it succeeds only if he has a grant.
func (l *life) enter(ctx context.Context) (*ssh.Client, error) {
	config := &ssh.ClientConfig{
		User: l.host.Login + "%web1", Auth: []ssh.AuthMethod{ssh.PublicKeys(l.people["bob"].key)},
		HostKeyCallback: ssh.FixedHostKey(l.hostKey), HostKeyAlgorithms: []string{l.hostKey.Type()},
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.door)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	c, channels, requests, err := ssh.NewClientConn(conn, l.door, config)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return ssh.NewClient(c, channels, requests), nil
}

// work has bob run a command on web1.
func (l *life) work() {
	l.t.Helper()
	l.do("bob works on web1", func(ctx context.Context) error {
		c, err := l.enter(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		defer context.AfterFunc(ctx, func() { c.Close() })()
		session, err := c.NewSession()
		if err != nil {
			return err
		}
		out, err := session.CombinedOutput("echo through")
		if err == nil && strings.TrimSpace(string(out)) != "through" {
			err = fmt.Errorf("web1 answered %q", out)
		}
		return err
	})
}

// stay leaves bob on web1. Whatever ends his grant, or the server, ends his connection.
func (l *life) stay() {
	l.t.Helper()
	l.do("bob stays on web1", func(ctx context.Context) error {
		c, err := l.enter(ctx)
		if err != nil {
			return err
		}
		session, err := c.NewSession()
		if err != nil {
			return errors.Join(err, c.Close())
		}
		in, err := session.StdinPipe()
		if err == nil {
			err = session.Start("cat")
		}
		if err == nil {
			_, err = in.Write([]byte("still here\n"))
		}
		if err != nil {
			return errors.Join(err, c.Close())
		}
		l.stays = append(l.stays, c)
		return nil
	})
}

// gone waits until bob's connections have ended by themselves.
func (l *life) gone(when string) {
	l.t.Helper()
	for _, c := range l.stays {
		gone := make(chan struct{})
		go func() {
			_ = c.Wait() // however it ended
			close(gone)
		}()
		select {
		case <-gone:
		case <-time.After(patience):
			l.t.Fatalf("%s bob is still on web1\n%s", when, l.server.output())
		}
	}
	l.stays = nil
}

// nothing checks that bob gets nothing through the gateway, and that his connections are gone.
func (l *life) nothing(when string) {
	l.t.Helper()
	l.gone(when)
	l.do("bob tries web1 "+when, func(ctx context.Context) error {
		c, err := l.enter(ctx)
		if err == nil {
			c.Close()
			l.t.Fatalf("%s bob got in", when)
		}
		if strings.Contains(err.Error(), "unable to authenticate") {
			return nil
		}
		return err
	})
}

// settled waits until the gateway has delivered what it knows: no session is live, and each recording is
// whole, or it is told that it is not.
func (l *life) settled() {
	l.t.Helper()
	late := time.Now().Add(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var open []string
		l.look("alice", func(ctx context.Context, v *visit) error {
			got, err := v.sessions.ListSessions(ctx, &pb.ListSessionsRequest{})
			if err != nil {
				return err
			}
			open = nil
			for _, s := range got.GetSessions() {
				if s.GetEndedAt() == nil {
					open = append(open, s.GetId()+" is live")
				}
				if s.GetRecorded() && !s.GetRecording().GetComplete() {
					told, err := v.audit.SearchEvents(ctx, &pb.SearchEventsRequest{Kind: "recording.gap", Session: s.GetId()})
					if err != nil {
						return err
					}
					if len(told.GetEvents()) == 0 {
						open = append(open, "the recording of "+s.GetId()+" is neither whole nor said to be cut")
					}
				}
			}
			return nil
		})
		if len(open) == 0 {
			return
		}
		if time.Now().After(late) {
			l.t.Fatalf("%s\n%s", strings.Join(open, "\n"), l.server.output())
		}
		<-tick.C
	}
}
