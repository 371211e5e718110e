package proof

import (
	"slices"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

func newRoster() *Roster {
	return &Roster{
		index:    -1,
		known:    map[statement.ID]int64{},
		people:   map[brevet.PersonID]*identity{},
		keys:     map[string][]Key{},
		machines: map[brevet.MachineID][]machine{},
		owners:   map[string]brevet.MachineID{},
		lifted:   map[statement.ID]int64{},
	}
}

// addRoster takes in the next statement of the roster chain. The roster is the state's own copy.
func (s *State) addRoster(kind statement.Kind, e Entry) error {
	switch kind {
	case statement.KindRoot:
		return addTo(s, e, s.goOn)
	case statement.KindEnrol:
		return addTo(s, e, s.enrol)
	case statement.KindRetire:
		return addTo(s, e, s.retire)
	case statement.KindReinstate:
		return addTo(s, e, s.reinstate)
	case statement.KindMachine:
		return addTo(s, e, s.machine)
	}
	return refuse("it is not a statement of the roster")
}

// addTo opens e, checks its place and its signatures, and lets take do what it says.
func addTo[T statement.Chained](s *State, e Entry, take func(Entry, T) error) error {
	p, err := statement.Open[T](e.Envelope)
	if err != nil {
		return err
	}
	r := s.Roster
	if err := s.inPlace(p.Head(), p.Place(), e, r.head, r.number, r.index); err != nil {
		return err
	}
	if err := s.requireThreshold(e, p.Head(), statement.UseAdminister); err != nil {
		return err
	}
	if err := take(e, p); err != nil {
		return err
	}
	s.Roster.moveTo(e, p.Place().Number)
	return nil
}

func (r *Roster) moveTo(e Entry, number int64) {
	r.head, r.number, r.index = e.Envelope.ID(), number, e.Index
	r.known[r.head] = e.Index
}

// found takes in the first root.
func (s *State) found(e Entry) error {
	root, err := statement.Open[statement.Root](e.Envelope)
	if err != nil {
		return err
	}
	if root.Number != 1 {
		return refuse("number %d does not found an organisation", root.Number)
	}
	s.Roster.org = e.Envelope.ID()
	if err := s.takeRoot(e, root); err != nil {
		return err
	}
	s.Roster.moveTo(e, root.Number)
	return nil
}

// goOn takes in a later root, which the threshold of the one before has signed.
func (s *State) goOn(e Entry, root statement.Root) error {
	if root.Log != s.Roster.root.Log {
		return refuse("it names another log: this version cannot change logs")
	}
	return s.takeRoot(e, root)
}

// takeRoot puts the root in force. Each of its founders who was none before must have signed it,
// which shows that they have the key; founders whom it leaves out lose the keys that a root gave them.
func (s *State) takeRoot(e Entry, root statement.Root) error {
	r := s.Roster
	for id, p := range r.people {
		if p.founder && !slices.ContainsFunc(root.Founders, func(f statement.Founder) bool { return f.Person == id }) {
			r.change(id, func(p *identity) { p.founder = false })
		}
	}
	kept := map[string]bool{}
	for _, f := range root.Founders {
		if err := s.takeFounder(e, root, f, kept); err != nil {
			return err
		}
	}
	for fingerprint, versions := range r.keys {
		if k := versions[len(versions)-1]; k.founder && !kept[fingerprint] && k.Retired == never {
			r.retireKey(fingerprint, e.Index, root.At)
		}
	}
	r.root = root
	return nil
}

func (s *State) takeFounder(e Entry, root statement.Root, f statement.Founder, kept map[string]bool) error {
	r := s.Roster
	known := r.people[f.Person]
	signed := known != nil && known.founder
	for _, key := range f.Keys {
		fingerprint, err := statement.Fingerprint(key)
		if err != nil {
			return err
		}
		if _, err := e.Envelope.VerifiedBy(key); err == nil {
			signed = true
		}
		kept[fingerprint] = true
		if last, ok := r.Key(fingerprint, never); ok && last.founder && last.Person == f.Person && last.Retired == never {
			continue
		}
		if err := r.addKey(Key{
			Fingerprint: fingerprint, Public: key, Person: f.Person, founder: true,
			Uses: []statement.Use{statement.UseAdminister, statement.UseApprove, statement.UseCatalog, statement.UseRequest},
			From: root.At, Until: never, At: root.At, Enrolled: e.Index, Retired: never,
		}, brevet.Person, ""); err != nil {
			return err
		}
	}
	if !signed {
		return refuse("%s, a new founder, has not signed it", f.Person)
	}
	r.change(f.Person, func(p *identity) { p.founder = true })
	return nil
}

// enrol takes in keys of people and workloads, each of which shows that it is there.
func (s *State) enrol(e Entry, enrol statement.Enrol) error {
	for _, one := range enrol.Enrolments {
		if err := s.enrolOne(e, enrol, one); err != nil {
			return within(err, "%s", one.Person)
		}
	}
	return nil
}

func (s *State) enrolOne(e Entry, enrol statement.Enrol, one statement.Enrolment) error {
	r := s.Roster
	fingerprint, err := statement.Fingerprint(one.Key)
	if err != nil {
		return err
	}
	if _, err := one.CheckPossession(r.org); err != nil {
		return within(err, "key %s does not show that it wants this", fingerprint)
	}
	if one.Kind == brevet.Workload {
		if owner, ok := r.people[one.Owner]; !ok || owner.kind != brevet.Person {
			return refuse("its owner %s is not a person of the roster", one.Owner)
		}
	}
	if last, ok := r.Key(fingerprint, never); ok && last.founder {
		return refuse("key %s is a founder's: a root gives and takes it", fingerprint)
	}
	return r.addKey(Key{
		Fingerprint: fingerprint, Public: one.Key, Person: one.Person, Uses: one.Uses,
		From: one.From, Until: one.Until, At: enrol.At, Enrolled: e.Index, Retired: never,
	}, one.Kind, one.Owner)
}

// addKey gives the key to its person. A key is of one person, or of one machine, for ever, and once
// retired it stays so: else an old signature could come to life again.
func (r *Roster) addKey(k Key, kind brevet.IdentityKind, owner brevet.PersonID) error {
	if name, ok := r.owners[k.Fingerprint]; ok {
		return refuse("key %s is of the machine %s", k.Fingerprint, name)
	}
	if p, ok := r.people[k.Person]; ok && p.kind != kind {
		return refuse("%s is a %s, not a %s", k.Person, p.kind, kind)
	}
	versions := r.keys[k.Fingerprint]
	if len(versions) > 0 {
		last := versions[len(versions)-1]
		switch {
		case last.Person != k.Person:
			return refuse("key %s is of %s", k.Fingerprint, last.Person)
		case last.Retired != never:
			return refuse("key %s is retired", k.Fingerprint).WithHint("make a new key")
		}
	}
	r.keys[k.Fingerprint] = append(slices.Clip(versions), k)
	r.change(k.Person, func(p *identity) {
		p.kind = kind
		if len(versions) == 0 {
			p.keys = append(slices.Clip(p.keys), k.Fingerprint)
		}
		if owner != "" && (len(p.owners) == 0 || p.owners[len(p.owners)-1].owner != owner) {
			p.owners = append(slices.Clip(p.owners), ownership{k.Enrolled, owner})
		}
	})
	return nil
}

// change replaces the identity by a changed copy, since other rosters share the one that is there.
func (r *Roster) change(id brevet.PersonID, do func(*identity)) {
	var p identity
	if old, ok := r.people[id]; ok {
		p = *old
	}
	do(&p)
	r.people[id] = &p
}

// since returns the place of the identity's first enrolment.
func (r *Roster) since(p *identity) int64 {
	return r.keys[p.keys[0]][0].Enrolled
}

func (s *State) retire(e Entry, retire statement.Retire) error {
	k, ok := s.Roster.Key(retire.Key, never)
	switch {
	case !ok || k.Person != retire.Person:
		return refuse("%s has no key %s", retire.Person, retire.Key)
	case k.Retired != never:
		return refuse("key %s is retired already", retire.Key)
	}
	s.Roster.retireKey(retire.Key, e.Index, retire.Since)
	if !slices.Contains(k.Uses, statement.UseAdminister) {
		return nil
	}
	if left, needed := s.Roster.administrators(retire.At), s.Roster.root.Threshold; left < needed {
		return refuse("it would leave %d of the %d persons who must sign for the roster, and nobody could ever change it again", left, needed).
			WithHint("enrol another administrator first, or replace the root")
	}
	return nil
}

// administrators returns how many persons have a key that signs for the roster, now or later than
// now, in microseconds.
func (r *Roster) administrators(now int64) int64 {
	people := map[brevet.PersonID]bool{}
	for fingerprint := range r.keys {
		k, ok := r.Key(fingerprint, never)
		if ok && k.Retired == never && k.Until > now && slices.Contains(k.Uses, statement.UseAdminister) {
			people[k.Person] = true
		}
	}
	return int64(len(people))
}

func (r *Roster) retireKey(fingerprint string, index, since int64) {
	versions := slices.Clone(r.keys[fingerprint])
	for i := range versions {
		versions[i].Retired, versions[i].Since = index, since
	}
	r.keys[fingerprint] = versions
}

func (s *State) reinstate(e Entry, reinstate statement.Reinstate) error {
	if _, ok := s.Roster.people[reinstate.Person]; !ok {
		return refuse("there is nobody named %s", reinstate.Person)
	}
	suspensions := s.Revoked.Of(statement.RevokePerson, string(reinstate.Person), e.Index)
	if !slices.ContainsFunc(suspensions, func(h Heard) bool { return h.ID == reinstate.Revocation }) {
		return refuse("%s… does not suspend %s", reinstate.Revocation[:16], reinstate.Person)
	}
	s.Roster.lifted[reinstate.Revocation] = e.Index
	return nil
}

// machine takes in a machine, or replaces it. Its name keeps its use, so that what a gateway once
// signed cannot be taken for an issuer's word.
func (s *State) machine(e Entry, m statement.Machine) error {
	r := s.Roster
	versions := r.machines[m.Name]
	if len(versions) > 0 && versions[0].Use != m.Use {
		return refuse("the use of %s is %s and cannot become %s", m.Name, versions[0].Use, m.Use).WithHint("give it another name")
	}
	next := machine{index: e.Index, Machine: m, keys: map[string]statement.MachineKey{}}
	for _, k := range m.Keys {
		fingerprint, err := statement.Fingerprint(k.Key)
		if err != nil {
			return err
		}
		if owner, ok := r.owners[fingerprint]; ok && owner != m.Name {
			return refuse("key %s is of the machine %s", fingerprint, owner)
		}
		if versions, ok := r.keys[fingerprint]; ok {
			return refuse("key %s is of %s", fingerprint, versions[0].Person)
		}
		for _, old := range versions {
			if was, ok := old.keys[fingerprint]; ok && was.Use != k.Use {
				return refuse("key %s was its %s key and cannot become its %s key", fingerprint, was.Use, k.Use)
			}
		}
		r.owners[fingerprint] = m.Name
		next.keys[fingerprint] = k
	}
	r.machines[m.Name] = append(slices.Clip(versions), next)
	return nil
}
