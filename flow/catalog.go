package flow

import (
	"context"
	"fmt"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// CatalogView is the catalog in force, and the statement that put it there.
type CatalogView struct {
	Statement []byte
	Manifest  []byte
	ID        string
	Number    int64
}

// Catalog returns the catalog in force. Everybody who has signed in may read it: it says what they
// may ask for, and by what rules.
func (s *Spine) Catalog(ctx context.Context, _ brevet.Caller) (CatalogView, error) {
	id, number := s.view().Catalog.Head()
	if id == "" {
		return CatalogView{}, brevet.Errorf(brevet.NotFound, "no catalog is in force").WithHint("brevet apply -f DIR")
	}
	q := s.Store.Query(ctx)
	entry, envelope, err := logged(q, string(id))
	if err != nil {
		return CatalogView{}, err
	}
	said, err := statement.Open[statement.Catalog](envelope)
	if err != nil {
		return CatalogView{}, err
	}
	manifest, err := q.Manifest(said.Manifest)
	return CatalogView{entry.Statement, manifest, string(id), number}, err
}

// Plan is what putting a catalog in force would change.
type Plan struct {
	Changes  []string
	Findings []Finding
	Number   int64  // of the statement that would do it
	Previous string // id of the one that it must follow
}

// PlanCatalog tells what a manifest would change, and what is odd about it. Anybody may ask; those who
// do not administer the catalog are answered one after the other, since it is much work.
func (s *Spine) PlanCatalog(ctx context.Context, by brevet.Caller, manifest []byte) (Plan, error) {
	if s.view().administers(by, policy.SystemCatalog) != nil {
		select {
		case s.planning <- struct{}{}:
			defer func() { <-s.planning }()
		case <-ctx.Done():
			return Plan{}, brevet.Errorf(brevet.Limited, "others have their plans made").WithHint("try again in a moment")
		}
	}
	return s.plan(manifest)
}

func (s *Spine) plan(manifest []byte) (Plan, error) {
	next, err := catalog.Parse(manifest)
	if err != nil {
		return Plan{}, err
	}
	v := s.view()
	id, number := v.Catalog.Head()
	plan := Plan{Number: number + 1, Previous: string(id)}
	var before brevet.Catalog
	if compiled, err := v.Catalog.InForce(); err == nil {
		before = compiled.Catalog
	}
	plan.Changes = catalog.Diff(before, next)
	set, err := policy.Compile(next, v.InForce(v.size))
	if err != nil {
		return Plan{}, err
	}
	for _, p := range set.Lint(v.canApprove) {
		plan.Findings = append(plan.Findings, finding(p))
	}
	return plan, nil
}

// canApprove reports whether the person has a key in force that signs approvals and may show that much of them.
func (v view) canApprove(person brevet.PersonID, shows brevet.Presence) bool {
	return v.CanApprove(person, shows, v.size, v.now.UnixMicro())
}

func finding(p policy.Problem) Finding {
	f := Finding{Level: string(p.Level), Place: p.About, Message: p.What}
	if p.File != "" {
		f.Place = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	if p.Remedy != "" {
		f.Message += ": " + p.Remedy
	}
	return f
}

// ApplyCatalog puts a catalog in force. Its signatures are the right to it, whoever hands it in.
// Grants that the new one would refuse end.
func (s *Spine) ApplyCatalog(ctx context.Context, by brevet.Caller, raw, manifest []byte) (CatalogView, error) {
	envelope, said, err := parse[statement.Catalog](raw)
	if err != nil {
		return CatalogView{}, err
	}
	if catalog.Digest(manifest) != said.Manifest {
		return CatalogView{}, brevet.Errorf(brevet.Invalid, "manifest: it is not the one that was signed")
	}
	if s.view().Catalog.Knows(envelope.ID()) {
		return s.Catalog(ctx, by)
	}
	v := s.view()
	if err := v.Follows(proof.Pending(envelope, v.size)); err != nil { // before the work of looking into it
		return CatalogView{}, err
	}
	plan, err := s.plan(manifest)
	if err != nil {
		return CatalogView{}, err
	}
	event := s.event(string(statement.KindCatalog), string(envelope.ID()), by, fmt.Sprintf("catalog %d is in force: %s", said.Number, said.Message))
	event.Statement, event.Detail = raw, map[string]any{"changes": plan.Changes, "before": said.Previous, "after": said.Manifest}
	commit, err := s.append(ctx, envelope, map[string][]byte{said.Manifest: manifest}, func(view, view) brevet.Event { return event }, func(t *store.Tx) error {
		_, err := t.PutManifest(manifest)
		return err
	})
	if err != nil {
		return CatalogView{}, err
	}
	if err := s.await(ctx, commit.Size); err != nil {
		return CatalogView{}, err
	}
	s.reviewNow(ctx, by)
	return s.Catalog(ctx, by)
}

// Explain tells what policy says of a wish, without filing it: one's own, or anybody's for those
// who administer the catalog or audit.
func (s *Spine) Explain(_ context.Context, by brevet.Caller, ask policy.Ask) (brevet.Decision, []StageView, error) {
	v := s.view()
	if ask.Person == "" {
		ask.Person = by.Person
	}
	if ask.Person != by.Person && !v.audits(by) {
		if err := v.administers(by, policy.SystemCatalog); err != nil {
			return brevet.Decision{}, nil, err
		}
	}
	compiled, err := v.Catalog.InForce()
	if err != nil {
		return brevet.Decision{}, nil, err
	}
	set := compiled.Policy.WithPeople(v.InForce(v.size))
	if len(ask.Targets) == 0 {
		ask.Targets = set.TargetsOf(ask.Role)
	}
	if role, _, ok := compiled.Role(ask.Role); ok {
		if len(ask.Logins) == 0 {
			ask.Logins = role.SSH.Logins
		}
		if ask.Duration == 0 {
			ask.Duration = role.Limits.Duration
		}
	}
	ask.Now, ask.Presence = v.now, brevet.NoPresence
	if ask.Via == "" {
		ask.Via = brevet.ViaCLI
	}
	for _, k := range v.Roster.KeysOf(ask.Person) {
		if k.Fingerprint == by.Key || by.Person != ask.Person {
			ask.Presence, ask.KeyAge = presenceOf(k), max(0, v.now.Sub(time.UnixMicro(k.At)))
		}
	}
	d := set.Decide(ask)
	if ask.Reason == "" { // a question without one is about the rest
		d = set.Preview(ask)
	}
	r := brevet.Request{Person: ask.Person, Role: ask.Role, Targets: ask.Targets, Logins: ask.Logins, Duration: ask.Duration, Decision: d}
	return d, v.stages(r, nil), nil
}
