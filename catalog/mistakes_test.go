package catalog

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/brevet-pim/brevet"
)

// TestMistakesNameFileLineAndField changes one line of a good folder. Whole lines are held, as
// people read them.
func TestMistakesNameFileLineAndField(t *testing.T) {
	tests := []struct {
		name, file, from, to string
		want                 string // "": no error
	}{
		// syntax
		{"a tab", "roles.yaml", "limits: {", "limits:\n\t{", "roles.yaml:10:1: not YAML: found character 'U+0009' that cannot start any token"},
		{"an open bracket", "roles.yaml", "10m, wait: 30m}", "10m, wait: 30m", "roles.yaml:10:1: not YAML: ',' or '}' must be specified"},
		{"an open quote", "roles.yaml", `"OPS-[0-9]+"`, `"OPS-[0-9]+`, "roles.yaml:"},
		{"wrong indentation", "roles.yaml", "owner: group:sre-leads", " owner: group:sre-leads", "roles.yaml:"},
		{"no colon", "roles.yaml", "name: web-root", "name web-root", "roles.yaml:"},
		{"an anchor", "roles.yaml", "targets: {", "targets: &t {", "roles.yaml:6:10: anchors and aliases are not read here: write the value out"},
		{"a tag", "roles.yaml", "owner: group", "owner: !!str group", "roles.yaml:4:8: tags are not read here: leave the tag out"},
		{"a merge key", "roles.yaml", "targets: {", "targets: {<<: {kind: ssh}, ", "roles.yaml:6:13: \"<<\" is not a plain key"},
		{"a key twice", "roles.yaml", "owner: group", "owner: group:sre\nowner: group", `roles.yaml:5:1: "owner" is given twice: it stands in line 4 too; keep one`},
		{"a number for a key", "roles.yaml", "labels: {app: web}", "labels: {1: web}", "roles.yaml:6:"},
		{"a directive", "roles.yaml", "kind: Role", "%YAML 1.1\n---\nkind: Role", "roles.yaml:"},

		// fields
		{"an unknown field", "roles.yaml", "recording: required", "recordin: required", "roles.yaml:13:1: role web-root: recordin is not a field: did you mean recording?"},
		{"an unknown field within", "roles.yaml", "idle: 10m", "idel: 10m", "roles.yaml:9:24: role web-root: limits.idel is not a field: did you mean idle?"},
		{"a field that nothing enforces", "roles.yaml", "limits: {", "limits: {renewals: 2, ", "roles.yaml:9:10: role web-root: limits.renewals is not enforced by this version: leave it out"},
		{"a field that nothing enforces, at the top", "roles.yaml", "zone: Europe/Berlin", "escalate: {after: 10m}", "role web-root: escalate is not enforced by this version: leave it out"},
		{"a thing to give that nothing enforces", "roles.yaml", "gives:\n", "gives:\n  postgres: {member_of: [dba]}\n", "roles.yaml:8:3: role web-root: gives.postgres is not enforced by this version: leave it out"},
		{"agent forwarding", "roles.yaml", "permit: [pty]", "permit: [agent-forwarding]", `role web-root: gives.ssh.permit: "agent-forwarding" is not enforced by this version: only pty is`},
		{"no kind", "roles.yaml", "kind: Role\n", "", "roles.yaml:1:1: document: kind is missing: begin the document with kind: Role, Target or Group"},
		{"a kind that is none", "roles.yaml", "kind: Role", "kind: Rolle", `roles.yaml:1:1: document: kind "Rolle" is none: did you mean Role?`},
		{"a list for a document", "roles.yaml", "kind: Role\n", "- kind: Role\n", "roles.yaml:"},
		{"text for a list", "roles.yaml", "[root, deploy]", "root", "roles.yaml:8:9: role web-root: gives.ssh.logins is text: write a list"},
		{"a list for text", "roles.yaml", "description: root on the web servers", "description: [a]", "roles.yaml:3:1: role web-root: description is a list: write text"},
		{"a number for text", "roles.yaml", "logins: [root, deploy]", "logins: [1000]", "role web-root: gives.ssh.logins has an entry that is a number: put it in quotes"},
		{"text for true", "roles.yaml", "reason: true", "reason: yes", "role web-root: asks.reason is text: write true or false"},
		{"nothing for text", "roles.yaml", "owner: group:sre-leads", "owner:", "roles.yaml:4:1: role web-root: owner is nothing: write text"},
		{"a fraction for a count", "roles.yaml", "count: 1", "count: 1.5", `role web-root: approval.1.count "1.5" is not a whole number: write digits only`},
		{"a hexadecimal count", "roles.yaml", "count: 1", "count: 0x1", "is not a whole number"},
		{"an enormous count", "roles.yaml", "count: 1", "count: 99999999999999999999", "approval.1.count is text: write a number"},
		{"no count of any size", "roles.yaml", "count: 1", "count: 0", "role web-root: approval.1.count is 0: write 1 to 10"},
		{"more than the group has", "roles.yaml", "count: 1", "count: 3", "role web-root: approval.1 needs 3 of group sre-leads, which has 2: add people to the group, or ask fewer"},

		{"more than a grant can rest on", "roles.yaml", "  - {group: sre-leads, count: 1}", strings.TrimSuffix(strings.Repeat("  - {group: sre-leads, count: 10}\n", 6), "\n"), "role web-root: approval needs 60 people in all, more than 50: ask fewer"},

		// durations
		{"words", "roles.yaml", "duration: 1h", `duration: "1 hour"`, `roles.yaml:9:10: role web-root: limits.duration "1 hour": write a number and a unit, like 1h or 45m`},
		{"no unit", "roles.yaml", "duration: 1h", "duration: 3600", `limits.duration "3600": write a number and a unit`},
		{"zero", "roles.yaml", "duration: 1h", "duration: 0s", "role web-root: limits.duration is missing or zero: write how long at most, like 1h or 45m"},
		{"missing", "roles.yaml", "duration: 1h, ", "", "role web-root: limits.duration is missing or zero"},
		{"negative", "roles.yaml", "duration: 1h", "duration: -1h", `limits.duration "-1h": write a number and a unit`},
		{"enormous", "roles.yaml", "duration: 1h", "duration: 999999999d", "limits.duration 23999999976h is longer than 168h: write less"},
		{"more digits than a number has", "roles.yaml", "duration: 1h", "duration: 99999999999999999999999h", `write a number and a unit`},
		{"a fraction", "roles.yaml", "duration: 1h", "duration: 1.5h", `limits.duration "1.5h": write a number and a unit`},
		{"units in another order", "roles.yaml", "duration: 1h", "duration: 5m1h", `limits.duration "5m1h"`},
		{"a month", "roles.yaml", "duration: 1h", "duration: 30d", "limits.duration 720h is longer than 168h"},
		{"no wait", "roles.yaml", "wait: 30m", "wait: 0s", "limits.wait is missing or zero"},
		{"no idle limit", "roles.yaml", "idle: 10m", "idle: none", ""},
		{"an idle limit of zero", "roles.yaml", "idle: 10m", "idle: 0s", "role web-root: limits.idle is zero, which could be at once or never: write none, or how long, like 15m"},

		// names
		{"an upper-case name", "roles.yaml", "name: web-root", "name: Web-root", `roles.yaml:2:1: role Web-root: role name "Web-root": use lower-case letters a-z, digits and . _ - (first a letter or digit)`},
		{"a look-alike", "roles.yaml", "name: web-root", "name: web-r\u043eot", `role name "web-r\u043eot": use lower-case letters`},
		{"full width", "rest.yaml", "name: web1", "name: \uff57eb1", `target name "\uff57eb1": use`},
		{"a space at the end", "roles.yaml", "name: web-root", `name: "web-root "`, `role name "web-root ": use`},
		{"a slash", "roles.yaml", "name: web-root", "name: web/root", `role name "web/root": use`},
		{"a comma", "rest.yaml", "[bob, alice]", `["bob,root", alice]`, `group sre: member name "bob,root": use`},
		{"a star", "rest.yaml", "[bob, alice]", `["*", alice]`, `group sre: member name "*": use`},
		{"no name", "roles.yaml", "name: web-root\n", "", "roles.yaml:1:1: role : has no name: add name: …"},
		{"an empty name", "roles.yaml", "name: web-root", `name: ""`, "name is empty"},
		{"a long name", "roles.yaml", "name: web-root", "name: " + strings.Repeat("a", 65), "is longer than 64 characters"},
		{"a control character", "roles.yaml", "root on the web servers", "root \x1b]52;c;eA==\x07", "roles.yaml:3: the line has the character U+001B, which is invisible or acts on a terminal: remove it"},
		{"a control character in disguise", "roles.yaml", "root on the web servers", `"root \x1b]52;c;eA==\x07"`, "role web-root: description has the character U+001B, which does not show or acts on a screen"},
		{"a bidirectional mark", "roles.yaml", "root on the web servers", "root \u202eon the", "roles.yaml:3: the line has the character U+202E"},
		{"a bidirectional mark in disguise", "roles.yaml", "root on the web servers", `"root \u202eon the"`, "description has the character U+202E"},
		{"a zero-width space in a login", "roles.yaml", "[root, deploy]", "[\"ro\u200bot\"]", "the character U+200B"},
		{"not NFC", "roles.yaml", "root on the web servers", "cafe\u0301", "description is not in Unicode normal form NFC"},
		{"not UTF-8", "roles.yaml", "root on the web servers", "caf\xe9", "roles.yaml:3: the line is not UTF-8"},

		// what is there twice, and what is not there
		{"the same role twice", "roles.yaml", "zone: Europe/Berlin\n", "zone: Europe/Berlin\n---\n" + webRoot, "roles.yaml:16:1: role web-root: is there twice: it stands in roles.yaml:1 too; keep one"},
		{"the same member twice", "rest.yaml", "[bob, alice]", "[bob, alice, bob]", `rest.yaml:17:1: group sre: members has "bob" twice: keep one`},
		{"the same login twice", "roles.yaml", "[root, deploy]", "[root, root]", `gives.ssh.logins has "root" twice: keep one`},
		{"a group that is not", "roles.yaml", "{group: sre-leads,", "{group: sre-lead,", `roles.yaml:12:6: role web-root: approval.1.group names the group "sre-lead", which there is not: did you mean sre-leads?`},
		{"an owner that is not", "roles.yaml", "owner: group:sre-leads", "owner: group:dba", `roles.yaml:4:1: role web-root: owner names the group "dba", which there is not: add a document kind: Group, or correct the name`},
		{"an owner of no kind", "roles.yaml", "owner: group:sre-leads", "owner: sre-leads", `role web-root: owner "sre-leads" is none: write group:NAME or person:NAME`},
		{"a target that is not", "roles.yaml", "labels: {app: web}}", "names: [web9]}", `role web-root: targets.names: there is no target "web9": correct or remove it`},
		{"a person owns it", "roles.yaml", "owner: group:sre-leads", "owner: person:alice", ""},

		// targets
		{"no port", "rest.yaml", "web1.internal:22", "web1.internal", `rest.yaml:4:1: target web1: address "web1.internal" is not host:port: write one like web1.internal:22 or [2001:db8::1]:22`},
		{"a port that is none", "rest.yaml", "web1.internal:22", "web1.internal:70000", "is not host:port"},
		{"an octal port", "rest.yaml", "web1.internal:22", "web1.internal:022", "is not host:port"},
		{"an octal address", "rest.yaml", "web1.internal:22", "0127.0.0.1:22", "is not host:port"},
		{"an address as one number", "rest.yaml", "web1.internal:22", "2130706433:22", "is not host:port"},
		{"an IPv4 address in IPv6 clothes", "rest.yaml", "web1.internal:22", `"[::ffff:127.0.0.1]:22"`, "is not host:port"},
		{"everywhere", "rest.yaml", "web1.internal:22", "0.0.0.0:22", "is not host:port"},
		{"a name with a blank", "rest.yaml", "web1.internal:22", "web1 internal:22", "is not host:port"},
		{"IPv6", "rest.yaml", "web1.internal:22", `"[2001:db8::1]:22"`, ""},
		{"no host key", "rest.yaml", "host_keys:\n  - " + hostKey + " root@web1\n", "", "target web1: host_keys and host_cas are both missing, so nothing would prove that it is this host"},
		{"a host key that is none", "rest.yaml", hostKey, "ssh-ed25519 AAAA", "is not a public SSH key: write it as in a .pub file: ssh-ed25519 AAAA…"},
		{"a host key with options", "rest.yaml", hostKey, `restrict,command="x" ` + hostKey, "is not a public SSH key"},
		{"a kind of target that nothing serves", "rest.yaml", "type: ssh", "type: postgres", `target web1: type "postgres" is not served by this version: write ssh`},
		{"a sensitivity that is none", "rest.yaml", "sensitivity: medium", "sensitivity: hihg", `target web1: sensitivity "hihg" is none: did you mean high?`},
		{"a label without a value", "rest.yaml", "env: prod", `env: ""`, `target web1: labels has nothing for "env": write a value or leave the label out`},
		{"a label that is a number", "rest.yaml", "env: prod", "env: 1", "target web1: labels.env is a number: write text, in quotes if it looks like a number"},

		// what a role gives and asks
		{"no login", "roles.yaml", "logins: [root, deploy]", "logins: []", "role web-root: gives.ssh.logins is missing: name the accounts, as in logins: [deploy]"},
		{"a login like an option", "roles.yaml", "[root, deploy]", "[-oProxyCommand]", `gives.ssh.logins "-oProxyCommand" is not the name of an account`},
		{"every login", "roles.yaml", "[root, deploy]", `["*"]`, "is not the name of an account"},
		{"a host for a range", "roles.yaml", "10.0.0.0/8", "10.0.0.1/8", `gives.ssh.source_addresses: "10.0.0.1/8" names a host, not a range: write 10.0.0.0/8`},
		{"an address for a range", "roles.yaml", "10.0.0.0/8", "10.0.0.1", `"10.0.0.1" is not a range: write 10.0.0.1/32 for this one address`},
		{"a variable that is none", "roles.yaml", "[LC_*, LANG]", `["LD PRELOAD"]`, `gives.ssh.environment: "LD PRELOAD" is not a name`},
		{"every variable", "roles.yaml", "[LC_*, LANG]", `["*"]`, `gives.ssh.environment: "*" is not a name`},
		{"a ticket that is no expression", "roles.yaml", `"OPS-[0-9]+"`, `"OPS-[0-9"`, "role web-root: asks.ticket is wrong, ticket"},
		{"a ticket that asks for nothing", "roles.yaml", `"OPS-[0-9]+"`, `".*"`, `asks.ticket ".*" also matches no ticket at all`},
		{"a zone that is none", "roles.yaml", "Europe/Berlin", "Europe/Berlim", `role web-root: zone there is no time zone "Europe/Berlim"`},
		{"recording that is none", "roles.yaml", "recording: required", "recording: sometimes", `role web-root: recording "sometimes" is none: write required, off`},

		// policies
		{"Cedar that is none", "policies/sre.cedar", "permit (", "allow (", `policies/sre.cedar:2:1: not Cedar: unexpected effect: allow`},
		{"Cedar outside the schema", "policies/sre.cedar", `"request"`, `"reqest"`, "policies/sre.cedar:1:1: unrecognized action `Action::\"reqest\"`: did you mean Action::\"request\"?"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			folder := map[string]string{"roles.yaml": webRoot, "rest.yaml": rest, "policies/sre.cedar": cedarText}
			if !strings.Contains(folder[tt.file], tt.from) {
				t.Fatalf("%s has no %q", tt.file, tt.from)
			}
			folder[tt.file] = strings.Replace(folder[tt.file], tt.from, tt.to, 1)
			_, problems := Read(files(folder))
			got := problems.Errors().Error()
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("got\n%s\nwant %s", got, tt.want)
			}
			for _, line := range strings.Split(problems.Error(), "\n") {
				if err := brevet.CheckText("", line, false); err != nil {
					t.Errorf("%q: %v", line, err)
				}
			}
		})
	}
}

