package issuer

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
)

// attack is something that must not lead to an intent, and the sentence that says so.
type attack struct {
	name     string
	do       func(*world) error
	sentence string
	kind     brevet.Kind // zero: Refused
}

// try follows the log and asks for an intent.
func (w *world) try(request proof.Entry, approvals ...proof.Entry) error {
	w.T.Helper()
	w.follow()
	_, err := w.issuer.Prepare(w.T.Context(), w.Bundle(request, approvals...))
	return err
}

// asked is an attack by a request that carol agrees to.
func asked(change func(*world, *statement.Request)) func(*world) error {
	return func(w *world) error {
		r := w.Ask("bob", "web-root", func(r *statement.Request) { change(w, r) })
		return w.try(r, w.Approve("carol", r, 0, nil))
	}
}

// answered is an attack by an approval of bob's good request for web-root.
func answered(by brevet.PersonID, change func(*world, *statement.Approval)) func(*world) error {
	return func(w *world) error {
		r := w.Ask("bob", "web-root", nil)
		return w.try(r, w.Approve(by, r, 0, func(a *statement.Approval) {
			if change != nil {
				change(w, a)
			}
		}))
	}
}

// agreedThen is an attack after everything was agreed to.
func agreedThen(change func(w *world, request, approval proof.Entry)) func(*world) error {
	return func(w *world) error {
		r := w.Ask("bob", "web-root", nil)
		a := w.Approve("carol", r, 0, nil)
		change(w, r, a)
		return w.try(r, a)
	}
}

func run(t *testing.T, attacks []attack) {
	for _, tt := range attacks {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, prooftest.Options{})
			if tt.kind == 0 {
				tt.kind = brevet.Refused
			}
			w.T = t
			refused(t, tt.do(w), tt.kind, tt.sentence)
		})
	}
}

