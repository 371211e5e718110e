package proof_test

import (
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
)

// shown is a gateway that was shown a good grant.
type shown struct {
	given
	bundle *proof.Bundle
	grant  statement.Grant
	want   proof.Want
}

func show(t testing.TB) *shown {
	t.Helper()
	s := &shown{given: agreed(t)}
	s.bundle = s.Give(s.ev, nil, nil, nil)
	var err error
	if s.grant, err = statement.Open[statement.Grant](s.bundle.Grant.Statement); err != nil {
		t.Fatal(err)
	}
	s.bundle.Status = []statement.Envelope{s.Status(s.grant.ID)}
	s.want = proof.Want{Gateway: "gw-1", Target: "db1", Login: "root", Key: prooftest.Fingerprint(t, s.Keys["bob"].Key()), Now: s.Now}
	return s
}

func (s *shown) verify(v *proof.Verifier) (*proof.Admission, error) {
	s.T.Helper()
	raw, err := s.bundle.Marshal()
	if err != nil {
		s.T.Fatal(err)
	}
	return v.Verify(raw, s.want)
}

func TestVerifierAdmits(t *testing.T) {
	s := show(t)
	v := proof.NewVerifier(s.Root)
	a, err := s.verify(v)
	if err != nil {
		t.Fatal(err)
	}
	if a.Person != "bob" || a.Target.ID != "db1" || a.Login != "root" || a.Role.Name != "db-admin" || a.Certificate == nil {
		t.Errorf("got %+v", a)
	}
	if roster, catalog := v.Heads(); roster != s.Link().Number-1 || catalog != 1 {
		t.Errorf("heads %d, %d", roster, catalog)
	}
	s.bundle.Roster, s.bundle.Catalog, s.bundle.Manifest = nil, nil, nil // it has them now
	if _, err := s.verify(v); err != nil {
		t.Error(err)
	}
	if _, err := s.verify(proof.NewVerifier(s.Root)); err == nil {
		t.Error("a gateway without chains believes a proof without chains")
	}
}

