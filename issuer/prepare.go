package issuer

import (
	"context"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

const maxPrepared = 1 << 10

// judged is what an intent was judged by, and the place of its request then, or the earliest that it could get.
type judged struct {
	by    *proof.State
	place int64
}

// Signed is a statement of the issuer's.
type Signed[T statement.Payload] struct {
	Envelope statement.Envelope
	Raw      []byte // the envelope as it is kept and shown
	ID       statement.ID
	Said     T
}

// Prepare judges the evidence in the bundle (see proof.NewEvidence), as the log stands and now, and
// returns the intent to give what may be given. The caller appends it to the log, which spends
// the request, and then calls Issue. What of the evidence is not in the log yet is judged as if it
// came next: the caller may append it together with the intent.
//
// An intent gives nothing by itself, and nothing is kept of it: Issue judges again, by the places
// that everything has in the log, and of many intents the first one in the log counts. A request
// that is spent is a Conflict.
func (i *Issuer) Prepare(ctx context.Context, b *proof.Bundle) (Signed[statement.Intent], error) {
	request := b.Request.Statement.ID()
	at, err := i.state.placeOf(ctx, request)
	switch {
	case err != nil:
		return Signed[statement.Intent]{}, err
	case at.spent != nowhere:
		return Signed[statement.Intent]{}, brevet.Errorf(brevet.Conflict, "the request %s… is spent: the intent at %d of the log has used it", request[:16], at.spent).WithHint("ask again")
	}
	return i.prepare(ctx, b, at.index)
}

// PrepareNew is Prepare for a request that nobody has answered and that the caller takes for new: it is not
// looked for. If the log has it after all, the intent is not the first, or Issue judges by that place.
func (i *Issuer) PrepareNew(ctx context.Context, b *proof.Bundle) (Signed[statement.Intent], error) {
	return i.prepare(ctx, b, nowhere)
}

// prepare judges with the request at the place.
func (i *Issuer) prepare(ctx context.Context, b *proof.Bundle, at int64) (Signed[statement.Intent], error) {
	var none Signed[statement.Intent]
	if i.state.stopping() {
		return none, errStopping
	}
	k := i.knows()
	if err := k.able(); err != nil {
		return none, err
	}
	ev, end, err := i.evidence(ctx, b, at, k.head.Size)
	if err != nil {
		return none, err
	}
	now, err := i.clock.now()
	if err != nil {
		return none, err
	}
	v, err := k.state.Judge(ev, end, now, i.memory)
	if err != nil {
		return none, err
	}
	wanted, err := i.intend(k, ev, v, now)
	if err != nil {
		return none, err
	}
	e, raw, err := i.sign(ctx, wanted)
	if err != nil {
		return none, err
	}
	i.clock.sign(now)
	i.made.Made(e, wanted, i.keys.statements.Key())
	i.prepared.Keep(e.ID(), judged{by: k.state, place: ev.Request.Index}, maxPrepared)
	return Signed[statement.Intent]{e, raw, e.ID(), wanted}, nil
}

// evidence returns the bundle's request, which stands at the place, approvals and claims, as the log of
// the size has them. A request that it does not have yet, and that nobody has answered, comes next. What
// the bundle says of places is not looked at. All of it is in force before the place end.
func (i *Issuer) evidence(ctx context.Context, b *proof.Bundle, place, size int64) (ev proof.Evidence, end int64, err error) {
	end = size
	if place == nowhere || place >= size {
		if len(b.Approvals) > 0 {
			return proof.Evidence{}, 0, brevet.Errorf(brevet.Conflict, "the issuer has not seen this request in the log")
		}
		place, end = size, size+1
	}
	first := true
	var problem error
	ev, err = b.Evidence(func(r proof.Record) int64 {
		if first {
			first = false
			return place
		}
		at, err := i.state.placeOf(ctx, r.Statement.ID())
		switch {
		case err != nil:
			problem = err
		case at.index == nowhere || at.index >= size:
			problem = brevet.Errorf(brevet.Conflict, "the issuer has not seen this approval in the log")
		}
		return at.index
	})
	if err != nil {
		return proof.Evidence{}, 0, err
	}
	return ev, end, problem
}

// intend returns the intent to give what the verdict says.
func (i *Issuer) intend(k known, ev proof.Evidence, v *proof.Verdict, now time.Time) (statement.Intent, error) {
	basis, err := ev.Basis()
	if err != nil {
		return statement.Intent{}, err
	}
	roster, _ := k.state.Roster.Head()
	catalog, _ := k.state.Catalog.Head()
	return statement.Intent{
		Header:    i.header(now, proof.IntentFresh),
		Request:   v.Statement,
		Terms:     v.Terms,
		Bundle:    basis,
		Roster:    roster,
		Catalog:   catalog,
		Approvals: v.ApprovalIDs(),
		Policies:  v.Policies(),
	}, nil
}

// stale reports whether an intent is too old to be used.
func stale(intent statement.Intent, now time.Time) bool {
	return now.UnixMicro() > intent.At+proof.IntentFresh.Microseconds()
}

func spent(request statement.ID) *brevet.Error {
	return brevet.Errorf(brevet.Conflict, "the request %s… has its grant by another intent", request[:16]).WithHint("ask again")
}