// TestRequestsThatMayNotBe is check 2 of TRUST §2.
func TestRequestsThatMayNotBe(t *testing.T) {
	stranger := func(w *world) statement.Signer { _, key := prooftest.NewKey(w.T); return key }
	by := func(sign func(*world) statement.Signer) func(*world) error {
		return func(w *world) error {
			r := w.Append(w.Sign(w.Request("bob", "web-root"), sign(w)))
			return w.try(r, w.Approve("carol", r, 0, nil))
		}
	}
	run(t, []attack{
		{name: "signed by somebody else", sentence: "not of bob", do: by(func(w *world) statement.Signer { return w.Keys["frank"] })},
		{name: "signed by a key of nobody", sentence: "is not enrolled", do: by(stranger)},
		{name: "signed by a gateway without its word", sentence: "is not enrolled", do: by(func(w *world) statement.Signer { return w.Gateways["gw-1"].Statements })},
		{name: "changed after it was signed", sentence: "the signature is not good", do: func(w *world) error {
			r := w.Request("bob", "web-root")
			good := w.Sign(r, w.Keys["bob"])
			r.Duration = 3600
			forged := w.Sign(r, w.Keys["frank"])
			forged.Signatures = good.Signatures
			e := w.Append(forged)
			return w.try(e, w.Approve("carol", e, 0, nil))
		}},
		{name: "by a key that was enrolled only afterwards", sentence: "was not enrolled yet", do: func(w *world) error {
			key := stranger(w)
			r := w.Append(w.Sign(w.Request("bob", "web-root"), key))
			w.Enrol(w.Enrolment("bob", "", key, statement.UseRequest))
			return w.try(r, w.Approve("carol", r, 0, nil))
		}},
		{name: "by a key that may not ask", sentence: "is not enrolled to ask", do: func(w *world) error {
			key := stranger(w)
			w.Enrol(w.Enrolment("bob", "", key, statement.UseApprove))
			r := w.Append(w.Sign(w.Request("bob", "web-root"), key))
			return w.try(r, w.Approve("carol", r, 0, nil))
		}},
		{name: "by a key that is out of date", sentence: "is out of date", do: func(w *world) error {
			key := stranger(w)
			one := w.Enrolment("bob", "", key, statement.UseRequest)
			one.Until = w.Now.Add(time.Minute).UnixMicro()
			w.Enrol(one)
			r := w.Append(w.Sign(w.Request("bob", "web-root"), key))
			w.Now = w.Now.Add(2 * time.Minute)
			return w.try(r, w.Approve("carol", r, 0, nil))
		}},
		{name: "by a key that was retired", sentence: "is retired", do: agreedThen(func(w *world, _, _ proof.Entry) { w.Retire("bob", w.Now) })},
		{name: "by a key that was revoked", sentence: "is revoked", do: agreedThen(func(w *world, _, _ proof.Entry) {
			w.Append(w.Revocation("alice", statement.RevokeKey, prooftest.Fingerprint(w.T, w.Keys["bob"].Key())))
		})},
		{name: "by somebody suspended", sentence: "bob is suspended", do: agreedThen(func(w *world, _, _ proof.Entry) {
			w.Append(w.Revocation("alice", statement.RevokePerson, "bob"))
		})},
		{name: "cancelled", sentence: "the request is over: bob said", do: agreedThen(func(w *world, r, _ proof.Entry) {
			w.Append(w.Revocation("bob", statement.RevokeRequest, string(r.Envelope.ID())))
		})},
		{name: "from the future", sentence: "the request is from the future", do: asked(func(w *world, r *statement.Request) {
			r.At, r.Until = w.Now.Add(10*time.Minute).UnixMicro(), w.Now.Add(time.Hour).UnixMicro()
		})},
		{name: "out of date", sentence: "the request is out of date", do: asked(func(w *world, r *statement.Request) {
			r.Until = w.Now.Add(500 * time.Millisecond).UnixMicro()
		})},
		{name: "unanswered for too long", sentence: "nobody answered the request within 1h0m0s", do: func(w *world) error {
			r := w.Ask("bob", "web-root", func(r *statement.Request) { r.Until = w.Now.Add(24 * time.Hour).UnixMicro() })
			w.Now = w.Now.Add(time.Hour + 6*time.Minute)
			return w.try(r, w.Approve("carol", r, 0, nil))
		}},
		{name: "of another organisation", sentence: "is of another organisation", do: asked(func(_ *world, r *statement.Request) {
			r.Org = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
		})},
		{name: "not in the log", kind: brevet.Conflict, sentence: "has not seen this request in the log", do: func(w *world) error {
			e := proof.Pending(w.Sign(w.Request("bob", "web-root"), w.Keys["bob"]), 0)
			return w.try(e, w.Approve("carol", e, 0, nil))
		}},
		{name: "not followed yet", kind: brevet.Conflict, sentence: "has not seen this request in the log", do: func(w *world) error {
			r := w.Ask("bob", "web-root", nil)
			_, err := w.issuer.Prepare(w.T.Context(), w.Bundle(r, w.Approve("carol", r, 0, nil)))
			return err
		}},
		{name: "an approval in its place", kind: brevet.Refused, sentence: "is not the type of a request statement", do: func(w *world) error {
			r := w.Ask("bob", "web-root", nil)
			a := w.Approve("carol", r, 0, nil)
			return w.try(a, a)
		}},
		{name: "for a holder that is none of ours", sentence: "is of no machine of ours", do: asked(func(w *world, r *statement.Request) {
			key, _ := prooftest.NewKey(w.T)
			r.Holder.Key = ssh.FingerprintSHA256(key.PublicKey())
		})},
		{name: "for the key of another gateway", sentence: "is of gw-2, not of gw-1", do: asked(func(w *world, r *statement.Request) {
			r.Holder.Key = ssh.FingerprintSHA256(w.Gateways["gw-2"].Holder.PublicKey())
		})},
		{name: "for a gateway's host key", sentence: "is its host key, not its holder key", do: asked(func(w *world, r *statement.Request) {
			r.Holder.Key = ssh.FingerprintSHA256(w.Gateways["gw-1"].Host.PublicKey())
		})},
		{name: "for a gateway that does not serve the target", sentence: "the gateway gw-2 does not serve db1", do: func(w *world) error {
			r := w.Ask("bob", "db-admin", func(r *statement.Request) { r.Holder = w.Terms("bob", "web-root", "gw-2").Holder })
			return w.try(r, w.Approve("carol", r, 0, nil), w.Approve("erin", r, 1, nil))
		}},
		{name: "for a gateway that is no longer ours", sentence: "is no longer of gw-1", do: agreedThen(func(w *world, _, _ proof.Entry) {
			w.SetMachine(statement.Machine{Name: "gw-1", Use: statement.MachineGateway, Keys: []statement.MachineKey{}})
		})},
		{name: "for a holder key that was revoked", sentence: "is revoked", do: agreedThen(func(w *world, _, _ proof.Entry) {
			w.Append(w.Revocation("alice", statement.RevokeKey, ssh.FingerprintSHA256(w.Gateways["gw-1"].Holder.PublicKey())))
		})},
		{name: "for a target that is none", sentence: "there is no target web9", do: asked(func(_ *world, r *statement.Request) { r.Targets = []brevet.TargetID{"web9"} })},
		{name: "for a target of another role", sentence: "web-root gives nothing on db1", do: asked(func(_ *world, r *statement.Request) { r.Targets = []brevet.TargetID{"db1"} })},
		{name: "for a role that is none", sentence: "there is no role web-king", do: asked(func(_ *world, r *statement.Request) { r.Role = "web-king" })},
		{name: "for a role as it was", sentence: "has changed since it was asked for", do: agreedThen(func(w *world, _, _ proof.Entry) {
			c := prooftest.Catalog()
			c.Roles[2].SSH.Logins = []string{"root"}
			w.SetCatalog(c)
		})},
	})
}

