package ssh_test

import (
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/test/gatewaytest"
	"github.com/brevet-pim/brevet/test/testenv"
)

type certificate = gossh.Certificate

// line is how a catalog names a key.
func line(key gossh.PublicKey) string { return string(gossh.MarshalAuthorizedKey(key)) }

// The target must be the one in the catalog, by its key or by an authority of its key (Q2, Q9).
func TestHostKeys(t *testing.T) {
	_, another := gatewaytest.NewKey()
	other := line(another.PublicKey())
	tests := []struct {
		name   string
		target func(h *testenv.Host) (keys, authorities []string)
		sshd   testenv.SSHDOptions
		says   string // "": it connects
	}{
		{name: "pinned", target: func(h *testenv.Host) (k, a []string) { return []string{line(h.HostKey)}, nil }},
		{name: "an authority", target: func(h *testenv.Host) (k, a []string) { return nil, []string{line(h.HostCA)} }},
		{
			name: "an authority, by the target's name", sshd: testenv.SSHDOptions{HostNames: []string{"web1"}},
			target: func(h *testenv.Host) (k, a []string) { return nil, []string{line(h.HostCA)} },
		},
		{name: "one of two pins", target: func(h *testenv.Host) (k, a []string) { return []string{other, line(h.HostKey)}, nil }},
		{name: "another pin", target: func(h *testenv.Host) (k, a []string) { return []string{other}, nil }, says: "shows the host key"},
		{name: "another authority", target: func(h *testenv.Host) (k, a []string) { return nil, []string{other} }, says: "shows the host key"},
		{name: "the key as its own authority", target: func(h *testenv.Host) (k, a []string) { return nil, []string{line(h.HostKey)} }, says: "shows the host key"},
		{name: "nothing", target: func(h *testenv.Host) (k, a []string) { return nil, nil }, says: "nothing connects blindly"},
		{name: "rubbish", target: func(h *testenv.Host) (k, a []string) { return []string{"ssh-ed25519 AAAA"}, nil }, says: "cannot be read"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := gatewaytest.Start(t, gatewaytest.Options{SSHD: tt.sshd})
			target := w.Target
			target.HostKeys, target.HostCAs = tt.target(w.SSHD)
			w.Plane.AddTarget(target)
			w.Plane.Grant("bob", "web-root", time.Hour)
			got := ssh(t, w, nil, "gw", "true")
			if tt.says == "" {
				if got.status != 0 {
					t.Errorf("got %+v", got)
				}
				return
			}
			if got.status != 255 || !strings.Contains(got.stderr, tt.says) {
				t.Errorf("got %+v, want %q", got, tt.says)
			}
			if strings.Contains(w.SSHD.Log(), "Accepted") {
				t.Error("the gateway logged in")
			}
			if tt.says == "shows the host key" {
				if r := refusal(t, w, "host-key"); r.Person != "bob" || r.Target != "web1" {
					t.Errorf("reported %+v", r)
				}
			}
		})
	}
}

// A certificate that the target does not take, and one that is not for this gateway and grant.
func TestCertificatesThatDoNotFit(t *testing.T) {
	_, foreign := gatewaytest.NewKey()
	tests := []struct {
		name   string
		change func(*certificate)
		says   string
	}{
		{"another principal", func(c *certificate) { c.ValidPrincipals = []string{"web2/root"} }, "is for another target or login"},
		{"a bare login", func(c *certificate) { c.ValidPrincipals = []string{"root"} }, "is for another target or login"},
		{"a host certificate", func(c *certificate) { c.CertType = gossh.HostCert }, "is not a user certificate"},
		{"another key", func(c *certificate) { c.Key = foreign.PublicKey() }, "is for another key"},
		{"it outlives the grant", func(c *certificate) { c.ValidBefore += 60 }, "outlives the grant"},
		{"force-command", func(c *certificate) { c.CriticalOptions = map[string]string{"force-command": "id"} }, "force-command"},
		{"another address", func(c *certificate) { c.CriticalOptions = map[string]string{"source-address": "192.0.2.0/24"} }, "does not accept the certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := gatewaytest.Start(t, gatewaytest.Options{})
			w.Plane.Certify = func(c *certificate) { tt.change(c) }
			w.Plane.Grant("bob", "web-root", time.Hour)
			got := ssh(t, w, nil, "-o", "BatchMode=yes", "gw", "true")
			if got.status != 255 || strings.Contains(w.SSHD.Log(), "Accepted") {
				t.Errorf("got %+v", got)
			}
			if !strings.Contains(got.stderr+w.Log(), tt.says) {
				t.Errorf("neither the person nor the log reads %q: %+v\n%s", tt.says, got, w.Log())
			}
		})
	}
}

// The role's source addresses bind the person, whichever way they come (Q3).
func TestSourceAddresses(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{Role: func(r *brevet.Role) { r.SSH.SourceAddresses = []string{"192.0.2.0/24"} }})
	typed(t, w)
	w.Plane.Grant("bob", "web-root", time.Hour)
	for _, host := range []string{"gw", "web1.brevet"} {
		got := ssh(t, w, nil, "-o", "BatchMode=yes", host, "true")
		if got.status == 0 || len(w.Plane.Begun()) != 0 {
			t.Errorf("%s: got %+v", host, got)
		}
	}
}
