package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	gossh "golang.org/x/crypto/ssh"
)

// The organisation's catalog, as alice keeps it in files. LOGIN is the privileged login: root, or
// without root the running account.
const (
	rolesFile = `kind: Role
name: web-root
description: root on the web servers, when somebody else agrees
owner: group:sre-leads
sensitivity: medium
targets: {kind: ssh, labels: {app: web}}
gives:
  ssh: {logins: [LOGIN], permit: [pty], environment: [LANG, LC_*]}
limits: {duration: 1h, idle: 15m, wait: 1h}
asks: {reason: true}
approval:
  - {group: sre-leads, count: 1}
recording: required
zone: UTC
`
	targetsFile = `kind: Target
name: web1
type: ssh
address: ADDRESS
labels: {app: web}
sensitivity: medium
owner: group:sre-leads
host_keys:
  - HOSTKEY
`
	groupsFile = `kind: Group
name: admins
members: [alice]
---
kind: Group
name: sre-leads
members: [alice]
---
kind: Group
name: sre
members: [bob]
---
kind: Group
name: auditors
members: [carol]
`
)

// writeCatalog writes the catalog's files, beside those of the policies that init began with.
func writeCatalog(dir, login, address string, hostKey gossh.PublicKey) error {
	key := strings.TrimSpace(string(gossh.MarshalAuthorizedKey(hostKey)))
	fill := strings.NewReplacer("LOGIN", login, "ADDRESS", fmt.Sprintf("%q", address), "HOSTKEY", key)
	for name, text := range map[string]string{"roles.yaml": rolesFile, "targets.yaml": targetsFile, "groups.yaml": groupsFile} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(fill.Replace(text)), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "policies", "sre.cedar"), []byte(policiesFile), 0o644)
}

const policiesFile = `@id("sre-may-ask")
@description("site reliability engineers may ask for root on the web servers")
permit (principal in Group::"sre", action == Action::"request", resource == Role::"web-root");
`
