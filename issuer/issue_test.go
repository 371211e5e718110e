package issuer

import (
	"bytes"
	"context"
	"database/sql"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
)

// TestWhatIsGivenCanBeProven goes the whole way and lets package proof check the result.
func TestWhatIsGivenCanBeProven(t *testing.T) {
	w := newWorld(t, prooftest.Options{Addresses: []string{"192.0.2.0/24"}})
	request, approval := w.agreed()
	r, leaf := w.give(w.Bundle(request, approval))
	b := w.proof(r, leaf, request, approval)
	report, err := proof.Check(b, proof.Trust{Root: w.Root}, w.Now)
	if err != nil {
		t.Fatal(err)
	}
	g := report.Grant
	if got, want := g.To-g.From, int64(1800*1e6); got != want {
		t.Errorf("the grant lasts %d µs, want %d", got, want)
	}
	c := report.Certificate
	if end := uint64(g.To / 1e6); c.ValidBefore > end {
		t.Errorf("the certificate ends at %d, after the grant at %d", c.ValidBefore, end)
	}
	if got := c.CriticalOptions["source-address"]; got != "192.0.2.0/24" {
		t.Errorf("source-address %q", got)
	}

	status, err := w.issuer.Status(t.Context(), g.ID)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := statement.Parse(status)
	b.Status = []statement.Envelope{e}
	bundle, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	v := proof.NewVerifier(w.Root)
	want := proof.Want{
		Gateway: "gw-1", Target: "web1", Login: "root", Now: w.Now,
		Key: prooftest.Fingerprint(t, w.Keys["bob"].Key()),
	}
	if _, err := v.Verify(bundle, want); err != nil {
		t.Errorf("a gateway refuses it: %v", err)
	}
}

// TestOneIntentOneGrant shows that the same bytes come out however often the intent is issued, also
// by an issuer that remembers nothing of having signed it.
func TestOneIntentOneGrant(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	request, approval := w.agreed()
	bundle := w.Bundle(request, approval)
	intent := w.prepare(bundle)
	w.reopen()
	leaf := w.logIntent(intent)
	first := w.issue(intent, leaf, bundle)
	for _, restart := range []bool{false, true} {
		if restart {
			w.reopen()
		}
		again := w.issue(intent, leaf, bundle)
		if !bytes.Equal(again.Grant.Raw, first.Grant.Raw) || !bytes.Equal(again.Certificate, first.Certificate) {
			t.Errorf("issued twice (restart %v), and the grants differ", restart)
		}
	}
}

