package ssh

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/gateway"
	"github.com/brevet-pim/brevet/record"
)

// session carries one shell or command between a person and a target.
//
// While it lives, one goroutine each copies standard input, output and error, one passes on the
// person's requests, and one the target's, and closes towards the person when the target has closed.
// Whatever the gateway decides arrives as the end of live's context, upon which cut closes both ends,
// and all of them come home.
type session struct {
	person   *person
	down     gossh.Channel // towards the person
	stderr   chan struct{} // held while down's standard error is written: x/crypto allows one writer
	terminal bool

	live    *gateway.Session
	up      gossh.Channel // towards the target
	left    chan struct{} // closed when the target has closed its end: the command has ended
	swept   atomic.Bool   // what is left at the target is being ended, and nobody waits long for that
	over    atomic.Bool   // nothing is passed on any more
	closing sync.Once     // closes what follows
	closed  chan struct{} // down is closed, by us
	outcome chan string   // how the command ended, once known; holds one
}

const (
	failStatus     = 255                    // exit status of what Brevet ended, as ssh has for its own failures
	patience       = time.Second            // for one step of the goodbye, when the whole connection ends
	patienceShared = 3 * time.Second        // when only this session does: others share the connection
	unwindWithin   = 5 * time.Second        // for a peer to close its end, once the other is closed
	unwindSwept    = 200 * time.Millisecond // for a target at the end of a grant, see sweep.go
)

// serve carries the session from its first request to its end.
func (s *session) serve(requests <-chan *gossh.Request) {
	defer s.down.Close()
	if a, began := s.begin(requests); began {
		s.live.Finish(s.carry(requests, a))
		return
	}
	s.down.Close()
	s.leave(s.await(func() { refuseRequests(requests) }))
}

// requested is what was requested on the two ends of a session while it was started.
type requested struct {
	byPerson, byTarget []*gossh.Request
	fromTarget         <-chan *gossh.Request // what comes from now on
}

// begin starts the session, if it says so, and the person was told why not otherwise. It is apart from serve
// as letIn is.
func (s *session) begin(requests <-chan *gossh.Request) (a requested, began bool) {
	setup, start := s.prepare(requests)
	if start == nil {
		return a, false // the person closed it
	}
	meanwhile := takeEarly(requests, []string{"window-change", "signal", "break"}, s.answer)
	began = s.start(setup, start, &a)
	a.byPerson = meanwhile.end()
	return a, began
}

// start begins the session and starts it on the target.
func (s *session) start(setup setup, start *gossh.Request, a *requested) bool {
	for _, text := range s.person.takeRemarks() {
		s.tell(text)
	}
	if text := s.notGiven(setup, start); text != "" {
		_ = start.Reply(true, nil) // else clients hang up before they print the sentence
		s.bye(text)
		return false
	}
	live, err := s.person.server.Gateway.Begin(s.person.ctx, s.person.admission, gateway.Use{
		Kind: start.Type, Command: setup.command, Source: s.person.source, Terminal: setup.terminal,
	})
	if err != nil {
		_ = start.Reply(true, nil)
		s.goodbye(err)
		return false
	}
	s.live = live
	err = s.open(setup, start, a)
	_ = start.Reply(true, nil)
	if err != nil {
		live.Finish(sentence(err))
		s.goodbye(err)
		return false
	}
	return true
}

// notGiven returns the sentence for a session that may not start, and reports it; else "".
func (s *session) notGiven(c setup, start *gossh.Request) string {
	if start.Type == "subsystem" {
		return s.person.refuse("subsystem", brevet.Quote(clip(c.command)))
	}
	if c.refused == nil {
		return ""
	}
	text := sentence(c.refused)
	s.person.report(c.what, text)
	return text
}

// open starts the session on the target, with what the person set up.
func (s *session) open(c setup, start *gossh.Request, a *requested) error {
	ctx, cancel := context.WithTimeoutCause(s.live.Context(), connectWithin,
		brevet.Errorf(brevet.Unavailable, "%s does not answer", s.targetName()))
	defer cancel()
	conn, err := s.person.target.wait(ctx)
	if err != nil {
		return err
	}
	// Waiting for a reply takes no context; a target that gives none loses the connection.
	stop := context.AfterFunc(ctx, func() { s.person.target.sock.Close() })
	defer stop()
	up, requests, err := conn.OpenChannel("session", nil)
	if err != nil {
		return s.notStarted(ctx, err)
	}
	// sshd asks nothing before it answers, but a hostile target may.
	meanwhile := takeEarly(requests, []string{"exit-status", "exit-signal"}, func(r *gossh.Request) { _ = r.Reply(false, nil) })
	ok, err := s.ask(up, c, start)
	a.byTarget, a.fromTarget = meanwhile.end(), requests
	if err != nil || !ok {
		s.person.server.busy.Go(func() { refuseRequests(requests) })
		up.Close()
		return s.notStarted(ctx, err)
	}
	s.up = up
	return nil
}

