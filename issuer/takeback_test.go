package issuer

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
)

func TestTakeBackIsDurable(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	request, approval := w.agreed()
	bundle := w.Bundle(request, approval)
	revocation := w.Revocation("alice", statement.RevokePerson, "bob")
	receipt := w.takeBack(revocation)
	if receipt.Revocation != revocation.ID() || receipt.Size != w.Log.Size() {
		t.Errorf("the receipt is for %s at %d", receipt.Revocation, receipt.Size)
	}
	for _, restart := range []bool{false, true} {
		if restart {
			w.reopen()
		}
		_, err := w.issuer.Prepare(t.Context(), bundle)
		refused(t, err, brevet.Refused, "bob is suspended")
	}
	w.takeBack(revocation) // again, which changes nothing
	w.Append(revocation)   // and by the log
	w.follow()
	w.reopen()

	// The suspension can be lifted as if it had come by the log alone.
	for _, e := range w.Entries {
		if e.Envelope.ID() == revocation.ID() {
			w.Reinstate("bob", e)
		}
	}
	w.follow()
	w.prepare(bundle)
}

func TestRevocationsThatMayNotBe(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	good := w.Revocation("alice", statement.RevokePerson, "bob")
	said, err := statement.Open[statement.Revocation](good)
	if err != nil {
		t.Fatal(err)
	}
	change := func(change func(*statement.Revocation), by statement.Signer) statement.Envelope {
		r := said
		change(&r)
		return w.Sign(r, by)
	}
	for _, tt := range []struct {
		name     string
		e        statement.Envelope
		sentence string
	}{
		{"signed by somebody else", change(func(*statement.Revocation) {}, w.Keys["bob"]), "alice has not signed it"},
		{"by nobody known", change(func(r *statement.Revocation) { r.By = "zoe" }, w.Keys["alice"]), "zoe has not signed it"},
		{"of another organisation", change(func(r *statement.Revocation) {
			r.Org = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
		}, w.Keys["alice"]), "it is of another organisation"},
		{"from the future", change(func(r *statement.Revocation) {
			r.At, r.Until = w.Now.Add(10*time.Minute).UnixMicro(), w.Now.Add(time.Hour).UnixMicro()
		}, w.Keys["alice"]), "is from the future"},
		{"out of date", change(func(r *statement.Revocation) {
			r.At, r.Until = w.Now.Add(-time.Hour).UnixMicro(), w.Now.Add(-time.Minute).UnixMicro()
		}, w.Keys["alice"]), "is out of date"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := tt.e.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.issuer.TakeBack(t.Context(), b)
			refused(t, err, brevet.Refused, tt.sentence)
		})
	}
	if _, suspended := w.issuer.knows().state.Suspended("bob", proof.End); suspended {
		t.Error("a revocation that was refused is in force")
	}
	_, err = newUnfollowed(t).issuer.TakeBack(t.Context(), mustMarshal(t, good))
	refused(t, err, brevet.Unavailable, "has not followed the log yet")
}

func mustMarshal(t testing.TB, e statement.Envelope) []byte {
	t.Helper()
	b, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestNothingIsSignedAfterTheReceipt races a revocation against the grant that it forbids.
func TestNothingIsSignedAfterTheReceipt(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	type ready struct {
		bundle, intent []byte
		leaf           IntentLeaf
	}
	var all []ready
	for range 64 {
		request, approval := w.agreed()
		r := ready{bundle: w.Bundle(request, approval)}
		r.intent = w.prepare(r.bundle)
		r.leaf = w.logIntent(r.intent)
		all = append(all, r)
	}
	revocation := mustMarshal(t, w.Revocation("alice", statement.RevokePerson, "bob"))
	var mu sync.Mutex
	var taken bool // the receipt is there
	given := 0
	var wg sync.WaitGroup
	for n, r := range all {
		wg.Go(func() {
			mu.Lock()
			before := taken
			mu.Unlock()
			_, err := w.issuer.Issue(t.Context(), r.intent, r.leaf, r.bundle)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				given++
			}
			if err == nil && before {
				t.Error("issued after the receipt")
			}
		})
		if n == len(all)/2 {
			wg.Go(func() {
				if _, err := w.issuer.TakeBack(t.Context(), revocation); err != nil {
					t.Error(err)
				}
				mu.Lock()
				taken = true
				mu.Unlock()
			})
		}
	}
	wg.Wait()
	for _, r := range all {
		_, err := w.issuer.Issue(t.Context(), r.intent, r.leaf, r.bundle)
		if err == nil {
			t.Fatal("what was given is given again after the revocation")
		}
	}
	t.Logf("%d of %d were given before", given, len(all))
}

