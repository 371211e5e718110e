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
	"github.com/brevet-pim/brevet/issuer"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// Want is what somebody at a gateway, who has proven possession of a key, wants to use.
type Want struct {
	Target   brevet.TargetID
	Login    string
	Key      string // fingerprint
	Presence brevet.Presence
	Source   netip.Addr // where the connection comes from
}

// Answer is what they may have.
type Answer struct {
	Person  brevet.PersonID  // whose key it is; empty if nobody's
	Bundles [][]byte         // proofs of live grants that fit, with the issuer's fresh status
	Offers  []RoleView       // roles that may be asked for, cut down to what is wanted
	Pending brevet.RequestID // an open request that fits
	Refusal string           // when there is nothing to have or to ask for: why, and what to do
}

// mostBundles is how many proofs an answer carries: one is used.
const mostBundles = 3

// Lookup tells a gateway what the holder of a key may have of a target now, or ask for.
func (s *Spine) Lookup(ctx context.Context, by brevet.Caller, want Want) (Answer, error) {
	v := s.view()
	key, ok := v.Roster.Key(want.Key, v.size)
	if !ok {
		return Answer{}, nil
	}
	a := Answer{Person: key.Person}
	if _, err := v.KeyFor(want.Key, statement.UseRequest, v.size, v.now.UnixMicro()); err != nil {
		a.Refusal, _ = brevet.MessageOf(err)
		return a, nil
	}
	q := s.Store.Query(ctx)
	grants, err := q.Grants(store.GrantFilter{State: brevet.Live, Person: key.Person, Holder: by.Machine, Newest: true, Page: store.Page{Limit: store.MaxPage}})
	if err != nil {
		return Answer{}, err
	}
	for _, g := range grants {
		if len(a.Bundles) == mostBundles || !gives(g, want, v.now) {
			continue
		}
		bundle, err := s.admission(ctx, v, g)
		if err != nil {
			s.discredited(ctx, g, err)
			a.Refusal, _ = brevet.MessageOf(err)
			continue
		}
		a.Bundles = append(a.Bundles, bundle)
	}
	if len(a.Bundles) > 0 {
		a.Refusal = ""
		return a, nil
	}
	if err := s.offer(q, v, by, want, key, &a); err != nil {
		return Answer{}, err
	}
	return a, nil
}

// gives reports whether the row of a grant says that it gives what is wanted. What counts is the proof.
func gives(g brevet.Grant, want Want, now time.Time) bool {
	return slices.Contains(g.Targets, want.Target) && slices.Contains(g.Logins, want.Login) && g.To.After(now)
}

// discredited deals with a grant that its row says is live, and that cannot be proven. If the issuer has
// heard that it is over, and the log has not, it was taken back while the database could not write that
// down: it is ended now. Anything else is told, once.
func (s *Spine) discredited(ctx context.Context, g brevet.Grant, cause error) {
	if kind := brevet.KindOf(cause); kind != brevet.Refused && kind != brevet.NotFound {
		s.Log.WarnContext(ctx, "a live grant cannot be shown", "grant", g.ID, "error", cause)
		return
	}
	now, err := s.Store.Query(ctx).Grant(g.ID)
	if err != nil || now.State != brevet.Live {
		return // it was revoked just now: no mismatch
	}
	if errors.Is(cause, issuer.ErrTakenBack) {
		if ended, err := s.endIsLogged(ctx, g.ID); err == nil && !ended {
			reason, _ := brevet.MessageOf(cause)
			if err := s.end(ctx, g.ID, ending{at: s.Clock(), by: string(s.Server), caller: s.self(), reason: reason}); err != nil {
				s.Log.WarnContext(ctx, "a grant that was taken back cannot be ended yet", "grant", g.ID, "error", err)
			}
			return
		}
	}
	message, _ := brevet.MessageOf(cause)
	s.mismatch(ctx, g, "is live by its row, and cannot be proven: "+message, cause)
}

