package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/fault"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// Roster returns the statements of the roster chain after the number, in order, and the revocations
// of people and keys that stand behind that statement in the log: without these nobody can verify
// a reinstatement, nor know who is suspended. They are public to whoever reaches the server: each
// is verified from the pinned root.
func (s *Spine) Roster(ctx context.Context, after int64) ([][]byte, error) {
	v, q := s.view(), s.Store.Query(ctx)
	var found []store.Entry
	begin := int64(0) // behind that statement
	for from := int64(0); ; {
		entries, err := q.Statements(rosterKinds, from, page)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if from = e.Index + 1; e.Index >= v.size {
				continue // not looked at yet
			}
			if after--; after < 0 {
				found = append(found, e)
			} else {
				begin = from
			}
		}
		if len(entries) < page {
			break
		}
	}
	revocations, err := standing(q, v.State, begin, v.size)
	if err != nil {
		return nil, err
	}
	found = append(found, revocations...)
	slices.SortFunc(found, func(a, b store.Entry) int { return cmp.Compare(a.Index, b.Index) })
	statements := make([][]byte, len(found))
	for i, e := range found {
		statements[i] = e.Statement
	}
	return statements, nil
}

// People lists everybody of the roster, for those who administer, audit or answer for anybody:
// whoever may see requests of others must know whose they are. Everybody else sees themselves.
func (s *Spine) People(ctx context.Context, by brevet.Caller) ([]PersonView, error) {
	v := s.view()
	all := v.audits(by) || v.administers(by, policy.SystemPeople) == nil
	var views []PersonView
	for _, id := range v.Roster.People() {
		if all || id == by.Person {
			views = append(views, v.person(id))
		}
	}
	return views, nil
}

// Person returns one of them.
func (s *Spine) Person(ctx context.Context, by brevet.Caller, id brevet.PersonID) (PersonView, error) {
	v := s.view()
	_, there := v.Roster.Identity(id)
	if !there || id != by.Person && !v.audits(by) && v.administers(by, policy.SystemPeople) != nil {
		return PersonView{}, hidden("person", string(id))
	}
	return v.person(id), nil
}

func (v view) person(id brevet.PersonID) PersonView {
	kind, _ := v.Roster.Identity(id)
	suspension, _ := v.Suspended(id, v.size)
	view := PersonView{
		ID: id, Kind: kind, Owner: v.Roster.Owner(id, v.size), Groups: v.groupsOf(id),
		Suspension: string(suspension), Founder: v.Roster.Founder(id),
	}
	for _, k := range v.Roster.KeysOf(id) {
		key := KeyView{
			Fingerprint: k.Fingerprint, Public: k.Public.Public, Retired: k.Retired < v.size,
			From: time.UnixMicro(k.From).UTC(), Until: time.UnixMicro(k.Until).UTC(),
		}
		for _, use := range k.Uses {
			key.Uses = append(key.Uses, string(use))
		}
		view.Keys = append(view.Keys, key)
	}
	return view
}

// Machines lists the machines of the roster. How busy they are, and when they were last heard of, is for
// those who administer or audit.
func (s *Spine) Machines(ctx context.Context, by brevet.Caller) ([]MachineView, error) {
	v := s.view()
	q := s.Store.Query(ctx)
	beats, err := q.Heartbeats()
	if err != nil {
		return nil, err
	}
	live, err := q.CountLiveBy()
	if err != nil {
		return nil, err
	}
	seen := map[brevet.MachineID]store.Heartbeat{}
	for _, b := range beats {
		seen[b.Machine] = b
	}
	connected := s.Hub.Connected()
	inside := v.inside(by)
	var views []MachineView
	for _, use := range []statement.MachineUse{statement.MachineGateway, statement.MachineIssuer, statement.MachineLog, statement.MachineRecorder} {
		for _, m := range v.Roster.Machines(use, v.size) {
			view := MachineView{ID: m.Name, Use: string(m.Use)}
			if _, view.Connected = connected[m.Name]; inside {
				view.SeenAt, view.Sessions = seen[m.Name].At, live[m.Name]
			}
			views = append(views, view)
		}
	}
	return views, nil
}

// tries is how often a statement of a chain is tried when another one got ahead of it.
const tries = 3

