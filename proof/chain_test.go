package proof_test

import (
	"testing"

	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
)

func TestGood(t *testing.T) {
	o := prooftest.New(t, prooftest.Options{})
	r := o.Ask("bob", "web-root", nil)
	a := o.Approve("carol", r, 0, nil)
	b := o.Give(prooftest.Evidence(r, a), nil, nil, nil)
	raw, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b, err = proof.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	report, err := proof.Check(b, proof.Trust{Root: o.Root}, o.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + report.String())
}
