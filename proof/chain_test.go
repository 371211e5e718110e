package proof_test

import (
	"errors"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
)

// TestRosterRefuses is the attack table of the roster chain.
func TestRosterRefuses(t *testing.T) {
	enrol := func(change func(*prooftest.Org, *statement.Enrolment), by ...brevet.PersonID) func(*prooftest.Org) statement.Envelope {
		return func(o *prooftest.Org) statement.Envelope {
			_, key := prooftest.NewKey(o.T)
			one := o.Enrolment("zoe", "", key, statement.UseApprove)
			if change != nil {
				change(o, &one)
			}
			return o.Sign(statement.Enrol{Header: o.Header(time.Hour), Link: o.Link(), Enrolments: []statement.Enrolment{one}}, keys(o, by)...)
		}
	}
	machine := func(change func(*prooftest.Org, *statement.Machine)) func(*prooftest.Org) statement.Envelope {
		return func(o *prooftest.Org) statement.Envelope {
			m := o.Gateways["gw-1"].Machine
			m.Header, m.Link, m.Name, m.Addresses = o.Header(time.Hour), o.Link(), "gw-3", []string{}
			m.Targets.Labels, m.Targets.Names = map[string]string{}, []brevet.TargetID{}
			m.Keys = []statement.MachineKey{}
			change(o, &m)
			return o.Sign(m, keys(o, []brevet.PersonID{"alice", "carol"})...)
		}
	}
	retire := func(change func(*prooftest.Org, *statement.Retire)) func(*prooftest.Org) statement.Envelope {
		return func(o *prooftest.Org) statement.Envelope {
			r := statement.Retire{Header: o.Header(time.Hour), Link: o.Link(), Person: "bob", Key: prooftest.Fingerprint(o.T, o.Keys["bob"].Key()), Reason: "x"}
			change(o, &r)
			return o.Sign(r, keys(o, []brevet.PersonID{"alice", "carol"})...)
		}
	}
	root := func(change func(*prooftest.Org, *statement.Root), by ...brevet.PersonID) func(*prooftest.Org) statement.Envelope {
		return func(o *prooftest.Org) statement.Envelope {
			r := o.State().Roster.Root()
			r.Header, r.Link = o.Header(time.Hour), o.Link()
			change(o, &r)
			return o.Sign(r, keys(o, by)...)
		}
	}
	for _, tt := range []struct {
		name     string
		make     func(*prooftest.Org) statement.Envelope
		sentence string
		fork     bool
	}{
		{name: "one of two administrators", make: enrol(nil, "alice"), sentence: "1 of the 2 persons who must sign have signed"},
		{name: "an administrator twice", sentence: "1 of the 2 persons", make: func(o *prooftest.Org) statement.Envelope {
			_, second := prooftest.NewKey(o.T)
			o.Append(o.Sign(statement.Enrol{Header: o.Header(time.Hour), Link: o.Link(), Enrolments: []statement.Enrolment{o.Enrolment("alice", "", second, statement.UseAdminister)}}, o.Admins()...))
			o.Keys["alice again"] = second
			return enrol(nil, "alice", "alice again")(o)
		}},
		{name: "people who are no administrators", make: enrol(nil, "alice", "bob", "frank"), sentence: "is not enrolled to sign for the roster"},
		{name: "a number that is ahead", make: func(o *prooftest.Org) statement.Envelope {
			_, key := prooftest.NewKey(o.T)
			link := o.Link()
			link.Number++
			return o.Sign(statement.Enrol{Header: o.Header(time.Hour), Link: link, Enrolments: []statement.Enrolment{o.Enrolment("zoe", "", key, statement.UseApprove)}}, o.Admins()...)
		}, sentence: "does not follow"},
		{name: "a number that is taken", fork: true, sentence: "is taken by another statement", make: retire(func(_ *prooftest.Org, r *statement.Retire) { r.Number-- })},
		{name: "another one before it", fork: true, sentence: "but the chain ends with", make: retire(func(o *prooftest.Org, r *statement.Retire) { r.Previous = o.Root })},
		{name: "another organisation", sentence: "it is of another organisation", make: retire(func(_ *prooftest.Org, r *statement.Retire) {
			r.Org = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
		})},
		{name: "a key that nobody has", sentence: "does not show that it wants this", make: enrol(func(o *prooftest.Org, e *statement.Enrolment) {
			_, other := prooftest.NewKey(o.T)
			e.Key = other.Key()
		}, "alice", "carol")},
		{name: "possession for another person", sentence: "does not show that it wants this", make: enrol(func(_ *prooftest.Org, e *statement.Enrolment) { e.Person = "frank" }, "alice", "carol")},
		{name: "a key of another person", sentence: "is of bob", make: enrol(func(o *prooftest.Org, e *statement.Enrolment) {
			*e = o.Enrolment("zoe", "", o.Keys["bob"], statement.UseApprove)
		}, "alice", "carol")},
		{name: "a founder's key", sentence: "is a founder's", make: enrol(func(o *prooftest.Org, e *statement.Enrolment) {
			*e = o.Enrolment("alice", "", o.Keys["alice"], statement.UseApprove)
		}, "alice", "carol")},
		{name: "a machine's key", sentence: "is of the machine gw-1", make: enrol(func(o *prooftest.Org, e *statement.Enrolment) {
			signer, err := statement.SSHSigner(o.Gateways["gw-1"].Holder)
			if err != nil {
				o.T.Fatal(err)
			}
			*e = o.Enrolment("zoe", "", signer, statement.UseApprove)
		}, "alice", "carol")},
		{name: "a person as a workload", sentence: "bob is a person, not a workload", make: enrol(func(o *prooftest.Org, e *statement.Enrolment) {
			_, key := prooftest.NewKey(o.T)
			*e = o.Enrolment("bob", "carol", key, statement.UseRequest)
		}, "alice", "carol")},
		{name: "a workload of nobody", sentence: "its owner nobody is not a person of the roster", make: enrol(func(o *prooftest.Org, e *statement.Enrolment) {
			_, key := prooftest.NewKey(o.T)
			*e = o.Enrolment("cd", "nobody", key, statement.UseRequest)
		}, "alice", "carol")},
		{name: "a workload of a workload", sentence: "its owner ci is not a person", make: enrol(func(o *prooftest.Org, e *statement.Enrolment) {
			_, key := prooftest.NewKey(o.T)
			*e = o.Enrolment("cd", "ci", key, statement.UseRequest)
		}, "alice", "carol")},
		{name: "a key that was retired", sentence: "is retired", make: func(o *prooftest.Org) statement.Envelope {
			o.Retire("bob", o.Now)
			return enrol(func(o *prooftest.Org, e *statement.Enrolment) {
				*e = o.Enrolment("bob", "", o.Keys["bob"], statement.UseApprove)
			}, "alice", "carol")(o)
		}},
		{name: "retired twice", sentence: "is retired already", make: func(o *prooftest.Org) statement.Envelope {
			o.Retire("bob", o.Now)
			return retire(func(*prooftest.Org, *statement.Retire) {})(o)
		}},
		{name: "retired of another person", sentence: "frank has no key", make: retire(func(_ *prooftest.Org, r *statement.Retire) { r.Person = "frank" })},
		{name: "the last administrators but one", sentence: "it would leave 1 of the 2 persons", make: retire(func(o *prooftest.Org, r *statement.Retire) {
			r.Person, r.Key = "carol", prooftest.Fingerprint(o.T, o.Keys["carol"].Key())
		})},
		{name: "reinstated without a suspension", sentence: "does not suspend bob", make: func(o *prooftest.Org) statement.Envelope {
			return o.Sign(statement.Reinstate{Header: o.Header(time.Hour), Link: o.Link(), Person: "bob", Revocation: o.Root, Reason: "x"}, o.Admins()...)
		}},
		{name: "reinstated by another's suspension", sentence: "does not suspend bob", make: func(o *prooftest.Org) statement.Envelope {
			h := o.Append(o.Revocation("alice", statement.RevokePerson, "frank"))
			return o.Sign(statement.Reinstate{Header: o.Header(time.Hour), Link: o.Link(), Person: "bob", Revocation: h.Envelope.ID(), Reason: "x"}, o.Admins()...)
		}},
		{name: "reinstated and unknown", sentence: "there is nobody named zoe", make: func(o *prooftest.Org) statement.Envelope {
			return o.Sign(statement.Reinstate{Header: o.Header(time.Hour), Link: o.Link(), Person: "zoe", Revocation: o.Root, Reason: "x"}, o.Admins()...)
		}},
		{name: "a gateway that becomes an issuer", sentence: "the use of gw-1 is gateway and cannot become issuer", make: machine(func(_ *prooftest.Org, m *statement.Machine) {
			m.Name, m.Use, m.Targets = "gw-1", statement.MachineIssuer, brevet.Selector{Labels: map[string]string{}, Names: []brevet.TargetID{}}
		})},
		{name: "a machine with another's key", sentence: "is of the machine gw-1", make: machine(func(o *prooftest.Org, m *statement.Machine) { m.Keys = o.Gateways["gw-1"].Machine.Keys })},
		{name: "a machine with a person's key", sentence: "is of bob", make: machine(func(o *prooftest.Org, m *statement.Machine) {
			m.Keys = []statement.MachineKey{{Use: statement.KeyHolder, Key: o.Keys["bob"].Key()}}
		})},
		{name: "a key that changes its use", sentence: "was its host key and cannot become its holder key", make: machine(func(o *prooftest.Org, m *statement.Machine) {
			m.Name, m.Keys = "gw-1", []statement.MachineKey{{Use: statement.KeyHolder, Key: o.Gateways["gw-1"].Machine.Keys[2].Key}}
		})},
		{name: "a root by one founder", sentence: "1 of the 2 persons", make: root(func(_ *prooftest.Org, r *statement.Root) { r.Threshold = 1 }, "alice")},
		{name: "a root with another log", sentence: "it names another log", make: root(func(_ *prooftest.Org, r *statement.Root) { r.Log.Origin = "brevet.test/other" }, "alice", "carol")},
		{name: "a new founder who did not sign", sentence: "dave, a new founder, has not signed it", make: root(func(o *prooftest.Org, r *statement.Root) {
			r.Founders = append(r.Founders, statement.Founder{Person: "dave", Keys: []statement.Key{o.Keys["dave"].Key()}})
		}, "alice", "carol")},
		{name: "a workload as a founder", sentence: "ci is a workload, not a person", make: root(func(o *prooftest.Org, r *statement.Root) {
			_, key := prooftest.NewKey(o.T)
			r.Founders = append(r.Founders, statement.Founder{Person: "ci", Keys: []statement.Key{key.Key()}})
		}, "alice", "carol")},
		{name: "a root by whom it puts in", sentence: "1 of the 2 persons", make: root(func(o *prooftest.Org, r *statement.Root) {
			r.Founders[1] = statement.Founder{Person: "frank", Keys: []statement.Key{o.Keys["frank"].Key()}}
		}, "alice", "frank")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := prooftest.New(t, prooftest.Options{Threshold: 2})
			e := tt.make(o)
			s := o.State()
			_, err := s.Extend(nil, proof.Pending(e, o.Log.Size()))
			refused(t, err, tt.sentence)
			if errors.Is(err, proof.ErrFork) != tt.fork {
				t.Errorf("fork: %v", err)
			}
		})
	}
}

