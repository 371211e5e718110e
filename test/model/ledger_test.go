package model_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// ledger is the model: what one gets who reads the log from its first leaf, and holds each event against
// the rules as people would tell them. It knows nothing of rows, of proofs, or of Cedar.
type ledger struct {
	head      audit.Head
	at        time.Time // of the last event
	ids       map[brevet.EventID]bool
	stated    map[statement.ID]int // how often a statement stands there
	keys      map[string]*key      // by fingerprint
	suspended map[brevet.PersonID]statement.ID
	catalog   brevet.Catalog // in force
	catalogs  map[statement.ID]brevet.Catalog
	manifests func(digest string) ([]byte, error)

	requests map[brevet.RequestID]*request
	inOrder  []*request
	grants   map[brevet.GrantID]*grant
	given    []*grant // in order of their intents
	sessions map[brevet.SessionID]*session
	begun    []*session
	serials  map[string]bool
}

type key struct {
	person  brevet.PersonID
	uses    []statement.Use
	retired bool
}

type request struct {
	id        brevet.RequestID
	statement statement.ID
	raw       []byte
	said      statement.Request
	key       string // that signed it
	void      error  // why nothing may come of it where it stands in the log, if so
	state     brevet.RequestState
	yeses     []yes
	noes      int
}

// yes is an approval, and why it counts for nothing where it stands in the log, if so.
type yes struct {
	statement.Approval
	id   statement.ID
	void error
}

type grant struct {
	id       brevet.GrantID
	request  *request
	intent   statement.ID
	terms    statement.Terms
	state    brevet.GrantState
	said     *statement.Grant // once given
	revoked  bool
	confirms int
}

type session struct {
	id    brevet.SessionID
	grant *grant
	ended bool
}

func newLedger() *ledger {
	return &ledger{
		ids: map[brevet.EventID]bool{}, stated: map[statement.ID]int{}, keys: map[string]*key{}, suspended: map[brevet.PersonID]statement.ID{}, catalogs: map[statement.ID]brevet.Catalog{},
		requests: map[brevet.RequestID]*request{}, grants: map[brevet.GrantID]*grant{}, sessions: map[brevet.SessionID]*session{}, serials: map[string]bool{},
	}
}

// open returns the sessions that go on.
func (l *ledger) open() (ids []brevet.SessionID) {
	for _, s := range l.begun {
		if !s.ended {
			ids = append(ids, s.id)
		}
	}
	return ids
}

// read takes in what is new in the log, and returns the first thing that breaks a rule.
func (l *ledger) read(q *store.Query) error {
	l.manifests = q.Manifest
	for {
		entries, err := q.Entries(l.head.Size, store.MaxPage)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := l.take(e); err != nil {
				return fmt.Errorf("event %d, %s about %s: %w", e.Index, e.Kind, e.Subject, err)
			}
		}
		if len(entries) < store.MaxPage {
			return nil
		}
	}
}

// take holds one event against the rules.
func (l *ledger) take(e store.Entry) error {
	switch {
	case e.Index != l.head.Size:
		return fmt.Errorf("it stands at %d, and %d is next", e.Index, l.head.Size)
	case l.ids[e.ID]:
		return fmt.Errorf("its id was used before")
	case e.At.Before(l.at):
		return fmt.Errorf("time goes back from %s to %s", l.at, e.At)
	}
	l.ids[e.ID], l.at = true, e.At
	l.head, _ = l.head.Append(e.Leaf().Hash())
	if e.Statement != nil {
		return l.takeStatement(e)
	}
	return l.takeNews(e)
}

func (l *ledger) takeStatement(e store.Entry) error {
	envelope, err := statement.Parse(e.Statement)
	if err != nil {
		return err
	}
	if l.stated[envelope.ID()]++; l.stated[envelope.ID()] > 1 {
		return fmt.Errorf("the statement stands there before")
	}
	said, err := statement.OpenAny(envelope)
	if err != nil {
		return err
	}
	by := envelope.Signatures[0].Key
	switch said := said.(type) {
	case statement.Root:
		for _, f := range said.Founders {
			for _, k := range f.Keys {
				l.addKey(f.Person, k, statement.UseRequest, statement.UseApprove)
			}
		}
	case statement.Enrol:
		for _, one := range said.Enrolments {
			l.addKey(one.Person, one.Key, one.Uses...)
		}
	case statement.Retire:
		l.keys[said.Key].retired = true
	case statement.Reinstate:
		if l.suspended[said.Person] != said.Revocation {
			return fmt.Errorf("it lifts a suspension that is not in force")
		}
		delete(l.suspended, said.Person)
	case statement.Machine:
	case statement.Catalog:
		return l.takeCatalog(envelope.ID(), said)
	case statement.Revocation:
		return l.takeRevocation(envelope.ID(), said)
	case statement.Request:
		return l.takeRequest(e, envelope, said, by)
	case statement.Approval:
		return l.takeApproval(envelope.ID(), said, by)
	case statement.Intent:
		return l.takeIntent(e, envelope.ID(), said)
	case statement.Grant:
		return l.takeGrant(said)
	default:
		return fmt.Errorf("no rule for a %T", said)
	}
	return nil
}

