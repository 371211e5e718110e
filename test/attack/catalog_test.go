package attack_test

// The catalog of the attacks. LOGIN, ADDRESS and HOSTKEY are filled in.
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
---
kind: Role
name: web-now
description: root on the web servers at once
owner: group:sre-leads
sensitivity: low
targets: {kind: ssh, labels: {app: web}}
gives:
  ssh: {logins: [LOGIN], permit: [pty]}
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
members: [alice, dan]
---
kind: Group
name: sre
members: [bob, dan]
---
kind: Group
name: oncall
members: [erin]
---
kind: Group
name: auditors
members: [alice]
`
	policyFile = `@id("sre-may-ask")
@description("site reliability engineers may ask for root on the web servers")
permit (principal in Group::"sre", action == Action::"request", resource == Role::"web-root");

@id("oncall-at-once")
@description("whoever is on call has root at once")
permit (principal in Group::"oncall", action == Action::"activate", resource == Role::"web-now");
`
)