func keys(o *prooftest.Org, people []brevet.PersonID) []statement.Signer {
	var list []statement.Signer
	for _, p := range people {
		list = append(list, o.Keys[p])
	}
	return list
}

func TestStateIsOfAPlace(t *testing.T) {
	o := prooftest.New(t, prooftest.Options{})
	bob := prooftest.Fingerprint(t, o.Keys["bob"].Key())
	before := o.Log.Size()
	suspension := o.Append(o.Revocation("alice", statement.RevokePerson, "bob"))
	lifted := o.Reinstate("bob", suspension)
	retired := o.Retire("bob", o.Now)
	s := o.State()
	now := o.Now.UnixMicro()
	for _, tt := range []struct {
		at       int64
		sentence string // why the key may not be used; none: it may
	}{
		{1, "was not enrolled yet"},
		{before, ""},
		{suspension.Index, ""},
		{suspension.Index + 1, "bob is suspended"},
		{lifted.Index, "bob is suspended"},
		{lifted.Index + 1, ""},
		{retired.Index, ""},
		{retired.Index + 1, "is retired"},
		{proof.End, "is retired"},
	} {
		_, err := s.KeyFor(bob, statement.UseRequest, tt.at, now)
		if tt.sentence == "" {
			if err != nil {
				t.Errorf("at %d: %v", tt.at, err)
			}
			continue
		}
		refused(t, err, tt.sentence)
	}
	if kind, ok := s.InForce(before)("bob"); !ok || kind != brevet.Person {
		t.Errorf("bob is %q %v before", kind, ok)
	}
	if _, ok := s.InForce(suspension.Index + 1)("bob"); ok {
		t.Error("bob is in force while suspended")
	}
	if _, ok := s.InForce(1)("bob"); ok {
		t.Error("bob is in force before he was enrolled")
	}
	if _, err := s.KeyFor(bob, statement.UseApprove, before, o.Now.AddDate(2, 0, 0).UnixMicro()); err == nil {
		t.Error("a key is good after its end")
	}
	if _, err := s.KeyFor(bob, statement.UseAdminister, before, now); err == nil {
		t.Error("a key is good for what it was not enrolled for")
	}
}