// mismatch tells, once, of a grant whose row does not agree with what was signed and logged.
func (s *Spine) mismatch(ctx context.Context, g brevet.Grant, what string, cause error) {
	event := s.onGrant(s.failure("log.mismatch", "", s.self(), string(g.ID)+" "+what), g)
	if cause != nil {
		event.Detail = map[string]any{"error": cause.Error()}
	}
	s.tellOnce(ctx, store.Filter{Grant: g.ID}, event)
}

// tellOnce tells of a mismatch, unless the log has one that the filter finds: what is tried again and again
// would tell it each time.
func (s *Spine) tellOnce(ctx context.Context, of store.Filter, mismatch brevet.Event) {
	of.Kind, of.Limit = mismatch.Kind, 1
	if told, err := s.Store.Query(ctx).Search(of); err == nil && len(told) > 0 {
		return
	}
	mismatch.Subject = string(mismatch.ID)
	s.tell(ctx, mismatch)
}

// admission returns the proof of a live grant with the issuer's fresh word, for a gateway that has
// the chains. The row must say what the log says.
func (s *Spine) admission(ctx context.Context, v view, g brevet.Grant) (bundle []byte, err error) {
	entry, err := s.Store.Query(ctx).GivenBy(g)
	if err != nil {
		return nil, err
	}
	if err := s.await(ctx, entry.Index+1); err != nil {
		return nil, err
	}
	p := s.prover(nil)
	var b *proof.Bundle
	err = s.Store.Read(ctx, func(q *store.Query) error {
		p.q = q
		if b, err = p.grant(s, g); err != nil {
			return err
		}
		return p.oldManifest(b, v)
	})
	if err != nil {
		return nil, err
	}
	if err := sameGrant(g, b.Grant.Statement); err != nil {
		return nil, err
	}
	status, err := s.status(ctx, g.ID)
	if err != nil {
		return nil, err
	}
	b.Status = []statement.Envelope{status}
	return b.Marshal()
}

// oldManifest adds the manifest of the catalog that a grant was judged by, if it is not the one in
// force, which the gateway has.
func (p prover) oldManifest(b *proof.Bundle, v view) error {
	given, err := statement.Open[statement.Grant](b.Grant.Statement)
	if err != nil {
		return err
	}
	head, _ := v.Catalog.Head()
	if head == given.Catalog {
		return nil
	}
	id, c, err := catalogBefore(p.q, b.Intent.Index)
	if err != nil || id == head {
		return err
	}
	b.Manifest, err = p.q.Manifest(c.Manifest)
	return err
}

// sameGrant compares a grant's row with what was signed.
func sameGrant(g brevet.Grant, envelope statement.Envelope) error {
	said, err := statement.Open[statement.Grant](envelope)
	if err != nil {
		return err
	}
	if g.ID == said.ID && g.Person == said.Person && g.Role == said.Role && g.Holder == said.Holder.Machine &&
		slices.Equal(g.Targets, said.Targets) && slices.Equal(g.Logins, said.Logins) &&
		g.From.UnixMicro() == said.From && g.To.UnixMicro() == said.To {
		return nil
	}
	return brevet.Errorf(brevet.Refused, "the row of %s does not say what was signed", g.ID).
		WithHint("brevet audit search --kind log.mismatch shows what else was")
}

