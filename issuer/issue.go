package issuer

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/issuer/ca"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// IntentLeaf is the body of an intent's leaf, which the issuer compares with the leaf itself.
type IntentLeaf struct {
	Index int64
	Salt  []byte
	Body  []byte
}

// Result is what was given.
type Result struct {
	Grant       Signed[statement.Grant]
	Certificate []byte // SSH, in its wire form
}

// Issue gives what the intent says, once that stands in the log that was followed, as the first one
// of its request. It waits for the log to be followed so far, until ctx ends. It judges again, with all that it knows by now: whatever changed since, a
// revocation, a suspension, a role, a policy, voids the intent for good.
//
// Asked again for the same intent it returns the same bytes, also after a crash.
func (i *Issuer) Issue(ctx context.Context, e statement.Envelope, leaf IntentLeaf, b *proof.Bundle) (Result, error) {
	said, err := proof.Open[statement.Intent](&i.made, e)
	if err != nil {
		return Result{}, err
	}
	if err := i.seen(ctx, leaf.Index); err != nil {
		return Result{}, err
	}
	i.giving.RLock()
	defer i.giving.RUnlock()
	k := i.knows()
	if err := k.able(); err != nil {
		return Result{}, err
	}
	now, err := i.clock.now()
	if err != nil {
		return Result{}, err
	}
	st, err := i.state.standingSoon(ctx, said.Request)
	if err != nil {
		return Result{}, err
	}
	if st.given != nil {
		return i.again(*st.given, said.Request, e.ID(), now)
	}
	if err := i.spends(k, st.place, e, leaf); err != nil {
		return Result{}, err
	}
	v, err := i.judgeAgain(ctx, k, e.ID(), said, st.index, leaf.Index, b, now)
	if err != nil {
		return Result{}, err
	}
	m, err := i.give(ctx, k, e, said, v, st.index, leaf.Index, now)
	if err != nil {
		return Result{}, err
	}
	if err := i.state.write(ctx, "issue", m.write); err != nil {
		return Result{}, err
	}
	if m.first != nil {
		return i.again(*m.first, said.Request, e.ID(), now)
	}
	return m.Result, nil
}

// again returns what was given before, unless it is over.
func (i *Issuer) again(g given, request, intent statement.ID, now time.Time) (Result, error) {
	if !bytes.Equal(g.intent, bytesOf(string(intent))) {
		return Result{}, spent(request)
	}
	good, err := i.good(g, now)
	if err != nil {
		return Result{}, err
	}
	i.state.gave.Keep(good.ID, struct{}{}, maxGave)
	return Result{good, g.certificate}, nil
}

// spends checks that the intent is the issuer's own and spent its request: its leaf is the first for
// the request in the log that was followed.
func (i *Issuer) spends(k known, by place, e statement.Envelope, leaf IntentLeaf) error {
	switch {
	case by.spent == nowhere || by.spent >= k.head.Size:
		return brevet.Errorf(brevet.Conflict, "the issuer has not seen the intent in the log yet")
	case by.spent != leaf.Index:
		return refuse("the request was spent by the intent at %d of the log, not by this one", by.spent).WithHint("ask again")
	case by.spent <= k.forgotten:
		return refuse("the issuer does not remember all that it gave up to place %d of the log: its state was put back", k.forgotten).WithHint("ask again")
	}
	switch m, err := k.state.IssuedBy(e, leaf.Index, &i.made); {
	case err != nil:
		return err
	case m.Name != i.name:
		return refuse("the intent is of the issuer %s", m.Name).WithHint("ask again")
	}
	return proof.IntentLeaf(proof.Record{
		Body: hex.EncodeToString(by.body), Salt: leaf.Salt, Record: leaf.Body, Statement: e,
	})
}

