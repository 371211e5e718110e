package flow

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/fault"
	"github.com/brevet-pim/brevet/flow/watch"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/store"
)

// BeginSession makes the beginning of a session of the calling gateway durable. Its grant must be
// live and give what the session uses. Told twice, it is one session.
func (s *Spine) BeginSession(ctx context.Context, by brevet.Caller, session brevet.Session) error {
	if err := checkSession(by, &session); err != nil {
		return err
	}
	v := s.view()
	event := s.event("session.started", string(session.ID), by, fmt.Sprintf("%s is on %s as %s", session.Person, session.Target, session.Login))
	event.Session, event.Grant, event.About = session.ID, session.Grant, session.Person
	event.Request = session.Grant.Request()
	event.Detail = map[string]any{"target": session.Target, "login": session.Login, "source": session.Source, "kind": session.Kind, "command": session.Command, "recorded": session.Recorded}
	fault.Point("flow.session.begin")
	_, err := s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		if there, err := t.Session(session.ID); err == nil && there.Machine == by.Machine && there.Grant == session.Grant && there.EndedAt.IsZero() {
			return nil, errOvertaken
		}
		g, err := t.Grant(session.Grant)
		if brevet.KindOf(err) == brevet.NotFound || err == nil && g.Holder != by.Machine {
			return nil, hidden("grant", string(session.Grant))
		}
		if err != nil {
			return nil, err
		}
		if err := v.admits(g, session); err != nil {
			return nil, err
		}
		return []brevet.Event{event}, t.AddSession(session)
	})
	fault.Point("flow.session.begun")
	if errors.Is(err, errOvertaken) {
		return nil
	}
	return err
}

// maxCommand bounds what is kept of the command of a session; its recording has the whole.
const maxCommand = 1024

// checkSession refuses what a gateway may not say of a session, and cuts what is too long.
func checkSession(by brevet.Caller, session *brevet.Session) error {
	if _, err := brevet.ParseSessionID(string(session.ID)); err != nil {
		return err
	}
	if session.Machine != by.Machine || session.Kind != "shell" && session.Kind != "exec" || session.StartedAt.IsZero() {
		return brevet.Errorf(brevet.Invalid, "the session is of another gateway, of no kind, or began at no time")
	}
	if _, err := netip.ParseAddr(session.Source); err != nil && session.Source != "" {
		return brevet.Errorf(brevet.Invalid, "source: %s is not an address", brevet.Quote(session.Source[:min(len(session.Source), 40)]))
	}
	session.Command = commandOf(session.Command)
	session.EndedAt, session.EndReason, session.Recording = time.Time{}, "", brevet.RecordingState{}
	return nil
}

// commandOf returns what is kept of a command. Whoever begins a session writes it, so it may be cut
// within a character, or hold bytes that neither lists nor databases take.
func commandOf(command string) string {
	kept := strings.ToValidUTF8(command[:min(len(command), maxCommand)], "")
	if len(command) > maxCommand {
		kept += "…"
	}
	return strings.ReplaceAll(kept, "\x00", "")
}

// admits says whether the grant, which is for this gateway, gives what the session uses, as things stand.
func (v view) admits(g brevet.Grant, session brevet.Session) error {
	_, suspended := v.Suspended(session.Person, v.size)
	recorded := session.Recorded
	if compiled, err := v.Catalog.InForce(); err == nil && !recorded {
		role, _, ok := compiled.Role(g.Role)
		recorded = ok && role.Recording == brevet.RecordingOff
	}
	switch {
	case g.EndReason != "": // says more than that it is over; and who is suspended is not told to ask again
		return brevet.Errorf(brevet.Refused, "%s is %s: %s", g.ID, g.State, g.EndReason)
	case g.State != brevet.Live || !g.To.After(v.now):
		return brevet.Errorf(brevet.Refused, "%s is %s", g.ID, g.State).WithHint("ask again")
	case g.Person != session.Person:
		return brevet.Errorf(brevet.Refused, "%s is not %s's", g.ID, session.Person)
	case !slices.Contains(g.Targets, session.Target) || !slices.Contains(g.Logins, session.Login):
		return brevet.Errorf(brevet.Refused, "%s does not give %s on %s", g.ID, session.Login, session.Target)
	case suspended:
		return brevet.Errorf(brevet.Refused, "%s is suspended", session.Person)
	case !recorded:
		return brevet.Errorf(brevet.Refused, "sessions of %s must be recorded, and this one is not", g.Role)
	}
	return nil
}

