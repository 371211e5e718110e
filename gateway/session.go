package gateway

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/record"
)

// Use is what a session is begun for.
type Use struct {
	Kind     string // "shell" or "exec"
	Command  string // of an exec
	Source   netip.Addr
	Terminal record.Terminal // the zero Terminal is none
}

// Session is one live use of a grant. The protocol carries the bytes, passes each of them to
// Output or Input before it sends them on, stops when Context ends, and calls Closed and Finish.
type Session struct {
	brevet.Session // as begun; EndedAt, EndReason and Recording are set by Finish

	gateway   *Gateway
	admission Admission
	terminal  bool
	ctx       context.Context
	cancel    context.CancelCauseFunc
	writer    *record.Writer // nil if not recorded
	hub       record.Hub     // for whoever watches, recorded or not
	epoch     time.Time
	active    atomic.Int64 // nanoseconds after epoch of the last byte
	closing   sync.Once
	closed    chan struct{} // no byte flows any more
	finished  chan struct{} // the recording is complete, and the end is reported
}

// Begin opens a session: the grant lives, the recording runs if the role asks for one, and the
// control plane has made the beginning durable. If any of this fails there is no session, and the
// error is for the person.
func (g *Gateway) Begin(ctx context.Context, a Admission, use Use) (*Session, error) {
	if err := checkSource(a.Role, use.Source); err != nil {
		return nil, err
	}
	a, err := g.renew(ctx, a, time.Now())
	if err != nil {
		return nil, err
	}
	s, err := g.register(a, use)
	if err != nil {
		return nil, err
	}
	if err := s.begin(ctx, use); err != nil {
		s.Finish("did not begin")
		return nil, err
	}
	return s, nil
}

// register makes the session known before it begins, so that a revocation which comes
// meanwhile finds it.
func (g *Gateway) register(a Admission, use Use) (*Session, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now() // under the lock: who lists the sessions later finds it, or began to look before now
	if g.closing {
		return nil, brevet.Errorf(brevet.Unavailable, "the gateway is shutting down").WithHint("connect again in a moment")
	}
	held, ok := g.grants[a.Grant]
	if !ok {
		return nil, brevet.Errorf(brevet.Refused, "grant %s was not admitted here", a.Grant)
	}
	if err := context.Cause(held.ctx); err != nil {
		return nil, err
	}
	s := &Session{
		Session: brevet.Session{
			ID: brevet.NewSessionID(now), Grant: a.Grant, Person: a.Person, Target: a.Target.ID, Login: a.Login,
			Machine: g.Machine, Source: use.Source.String(), Kind: use.Kind, Command: use.Command,
			Recorded: a.Role.Recording != brevet.RecordingOff, StartedAt: now,
		},
		gateway: g, admission: a, terminal: use.Terminal != record.Terminal{}, epoch: now, closed: make(chan struct{}), finished: make(chan struct{}),
	}
	if s.terminal {
		s.hub.Resize(use.Terminal.Columns, use.Terminal.Rows)
	}
	s.ctx, s.cancel = context.WithCancelCause(held.ctx)
	if g.sessions == nil {
		g.sessions = map[brevet.SessionID]*Session{}
	}
	g.sessions[s.ID] = s
	return s, nil
}

// beginWithin bounds how long the recorder and the control plane may take to begin a session.
const beginWithin = 10 * time.Second

func (s *Session) begin(ctx context.Context, use Use) error {
	ctx, cancel := context.WithTimeout(ctx, beginWithin)
	defer cancel()
	// In this order, so that no recording belongs to a session that the control plane never heard of.
	if err := s.gateway.Control.Begin(ctx, s.Session); err != nil {
		if brevet.KindOf(err) == brevet.Refused {
			return err
		}
		return away(err)
	}
	if s.Recorded {
		if err := s.record(ctx, use.Terminal); err != nil {
			return err
		}
	}
	return context.Cause(s.ctx)
}

// away is the sentence for a person who meets a control plane that does not answer.
func away(err error) error {
	return brevet.Errorf(brevet.Unavailable, "the control plane does not answer, so nothing new can begin").
		WithHint("sessions that are open go on; try again later").Because(err)
}

