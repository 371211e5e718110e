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
	Grant       []byte // the grant statement's envelope
	Certificate []byte // SSH, in its wire form
}

// Issue gives what the intent says, once that stands in the log that was followed, as the first one
// of its request. It judges again, with all that it knows by now: whatever changed since, a
// revocation, a suspension, a role, a policy, voids the intent for good.
//
// Asked again for the same intent it returns the same bytes, also after a crash.
func (i *Issuer) Issue(ctx context.Context, intent []byte, leaf IntentLeaf, bundle []byte) (Result, error) {
	e, err := statement.Parse(intent)
	if err != nil {
		return Result{}, err
	}
	said, err := statement.Open[statement.Intent](e)
	if err != nil {
		return Result{}, err
	}
	i.giving.RLock()
	defer i.giving.RUnlock()
	if err := i.known.able(); err != nil {
		return Result{}, err
	}
	now, err := i.clock.now()
	if err != nil {
		return Result{}, err
	}
	// In this order: who issues the same at the same time removes what is prepared with writing what is given.
	prepared, _, err := preparedFor(ctx, i.state.reads, said.Request)
	if err != nil {
		return Result{}, failed(err)
	}
	g, found, err := givenFor(ctx, i.state.reads, said.Request)
	if err != nil {
		return Result{}, failed(err)
	}
	if found {
		return i.again(g, e.ID(), now)
	}
	if !bytes.Equal(prepared, intent) {
		return Result{}, refuse("the issuer has not prepared this intent, or another one since").WithHint("ask again")
	}
	if err := i.spends(ctx, e, said, leaf); err != nil {
		return Result{}, err
	}
	v, err := i.judgeAgain(ctx, said, leaf.Index, bundle, now)
	if err != nil {
		return Result{}, err
	}
	made, err := i.give(ctx, e, said, v, leaf.Index, now)
	if err != nil {
		return Result{}, err
	}
	if err := i.state.write(ctx, "issue", made.write); err != nil {
		return Result{}, err
	}
	return made.Result, nil
}

// again returns what was given before, unless it is over.
func (i *Issuer) again(g given, intent statement.ID, now time.Time) (Result, error) {
	if !bytes.Equal(g.intent, bytesOf(string(intent))) {
		return Result{}, brevet.Errorf(brevet.Conflict, "the request has its grant by another intent")
	}
	if _, err := i.good(g, now); err != nil {
		return Result{}, err
	}
	return g.Result, nil
}

// spends checks that the intent spent its request: its leaf is the first for the request in the log
// that was followed.
func (i *Issuer) spends(ctx context.Context, e statement.Envelope, said statement.Intent, leaf IntentLeaf) error {
	by, found, err := spentBy(ctx, i.state.reads, said.Request)
	switch {
	case err != nil:
		return failed(err)
	case !found || by.index >= i.known.head.Size:
		return brevet.Errorf(brevet.Conflict, "the issuer has not seen the intent in the log yet")
	case by.index != leaf.Index:
		return refuse("the request was spent by the intent at %d of the log, not by this one", by.index).WithHint("ask again")
	}
	return proof.IntentLeaf(proof.Record{
		Body: hex.EncodeToString(by.body), Salt: leaf.Salt, Record: leaf.Body, Statement: e,
	})
}

// judgeAgain judges at the place of the intent, as everybody will who checks the proof, and now.
func (i *Issuer) judgeAgain(ctx context.Context, said statement.Intent, index int64, bundle []byte, now time.Time) (*proof.Verdict, error) {
	if stale(said, now) {
		return nil, refuse("the intent is older than %s", proof.IntentFresh).WithHint("ask again")
	}
	ev, err := i.evidence(ctx, bundle, i.known.head.Size)
	if err != nil {
		return nil, err
	}
	s := i.known.state
	if err := s.IntentRestsOn(said, ev, index); err != nil {
		return nil, err
	}
	var v *proof.Verdict
	for _, when := range []struct {
		at  int64
		now time.Time
	}{{index, time.UnixMicro(said.At)}, {i.known.head.Size, now}} {
		if v, err = s.Judge(ev, when.at, when.now, &i.memory); err != nil {
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
	given
	grant statement.Grant
}

// give makes the certificate and the grant.
func (i *Issuer) give(ctx context.Context, e statement.Envelope, said statement.Intent, v *proof.Verdict, index int64, now time.Time) (*making, error) {
	to := now.Add(said.Duration.Duration())
	serial := newSerial()
	g := statement.Grant{
		Header: i.header(now, to.Sub(now)), ID: v.ID.Grant(), Request: said.Request, Terms: said.Terms,
		From: now.UnixMicro(), To: to.UnixMicro(),
		Approvals: said.Approvals, Roster: said.Roster, Catalog: said.Catalog,
		Intent: e.ID(), Index: index, Serial: strconv.FormatUint(serial, 10),
	}
	certificate, err := i.certify(g, v, serial)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(certificate)
	g.Cert = hex.EncodeToString(digest[:])
	_, signed, err := i.sign(ctx, g)
	if err != nil {
		return nil, err
	}
	i.clock.sign(now)
	rests := restsOn{{v.Key.Fingerprint, v.Request.At}}
	for _, a := range v.Approvals {
		rests = append(rests, signature{a.Key.Fingerprint, a.At})
	}
	return &making{given{bytesOf(string(g.Intent)), Result{signed, certificate}, rests}, g}, nil
}

// certify signs the certificate that gives exactly what the grant does, to its holder's key.
func (i *Issuer) certify(g statement.Grant, v *proof.Verdict, serial uint64) ([]byte, error) {
	terms, err := proof.CertificateFor(g, v.Role, v.Gateway)
	if err != nil {
		return nil, err
	}
	_, holder, err := i.known.state.Roster.MachineOf(g.Holder.Key, statement.KeyHolder, proof.End)
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

// write keeps what was given. If the same intent was issued meanwhile, that is what counts.
func (m *making) write(ctx context.Context, tx *sql.Tx) error {
	first, found, err := givenFor(ctx, tx, m.grant.Request)
	if err != nil {
		return err
	}
	if found {
		if !bytes.Equal(first.intent, m.intent) {
			return spent(m.grant.Request, "it has its grant by another intent")
		}
		m.given = first
		return nil
	}
	keys, err := json.Marshal(m.rests)
	if err != nil {
		return err
	}
	request := bytesOf(string(m.grant.Request))
	if _, err := tx.ExecContext(ctx, "insert into grants (request, intent, id, envelope, certificate, ends, keys) values ($1, $2, $3, $4, $5, $6, $7)",
		request, m.intent, m.grant.ID, m.Grant, m.Certificate, m.grant.To, string(keys)); err != nil {
		return fmt.Errorf("keep the grant: %w", err)
	}
	_, err = tx.ExecContext(ctx, "delete from intents where request = $1", request)
	return err
}
