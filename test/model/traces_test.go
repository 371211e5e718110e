package model_test

import (
	"io"
	"path/filepath"
	"testing"
	"testing/synctest"
)

// TestTraces makes lists of moves that have failed once, or that chance seldom draws.
func TestTraces(t *testing.T) {
	const whole, noBob, deployAlone = 0, 1, 3
	tests := []struct {
		name  string
		moves []move
	}{
		{"the right to a role is taken away while its certificate is made", []move{
			{verb: ask, by: "bob", pick: 1, when: afterIssue, with: &move{verb: apply, form: noBob}},
		}},
		{"it is taken away while the intent is made durable", []move{
			{verb: ask, by: "bob", pick: 1, when: afterPrepare, with: &move{verb: apply, form: noBob}},
		}},
		{"a catalog that gives the same is applied while the intent is made durable", []move{
			{verb: apply, form: deployAlone}, {verb: ask, by: "bob", pick: 1, when: afterPrepare, with: &move{verb: apply, form: whole}},
		}},
		{"somebody is suspended while their certificate is made", []move{
			{verb: ask, by: "bob", pick: 1, when: afterIssue, with: &move{verb: suspend, by: "alice", pick: 1}},
		}},
		{"whoever agreed is suspended while the certificate is made", []move{
			{verb: ask, by: "bob"}, {verb: approve, by: "carol", when: afterIssue, with: &move{verb: suspend, by: "alice", pick: 2}},
		}},
		{"the key of the requester is retired while the certificate is made", []move{
			{verb: ask, by: "bob", pick: 1, when: afterIssue, with: &move{verb: retire, pick: 1}},
		}},
		{"a no comes while the intent is made durable", []move{
			{verb: ask, by: "bob"}, {verb: approve, by: "carol", when: afterPrepare, with: &move{verb: refuse, by: "dave"}},
		}},
		{"the grant is revoked while its certificate is made", []move{
			{verb: ask, by: "bob", pick: 1}, {verb: revoke, by: "alice"},
			{verb: ask, by: "bob"}, {verb: approve, by: "carol", when: afterIssue, with: &move{verb: revoke, by: "bob"}},
		}},
		{"two agree at the same instant", []move{
			{verb: ask, by: "bob"}, {verb: approve, by: "carol", when: together, with: &move{verb: approve, by: "dave"}},
		}},
		{"roster and catalog change while the clock is far behind", []move{
			{verb: clock}, {verb: clock}, {verb: restart}, {verb: clock, form: 1}, {verb: clock, form: 1}, {verb: retire, pick: 1}, {verb: apply, form: noBob}, {verb: restart},
		}},
		{"a key is retired that has agreed to a live grant", []move{
			{verb: ask, by: "bob"}, {verb: approve, by: "dave"}, {verb: retire, pick: 3},
		}},
		{"the process dies once a role was taken away, before it looks at what was given", []move{
			{verb: ask, by: "bob", pick: 1}, {verb: apply, form: noBob, when: beforeFollow},
		}},
		{"the process dies once the issuer has given", []move{
			{verb: ask, by: "bob", pick: 1, when: afterIssue}, {verb: begin},
		}},
		{"it dies before the issuer hears of a revocation", []move{
			{verb: ask, by: "bob", pick: 1}, {verb: revoke, by: "alice", when: beforeTakeBack}, {verb: begin},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if err := live(t, filepath.Join(t.TempDir(), "brevet.db"), true, tt.moves, io.Discard); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