// TestIntentsThatMayNotBeUsed is check 5 of TRUST §2, and what voids an intent.
func TestIntentsThatMayNotBeUsed(t *testing.T) {
	type prepared struct {
		*world
		request, approval proof.Entry
		bundle, intent    []byte
	}
	// issue logs the intent as it is and issues.
	issue := func(p prepared) error {
		leaf := p.logIntent(p.intent)
		_, err := p.issuer.Issue(p.T.Context(), p.intent, leaf, p.bundle)
		return err
	}
	// after lets something happen between the intent's leaf and Issue.
	after := func(change func(prepared)) func(prepared) error {
		return func(p prepared) error {
			leaf := p.logIntent(p.intent)
			change(p)
			p.follow()
			_, err := p.issuer.Issue(p.T.Context(), p.intent, leaf, p.bundle)
			return err
		}
	}
	heard := func(by brevet.PersonID, what string, subject func(prepared) string) func(prepared) error {
		return func(p prepared) error {
			leaf := p.logIntent(p.intent)
			p.takeBack(p.Revocation(by, what, subject(p)))
			_, err := p.issuer.Issue(p.T.Context(), p.intent, leaf, p.bundle)
			return err
		}
	}
	changed := func(change func(*brevet.Catalog)) func(prepared) error {
		return after(func(p prepared) {
			c := prooftest.Catalog()
			change(&c)
			p.SetCatalog(c)
		})
	}
	for _, tt := range []struct {
		name     string
		do       func(prepared) error
		sentence string
		kind     brevet.Kind
	}{
		{name: "not in the log", kind: brevet.Conflict, sentence: "has not seen the intent in the log yet", do: func(p prepared) error {
			_, err := p.issuer.Issue(p.T.Context(), p.intent, IntentLeaf{Index: 3}, p.bundle)
			return err
		}},
		{name: "in the log, and not followed in time", kind: brevet.Unavailable, sentence: "has not seen place 10 of the log yet", do: func(p prepared) error {
			leaf := p.appendIntent(p.intent)
			ctx, cancel := context.WithCancel(p.T.Context())
			cancel()
			_, err := p.issuer.Issue(ctx, p.intent, leaf, p.bundle)
			return err
		}},
		{name: "elsewhere in the log", sentence: "was spent by the intent at 10 of the log, not by this one", do: func(p prepared) error {
			leaf := p.logIntent(p.intent)
			leaf.Index--
			_, err := p.issuer.Issue(p.T.Context(), p.intent, leaf, p.bundle)
			return err
		}},
		{name: "with another leaf's body", sentence: "the body of the intent's leaf is not the one in the log", do: func(p prepared) error {
			leaf := p.logIntent(p.intent)
			_, leaf.Body = p.Log.Body(3)
			_, err := p.issuer.Issue(p.T.Context(), p.intent, leaf, p.bundle)
			return err
		}},
		{name: "without the leaf's salt", sentence: "the salt of the intent's leaf is missing", do: func(p prepared) error {
			leaf := p.logIntent(p.intent)
			leaf.Salt = nil
			_, err := p.issuer.Issue(p.T.Context(), p.intent, leaf, p.bundle)
			return err
		}},
		{name: "spent by another leaf", sentence: "the intent's leaf is about another intent", do: func(p prepared) error {
			// The server logs something else for the request, and says that it is the intent.
			other := open[statement.Intent](p.T, p.intent)
			other.Duration--
			forged := p.Append(p.Sign(other, p.Gateways["gw-1"].Statements))
			p.follow()
			salt, body := p.Log.Body(forged.Index)
			_, err := p.issuer.Issue(p.T.Context(), p.intent, IntentLeaf{forged.Index, salt, body}, p.bundle)
			return err
		}},
		{name: "a second one in the log", sentence: "was spent by the intent at 10 of the log", do: func(p prepared) error {
			p.logIntent(p.intent)
			leaf := p.logIntent(p.intent)
			_, err := p.issuer.Issue(p.T.Context(), p.intent, leaf, p.bundle)
			return err
		}},
		{name: "signed by somebody else", sentence: "gw-1 is a gateway, not an issuer", do: func(p prepared) error {
			other := open[statement.Intent](p.T, p.intent)
			other.Duration = 3600
			forged, err := p.Sign(other, p.Gateways["gw-1"].Statements).Marshal()
			if err != nil {
				return err
			}
			_, err = p.issuer.Issue(p.T.Context(), forged, p.logIntent(forged), p.bundle)
			return err
		}},
		{name: "with its signature changed", sentence: "the signature is not good", do: func(p prepared) error {
			e, err := statement.Parse(p.intent)
			if err != nil {
				return err
			}
			e.Signatures[0].Sig[0] ^= 1
			forged, err := e.Marshal()
			if err != nil {
				return err
			}
			_, err = p.issuer.Issue(p.T.Context(), forged, p.logIntent(p.intent), p.bundle)
			return err
		}},
		{name: "too old", sentence: "the intent is older than 5m0s", do: after(func(p prepared) { p.Now = p.Now.Add(6 * time.Minute) })},
		{name: "on other evidence", sentence: "the intent rests on other evidence", do: func(p prepared) error {
			second := p.Approve("dave", p.request, 0, nil)
			p.follow()
			p.bundle = p.Bundle(p.request, p.approval, second)
			return issue(p)
		}},
		{name: "on another request", sentence: "the intent is for another request", do: func(p prepared) error {
			other := p.Ask("bob", "web-root", nil)
			p.bundle = p.Bundle(other, p.Approve("carol", other, 0, nil))
			return issue(p)
		}},
		{name: "on other claims", sentence: "the intent rests on other evidence", do: func(p prepared) error {
			risk := int64(1)
			b, err := proof.NewEvidence(p.request.Envelope, []statement.Envelope{p.approval.Envelope}, policy.Claimed{Risk: &risk}).Marshal()
			if err != nil {
				return err
			}
			p.bundle = b
			return issue(p)
		}},
		{name: "without the approval", sentence: "the intent rests on other evidence", do: func(p prepared) error {
			p.bundle = p.Bundle(p.request)
			return issue(p)
		}},

		{name: "the request was cancelled", sentence: "the request is over", do: heard("bob", statement.RevokeRequest, func(p prepared) string { return string(p.request.Envelope.ID()) })},
		{name: "the grant was revoked before it was there", sentence: "the request is over", do: heard("alice", statement.RevokeGrant, func(p prepared) string {
			return string(p.request.Envelope.RequestID(mustOpen(p.T, p.request.Envelope)).Grant())
		})},
		{name: "the requester was suspended", sentence: "bob is suspended", do: heard("alice", statement.RevokePerson, func(prepared) string { return "bob" })},
		{name: "the approver was suspended", sentence: "carol is suspended", do: heard("alice", statement.RevokePerson, func(prepared) string { return "carol" })},
		{name: "the requester's key was revoked", sentence: "is revoked", do: heard("alice", statement.RevokeKey, func(p prepared) string { return prooftest.Fingerprint(p.T, p.Keys["bob"].Key()) })},
		{name: "the holder's key was revoked", sentence: "is revoked", do: heard("alice", statement.RevokeKey, func(p prepared) string {
			return ssh.FingerprintSHA256(p.Gateways["gw-1"].Holder.PublicKey())
		})},
		{name: "suspended by the log", sentence: "bob is suspended", do: after(func(p prepared) { p.Append(p.Revocation("alice", statement.RevokePerson, "bob")) })},
		{name: "suspended before the intent's leaf", sentence: "bob is suspended", do: func(p prepared) error {
			p.Append(p.Revocation("alice", statement.RevokePerson, "bob"))
			return issue(p)
		}},
		{name: "suspended, and back again", sentence: "bob is suspended", do: func(p prepared) error {
			suspension := p.Append(p.Revocation("alice", statement.RevokePerson, "bob"))
			leaf := p.appendIntent(p.intent)
			p.Reinstate("bob", suspension)
			p.follow()
			_, err := p.issuer.Issue(p.T.Context(), p.intent, leaf, p.bundle)
			return err
		}},
		{name: "the requester's key was retired", sentence: "is retired", do: after(func(p prepared) { p.Retire("bob", p.Now) })},
		{name: "the approver's key was retired", sentence: "is retired", do: after(func(p prepared) { p.Retire("carol", p.Now) })},
		{name: "the gateway is no longer ours", sentence: "is no longer of gw-1", do: after(func(p prepared) {
			p.SetMachine(statement.Machine{Name: "gw-1", Use: statement.MachineGateway, Keys: []statement.MachineKey{}})
		})},
		{name: "the gateway serves other targets now", sentence: "the gateway gw-1 does not serve web1", do: after(func(p prepared) {
			m := p.Gateways["gw-1"].Machine
			m.Targets.Labels = map[string]string{"app": "db"}
			p.SetMachine(m)
		})},
		{name: "the role changed", sentence: "has changed since", do: changed(func(c *brevet.Catalog) { c.Roles[2].Limits.Duration = 7200 })},
		{name: "the role is gone", sentence: "there is no role web-root", do: changed(func(c *brevet.Catalog) {
			c.Roles = c.Roles[:2]
			c.Policies[0].Text = strings.Join(strings.Split(prooftest.Policies, "\n")[1:], "\n")
		})},
		{name: "the approver left the group", sentence: "carol is not in the group", do: changed(func(c *brevet.Catalog) { c.Groups[2].Members = []brevet.PersonID{"alice", "dave"} })},
		{name: "the requester left the group", sentence: "policy refuses", do: changed(func(c *brevet.Catalog) { c.Groups[1].Members = []brevet.PersonID{"ci"} })},
		{name: "policy changed its mind", sentence: "policy refuses", do: changed(func(c *brevet.Catalog) {
			c.Policies[0].Text += `@id("no") forbid (principal, action == Action::"request", resource == Role::"web-root");`
		})},
		{name: "another policy decides", sentence: "the intent names other policies than decide", do: changed(func(c *brevet.Catalog) {
			c.Policies[0].Text = strings.Replace(c.Policies[0].Text, "sre-may-ask\"", "sre-asks\"", 1)
		})},
		{name: "the issuer is no longer ours", sentence: "the roster does not name issuer-1", do: after(func(p prepared) {
			p.SetMachine(statement.Machine{Name: prooftest.IssuerName, Use: statement.MachineIssuer, Keys: []statement.MachineKey{}})
		})},
		{name: "the issuer has other keys now", sentence: "the roster names another ssh-user-ca key", do: after(func(p prepared) {
			m, _ := p.State().Roster.Machine(prooftest.IssuerName, proof.End)
			_, key := prooftest.NewKey(p.T)
			for i := range m.Keys {
				if m.Keys[i].Use == statement.KeyUserCA {
					m.Keys[i].Key = key.Key()
				}
			}
			p.SetMachine(m)
		})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := prepared{world: newWorld(t, prooftest.Options{})}
			p.T = t
			p.request, p.approval = p.agreed()
			p.bundle = p.Bundle(p.request, p.approval)
			p.intent = p.prepare(p.bundle)
			if tt.kind == 0 {
				tt.kind = brevet.Refused
			}
			refused(t, tt.do(p), tt.kind, tt.sentence)
		})
	}
}

