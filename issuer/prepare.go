package issuer

import (
	"bytes"
	"context"
	"database/sql"
	"strconv"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// Prepare judges the evidence in the bundle (see proof.NewEvidence), as the log stands and now, and
// returns the intent to give what may be given. The caller appends it to the log, which spends
// the request, and then calls Issue.
//
// Asked again it returns the same bytes, as long as they are neither used nor too old and the
// evidence still comes to the same. A request that is spent otherwise is a Conflict. So is one that
// the issuer did not see in the log yet.
func (i *Issuer) Prepare(ctx context.Context, bundle []byte) (intent []byte, err error) {
	k := i.knows()
	if err := k.able(); err != nil {
		return nil, err
	}
	ev, err := i.evidence(ctx, bundle, k.head.Size)
	if err != nil {
		return nil, err
	}
	now, err := i.clock.now()
	if err != nil {
		return nil, err
	}
	v, err := k.state.Judge(ev, k.head.Size, now, &i.memory)
	if err != nil {
		return nil, err
	}
	wanted, err := i.intend(k, ev, v, now)
	if err != nil {
		return nil, err
	}
	_, signed, err := i.sign(ctx, wanted)
	if err != nil {
		return nil, err
	}
	i.clock.sign(now)
	p := preparation{intent: wanted, verdict: v, signed: signed, now: now}
	if err := i.state.write(ctx, "prepare", p.write); err != nil {
		return nil, err
	}
	return p.signed, nil
}

// evidence reads the bundle's request, approvals and claims, and finds where the first two stand
// in the log of the size. What the bundle says of their places is not looked at.
func (i *Issuer) evidence(ctx context.Context, bundle []byte, size int64) (proof.Evidence, error) {
	b, err := proof.Parse(bundle)
	if err != nil {
		return proof.Evidence{}, err
	}
	var missing error
	ev, err := b.Evidence(func(r proof.Record) int64 {
		index, found, err := i.state.placeOf(ctx, r.Statement.ID())
		switch {
		case err != nil:
			missing = err
		case !found || index >= size:
			kind, _ := r.Statement.Kind()
			missing = brevet.Errorf(brevet.Conflict, "the issuer has not seen this %s in the log", kind)
		}
		return index
	})
	if err != nil {
		return proof.Evidence{}, err
	}
	return ev, missing
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

// preparation is an intent on its way into the state.
type preparation struct {
	intent  statement.Intent
	verdict *proof.Verdict
	signed  []byte // the intent's envelope; afterwards the one that counts
	now     time.Time
}

// write keeps the intent, unless one that says the same is there. One that says something else and
// is not in the log is void from here on: Issue takes only the one that is kept.
func (p *preparation) write(ctx context.Context, tx *sql.Tx) error {
	request := p.intent.Request
	_, found, err := givenFor(ctx, tx, request)
	if err != nil {
		return err
	}
	if found {
		return spent(request, "it has its grant already")
	}
	old, found, err := preparedFor(ctx, tx, request)
	if err != nil {
		return err
	}
	if found && p.fits(old) {
		p.signed = old
		return nil
	}
	by, used, err := spentBy(ctx, tx, request)
	if err != nil {
		return err
	}
	if used {
		return spent(request, "the intent at "+strconv.FormatInt(by.index, 10)+" of the log has used it")
	}
	_, err = tx.ExecContext(ctx, `insert into intents (request, envelope, at) values ($1, $2, $3)
		on conflict (request) do update set envelope = excluded.envelope, at = excluded.at`,
		bytesOf(string(request)), p.signed, p.now.UnixMicro())
	return err
}

// fits reports whether an intent of before says what is wanted now, and can still be used.
func (p *preparation) fits(envelope []byte) bool {
	if bytes.Equal(envelope, p.signed) {
		return true
	}
	e, err := statement.Parse(envelope)
	if err != nil {
		return false
	}
	old, err := statement.Open[statement.Intent](e)
	return err == nil && old.Bundle == p.intent.Bundle && !stale(old, p.now) && proof.MatchIntent(old, p.verdict) == nil
}

// stale reports whether an intent is too old to be used.
func stale(intent statement.Intent, now time.Time) bool {
	return now.UnixMicro() > intent.At+proof.IntentFresh.Microseconds()
}

func spent(request statement.ID, why string) *brevet.Error {
	return brevet.Errorf(brevet.Conflict, "the request %s… is spent: %s", request[:16], why).WithHint("ask again")
}
