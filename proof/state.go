package proof

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"slices"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

// ErrFork is the cause of a refusal that is more than a mistake: somebody signed, or shows, a
// second statement where the chain already has one. It is worth an alarm.
var ErrFork = errors.New("a chain has two statements with one number")

// State is what the log's roster, catalog and revocation statements add up to. It answers for
// every place in the log up to the last statement that it took in. A State does not change but
// for what it hears revoked; Extend returns the next one.
type State struct {
	Roster  *Roster
	Catalog *Chain
	Revoked *Revocations
}

// Found begins a state with the first root, whose id must be the one that was pinned. Each
// founder must have signed it.
func Found(root Entry, pinned statement.ID) (*State, error) {
	if id := root.Envelope.ID(); id != pinned {
		return nil, refuse("the root is %s…, not %s…, which was pinned", id[:16], brevet.Quote(string(pinned[:min(len(pinned), 16)]))).
			WithHint("compare the fingerprint with somebody who was there when the organisation was founded")
	}
	s := &State{Roster: newRoster(), Catalog: newChain(), Revoked: newRevocations()}
	if err := s.found(root); err != nil {
		return nil, within(err, "root")
	}
	return s, nil
}

// Extend returns the state that stands after the entries, which must be in the order of the log.
// Statements that it knows are passed over. Of the catalogs that the entries put in force the
// last one's manifest must be there, by the hex of its SHA-256. Errors are Refused and
// name the statement; what was heard revoked before one stays heard.
func (s *State) Extend(manifests map[string][]byte, entries ...Entry) (*State, error) {
	next, err := s.extendTo(manifests, entries)
	if err != nil {
		return nil, err
	}
	if next.Catalog != s.Catalog && !next.Catalog.complete() {
		return nil, refuse("the manifest of catalog %d is missing", next.Catalog.number)
	}
	return next, nil
}

// Follows returns nil if the statement may stand next in its chain: its place and its signatures, and
// not what a manifest says. It costs little, whoever sent it. A revocation is of no chain.
func (s *State) Follows(e Entry) error {
	if kind, err := e.Envelope.Kind(); err != nil || kind == statement.KindRevocation {
		return refuse("it is of no chain").Because(err)
	}
	_, err := s.extendTo(nil, []Entry{e})
	return err
}

