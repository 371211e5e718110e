package model_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
)

// askForms are the ways of asking.
var askForms = []string{"properly", "for a minute", "for one login", "too long", "in bob's name", "for another login", "as the role was", "again"}

// approveForms are the ways of agreeing.
var approveForms = []string{"to all", "for a minute", "to deploy alone", "to more time", "to another target", "with another's key", "for the next stage", "through gw-2", "again"}

// shifts are how clocks are set.
var shifts = []time.Duration{time.Hour, -time.Hour, 10 * time.Minute, -10 * time.Minute, 2 * time.Minute}

var gateway = brevet.Caller{Machine: "gw-1"}

// play makes a move, with what happens in the middle of it, and returns what is wrong with the answer.
func (w *world) play(m move) error {
	ctx := context.Background()
	expected := w.expect(m)
	var err error
	switch {
	case m.when == alone:
		err = w.perform(ctx, m)
	case m.with == nil:
		w.playToDeath(ctx, m)
		return nil
	default:
		w.playWith(ctx, m)
		return nil
	}
	return expected.met(err)
}

// playWith makes a move and another one beside it, or in the middle of it.
func (w *world) playWith(ctx context.Context, m move) {
	if m.when == together {
		var both sync.WaitGroup
		both.Go(func() { w.note(w.perform(ctx, m)) })
		both.Go(func() { w.note(w.perform(ctx, *m.with)) })
		both.Wait()
		return
	}
	w.issuer.arm(m.when, func() error {
		w.note(w.perform(ctx, *m.with))
		return nil
	})
	w.note(w.perform(ctx, m))
	w.issuer.arm(alone, nil)
}

// playToDeath makes a move in whose middle the process dies: at a call of the issuer, or at any moment.
// What it did not write by then it never does.
func (w *world) playToDeath(ctx context.Context, m move) {
	ctx, abandon := context.WithCancel(ctx) // whoever waits for an answer
	defer abandon()
	var dead sync.WaitGroup
	die := func() error {
		defer abandon()
		return errors.Join(errDead, w.store.Close())
	}
	if m.when == together {
		dead.Go(func() { w.note(die()) })
	} else {
		w.issuer.arm(m.when, die)
	}
	w.note(w.perform(ctx, m))
	dead.Wait()
	w.stop()
	w.note(w.store.Close()) // if the place was not passed
	w.openStore()
	w.run()
}

// note takes an answer that nothing can be expected of.
func (w *world) note(error) {}

// perform makes the move alone, and remembers what was answered.
func (w *world) perform(ctx context.Context, m move) error {
	switch m.verb {
	case ask:
		return w.ask(ctx, m)
	case approve:
		return w.approve(ctx, m)
	case refuse:
		return w.refuse(ctx, m)
	case revoke:
		return w.revoke(ctx, m)
	case suspend:
		return w.suspend(ctx, m)
	case reinstate:
		return w.reinstate(ctx, m)
	case apply:
		return w.apply(ctx, m)
	case retire:
		return w.retire(ctx, m)
	case enrol:
		return w.enrol(ctx, m)
	case begin:
		return w.beginSession(ctx, m)
	case end:
		return w.endSession(ctx, m)
	case confirm:
		return w.confirmAll(ctx)
	case clock:
		w.shift(shifts[m.form%len(shifts)])
	case rest:
		w.rest()
	case restart:
		w.restart()
	}
	return nil
}

// rest lets time go by, so that what is due happens.
func (w *world) rest() {
	if w.bubble {
		time.Sleep(12 * time.Second)
		return
	}
	w.restart() // whoever starts looks at once for what is due
}

// answered remembers that a statement was taken in.
func (w *world) answered(what string, id statement.ID, err error) error {
	if err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.acked = append(w.acked, ack{what, id})
	}
	return err
}

// wish is the request that a move to ask makes.
func (w *world) wish(m move) statement.Request {
	name := roles[m.pick%len(roles)]
	role := roleOf(&w.ledger.catalog, name)
	if askForms[m.form] == "as the role was" || role == nil {
		whole := variant(0)
		role = roleOf(&whole, name)
	}
	digest, err := catalog.RoleDigest(*role)
	must(w.t, err)
	r := statement.Request{Header: w.header(), Reason: "restart nginx", Via: brevet.ViaCLI, Terms: statement.Terms{
		Person: m.by, Role: name, RoleDigest: digest, Logins: slices.Clone(role.SSH.Logins), Duration: min(1800, role.Limits.Duration),
		Targets: []brevet.TargetID{"web1"}, Holder: statement.Holder{Machine: "gw-1", Key: prooftest.Fingerprint(w.t, w.holder())},
	}}
	if name == "db-admin" {
		r.Targets = []brevet.TargetID{"db1"}
	}
	switch askForms[m.form] {
	case "for a minute":
		r.Duration = 60
	case "for one login":
		r.Logins = r.Logins[:1]
	case "too long":
		r.Duration = role.Limits.Duration + 1
	case "in bob's name":
		r.Person = "bob"
	case "for another login":
		r.Logins = []string{"admin"}
	}
	return r
}

