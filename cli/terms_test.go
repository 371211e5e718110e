package cli

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

func offered() *brevetv1.Role {
	return &brevetv1.Role{
		Name: "web-root", Targets: []string{"web1", "web2"}, Logins: []string{"root", "deploy"}, LongestSeconds: 3600, RoleDigest: strings.Repeat("ab", 32),
		Holders: []*brevetv1.Holder{
			{Machine: "gw-1", Key: "SHA256:one", Targets: []string{"web1"}},
			{Machine: "gw-2", Key: "SHA256:two", Targets: []string{"web1", "web2"}},
		},
	}
}

func TestTerms(t *testing.T) {
	tests := []struct {
		name string
		wish wish
		want statement.Terms
		err  string
	}{
		{"all of it", wish{targets: []string{"web1"}},
			statement.Terms{Targets: []brevet.TargetID{"web1"}, Logins: []string{"deploy", "root"}, Duration: 1800, Holder: statement.Holder{Machine: "gw-1", Key: "SHA256:one"}}, ""},
		{"sorted, each once", wish{targets: []string{"web2", "web1", "web2"}, logins: []string{"root"}, duration: "15m"},
			statement.Terms{Targets: []brevet.TargetID{"web1", "web2"}, Logins: []string{"root"}, Duration: 900, Holder: statement.Holder{Machine: "gw-2", Key: "SHA256:two"}}, ""},
		{"too long", wish{targets: []string{"web1"}, duration: "2h"}, statement.Terms{}, "2h is longer than web-root gives"},
		{"no time at all", wish{targets: []string{"web1"}, duration: "0s"}, statement.Terms{}, "is not a duration"},
		{"another target", wish{targets: []string{"web3"}}, statement.Terms{}, `no target "web3". Did you mean web`},
		{"another login", wish{targets: []string{"web1"}, logins: []string{"rot"}}, statement.Terms{}, "Did you mean root?"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.wish.terms(offered(), "bob")
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			tt.want.Person, tt.want.Role, tt.want.RoleDigest = "bob", "web-root", strings.Repeat("ab", 32)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoGateway(t *testing.T) {
	r := offered()
	r.Holders = r.Holders[:1]
	if _, err := (wish{targets: []string{"web1", "web2"}}).terms(r, "bob"); brevet.KindOf(err) != brevet.Unavailable {
		t.Errorf("got %v", err)
	}
}

func TestNarrow(t *testing.T) {
	asked := []string{"a", "b", "c"}
	tests := []struct {
		chosen, want []string
		wrong        bool
	}{
		{nil, asked, false},
		{[]string{"c", "a", "c"}, []string{"a", "c"}, false},
		{[]string{"d"}, nil, true},
		{[]string{"a", "d"}, nil, true},
	}
	for _, tt := range tests {
		got, err := narrow("target", asked, tt.chosen)
		if !slices.Equal(got, tt.want) || (err != nil) != tt.wrong {
			t.Errorf("narrow(%v) = %v, %v", tt.chosen, got, err)
		}
	}
}

func stages(open ...*brevetv1.Stage) *brevetv1.Request {
	return &brevetv1.Request{Decision: &brevetv1.Decision{Stages: open}}
}

func TestStageFor(t *testing.T) {
	done := &brevetv1.Stage{Group: "dba", Count: 1, ApprovedBy: []string{"erin"}, MayApprove: []string{"alice"}}
	mine := &brevetv1.Stage{Group: "leads", Count: 1, MayApprove: []string{"alice", "dan"}}
	other := &brevetv1.Stage{Group: "security", Count: 2, MayApprove: []string{"carol"}}
	tests := []struct {
		name string
		of   *brevetv1.Request
		want int64
	}{
		{"the only one", stages(mine), 0},
		{"the first is done", stages(done, mine), 1},
		{"another's comes first", stages(other, mine), 1},
		{"the first of two", stages(mine, mine), 0},
		{"none: the server will say why", stages(other), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := stageFor(tt.of, "alice"); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestWaitsFor(t *testing.T) {
	tests := []struct {
		of   []*brevetv1.Stage
		want string
	}{
		{nil, "the issuer"},
		{[]*brevetv1.Stage{{Group: "leads", Count: 1, MayApprove: []string{"alice", "dan"}}}, "one of leads (alice, dan)"},
		{[]*brevetv1.Stage{{Group: "leads", Count: 2, ApprovedBy: []string{"dan"}}, {Group: "security", Count: 7}}, "one of leads (nobody who could), then 7 of security (nobody who could)"},
		{[]*brevetv1.Stage{{Group: "all", Count: 1, MayApprove: []string{"a", "b", "c", "d", "e", "f", "g"}}}, "one of all (a, b, c, d, e +2)"},
	}
	for _, tt := range tests {
		if got := waitsFor(tt.of); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestNeeds(t *testing.T) {
	r := stages(&brevetv1.Stage{Group: "leads", Count: 1, MayApprove: []string{"alice"}})
	r.State = "waiting"
	if got := needs(r, "alice"); got != "you" {
		t.Errorf("alice: %s", got)
	}
	if got := needs(r, "bob"); got != "one of leads (alice)" {
		t.Errorf("bob: %s", got)
	}
	r.State = "lapsed"
	if got := needs(r, "alice"); got != "not answered" {
		t.Errorf("lapsed: %s", got)
	}
}

// TestKeysThatSignedCatalogs: a catalog outlives the keys of its signers, unless what they signed is suspect.
func TestKeysThatSignedCatalogs(t *testing.T) {
	key := proof.Key{Uses: []statement.Use{statement.UseCatalog}, From: 100, Until: 200, Retired: latest}
	tests := []struct {
		name   string
		change func(*proof.Key)
		at     int64
		want   bool
	}{
		{"in force", func(*proof.Key) {}, 150, true},
		{"too early", func(*proof.Key) {}, 99, false},
		{"too late", func(*proof.Key) {}, 200, false},
		{"for something else", func(k *proof.Key) { k.Uses = []statement.Use{statement.UseApprove} }, 150, false},
		{"retired later", func(k *proof.Key) { k.Retired, k.Since = 7, 160 }, 150, true},
		{"suspect by then", func(k *proof.Key) { k.Retired, k.Since = 7, 150 }, 150, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := key
			tt.change(&k)
			if got := mayHaveSigned(k, tt.at); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestPointInTime(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct{ typed, want string }{
		{"24h", "2026-05-31T12:00:00Z"},
		{"2026-05-01T08:00:00+02:00", "2026-05-01T06:00:00Z"},
		{"yesterday", ""},
		{"-1h", ""},
	}
	for _, tt := range tests {
		got, err := pointInTime(tt.typed, now)
		if (err != nil) != (tt.want == "") || err == nil && got.AsTime().Format(time.RFC3339) != tt.want {
			t.Errorf("%s: %v, %v", tt.typed, got, err)
		}
	}
	if got, err := pointInTime("", now); got != nil || err != nil {
		t.Errorf("nothing: %v, %v", got, err)
	}
}

// TestFitting: what a server says completes a word only if a shell would take it as it is.
func TestFitting(t *testing.T) {
	choices := []cobra.Completion{"web-root\tone of leads", "web-shell\tx\x1b[31m", "web;rm", "$(x)", "db-admin"}
	got := fitting(choices, []string{"db-admin"}, "web")
	want := []cobra.Completion{"web-root\tone of leads", `web-shell` + "\t" + `x\x1b[31m`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("differs (-want +got):\n%s", diff)
	}
	if got := fitting(choices, []string{"db-admin"}, "db"); len(got) != 0 {
		t.Errorf("given already: %v", got)
	}
}

func TestParseRoot(t *testing.T) {
	whole := strings.Repeat("5b9ce1f0", 8)
	for _, typed := range []string{whole, strings.ToUpper(whole), "5b9c e1f0 " + whole[8:], strings.ReplaceAll(whole, "5b", "5b:")} {
		if got, err := parseRoot(typed); err != nil || string(got) != whole {
			t.Errorf("%s: %s, %v", typed, got, err)
		}
	}
	for _, typed := range []string{"", "5b9c", whole + "00", whole[:63], strings.Replace(whole, "5", "g", 1), whole[:62] + "\u202e0"} {
		if _, err := parseRoot(typed); brevet.KindOf(err) != brevet.Invalid {
			t.Errorf("%q: %v", typed, err)
		}
	}
}
