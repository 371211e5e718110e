package model_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// check holds what there is after a move against the model. Outside a bubble nobody knows when the
// workers have done all there is to do: what one of them went on with while it was looked at is looked
// at again, and what they owe may take them a while.
func (w *world) check() error {
	for since := time.Now(); ; time.Sleep(time.Millisecond) {
		q := w.store.Query(context.Background())
		if err := w.ledger.read(q); err != nil {
			return fmt.Errorf("the log: %w", err)
		}
		broken, owed := w.checkAll(q), w.checkSupported()
		_, size, err := q.Checkpoint()
		switch {
		case err != nil:
			return err
		case !w.bubble && size > w.ledger.head.Size:
		case broken != nil:
			return broken
		case owed == nil, w.bubble, time.Since(since) > patience:
			return owed
		}
	}
}

func (w *world) checkAll(q *store.Query) error {
	if now := w.clock(); now.After(w.latest) {
		w.latest = now
	}
	for _, part := range []func(*store.Query) error{w.checkHead, w.checkAnswered, w.checkRequests, w.checkGrants, w.checkSessions} {
		if err := part(q); err != nil {
			return err
		}
	}
	return w.checkAdmissions()
}

// checkHead compares the signed checkpoint with the tree of what was read since the first leaf.
func (w *world) checkHead(q *store.Query) error {
	signed, size, err := q.Checkpoint()
	if err != nil {
		return err
	}
	signer := w.Log.Signer()
	c, err := audit.Open(signed, signer.Origin(), signer.Public())
	if err != nil {
		return err
	}
	if size != w.ledger.head.Size || c.Root != w.ledger.head.Root() {
		return fmt.Errorf("the checkpoint is of %d events, and %d were read, or others", size, w.ledger.head.Size)
	}
	return nil
}

// checkAnswered looks for everything that somebody was told to be taken in.
func (w *world) checkAnswered(*store.Query) error {
	for _, a := range w.acked {
		if w.ledger.stated[a.id] != 1 {
			return fmt.Errorf("the %s %s was answered, and stands %d times in the log", a.what, a.id, w.ledger.stated[a.id])
		}
	}
	return nil
}

// checkRequests compares rows with what the events add up to: each change has its event, and each event its change.
func (w *world) checkRequests(q *store.Query) error {
	rows, err := q.Requests(store.RequestFilter{Page: store.Page{Limit: store.MaxPage}})
	if err != nil {
		return err
	}
	if len(rows) != len(w.ledger.inOrder) {
		return fmt.Errorf("there are %d requests, and the log has %d", len(rows), len(w.ledger.inOrder))
	}
	for _, row := range rows {
		r := w.ledger.requests[row.ID]
		if r == nil {
			return fmt.Errorf("the log does not know %s", row.ID)
		}
		state := r.state
		if state == brevet.Asked {
			state = brevet.Waiting // policy had people asked, which is no event of its own
		}
		if row.State != state || row.Person != r.said.Person || row.Role != r.said.Role || row.Statement != string(r.statement) {
			return fmt.Errorf("%s is %s of %s by its row, and %s of %s by the log", row.ID, row.State, row.Person, state, r.said.Person)
		}
		answers, err := q.Approvals(row.ID)
		if err != nil {
			return err
		}
		if len(answers) != len(r.yeses)+min(r.noes, 1) {
			return fmt.Errorf("%s has %d answers by its rows, and %d yeses and %d noes by the log", row.ID, len(answers), len(r.yeses), r.noes)
		}
	}
	return nil
}

func (w *world) checkGrants(q *store.Query) error {
	rows, err := q.Grants(store.GrantFilter{Page: store.Page{Limit: store.MaxPage}})
	if err != nil {
		return err
	}
	if len(rows) != len(w.ledger.given) {
		return fmt.Errorf("there are %d grants, and the log has %d", len(rows), len(w.ledger.given))
	}
	for _, row := range rows {
		g := w.ledger.grants[row.ID]
		switch {
		case g == nil:
			return fmt.Errorf("the log does not know %s", row.ID)
		case row.State != g.state:
			return fmt.Errorf("%s is %s by its row, and %s by the log", row.ID, row.State, g.state)
		case row.Person != g.terms.Person, !slices.Equal(row.Logins, g.terms.Logins), !slices.Equal(row.Targets, g.terms.Targets):
			return fmt.Errorf("%s gives %v on %v to %s by its row, and %+v by the log", row.ID, row.Logins, row.Targets, row.Person, g.terms)
		case g.said != nil && (row.To.UnixMicro() != g.said.To || row.From.UnixMicro() != g.said.From):
			return fmt.Errorf("%s is until %s by its row, and until %s by the log", row.ID, row.To, time.UnixMicro(g.said.To))
		}
		_, err := q.Credential(row.ID)
		if held := err == nil; held != (row.State == brevet.Live) {
			return fmt.Errorf("%s is %s, and its certificate: %v", row.ID, row.State, err)
		}
	}
	return nil
}

func (w *world) checkSessions(q *store.Query) error {
	rows, err := q.Sessions(store.SessionFilter{Page: store.Page{Limit: store.MaxPage}})
	if err != nil {
		return err
	}
	if len(rows) != len(w.ledger.begun) {
		return fmt.Errorf("there are %d sessions, and the log has %d", len(rows), len(w.ledger.begun))
	}
	for _, row := range rows {
		if s := w.ledger.sessions[row.ID]; s == nil || s.ended == row.EndedAt.IsZero() {
			return fmt.Errorf("%s ended %s by its row, which the log does not say", row.ID, row.EndedAt)
		}
	}
	return nil
}