// TestARequestIsSpentOnce shows that no second grant comes of a request.
func TestARequestIsSpentOnce(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	request, approval := w.agreed()
	bundle := w.Bundle(request, approval)
	intent := w.prepare(bundle)
	leaf := w.logIntent(intent)

	second := w.Approve("dave", request, 0, nil)
	w.follow()
	_, err := w.issuer.Prepare(t.Context(), w.Bundle(request, approval, second))
	refused(t, err, brevet.Conflict, "is spent: the intent at 10 of the log has used it")

	w.issue(intent, leaf, bundle)
	for _, restart := range []bool{false, true} {
		if restart {
			w.reopen()
		}
		_, err = w.issuer.Prepare(t.Context(), bundle)
		refused(t, err, brevet.Conflict, "is spent: the intent at 10 of the log has used it")
	}
}

// TestWhoeverSaysNewGetsNothingMore: an intent for a request that its caller takes for new gives what it
// gives by the place that the request has in the log, and nothing if it is spent.
func TestWhoeverSaysNewGetsNothingMore(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	prepareNew := func(request proof.Entry, approvals ...proof.Entry) ([]byte, []byte, error) {
		bundle := w.Bundle(request, approvals...)
		b, err := proof.Parse(bundle)
		if err != nil {
			t.Fatal(err)
		}
		intent, err := w.issuer.Issuer.PrepareNew(t.Context(), b)
		return intent.Raw, bundle, err
	}
	t.Run("spent", func(t *testing.T) {
		request := w.Ask("bob", "web-now", nil)
		w.follow()
		w.give(w.Bundle(request))
		intent, bundle, err := prepareNew(request)
		if err != nil {
			t.Fatal(err)
		}
		leaf := w.logIntent(intent)
		for _, restart := range []bool{false, true} {
			if restart {
				w.reopen()
			}
			_, err = w.issuer.Issue(t.Context(), intent, leaf, bundle)
			refused(t, err, brevet.Conflict, "has its grant by another intent")
		}
	})
	t.Run("logged before its key was enrolled", func(t *testing.T) {
		key := newSigner(t)
		enrolment := w.Enrolment("bob", "", key, statement.UseRequest)
		request := w.Append(w.Sign(w.Request("bob", "web-now"), key))
		w.Enrol(enrolment)
		w.follow()
		_, err := w.issuer.Prepare(t.Context(), w.Bundle(request))
		refused(t, err, brevet.Refused, "was not enrolled yet")
		intent, bundle, err := prepareNew(request)
		if err != nil {
			t.Fatal(err) // it is judged as if it came next, and then its key is enrolled
		}
		_, err = w.issuer.Issue(t.Context(), intent, w.logIntent(intent), bundle)
		refused(t, err, brevet.Refused, "was not enrolled yet")
	})
	t.Run("answered", func(t *testing.T) {
		_, _, err := prepareNew(w.agreed())
		refused(t, err, brevet.Conflict, "has not seen this request in the log")
	})
}

