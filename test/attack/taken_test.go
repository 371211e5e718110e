package attack_test

import (
	"context"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet/test/testenv"
)

// groupsWithout are the groups without somebody.
func groupsWithout(name string) map[string]string {
	text := groupsFile
	for _, members := range []string{", " + name, name + ", ", name} {
		text = strings.ReplaceAll(text, members, "")
	}
	return map[string]string{"groups.yaml": text}
}

// TestLeavingAGroup (Q31): who leaves the group that a privilege rests on has it no more: while they are connected,
// before they connect, before it is agreed to, and as the one who agrees.
func TestLeavingAGroup(t *testing.T) {
	w := found(t)
	w.join("bob", "erin=request,approve", "dan=request,approve")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ask := func() string { return w.ask("bob", "web-root", "web1", "--for", "15m", "--reason", "nginx hangs") }

	t.Run("connected", func(t *testing.T) {
		w.granted("page 4711")
		client, err := testenv.StartTerminal(w.command(ctx, "erin", "ssh", append(w.config("erin"), w.web1(), "echo one; sleep 300")...))
		must(t, err)
		defer client.Close()
		if _, err := client.Expect(ctx, "one\r\n"); err != nil {
			t.Fatal(err)
		}
		w.apply(groupsWithout("erin"))
		if shown, err := client.Expect(ctx, "Brevet: "); err != nil {
			t.Errorf("no sentence: %v %q", err, shown)
		}
		if err := client.Wait(ctx); err == nil || ctx.Err() != nil {
			t.Errorf("the session goes on: %v", err)
		}
		if got := w.ssh("erin", w.web1(), "true"); got.status == 0 {
			t.Errorf("she is in again: %+v", got)
		}
		w.apply(nil) // back in the group, she has what she had no more
		if got := w.ssh("erin", w.web1(), "true"); got.status == 0 {
			t.Errorf("the grant that ended opens the target again: %+v", got)
		}
	})
	t.Run("granted and not connected", func(t *testing.T) {
		id := ask()
		w.as("alice", "approve", id, "--yes").ok(t)
		w.apply(groupsWithout("bob"))
		defer w.apply(nil)
		if got := w.ssh("bob", w.web1(), "true"); got.status == 0 {
			t.Errorf("he is in: %+v", got)
		}
	})
	t.Run("asked and not agreed to", func(t *testing.T) {
		id := ask()
		w.apply(groupsWithout("bob"))
		defer w.apply(nil)
		if got := w.as("alice", "approve", id, "--yes"); got.status == 0 && w.visit("alice").request(id).GetState() == "granted" {
			t.Errorf("it is granted: %+v", got)
		}
		if now := w.visit("alice").request(id); now.GetGrant() != "" || now.GetState() != "refused" {
			t.Errorf("it is %s, grant %s", now.GetState(), now.GetGrant())
		}
	})
	t.Run("agreed to by who left", func(t *testing.T) {
		w.apply(map[string]string{"roles.yaml": strings.Replace(rolesFile, "count: 1", "count: 2", 1)})
		defer w.apply(nil)
		id := ask()
		w.as("dan", "approve", id, "--yes").ok(t)
		w.apply(map[string]string{
			"roles.yaml":  strings.Replace(rolesFile, "count: 1", "count: 2", 1),
			"groups.yaml": strings.Replace(groupsFile, "[alice, dan]", "[alice, erin]", 1),
		})
		w.as("alice", "approve", id, "--yes")
		if now := w.visit("bob").request(id); now.GetState() == "granted" {
			t.Errorf("dan's yes, who leads no more, counts: %s", now.GetGrant())
		}
		w.as("bob", "cancel", id) // his ssh would wait for it
		if got := w.ssh("bob", w.web1(), "true"); got.status == 0 {
			t.Errorf("he is in: %+v", got)
		}
	})
}

// TestEditedAfterItWasAsked (Q29): a yes is for what was asked for. What changed since is asked for anew.
func TestEditedAfterItWasAsked(t *testing.T) {
	edits := map[string]map[string]string{
		"the role gives longer":        {"roles.yaml": strings.Replace(rolesFile, "duration: 1h", "duration: 2h", 1)},
		"the role gives more":          {"roles.yaml": strings.Replace(rolesFile, "permit: [pty]", "permit: []", 1)},
		"the role is recorded no more": {"roles.yaml": strings.Replace(rolesFile, "recording: required", "recording: off", 1)},
		"policy says no": {"sre.cedar": policyFile + `
@id("freeze")
@description("nothing is given in a freeze")
forbid (principal, action in Action::"elevate", resource == Role::"web-root");
`},
	}
	w := found(t)
	w.join("bob")
	alice := w.visit("alice")
	for name, files := range edits {
		t.Run(name, func(t *testing.T) {
			id := w.ask("bob", "web-root", "web1", "--for", "15m", "--reason", "nginx hangs")
			yes := alice.signed(alice.approval("alice", id))
			w.apply(files)
			defer w.apply(nil)
			if err := alice.approve(yes); err == nil {
				t.Errorf("the yes is taken in: it is %s", alice.request(id).GetState())
			}
			if now := alice.request(id); now.GetState() == "granted" || now.GetState() == "ready" {
				t.Errorf("it is %s", now.GetState())
			}
			w.as("bob", "cancel", id) // his ssh would wait for it
			if got := w.ssh("bob", w.web1(), "true"); got.status == 0 {
				t.Errorf("he is in: %+v", got)
			}
		})
	}
}