// checkSupported looks for grants that live on though what they rest on was taken away.
func (w *world) checkSupported() error {
	for _, g := range w.ledger.given {
		if g.state != brevet.Live {
			continue
		}
		if why := w.ledger.supported(g); why != "" {
			return fmt.Errorf("%s of %s is live, though %s", g.id, g.terms.Person, why)
		}
	}
	return nil
}

// recent is how many of the newest grants are tried at the gateway after each move.
const recent = 8

// checkAdmissions has people come to the gateway, which admits by proofs alone: those whose grant is
// live get in, and nobody else does, be it by a proof of before.
func (w *world) checkAdmissions() error {
	chains, err := w.spine.Chains(context.Background(), gateway, 0, 0)
	if err != nil {
		return err
	}
	b, err := proof.Parse(chains)
	if err != nil {
		return err
	}
	if err := w.gate.Extend(b); err != nil {
		return err
	}
	for _, g := range w.ledger.given[max(0, len(w.ledger.given)-recent):] {
		if err := w.checkAdmission(g); err != nil {
			return fmt.Errorf("%s of %s (%s): %w", g.id, g.terms.Person, g.terms.Role, err)
		}
	}
	return nil
}

func (w *world) checkAdmission(g *grant) error {
	want := proof.Want{
		Gateway: "gw-1", Target: g.terms.Targets[0], Login: g.terms.Logins[0], Key: prooftest.Fingerprint(w.t, w.Keys[g.terms.Person].Key()),
		Presence: brevet.NoPresence, Now: w.clock(),
	}
	why := w.closed(g)
	if old := w.shown[g.id]; old != nil && w.barred(g) != "" {
		if _, err := w.gate.Verify(old, want); err == nil {
			return fmt.Errorf("its old proof is still good, though %s", w.barred(g))
		}
	}
	answer, err := w.spine.Lookup(context.Background(), gateway, flow.Want{Target: want.Target, Login: want.Login, Key: want.Key, Presence: want.Presence})
	if err != nil {
		return err
	}
	var problems []error
	for _, bundle := range answer.Bundles {
		admission, err := w.gate.Verify(bundle, want)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if admission.Grant.ID != g.id {
			continue
		}
		w.shown[g.id] = bundle
		if why != "" {
			return fmt.Errorf("the gateway lets them in, though %s", why)
		}
		return nil
	}
	if why == "" && len(answer.Bundles) < 3 && !w.behind() && !w.heard[g.id] { // three proofs are shown at most
		return fmt.Errorf("it is live, and the gateway lets nobody in (%s): %w", answer.Refusal, errors.Join(problems...))
	}
	return nil
}

// closed says why nobody may get in by the grant, or "".
func (w *world) closed(g *grant) string {
	switch {
	case g.state != brevet.Live:
		return "it is " + string(g.state)
	case g.revoked:
		return "it was revoked"
	}
	return w.barred(g)
}

// barred says why nobody may get in even by a proof that the gateway was shown before, or "". That a
// grant was revoked it knows by its order, or a minute later.
func (w *world) barred(g *grant) string {
	_, suspended := w.ledger.suspended[g.terms.Person]
	switch {
	case suspended:
		return "its person is suspended"
	case g.said != nil && g.said.To <= w.clock().UnixMicro():
		return "its time is over"
	case w.acts(g.terms.Person, statement.UseRequest) != nil:
		return "its person has no key"
	}
	return ""
}

// checkRest looks at what there is after all moves and some time: what was begun has come to its end,
// each grant can be proven to anybody, and the log holds from its first leaf.
func (w *world) checkRest() error {
	w.rest()
	w.restart()
	w.quiet()
	ctx := context.Background()
	if err := w.check(); err != nil {
		return err
	}
	if err := w.confirmAll(ctx); err != nil {
		return err
	}
	if err := w.check(); err != nil {
		return err
	}
	if err := w.checkDone(); err != nil {
		return err
	}
	for _, g := range w.ledger.given {
		if g.said == nil {
			continue
		}
		_, bundle, err := w.spine.ExportGrant(ctx, w.as("alice"), string(g.id))
		if err != nil {
			return fmt.Errorf("export %s: %w", g.id, err)
		}
		b, err := proof.Parse(bundle)
		if err != nil {
			return err
		}
		if _, err := proof.Check(b, proof.Trust{Root: w.Root}, w.latest); err != nil {
			return fmt.Errorf("the proof of %s: %w", g.id, err)
		}
	}
	found, err := w.store.VerifyLog(ctx, store.Verification{})
	if err == nil && found.Problem != nil {
		err = fmt.Errorf("the log: %v", found.Problem)
	}
	return err
}

// patience is how long a worker may take, outside a bubble, to do what is owed.
const patience = time.Minute

// checkDone looks for what is left between two states.
func (w *world) checkDone() error {
	for since := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		left := w.left()
		if left == nil || w.bubble || time.Since(since) > patience {
			return left
		}
		if err := errors.Join(w.confirmAll(context.Background()), w.check()); err != nil {
			return err
		}
	}
}

func (w *world) left() error {
	for _, r := range w.ledger.inOrder {
		if r.state == brevet.Ready {
			return fmt.Errorf("%s is ready, and nobody takes it on", r.id)
		}
	}
	for _, g := range w.ledger.given {
		if g.state == brevet.Issuing || g.state == brevet.Ending {
			return fmt.Errorf("%s is %s, and stays so", g.id, g.state)
		}
	}
	return nil
}
