package crash_test

import (
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/catalog"
)

// The roles: carol must agree to the first, the second bob has at once.
const (
	agreed brevet.RoleName = "web-root"
	atOnce brevet.RoleName = "web-now"
)

const policies = `@id("bob-may-ask") permit (principal in Group::"sre", action == Action::"request", resource == Role::"web-root");
@id("bob-at-once") permit (principal in Group::"sre", action == Action::"activate", resource == Role::"web-now");
@id("leads-approve") permit (principal, action == Action::"approve", resource) when { principal in context.group };
@id("admins") permit (principal in Group::"admins", action in [Action::"administer", Action::"revoke", Action::"audit", Action::"replay"], resource);
`

// catalogOf is what alice applies: web1, and who may have what on it.
func (b *base) catalogOf() brevet.Catalog {
	role := func(name brevet.RoleName) brevet.Role {
		return brevet.Role{
			Name: name, Description: "for tests", Owner: "group:admins", Sensitivity: brevet.Low,
			Targets: brevet.Selector{Kind: brevet.SSHHost, Labels: map[string]string{"app": "web"}},
			SSH:     brevet.SSHGives{Logins: []string{b.host.Login}, Permit: []string{"pty"}},
			Limits:  brevet.Limits{Duration: 3600, Idle: 900, Wait: 3600},
			Asks:    brevet.Asks{Reason: true, ApproverPresence: brevet.NoPresence},
			// Whoever may activate it needs nobody's yes.
			Approval: []brevet.Stage{{Group: "leads", Count: 1}}, Recording: brevet.RecordingRequired, Zone: "UTC",
		}
	}
	return catalog.Normalise(brevet.Catalog{
		Roles: []brevet.Role{role(agreed), role(atOnce)},
		Targets: []brevet.Target{{
			ID: "web1", Kind: brevet.SSHHost, Address: b.host.Addr, Labels: map[string]string{"app": "web"}, Sensitivity: brevet.Low, Owner: "group:admins",
			HostKeys: []string{strings.TrimSpace(string(ssh.MarshalAuthorizedKey(b.host.HostKey)))},
		}},
		Groups: []brevet.Group{
			{Name: "admins", Members: []brevet.PersonID{"alice"}},
			{Name: "leads", Members: []brevet.PersonID{"carol"}},
			{Name: "sre", Members: []brevet.PersonID{"bob"}},
		},
		Policies: []brevet.Policy{{Name: "all.cedar", Text: policies}},
	})
}
