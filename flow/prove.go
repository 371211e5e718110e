package flow

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// prover makes proofs as of one checkpoint, which log and issuer have both signed.
type prover struct {
	q          *store.Query
	size       int64
	checkpoint []byte
}

// prover returns one for the newest checkpoint that the issuer has cosigned.
func (s *Spine) prover(q *store.Query) prover {
	s.mu.Lock()
	defer s.mu.Unlock()
	return prover{q, s.followed, s.cosigned}
}

// record returns an event that is a statement, with the proof of its place.
func (p prover) record(e store.Entry) (proof.Record, error) {
	envelope, err := envelopeOf(e)
	if err != nil {
		return proof.Record{}, err
	}
	path, err := p.path(e.Index)
	if err != nil {
		return proof.Record{}, err
	}
	r := proof.Record{Index: e.Index, Body: hex.EncodeToString(e.BodyHash[:]), Proof: path, Statement: envelope}
	if e.Kind == string(statement.KindIntent) { // whose leaf names the request, and its body the statement
		r.Salt, r.Record = e.Salt, e.Body
	}
	return r, nil
}

func (p prover) path(index int64) ([][]byte, error) {
	hashes, err := p.q.Inclusion(p.size, index)
	if err != nil {
		return nil, err
	}
	path := make([][]byte, len(hashes))
	for i, h := range hashes {
		path[i] = h[:]
	}
	return path, nil
}

// statements returns the records of the statements with these ids, in the order of the log.
func (p prover) statements(ids ...statement.ID) ([]proof.Record, error) {
	var records []proof.Record
	for _, id := range ids {
		entry, _, err := logged(p.q, string(id))
		if err != nil {
			return nil, err
		}
		record, err := p.record(entry)
		if err != nil {
			return nil, err
		}
		records = append(records, record)
	}
	slices.SortFunc(records, func(a, b proof.Record) int { return int(a.Index - b.Index) })
	return records, nil
}

// grant returns the proof of a grant, without the chains.
func (p prover) grant(s *Spine, g brevet.Grant) (*proof.Bundle, error) {
	entry, envelope, err := known(p.q.GivenBy(g))
	if err != nil {
		return nil, err
	}
	given, err := statement.Open[statement.Grant](envelope)
	if err != nil {
		return nil, err
	}
	r, err := p.q.Request(g.Request)
	if err != nil {
		return nil, err
	}
	claims, err := claimed(r)
	if err != nil {
		return nil, err
	}
	b := &proof.Bundle{Claimed: proof.ClaimsOf(claims), Checkpoint: string(p.checkpoint)}
	if b.Approvals, err = p.statements(given.Approvals...); err != nil {
		return nil, err
	}
	asked, _, err := known(p.q.AskedBy(r.ID, string(given.Request)))
	if err != nil {
		return nil, err
	}
	if b.Request, err = p.record(asked); err != nil {
		return nil, err
	}
	if b.Grant, err = p.record(entry); err != nil {
		return nil, err
	}
	intent, err := p.q.SpentBy(r.ID, string(given.Request))
	if err != nil {
		return nil, err
	}
	if b.Intent, err = p.record(intent); err != nil {
		return nil, err
	}
	credential, err := p.q.Credential(g.ID)
	if err != nil && brevet.KindOf(err) != brevet.NotFound { // erased when the grant is over
		return nil, err
	}
	b.Certificate = credential.Public
	return b, nil
}

// chains adds the roster and catalog statements after these numbers, and every revocation that
// bears on somebody's standing, with the manifest of the last catalog.
func (p prover) chains(b *proof.Bundle, roster, catalog int64) error {
	var err error
	if b.Roster, err = p.chain(rosterKinds, roster); err != nil {
		return err
	}
	if b.Catalog, err = p.chain([]string{string(statement.KindCatalog)}, catalog); err != nil {
		return err
	}
	if n := len(b.Catalog); n > 0 {
		last, err := statement.Open[statement.Catalog](b.Catalog[n-1].Statement)
		if err != nil {
			return err
		}
		if b.Manifest, err = p.q.Manifest(last.Manifest); err != nil {
			return err
		}
	}
	return nil
}

