package proof

import (
	"slices"
	"sync"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

// Heard is a revocation and where it stands in the log.
type Heard struct {
	statement.Revocation
	ID    statement.ID
	Index int64 // of its leaf; Direct if it came past the log
}

// Direct is the place of what was heard directly and has no leaf yet: it is in force everywhere.
const Direct int64 = -1

// Revocations is what was heard to be over. It only grows, and each knows its place, so the
// states of different places share one. It is safe for use by many at once.
type Revocations struct {
	mu sync.RWMutex
	of map[revoked][]Heard // guarded by mu
}

type revoked struct{ what, subject string }

func newRevocations() *Revocations { return &Revocations{of: map[revoked][]Heard{}} }

// Of returns the revocations of the subject that stand before the place at.
func (r *Revocations) Of(what, subject string, at int64) []Heard {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var found []Heard
	for _, h := range r.of[revoked{what, subject}] {
		if h.Index < at {
			found = append(found, h)
		}
	}
	return found
}

// Places returns where in the log the revocations of such things stand, in its order.
func (r *Revocations) Places(what ...string) []int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var places []int64
	for key, heard := range r.of {
		for _, h := range heard {
			if h.Index != Direct && slices.Contains(what, key.what) {
				places = append(places, h.Index)
			}
		}
	}
	slices.Sort(places)
	return places
}

// Hear notes a revocation that was verified before. Heard twice it is one, at the earlier place.
func (r *Revocations) Hear(h Heard) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := revoked{h.What, h.Subject}
	for i, known := range r.of[key] {
		if known.ID == h.ID {
			r.of[key][i].Index = min(known.Index, h.Index)
			return
		}
	}
	r.of[key] = append(r.of[key], h)
}

// hear verifies a revocation and notes it.
func (s *State) hear(e Entry) error {
	h, err := s.VerifyRevocation(e)
	if err != nil {
		return err
	}
	s.Revoked.Hear(h)
	return nil
}

// VerifyRevocation checks that a revocation is the word of the person or machine that it names.
// Taking away needs less proof than giving: any key that they ever had will do, even one that
// was retired since. Whether they may revoke this is the server's policy, before it is logged.
func (s *State) VerifyRevocation(e Entry) (Heard, error) {
	rev, err := statement.Open[statement.Revocation](e.Envelope)
	if err != nil {
		return Heard{}, err
	}
	if rev.Org != s.Roster.org {
		return Heard{}, refuse("it is of another organisation")
	}
	err = refuse("%s has not signed it", rev.By)
	for _, sig := range e.Envelope.Signatures {
		key, ok := s.Roster.everyKeyOf(rev.By, sig.Key)
		if !ok {
			continue
		}
		if _, err = statement.Verify(e.Envelope, sig, key); err == nil {
			return Heard{Revocation: rev, ID: e.Envelope.ID(), Index: e.Index}, nil
		}
	}
	return Heard{}, err
}

// everyKeyOf returns the key with the fingerprint if the person or machine named by ever had it
// to sign statements with.
func (r *Roster) everyKeyOf(by, fingerprint string) (statement.Key, bool) {
	for _, k := range r.keys[fingerprint] {
		if k.Person == brevet.PersonID(by) {
			return k.Public, true
		}
	}
	for _, m := range r.machines[brevet.MachineID(by)] {
		if k, ok := m.keys[fingerprint]; ok && k.Use == statement.KeyStatement {
			return k.Key, true
		}
	}
	return statement.Key{}, false
}

func (r *Revocations) clone() *Revocations {
	r.mu.RLock()
	defer r.mu.RUnlock()
	next := newRevocations()
	for key, heard := range r.of {
		next.of[key] = slices.Clone(heard)
	}
	return next
}
