package proof_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
)

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// TestWeighBeforeItIsLogged weighs a request as the server does at intake: nothing is in the log yet.
func TestWeighBeforeItIsLogged(t *testing.T) {
	o := prooftest.New(t, prooftest.Options{})
	size := o.Log.Size()
	request := proof.Pending(o.Sign(o.Request("bob", "db-admin"), o.Keys["bob"]), size)
	w, err := o.State().Weigh(prooftest.Evidence(request), size+1, o.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, w.Missing, "stage 1 (sre-leads) lacks an approval")
	if w.Refused() || len(w.Stages) != 2 || w.Stages[0].Complete || w.Decision.Outcome != brevet.Ask || len(w.Terms.Targets) != 0 {
		t.Errorf("got %+v", w)
	}
	_, err = o.State().Weigh(prooftest.Evidence(request), size, o.Now, nil)
	refused(t, err, "the request does not stand in the log")
}

func TestWeighSaysHowFarItIs(t *testing.T) {
	o := prooftest.New(t, prooftest.Options{})
	r := o.Ask("bob", "db-admin", nil)
	carol := o.Approve("carol", r, 0, nil)
	dave := o.Approve("dave", r, 0, nil)
	frank := o.Approve("frank", r, 1, nil)
	erin := o.Approve("erin", r, 1, func(a *statement.Approval) { a.Duration = 60 })
	s := o.State()
	weigh := func(approvals ...proof.Entry) *proof.Weighed {
		t.Helper()
		w, err := s.Weigh(prooftest.Evidence(r, approvals...), o.Log.Size(), o.Now, nil)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	w := weigh(carol, dave, carol, frank)
	if w.Stages[0].Counted != 2 || !w.Stages[0].Complete || w.Stages[1].Counted != 0 || w.Stages[1].Complete || w.Missing == nil {
		t.Errorf("stages %+v, missing %v", w.Stages, w.Missing)
	}
	var why []string
	for _, p := range w.PassedOver {
		why = append(why, p.Why)
	}
	if len(why) != 2 || !strings.Contains(why[0], "carol has agreed already") || !strings.Contains(why[1], "frank is not in the group dba") {
		t.Errorf("passed over: %q", why)
	}
	w = weigh(carol, erin)
	if w.Missing != nil || w.Terms.Duration != 60 || len(w.Approvals) != 2 || len(w.Targets) != 1 {
		t.Errorf("missing %v, terms %+v", w.Missing, w.Terms)
	}
	// Judge agrees, for whatever is complete and whatever is not.
	for _, approvals := range [][]proof.Entry{{carol, erin}, {carol}, {erin, carol}, {frank}} {
		w := weigh(approvals...)
		v, err := s.Judge(prooftest.Evidence(r, approvals...), o.Log.Size(), o.Now, nil)
		if (err == nil) != (w.Missing == nil) || err == nil && !slices.Equal(v.ApprovalIDs(), w.ApprovalIDs()) {
			t.Errorf("judge says %v, weigh %v", err, w.Missing)
		}
	}
}

func TestWeighSaysThatPolicyRefuses(t *testing.T) {
	o := prooftest.New(t, prooftest.Options{})
	r := o.Ask("frank", "web-root", nil)
	w, err := o.State().Weigh(prooftest.Evidence(r), o.Log.Size(), o.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, w.Missing, "policy refuses")
	if !w.Refused() || len(w.Decision.Reasons) == 0 || len(w.Stages) != 0 {
		t.Errorf("got %+v", w)
	}
	// What is no request at all is an error.
	bad := o.Append(o.Sign(o.Request("bob", "web-root"), o.Keys["frank"]))
	_, err = o.State().Weigh(prooftest.Evidence(bad), o.Log.Size(), o.Now, nil)
	refused(t, err, "not of bob")
}

func TestWeighOfWhatNeedsNobody(t *testing.T) {
	o := prooftest.New(t, prooftest.Options{})
	r := o.Ask("bob", "web-now", nil)
	w, err := o.State().Weigh(prooftest.Evidence(r), o.Log.Size(), o.Now, nil)
	if err != nil || w.Missing != nil || w.Decision.Outcome != brevet.Allow {
		t.Errorf("got %+v, %v", w, err)
	}
	_, err = o.State().CheckApproval(prooftest.Evidence(r), o.Sign(o.Approval("carol", r, 0), o.Keys["carol"]), o.Log.Size(), o.Now, nil)
	refused(t, err, "nobody need agree")
}

func TestCheckApproval(t *testing.T) {
	o := prooftest.New(t, prooftest.Options{})
	r := o.Ask("bob", "web-root", nil)
	check := func(e statement.Envelope, before ...proof.Entry) (proof.Approval, error) {
		return o.State().CheckApproval(prooftest.Evidence(r, before...), e, o.Log.Size(), o.Now, nil)
	}
	good := o.Sign(o.Approval("carol", r, 0), o.Keys["carol"])
	a, err := check(good)
	if err != nil || a.By != "carol" || a.Index != o.Log.Size() || a.ID != good.ID() {
		t.Errorf("got %+v, %v", a, err)
	}
	_, err = check(good, o.Append(good))
	refused(t, err, "carol has agreed already")
	_, err = check(o.Sign(o.Approval("frank", r, 0), o.Keys["frank"]))
	refused(t, err, "frank is not in the group sre-leads")
	late := o.Approval("dave", r, 0)
	late.Until = o.Now.Add(time.Second).UnixMicro()
	o.Now = o.Now.Add(time.Minute)
	_, err = check(o.Sign(late, o.Keys["dave"]))
	refused(t, err, "is out of date")
	o.Append(o.Revocation("bob", statement.RevokeRequest, string(r.Envelope.ID())))
	_, err = check(o.Sign(o.Approval("dave", r, 0), o.Keys["dave"]))
	refused(t, err, "the request is over")
}

// TestMemoryRemembersOnlyWhatWasGood judges with a memory: bad and good ones in turn.
func TestMemoryRemembersOnlyWhatWasGood(t *testing.T) {
	o := prooftest.New(t, prooftest.Options{})
	r := o.Ask("bob", "web-root", nil)
	a := o.Approve("carol", r, 0, nil)
	s := o.State()
	memory := &proof.Memory{}
	signed := o.Log.Checkpoint()
	altered := slices.Clone(signed)
	altered[len(altered)-4] ^= 1 // in the signature
	forged := a
	forged.Envelope.Signatures = slices.Clone(a.Envelope.Signatures)
	forged.Envelope.Signatures[0].Sig = slices.Clone(a.Envelope.Signatures[0].Sig)
	forged.Envelope.Signatures[0].Sig[60] ^= 1
	for range 3 {
		if _, err := s.Judge(prooftest.Evidence(r, a), o.Log.Size(), o.Now, memory); err != nil {
			t.Error(err)
		}
		if _, err := s.Judge(prooftest.Evidence(r, forged), o.Log.Size(), o.Now, memory); err == nil {
			t.Error("a forged signature is believed")
		}
		if c, err := s.OpenCheckpoint(signed, proof.End, memory); err != nil || c.Size != o.Log.Size() {
			t.Errorf("checkpoint of %d: %v", c.Size, err)
		}
		if _, err := s.OpenCheckpoint(altered, proof.End, memory); err == nil {
			t.Error("an altered checkpoint is believed")
		}
	}
}

// TestWhatTheLogSignedIsKnown tells a memory of checkpoints as they are signed. What another key signed, or is
// for another log, is not known by that.
func TestWhatTheLogSignedIsKnown(t *testing.T) {
	o := prooftest.New(t, prooftest.Options{})
	memory := &proof.Memory{}
	mine := func(signed []byte, by ed25519.PublicKey, c audit.Checkpoint) {
		// As if it were not signed: so it can be seen that the memory is asked, and nobody else.
		memory.SignedCheckpoint(unsigned(signed), by, c)
	}
	signed, err := o.Log.Signer().Telling(mine).Sign(o.Log.Head())
	if err != nil {
		t.Fatal(err)
	}
	s := o.State()
	if c, err := s.OpenCheckpoint(unsigned(signed), proof.End, memory); err != nil || c.Size != o.Log.Size() || c.Root != o.Log.Head().Root() {
		t.Errorf("checkpoint of %d: %v", c.Size, err)
	}
	if _, err := s.OpenCheckpoint(unsigned(signed), proof.End, nil); err == nil {
		t.Error("what nobody signed is believed")
	}
	signed, err = prooftest.New(t, prooftest.Options{}).Log.Signer().Telling(mine).Sign(o.Log.Head())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.OpenCheckpoint(unsigned(signed), proof.End, memory); err == nil {
		t.Error("what another log's key signed is believed")
	}
}

// unsigned returns a checkpoint with a signature that is none.
func unsigned(signed []byte) []byte {
	return append(slices.Clone(signed[:len(signed)-8]), "AAAAAAA\n"...)
}