// TestGatewaysWordsThatDoNotCount is the rest of check 2: requests that a gateway signs.
func TestGatewaysWordsThatDoNotCount(t *testing.T) {
	seen := func(person brevet.PersonID, role brevet.RoleName, change func(*world, *statement.Request)) func(*world) error {
		return func(w *world) error {
			r := w.AskBySSH(person, role, func(r *statement.Request) {
				if change != nil {
					change(w, r)
				}
			})
			return w.try(r)
		}
	}
	run(t, []attack{
		{name: "of the key of another person", sentence: "the gateway saw the key of frank, not of bob", do: seen("bob", "web-now", func(w *world, r *statement.Request) {
			r.Seen.Key = prooftest.Fingerprint(w.T, w.Keys["frank"].Key())
		})},
		{name: "of a key of nobody", sentence: "is not enrolled", do: seen("bob", "web-now", func(w *world, r *statement.Request) {
			key, _ := prooftest.NewKey(w.T)
			r.Seen.Key = ssh.FingerprintSHA256(key.PublicKey())
		})},
		{name: "of a touch that the key cannot show", sentence: "says touch of a key that cannot show it", do: seen("bob", "web-now", func(_ *world, r *statement.Request) {
			r.Seen.Presence = brevet.TouchPresence
		})},
		{name: "for another gateway", sentence: "the gateway gw-1 asks for a credential of gw-2", do: seen("bob", "web-now", func(w *world, r *statement.Request) {
			r.Holder = w.Terms("bob", "web-now", "gw-2").Holder
		})},
		{name: "signed by the person instead", sentence: "is of no machine of ours", do: func(w *world) error {
			r := w.Request("bob", "web-now")
			r.Via, r.Seen = brevet.ViaSSH, statement.Seen{Key: prooftest.Fingerprint(w.T, w.Keys["bob"].Key()), Presence: brevet.NoPresence, Source: "192.0.2.7"}
			return w.try(w.Append(w.Sign(r, w.Keys["bob"])))
		}},
		{name: "signed by the gateway's host key", sentence: "is its host key, not its statement key", do: func(w *world) error {
			r := w.Request("bob", "web-now")
			r.Via, r.Seen = brevet.ViaSSH, statement.Seen{Key: prooftest.Fingerprint(w.T, w.Keys["bob"].Key()), Presence: brevet.NoPresence, Source: "192.0.2.7"}
			host, err := statement.SSHSigner(w.Gateways["gw-1"].Host)
			if err != nil {
				w.T.Fatal(err)
			}
			return w.try(w.Append(w.Sign(r, host)))
		}},
		{name: "alone, above medium", sentence: "a gateway's word alone gives nothing above medium", do: func(w *world) error {
			c := prooftest.Catalog()
			c.Roles[1].Sensitivity = brevet.High
			w.SetCatalog(c)
			return seen("bob", "web-now", nil)(w)
		}},
		{name: "alone, on a target above medium", sentence: "a gateway's word alone gives nothing above medium", do: func(w *world) error {
			c := prooftest.Catalog()
			c.Targets[1].Sensitivity = brevet.Critical
			w.SetCatalog(c)
			return seen("bob", "web-now", nil)(w)
		}},
	})
}

