package flow

import (
	"context"
	"slices"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// evidence is a request as the log has it. The rows are for finding it; what counts is what was signed.
type evidence struct {
	row     brevet.Request
	request statement.Request
	proof.Evidence
}

// bundle returns the evidence as the issuer wants it.
func (e evidence) bundle() *proof.Bundle {
	var approvals []statement.Envelope
	for _, a := range e.Approvals {
		approvals = append(approvals, a.Envelope)
	}
	return proof.NewEvidence(e.Request.Envelope, approvals, e.Claimed)
}

// last returns the place of its last statement.
func (e evidence) last() int64 {
	last := e.Request.Index
	for _, a := range e.Approvals {
		last = max(last, a.Index)
	}
	return last
}

// evidence reads what a request rests on. A row that does not say what its statement says was
// changed in the database: that is told, and refused.
func (s *Spine) evidence(ctx context.Context, q *store.Query, row brevet.Request) (evidence, error) {
	e, err := s.readEvidence(q, row)
	if brevet.KindOf(err) == brevet.Refused {
		event := s.failure("log.mismatch", string(row.ID), s.self(), "the rows of "+string(row.ID)+" do not say what was signed")
		event.Request = row.ID
		event.Detail = map[string]any{"error": err.Error()}
		s.tell(ctx, event)
	}
	return e, err
}

func (s *Spine) readEvidence(q *store.Query, row brevet.Request) (evidence, error) {
	e := evidence{row: row}
	entry, envelope, err := known(q.AskedBy(row.ID, row.Statement))
	if err != nil {
		return e, err
	}
	if e.request, err = statement.Open[statement.Request](envelope); err != nil {
		return e, changed(entry.Index, err)
	}
	if err := agree(row, e.request, envelope); err != nil {
		return e, err
	}
	e.Request = proof.Entry{Index: entry.Index, Envelope: envelope}
	answers, err := q.Approvals(row.ID)
	if err != nil {
		return e, err
	}
	for _, a := range answers {
		if !a.Agreed {
			continue
		}
		entry, envelope, err := logged(q, a.Statement)
		if err != nil {
			return e, err
		}
		e.Approvals = append(e.Approvals, proof.Entry{Index: entry.Index, Envelope: envelope})
	}
	slices.SortFunc(e.Approvals, func(a, b proof.Entry) int { return int(a.Index - b.Index) })
	e.Claimed, err = claimed(row)
	return e, err
}

// logged returns the statement with the id, as it stands in the log.
func logged(q *store.Query, id string) (store.Entry, statement.Envelope, error) {
	return known(q.Statement(id))
}

// known reads a statement that the database names: it must be in the log.
func known(entry store.Entry, err error) (store.Entry, statement.Envelope, error) {
	if brevet.KindOf(err) == brevet.NotFound {
		message, _ := brevet.MessageOf(err)
		return entry, statement.Envelope{}, brevet.Errorf(brevet.Refused, "%s in the log, which the database names", message).Because(err)
	}
	if err != nil {
		return entry, statement.Envelope{}, err
	}
	envelope, err := envelopeOf(entry)
	return entry, envelope, err
}

// askedBy reports whether the request was made with the key: it signed, or the gateway saw it.
func askedBy(key string, said statement.Request, envelope statement.Envelope) bool {
	if said.Via == brevet.ViaSSH {
		return key == said.Seen.Key
	}
	return slices.ContainsFunc(envelope.Signatures, func(s statement.Signature) bool { return s.Key == key })
}

// agree compares a row with the statement that it was made of.
func agree(row brevet.Request, said statement.Request, envelope statement.Envelope) error {
	for _, field := range []struct {
		name string
		same bool
	}{
		{"id", row.ID == envelope.RequestID(said)},
		{"key", askedBy(row.Key, said, envelope)},
		{"person", row.Person == said.Person},
		{"role", row.Role == said.Role},
		{"targets", slices.Equal(row.Targets, said.Targets)},
		{"logins", slices.Equal(row.Logins, said.Logins)},
		{"duration", row.Duration == said.Duration},
		{"reason", row.Reason == said.Reason},
		{"ticket", row.Ticket == said.Ticket},
		{"holder", row.Holder == said.Holder.Machine},
		{"way", row.Via == said.Via},
	} {
		if !field.same {
			return brevet.Errorf(brevet.Refused, "the %s of %s was changed in the database", field.name, row.ID).
				WithHint("brevet audit search --kind log.mismatch shows what else was")
		}
	}
	return nil
}

// claimed returns what the server claimed of the request when it took it in.
func claimed(r brevet.Request) (policy.Claimed, error) {
	claims, err := proof.Claimed(r.Claimed)
	if err != nil {
		err = brevet.Errorf(brevet.Refused, "what was claimed of %s was changed in the database", r.ID).Because(err)
	}
	return claims, err
}

// parse reads a statement of one kind that somebody handed in.
func parse[T statement.Payload](raw []byte) (statement.Envelope, T, error) {
	var none T
	envelope, err := statement.Parse(raw)
	if err != nil {
		return envelope, none, err
	}
	said, err := statement.Open[T](envelope)
	return envelope, said, err
}