func (w *world) holder() statement.Key {
	for _, k := range w.Gateways["gw-1"].Machine.Keys {
		if k.Use == statement.KeyHolder {
			return k.Key
		}
	}
	return statement.Key{}
}

func (w *world) ask(ctx context.Context, m move) error {
	if r := w.request(m.pick); askForms[m.form] == "again" && r != nil {
		_, err := w.spine.Ask(ctx, w.as(r.said.Person), r.raw)
		return w.answered("request", r.statement, err)
	}
	id, raw, err := w.envelope(w.wish(m), w.Keys[m.by])
	if err != nil {
		return err
	}
	view, err := w.spine.Ask(ctx, w.as(m.by), raw)
	if err := w.answered("request", id, err); err != nil {
		return err
	}
	if view.State == brevet.Denied { // taken in, and refused by policy
		return brevet.Errorf(brevet.Refused, "%s", view.Why)
	}
	return nil
}

// request returns a request, counted from the newest.
func (w *world) request(pick int) *request {
	all := w.ledger.inOrder
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1-pick%len(all)]
}

// yes is the approval that a move to approve makes.
func (w *world) yes(m move, r *request) statement.Approval {
	a := statement.Approval{Header: w.header(), Request: r.statement, By: m.by, Terms: r.said.Terms, Stage: int64(w.ledger.stageFor(r, m.by))}
	switch approveForms[m.form] {
	case "for a minute":
		a.Duration = min(60, a.Duration)
	case "to deploy alone":
		if slices.Contains(a.Logins, "deploy") {
			a.Logins = []string{"deploy"}
		}
	case "to more time":
		a.Duration++
	case "to another target":
		a.Targets = []brevet.TargetID{"web2"}
	case "for the next stage":
		a.Stage++
	case "through gw-2":
		a.Holder.Machine = "gw-2"
	}
	return a
}

func (w *world) approve(ctx context.Context, m move) error {
	r := w.request(m.pick)
	if r == nil {
		return nil
	}
	key := w.Keys[m.by]
	if approveForms[m.form] == "with another's key" {
		key = w.Keys["frank"]
	}
	id, raw, err := w.envelope(w.yes(m, r), key)
	if said := w.lastOf(m.by); approveForms[m.form] == "again" && said != nil {
		e, err := statement.Parse(said)
		must(w.t, err)
		id, raw = e.ID(), said
	} else if err != nil {
		return err
	}
	_, err = w.spine.Approve(ctx, w.as(m.by), raw)
	if err == nil {
		w.mu.Lock()
		w.said[m.by] = raw
		w.mu.Unlock()
	}
	return w.answered("approval", id, err)
}

func (w *world) lastOf(id brevet.PersonID) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said[id]
}

func (w *world) revocation(by brevet.PersonID, what, subject string) (statement.ID, []byte, error) {
	return w.envelope(statement.Revocation{Header: w.header(), By: string(by), What: what, Subject: subject, Reason: "enough"}, w.Keys[by])
}

func (w *world) refuse(ctx context.Context, m move) error {
	r := w.request(m.pick)
	if r == nil {
		return nil
	}
	id, raw, err := w.revocation(m.by, statement.RevokeRequest, string(r.statement))
	if err != nil {
		return err
	}
	_, err = w.spine.Refuse(ctx, w.as(m.by), raw)
	return w.answered("no", id, err)
}

// grant returns a grant, counted from the newest.
func (w *world) grant(pick int) *grant {
	all := w.ledger.given
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1-pick%len(all)]
}

func (w *world) revoke(ctx context.Context, m move) error {
	g := w.grant(m.pick)
	if g == nil {
		return nil
	}
	id, raw, err := w.revocation(m.by, statement.RevokeGrant, string(g.id))
	if err != nil {
		return err
	}
	_, err = w.spine.Revoke(ctx, w.as(m.by), raw, 0)
	if brevet.KindOf(err) == brevet.Unavailable { // not written down, and the issuer may know
		w.mu.Lock()
		w.heard[g.id] = true
		w.mu.Unlock()
	}
	return w.answered("revocation", id, err)
}

func (w *world) suspend(ctx context.Context, m move) error {
	id, raw, err := w.revocation(m.by, statement.RevokePerson, string(people[m.pick%len(people)]))
	if err != nil {
		return err
	}
	_, err = w.spine.Suspend(ctx, w.as(m.by), raw, 0)
	return w.answered("suspension", id, err)
}