// EndSession makes the end of a session of the calling gateway durable. It may be told again.
func (s *Spine) EndSession(ctx context.Context, by brevet.Caller, ended brevet.Session) error {
	session, err := s.own(ctx, by, ended.ID)
	if brevet.KindOf(err) == brevet.NotFound && err != nil {
		s.rowGone(ctx, by, ended)
	}
	if err != nil || !session.EndedAt.IsZero() {
		return err
	}
	if now := s.Clock(); ended.EndedAt.Before(session.StartedAt) || ended.EndedAt.After(now.Add(clockSlack)) {
		ended.EndedAt = now // nobody else says when it ended
	}
	return s.endSession(ctx, by, session, ended.EndedAt, ended.EndReason)
}

// rowGone tells, once, that a session ended of whose beginning the log knows, and the database does not.
func (s *Spine) rowGone(ctx context.Context, by brevet.Caller, ended brevet.Session) {
	started, err := s.Store.Query(ctx).Search(store.Filter{Kind: "session.started", Session: ended.ID, Limit: 1})
	if err != nil || len(started) == 0 || started[0].Actor != string(by.Machine) {
		return // there was none
	}
	first := started[0]
	event := s.failure("log.mismatch", "", s.self(), fmt.Sprintf("%s of %s ended, which event %d of the log began, and its row is gone", ended.ID, first.About, first.Index))
	event.Session, event.Grant, event.Request, event.About = ended.ID, first.Grant, first.Request, first.About
	event.Detail = map[string]any{"ended": ended.EndedAt, "reason": ended.EndReason, "machine": by.Machine}
	s.tellOnce(ctx, store.Filter{Session: ended.ID}, event)
}

// endSession writes the end of a session, and what else there is to tell of it.
func (s *Spine) endSession(ctx context.Context, by brevet.Caller, session brevet.Session, at time.Time, reason string, more ...brevet.Event) error {
	event := s.event("session.ended", string(session.ID), by, fmt.Sprintf("%s is no longer on %s: %s", session.Person, session.Target, reason))
	event.Session, event.Grant, event.Request, event.About = session.ID, session.Grant, session.Grant.Request(), session.Person
	event.Detail = map[string]any{"reason": reason, "seconds": int64(at.Sub(session.StartedAt).Seconds())}
	fault.Point("flow.session.end")
	_, err := s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		return append([]brevet.Event{event}, more...), t.EndSession(session.ID, at, reason)
	})
	s.Hub.End(session.ID, reason)
	if brevet.KindOf(err) == brevet.Conflict {
		return nil // told before
	}
	return err
}

// own returns a session of the calling gateway.
func (s *Spine) own(ctx context.Context, by brevet.Caller, id brevet.SessionID) (brevet.Session, error) {
	session, err := s.Store.Query(ctx).Session(id)
	if brevet.KindOf(err) == brevet.NotFound || err == nil && session.Machine != by.Machine {
		return brevet.Session{}, hidden("session", string(id))
	}
	return session, err
}

// Refusal is something that a gateway did not let through.
type Refusal struct {
	What       string // "login", "direct-tcpip", "host-key" …
	Why        string // the sentence that the person saw
	Person     brevet.PersonID
	Grant      brevet.GrantID
	Target     brevet.TargetID
	Login      string
	Key        string
	Source     string
	At         time.Time
	Unreported int // how many like it came before and were not reported one by one
}

// ReportRefusal makes an event of what the calling gateway refused.
func (s *Spine) ReportRefusal(ctx context.Context, by brevet.Caller, r Refusal) error {
	event := s.failure("session.refused", "", by, r.Why)
	event.Subject, event.About = string(event.ID), r.Person
	if g, err := brevet.ParseGrantID(string(r.Grant)); err == nil {
		event.Grant, event.Request = g, g.Request()
	}
	event.Detail = map[string]any{
		"what": r.What, "target": r.Target, "login": r.Login, "key": r.Key, "source": r.Source,
		"at": r.At.UTC().Format(time.RFC3339Nano), "unreported": r.Unreported,
	}
	_, err := s.Store.Change(ctx, func(*store.Tx) ([]brevet.Event, error) { return []brevet.Event{event}, nil })
	return err
}