func TestStatus(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	request, approval := w.agreed()
	r, _ := w.give(w.Bundle(request, approval))
	g := open[statement.Grant](t, r.Grant.Raw)

	first := w.status(g.ID)
	s := open[statement.Status](t, first)
	if s.Grant != g.ID || s.Size != w.Log.Size() || s.Until-s.At != time.Minute.Microseconds() {
		t.Errorf("the status is %+v", s)
	}
	if !bytes.Equal(w.status(g.ID), first) {
		t.Error("within a second it is signed anew")
	}
	w.Now = w.Now.Add(time.Second)
	if bytes.Equal(w.status(g.ID), first) {
		t.Error("after a second it is the same")
	}
	_, err := w.issuer.Status(t.Context(), "grt_00000000000000000000000000")
	refused(t, err, brevet.NotFound, "knows no grant")

	w.Now = time.UnixMicro(g.To).Add(-10 * time.Second)
	if s := open[statement.Status](t, w.status(g.ID)); s.Until != g.To {
		t.Errorf("ten seconds before the end the status is good for %d µs", s.Until-s.At)
	}
	w.Now = time.UnixMicro(g.To)
	_, err = w.issuer.Status(t.Context(), g.ID)
	refused(t, err, brevet.Refused, "ended at")
}

func (w *world) status(id brevet.GrantID) []byte {
	w.T.Helper()
	s, err := w.issuer.Status(w.T.Context(), id)
	if err != nil {
		w.T.Fatal(err)
	}
	return s
}

// TestWhatEndsAGrant shows that a grant that is over gets no status, at once, and is not given again.
func TestWhatEndsAGrant(t *testing.T) {
	direct := func(what string, subject func(*world, statement.Grant) string) func(*world, statement.Grant) {
		return func(w *world, g statement.Grant) { w.takeBack(w.Revocation("alice", what, subject(w, g))) }
	}
	for _, tt := range []struct {
		name     string
		do       func(*world, statement.Grant)
		sentence string // none: it goes on
	}{
		{"the grant", direct(statement.RevokeGrant, func(_ *world, g statement.Grant) string { return string(g.ID) }), "is over: alice said \"enough\""},
		{"the request", direct(statement.RevokeRequest, func(_ *world, g statement.Grant) string { return string(g.Request) }), "is over"},
		{"the certificate", direct(statement.RevokeCredential, func(_ *world, g statement.Grant) string { return g.Serial }), "is over"},
		{"the person", direct(statement.RevokePerson, func(*world, statement.Grant) string { return "bob" }), "is over"},
		{"the person's key", direct(statement.RevokeKey, func(w *world, _ statement.Grant) string { return prooftest.Fingerprint(w.T, w.Keys["bob"].Key()) }), "is over"},
		{"the holder's key", direct(statement.RevokeKey, func(w *world, _ statement.Grant) string {
			return ssh.FingerprintSHA256(w.Gateways["gw-1"].Holder.PublicKey())
		}), "is over"},
		{"the person, by the log", func(w *world, _ statement.Grant) {
			w.Append(w.Revocation("alice", statement.RevokePerson, "bob"))
			w.follow()
		}, "is over"},
		{"the person, who is back again", func(w *world, _ statement.Grant) {
			w.Reinstate("bob", w.Append(w.Revocation("alice", statement.RevokePerson, "bob")))
			w.follow()
		}, "is over"},
		{"the gateway is no longer ours", func(w *world, _ statement.Grant) {
			w.SetMachine(statement.Machine{Name: "gw-1", Use: statement.MachineGateway, Keys: []statement.MachineKey{}})
			w.follow()
		}, "its holder gw-1 has that key no more"},
		{"the person's key was stolen before", func(w *world, _ statement.Grant) {
			w.Retire("bob", w.Now.Add(-time.Hour))
			w.follow()
		}, "what it signed for the grant is suspect"},
		{"the approver's key was stolen before", func(w *world, _ statement.Grant) {
			w.Retire("carol", w.Now.Add(-time.Hour))
			w.follow()
		}, "what it signed for the grant is suspect"},
		{"the person changed keys", func(w *world, _ statement.Grant) {
			w.Retire("bob", w.Now)
			w.follow()
		}, ""},
		{"somebody else", direct(statement.RevokePerson, func(*world, statement.Grant) string { return "frank" }), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, prooftest.Options{})
			w.T = t
			request, approval := w.agreed()
			bundle := w.Bundle(request, approval)
			intent := w.prepare(bundle)
			leaf := w.logIntent(intent)
			g := open[statement.Grant](t, w.issue(intent, leaf, bundle).Grant.Raw)
			w.status(g.ID)
			tt.do(w, g)
			for _, restart := range []bool{false, true} {
				if restart {
					w.reopen()
				}
				_, err := w.issuer.Status(t.Context(), g.ID)
				_, again := w.issuer.Issue(t.Context(), intent, leaf, bundle)
				if tt.sentence == "" {
					if err != nil || again != nil {
						t.Errorf("got %v, %v", err, again)
					}
					continue
				}
				refused(t, err, brevet.Refused, tt.sentence)
				refused(t, again, brevet.Refused, tt.sentence)
			}
		})
	}
}