func (l *ledger) addKey(person brevet.PersonID, k statement.Key, uses ...statement.Use) {
	if fingerprint, err := statement.Fingerprint(k); err == nil {
		l.keys[fingerprint] = &key{person: person, uses: uses}
	}
}

func (l *ledger) takeCatalog(id statement.ID, said statement.Catalog) error {
	manifest, err := l.manifests(said.Manifest)
	if err != nil {
		return err
	}
	l.catalog, err = catalog.Parse(manifest)
	l.catalogs[id] = l.catalog
	return err
}

func (l *ledger) takeRevocation(id statement.ID, said statement.Revocation) error {
	switch said.What {
	case statement.RevokePerson:
		person := brevet.PersonID(said.Subject)
		if said.By != "alice" || person == "alice" {
			return fmt.Errorf("%s suspended %s", said.By, person)
		}
		l.suspended[person] = id
	case statement.RevokeGrant:
		g := l.grants[brevet.GrantID(said.Subject)]
		noticed := said.By == string(prooftest.LogName) // that nothing supports it any more
		if g == nil || !noticed && said.By != "alice" && said.By != string(g.terms.Person) {
			return fmt.Errorf("%s revoked %s", said.By, said.Subject)
		}
		g.revoked = true
	case statement.RevokeRequest:
		r := l.byStatement(statement.ID(said.Subject))
		if r == nil {
			return fmt.Errorf("there is no such request")
		}
		r.noes++
	}
	return nil
}

func (l *ledger) byStatement(id statement.ID) *request {
	for _, r := range l.inOrder {
		if r.statement == id {
			return r
		}
	}
	return nil
}

func (l *ledger) takeRequest(e store.Entry, envelope statement.Envelope, said statement.Request, by string) error {
	r := &request{
		id: envelope.RequestID(said), statement: envelope.ID(), raw: e.Statement, said: said, key: by, state: brevet.Asked,
		void: l.mayAct(said.Person, by, statement.UseRequest),
	}
	if l.requests[r.id] != nil {
		return fmt.Errorf("there is a request with that id")
	}
	l.requests[r.id] = r
	l.inOrder = append(l.inOrder, r)
	return nil
}

// mayAct says why the person may not use the key now.
func (l *ledger) mayAct(person brevet.PersonID, fingerprint string, use statement.Use) error {
	k := l.keys[fingerprint]
	_, suspended := l.suspended[person]
	switch {
	case k == nil || k.person != person:
		return fmt.Errorf("it is not signed by %s", person)
	case k.retired:
		return fmt.Errorf("the key of %s was retired", person)
	case suspended:
		return fmt.Errorf("%s is suspended", person)
	case !slices.Contains(k.uses, use):
		return fmt.Errorf("the key of %s is not for %s", person, use)
	}
	return nil
}

func (l *ledger) takeApproval(id statement.ID, said statement.Approval, by string) error {
	r := l.byStatement(said.Request)
	if r == nil {
		return fmt.Errorf("there is no such request")
	}
	if r.state != brevet.Asked && r.state != brevet.Waiting {
		return fmt.Errorf("the request is %s", r.state)
	}
	r.yeses = append(r.yeses, yes{said, id, l.mayAct(said.By, by, statement.UseApprove)})
	return nil
}

// takeIntent checks that what will be given was agreed to, when it is made durable that it will be.
func (l *ledger) takeIntent(e store.Entry, id statement.ID, said statement.Intent) error {
	r := l.byStatement(said.Request)
	if r == nil || e.Subject != string(said.Request) {
		return fmt.Errorf("there is no such request")
	}
	if l.grants[r.id.Grant()] != nil {
		return fmt.Errorf("the request was spent before")
	}
	if r.void != nil {
		return fmt.Errorf("it rests on the request: %w", r.void)
	}
	if r.state == brevet.Asked && len(said.Approvals) == 0 {
		r.state = brevet.Ready // nobody need agree, which is no event of its own; else enough says so
	}
	if err := r.move(brevet.Granted); err != nil {
		return err
	}
	counted, err := r.counted(said.Approvals)
	if err != nil {
		return err
	}
	if err := enough(l.catalogs[said.Catalog], r.said, counted); err != nil {
		return err
	}
	if err := within(said.Terms, r.said.Terms, counted); err != nil {
		return err
	}
	g := &grant{id: r.id.Grant(), request: r, intent: id, terms: said.Terms, state: brevet.Issuing}
	l.grants[g.id] = g
	l.given = append(l.given, g)
	return nil
}