// ask asks the target for what the person set up, and reports whether it starts that.
func (s *session) ask(up gossh.Channel, c setup, start *gossh.Request) (bool, error) {
	for _, v := range c.variables {
		_ = s.live.Env(v.Name, v.Value) // a recording that fails ends the session by itself
		_, _ = up.SendRequest("env", false, gossh.Marshal(v))
	}
	if c.pty != nil {
		given, err := up.SendRequest("pty-req", true, c.pty)
		if err == nil && !given {
			s.live.NoTerminal()
			s.tell("Brevet: " + s.targetName() + " gives no terminal.")
		}
	}
	return up.SendRequest(start.Type, true, start.Payload)
}

func (s *session) notStarted(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil && within(s.person.target.gone, patience) { // the connection itself ends a moment after its channels
		return brevet.Errorf(brevet.Unavailable, "the connection to %s was lost", s.targetName()).
			WithHint("connect again").Because(err)
	}
	return brevet.Errorf(brevet.Unavailable, "%s does not start a session", s.targetName()).
		WithHint("its sshd's log says why").Because(err)
}

func (s *session) targetName() string { return string(s.person.admission.Target.ID) }

// carry passes everything on, both ways, until the person's end is closed, and says how it ended.
//
// Whoever closes first, the other is given a moment to follow. A person's end that stays open costs
// that person the connection; a target's end that does is left behind, since sshd keeps it open
// while a command runs on that nobody hears any more.
func (s *session) carry(requests <-chan *gossh.Request, a requested) (why string) {
	cutDone := make(chan struct{})
	stop := context.AfterFunc(s.live.Context(), func() { defer close(cutDone); s.cut() })
	var outputs, all sync.WaitGroup
	outputs.Go(func() { s.output(record.Stdout, s.down, s.up) })
	outputs.Go(func() { s.output(record.Stderr, stderrOf{s}, s.up.Stderr()) })
	all.Go(s.input)
	all.Go(func() { s.fromTarget(a, &outputs) })
	gone := s.await(func() { s.fromPerson(a.byPerson, requests) })
	select {
	case <-gone:
	case <-s.closed: // by us
		s.leave(gone)
	}
	patient := unwindWithin
	if s.swept.Load() { // cut closes the target's end, in its time
		patient = unwindSwept
	} else { // nobody may wait for the target here, which may be stuck
		s.person.server.busy.Go(func() { s.up.Close() })
	}
	within(s.await(all.Wait), patient)
	if !stop() {
		<-cutDone
	}
	select {
	case why = <-s.outcome:
	default:
		why = "the person hung up"
	}
	return why
}

// leave waits until the person's end is closed, which it is on our side.
func (s *session) leave(gone <-chan struct{}) {
	if !within(gone, unwindWithin) {
		s.person.close()
		<-gone
	}
}

// await returns a channel that is closed when f returns.
func (s *session) await(f func()) <-chan struct{} {
	done := make(chan struct{})
	s.person.sessions.Go(func() { defer close(done); f() })
	return done
}

// within reports whether done is closed in time.
func within(done <-chan struct{}, d time.Duration) bool {
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-done:
		return true
	case <-late.C:
		return false
	}
}

