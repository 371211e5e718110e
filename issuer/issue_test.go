package issuer

import (
	"bytes"
	"testing"

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

func TestSameIntentSameBytes(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	request, approval := w.agreed()
	bundle := w.Bundle(request, approval)
	intent := w.prepare(bundle)
	if again := w.prepare(bundle); !bytes.Equal(again, intent) {
		t.Error("prepared twice, and the intents differ")
	}
	w.reopen()
	if again := w.prepare(bundle); !bytes.Equal(again, intent) {
		t.Error("prepared after a restart, and the intents differ")
	}
	leaf := w.logIntent(intent)
	if again := w.prepare(bundle); !bytes.Equal(again, intent) {
		t.Error("prepared when it stood in the log, and the intents differ")
	}
	first := w.issue(intent, leaf, bundle)
	for _, restart := range []bool{false, true} {
		if restart {
			w.reopen()
		}
		again := w.issue(intent, leaf, bundle)
		if !bytes.Equal(again.Grant, first.Grant) || !bytes.Equal(again.Certificate, first.Certificate) {
			t.Errorf("issued twice (restart %v), and the grants differ", restart)
		}
	}
}
