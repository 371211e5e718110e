package flow

import (
	"context"
	"slices"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/store"
)

// viewOf tells how a request stands.
func (s *Spine) viewOf(ctx context.Context, r brevet.Request) (RequestView, error) {
	return s.requestView(s.Store.Query(ctx), s.view(), r)
}

func (s *Spine) requestView(q *store.Query, v view, r brevet.Request) (RequestView, error) {
	approvals, err := q.Approvals(r.ID)
	if err != nil {
		return RequestView{Request: r}, err
	}
	entry, err := q.AskedBy(r.ID, r.Statement)
	if err != nil && brevet.KindOf(err) != brevet.NotFound { // retention may have erased it
		return RequestView{Request: r}, err
	}
	var g brevet.Grant
	if r.State == brevet.Granted {
		if g, err = q.Grant(r.ID.Grant()); err != nil {
			return RequestView{Request: r}, err
		}
	}
	return v.request(r, approvals, entry.Statement, g), nil
}

// request tells how a request stands of which all is at hand. g is zero while there is no grant.
func (v view) request(r brevet.Request, approvals []brevet.Approval, envelope []byte, g brevet.Grant) RequestView {
	view := RequestView{
		Request: r, Approvals: approvals, Envelope: envelope, Grant: g.ID, GrantState: g.State,
		Sensitivity: brevet.Critical, Recorded: true,
	}
	if compiled, err := v.Catalog.InForce(); err == nil {
		if role, _, ok := compiled.Role(r.Role); ok {
			view.Sensitivity, view.Recorded = role.Sensitivity, role.Recording == brevet.RecordingRequired
			for _, id := range r.Targets {
				if target, ok := compiled.Target(id); ok && target.Sensitivity.AtLeast(view.Sensitivity) {
					view.Sensitivity = target.Sensitivity
				}
			}
		}
	}
	if r.Decision.Outcome == brevet.Ask {
		view.Stages = v.stages(r, view.Approvals)
	}
	view.Sentence = view.sentence()
	return view
}

// stages tells who must agree to a request, or to one that nobody has made yet; who has, and who could.
func (v view) stages(r brevet.Request, answers []brevet.Approval) []StageView {
	compiled, err := v.Catalog.InForce()
	if err != nil {
		return nil
	}
	set := compiled.Policy.WithPeople(v.InForce(v.size))
	role, _, _ := compiled.Role(r.Role)
	views := make([]StageView, len(r.Decision.Stages))
	for i, stage := range r.Decision.Stages {
		views[i] = StageView{Stage: stage}
		for _, a := range answers {
			if a.Agreed && a.Stage == i {
				views[i].ApprovedBy = append(views[i].ApprovedBy, a.By)
			}
		}
		if r.State != brevet.Waiting && r.State != "" { // nobody could agree any more
			continue
		}
		for _, person := range v.members(stage.Group) {
			answered := slices.ContainsFunc(answers, func(a brevet.Approval) bool { return a.Agreed && a.By == person })
			if !answered && v.couldApprove(set, person, r, stage.Group, role.Asks.ApproverPresence) {
				views[i].MayApprove = append(views[i].MayApprove, person)
			}
		}
	}
	return views
}

// couldApprove reports whether the person could agree by a key that they have: one in a file does not show
// the touch that a role may ask for. That a security key asks for a PIN is not known before it signs.
func (v view) couldApprove(set *policy.Set, person brevet.PersonID, r brevet.Request, group brevet.GroupName, shows brevet.Presence) bool {
	if !v.canApprove(person, shows) {
		return false
	}
	allowed, _ := set.May(policy.Question{
		Person: person, Action: brevet.ActApprove, Via: brevet.ViaCLI, Presence: brevet.VerifiedPresence, Now: v.now,
		Of: r.Person, Role: r.Role, Targets: r.Targets, Group: group, Logins: r.Logins, Duration: r.Duration, Reason: r.Reason, Ticket: r.Ticket,
	})
	return allowed && v.Roster.Owner(r.Person, v.size) != person
}

// members returns who is in the group, sorted.
func (v view) members(group brevet.GroupName) []brevet.PersonID {
	compiled, err := v.Catalog.InForce()
	if err != nil {
		return nil
	}
	for _, g := range compiled.Catalog.Groups {
		if g.Name == group {
			return g.Members
		}
	}
	return nil
}

// sentence says how the request stands, to whoever waits for it.
func (v RequestView) sentence() string {
	switch v.State {
	case brevet.Asked:
		return "the request is being decided"
	case brevet.Waiting:
		return "waiting for " + needs(v.Decision, v.missing())
	case brevet.Ready:
		return "agreed; the issuer is next"
	case brevet.Granted:
		switch v.GrantState {
		case brevet.Issuing:
			return "agreed; the certificate is being made"
		case brevet.Live:
			return "granted"
		}
		return "granted, and over again"
	case brevet.Lapsed:
		return "the request lapsed: " + v.Why
	case brevet.Cancelled:
		return "the request was cancelled: " + v.Why
	}
	return v.Why
}