// TestOfManyIntentsTheFirstCounts prepares twice, before and after the request is in the log, and
// shows that the grant comes of the intent that spent the request, whichever was signed first.
func TestOfManyIntentsTheFirstCounts(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	request, approval := w.agreed()
	bundle := w.Bundle(request, approval)
	early := w.prepare(bundle)
	w.Now = w.Now.Add(time.Second)
	late := w.prepare(bundle)
	leaf := w.logIntent(late)
	_, err := w.issuer.Issue(t.Context(), early, leaf, bundle)
	refused(t, err, brevet.Refused, "the intent's leaf is about another intent")
	again := w.appendIntent(early)
	w.follow()
	_, err = w.issuer.Issue(t.Context(), early, again, bundle)
	refused(t, err, brevet.Refused, "the request was spent by the intent at 10 of the log, not by this one")
	w.issue(late, leaf, bundle)
}

// TestWhatComesNext prepares for a request that is about to be appended together with its intent.
func TestWhatComesNext(t *testing.T) {
	for _, tt := range []struct {
		name   string
		happen func(w *world, request proof.Entry)
		want   string // the refusal, or "" if it is given
	}{
		{name: "as it was judged", happen: func(w *world, request proof.Entry) { w.Append(request.Envelope) }},
		{name: "the request never came", happen: func(*world, proof.Entry) {}, want: "the intent stands in the log before what it rests on"},
		{name: "its person was suspended first", happen: func(w *world, request proof.Entry) {
			w.Append(w.Revocation("alice", statement.RevokePerson, "bob"))
			w.Append(request.Envelope)
		}, want: "suspended"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, prooftest.Options{})
			w.follow()
			request := proof.Entry{Envelope: w.Sign(w.Request("bob", "web-now"), w.Keys["bob"])}
			bundle := w.Bundle(request)
			intent := w.prepare(bundle)
			tt.happen(w, request)
			leaf := w.logIntent(intent)
			_, err := w.issuer.Issue(t.Context(), intent, leaf, bundle)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			refused(t, err, brevet.Refused, tt.want)
		})
	}
}

