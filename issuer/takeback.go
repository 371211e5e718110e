package issuer

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// receiptGood is how long after it was given a receipt may be shown for the first time.
const receiptGood = 24 * time.Hour

// TakeBack hears a revocation, durably, and returns the receipt: from then on nothing is signed
// that it forbids. It must be signed by the person or machine that it names, by any statement key
// that they ever had: taking away needs less than giving. Whether they may revoke this is for
// policy to say, before it comes here.
//
// A key that is heard to be revoked can from then on sign for roster and catalog no more, wherever
// that would stand in the log. Whoever can should log a revocation of a key first, and let the
// issuer follow: else what the key signed a moment ago is not followed, and nothing after it.
func (i *Issuer) TakeBack(ctx context.Context, revocation []byte) (receipt []byte, err error) {
	e, err := statement.Parse(revocation)
	if err != nil {
		return nil, err
	}
	size, err := i.hear(ctx, e, revocation)
	if err != nil {
		return nil, err
	}
	_, receipt, err = i.sign(ctx, statement.Receipt{
		Header: i.header(i.clock.latest(), receiptGood), Revocation: e.ID(), Size: size,
	})
	return receipt, err
}

// hear makes the revocation known and durable. It returns the size of the log that was followed.
func (i *Issuer) hear(ctx context.Context, e statement.Envelope, revocation []byte) (int64, error) {
	i.giving.Lock() // waits for what is being signed
	defer i.giving.Unlock()
	s := i.knows().state
	if s == nil {
		return 0, i.knows().able()
	}
	h, err := s.VerifyRevocation(proof.Entry{Index: proof.Direct, Envelope: e})
	if err != nil {
		return 0, err
	}
	now := i.clock.latest()
	if h.At > now.Add(clockSlack).UnixMicro() {
		return 0, refuse("the revocation is from the future").WithHint("set the clock of the computer that signed it")
	}
	if now.UnixMicro() > h.Until && len(s.Revoked.Of(h.What, h.Subject, proof.End)) == 0 {
		return 0, refuse("the revocation is out of date").WithHint("sign it anew")
	}
	// In force before it is durable: if it cannot be kept, the caller is told so, and it stays in
	// force until a restart.
	s.Revoked.Hear(h)
	i.statuses.forget()
	return i.knows().head.Size, i.state.write(context.WithoutCancel(ctx), "takeback", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "insert into heard (statement, envelope) values ($1, $2) on conflict do nothing", bytesOf(string(h.ID)), revocation)
		return err
	})
}

// ErrTakenBack is the cause of a refusal to stand for a grant that somebody has ended.
var ErrTakenBack = errors.New("it was taken back")

// good returns the grant unless it is over, for whatever reason the issuer knows of. The caller
// holds giving.
func (i *Issuer) good(g given, now time.Time) (Signed[statement.Grant], error) {
	var none Signed[statement.Grant]
	e, err := statement.Parse(g.envelope)
	if err != nil {
		return none, err
	}
	grant, err := statement.Open[statement.Grant](e)
	if err != nil {
		return none, err
	}
	if now.UnixMicro() >= grant.To {
		return none, refuse("the grant %s ended at %s", grant.ID, time.UnixMicro(grant.To).UTC().Format(time.DateTime)).WithHint("ask again")
	}
	s := i.knows().state
	if over := s.Over(grant, g.rests[0].Key); len(over) > 0 {
		return none, refuse("the grant %s is over: %s said %s", grant.ID, over[0].By, brevet.Quote(over[0].Reason)).Because(ErrTakenBack)
	}
	m, _, err := s.Roster.MachineOf(grant.Holder.Key, statement.KeyHolder, proof.End)
	if err != nil || m.Name != grant.Holder.Machine {
		return none, refuse("the grant %s is over: its holder %s has that key no more", grant.ID, grant.Holder.Machine).Because(err)
	}
	return Signed[statement.Grant]{e, g.envelope, e.ID(), grant}, g.rests.suspect(s.Roster)
}

// suspect returns an error if a key that the grant rests on was retired since, and what it signed
// then is not to be believed.
func (r restsOn) suspect(roster *proof.Roster) error {
	for _, sig := range r {
		if k, ok := roster.Key(sig.Key, proof.End); !ok || k.Retired != proof.End && sig.At >= k.Since {
			return refuse("key %s was retired, and what it signed for the grant is suspect", sig.Key).WithHint("ask again")
		}
	}
	return nil
}