// chain returns the statements of a chain after the number. The first is number 1, and there are no gaps.
func (p prover) chain(kinds []string, after int64) ([]proof.Record, error) {
	var records []proof.Record
	for from := int64(0); ; {
		entries, err := p.q.Statements(kinds, from, page)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			from = e.Index + 1
			if e.Index >= p.size {
				return records, nil
			}
			if after--; after >= 0 {
				continue
			}
			record, err := p.record(e)
			if err != nil {
				return nil, err
			}
			records = append(records, record)
		}
		if len(entries) < page {
			return records, nil
		}
	}
}

// rosterKinds are the statements of the roster chain.
var rosterKinds = trusted[:5]

// revocations adds what ended the request, the grant, its person or the key that asked, and what the
// roster's reinstatements lift: they cannot be verified without it.
func (p prover) revocations(b *proof.Bundle, v view) error {
	request, err := statement.Open[statement.Request](b.Request.Statement)
	if err != nil {
		return err
	}
	subjects := map[string]string{
		statement.RevokeRequest: string(b.Request.Statement.ID()),
		statement.RevokeGrant:   string(b.Request.Statement.RequestID(request).Grant()),
		statement.RevokePerson:  string(request.Person),
	}
	var ids []statement.ID
	for what, subject := range subjects {
		for _, heard := range v.Revoked.Of(what, subject, p.size) {
			ids = append(ids, heard.ID)
		}
	}
	for _, r := range b.Roster {
		if lifted, err := statement.Open[statement.Reinstate](r.Statement); err == nil {
			ids = append(ids, lifted.Revocation)
		}
	}
	slices.Sort(ids)
	b.Revocations, err = p.statements(slices.Compact(ids)...)
	return err
}

// recordings adds the events that close the recordings of the grant's sessions.
func (p prover) recordings(b *proof.Bundle, g brevet.Grant) error {
	sessions, err := p.q.Sessions(store.SessionFilter{Grant: g.ID, Page: store.Page{Limit: store.MaxPage}}) // as many as a proof may have
	if err != nil {
		return err
	}
	for _, session := range sessions {
		events, err := p.q.Search(store.Filter{Kind: "recording.sealed", Session: session.ID, Limit: 1})
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.Index >= p.size || e.Body == nil {
				continue
			}
			path, err := p.path(e.Index)
			if err != nil {
				return err
			}
			b.Recordings = append(b.Recordings, proof.Happened{Index: e.Index, Kind: e.Kind, Subject: e.Subject, Salt: e.Salt, Record: e.Body, Proof: path})
		}
	}
	return nil
}

// Chains returns a proof that holds roster and catalog statements after these numbers, and nothing else.
func (s *Spine) Chains(ctx context.Context, by brevet.Caller, roster, catalog int64) (bundle []byte, err error) {
	if by.Machine == "" {
		return nil, brevet.Errorf(brevet.Refused, "the chains are for machines of the roster")
	}
	p := s.prover(nil)
	err = s.Store.Read(ctx, func(q *store.Query) error {
		p.q = q
		b := &proof.Bundle{Checkpoint: string(p.checkpoint)}
		if err := p.chains(b, roster, catalog); err != nil {
			return err
		}
		entries, err := standing(q, s.State(), 0, p.size)
		if err != nil {
			return err
		}
		for _, e := range entries {
			record, err := p.record(e)
			if err != nil {
				return err
			}
			b.Revocations = append(b.Revocations, record)
		}
		bundle, err = b.Marshal()
		return err
	})
	return bundle, err
}