// TestAnIntentNobodySigned shows that the issuer gives nothing by an intent that it has not signed.
func TestAnIntentNobodySigned(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	request, approval := w.agreed()
	bundle := w.Bundle(request, approval)
	e, err := statement.Parse(w.prepare(bundle))
	if err != nil {
		t.Fatal(err)
	}
	said := open[statement.Intent](t, mustMarshal(t, e))
	forged, err := statement.New(t.Context(), said, w.Keys["bob"])
	if err != nil {
		t.Fatal(err)
	}
	w.reopen() // it remembers no signatures
	raw := mustMarshal(t, forged)
	leaf := w.logIntent(raw)
	_, err = w.issuer.Issue(t.Context(), raw, leaf, bundle)
	refused(t, err, brevet.Refused, "")
}

// TestIssueWaitsForTheLog issues an intent that is followed a moment later.
func TestIssueWaitsForTheLog(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	request, approval := w.agreed()
	bundle := w.Bundle(request, approval)
	intent := w.prepare(bundle)
	leaf := w.appendIntent(intent)
	var given sync.WaitGroup
	given.Go(func() {
		if _, err := w.issuer.Issue(t.Context(), intent, leaf, bundle); err != nil {
			t.Error(err)
		}
	})
	w.follow()
	given.Wait()
}

func TestManyIssueOneIntent(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	request, approval := w.agreed()
	bundle := w.Bundle(request, approval)
	intent := w.prepare(bundle)
	leaf := w.logIntent(intent)
	results := make([]Result, 16)
	var wg sync.WaitGroup
	for n := range results {
		wg.Go(func() { results[n], _ = w.issuer.Issue(t.Context(), intent, leaf, bundle) })
	}
	wg.Wait()
	for _, r := range results {
		if !bytes.Equal(r.Grant.Raw, results[0].Grant.Raw) || !bytes.Equal(r.Certificate, results[0].Certificate) || len(r.Grant.Raw) == 0 {
			t.Fatal("many issued at once, and the grants differ")
		}
	}
}

func TestSerialsDiffer(t *testing.T) {
	seen := map[uint64]bool{0: true}
	for range 1000 {
		s := newSerial()
		if seen[s] || s > math.MaxInt64 {
			t.Fatalf("serial %d", s)
		}
		seen[s] = true
	}
}