// TestPolicyIsAskedAgain is check 3.
func TestPolicyIsAskedAgain(t *testing.T) {
	policies := func(text string) func(*world) error {
		return func(w *world) error {
			c := prooftest.Catalog()
			c.Policies[0].Text = text
			w.SetCatalog(c)
			return agreedThen(func(*world, proof.Entry, proof.Entry) {})(w)
		}
	}
	run(t, []attack{
		{name: "somebody whom no policy permits", sentence: "policy refuses", do: func(w *world) error {
			r := w.Ask("frank", "web-root", nil)
			return w.try(r, w.Approve("carol", r, 0, nil))
		}},
		{name: "a forbid", sentence: "policy refuses", do: policies(prooftest.Policies + `@id("no") forbid (principal == Person::"bob", action == Action::"request", resource);`)},
		{name: "a policy that fails to evaluate", sentence: "policy", do: policies(prooftest.Policies + `@id("bad") forbid (principal, action == Action::"request", resource) when { 9223372036854775807 + context.hour + 1 > 0 };`)},
		{name: "no policy at all", sentence: "policy refuses", do: policies(`@id("x") permit (principal in Group::"dba", action == Action::"request", resource == Role::"web-root");`)},
		{name: "without a reason", sentence: "asks for a reason", do: asked(func(_ *world, r *statement.Request) { r.Reason = "" })},
		{name: "for longer than the role gives", sentence: "policy refuses", do: asked(func(_ *world, r *statement.Request) { r.Duration = 3601 })},
		{name: "for a login that the role does not give", sentence: "does not give the login", do: asked(func(_ *world, r *statement.Request) { r.Logins = []string{"admin"} })},
		{name: "who may not answer by policy", sentence: "the approval by carol: policy refuses", do: policies(`@id("a") permit (principal in Group::"sre", action == Action::"request", resource == Role::"web-root");`)},
	})
}