// WatchSession begins to watch a live session; the caller reads the Watcher and closes it, by the end
// of ctx at the latest. That somebody watches is an event before they see anything. Who may not any
// more sees no more.
func (s *Spine) WatchSession(ctx context.Context, by brevet.Caller, id string) (*watch.Watcher, error) {
	session, g, err := s.actOn(ctx, by, id, brevet.ActJoin)
	if err != nil {
		return nil, err
	}
	if !session.EndedAt.IsZero() {
		return nil, brevet.Errorf(brevet.Conflict, "%s ended at %s", session.ID, session.EndedAt.Format(time.RFC3339)).
			WithHint("play its recording: brevet sessions play %s", session.ID)
	}
	event := s.onSession(s.event("session.watched", string(session.ID), by, fmt.Sprintf("%s watches %s on %s", by.Person, session.Person, session.Target)), session, g)
	if _, err := s.Store.Change(ctx, func(*store.Tx) ([]brevet.Event, error) { return []brevet.Event{event}, nil }); err != nil {
		return nil, err
	}
	w, err := s.Hub.Watch(session, by.Person)
	if err == nil {
		go s.guard(ctx, w, by, onGrant(brevet.ActJoin, g, session.Target))
	}
	return w, err
}

// guard stops the watcher when roster or catalog have changed so that they may not watch any more. It
// ends with ctx.
func (s *Spine) guard(ctx context.Context, w *watch.Watcher, by brevet.Caller, asked policy.Question) {
	var judged view
	for {
		s.mu.Lock()
		moved := s.moved
		s.mu.Unlock()
		if v := s.view(); judged.State == nil || v.Roster != judged.Roster || v.Catalog != judged.Catalog {
			judged = v
			if err := v.may(by, asked); err != nil {
				message, _ := brevet.MessageOf(err)
				w.Stop(message)
				return
			}
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

// actOn finds a session that the caller may see and act on.
func (s *Spine) actOn(ctx context.Context, by brevet.Caller, id string, action brevet.Action) (brevet.Session, brevet.Grant, error) {
	v := s.view()
	session, g, err := s.findSession(s.Store.Query(ctx), v, by, id)
	if err != nil {
		return session, g, err
	}
	return session, g, v.may(by, onGrant(action, g, session.Target))
}

func (s *Spine) onSession(e brevet.Event, session brevet.Session, g brevet.Grant) brevet.Event {
	e.Session, e.Grant, e.Request, e.About = session.ID, g.ID, g.Request, session.Person
	return e
}

// KillSession has one session ended; its grant stays. Everybody may end their own. Of one that is to
// end already, the first reason stays, and nothing more is told. With wait it returns once the gateway has said
// that it ended, or the time is over.
func (s *Spine) KillSession(ctx context.Context, by brevet.Caller, id, reason string, wait time.Duration) (SessionView, error) {
	v := s.view()
	session, g, err := s.findSession(s.Store.Query(ctx), v, by, id)
	if err != nil {
		return SessionView{}, err
	}
	if session.Person != by.Person {
		if err := v.may(by, onGrant(brevet.ActRevoke, g, session.Target)); err != nil {
			return SessionView{}, err
		}
	}
	if len(reason) > maxReason {
		return SessionView{}, brevet.Errorf(brevet.Invalid, "reason: longer than %d bytes", maxReason)
	}
	if err := brevet.CheckText("reason", reason, false); err != nil {
		return SessionView{}, err
	}
	why := fmt.Sprintf("%s ended this session", by.Person)
	if reason != "" {
		why += ": " + reason
	}
	event := s.onSession(s.event("session.killed", string(session.ID), by, why), session, g)
	_, err = s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		if session, err = t.Session(session.ID); err != nil {
			return nil, err
		}
		if session.EndedAt.IsZero() && session.EndReason != "" {
			return nil, errOvertaken // its gateway is at it
		}
		session.EndReason = why
		return []brevet.Event{event}, t.AskEnd(session.ID, why)
	})
	if err != nil && !errors.Is(err, errOvertaken) {
		return SessionView{}, err
	}
	s.Hub.Wake(session.Machine)
	patient, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err = s.waitFor(patient, g.Request, func(q *store.Query) (bool, error) {
		now, err := s.Store.Query(ctx).Session(session.ID)
		if err == nil {
			session = now
		}
		return !session.EndedAt.IsZero() || wait <= 0, err
	})
	if err != nil && (patient.Err() == nil || ctx.Err() != nil) {
		return SessionView{}, err
	}
	return s.sessionView(session, g.To), nil
}

// maxReason bounds a reason, in bytes.
const maxReason = 500
