package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/statement"
)

const (
	// revokees are the people with one session each, whose grants are taken back one by one.
	revokees = 8
	// opening is how many sessions are being opened at a time.
	opening = 4
)

// sitting is a session that somebody has open, on a connection of its own.
type sitting struct {
	conn *ssh.Client
	over chan struct{} // closed when the session was
	at   time.Time     // when; read only after over
}

// crowd opens many sessions that do nothing, weighs them, and takes back first the grants of a few
// who have one session each, then the one of whoever has all the others.
func (s *road) crowd(ctx context.Context, r *report) error {
	// A server that has moved gigabytes keeps buffers for the next ones: this is about one that has not.
	s.server.stop()
	if err := s.serve(ctx); err != nil {
		return err
	}
	// The first sessions fill what is kept for all, as the database's caches.
	first, err := s.sit(s.by, max(1, s.o.sessions/5))
	leave(first)
	if err != nil {
		return err
	}
	time.Sleep(s.o.rest)
	before, err := s.server.resident()
	if err != nil {
		return err
	}
	many := max(1, s.o.sessions-revokees)
	sittings, err := s.sit(s.by, many)
	defer leave(sittings)
	if err != nil {
		return err
	}
	var others []*sitting
	var grants []brevet.GrantID
	for _, p := range s.people[1:] {
		c, err := s.caller(ctx, p)
		if err != nil {
			return err
		}
		grant, err := c.granted(ctx)
		if err != nil {
			return err
		}
		more, err := s.sit(c, 1)
		defer leave(more)
		if err != nil {
			return err
		}
		others, grants = append(others, more...), append(grants, grant)
	}
	time.Sleep(s.o.rest)
	after, err := s.server.resident()
	if err != nil {
		return err
	}
	each := (after - before) / int64(many+revokees)
	r.section(fmt.Sprintf("%d sessions that do nothing, each on a connection of its own, recorded", many+revokees),
		row{what: "memory of the server (VmRSS)", figure: fmt.Sprintf("%.0f KiB a session", float64(each)/1024), beside: fmt.Sprintf("without: %s, with: %s", megabytes(before), megabytes(after)),
			goal: "< 160 KiB", met: each < 160<<10})
	return s.takeBack(ctx, r, sittings, others, grants)
}

// sit opens n sessions of the caller's.
func (s *road) sit(c *caller, n int) ([]*sitting, error) {
	var mu sync.Mutex
	var all []*sitting
	var failed error
	var group sync.WaitGroup
	for worker := range opening {
		group.Go(func() {
			for i := worker; i < n; i += opening {
				one, err := s.sitDown(c)
				mu.Lock()
				if err != nil {
					failed = err
				} else {
					all = append(all, one)
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	group.Wait()
	return all, failed
}

func (s *road) sitDown(c *caller) (*sitting, error) {
	conn, err := s.dial(c, "gateway")
	if err != nil {
		return nil, err
	}
	session, err := conn.NewSession()
	if err != nil {
		conn.Close()
		return nil, err
	}
	in, err := session.StdinPipe()
	if err != nil {
		conn.Close()
		return nil, err
	}
	out, err := session.StdoutPipe()
	if err != nil {
		conn.Close()
		return nil, err
	}
	if err := session.Start("echo up; cat"); err != nil {
		conn.Close()
		return nil, err
	}
	if _, err := io.ReadFull(out, make([]byte, len("up\n"))); err != nil {
		conn.Close()
		return nil, err
	}
	one := &sitting{conn: conn, over: make(chan struct{})}
	go func() {
		defer in.Close()
		_, _ = io.Copy(io.Discard, out)
		_ = session.Wait() // the gateway's exit status: it was closed
		one.at = time.Now()
		close(one.over)
	}()
	return one, nil
}

func leave(sittings []*sitting) {
	for _, one := range sittings {
		one.conn.Close()
		<-one.over
	}
}

// takeBack has alice revoke grants, and times from her call to the end of each session.
func (s *road) takeBack(ctx context.Context, r *report, many, others []*sitting, grants []brevet.GrantID) error {
	alice, err := s.caller(ctx, s.alice)
	if err != nil {
		return err
	}
	var one, all, calls times
	for i, grant := range grants {
		took, called, err := revoked(ctx, alice, grant, others[i:i+1])
		if err != nil {
			return err
		}
		one, calls = append(one, took...), append(calls, called)
	}
	grant, err := s.grantOf(ctx, s.by)
	if err != nil {
		return err
	}
	all, called, err := revoked(ctx, alice, grant, many)
	if err != nil {
		return err
	}
	slowest := all.at(99)
	r.section(fmt.Sprintf("Revoke to closed session, while %d are live", len(many)+len(others)),
		row{what: fmt.Sprintf("a grant with one session, %d times", len(one)), figure: one.String(), beside: "the call that revokes: " + calls.String(), ratio: ratioOf(one.at(50), calls.at(50)),
			goal: "p99 < 200ms", met: one.at(99) < 200*time.Millisecond},
		row{what: fmt.Sprintf("a grant with %d sessions, all of them", len(all)), figure: all.String(), beside: "the call that revokes: " + short(called), ratio: ratioOf(all.at(50), called),
			goal: "p99 < 200ms", met: slowest < 200*time.Millisecond})
	return nil
}

// grantOf is the caller's only live grant.
func (s *road) grantOf(ctx context.Context, c *caller) (brevet.GrantID, error) {
	got, err := c.grants.ListGrants(ctx, &brevetv1.ListGrantsRequest{States: []string{string(brevet.Live)}})
	if err != nil {
		return "", err
	}
	if len(got.GetGrants()) != 1 {
		return "", fmt.Errorf("%s has %d live grants", c.person, len(got.GetGrants()))
	}
	return brevet.GrantID(got.GetGrants()[0].GetId()), nil
}

// patience bounds the wait for what should be over.
const patience = 30 * time.Second

// revoked revokes the grant and returns how long after the call began each session ended, and how
// long the call itself took.
func revoked(ctx context.Context, by *caller, grant brevet.GrantID, sittings []*sitting) (ended times, called time.Duration, err error) {
	now := time.Now()
	raw, err := by.sign(ctx, statement.Revocation{
		Header: statement.NewHeader(by.root, now, now.Add(time.Hour)), By: string(by.person), What: statement.RevokeGrant, Subject: string(grant), Reason: "drill",
	})
	if err != nil {
		return nil, 0, err
	}
	began := time.Now()
	if _, err := by.grants.RevokeGrant(ctx, &brevetv1.RevokeGrantRequest{Statement: raw}); err != nil {
		return nil, 0, err
	}
	called = time.Since(began)
	late := time.After(patience)
	for _, one := range sittings {
		select {
		case <-one.over:
			ended = append(ended, one.at.Sub(began))
		case <-late:
			return nil, 0, fmt.Errorf("a session of %s goes on %s after it was revoked", strings.ToLower(string(grant)), patience)
		}
	}
	return ended, called, nil
}
