package proof

import (
	"slices"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

// Roster is who holds which key: what the roster chain adds up to. It remembers when, by the
// log, each thing began and ended, so it answers for any place in the log up to its head. A
// Roster does not change; State.Extend returns the next one.
type Roster struct {
	root     statement.Root // in force
	org      statement.ID   // id of the first root
	head     statement.ID
	number   int64
	index    int64                  // of the head's leaf
	known    map[statement.ID]int64 // and the index of each leaf
	people   map[brevet.PersonID]*identity
	keys     map[string][]Key // by fingerprint: each enrolment of the key, in order
	machines map[brevet.MachineID][]machine
	owners   map[string]brevet.MachineID // of every key that a machine ever had
	lifted   map[statement.ID]int64      // suspensions, and where they were lifted
}

// Key is a key enrolled for a person or workload.
type Key struct {
	Fingerprint string
	Public      statement.Key
	Person      brevet.PersonID
	Uses        []statement.Use
	From, Until int64 // microseconds
	At          int64 // microseconds: when the statement that enrolled it was signed
	Enrolled    int64 // index of that statement's leaf
	Retired     int64 // index of the leaf that retired it, or math.MaxInt64
	Since       int64 // microseconds: what it signed from then on is suspect; only if retired
	founder     bool  // by a root, not by an enrolment
}

// identity is a person or workload.
type identity struct {
	kind    brevet.IdentityKind
	owners  []ownership // of a workload, in order
	founder bool        // by the root in force
	keys    []string    // fingerprints, in order of enrolment
}

type ownership struct {
	index int64
	owner brevet.PersonID
}

// machine is one version of a machine.
type machine struct {
	index int64
	statement.Machine
	keys map[string]statement.MachineKey // by fingerprint
}

// Org returns the id of the organisation's first root.
func (r *Roster) Org() statement.ID { return r.org }

// Root returns the root in force.
func (r *Roster) Root() statement.Root { return r.root }

// Head returns the id and number of the chain's last statement.
func (r *Roster) Head() (statement.ID, int64) { return r.head, r.number }

// knewBefore reports whether the statement stands in the chain before the place at.
func (r *Roster) knewBefore(id statement.ID, at int64) bool {
	index, ok := r.known[id]
	return ok && index < at
}

// Knows reports whether the statement stands in the chain.
func (r *Roster) Knows(id statement.ID) bool { _, ok := r.known[id]; return ok }

// Identity returns the kind of the person or workload, and false if nobody of that name was
// ever enrolled.
func (r *Roster) Identity(id brevet.PersonID) (brevet.IdentityKind, bool) {
	p, ok := r.people[id]
	if !ok {
		return "", false
	}
	return p.kind, true
}

// Owner returns the owner that the workload has before the place at, or "" for a person.
func (r *Roster) Owner(id brevet.PersonID, at int64) brevet.PersonID {
	p, ok := r.people[id]
	if !ok {
		return ""
	}
	var owner brevet.PersonID
	for _, o := range p.owners {
		if o.index < at {
			owner = o.owner
		}
	}
	return owner
}

// Founder reports whether the person is a founder by the root in force.
func (r *Roster) Founder(id brevet.PersonID) bool {
	p, ok := r.people[id]
	return ok && p.founder
}

// People returns every person and workload that was ever enrolled, sorted.
func (r *Roster) People() []brevet.PersonID {
	ids := make([]brevet.PersonID, 0, len(r.people))
	for id := range r.people {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// KeysOf returns the keys of the person as they stand at the head, in order of enrolment.
func (r *Roster) KeysOf(id brevet.PersonID) []Key {
	p, ok := r.people[id]
	if !ok {
		return nil
	}
	var keys []Key
	for _, fingerprint := range p.keys {
		versions := r.keys[fingerprint]
		keys = append(keys, versions[len(versions)-1])
	}
	return keys
}

// Key returns the key as the last enrolment before the place at has it, whether or not it was
// retired since.
func (r *Roster) Key(fingerprint string, at int64) (Key, bool) {
	versions := r.keys[fingerprint]
	for i := len(versions) - 1; i >= 0; i-- {
		if versions[i].Enrolled < at {
			return versions[i], true
		}
	}
	return Key{}, false
}

// KeyFor returns the key if before the place at and at the time now, in microseconds, it may
// act for its person in that use. The error says why not.
func (r *Roster) KeyFor(fingerprint string, use statement.Use, at, now int64) (Key, error) {
	k, ok := r.Key(fingerprint, at)
	switch {
	case !ok && len(r.keys[fingerprint]) > 0:
		return Key{}, refuse("key %s was not enrolled yet", fingerprint)
	case !ok:
		return Key{}, refuse("key %s is not enrolled", brevet.Quote(fingerprint))
	case k.Retired < at:
		return Key{}, refuse("key %s of %s is retired", fingerprint, k.Person)
	case !slices.Contains(k.Uses, use):
		return Key{}, refuse("key %s of %s is not enrolled to %s", fingerprint, k.Person, useWords[use])
	case now < k.From:
		return Key{}, refuse("key %s of %s is not in date yet", fingerprint, k.Person)
	case now >= k.Until:
		return Key{}, refuse("key %s of %s is out of date", fingerprint, k.Person)
	}
	return k, nil
}

var useWords = map[statement.Use]string{
	statement.UseRequest:    "ask",
	statement.UseApprove:    "approve",
	statement.UseAdminister: "sign for the roster",
	statement.UseCatalog:    "sign for the catalog",
}

// Machine returns the machine as it stands before the place at, and false if it is not, or no
// longer, one of the organisation's.
func (r *Roster) Machine(name brevet.MachineID, at int64) (statement.Machine, bool) {
	m, ok := r.machine(name, at)
	return m.Machine, ok
}

func (r *Roster) machine(name brevet.MachineID, at int64) (machine, bool) {
	versions := r.machines[name]
	for i := len(versions) - 1; i >= 0; i-- {
		if versions[i].index < at {
			return versions[i], len(versions[i].Keys) > 0
		}
	}
	return machine{}, false
}

// Machines returns the machines of the use as they stand before the place at, sorted by name.
func (r *Roster) Machines(use statement.MachineUse, at int64) []statement.Machine {
	var found []statement.Machine
	for name := range r.machines {
		if m, ok := r.machine(name, at); ok && m.Use == use {
			found = append(found, m.Machine)
		}
	}
	slices.SortFunc(found, func(a, b statement.Machine) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return found
}

// MachineOf returns the machine that, before the place at, has the key for that use.
func (r *Roster) MachineOf(fingerprint string, use statement.MachineUse, at int64) (statement.Machine, statement.Key, error) {
	name, ok := r.owners[fingerprint]
	if !ok {
		return statement.Machine{}, statement.Key{}, refuse("key %s is of no machine of ours", brevet.Quote(fingerprint))
	}
	m, ok := r.machine(name, at)
	key, has := m.keys[fingerprint]
	if !ok || !has {
		return statement.Machine{}, statement.Key{}, refuse("key %s is no longer of %s", fingerprint, name)
	}
	if key.Use != use {
		return statement.Machine{}, statement.Key{}, refuse("key %s of %s is its %s key, not its %s key", fingerprint, name, key.Use, use)
	}
	return m.Machine, key.Key, nil
}