// TestStatesDoNotChange extends a state twice, in two ways.
func TestStatesDoNotChange(t *testing.T) {
	o := prooftest.New(t, prooftest.Options{})
	s := o.State()
	o.Retire("bob", o.Now)
	one, err := s.Extend(o.Manifests, o.Entries...)
	if err != nil {
		t.Fatal(err)
	}
	bob := prooftest.Fingerprint(t, o.Keys["bob"].Key())
	if _, err := s.KeyFor(bob, statement.UseRequest, proof.End, o.Now.UnixMicro()); err != nil {
		t.Errorf("the state before: %v", err)
	}
	if _, err := one.KeyFor(bob, statement.UseRequest, proof.End, o.Now.UnixMicro()); err == nil {
		t.Error("the state after knows nothing of it")
	}
	again, err := one.Extend(o.Manifests, o.Entries...) // all known
	if err != nil || again.Roster != one.Roster {
		t.Errorf("known statements changed something: %v", err)
	}
}

// TestRootGoesOn replaces the root: founders come and go with their keys.
func TestRootGoesOn(t *testing.T) {
	o := prooftest.New(t, prooftest.Options{})
	_, dave := prooftest.NewKey(t)
	r := o.State().Roster.Root()
	r.Header, r.Link = o.Header(time.Hour), o.Link()
	r.Founders = []statement.Founder{{Person: "dave", Keys: []statement.Key{dave.Key()}}}
	alice := o.Keys["alice"]
	o.Append(o.Sign(r, alice, dave))
	o.Keys["dave"] = dave
	s := o.State()
	if s.Roster.Org() != o.Root || s.Roster.Founder("alice") || !s.Roster.Founder("dave") {
		t.Error("the founders are not those of the new root")
	}
	if _, err := s.KeyFor(prooftest.Fingerprint(t, alice.Key()), statement.UseAdminister, proof.End, o.Now.UnixMicro()); err == nil {
		t.Error("a founder who left still signs for the roster")
	}
	o.Retire("bob", o.Now) // by dave
	o.State()
}

