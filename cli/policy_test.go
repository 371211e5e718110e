package cli

import (
	"maps"
	"strings"
	"testing"
)

// highRole is a role that alice may approve, if her key shows enough.
const highRole = `kind: Role
name: root
owner: group:admins
sensitivity: high
targets: {kind: ssh}
gives: {ssh: {logins: [root]}}
limits: {duration: 1h}
asks: {approver_presence: PRESENCE}
approval: [{group: admins}]
`

// TestLintInForce: the catalog in force is warned of as its files are, and of what is wrong with it together with
// the keys that there are, all in files here.
func TestLintInForce(t *testing.T) {
	tests := []struct {
		presence, want, not string
	}{
		{"none", "warning: role root: asks.approver_presence lets a key in a file approve what is high", "nobody can approve it"},
		{"touch", "warning: role root: nobody can approve it: group admins has too few other people who may answer (1 needed) with a key that shows touch", "lets a key"},
	}
	for _, tt := range tests {
		t.Run(tt.presence, func(t *testing.T) {
			w := newWorld(t)
			files := maps.Clone(smallCatalog)
			files["roles.yaml"] = strings.Replace(highRole, "PRESENCE", tt.presence, 1)
			w.putCatalog(readFiles(t, files))
			got := run(t, "", "policy", "lint")
			got.want(t, 0, tt.want)
			if strings.Contains(got.out, tt.not) {
				t.Errorf("it says %s", got.out)
			}
			run(t, "", "policy", "lint", "--strict").want(t, statusUsage)
		})
	}
}
