package cli

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/cli/home"
	"github.com/brevet-pim/brevet/identity/enrol"
	"github.com/brevet-pim/brevet/statement"
)

func TestSignInIsKept(t *testing.T) {
	w := newWorld(t)
	run(t, "", "whoami").want(t, 0, "alice at "+w.address, "admins")
	thumb := w.thumb
	run(t, "", "whoami").want(t, 0, "alice at")
	if w.thumb != thumb {
		t.Error("the second command signed in again")
	}
	w.token, w.thumb = enrol.NewToken(), "" // the server forgot the token
	run(t, "", "whoami").want(t, 0, "alice at")
	if w.thumb == thumb || w.thumb == "" {
		t.Error("a refused token was not renewed with a new certificate")
	}
}

// TestServerThatIsAnother: nothing is sent to a server that is not the pinned one.
func TestServerThatIsAnother(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	h := must(home.Open(os.Getenv("BREVET_HOME")))(t)
	p := must(h.Profile())(t)
	p.Server = w.address // with the pin of the other
	if err := h.SetProfile(p); err != nil {
		t.Fatal(err)
	}
	h.Close()
	run(t, "", "whoami").want(t, statusRefused, "that is not the server it should be", "Nothing was sent")
	if w.thumb != "" || other.thumb != "" {
		t.Error("somebody was signed in to")
	}
}

func TestRosterThatLies(t *testing.T) {
	tests := []struct {
		name string
		lie  func(*world, *brevetv1.GetRosterResponse)
		want string
	}{
		{"another root", func(w *world, m *brevetv1.GetRosterResponse) {
			m.Statements[0] = must(newWorld(w.t).roster[0].Marshal())(w.t)
		}, ""},
		{"nothing", func(_ *world, m *brevetv1.GetRosterResponse) { m.Statements = nil }, "the server shows no roster"},
		{"the first left out", func(_ *world, m *brevetv1.GetRosterResponse) { m.Statements = m.Statements[1:] }, ""},
		{"no statement", func(_ *world, m *brevetv1.GetRosterResponse) { m.Statements[1] = []byte("{}") }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			mine := os.Getenv("BREVET_HOME")
			w.lie = func(m any) {
				if r, ok := m.(*brevetv1.GetRosterResponse); ok {
					tt.lie(w, r)
				}
			}
			t.Setenv("BREVET_HOME", mine)
			got := run(t, "", "audit", "verify")
			if got.status != statusRefused && got.status != statusUsage {
				t.Errorf("ended with %d", got.status)
			}
			got.want(t, got.status, tt.want)
		})
	}
}

func TestAuditVerify(t *testing.T) {
	w := newWorld(t)
	run(t, "", "audit", "verify").want(t, 0, "4 events, checkpoint signed by the log", "compared with no earlier checkpoint")
	w.log(brevet.Event{ID: "evt_1", Kind: "audit.searched", Subject: "alice", At: time.Now(), Message: "alice signed in", Outcome: "success"})
	run(t, "", "audit", "verify").want(t, 0, "5 events", "goes on from the checkpoint of 4 events")
	run(t, "", "audit", "verify", "--quick").want(t, 0, "5 events", "goes on from the checkpoint of 5 events")
	w.log(brevet.Event{ID: "evt_2", Kind: "audit.searched", Subject: "alice", At: time.Now(), Message: "alice signed in", Outcome: "success"})
	run(t, "", "audit", "verify", "--quick", "-o", "json").want(t, 0, `"size": 6`, `"extends": 5`)
}