// judgeAgain judges at the place of the intent, as everybody will who checks the proof, and now.
func (i *Issuer) judgeAgain(ctx context.Context, k known, id statement.ID, said statement.Intent, place, index int64, b *proof.Bundle, now time.Time) (*proof.Verdict, error) {
	if stale(said, now) {
		return nil, refuse("the intent is older than %s", proof.IntentFresh).WithHint("ask again")
	}
	ev, _, err := i.evidence(ctx, b, place, k.head.Size)
	if err != nil {
		return nil, err
	}
	s := k.state
	if err := s.IntentRestsOn(said, ev, index); err != nil {
		return nil, err
	}
	type moment struct {
		at  int64
		now time.Time
	}
	moments := []moment{{index, time.UnixMicro(said.At)}, {k.head.Size, now}}
	if before, known := i.prepared.Recall(id); known && before.by == s && before.place <= place {
		moments = moments[1:] // Prepare has judged it by the same
	}
	var v *proof.Verdict
	for _, when := range moments {
		if v, err = s.Judge(ev, when.at, when.now, i.memory); err != nil {
			return nil, err
		}
		if err := proof.MatchIntent(said, v); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// making is a grant on its way into the state.
type making struct {
	Result
	rests restsOn
	state *state
	place int64  // of the request
	first *given // that somebody else has made for the same request meanwhile
}

// give makes the certificate and the grant.
func (i *Issuer) give(ctx context.Context, k known, e statement.Envelope, said statement.Intent, v *proof.Verdict, place, index int64, now time.Time) (*making, error) {
	to := now.Add(said.Duration.Duration())
	serial := newSerial()
	g := statement.Grant{
		Header: i.header(now, to.Sub(now)), ID: v.ID.Grant(), Request: said.Request, Terms: said.Terms,
		From: now.UnixMicro(), To: to.UnixMicro(),
		Approvals: said.Approvals, Roster: said.Roster, Catalog: said.Catalog,
		Intent: e.ID(), Index: index, Serial: strconv.FormatUint(serial, 10),
	}
	certificate, err := i.certify(k, g, v, serial)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(certificate)
	g.Cert = hex.EncodeToString(digest[:])
	envelope, raw, err := i.sign(ctx, g)
	if err != nil {
		return nil, err
	}
	i.clock.sign(now)
	rests := restsOn{{v.Key.Fingerprint, v.Request.At}}
	for _, a := range v.Approvals {
		rests = append(rests, signature{a.Key.Fingerprint, a.At})
	}
	return &making{Result: Result{Signed[statement.Grant]{envelope, raw, envelope.ID(), g}, certificate}, rests: rests, place: place, state: i.state}, nil
}

// certify signs the certificate that gives exactly what the grant does, to its holder's key.
func (i *Issuer) certify(k known, g statement.Grant, v *proof.Verdict, serial uint64) ([]byte, error) {
	terms, err := proof.CertificateFor(g, v.Role, v.Gateway)
	if err != nil {
		return nil, err
	}
	_, holder, err := k.state.Roster.MachineOf(g.Holder.Key, statement.KeyHolder, proof.End)
	if err != nil {
		return nil, err
	}
	key, err := holder.SSH()
	if err != nil {
		return nil, err
	}
	return i.keys.users.SignUser(ca.Certificate{
		Key: key, Serial: serial, KeyID: terms.KeyID, Principals: terms.Principals,
		After: terms.After, Before: terms.Before, Options: terms.Options, Extensions: terms.Extensions,
	})
}

// newSerial returns 63 random bits that are not all 0.
func newSerial() uint64 {
	var b [8]byte
	for {
		rand.Read(b[:]) // never fails (crypto/rand, Go 1.24)
		if serial := binary.BigEndian.Uint64(b[:]) & math.MaxInt64; serial != 0 {
			return serial
		}
	}
}

// write keeps what was given, unless there is something for the request: then that is what counts.
func (m *making) write(ctx context.Context, tx *sql.Tx) error {
	keys, err := json.Marshal(m.rests)
	if err != nil {
		return err
	}
	g := m.Grant.Said
	// What is given rests on a log that was followed for good: the page with its intent was sent before
	// this, and if it is not here, it never will be.
	kept, err := tx.ExecContext(ctx, `insert into grants (spent, request, intent, id, statement, envelope, certificate, ends, keys)
		select spent, statement, $1, $2, $3, $4, $5, $6, $7 from places where statement = $8 and idx = $9 and spent = $10 on conflict do nothing`,
		bytesOf(string(g.Intent)), g.ID, bytesOf(string(m.Grant.ID)), m.Grant.Raw, m.Certificate, g.To, string(keys),
		bytesOf(string(g.Request)), m.place, g.Index)
	if err != nil {
		return fmt.Errorf("keep the grant: %w", err)
	}
	n, err := kept.RowsAffected()
	if err != nil {
		return err
	}
	if n == 1 {
		m.state.gave.Keep(m.Grant.ID, struct{}{}, maxGave) // before anybody can log it
		return nil
	}
	first, found, err := givenAs(ctx, tx, g.ID)
	if err == nil && !found {
		return brevet.Errorf(brevet.Unavailable, "the log was not followed as far as the intent after all")
	}
	m.first = &first
	return err
}
