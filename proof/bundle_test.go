package proof_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
)

func TestParseRefuses(t *testing.T) {
	o := prooftest.New(t, prooftest.Options{})
	r := o.Ask("bob", "web-root", nil)
	good := o.Bundle(r)
	if b, err := proof.Parse(good); err != nil || b.Request.Statement.ID() != r.Envelope.ID() {
		t.Fatalf("a good one: %v", err)
	}
	replaced := func(old, with string) []byte {
		t.Helper()
		if !bytes.Contains(good, []byte(old)) {
			t.Fatalf("no %s in %s", old, good)
		}
		return bytes.Replace(good, []byte(old), []byte(with), 1)
	}
	many := &proof.Bundle{Status: []statement.Envelope{r.Envelope, r.Envelope}}
	twice, err := many.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	long, err := (&proof.Bundle{Approvals: make([]proof.Record, 1001)}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, sentence string
		bundle         []byte
	}{
		{"another version", "this proof has version 2; this program reads 1", replaced(`"version":1`, `"version":2`)},
		{"two words of the issuer", "status has 2 entries; 1 are the most", twice},
		{"too many approvals", "approvals has 1001 entries; 1000 are the most", long},
		{"a field that is not known", "", replaced(`{"approvals"`, `{"also":1,"approvals"`)},
		{"a field that is missing", "", replaced(`"approvals":[],`, ``)},
		{"a blank", "", replaced(`"version":1`, `"version": 1`)},
		{"something after it", "", append(bytes.Clone(good), ' ')},
		{"nothing", "", nil},
		{"too long", "", bytes.Repeat([]byte(" "), proof.MaxBundle+1)},
		{"deep", "", []byte(fmt.Sprintf("%s%s", bytes.Repeat([]byte("["), 100_000), bytes.Repeat([]byte("]"), 100_000)))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := proof.Parse(tt.bundle)
			refused(t, err, tt.sentence)
		})
	}
}