// AppendRoster takes in a statement of the roster chain. Its signatures are the right to it,
// whoever hands it in.
func (s *Spine) AppendRoster(ctx context.Context, by brevet.Caller, raw []byte) (id string, number int64, err error) {
	envelope, err := statement.Parse(raw)
	if err != nil {
		return "", 0, err
	}
	kind, err := envelope.Kind()
	if err != nil {
		return "", 0, err
	}
	if !isRoster(kind) {
		return "", 0, brevet.Errorf(brevet.Invalid, "a %s statement is not one of the roster", kind)
	}
	v := s.view()
	if v.Roster.Knows(envelope.ID()) {
		_, number := v.Roster.Head()
		return string(envelope.ID()), number, nil // handed in before
	}
	payload, err := statement.OpenAny(envelope)
	if err != nil {
		return "", 0, err
	}
	tell := func(before, after view) brevet.Event {
		event := s.rosterEvent(by, payload, envelope.ID(), before, after)
		event.Statement = raw
		return event
	}
	commit, err := s.append(ctx, envelope, nil, tell, func(t *store.Tx) error {
		enrol, _ := payload.(statement.Enrol) // others have no codes
		for _, one := range enrol.Enrolments {
			if err := closeInvitation(t, one.Code, envelope.ID(), v.now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", 0, err
	}
	if err := s.await(ctx, commit.Size); err != nil {
		return "", 0, err
	}
	s.reviewNow(ctx, by)
	_, number = s.view().Roster.Head()
	return string(envelope.ID()), number, nil
}

func isRoster(kind statement.Kind) bool {
	for _, k := range rosterKinds {
		if k == string(kind) {
			return true
		}
	}
	return false
}

// rosterEvent tells of a roster statement: who is concerned, and how they stood before and stand after it.
func (s *Spine) rosterEvent(by brevet.Caller, payload statement.Payload, id statement.ID, before, after view) brevet.Event {
	event := s.event(string(payload.StatementKind()), string(id), by, "")
	change := func(people ...brevet.PersonID) map[string]any {
		return map[string]any{"before": before.told(people), "after": after.told(people)}
	}
	switch p := payload.(type) {
	case statement.Enrol:
		var people []brevet.PersonID
		for _, e := range p.Enrolments {
			if !slices.Contains(people, e.Person) {
				people = append(people, e.Person)
			}
		}
		if len(people) == 1 {
			event.About = people[0]
		}
		event.Message, event.Detail = fmt.Sprintf("keys were enrolled for %s", joined(people)), change(people...)
	case statement.Retire:
		event.About, event.Message = p.Person, fmt.Sprintf("key %s of %s was retired: %s", p.Key, p.Person, p.Reason)
		event.Detail = change(p.Person)
	case statement.Reinstate:
		event.About, event.Message = p.Person, fmt.Sprintf("%s was reinstated: %s", p.Person, p.Reason)
		event.Detail = change(p.Person)
	case statement.Machine:
		was, _ := before.Roster.Machine(p.Name, before.size)
		event.Message = fmt.Sprintf("the %s %s is the organisation's own, with %d keys", p.Use, p.Name, len(p.Keys))
		event.Detail = map[string]any{"before": was, "after": p}
	case statement.Root:
		event.Message = fmt.Sprintf("the root has %d founders and a threshold of %d", len(p.Founders), p.Threshold)
		event.Detail = map[string]any{"before": before.Roster.Root(), "after": p}
	}
	return event
}

func joined(people []brevet.PersonID) string {
	var list []string
	for _, p := range people {
		list = append(list, string(p))
	}
	return strings.Join(list, ", ")
}

// toldPerson is somebody of the roster as events tell of them: short, since a statement may enrol two
// hundred and an event has room for 64 KiB.
type toldPerson struct {
	Person    brevet.PersonID `json:"person"`
	Owner     brevet.PersonID `json:"owner,omitempty"`
	Suspended string          `json:"suspended,omitempty"` // by which revocation
	Keys      []toldKey       `json:"keys"`
}

type toldKey struct {
	Key     string    `json:"key"` // fingerprint
	Uses    []string  `json:"uses"`
	Until   time.Time `json:"until"`
	Retired bool      `json:"retired,omitempty"`
}

// told returns those of the people who are in the roster.
func (v view) told(people []brevet.PersonID) []toldPerson {
	list := []toldPerson{}
	for _, id := range people {
		if _, there := v.Roster.Identity(id); there {
			list = append(list, v.person(id).told())
		}
	}
	return list
}

func (p PersonView) told() toldPerson {
	told := toldPerson{Person: p.ID, Owner: p.Owner, Suspended: p.Suspension, Keys: []toldKey{}}
	for _, k := range p.Keys {
		told.Keys = append(told.Keys, toldKey{Key: k.Fingerprint, Uses: k.Uses, Until: k.Until, Retired: k.Retired})
	}
	return told
}

// append puts a statement of a chain into the log, if it extends what is in force there at that
// very place. What does not extend it must never get in: nobody could follow the log past it.
// tell makes its event of what stands before and after it.
func (s *Spine) append(ctx context.Context, envelope statement.Envelope, manifests map[string][]byte, tell func(before, after view) brevet.Event, also func(*store.Tx) error) (store.Commit, error) {
	for try := 1; ; try++ {
		v := s.view()
		entry := proof.Pending(envelope, v.size)
		// The issuer goes by the latest time that it has seen: while the clock is put back, a statement that
		// is over by the log must not get in, since the issuer would not follow it.
		at, err := s.latest(ctx, v)
		if err != nil {
			return store.Commit{}, err
		}
		entry.NotBefore = at.UnixMicro()
		next, err := v.Extend(manifests, entry)
		if err != nil {
			return store.Commit{}, err
		}
		event := tell(v, view{next, v.size + 1, v.now})
		fault.Point("flow.append")
		commit, err := s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
			ahead, err := t.Statements(trusted, v.size, 1)
			if err != nil {
				return nil, err
			}
			if len(ahead) > 0 {
				return nil, errOvertaken
			}
			if err := also(t); err != nil {
				return nil, err
			}
			return []brevet.Event{event}, t.Enqueue(jobReview, allGrants, v.now.Add(lead))
		})
		fault.Point("flow.appended")
		if !errors.Is(err, errOvertaken) {
			return commit, err
		}
		if try == tries {
			return commit, brevet.Errorf(brevet.Conflict, "others changed roster, catalog or revocations meanwhile").WithHint("try again")
		}
		if err := s.await(ctx, s.Store.Size()); err != nil {
			return commit, err
		}
	}
}

// latest is the time of the view, or that of the last event in it while the clock is put back.
func (s *Spine) latest(ctx context.Context, v view) (time.Time, error) {
	last, err := s.Store.Query(ctx).Entry(v.size - 1)
	if err == nil && last.At.After(v.now) {
		return last.At, nil
	}
	return v.now, err
}
