package cli

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/dial"
	"github.com/brevet-pim/brevet/cli/home"
	"github.com/brevet-pim/brevet/identity/enrol"
	"github.com/brevet-pim/brevet/statement"
)

// invite returns a code as an administrator hands it over.
func (w *world) invite(change func(*enrol.Code)) string {
	code := enrol.Code{Secret: enrol.NewSecret(), Pin: dial.PinOf(w.authority), Address: w.address, Person: "carol"}
	root := must(hex.DecodeString(string(w.root)))(w.t)
	copy(code.Root[:], root)
	if change != nil {
		change(&code)
	}
	w.invited = code
	return must(code.Encode())(w.t)
}

func TestLogin(t *testing.T) {
	w := newWorld(t)
	t.Setenv("BREVET_HOME", filepath.Join(t.TempDir(), "carol"))
	key := writeKey(t, filepath.Join(t.TempDir(), "id"))
	run(t, "", "login", w.invite(nil), "--key", key, "--no-wait").want(t, 0, "Your key is SHA256:", "brevet people sign carol")
	h := must(home.Open(os.Getenv("BREVET_HOME")))(t)
	defer h.Close()
	p := must(h.Profile())(t)
	if p.Person != "carol" || p.Root != string(w.root) || p.Pin != dial.PinOf(w.authority).String() || p.Server != w.address || p.Key != key {
		t.Errorf("the profile is %+v", p)
	}
	if len(w.answers) != 1 {
		t.Fatalf("%d answers", len(w.answers))
	}
	answer := w.answers[0]
	one := statement.Enrolment{
		Person: "carol", Key: must(statement.ParseSSHKey(answer.GetPublicKey()))(t), Code: w.invited.Secret.Digest(), Possession: answer.GetPossession(),
	}
	if _, err := one.CheckPossession(w.root); err != nil {
		t.Errorf("possession: %v", err)
	}
	// The code of another person does not replace what is there.
	run(t, "", "login", w.invite(func(c *enrol.Code) { c.Person = "dan" }), "--key", key).want(t, statusConflict, "this folder is signed in as carol")
}

func TestLoginWithANewKey(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "carol")
	t.Setenv("BREVET_HOME", dir)
	code := w.invite(nil)
	run(t, code+"\n", "login", "--new-key", "--no-wait").want(t, 0, "Your key is SHA256:")
	for name, mode := range map[string]os.FileMode{"": 0o700, NewKeyFile: 0o600, NewKeyFile + ".pub": 0o600, "profile.yaml": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%q: mode %v, %v", name, info.Mode(), err)
		}
	}
	run(t, "", "login", code, "--new-key").want(t, statusConflict, "there is a key in")
}

// TestLoginToAnother: a code whose pin or root the server does not have leads nowhere, and nothing is kept.
func TestLoginToAnother(t *testing.T) {
	tests := []struct {
		name   string
		change func(*enrol.Code)
		want   string
	}{
		{"another pin", func(c *enrol.Code) { c.Pin[0] ^= 1 }, "that is not the server it should be"},
		{"another root", func(c *enrol.Code) { c.Root[0] ^= 1 }, "the server belongs to another organisation than the code"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			dir := filepath.Join(t.TempDir(), "carol")
			t.Setenv("BREVET_HOME", dir)
			run(t, "", "login", w.invite(tt.change), "--key", writeKey(t, filepath.Join(t.TempDir(), "id"))).want(t, statusRefused, tt.want)
			if len(w.answers) > 0 {
				t.Error("the code's secret was sent")
			}
			if _, err := os.Stat(filepath.Join(dir, "profile.yaml")); err == nil {
				t.Error("a profile was kept")
			}
		})
	}
}

func TestLoginWithASlip(t *testing.T) {
	w := newWorld(t)
	t.Setenv("BREVET_HOME", filepath.Join(t.TempDir(), "carol"))
	code := w.invite(nil)
	slip := code[:len(code)-1] + string("ab"[strings.Count(code[len(code)-1:], "a")])
	run(t, "", "login", slip).want(t, statusUsage)
	run(t, "", "login", "-").want(t, statusUsage, "there is nobody to answer")
}

// TestLogout: whoever signs out learns what that did, and that their key still opens.
func TestLogout(t *testing.T) {
	w := newWorld(t)
	again := "The next command signs in again, with your key."
	run(t, "", "whoami").want(t, 0)
	run(t, "", "logout").want(t, 0, "Signed out: the token is revoked and forgotten.", again)
	if !w.signedOut {
		t.Error("the server was not told")
	}
	run(t, "", "logout").want(t, 0, "You were not signed in.", again)
	run(t, "", "whoami").want(t, 0)
	w.token = enrol.NewToken() // the server refuses the one that is kept, and the key is gone
	if err := os.Remove(w.key); err != nil {
		t.Fatal(err)
	}
	run(t, "", "logout").want(t, statusNotFound, "The token is forgotten here. The server could not be told", again)
	run(t, "", "logout", "--forget").want(t, 0, "You were not signed in.", "To come back: brevet login CODE")
}

// answerInvitation is what the server makes of an answer.
func (w *world) answerInvitation(m *brevetv1.AnswerInvitationRequest) *brevetv1.AnswerInvitationResponse {
	w.answers = append(w.answers, m)
	return &brevetv1.AnswerInvitationResponse{Person: m.GetPerson(), State: "waiting"}
}