// TestEverythingIsReportedAtOnce shows that people need not apply a folder once for each mistake.
func TestEverythingIsReportedAtOnce(t *testing.T) {
	_, problems := Read(files(map[string]string{
		"a.yaml":  strings.NewReplacer("1h", "0s", "sensitivity: high", "sensitivity: huge").Replace(webRoot),
		"b.yaml":  "kind: Group\nname: sre-leads\nmembers: [alice, alice]\ncolour: red\n",
		"c.yaml":  "{",
		"d.cedar": "permit",
	}))
	var at []string
	for _, p := range problems.Errors() {
		at = append(at, fmt.Sprintf("%s:%d", p.File, p.Line))
	}
	if diff := cmp.Diff([]string{"a.yaml:5", "a.yaml:9", "b.yaml:3", "b.yaml:4", "c.yaml:1", "d.cedar:1"}, at); diff != "" {
		t.Errorf("-want +got\n%s\n%v", diff, problems)
	}
}

func TestAnEmptyFolderIsAMistake(t *testing.T) {
	_, problems := Read(files(map[string]string{"README.md": "x", ".hidden/x.yaml": "{"}))
	if got := problems.Error(); got != "there is no .yaml or .cedar file here: name the folder that has them" {
		t.Errorf("got %s", got)
	}
}
