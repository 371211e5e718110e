package prooftest

import "github.com/brevet-pim/brevet"

// Catalog returns the catalog that organisations begin with.
func Catalog() brevet.Catalog {
	return brevet.Catalog{
		Roles: []brevet.Role{
			role("db-admin", brevet.High, "db", []string{"postgres", "root"}, brevet.Stage{Group: "sre-leads", Count: 1}, brevet.Stage{Group: "dba", Count: 1}),
			role("web-now", brevet.Low, "web", []string{"deploy"}),
			role("web-root", brevet.Medium, "web", []string{"deploy", "root"}, brevet.Stage{Group: "sre-leads", Count: 1}),
		},
		Targets: []brevet.Target{
			target("db1", "db", brevet.High), target("web1", "web", brevet.Medium), target("web2", "web", brevet.Medium),
		},
		Groups: []brevet.Group{
			{Name: "dba", Members: []brevet.PersonID{"erin"}},
			{Name: "sre", Members: []brevet.PersonID{"bob", "ci"}},
			{Name: "sre-leads", Members: []brevet.PersonID{"alice", "carol", "dave"}},
		},
		Policies: []brevet.Policy{{Name: "all.cedar", Text: Policies}},
	}
}

// Policies are those of Catalog.
const Policies = `@id("sre-may-ask") permit (principal in Group::"sre", action == Action::"request", resource == Role::"web-root");
@id("sre-may-ask-db") permit (principal in Group::"sre", action == Action::"request", resource == Role::"db-admin");
@id("sre-at-once") permit (principal in Group::"sre", action == Action::"activate", resource == Role::"web-now");
@id("stage-approves") permit (principal, action == Action::"approve", resource) when { principal in context.group };
`

func role(name brevet.RoleName, s brevet.Sensitivity, app string, logins []string, stages ...brevet.Stage) brevet.Role {
	return brevet.Role{
		Name: name, Description: "for tests", Owner: "group:sre-leads", Sensitivity: s,
		Targets: brevet.Selector{Kind: brevet.SSHHost, Labels: map[string]string{"app": app}},
		SSH:     brevet.SSHGives{Logins: logins, Permit: []string{"pty"}},
		Limits:  brevet.Limits{Duration: 3600, Idle: 900, Wait: 3600},
		// The keys of tests lie in memory and show nobody's presence.
		Asks:     brevet.Asks{Reason: true, ApproverPresence: brevet.NoPresence},
		Approval: stages, Recording: brevet.RecordingRequired, Zone: "UTC",
	}
}

func target(id brevet.TargetID, app string, s brevet.Sensitivity) brevet.Target {
	return brevet.Target{
		ID: id, Kind: brevet.SSHHost, Address: string(id) + ".internal:22", Labels: map[string]string{"app": app}, Sensitivity: s, Owner: "group:sre-leads",
		HostCAs: []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBFvnEhLkWoHVyIZgKJXk6LlC2VFKHW3zwzlExFZHJkT"},
	}
}