// TestLogThatWasChanged: whoever changes the log, with its key or without, is found out.
func TestLogThatWasChanged(t *testing.T) {
	event := func(w *world, who string) {
		w.log(brevet.Event{ID: "evt_1", Kind: "audit.searched", Subject: who, At: time.Now(), Message: who + " signed in", Outcome: "success"})
	}
	tests := []struct {
		name   string
		change func(*world)
		want   string
		quick  bool // also seen without reading the events
	}{
		{"a body", func(w *world) { w.rows[3].Record = append([]byte(nil), w.rows[2].Record...) }, "event 3: its body was changed", false},
		{"a statement", func(w *world) { w.rows[1].Statement = w.rows[0].Statement }, "event 1: its statement was changed", false},
		{"one left out", func(w *world) { w.rows = append(w.rows[:2], w.rows[3:]...) }, "event 2: it is missing", false},
		{"cut, and signed again", func(w *world) {
			w.rows = w.rows[:3]
			w.head, w.stored = w.rebuilt()
		}, "the saved checkpoint has seen them", true},
		{"rewritten, and signed again", func(w *world) {
			w.rows = w.rows[:3]
			w.head, w.stored = w.rebuilt()
			event(w, "mallory")
			event(w, "mallory")
		}, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			event(w, "alice")
			run(t, "", "audit", "verify").want(t, 0)
			tt.change(w)
			if tt.quick {
				run(t, "", "audit", "verify", "--quick").want(t, statusRefused, "was changed or cut")
			}
			run(t, "", "audit", "verify").want(t, statusRefused, tt.want)
		})
	}
}

func TestAuditExportIsVerifiedOffline(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "log.jsonl")
	kept := filepath.Join(t.TempDir(), "checkpoint")
	if err := os.WriteFile(kept, w.checkpoint(), 0o600); err != nil {
		t.Fatal(err)
	}
	w.log(brevet.Event{ID: "evt_1", Kind: "audit.searched", Subject: "alice", At: time.Now(), Message: "alice signed in", Outcome: "success"})
	run(t, "", "audit", "export", "--file", file).want(t, 0, file)
	run(t, "", "audit", "export", "--file", file).want(t, statusConflict, "is there already")
	t.Setenv("BREVET_HOME", t.TempDir()) // another machine, that knows nothing
	check := func(in string, more ...string) ran {
		return run(t, in, append([]string{"audit", "verify", "--root", string(w.root)}, more...)...)
	}
	check("", "--file", file).want(t, 0, "5 events", "compared with no earlier checkpoint")
	check("", "--file", file, "--checkpoint", kept).want(t, 0, "goes on from the checkpoint of 4 events")
	whole := string(must(os.ReadFile(file))(t))
	check(whole, "--file", "-", "--checkpoint", kept).want(t, 0, "goes on from the checkpoint of 4 events")

	lines := strings.SplitAfter(strings.TrimSuffix(whole, "\n"), "\n")
	for name, text := range map[string]string{
		"cut":             strings.Join(lines[:3], ""),
		"an event gone":   strings.Join(append(append([]string{}, lines[:3]...), lines[4:]...), ""),
		"no beginning":    strings.Join(lines[1:], ""),
		"events swapped":  lines[0] + lines[1] + lines[3] + lines[2] + lines[4] + lines[5],
		"not JSON":        "{",
		"a line too long": strings.Repeat("x", maxExportLine+1),
		"empty":           "",
	} {
		if got := check(text, "--file", "-"); got.status != statusRefused && got.status != statusUsage {
			t.Errorf("%s: ended with %d: %s%s", name, got.status, got.out, got.err)
		}
	}
	run(t, "", "audit", "verify", "--file", file, "--root", strings.Repeat("ab", 32)).want(t, statusRefused)
}

func TestAuditSearch(t *testing.T) {
	newWorld(t)
	run(t, "", "audit", "search", "red", "--most", "3", "--since", "1h").want(t, 0, `bob asked \x1b[31mred`, "there are more; the newest 3 are shown")
	run(t, "", "audit", "search", "--kind", "reqest").want(t, statusNotFound, "Did you mean request?")
	run(t, "", "audit", "search", "--since", "yesterday").want(t, statusUsage, "neither a time nor a duration")
	run(t, "", "audit", "search", "--most", "0").want(t, statusUsage)
	run(t, "", "audit", "search", "--since", "1m", "--until", "2m").want(t, statusUsage, "ends before it begins", "--since 2m --until 1m")
	run(t, "", "audit", "search", "--most", "1", "--since", "2m", "--until", "1m").want(t, 0, "bob asked")
}