// output copies what the target sends. It is recorded before the person sees it.
func (s *session) output(stream record.Stream, to io.Writer, from io.Reader) {
	b := newElastic(&s.person.server.buffers)
	defer b.release()
	for {
		n, err := from.Read(b.bytes)
		if n > 0 {
			if s.over.Load() || s.live.Output(stream, b.bytes[:n]) != nil {
				return
			}
			if _, err := to.Write(b.bytes[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
		b.fit(n)
	}
}

// input copies what the person sends. It is recorded before the target sees it.
func (s *session) input() {
	b := newElastic(&s.person.server.buffers)
	defer b.release()
	for {
		n, err := s.down.Read(b.bytes)
		if n > 0 {
			if s.over.Load() || s.live.Input(b.bytes[:n]) != nil {
				return
			}
			if _, err := s.up.Write(b.bytes[:n]); err != nil {
				return
			}
		}
		if err != nil {
			_ = s.up.CloseWrite()
			return
		}
		b.fit(n)
	}
}

// stderrOf writes a session's standard error, one at a time.
type stderrOf struct{ s *session }

func (w stderrOf) Write(p []byte) (int, error) {
	w.s.stderr <- struct{}{}
	defer func() { <-w.s.stderr }()
	return w.s.down.Stderr().Write(p)
}

// fromTarget passes on what the target says about the command, and once it has closed and its
// output has gone out, how the command ended.
func (s *session) fromTarget(a requested, outputs *sync.WaitGroup) {
	var end *gossh.Request
	take := func(r *gossh.Request) {
		switch r.Type {
		case "exit-status", "exit-signal":
			end = r
		case "xon-xoff":
			_, _ = s.down.SendRequest(r.Type, false, r.Payload)
		}
		_ = r.Reply(false, nil)
	}
	for _, r := range a.byTarget {
		take(r)
	}
	for r := range a.fromTarget {
		take(r)
	}
	close(s.left)
	outputs.Wait()
	s.outcome <- s.ended(end)
	if s.over.Load() {
		return // whoever cuts the session says why, and must not find the line closed before that
	}
	if end == nil {
		s.tell("Brevet: the connection to " + s.targetName() + " was lost. Connect again.")
		end = &gossh.Request{Type: "exit-status", Payload: gossh.Marshal(struct{ Status uint32 }{failStatus})}
	}
	// After the last output and before the close, or clients miss it.
	_, _ = s.down.SendRequest(end.Type, false, end.Payload)
	s.hangUp()
	s.live.Closed()
}

// hangUp closes the person's end.
func (s *session) hangUp() {
	s.down.Close()
	s.closing.Do(func() { close(s.closed) })
}

// ended records how the command ended and says it.
func (s *session) ended(r *gossh.Request) string {
	if r == nil {
		return "closed before the command ended"
	}
	if r.Type == "exit-signal" {
		var signal struct {
			Name string
			Rest []byte `ssh:"rest"`
		}
		_ = gossh.Unmarshal(r.Payload, &signal)
		name := plain(clip(signal.Name))
		_ = s.live.Signal(name)
		return "signal " + name
	}
	var status struct{ Status uint32 }
	_ = gossh.Unmarshal(r.Payload, &status)
	_ = s.live.Exit(status.Status)
	return fmt.Sprintf("exit %d", status.Status)
}

// fromPerson passes on the person's requests until the person's end is closed.
func (s *session) fromPerson(early []*gossh.Request, requests <-chan *gossh.Request) {
	for _, r := range early {
		s.pass(r)
	}
	for r := range requests {
		s.pass(r)
	}
}

func (s *session) pass(r *gossh.Request) {
	switch r.Type {
	case "window-change":
		s.resize(r.Payload)
	case "signal":
		_, _ = s.up.SendRequest(r.Type, false, r.Payload)
	case "break":
		_, _ = s.up.SendRequest(r.Type, false, r.Payload)
		_ = r.Reply(true, nil)
	default:
		s.answer(r)
	}
}

// answer says no to a request that is passed on to nobody.
func (s *session) answer(r *gossh.Request) {
	switch r.Type {
	case "eow@openssh.com", "keepalive@openssh.com":
	default:
		s.tell(s.person.refuse(r.Type, ""))
	}
	_ = r.Reply(false, nil)
}

func (s *session) resize(payload []byte) {
	var size struct{ Columns, Rows, Width, Height uint32 }
	if !s.terminal || gossh.Unmarshal(payload, &size) != nil {
		return
	}
	_ = s.live.Resize(clampSize(size.Columns), clampSize(size.Rows))
	_, _ = s.up.SendRequest("window-change", false, payload)
}

// cut ends the session at once: first the target, then the person, who is told why.
func (s *session) cut() {
	s.over.Store(true)
	sweep := s.person.over() && s.person.target.held.take() // nobody is left who may have anything there
	s.swept.Store(sweep)
	s.person.server.busy.Go(func() {
		if sweep {
			defer s.person.target.held.release()
		}
		s.endAtTarget(sweep)
	})
	said := s.await(func() { s.goodbye(context.Cause(s.live.Context())) })
	if !within(said, s.patience()) && !within(s.await(s.hangUp), patience) {
		s.person.close() // it takes nothing more, so it can't be told either
	}
	s.live.Closed()
}

// patience is how long the goodbye may take: others on the same connection are spared if they live on.
func (s *session) patience() time.Duration {
	if s.person.over() {
		return patience
	}
	return patienceShared
}

// goodbye tells the person why, and closes.
func (s *session) goodbye(why error) {
	text := sentence(why)
	if what, hint := brevet.MessageOf(why); hint == "" && s.person.over() && !s.person.suspended(what) {
		text += " Ask again: " + s.person.again + "."
	}
	s.bye(text)
}

// suspended reports whether the control plane's reason is that the person was suspended: they can ask for nothing.
func (p *person) suspended(reason string) bool {
	return strings.HasPrefix(reason, string(p.admission.Person)+" was suspended by ")
}

func (s *session) bye(text string) {
	s.tell(text)
	_, _ = s.down.SendRequest("exit-status", false, gossh.Marshal(struct{ Status uint32 }{failStatus}))
	s.hangUp()
}

// tell writes a sentence to the person's standard error, unless that is stuck.
func (s *session) tell(text string) {
	select {
	case s.stderr <- struct{}{}:
	case <-time.After(patience):
		return
	case <-s.person.ctx.Done():
		return
	}
	if s.terminal { // the person's own terminal is in raw mode, somewhere within a line
		text = "\r\n" + strings.ReplaceAll(text, "\n", "\r\n") + "\r"
	}
	within(s.await(func() {
		defer func() { <-s.stderr }()
		_, _ = io.WriteString(s.down.Stderr(), text+"\n")
	}), patience)
}