// TestOneGrantForARequest asks for a request's grant by an intent of before that was void.
func TestOneGrantForARequest(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	request, approval := w.agreed()
	bundle := w.Bundle(request, approval)
	void := w.prepare(bundle)
	w.Now = w.Now.Add(time.Second)
	intent := w.prepare(bundle)
	leaf := w.logIntent(intent)
	given := w.issue(intent, leaf, bundle)
	_, err := w.issuer.Issue(t.Context(), void, leaf, bundle)
	refused(t, err, brevet.Conflict, "has its grant by another intent")

	// The same, should it ever get as far as the state: what is there counts.
	st, err := w.issuer.state.standingOf(t.Context(), open[statement.Intent](t, intent).Request)
	if err != nil {
		t.Fatal(err)
	}
	said := open[statement.Intent](t, void)
	id := string(said.Request) // any will do
	m := making{Result: Result{
		Grant:       Signed[statement.Grant]{Raw: []byte{1}, ID: statement.ID(id), Said: statement.Grant{ID: given.Grant.Said.ID, Request: said.Request, Intent: statement.ID(id), Index: leaf.Index}},
		Certificate: []byte{1},
	}, place: st.index, state: w.issuer.state}
	if err := w.issuer.state.write(t.Context(), "issue", m.write); err != nil || m.first == nil {
		t.Errorf("a second grant was kept (%v)", err)
	}
	// Nor is one kept that was judged by other places than the log has.
	for _, elsewhere := range []func(*making){
		func(m *making) { m.place-- },
		func(m *making) { m.Grant.Said.Index++ },
	} {
		m := m
		m.Grant.Said.ID = "grt_another"
		elsewhere(&m)
		refused(t, w.issuer.state.write(t.Context(), "issue", m.write), brevet.Unavailable, "was not followed as far as the intent")
	}
}

// TestAnIntentBeforeItsRequest shows that nothing comes of an intent that the log has before the request
// that it is for, though both are there: nobody would accept the proof.
func TestAnIntentBeforeItsRequest(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	w.follow()
	request := proof.Entry{Envelope: w.Sign(w.Request("bob", "web-now"), w.Keys["bob"])}
	bundle := w.Bundle(request)
	intent := w.prepare(bundle)
	leaf := w.appendIntent(intent)
	w.Append(request.Envelope)
	w.follow()
	_, err := w.issuer.Issue(t.Context(), intent, leaf, bundle)
	refused(t, err, brevet.Refused, "the intent stands in the log before what it rests on")
}

// TestNothingIsGivenByALogThatIsNotKept has the log known before it is durable, and then not become so: what
// was judged by it is not given.
func TestNothingIsGivenByALogThatIsNotKept(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	request, approval := w.agreed()
	bundle := w.Bundle(request, approval)
	intent := w.prepare(bundle)
	leaf := w.appendIntent(intent)
	f := w.feed()
	before := w.issuer.knows()
	next, entries, err := w.issuer.examine(t.Context(), before, f)
	if err != nil || len(entries) > 0 {
		t.Fatal(entries, err)
	}
	coming := (&page{Feed: f}).coming()
	w.issuer.state.coming.Store(&coming)
	w.issuer.learn(next) // as Follow does, whose write then fails
	_, err = w.issuer.Issue(t.Context(), intent, leaf, bundle)
	refused(t, err, brevet.Unavailable, "was not followed as far as the intent")
	w.issuer.state.coming.Store(nil)
	w.issuer.learn(before)
	w.follow()
	w.issue(intent, leaf, bundle)
}

// TestALateGrantIsRemembered has an intent used after many that the log has behind it, and the issuer restarted
// before the log has its grant.
func TestALateGrantIsRemembered(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	request, approval := w.agreed()
	bundle := w.Bundle(request, approval)
	intent := w.prepare(bundle)
	leaf := w.logIntent(intent)
	err := w.issuer.state.write(t.Context(), "issue", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `with recursive later(i) as (select 1 union all select i + 1 from later where i < $1)
			insert into grants (spent, request, intent, id, statement, envelope, certificate, ends, keys)
			select 1000000 + i, randomblob(32), randomblob(32), 'grt_' || i, randomblob(32), x'00', x'00', $2, '[]' from later`,
			maxGave, w.Now.Add(time.Hour).UnixMicro())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	given := w.issue(intent, leaf, bundle)
	w.reopen()
	e, err := statement.Parse(given.Grant.Raw)
	if err != nil {
		t.Fatal(err)
	}
	logged := w.Append(e)
	w.follow()
	if w.issuer.knows().forgotten == logged.Index {
		t.Error("the issuer has the grant in its state, and believes that it was put back")
	}
}