// offer fills in what the person may ask for to get what is wanted.
func (s *Spine) offer(q *store.Query, v view, by brevet.Caller, want Want, key proof.Key, a *Answer) error {
	compiled, err := v.Catalog.InForce()
	if err != nil {
		return err
	}
	gateway, ok := v.Roster.Machine(by.Machine, v.size)
	target, known := compiled.Target(want.Target)
	if !ok || !known || !gateway.Targets.Matches(target) {
		a.Refusal = fmt.Sprintf("there is no target %s here, or nothing on it that you could ask for", brevet.Quote(string(want.Target)))
		return nil
	}
	var reasons []string
	var others []brevet.Role // that do not give the login
	set := compiled.Policy.WithPeople(v.InForce(v.size))
	preview := func(role brevet.RoleName, login string) brevet.Decision {
		return set.Preview(policy.Ask{
			Person: key.Person, Role: role, Targets: []brevet.TargetID{want.Target}, Logins: []string{login},
			Via: brevet.ViaSSH, Presence: want.Presence, KeyAge: max(0, v.now.Sub(time.UnixMicro(key.At))), Source: want.Source, Now: v.now,
		})
	}
	for _, role := range compiled.Catalog.Roles {
		if !role.Targets.Matches(target) {
			continue
		}
		if !slices.Contains(role.SSH.Logins, want.Login) {
			others = append(others, role)
			continue
		}
		d := preview(role.Name, want.Login)
		if d.Outcome == brevet.Refuse {
			reasons = append(reasons, string(role.Name)+": "+strings.Join(d.Reasons, "; "))
			continue
		}
		role.SSH.Logins = []string{want.Login} // no more than is wanted
		a.Offers = append(a.Offers, v.withNeeds(v.roleView(role, []brevet.TargetID{want.Target}, d), key.Person))
	}
	if len(a.Offers) == 0 {
		a.Refusal = fmt.Sprintf("%s may not have %s on %s", key.Person, want.Login, want.Target)
		var logins []string
		for _, role := range others {
			for _, login := range role.SSH.Logins {
				if preview(role.Name, login).Outcome != brevet.Refuse {
					logins = append(logins, login)
				}
			}
		}
		if len(logins) > 0 {
			slices.Sort(logins)
			a.Refusal += ", only " + strings.Join(slices.Compact(logins), " or ")
		}
		if len(reasons) > 0 {
			a.Refusal += ": " + strings.Join(reasons, "; ")
		}
		return nil
	}
	a.Pending, err = pending(q, by, want, key.Person)
	return err
}

// pending returns an open request of the person that would give what is wanted.
func pending(q *store.Query, by brevet.Caller, want Want, person brevet.PersonID) (brevet.RequestID, error) {
	open, err := q.Requests(store.RequestFilter{Person: person, Open: true, Newest: true})
	if err != nil {
		return "", err
	}
	for _, r := range open {
		if r.Holder == by.Machine && slices.Contains(r.Targets, want.Target) && slices.Contains(r.Logins, want.Login) {
			return r.ID, nil
		}
	}
	return "", nil
}

// holders returns the gateways that serve some of the targets, those that are connected first.
func (s *Spine) holders(v view, targets []brevet.TargetID) []HolderView {
	compiled, err := v.Catalog.InForce()
	if err != nil {
		return nil
	}
	connected := s.Hub.Connected()
	var views []HolderView
	for _, m := range v.Roster.Machines(statement.MachineGateway, v.size) {
		view := HolderView{Machine: m.Name, Address: connected[m.Name]}
		for _, id := range targets {
			if target, ok := compiled.Target(id); ok && m.Targets.Matches(target) {
				view.Targets = append(view.Targets, id)
			}
		}
		for _, k := range m.Keys {
			if k.Use == statement.KeyHolder {
				view.Key, _ = statement.Fingerprint(k.Key) // it is well formed, or would not be in the roster
			}
		}
		if len(view.Targets) > 0 && view.Key != "" {
			views = append(views, view)
		}
	}
	slices.SortStableFunc(views, func(a, b HolderView) int {
		return strings.Compare(fmt.Sprint(a.Address == ""), fmt.Sprint(b.Address == ""))
	})
	return views
}

// HostCertificate returns a certificate for a host key of the calling gateway, in wire form.
func (s *Spine) HostCertificate(ctx context.Context, by brevet.Caller, name, key string) ([]byte, error) {
	public, err := statement.ParseSSHKey(key)
	if err != nil {
		return nil, err
	}
	parsed, err := public.SSH()
	if err != nil {
		return nil, err
	}
	return s.Issuer.HostCertificate(ctx, by.Machine, name, parsed.Marshal())
}