// TestApprovalsThatDoNotCount is check 4.
func TestApprovalsThatDoNotCount(t *testing.T) {
	run(t, []attack{
		{name: "none", sentence: "stage 1 (sre-leads) lacks an approval", do: func(w *world) error { return w.try(w.Ask("bob", "web-root", nil)) }},
		{name: "by nobody's group", sentence: "frank is not in the group sre-leads", do: answered("frank", nil)},
		{name: "by the group of another stage", sentence: "erin is not in the group sre-leads", do: answered("erin", nil)},
		{name: "signed by the requester for somebody", sentence: "is of bob, not of carol", do: func(w *world) error {
			r := w.Ask("bob", "web-root", nil)
			return w.try(r, w.Append(w.Sign(w.Approval("carol", r, 0), w.Keys["bob"])))
		}},
		{name: "by the requester", sentence: "nobody approves their own request", do: func(w *world) error {
			c := prooftest.Catalog()
			c.Groups[1].Members = []brevet.PersonID{"bob", "carol"}
			w.SetCatalog(c)
			r := w.Ask("carol", "web-root", nil)
			payload, err := statement.Canonical(w.Approval("carol", r, 0)) // New would refuse it
			if err != nil {
				return err
			}
			own := statement.Envelope{PayloadType: statement.KindApproval.PayloadType(), Payload: payload}
			if err := own.Add(w.T.Context(), w.Keys["carol"]); err != nil {
				return err
			}
			return w.try(r, w.Append(own))
		}},
		{name: "by the owner of the workload", sentence: "carol owns the workload ci", do: func(w *world) error {
			r := w.Ask("ci", "web-root", nil)
			return w.try(r, w.Approve("carol", r, 0, nil))
		}},
		{name: "by a workload", sentence: "a workload approves nothing", do: func(w *world) error {
			c := prooftest.Catalog()
			c.Groups[2].Members = []brevet.PersonID{"carol", "ci"}
			w.SetCatalog(c)
			return answered("ci", nil)(w)
		}},
		{name: "by somebody unknown", sentence: "there is nobody named zoe", do: func(w *world) error {
			_, w.Keys["zoe"] = prooftest.NewKey(w.T)
			return answered("zoe", nil)(w)
		}},
		{name: "twice by one person", sentence: "erin has agreed already, and counts once", do: func(w *world) error {
			c := prooftest.Catalog()
			c.Groups[2].Members = append(c.Groups[2].Members, "erin")
			w.SetCatalog(c)
			r := w.Ask("bob", "db-admin", nil)
			return w.try(r, w.Approve("erin", r, 0, nil), w.Approve("erin", r, 1, nil))
		}},
		{name: "one of two stages", sentence: "stage 2 (dba) lacks an approval", do: func(w *world) error {
			r := w.Ask("bob", "db-admin", nil)
			return w.try(r, w.Approve("carol", r, 0, nil), w.Approve("dave", r, 0, nil))
		}},
		{name: "for a stage that is none", sentence: "there is no stage 2", do: answered("carol", func(_ *world, a *statement.Approval) { a.Stage = 1 })},
		{name: "for another request", sentence: "it is for another request", do: func(w *world) error {
			first := w.Ask("bob", "web-root", nil)
			return w.try(w.Ask("bob", "web-root", nil), w.Approve("carol", first, 0, nil))
		}},
		{name: "for another person", sentence: "it is for frank, not for bob", do: answered("carol", func(_ *world, a *statement.Approval) { a.Person = "frank" })},
		{name: "for another role", sentence: "it is for another role", do: answered("carol", func(_ *world, a *statement.Approval) { a.Role = "web-now" })},
		{name: "for another version of the role", sentence: "it is for another role", do: answered("carol", func(_ *world, a *statement.Approval) {
			a.RoleDigest = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
		})},
		{name: "for another holder", sentence: "it is for another holder", do: answered("carol", func(w *world, a *statement.Approval) { a.Holder = w.Terms("bob", "web-root", "gw-2").Holder })},
		{name: "for longer", sentence: "longer than was asked for", do: answered("carol", func(_ *world, a *statement.Approval) { a.Duration++ })},
		{name: "for another target", sentence: "it is for web2, which was not asked for", do: answered("carol", func(_ *world, a *statement.Approval) { a.Targets = []brevet.TargetID{"web1", "web2"} })},
		{name: "for another login", sentence: "it is for the login admin, which was not asked for", do: answered("carol", func(_ *world, a *statement.Approval) { a.Logins = []string{"admin", "root"} })},
		{name: "with nothing in common", sentence: "the approvals have no target and login in common", do: func(w *world) error {
			r := w.Ask("bob", "db-admin", nil)
			return w.try(r,
				w.Approve("carol", r, 0, func(a *statement.Approval) { a.Logins = []string{"root"} }),
				w.Approve("erin", r, 1, func(a *statement.Approval) { a.Logins = []string{"postgres"} }))
		}},
		{name: "out of date", sentence: "the approval by carol is out of date", do: answered("carol", func(w *world, a *statement.Approval) { a.Until = w.Now.Add(time.Millisecond).UnixMicro() })},
		{name: "from the future", sentence: "the approval by carol is from the future", do: answered("carol", func(w *world, a *statement.Approval) {
			a.At, a.Until = w.Now.Add(10*time.Minute).UnixMicro(), w.Now.Add(time.Hour).UnixMicro()
		})},
		{name: "of another organisation", sentence: "is of another organisation", do: answered("carol", func(_ *world, a *statement.Approval) {
			a.Org = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
		})},
		{name: "not in the log", kind: brevet.Conflict, sentence: "has not seen this approval in the log", do: func(w *world) error {
			r := w.Ask("bob", "web-root", nil)
			return w.try(r, proof.Pending(w.Sign(w.Approval("carol", r, 0), w.Keys["carol"]), 0))
		}},
		{name: "logged before the request", sentence: "it stands in the log before the request", do: func(w *world) error {
			r := proof.Entry{Envelope: w.Sign(w.Request("bob", "web-root"), w.Keys["bob"])}
			a := w.Approve("carol", r, 0, nil)
			return w.try(w.Append(r.Envelope), a)
		}},
		{name: "by a key that may not approve", sentence: "is not enrolled to approve", do: func(w *world) error {
			_, key := prooftest.NewKey(w.T)
			w.Enrol(w.Enrolment("carol", "", key, statement.UseRequest))
			r := w.Ask("bob", "web-root", nil)
			return w.try(r, w.Append(w.Sign(w.Approval("carol", r, 0), key)))
		}},
		{name: "by a key that was retired since", sentence: "is retired", do: agreedThen(func(w *world, _, _ proof.Entry) { w.Retire("carol", w.Now) })},
		{name: "by somebody suspended since", sentence: "carol is suspended", do: agreedThen(func(w *world, _, _ proof.Entry) {
			w.Append(w.Revocation("alice", statement.RevokePerson, "carol"))
		})},
		{name: "by somebody who left the group since", sentence: "carol is not in the group", do: agreedThen(func(w *world, _, _ proof.Entry) {
			c := prooftest.Catalog()
			c.Groups[2].Members = []brevet.PersonID{"alice", "dave"}
			w.SetCatalog(c)
		})},
		{name: "without the presence that the role asks for", sentence: "the signature shows no touch", do: func(w *world) error {
			c := prooftest.Catalog()
			c.Roles[2].Asks.ApproverPresence = brevet.TouchPresence
			w.SetCatalog(c)
			return answered("carol", nil)(w)
		}},
	})
}

// TestTermsAreTheNarrowest is check 6, for what was agreed to.
func TestTermsAreTheNarrowest(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	r := w.Ask("bob", "db-admin", nil)
	a := w.Approve("carol", r, 0, func(a *statement.Approval) { a.Duration = 600 })
	b := w.Approve("erin", r, 1, func(a *statement.Approval) { a.Duration, a.Logins = 900, []string{"postgres"} })
	w.follow()
	result, _ := w.give(w.Bundle(r, a, b))
	g := open[statement.Grant](t, result.Grant.Raw)
	if g.Duration != 600 || g.To-g.From != 600e6 || !slices.Equal(g.Logins, []string{"postgres"}) {
		t.Errorf("got %v from %d to %d for %v", g.Duration, g.From, g.To, g.Logins)
	}
	c := certificate(t, result.Certificate)
	if !slices.Equal(c.ValidPrincipals, []string{"db1/postgres"}) || c.ValidBefore > uint64(g.To/1e6) {
		t.Errorf("the certificate is for %v until %d", c.ValidPrincipals, c.ValidBefore)
	}
}