// extendTo is Extend, but no manifest need be there.
func (s *State) extendTo(manifests map[string][]byte, entries []Entry) (*State, error) {
	if len(entries)+len(manifests) == 0 {
		return s, nil
	}
	next := &State{Roster: s.Roster, Catalog: s.Catalog, Revoked: s.Revoked}
	for _, e := range entries {
		if err := next.add(e, s); err != nil {
			return nil, err
		}
	}
	if next.Catalog == s.Catalog && len(manifests) > 0 {
		next.Catalog = s.Catalog.clone()
	}
	if next.Catalog != s.Catalog {
		if err := next.Catalog.take(manifests); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// apart returns a state that hears what is revoked by itself.
func (s *State) apart() *State {
	return &State{Roster: s.Roster, Catalog: s.Catalog, Revoked: s.Revoked.clone()}
}

// add takes in one entry. The chains of the state before are copied at the first change.
func (s *State) add(e Entry, before *State) error {
	kind, err := e.Envelope.Kind()
	if err != nil {
		return within(err, "the statement at %d", e.Index)
	}
	switch kind {
	case statement.KindRevocation:
		return within2(s.hear(e), "the revocation at %d", e.Index)
	case statement.KindCatalog:
		if s.Catalog.Knows(e.Envelope.ID()) {
			return nil
		}
		if s.Catalog == before.Catalog {
			s.Catalog = s.Catalog.clone()
		}
		return within2(s.addCatalog(e), "catalog statement %d", s.Catalog.number+1)
	}
	if s.Roster.Knows(e.Envelope.ID()) {
		return nil
	}
	if s.Roster == before.Roster {
		s.Roster = s.Roster.clone()
	}
	return within2(s.addRoster(kind, e), "roster statement %d (%s)", s.Roster.number+1, kind)
}

// within2 is within for an error that may be nil.
func within2(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return within(err, format, args...)
}

// KeyFor returns the key of a person or workload who before the place at, and at the time now in
// microseconds, may act by it in that use: see Roster.KeyFor. Nor may the key be revoked, nor its
// person be suspended.
func (s *State) KeyFor(fingerprint string, use statement.Use, at, now int64) (Key, error) {
	k, err := s.Roster.KeyFor(fingerprint, use, at, now)
	if err != nil {
		return Key{}, err
	}
	if len(s.Revoked.Of(statement.RevokeKey, fingerprint, at)) > 0 {
		return Key{}, refuse("key %s of %s is revoked", fingerprint, k.Person)
	}
	if id, suspended := s.Suspended(k.Person, at); suspended {
		return Key{}, refuse("%s is suspended (statement %s…)", k.Person, id[:16])
	}
	return k, nil
}

// CanApprove reports whether the person has a key that before the place at, and at the time now in microseconds,
// may sign approvals, and may show that much of them. Whether a security key asks for a PIN is not known: it may.
func (s *State) CanApprove(person brevet.PersonID, shows brevet.Presence, at, now int64) bool {
	return slices.ContainsFunc(s.Roster.KeysOf(person), func(k Key) bool {
		if shows.AtLeast(brevet.TouchPresence) && presenceOfType(k.Public) == brevet.NoPresence {
			return false
		}
		_, err := s.KeyFor(k.Fingerprint, statement.UseApprove, at, now)
		return err == nil
	})
}

// Suspended reports whether the person is suspended at the place at, and by which revocation.
func (s *State) Suspended(person brevet.PersonID, at int64) (statement.ID, bool) {
	for _, heard := range s.Revoked.Of(statement.RevokePerson, string(person), at) {
		if lifted, ok := s.Roster.lifted[heard.ID]; !ok || lifted >= at {
			return heard.ID, true
		}
	}
	return "", false
}

// InForce tells policy who is an identity in force before the place at: enrolled, and not suspended.
func (s *State) InForce(at int64) func(brevet.PersonID) (brevet.IdentityKind, bool) {
	return func(id brevet.PersonID) (brevet.IdentityKind, bool) {
		p, ok := s.Roster.people[id]
		if !ok {
			return "", false
		}
		if _, suspended := s.Suspended(id, at); suspended || s.Roster.since(p) >= at {
			return "", false
		}
		return p.kind, true
	}
}

// inPlace checks what all statements of a chain have in common.
func (s *State) inPlace(h statement.Header, l statement.Link, e Entry, head statement.ID, number, index int64) error {
	switch {
	case l.Number <= number:
		return refuse("number %d is taken by another statement", l.Number).Because(ErrFork)
	case l.Number != number+1:
		return refuse("number %d does not follow %d", l.Number, number).
			WithHint("the statements between are missing")
	case l.Previous != head:
		return refuse("it follows %s…, but the chain ends with %s…", l.Previous[:min(16, len(l.Previous))], head[:min(16, len(head))]).Because(ErrFork)
	case e.Index <= index:
		return refuse("it stands at %d in the log, before the one that it follows", e.Index)
	}
	return s.fresh(h, e)
}

// fresh checks the organisation, and that the statement did not come into the log only after its end.
func (s *State) fresh(h statement.Header, e Entry) error {
	if h.Org != s.Roster.org {
		return refuse("it is of another organisation")
	}
	if e.NotBefore > h.Until+clockSlack.Microseconds() {
		return refuse("it came into the log after its end")
	}
	return nil
}

// signers returns the persons who signed e by a key with the use, and, if somebody's signature
// does not count, why. The time is the statement's own, but not earlier than when the leaf
// certainly was not there yet, so that a key out of date cannot sign backwards.
func (s *State) signers(e Entry, h statement.Header, use statement.Use) (map[brevet.PersonID]bool, error) {
	people := map[brevet.PersonID]bool{}
	var rejected error
	for _, sig := range e.Envelope.Signatures {
		k, err := s.KeyFor(sig.Key, use, e.Index, max(h.At, e.NotBefore))
		if err == nil {
			_, err = statement.Verify(e.Envelope, sig, k.Public)
		}
		if err != nil {
			rejected = err
			continue
		}
		if s.Roster.people[k.Person].kind == brevet.Person {
			people[k.Person] = true
		}
	}
	return people, rejected
}

// requireThreshold checks that as many persons as the root in force demands signed e by a key
// with the use.
func (s *State) requireThreshold(e Entry, h statement.Header, use statement.Use) error {
	people, rejected := s.signers(e, h, use)
	if missing := s.Roster.root.Threshold - int64(len(people)); missing > 0 {
		err := refuse("%d of the %d persons who must sign have signed", len(people), s.Roster.root.Threshold)
		if rejected != nil {
			message, _ := brevet.MessageOf(rejected)
			err = refuse("%s; %s", err.Message, message).Because(rejected)
		}
		return err
	}
	return nil
}

// digestOf returns the hex of the SHA-256 of b, as catalog statements name manifests.
func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (r *Roster) clone() *Roster {
	next := *r
	next.known = maps.Clone(r.known)
	next.people = maps.Clone(r.people)
	next.keys = maps.Clone(r.keys)
	next.machines = maps.Clone(r.machines)
	next.owners = maps.Clone(r.owners)
	next.lifted = maps.Clone(r.lifted)
	return &next
}
