package proof_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

func TestCertificateFor(t *testing.T) {
	good := statement.Grant{
		ID: "grt_00000000000000000000000000", From: 1_000_000_000_500_000, To: 1_000_000_600_900_000,
		Terms: statement.Terms{Person: "bob", Targets: []brevet.TargetID{"web2", "web1"}, Logins: []string{"root", "deploy"}},
	}
	role := brevet.Role{Name: "web-root", SSH: brevet.SSHGives{Permit: []string{"pty"}}}
	gateway := statement.Machine{Addresses: []string{"192.0.2.0/24", "198.51.100.7/32"}}
	c, err := proof.CertificateFor(good, role, gateway)
	if err != nil {
		t.Fatal(err)
	}
	if c.Before != 1_000_000_600 || c.After != 1_000_000_000-30 {
		t.Errorf("from %d to %d", c.After, c.Before)
	}
	if want := []string{"web1/deploy", "web1/root", "web2/deploy", "web2/root"}; !slices.Equal(c.Principals, want) {
		t.Errorf("principals %v", c.Principals)
	}
	if c.KeyID != "grt_00000000000000000000000000 bob" || c.Options["source-address"] != "192.0.2.0/24,198.51.100.7/32" || len(c.Extensions) != 1 {
		t.Errorf("got %+v", c)
	}
	for _, tt := range []struct {
		name     string
		change   func(*statement.Grant, *brevet.Role)
		sentence string
	}{
		{"forwarding", func(_ *statement.Grant, r *brevet.Role) { r.SSH.Permit = []string{"port-forwarding", "pty"} }, "which this version does not give"},
		{"no time at all", func(g *statement.Grant, _ *brevet.Role) { g.To = g.From - 60e6 }, "too short for a certificate"},
		{"no login", func(g *statement.Grant, _ *brevet.Role) { g.Logins = nil }, "0 pairs of target and login"},
		{"no target", func(g *statement.Grant, _ *brevet.Role) { g.Targets = nil }, "0 pairs of target and login"},
		{"a list as a login", func(g *statement.Grant, _ *brevet.Role) { g.Logins = []string{"a,b"} }, "login"},
		{"a star as a target", func(g *statement.Grant, _ *brevet.Role) { g.Targets = []brevet.TargetID{"*"} }, "target name"},
		{"too much", func(g *statement.Grant, _ *brevet.Role) {
			g.Targets = nil
			for i := range 129 {
				g.Targets = append(g.Targets, brevet.TargetID(fmt.Sprintf("web%d", i)))
			}
		}, "258 pairs of target and login do not fit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, r := good, role
			tt.change(&g, &r)
			_, err := proof.CertificateFor(g, r, gateway)
			refused(t, err, tt.sentence)
		})
	}
}