// TestCatalogOfAPlace asks for the manifest in force.
func TestCatalogOfAPlace(t *testing.T) {
	o := prooftest.New(t, prooftest.Options{})
	first, _ := o.State().Catalog.Head()
	for range 5 {
		c := prooftest.Catalog()
		c.Roles[0].Description = o.Now.String()
		o.SetCatalog(c)
	}
	s := o.State()
	if _, err := s.Catalog.InForce(); err != nil {
		t.Error(err)
	}
	if _, err := s.Catalog.Of("x"); err == nil {
		t.Error("a statement that is not in the chain has a catalog")
	}
	// Who has taken in one after the other keeps the last four.
	s, err := proof.Found(o.Entries[0], o.Root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range o.Entries[1:] {
		kind, _ := e.Envelope.Kind()
		manifests := map[string][]byte{}
		if kind == statement.KindCatalog {
			c, err := statement.Open[statement.Catalog](e.Envelope)
			if err != nil {
				t.Fatal(err)
			}
			manifests[c.Manifest] = o.Manifests[c.Manifest]
		}
		if s, err = s.Extend(manifests, e); err != nil {
			t.Fatal(err)
		}
	}
	_, err = s.Catalog.Of(first)
	refused(t, err, "the manifest of catalog 1 is not there")
	head, _ := s.Catalog.Head()
	if _, err := s.Catalog.Of(head); err != nil {
		t.Error(err)
	}
}

// TestACatalogThatCannotBeUsed takes everything away until a good one follows.
func TestACatalogThatCannotBeUsed(t *testing.T) {
	o := prooftest.New(t, prooftest.Options{})
	manifest := []byte(`{"groups":[],"policies":[],"roles":[],"targets":[]}x`)
	digest := digestOf(manifest)
	o.Manifests[digest] = manifest
	o.Append(o.Sign(statement.Catalog{Header: o.Header(time.Hour), Link: o.CatalogLink(), Manifest: digest}, o.Admins()...))
	_, err := o.State().Catalog.InForce()
	refused(t, err, "catalog 2 cannot be used")
	o.SetCatalog(prooftest.Catalog())
	if _, err := o.State().Catalog.InForce(); err != nil {
		t.Error(err)
	}
}

func TestPinnedRoot(t *testing.T) {
	o := prooftest.New(t, prooftest.Options{})
	_, err := proof.Found(o.Entries[0], "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae")
	refused(t, err, "which was pinned")
	unsigned := o.Entries[0]
	unsigned.Envelope.Signatures = o.Entries[1].Envelope.Signatures
	_, err = proof.Found(unsigned, o.Root)
	refused(t, err, "alice, a new founder, has not signed it")
	later := o.State().Roster.Root()
	later.Header, later.Link = o.Header(time.Hour), o.Link()
	second := proof.Pending(o.Sign(later, o.Admins()...), 0)
	_, err = proof.Found(second, second.Envelope.ID())
	refused(t, err, "does not found an organisation")
	_, err = proof.Found(o.Entries[1], o.Entries[1].Envelope.ID())
	refused(t, err, "is not the type of a root statement")
}
