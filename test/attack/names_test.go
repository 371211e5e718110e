package attack_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

// hostileNames are names that some reader would take for two, for many or for another (Q14, Q15).
var hostileNames = []string{
	"", "*", "a*", "deploy,root", "deploy root", "a/b", "deploy\nroot", "root\x00", "!root", "../root", "-oProxyCommand=id", "Deploy",
	"ro\u200bot", "r\u043eot", "$(id)", "root@web1", "root%web1", "'root'", "#root", ".",
}

// TestHostileNamesComeNowhere (Q14, Q15): a name with a separator in it, a star or nothing gets by no way into the
// roster, the catalog, a request or a login, and so into no certificate.
func TestHostileNamesComeNowhere(t *testing.T) {
	w := found(t)
	w.join("bob")
	bob := w.visit("bob")
	id := w.ask("bob", "web-root", "web1", "--for", "15m", "--reason", "nginx hangs")
	e, err := statement.Parse(bob.request(id).GetStatement())
	must(t, err)
	good, err := statement.Open[statement.Request](e)
	must(t, err)
	for _, name := range hostileNames {
		t.Run(name, func(t *testing.T) {
			if !strings.ContainsRune(name, 0) { // which no argument can have
				if got := w.as("alice", "people", "invite", "--", name); got.status == 0 {
					t.Errorf("invited: %+v", got)
				}
				if got := w.as("bob", "request", "web-root", "web1", "--for", "15m", "--reason", "x", "--login="+name); got.status == 0 && name != "" {
					t.Errorf("asked for: %+v", got)
				}
				got := w.run("bob", "", "ssh", append(w.config("bob"), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
					"-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes", "-i", w.key("bob"), "-p", port(w.door), "-l", name+"%web1", "127.0.0.1", "true")...)
				if got.status == 0 {
					t.Errorf("logged in: %+v", got)
				}
			}
			quoted := yamlString(name)
			for file, text := range map[string]string{
				"roles.yaml":   strings.ReplaceAll(rolesFile, "logins: [LOGIN]", "logins: ["+quoted+"]"),
				"targets.yaml": strings.Replace(targetsFile, "name: web1", "name: "+quoted, 1),
				"groups.yaml":  strings.Replace(groupsFile, "[bob, dan]", "["+quoted+"]", 1),
			} {
				if got := w.tryApply(map[string]string{file: text}); got.status == 0 {
					t.Errorf("%s is in force: %+v", file, got)
				}
			}
			// A client of one's own signs what the command line does not.
			for field, change := range map[string]func(*statement.Request){
				"logins":  func(r *statement.Request) { r.Logins = []string{name} },
				"targets": func(r *statement.Request) { r.Targets = []brevet.TargetID{brevet.TargetID(name)} },
				"person":  func(r *statement.Request) { r.Person = brevet.PersonID(name) },
				"none":    func(r *statement.Request) { r.Logins = []string{} },
			} {
				r := good
				r.Header = w.header()
				change(&r)
				if err := bob.create(r); err == nil {
					t.Errorf("a request with the %s %q is taken in", field, name)
				}
			}
		})
	}
	for _, kind := range []string{"intent", "grant"} {
		if n := strings.Count(w.events(kind), `"kind": "`+kind+`"`); n != 0 {
			t.Errorf("%d events %s", n, kind)
		}
	}
	if log := w.host.Log(); strings.Contains(log, "Accepted") {
		t.Errorf("somebody logged in to the target:\n%s", log)
	}
}

// TestSecondIdentities (Q27): who has two keys is still one person, a key is one person's, and a name has one spelling.
func TestSecondIdentities(t *testing.T) {
	w := found(t)
	w.join("dan=request,approve", "bob")
	id := w.ask("dan", "web-root", "web1", "--for", "15m", "--reason", "nginx hangs")
	for _, name := range []string{"Dan", "DAN", "dan ", " dan", "d\u0430n", "dan@example.com", "dan\u200b"} {
		if got := w.as("alice", "people", "invite", name); got.status == 0 {
			t.Errorf("%q is invited: %+v", name, got)
		}
	}

	// dan's key, as somebody else's.
	w.home("ghost")
	code := strings.TrimSpace(w.as("alice", "people", "invite", "ghost", "--use", "approve").ok(t).out)
	answered := w.run("ghost", code+"\n", "brevet", "login", "-", "--key", w.key("dan"), "--no-wait")
	signed := w.as("alice", "people", "sign", "--yes", "ghost")
	if answered.status == 0 && signed.status == 0 {
		t.Errorf("dan's key is ghost's as well: %+v %+v", answered, signed)
	}

	// dan's second key is dan's.
	code = strings.TrimSpace(w.as("alice", "people", "invite", "dan", "--use", "approve").ok(t).out)
	second := filepath.Join(w.home("second"), ".ssh", "id_ed25519")
	w.run("second", code+"\n", "brevet", "login", "-", "--key", second, "--no-wait").ok(t)
	w.as("alice", "people", "sign", "--yes", "dan").ok(t)
	w.as("second", "login").ok(t)
	again := w.visit("second")
	again.id = "dan"
	if got := w.as("second", "approve", id, "--yes"); got.status == 0 {
		t.Errorf("the second key agrees: %+v", got)
	}
	says(t, again.approve(again.signed(again.approval("dan", id))), "own request")
	says(t, again.approve(again.signed(again.approval("alice", id))), "by alice, and you are dan")
	if now := again.request(id); now.GetState() != "waiting" || len(now.GetApprovals()) != 0 {
		t.Errorf("it is %s, with %v", now.GetState(), now.GetApprovals())
	}

	// For the request of another, two keys of one person are one voice. web-root here needs two.
	w.apply(map[string]string{"roles.yaml": strings.Replace(rolesFile, "count: 1", "count: 2", 1)})
	id = w.ask("bob", "web-root", "web1", "--for", "15m", "--reason", "nginx hangs")
	dan := w.visit("dan")
	must(t, dan.approve(dan.signed(dan.approval("dan", id))))
	says(t, again.approve(again.signed(again.approval("dan", id))), "counts once")
	if now := again.request(id); now.GetState() != "waiting" || len(now.GetApprovals()) != 1 {
		t.Errorf("after one person's two voices it is %s, with %v", now.GetState(), now.GetApprovals())
	}
	w.as("alice", "approve", id, "--yes").ok(t)
	if now := again.request(id); now.GetState() != "granted" {
		t.Errorf("after two people's it is %s", now.GetState())
	}
}