// missing returns the stages that are not complete, with what they lack.
func (v RequestView) missing() []StageView {
	var list []StageView
	for _, stage := range v.Stages {
		if stage.Count -= len(stage.ApprovedBy); stage.Count > 0 {
			list = append(list, stage)
		}
	}
	return list
}

func (s *Spine) grantView(q *store.Query, id brevet.GrantID) (GrantView, error) {
	g, err := q.Grant(id)
	if err != nil {
		return GrantView{}, err
	}
	view := GrantView{Grant: g}
	confirmations, err := q.Confirmations(id)
	for _, c := range confirmations {
		view.Confirmations = append(view.Confirmations, Confirmation{Machine: c.Machine, At: c.At, Took: c.At.Sub(g.EndedAt)})
	}
	return view, err
}

// Request returns a request by its id or a unique ending of it.
func (s *Spine) Request(ctx context.Context, by brevet.Caller, id string) (RequestView, error) {
	q, v := s.Store.Query(ctx), s.view()
	r, err := s.findRequest(q, v, by, id)
	if err != nil {
		return RequestView{}, err
	}
	return s.requestView(q, v, r)
}

// RequestWant says which requests a list is to have.
type RequestWant struct {
	ForMe  bool // those that the caller can answer
	Mine   bool
	States []brevet.RequestState
	Page   store.Page
}

// Requests lists the requests that the caller may see, newest first. next is where the next page begins, or "".
func (s *Spine) Requests(ctx context.Context, by brevet.Caller, want RequestWant) (views []RequestView, next string, err error) {
	v := s.view()
	f := store.RequestFilter{States: want.States, Newest: true, Page: want.Page}
	switch {
	case want.ForMe:
		if f.Groups = v.groupsOf(by.Person); len(f.Groups) == 0 {
			return nil, "", nil
		}
	case want.Mine:
		f.Person = by.Person
	}
	err = s.Store.Read(ctx, func(q *store.Query) (err error) {
		views, next, err = shown(want.Page, func(p store.Page) ([]brevet.Request, error) {
			f.Page = p
			return q.Requests(f)
		}, func(r brevet.Request) string { return string(r.ID) }, func(r brevet.Request) (view RequestView, show bool, err error) {
			if !v.seesRequest(by, r) || want.ForMe && r.Person == by.Person {
				return view, false, nil
			}
			view, err = s.requestView(q, v, r)
			return view, true, err
		})
		return err
	})
	return views, next, err
}

// WatchRequest calls tell with the request now and at each change, until it is settled or the caller
// may not see it any more.
func (s *Spine) WatchRequest(ctx context.Context, by brevet.Caller, id string, tell func(RequestView, GrantView) error) error {
	r, err := s.findRequest(s.Store.Query(ctx), s.view(), by, id)
	if err != nil {
		return err
	}
	var told struct {
		request int64
		grant   brevet.GrantState
	}
	return s.waitFor(ctx, r.ID, func(q *store.Query) (bool, error) {
		now, err := q.Request(r.ID)
		if err != nil {
			return false, err
		}
		v := s.view()
		if !v.seesRequest(by, now) {
			return false, hidden("request", id)
		}
		view, err := s.requestView(q, v, now)
		if err != nil {
			return false, err
		}
		if view.Version == told.request && view.GrantState == told.grant {
			return false, nil
		}
		told.request, told.grant = view.Version, view.GrantState
		var grant GrantView
		if view.Grant != "" {
			if grant, err = s.grantView(q, view.Grant); err != nil {
				return false, err
			}
		}
		return view.Settled(), tell(view, grant)
	})
}

// FollowRequest is WatchRequest for the gateway that the request's credential is for.
func (s *Spine) FollowRequest(ctx context.Context, by brevet.Caller, id string, tell func(RequestView) error) error {
	return s.WatchRequest(ctx, by, id, func(r RequestView, _ GrantView) error { return tell(r) })
}

// Story tells what happened to a request, in order: of its sessions, those that the caller may know of.
func (s *Spine) Story(ctx context.Context, by brevet.Caller, id string) (Story, error) {
	q, v := s.Store.Query(ctx), s.view()
	r, err := s.findRequest(q, v, by, id)
	if brevet.KindOf(err) == brevet.NotFound { // a grant's id ends as its request's does
		var g brevet.Grant
		if g, err = s.findGrant(q, v, by, id); err == nil {
			r, err = s.findRequest(q, v, by, string(g.Request))
		} else if brevet.KindOf(err) == brevet.NotFound {
			err = hidden("request", id)
		}
	}
	if err != nil {
		return Story{}, err
	}
	var story Story
	seen := map[brevet.SessionID]bool{}
	if story.Request, err = s.requestView(q, v, r); err != nil {
		return story, err
	}
	if story.Request.Grant != "" {
		if story.Grant, err = s.grantView(q, story.Request.Grant); err != nil {
			return story, err
		}
		sessions, err := sessionsOf(q, store.SessionFilter{Grant: story.Request.Grant})
		if err != nil {
			return story, err
		}
		for _, session := range sessions {
			if seen[session.ID] = v.seesSession(by, session, story.Grant.Grant); seen[session.ID] {
				story.Sessions = append(story.Sessions, s.sessionView(session, story.Grant.To))
			}
		}
	}
	entries, err := eventsOf(q, store.Filter{Request: r.ID})
	if err != nil {
		return story, err
	}
	for _, e := range entries {
		if e.Session == "" || seen[e.Session] {
			story.Events = append(story.Events, eventView(e))
		}
	}
	return story, nil
}