// counted returns the approvals of the request that are named, if they count and are of distinct
// people, none of them the requester.
func (r *request) counted(named []statement.ID) (counted []statement.Approval, err error) {
	people := map[brevet.PersonID]bool{r.said.Person: true}
	for _, id := range named {
		i := slices.IndexFunc(r.yeses, func(y yes) bool { return y.id == id })
		if i < 0 {
			return nil, fmt.Errorf("it rests on an approval that the log does not have before it")
		}
		y := r.yeses[i]
		switch {
		case y.void != nil:
			return nil, fmt.Errorf("it rests on the yes of %s: %w", y.By, y.void)
		case people[y.By]:
			return nil, fmt.Errorf("%s counts twice, or for themselves", y.By)
		}
		people[y.By] = true
		counted = append(counted, y.Approval)
	}
	return counted, nil
}

// enough checks that everybody has agreed whom the role needs in the catalog that the intent rests on.
func enough(c brevet.Catalog, asked statement.Request, counted []statement.Approval) error {
	role := roleOf(&c, asked.Role)
	if role == nil || !inGroup(c, "sre", asked.Person) {
		return fmt.Errorf("the catalog gives %s nothing for %s", asked.Role, asked.Person)
	}
	for i, stage := range role.Approval {
		n := 0
		for _, y := range counted {
			if int(y.Stage) == i && inGroup(c, stage.Group, y.By) {
				n++
			}
		}
		if n < stage.Count {
			return fmt.Errorf("%d of %d of %s have agreed", n, stage.Count, stage.Group)
		}
	}
	if !subset(asked.Logins, role.SSH.Logins) || asked.Duration > role.Limits.Duration {
		return fmt.Errorf("%s is asked for more than it gives", asked.Role)
	}
	return nil
}

// within checks that the terms are no wider than what was asked and what each has agreed to.
func within(given, asked statement.Terms, counted []statement.Approval) error {
	limits := []statement.Terms{asked}
	for _, yes := range counted {
		limits = append(limits, yes.Terms)
	}
	for _, most := range limits {
		if given.Person != most.Person || given.Role != most.Role || given.RoleDigest != most.RoleDigest || given.Holder != most.Holder || given.Duration > most.Duration ||
			!subset(given.Targets, most.Targets) || !subset(given.Logins, most.Logins) {
			return fmt.Errorf("the terms %+v are wider than %+v", given, most)
		}
	}
	return nil
}

func subset[T comparable](some, of []T) bool {
	return len(some) > 0 && !slices.ContainsFunc(some, func(one T) bool { return !slices.Contains(of, one) })
}

// takeGrant checks that what is given is what was intended, and that at this place of the log everybody
// whom it needs stands behind it.
func (l *ledger) takeGrant(said statement.Grant) error {
	g := l.grants[said.ID]
	switch {
	case g == nil || said.Intent != g.intent:
		return fmt.Errorf("it was not intended")
	case g.said != nil:
		return fmt.Errorf("it was given before")
	case g.revoked:
		return fmt.Errorf("it was revoked before it was given")
	case l.serials[said.Serial]:
		return fmt.Errorf("its serial number was used before")
	case said.To-said.From > g.terms.Duration.Duration().Microseconds():
		return fmt.Errorf("it is longer than its terms")
	}
	if err := within(said.Terms, g.terms, nil); err != nil {
		return err
	}
	if _, suspended := l.suspended[g.terms.Person]; suspended {
		return fmt.Errorf("%s is suspended", g.terms.Person)
	}
	if g.request.noes > 0 {
		return fmt.Errorf("somebody said no")
	}
	l.serials[said.Serial], g.said = true, &said
	return g.move(brevet.Live)
}

func (r *request) move(next brevet.RequestState) error {
	if !r.state.May(next) {
		return fmt.Errorf("the request goes from %s to %s", r.state, next)
	}
	r.state = next
	return nil
}

func (g *grant) move(next brevet.GrantState) error {
	if !g.state.May(next) {
		return fmt.Errorf("the grant goes from %s to %s", g.state, next)
	}
	g.state = next
	return nil
}