const newRole = `kind: Role
name: web-root
owner: group:admins
sensitivity: medium
targets: {kind: ssh, names: [web1]}
gives: {ssh: {logins: [root]}}
limits: {duration: 1h}
approval: [{group: admins}]
---
kind: Target
name: web1
type: ssh
address: web1.internal:22
labels: {app: web}
sensitivity: medium
owner: group:admins
host_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJhGSrIcpWEZSRSOEbdZzt2zKbt7ZW2Zz0tcmV4k5lTq]
`

// folder writes the files of the catalog in force, and one more.
func folder(t *testing.T, yaml string) string {
	t.Helper()
	dir := t.TempDir()
	files := maps.Clone(smallCatalog)
	files["roles.yaml"] = yaml
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestApply(t *testing.T) {
	w := newWorld(t)
	dir := folder(t, newRole)
	run(t, "", "apply", "-f", dir, "--dry-run").want(t, statusNeedsYou, "+ role web-root", "+ target web1")
	run(t, "n\n", "apply", "-f", dir).want(t, 0, "+ role web-root", "You will sign", "Nothing was signed.")
	if len(w.applied) > 0 {
		t.Fatal("something was sent without a yes")
	}
	run(t, "y\n", "apply", "-f", dir, "-m", "OPS-1: web1").want(t, 0, "catalog 2 is in force")
	if len(w.applied) != 1 {
		t.Fatalf("%d catalogs were sent", len(w.applied))
	}
	e := must(statement.Parse(w.applied[0].GetStatement()))(t)
	signed := must(statement.Open[statement.Catalog](e))(t)
	if signed.Manifest != catalog.Digest(w.applied[0].GetManifest()) || signed.Number != 2 || string(signed.Previous) != w.catalog.GetId() || signed.Message != "OPS-1: web1" {
		t.Errorf("signed %+v", signed)
	}
}

func TestApplySaysWhatIsWrong(t *testing.T) {
	newWorld(t)
	dir := folder(t, strings.Replace(newRole, "duration: 1h", `duration: "1 hour"`, 1))
	run(t, "", "apply", "-f", dir).want(t, statusUsage, dir+"/roles.yaml:7:", "write a number and a unit, like 1h or 45m", "Nothing was changed. ")
	run(t, "", "apply", "-f", dir+"/none").want(t, statusNotFound, "there is no folder")
	run(t, "", "apply", "-f", dir+"/roles.yaml").want(t, statusUsage, "is a file, not a folder", "name the folder that it is in")
	run(t, "", "apply").want(t, statusUsage, "--file must be given", "brevet apply --help")
}

func TestApplyNothing(t *testing.T) {
	newWorld(t)
	run(t, "", "apply", "-f", folder(t, "")).want(t, 0, "Nothing changes: this is catalog 1")
}

// TestCatalogThatLies: a difference is only shown against a catalog that was signed.
func TestCatalogThatLies(t *testing.T) {
	w := newWorld(t)
	dir := folder(t, newRole)
	other := must(catalog.Parse(w.catalog.GetManifest()))(t)
	other.Groups[0].Members = append(other.Groups[0].Members, "mallory")
	manifest, _, err := catalog.Manifest(other)
	if err != nil {
		t.Fatal(err)
	}
	w.lie = func(m any) {
		if r, ok := m.(*brevetv1.GetCatalogResponse); ok {
			r.Manifest = manifest
		}
	}
	run(t, "y\n", "apply", "-f", dir).want(t, statusRefused, "not the one that was signed")
	if len(w.applied) > 0 {
		t.Error("something was signed")
	}
}

func TestDoctor(t *testing.T) {
	w := newWorld(t)
	run(t, "", "doctor").want(t, 0, "answers, pinned, organisation Example Ltd", "clock: within", "verified from the root", "4 events")
	w.lie = func(m any) {
		if r, ok := m.(*brevetv1.GetServerResponse); ok {
			r.Version = "v9"
		}
	}
	run(t, "", "doctor").want(t, statusNeedsYou, "! version: this is v0.0.0-test, the server is v9", "exit 3: one thing needs you")
	w.lie = func(m any) {
		switch r := m.(type) {
		case *brevetv1.GetServerResponse:
			r.Now.Seconds += 3600
			r.Version = "v9"
		case *brevetv1.CheckResponse:
			r.Findings = []*brevetv1.Finding{{Level: "error", Place: "disk", Message: "full\x1b[2J"}, {Level: "ok", Place: "issuer", Message: "answers"}}
		}
	}
	run(t, "", "doctor").want(t, statusFailure, "! version: this is v0.0.0-test, the server is v9", "✗ clock: it differs from the server's by 1h",
		`✗ disk: full\x1b[2J`, "✓ issuer: answers", "goes on from the 4 that this machine knew", "three things need you")
	w.lie = func(m any) {
		if r, ok := m.(*brevetv1.GetServerResponse); ok {
			r.Root = strings.Repeat("ab", 32)
		}
	}
	run(t, "", "doctor", "-o", "json").want(t, statusFailure, "another organisation than the root that is pinned here")
	if err := os.Remove(w.key); err != nil {
		t.Fatal(err)
	}
	run(t, "", "doctor").want(t, statusFailure, "✗ key", "cannot be read")
}

// asked is a request as a server that tells the truth shows it.
func (w *world) asked(person brevet.PersonID, by statement.Signer) *brevetv1.Request {
	now := time.Now()
	request := statement.Request{
		Header: statement.NewHeader(w.root, now, now.Add(time.Hour)), Reason: "drill", Via: brevet.ViaCLI,
		Terms: statement.Terms{Person: person, Role: "web-root", RoleDigest: strings.Repeat("ab", 32), Targets: []brevet.TargetID{"web1"},
			Logins: []string{"root"}, Duration: 900, Holder: statement.Holder{Machine: "gw-1", Key: "SHA256:" + strings.Repeat("A", 43)}},
	}
	e := must(statement.New(w.t.Context(), request, by))(w.t)
	return &brevetv1.Request{Id: string(e.RequestID(request)), Statement: must(e.Marshal())(w.t), Person: string(person), State: "waiting"}
}

// TestRequestThatLies: an approver is shown what was signed, or nothing.
func TestRequestThatLies(t *testing.T) {
	w := newWorld(t)
	view := w.asked("bob", w.bob)
	id := view.GetId()
	w.lie = func(m any) {
		if r, ok := m.(*brevetv1.GetRequestResponse); ok {
			r.Request = view
		}
	}
	run(t, "l\n", "approve", id).want(t, 0, "bob asks web-root on web1: root by ssh", "for 15m", "drill", "Nothing was signed.")
	run(t, "\n", "approve", id, "--target", "web2").want(t, statusUsage, `target "web2" was not asked for`)
	// A slip is not the end; the third one is.
	run(t, "n\n1h\n10 min\n10m\nl\n", "approve", id).want(t, 0, "1h is more than was asked for (15m)", "write a number and a unit", "Approve for 10m,", "Nothing was signed.")
	run(t, "n\n1h\n2h\n3h\n10m\n", "approve", id).want(t, statusUsage, "3h is more than was asked for (15m)")
	run(t, "n\n1h\n", "approve", id).want(t, statusUsage, "1h is more than was asked for (15m)", "there is nobody to answer")
	view.Id = "req_" + strings.Repeat("0", 26)
	run(t, "a\n", "approve", id).want(t, statusRefused, "the server shows another statement under the id")
}

// TestRequestThatIsOver: how it stands is said before anything is shown or asked.
func TestRequestThatIsOver(t *testing.T) {
	w := newWorld(t)
	view, own := w.asked("bob", w.bob), w.asked("alice", w.alice)
	w.lie = func(m any) {
		if r, ok := m.(*brevetv1.GetRequestResponse); ok {
			r.Request = view
		}
	}
	view.Grant = strings.Replace(view.GetId(), "req_", "grt_", 1)
	for state, want := range map[string]string{"cancelled": "it was cancelled", "lapsed": "it was not answered", "refused": "brevet story req_", "granted": "brevet revoke grt_"} {
		view.State = state
		for _, command := range []string{"approve", "deny"} {
			got := run(t, "a\n", command, view.GetId())
			got.want(t, statusConflict, "is over", want)
			if strings.Contains(got.err, "web-root") || strings.Contains(got.err, "You will sign") || strings.Contains(got.err, "Why not?") {
				t.Errorf("%s of what was %s: asked for an answer: %s", command, state, got.err)
			}
		}
	}
	view, own.State = own, "granted"
	run(t, "", "cancel", own.GetId()).want(t, statusConflict, "is over: it was granted")
}

// TestWaitThatIsGivenUp: whoever stops waiting learns that the request does not stop.
func TestWaitThatIsGivenUp(t *testing.T) {
	w := newWorld(t)
	var told bytes.Buffer
	a := &app{getenv: os.Getenv, err: &told}
	s := must(a.connect())(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	r := w.asked("alice", w.alice)
	if err := a.awaitRequest(ctx, s, r); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if want := "stays open. Take it back with brevet cancel " + short(r.GetId()); !strings.Contains(told.String(), want) {
		t.Errorf("does not say %q: %s", want, told.String())
	}
}

func TestGrantsExport(t *testing.T) {
	newWorld(t)
	t.Chdir(t.TempDir())
	grant := "grt_" + strings.Repeat("0", 26)
	run(t, "", "grants", "export", grant).want(t, 0, "grt_000000.brevet", "brevet verify grt_000000.brevet --root")
	run(t, "", "grants", "export", grant).want(t, statusConflict, "is there already")
	if got := string(must(os.ReadFile("grt_000000.brevet"))(t)); got != "proof of "+grant {
		t.Errorf("wrote %q", got)
	}
	run(t, "", "grants", "export", grant, "--file", "-").want(t, 0, "proof of "+grant)
}

func TestPolicyExplain(t *testing.T) {
	w := newWorld(t)
	w.roles = []*brevetv1.Role{offered()}
	run(t, "", "policy", "explain", "alice", "web-root").want(t, 0, "alice is in: admins", "no policy decided it")
	run(t, "", "policy", "explain", "bob", "web-root").want(t, 0, "bob is in: admins")
	run(t, "", "policy", "explain", "bo", "web-root").want(t, statusNotFound, `no person "bo". Did you mean bob?`)
	run(t, "", "policy", "explain", "bob", "web-rot").want(t, statusNotFound, `no role "web-rot". Did you mean web-root?`)
}

// TestCompletions: what is offered is what the command can do something with.
func TestCompletions(t *testing.T) {
	w := newWorld(t)
	w.roles = []*brevetv1.Role{offered()}
	view := w.asked("bob", w.bob)
	view.Targets = []string{"web7"}
	w.lie = func(m any) {
		switch m := m.(type) {
		case *brevetv1.GetRequestResponse:
			m.Request = view
		case *brevetv1.ListPeopleResponse:
			m.People[0].Keys = []*brevetv1.Key{{Fingerprint: "SHA256:mine"}, {Fingerprint: "SHA256:old", Retired: true}}
		}
	}
	run(t, "", "whoami").want(t, 0) // completing never signs in
	for _, tt := range []struct {
		line, want, not string
	}{
		{"revoke", "grt_000000", "grt_111111"},
		{"grants export", "grt_111111", "web"},
		{"keys retire", "SHA256:mine", "SHA256:old"},
		{"machines remove", "gw-1", "log"},
		{"policy explain", "alice", "web-root"},
		{"policy explain alice", "web-root", "web1"},
		{"policy explain alice web-root", "web2", "alice"},
		{"request web-root web1 --login", "deploy", "web"},
		{"approve " + view.GetId() + " --target", "web7", "web1"},
		{"sessions list --target", "web1", "root"},
	} {
		got := run(t, "", append(append([]string{"__complete"}, strings.Fields(tt.line)...), "")...)
		if !strings.Contains(got.out, tt.want) || strings.Contains(got.out, tt.not) {
			t.Errorf("%s <Tab> offers %s", tt.line, got.out)
		}
	}
}

// TestWhatIsNotConfirmedIsNotDone: who takes back is told what may be left, and so is a script.
func TestWhatIsNotConfirmedIsNotDone(t *testing.T) {
	w := newWorld(t)
	grant := "grt_" + strings.Repeat("0", 26)
	run(t, "", "revoke", grant, "--reason", "x").want(t, 0, "ended; nothing of it is left")
	run(t, "", "people", "suspend", "alice", "--reason", "x").want(t, 0, "alice is suspended; 3 grants ended with it")
	run(t, "", "people", "suspend", "alice").want(t, statusUsage, "a suspension needs a reason", "--reason")
	w.lie = func(m any) {
		switch m := m.(type) {
		case *brevetv1.RevokeGrantResponse:
			m.Grant.State = "ending"
		case *brevetv1.SuspendResponse:
			m.GrantsLeft = 1
		}
	}
	run(t, "", "revoke", grant, "--reason", "x").want(t, statusNeedsYou, "not every gateway has confirmed yet")
	run(t, "", "revoke", grant, "--reason", "x", "--no-wait").want(t, 0, "is ending")
	run(t, "", "people", "suspend", "alice", "--reason", "x").want(t, statusNeedsYou, "2 grants ended with it", "1 grant of theirs: not every gateway has confirmed")
}

func TestPeopleInviteAndSign(t *testing.T) {
	newWorld(t)
	run(t, "", "people", "invite", "carol", "--valid", "1000d").want(t, statusUsage, "--valid 1000d is too long", "at most 30d")
	got := run(t, "", "people", "sign")
	got.want(t, 0, "Nobody waits for a signature")
	if got.out != "" {
		t.Errorf("printed %q", got.out)
	}
}

func TestPlayAtNoSpeed(t *testing.T) {
	newWorld(t)
	run(t, "", "sessions", "play", "ses_p41x", "--speed", "0").want(t, statusUsage, "the least is 0.01")
}

// TestOwnRequest: nobody is led to sign a yes to their own request.
func TestOwnRequest(t *testing.T) {
	w := newWorld(t)
	view := w.asked("alice", w.alice)
	view.Decision = &brevetv1.Decision{Stages: []*brevetv1.Stage{{Group: "sre-leads", Count: 1, MayApprove: []string{"dan"}}}}
	w.lie = func(m any) {
		if r, ok := m.(*brevetv1.GetRequestResponse); ok {
			r.Request = view
		}
	}
	run(t, "a\n", "approve", view.GetId()).want(t, statusRefused, "alice may not approve their own request", "one of sre-leads (dan) can")
}

// TestOutputIsHarmless: an escape sequence in somebody's text acts on no terminal in any format.
func TestOutputIsHarmless(t *testing.T) {
	newWorld(t)
	for _, format := range []string{"table", "json", "yaml"} {
		got := run(t, "", "audit", "search", "--most", "1", "-o", format)
		got.want(t, 0, "bob asked")
		if strings.ContainsRune(got.out+got.err, 0x1b) {
			t.Errorf("%s: an escape came through: %q", format, got.out)
		}
	}
}

// TestSuspensions: a roster and a log in which somebody was suspended and reinstated still verify, and
// the CLI knows who is suspended.
func TestSuspensions(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	header := func() statement.Header { return statement.NewHeader(w.root, now, now.Add(time.Hour)) }
	sign := func(p statement.Payload) statement.Envelope {
		return must(statement.New(t.Context(), p, w.alice))(t)
	}
	suspension := sign(statement.Revocation{Header: header(), By: "alice", What: statement.RevokePerson, Subject: "bob", Reason: "laptop stolen"})
	w.append(suspension, "revocation")
	w.append(sign(statement.Revocation{Header: header(), By: "alice", What: statement.RevokeGrant, Subject: "grt_" + strings.Repeat("0", 26), Reason: "drill"}), "revocation")
	view := w.asked("bob", w.bob)
	w.lie = func(m any) {
		if r, ok := m.(*brevetv1.GetRequestResponse); ok {
			r.Request = view
		}
	}
	run(t, "a\n", "approve", view.GetId()).want(t, statusRefused, "bob", "suspended")
	run(t, "", "audit", "verify").want(t, 0, "6 events")
	w.append(sign(statement.Reinstate{Header: header(), Link: statement.Link{Number: 4, Previous: w.roster[2].ID()},
		Person: "bob", Revocation: suspension.ID(), Reason: "found"}), "reinstate")
	run(t, "l\n", "approve", view.GetId()).want(t, 0, "bob asks web-root")
	run(t, "", "audit", "verify").want(t, 0, "7 events")
}