// GrantWant says which grants a list is to have.
type GrantWant struct {
	States []brevet.GrantState
	Person brevet.PersonID
	Page   store.Page
}

// Grants lists the grants that the caller may see, newest first.
func (s *Spine) Grants(ctx context.Context, by brevet.Caller, want GrantWant) (views []GrantView, next string, err error) {
	v := s.view()
	f := store.GrantFilter{States: want.States, Person: want.Person, Newest: true, Page: want.Page}
	err = s.Store.Read(ctx, func(q *store.Query) (err error) {
		views, next, err = shown(want.Page, func(p store.Page) ([]brevet.Grant, error) {
			f.Page = p
			return q.Grants(f)
		}, func(g brevet.Grant) string { return string(g.ID) }, func(g brevet.Grant) (view GrantView, show bool, err error) {
			r, err := q.Request(g.Request)
			if err != nil || !v.seesRequest(by, r) {
				return view, false, err
			}
			view, err = s.grantView(q, g.ID)
			return view, true, err
		})
		return err
	})
	return views, next, err
}

// SessionWant says which sessions a list is to have.
type SessionWant struct {
	Live   bool
	Grant  string // its id or a unique ending
	Person brevet.PersonID
	Target brevet.TargetID
	Page   store.Page
}

// Sessions lists the sessions that the caller may see, newest first.
func (s *Spine) Sessions(ctx context.Context, by brevet.Caller, want SessionWant) (views []SessionView, next string, err error) {
	v := s.view()
	f := store.SessionFilter{Live: want.Live, Person: want.Person, Target: want.Target, Newest: true, Page: want.Page}
	if want.Grant != "" {
		g, err := s.findGrant(s.Store.Query(ctx), v, by, want.Grant)
		if err != nil {
			return nil, "", err
		}
		f.Grant = g.ID
	}
	err = s.Store.Read(ctx, func(q *store.Query) (err error) {
		views, next, err = shown(want.Page, func(p store.Page) ([]brevet.Session, error) {
			f.Page = p
			return q.Sessions(f)
		}, func(session brevet.Session) string { return string(session.ID) }, func(session brevet.Session) (SessionView, bool, error) {
			g, err := q.Grant(session.Grant)
			if brevet.KindOf(err) == brevet.NotFound { // somebody took it out; that hides no session from who sees all
				g, err = brevet.Grant{ID: session.Grant, Person: session.Person}, nil
			}
			return s.sessionView(session, g.To), err == nil && v.seesSession(by, session, g), err
		})
		return err
	})
	return views, next, err
}

func (s *Spine) sessionView(session brevet.Session, to time.Time) SessionView {
	return SessionView{Session: session, GrantTo: to, Watchers: s.Hub.Watchers(session.Machine)[session.ID]}
}

// Roles tells what the caller could have of every role that concerns them, and why not.
func (s *Spine) Roles(ctx context.Context, by brevet.Caller) ([]RoleView, error) {
	v := s.view()
	compiled, err := v.Catalog.InForce()
	if err != nil {
		return nil, err
	}
	set := compiled.Policy.WithPeople(v.InForce(v.size))
	var views []RoleView
	for _, role := range compiled.Catalog.Roles {
		targets := set.TargetsOf(role.Name)
		ask := policy.Ask{Person: by.Person, Role: role.Name, Targets: targets, Via: by.Via, Now: v.now}
		if key, ok := v.Roster.Key(by.Key, v.size); ok {
			ask.Presence, ask.KeyAge = presenceOf(key), max(0, v.now.Sub(time.UnixMicro(key.At)))
		}
		decision := set.Preview(ask)
		if len(targets) == 0 {
			decision = brevet.Decision{Outcome: brevet.Refuse, Reasons: []string{"no target in the catalog has what this role chooses by"}}
		}
		view := v.roleView(role, targets, decision)
		view = v.withNeeds(view, by.Person)
		view.Holders = s.holders(v, targets)
		views = append(views, view)
	}
	return views, nil
}

// roleView is a role on targets, with the answer that asking for it would get.
func (v view) roleView(role brevet.Role, targets []brevet.TargetID, d brevet.Decision) RoleView {
	view := RoleView{Role: role, Targets: targets, Decision: d}
	if compiled, err := v.Catalog.InForce(); err == nil {
		_, view.Digest, _ = compiled.Role(role.Name)
	}
	return view
}

// withNeeds fills in who must agree for the person who would ask.
func (v view) withNeeds(view RoleView, person brevet.PersonID) RoleView {
	r := brevet.Request{
		Person: person, Role: view.Role.Name, Targets: view.Targets, Logins: view.Role.SSH.Logins,
		Duration: view.Role.Limits.Duration, Decision: view.Decision,
	}
	view.Needs = needs(view.Decision, v.stages(r, nil))
	return view
}
