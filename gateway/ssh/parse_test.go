package ssh

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/gateway"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/statement"
)

// testKey is any public key.
func testKey(t testing.TB) gossh.PublicKey {
	t.Helper()
	key, _, _, _, err := gossh.ParseAuthorizedKey([]byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmMTvGZGCJTq0FhTQ3EGYSJ0jaLgRZJzbDmMrdrDJCq"))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// What a user name asks for is a well-formed target and login, or nothing: it goes into logs,
// certificates' principals and sentences.
func FuzzUserName(f *testing.F) {
	for _, seed := range []string{"root%web1", "root", "%", "a%b%c", "root%web1.x", "ro ot%web1", "root%\x00", "root,x%web1", "root/x%web1", "*%web1", strings.Repeat("a", 400) + "%web1", "é%web1"} {
		f.Add(seed, "")
		f.Add(seed, "web1.brevet")
	}
	key := testKey(f)
	f.Fuzz(func(t *testing.T, user, typed string) {
		l := &login{typed: typed, source: netip.MustParseAddr("192.0.2.1")}
		if target, ok := strings.CutSuffix(typed, Suffix); ok && brevet.CheckName("target", target) == nil {
			l.target = brevet.TargetID(target)
		} else {
			l.typed = ""
		}
		want, err := l.want(user, key)
		if err != nil {
			if s := sentence(err); strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("the sentence for %q is %q", user, s)
			}
			return
		}
		if brevet.CheckName("target", string(want.Target)) != nil || statement.CheckLogin("login", want.Login) != nil {
			t.Errorf("%q asks for %+v", user, want)
		}
		if strings.ContainsAny(gateway.Principal(want.Target, want.Login), ", *\n") || strings.Count(gateway.Principal(want.Target, want.Login), "/") != 1 {
			t.Errorf("%q makes the principal %q", user, gateway.Principal(want.Target, want.Login))
		}
		if l.typed == "" && want.Login+"%"+string(want.Target) != user || l.typed != "" && want.Login != user {
			t.Errorf("%q is read as %+v", user, want)
		}
	})
}

// FuzzSetup gives what a client may send before a session starts.
func FuzzSetup(f *testing.F) {
	pty := struct {
		Term                         string
		Columns, Rows, Width, Height uint32
		Modes                        string
	}{"xterm", 80, 24, 0, 0, "\x00"}
	f.Add("pty-req", gossh.Marshal(pty))
	pty.Columns, pty.Rows = 1<<31, 1<<32-1
	f.Add("pty-req", gossh.Marshal(pty))
	f.Add("env", gossh.Marshal(variable{"LC_ALL", "C"}))
	f.Add("env", gossh.Marshal(variable{"LD_PRELOAD", "x"}))
	f.Add("exec", gossh.Marshal(struct{ C string }{"id"}))
	f.Add("exec", []byte{0, 0, 0, 9, 'x'})
	f.Add("window-change", []byte{1})
	f.Fuzz(func(t *testing.T, kind string, payload []byte) {
		role := brevet.Role{SSH: brevet.SSHGives{Permit: []string{"pty"}, Environment: []string{"*"}}}
		s := &session{person: &person{admission: gateway.Admission{Role: role}}}
		var c setup
		switch kind {
		case "pty-req":
			got := s.wantTerminal(&c, payload)
			if got != (c.pty != nil) || got != (c.terminal != record.Terminal{}) {
				t.Errorf("%q: %v, %+v", payload, got, c)
			}
			if c.terminal.Columns > record.MaxSide || c.terminal.Rows > record.MaxSide || len(c.terminal.Term) > 4*maxTerm {
				t.Errorf("%q: %+v", payload, c.terminal)
			}
			if got && s.wantTerminal(&c, payload) {
				t.Error("a second terminal is given")
			}
		case "env":
			if !s.wantVariable(&c, payload) {
				return
			}
			v := c.variables[0]
			if matches(v.Name, harmful) || strings.Trim(v.Name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != "" || strings.ContainsRune(v.Value, 0) {
				t.Errorf("%q: %+v", payload, v)
			}
			if string(gossh.Marshal(v)) != string(payload) {
				t.Errorf("%q is passed on as %q", payload, gossh.Marshal(v))
			}
		case "exec":
			if command, ok := readCommand(payload); ok && string(gossh.Marshal(struct{ C string }{command})) != string(payload) {
				t.Errorf("%q is recorded as %q", payload, command)
			}
		}
	})
}

func TestVariables(t *testing.T) {
	many := []string{"*", "LC_*", "LANG", "LD_PRELOAD", "PATH"}
	for name, want := range map[string]bool{
		"LANG": true, "LC_ALL": true, "ANY": true,
		"LD_PRELOAD": false, "DYLD_X": false, "PATH": false, "BASH_ENV": false, "BASH_FUNC_x%%": false,
		"SSH_CONNECTION": false, "": false, "A=B": false, "A B": false, "É": false, "PYTHONPATH": false,
	} {
		if got := allowed(name, many); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	if allowed("LANG", nil) || allowed("LC_ALL", []string{"LC_"}) || !allowed("LC_ALL", []string{"LC_*"}) {
		t.Error("the list is not what decides")
	}
}

func TestLengths(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"15m": 15 * time.Minute, "1h": time.Hour, "1h 30m": -1, "59m59s": time.Hour - time.Second, "90s": 90 * time.Second,
		"": -1, "0s": -1, "-1m": -1, "1.5s": -1, "2h": -1, "10": -1, "x": -1, "1e3h": -1, "9999999999h": -1, "1h1m": -1,
	} {
		got, err := parseLength(text, time.Hour)
		if want < 0 && brevet.KindOf(err) != brevet.Invalid || want >= 0 && (err != nil || got != want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", time.Hour: "1h", 90 * time.Minute: "1h30m", 45 * time.Second: "45s", time.Millisecond: "0s"} {
		if got := span(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

// Reasons, hints and names come from people: on a terminal they are only text (Q12).
func TestSentencesAreInert(t *testing.T) {
	err := brevet.Errorf(brevet.Refused, "bob said \x1b]52;c;aGk=\x07 \u202e no\r\n\x9b2J").WithHint("\x1b[2J ask")
	if got := sentence(err); strings.ContainsAny(got, "\x1b\x07\r\u202e\u009b") {
		t.Errorf("it reads %q", got)
	}
}