func TestVerifierRefuses(t *testing.T) {
	status := func(change func(*shown, *statement.Status)) func(*shown) {
		return func(s *shown) {
			x, err := statement.Open[statement.Status](s.bundle.Status[0])
			if err != nil {
				s.T.Fatal(err)
			}
			change(s, &x)
			s.bundle.Status[0] = s.Sign(x, s.Issuer.Statements)
		}
	}
	// later lets something come into the log that the gateway is shown.
	later := func(do func(*shown)) func(*shown) {
		return func(s *shown) {
			do(s)
			chains := s.Chains()
			s.bundle.Roster, s.bundle.Revocations, s.bundle.Checkpoint = chains.Roster, chains.Revocations, chains.Checkpoint
			s.renew(s.bundle)
			s.bundle.Status[0] = s.Status(s.grant.ID)
		}
	}
	for _, tt := range []struct {
		name     string
		change   func(*shown)
		sentence string
	}{
		{"no status", func(s *shown) { s.bundle.Status = nil }, "the issuer's word that the grant is still good is missing"},
		{"an old status", func(s *shown) { s.want.Now = s.want.Now.Add(2 * time.Minute) }, "is too old"},
		{"a status from the future", status(func(s *shown, x *statement.Status) { x.At += 600e6; x.Until += 600e6 }), "from the future"},
		{"a status of another grant", status(func(_ *shown, x *statement.Status) { x.Grant = "grt_00000000000000000000000000" }), "on another grant"},
		{"a status of another organisation", status(func(_ *shown, x *statement.Status) {
			x.Org = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
		}), "of another organisation"},
		{"a status by a gateway", func(s *shown) {
			s.Issuer.Statements = s.Gateways["gw-1"].Statements
			s.bundle.Status[0] = s.Status(s.grant.ID)
		}, "gw-1 is a gateway, not an issuer"},
		{"another gateway", func(s *shown) { s.want.Gateway = "gw-2" }, "the grant is for the gateway gw-1"},
		{"another target", func(s *shown) { s.want.Target = "web1" }, "the grant gives nothing on web1"},
		{"another login", func(s *shown) { s.want.Login = "admin" }, "does not give the login"},
		{"another person's key", func(s *shown) { s.want.Key = prooftest.Fingerprint(s.T, s.Keys["frank"].Key()) }, "the grant is bob's, not frank's"},
		{"nobody's key", func(s *shown) {
			_, key := prooftest.NewKey(s.T)
			s.want.Key = prooftest.Fingerprint(s.T, key.Key())
		}, "is not enrolled"},
		{"after the end", func(s *shown) {
			s.Now = time.UnixMicro(s.grant.To)
			s.bundle.Status[0], s.want.Now = s.Status(s.grant.ID), s.Now
		}, "the grant ended at"},
		{"long before the beginning", func(s *shown) { s.want.Now = s.want.Now.Add(-20 * time.Minute) }, "the intent is from the future"},
		{"before the beginning", func(s *shown) {
			s.Now = s.Now.Add(5 * time.Minute)
			now := s.Now
			s.bundle = s.Give(s.ev, func(i *statement.Intent) { i.At = now.Add(-4 * time.Minute).UnixMicro() }, nil, nil)
			s.Now = now.Add(-time.Minute)
			s.bundle.Status = []statement.Envelope{s.Status(s.grant.ID)}
			s.want.Now = now.Add(-5*time.Minute - 30*time.Second)
		}, "the grant has not begun"},
		{"no certificate", func(s *shown) { s.bundle.Certificate = nil }, "has no certificate"},
		{"revoked", later(func(s *shown) { s.Append(s.Revocation("alice", statement.RevokeGrant, string(s.grant.ID))) }), "the grant is over: alice ended the grant"},
		{"its request revoked", later(func(s *shown) { s.Append(s.Revocation("alice", statement.RevokeRequest, string(s.grant.Request))) }), "the grant is over"},
		{"its certificate revoked", later(func(s *shown) { s.Append(s.Revocation("alice", statement.RevokeCredential, s.grant.Serial)) }), "the grant is over"},
		{"the person suspended", later(func(s *shown) { s.Append(s.Revocation("alice", statement.RevokePerson, "bob")) }), "the grant is over: alice suspended the person"},
		{"the person suspended, and back", later(func(s *shown) {
			s.Reinstate("bob", s.Append(s.Revocation("alice", statement.RevokePerson, "bob")))
		}), "the grant is over"},
		{"the person's key retired", later(func(s *shown) { s.Retire("bob", s.Now) }), "is retired"},
		{"the gateway no longer ours", later(func(s *shown) {
			s.SetMachine(statement.Machine{Name: "gw-1", Use: statement.MachineGateway, Keys: []statement.MachineKey{}})
		}), "the holder gw-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := show(t)
			s.T = t
			tt.change(s)
			_, err := s.verify(proof.NewVerifier(s.Root))
			refused(t, err, tt.sentence)
		})
	}
}

// TestVerifierThatIsBehind is told by the status that there is more to know.
func TestVerifierThatIsBehind(t *testing.T) {
	s := show(t)
	v := proof.NewVerifier(s.Root)
	if _, err := s.verify(v); err != nil {
		t.Fatal(err)
	}
	s.Retire("frank", s.Now)
	s.bundle.Status[0] = s.Status(s.grant.ID)
	_, err := s.verify(v)
	if brevet.KindOf(err) != brevet.Unavailable {
		t.Fatalf("got %v", err)
	}
	if err := v.Extend(s.Chains()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.verify(v); err != nil {
		t.Error(err)
	}
	// What is behind is not taken over.
	roster, _ := v.Heads()
	old := *s.bundle
	old.Status = nil
	if err := v.Extend(&old); err != nil {
		t.Fatal(err)
	}
	if now, _ := v.Heads(); now != roster {
		t.Errorf("the roster went back from %d to %d", roster, now)
	}
}

func TestVerifierExtendDemandsPlaces(t *testing.T) {
	o := prooftest.New(t, prooftest.Options{})
	b := o.Chains()
	b.Roster[3].Body = ""
	v := proof.NewVerifier(o.Root)
	refused(t, v.Extend(b), "the place of a statement in the log")
	if v.State() != nil {
		t.Error("what does not hold was taken over")
	}
	refused(t, proof.NewVerifier("2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae").Extend(o.Chains()), "which was pinned")
}
