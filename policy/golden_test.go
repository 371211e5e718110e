package policy

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/brevet-pim/brevet"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden holds text against testdata/<name>.golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got); run with -update if that is meant:\n%s", file, diff)
	}
}

// TestSchema shows every change of what policies are written against: catalogs in use rest on it.
func TestSchema(t *testing.T) {
	golden(t, "schema", Schema())
	if _, err := newValidator(); err != nil {
		t.Error(err)
	}
}

func TestExplain(t *testing.T) {
	s := compile(t, shop(sreMayAsk,
		`@id("office-hours") permit (principal in Group::"sre", action == Action::"activate", resource == Role::"web-root")
when { context.hour >= 14 && context.duration <= duration("10m") };`,
		`@id("devs") permit (principal in Group::"dev", action in Action::"elevate", resource == Role::"web-root");`,
		`@id("risky") forbid (principal, action in Action::"elevate", resource) when { context.claimed.risk >= 60 };`,
		`@id("prod") @description("production needs a lead") forbid (principal, action == Action::"activate", resource) when { context.target.labels.contains("env=prod") };`))
	tests := map[string]func(*Ask){
		"explain-ask": func(a *Ask) {
			a.Targets, a.Claimed = []brevet.TargetID{"web1", "web2"}, Claimed{Risk: number(5)}
			a.Source = netip.MustParseAddr("10.1.4.7")
		},
		"explain-nobody-said-a-risk": nil,
		"explain-does-not-fit":       func(a *Ask) { a.Duration, a.Logins = 1<<40, []string{"oracle"} },
		"explain-stranger":           func(a *Ask) { a.Person = "mallory" },
	}
	for name, change := range tests {
		golden(t, name, strings.Join(s.Explain(asks(change)), "\n")+"\n")
	}
}