func (s *Session) record(ctx context.Context, t record.Terminal) error {
	if s.gateway.Recorder == nil {
		return brevet.Errorf(brevet.Unavailable, "role %s must be recorded, and this gateway cannot record", s.admission.Role.Name)
	}
	w, err := s.gateway.Recorder.Begin(ctx, s.Session, t)
	if err != nil {
		return brevet.Errorf(brevet.Unavailable, "this session must be recorded, and the recording could not begin").
			WithHint("try again later; the gateway's log says why").Because(err)
	}
	s.writer = w
	go s.watchRecording()
	return nil
}

// watchRecording ends the session when its recording can no longer be written: it is never
// silently unrecorded. It ends with the writer, so at the latest when Finish closes that.
func (s *Session) watchRecording() {
	<-s.writer.Done()
	if err := s.writer.Err(); err != nil {
		s.gateway.Log.ErrorContext(s.ctx, "recording failed", "session", s.ID, "error", err)
		s.cancel(brevet.Errorf(brevet.Unavailable, "this session must be recorded, and the recording can no longer be written").
			WithHint("connect again later").Because(err))
	}
}

// Output passes on what the target sent, before the person sees it.
func (s *Session) Output(stream record.Stream, p []byte) error {
	s.Touch()
	if s.writer != nil {
		if err := s.writer.Output(stream, p); err != nil {
			return err
		}
	}
	s.hub.Output(stream, p)
	return nil
}

// NoTerminal tells that the target gave none though the person asked for one: what is sent is input
// then, and recorded. To be called before any byte flows.
func (s *Session) NoTerminal() { s.terminal = false }

// Input passes on what the person sent, before the target sees it. What is typed at a terminal
// is not recorded, since it holds passwords.
func (s *Session) Input(p []byte) error {
	s.Touch()
	if s.writer == nil || s.terminal {
		return nil
	}
	return s.writer.Output(record.Stdin, p)
}

// Resize passes on a new size of the terminal.
func (s *Session) Resize(columns, rows int) error {
	s.hub.Resize(columns, rows)
	if s.writer == nil {
		return nil
	}
	return s.writer.Resize(columns, rows)
}

// Env passes on a variable that the person set and the role allows.
func (s *Session) Env(name, value string) error {
	if s.writer == nil {
		return nil
	}
	return s.writer.Env(name, value)
}

// Exit passes on the status with which the command ended.
func (s *Session) Exit(status uint32) error {
	if s.writer == nil {
		return nil
	}
	return s.writer.Exit(status)
}

// Signal passes on the signal that ended the command, as in "TERM".
func (s *Session) Signal(name string) error {
	if s.writer == nil {
		return nil
	}
	return s.writer.Signal(name)
}

// Context ends when the session must; context.Cause is the sentence for the person.
func (s *Session) Context() context.Context { return s.ctx }

// Admission is what the session was begun with.
func (s *Session) Admission() Admission { return s.admission }

// Touch tells that something happened, for the idle time-out.
func (s *Session) Touch() { s.active.Store(int64(time.Since(s.epoch))) }

func (s *Session) idleFor(now time.Time) time.Duration {
	return now.Sub(s.epoch) - time.Duration(s.active.Load())
}

// Closed tells that no byte flows any more: what a revocation waits for and measures.
func (s *Session) Closed() { s.closing.Do(func() { close(s.closed) }) }

// Finish completes the recording and reports the end. why is used unless the gateway ended
// the session itself. To be called once, after Closed.
func (s *Session) Finish(why string) {
	s.Closed()
	if cause := context.Cause(s.ctx); cause != nil {
		why, _ = brevet.MessageOf(cause)
	}
	s.cancel(nil)
	s.hub.Close()
	over := s.Session
	over.EndedAt, over.EndReason = time.Now(), why
	if s.writer != nil {
		if err := s.writer.Close(why); err != nil {
			s.gateway.Log.ErrorContext(s.ctx, "recording not completed", "session", s.ID, "error", err)
		}
		over.Recording = s.writer.State()
	}
	s.gateway.forget(s, over)
}

// forget takes the session out of the live ones and reports how it ended. What others list of a live one
// is never changed.
func (g *Gateway) forget(s *Session, over brevet.Session) {
	g.mu.Lock()
	delete(g.sessions, s.ID)
	g.mu.Unlock()
	g.report(func(ctx context.Context) error { return g.Control.End(ctx, over) })
	close(s.finished)
}
