package catalog

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/brevet-pim/brevet"
)

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJhGSrIcpWEZSRSOEbdZzt2zKbt7ZW2Zz0tcmV4k5lTq"

// webRoot is a role with every field.
const webRoot = `kind: Role
name: web-root
description: root on the web servers
owner: group:sre-leads
sensitivity: high
targets: {kind: ssh, labels: {app: web}}
gives:
  ssh: {logins: [root, deploy], permit: [pty], source_addresses: [10.0.0.0/8], environment: [LC_*, LANG]}
limits: {duration: 1h, idle: 10m, wait: 30m}
asks: {reason: true, ticket: "OPS-[0-9]+", approver_presence: verified}
approval:
  - {group: sre-leads, count: 1}
recording: required
zone: Europe/Berlin
`

const rest = `kind: Target
name: web1
type: ssh
address: web1.internal:22
labels: {app: web, env: prod}
sensitivity: medium
owner: group:sre-leads
host_keys:
  - ` + hostKey + ` root@web1
---
kind: Group
name: sre-leads
members: [dan, alice]
---
kind: Group
name: sre
members: [bob, alice]
`

const cedarText = `@id("sre-may-ask")
permit (principal in Group::"sre", action == Action::"request", resource == Role::"web-root");
`

func files(named map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, text := range named {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

func good() map[string]string {
	return map[string]string{"roles.yaml": webRoot, "org/rest.yaml": rest, "policies/sre.cedar": cedarText, "README.md": "not read", ".hidden.yaml": "{", "tests/sre.yaml": "- {}"}
}

// goodCatalog is what good says, with the defaults filled in.
func goodCatalog() brevet.Catalog {
	return brevet.Catalog{
		Roles: []brevet.Role{{
			Name: "web-root", Description: "root on the web servers", Owner: "group:sre-leads", Sensitivity: brevet.High,
			Targets: brevet.Selector{Kind: brevet.SSHHost, Labels: map[string]string{"app": "web"}},
			SSH: brevet.SSHGives{Logins: []string{"deploy", "root"}, Permit: []string{"pty"},
				SourceAddresses: []string{"10.0.0.0/8"}, Environment: []string{"LANG", "LC_*"}},
			Limits:   brevet.Limits{Duration: 3600, Idle: 600, Wait: 1800},
			Asks:     brevet.Asks{Reason: true, Ticket: "OPS-[0-9]+", ApproverPresence: brevet.VerifiedPresence},
			Approval: []brevet.Stage{{Group: "sre-leads", Count: 1}}, Recording: brevet.RecordingRequired, Zone: "Europe/Berlin",
		}},
		Targets: []brevet.Target{{
			ID: "web1", Kind: brevet.SSHHost, Address: "web1.internal:22", Labels: map[string]string{"app": "web", "env": "prod"},
			Sensitivity: brevet.Medium, Owner: "group:sre-leads", HostKeys: []string{hostKey},
		}},
		Policies: []brevet.Policy{{Name: "sre.cedar", Text: cedarText}},
		Groups: []brevet.Group{
			{Name: "sre", Members: []brevet.PersonID{"alice", "bob"}},
			{Name: "sre-leads", Members: []brevet.PersonID{"alice", "dan"}},
		},
	}
}

func TestRead(t *testing.T) {
	c, problems := Read(files(good()))
	if len(problems) != 0 {
		t.Errorf("problems: %v", Problems(problems))
	}
	if diff := cmp.Diff(goodCatalog(), c); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestManifestRoundTrip(t *testing.T) {
	for name, c := range map[string]brevet.Catalog{"good": goodCatalog(), "starter": starter(t)} {
		t.Run(name, func(t *testing.T) {
			b, digest, err := Manifest(c)
			if err != nil {
				t.Fatal(err)
			}
			again, err := Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			b2, digest2, err := Manifest(again)
			if err != nil || digest != digest2 || string(b) != string(b2) {
				t.Errorf("a parsed manifest is another one: %v", err)
			}
			if strings.Contains(string(b), "null") {
				t.Errorf("null in %s", b)
			}
		})
	}
}

func starter(t *testing.T) brevet.Catalog {
	t.Helper()
	c, _, err := Starter(Start{Admins: []brevet.PersonID{"dan", "alice"}, SRE: []brevet.PersonID{"bob"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