// rosterLink returns the place of the next statement of the roster.
func (w *world) rosterLink() statement.Link {
	id, number := w.spine.State().Roster.Head()
	return statement.Link{Number: number + 1, Previous: id}
}

func (w *world) reinstate(ctx context.Context, m move) error {
	id := people[m.pick%len(people)]
	suspension, ok := w.ledger.suspended[id]
	if !ok {
		return nil
	}
	said, raw, err := w.envelope(statement.Reinstate{Header: w.header(), Link: w.rosterLink(), Person: id, Revocation: suspension, Reason: "back"}, w.Keys["alice"])
	if err != nil {
		return err
	}
	_, _, err = w.spine.AppendRoster(ctx, w.as("alice"), raw)
	return w.answered("reinstatement", said, err)
}

func (w *world) apply(ctx context.Context, m move) error {
	manifest, digest, err := catalog.Manifest(variant(m.form % len(variants)))
	must(w.t, err)
	head, number := w.spine.State().Catalog.Head()
	id, raw, err := w.envelope(statement.Catalog{
		Header: w.header(), Link: statement.Link{Number: number + 1, Previous: head}, Manifest: digest, Message: "model",
	}, w.Keys["alice"])
	if err != nil {
		return err
	}
	_, err = w.spine.ApplyCatalog(ctx, w.as("alice"), raw, manifest)
	return w.answered("catalog", id, err)
}

// retire has alice retire the key that somebody uses; the founder's stays.
func (w *world) retire(ctx context.Context, m move) error {
	id := people[m.pick%len(people)]
	if id == "alice" {
		return nil
	}
	said, raw, err := w.envelope(statement.Retire{
		Header: w.header(), Link: w.rosterLink(), Person: id, Key: prooftest.Fingerprint(w.t, w.Keys[id].Key()), Since: w.clock().UnixMicro(), Reason: "lost",
	}, w.Keys["alice"])
	if err != nil {
		return err
	}
	_, _, err = w.spine.AppendRoster(ctx, w.as("alice"), raw)
	return w.answered("retirement", said, err)
}

// enrol gives somebody whose key was retired a new one.
func (w *world) enrol(ctx context.Context, m move) error {
	id := people[m.pick%len(people)]
	if k := w.ledger.keys[prooftest.Fingerprint(w.t, w.Keys[id].Key())]; k == nil || !k.retired {
		return nil
	}
	_, key := prooftest.NewKey(w.t)
	w.Org.Now = w.clock().Add(-time.Minute)
	one := w.Enrolment(id, "", key, statement.UseApprove, statement.UseRequest)
	said, raw, err := w.envelope(statement.Enrol{Header: w.header(), Link: w.rosterLink(), Enrolments: []statement.Enrolment{one}}, w.Keys["alice"])
	if err != nil {
		return err
	}
	_, _, err = w.spine.AppendRoster(ctx, w.as("alice"), raw)
	if err == nil {
		w.Keys[id] = key
	}
	return w.answered("enrolment", said, err)
}

func (w *world) beginSession(ctx context.Context, m move) error {
	g := w.grant(m.pick)
	if g == nil {
		return nil
	}
	return w.spine.BeginSession(ctx, gateway, w.sessionOf(g, m))
}

func (w *world) sessionOf(g *grant, m move) brevet.Session {
	s := brevet.Session{
		ID: brevet.NewSessionID(w.clock()), Grant: g.id, Person: g.terms.Person, Target: g.terms.Targets[0], Login: g.terms.Logins[0],
		Machine: "gw-1", Kind: "shell", Recorded: true, StartedAt: w.clock(), Source: "192.0.2.7",
	}
	switch m.form % 8 {
	case 1:
		s.Login = "nobody"
	case 2:
		s.Person = "frank"
	}
	return s
}

func (w *world) endSession(ctx context.Context, m move) error {
	open := w.ledger.open()
	if len(open) == 0 {
		return nil
	}
	return w.spine.EndSession(ctx, gateway, brevet.Session{ID: open[m.pick%len(open)], EndedAt: w.clock(), EndReason: "logged out"})
}

// confirmAll has the gateway say of each grant that it was told to end that nothing of it is left.
func (w *world) confirmAll(ctx context.Context) error {
	var errs []error
	for _, g := range w.ledger.given {
		if g.state == brevet.Ending {
			if err := w.spine.Confirm(ctx, gateway, flow.Closed{Grant: g.id}); err != nil {
				errs = append(errs, fmt.Errorf("confirm %s: %w", g.id, err))
			}
		}
	}
	return errors.Join(errs...)
}