// standing returns the revocations of persons and keys that stand in a range of the log: those that
// the chains alone do not show. All others, which are many, are not looked at.
func standing(q *store.Query, state *proof.State, from, to int64) ([]store.Entry, error) {
	var entries []store.Entry
	for _, place := range state.Revoked.Places(statement.RevokePerson, statement.RevokeKey) {
		if place < from || place >= to {
			continue
		}
		entry, err := q.Entry(place)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// ExportGrant returns the whole proof of a grant, to be verified by anybody who has the root's id.
func (s *Spine) ExportGrant(ctx context.Context, by brevet.Caller, id string) (brevet.GrantID, []byte, error) {
	v := s.view()
	g, err := s.findGrant(s.Store.Query(ctx), v, by, id)
	if err != nil {
		return "", nil, err
	}
	if g.Statement == "" {
		return "", nil, brevet.Errorf(brevet.Conflict, "%s was not given, so there is nothing to prove: it is %s", g.ID, g.State)
	}
	entry, err := s.Store.Query(ctx).GivenBy(g)
	if err != nil {
		return "", nil, err
	}
	if err := s.await(ctx, entry.Index+1); err != nil {
		return "", nil, err
	}
	p := s.prover(nil)
	var bundle []byte
	err = s.Store.Read(ctx, func(q *store.Query) error {
		p.q = q
		b, err := p.grant(s, g)
		if err != nil {
			return err
		}
		if err := p.chains(b, 0, 0); err != nil {
			return err
		}
		if err := p.manifestOf(b, g); err != nil {
			return err
		}
		if err := p.revocations(b, v); err != nil {
			return err
		}
		if err := p.recordings(b, g); err != nil {
			return err
		}
		bundle, err = b.Marshal()
		return err
	})
	if err != nil {
		return "", nil, err
	}
	exported := s.onGrant(s.event("audit.exported", "", by, "the proof of "+string(g.ID)+" was exported"), g)
	exported.Subject = string(exported.ID)
	if _, err := s.Store.Change(ctx, func(*store.Tx) ([]brevet.Event, error) { return []brevet.Event{exported}, nil }); err != nil {
		return "", nil, err // reading it is an event, or it is not read
	}
	return g.ID, bundle, nil
}

// manifestOf puts the manifest of the catalog into the bundle that the grant was judged by: the one in
// force at the place of its intent. That may be newer than the one that the intent names, when
// another was applied in the same instant and the issuer found that it gives the same.
func (p prover) manifestOf(b *proof.Bundle, g brevet.Grant) error {
	_, c, err := catalogBefore(p.q, b.Intent.Index)
	if err != nil {
		return fmt.Errorf("the catalog of %s: %w", g.ID, err)
	}
	b.Manifest, err = p.q.Manifest(c.Manifest)
	return err
}

// catalogBefore returns the catalog statement in force before a place of the log.
func catalogBefore(q *store.Query, place int64) (id statement.ID, c statement.Catalog, err error) {
	for from := int64(0); ; {
		entries, err := q.Statements([]string{string(statement.KindCatalog)}, from, page)
		if err != nil {
			return "", c, err
		}
		for _, e := range entries {
			if from = e.Index + 1; e.Index >= place {
				break
			}
			envelope, err := envelopeOf(e)
			if err != nil {
				return "", c, err
			}
			id = envelope.ID()
			if c, err = statement.Open[statement.Catalog](envelope); err != nil {
				return "", c, err
			}
		}
		if len(entries) < page || from > place {
			break
		}
	}
	if id == "" {
		return "", c, brevet.Errorf(brevet.Refused, "no catalog stands before %d of the log", place)
	}
	return id, c, nil
}

// status returns the issuer's fresh word on a grant.
func (s *Spine) status(ctx context.Context, id brevet.GrantID) (statement.Envelope, error) {
	raw, err := s.Issuer.Status(ctx, id)
	if err != nil {
		return statement.Envelope{}, err
	}
	return statement.Parse(raw)
}
