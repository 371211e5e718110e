package attack_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"
)

// canary is a secret, and what stands of it where it may not.
type canary struct {
	name   string
	secret []byte
}

// forms are how bytes are commonly written.
func (c canary) forms() map[string][]byte {
	return map[string][]byte{
		"as it is": c.secret, "in hex": []byte(hex.EncodeToString(c.secret)),
		"in base64":     []byte(strings.TrimRight(base64.StdEncoding.EncodeToString(c.secret), "=")),
		"in URL base64": []byte(base64.RawURLEncoding.EncodeToString(c.secret)), "quoted": []byte(strconv.Quote(string(c.secret))[1:]),
	}
}

// TestSecretsShowNowhere (B50): after a life with every kind of secret, with the log at its most
// talkative, none of them stands in an event, a log, a story, what the commands printed to others, or
// the arguments of a process.
func TestSecretsShowNowhere(t *testing.T) {
	w := found(t)
	seen := map[string][]byte{} // what may hold no secret
	codes := w.join("bob", "erin", "dan=request,approve")
	id := w.ask("bob", "web-root", "web1", "--for", "15m", "--reason", "nginx hangs")
	w.as("dan", "approve", id, "--yes").ok(t)
	if got := w.ssh("bob", w.web1(), "echo", "in"); got.out != "in\n" {
		t.Fatalf("%+v", got)
	}
	// Mistakes, which programs like to repeat: a secret in the place of a name, a reason that is cut, broken JSON.
	secrets, bob := w.canaries(codes), w.visit("bob")
	for _, body := range []string{`{"id": "` + bob.token.Reveal() + `"}`, `{"id": "` + codes[0] + ``, `{"statement": "` + codes[1] + `"}`} {
		for _, path := range []string{"/brevet.v1.RequestService/GetRequest", "/brevet.v1.RequestService/Approve", "/brevet.v1.AuthService/SignIn", "/brevet.v1.AuthService/AnswerInvitation"} {
			bob.call("POST", path, "application/json", []byte(body)) // what it answers to him, he knows
		}
	}
	w.run("bob", "brevet1-wrong"+codes[0]+"\n", "brevet", "login", "-", "--no-wait")
	w.granted("page 4711")
	w.as("alice", "revoke", bob.request(id).GetGrant(), "--reason", "enough").ok(t)
	w.as("erin", "logout").ok(t)

	for _, args := range [][]string{{"audit", "search", "--most", "500", "-o", "json"}, {"story", id}, {"people"}, {"people", "invitations"}, {"doctor"}, {"machines"}, {"sessions", "-o", "json"}, {"grants", "-o", "json"}} {
		got := w.as("alice", args...)
		seen["brevet "+strings.Join(args, " ")] = []byte(got.out + got.err)
	}
	export := filepath.Join(t.TempDir(), "log.jsonl")
	w.as("alice", "audit", "export", "--file", export).ok(t)
	text, err := os.ReadFile(export)
	must(t, err)
	seen["the exported log"] = text
	seen["the server's log"] = []byte(w.server.output())
	seen["arguments of processes"] = arguments(t)

	for _, c := range append(secrets, w.canaries(codes)...) {
		if len(c.secret) < 16 {
			t.Fatalf("%s is no secret: %q", c.name, c.secret)
		}
		for form, looks := range c.forms() {
			for where, text := range seen {
				if bytes.Contains(text, looks) {
					t.Errorf("%s has %s, %s", where, c.name, form)
				}
			}
		}
	}
	for where, text := range seen {
		if token := regexp.MustCompile(`brevet_t_[A-Za-z0-9_-]{16,}|BEGIN [A-Z ]*PRIVATE KEY`).Find(text); token != nil {
			t.Errorf("%s has something like a secret: %q", where, token)
		}
	}
	if len(seen["the exported log"]) < 10_000 || len(seen["the server's log"]) < 200 || len(seen["arguments of processes"]) < 100 {
		t.Errorf("there is too little to look at: %d, %d and %d bytes", len(seen["the exported log"]), len(seen["the server's log"]), len(seen["arguments of processes"]))
	}
}

// canaries are all secrets of the world: whole files below the data folder that are keys, people's keys
// and tokens, and the secret part of every code.
func (w *world) canaries(codes []string) []canary {
	w.Helper()
	var all []canary
	add := func(name string, secret []byte) { all = append(all, canary{name, bytes.TrimSpace(secret)}) }
	for i, code := range codes {
		add("the code of invitation "+strconv.Itoa(i), []byte(code))
		add("the end of invitation "+strconv.Itoa(i), []byte(code[len(code)-24:]))
	}
	for _, name := range []string{"alice", "bob", "dan"} {
		text, err := os.ReadFile(w.key(name))
		must(w, err)
		add(name+"'s key", bytes.Split(text, []byte("\n"))[2])
		key, err := gossh.ParseRawPrivateKey(text)
		must(w, err)
		if seed, ok := key.(interface{ Seed() []byte }); ok {
			add(name+"'s seed", seed.Seed())
		}
		v := w.visit(name)
		add(name+"'s token", []byte(v.token.Reveal()))
		add(name+"'s token without its prefix", []byte(strings.TrimPrefix(v.token.Reveal(), "brevet_t_")))
		client, err := os.ReadFile(filepath.Join(w.home(name), "brevet", "client.key"))
		must(w, err)
		add(name+"'s client key", bytes.Split(client, []byte("\n"))[1])
	}
	found := 0
	must(w, filepath.WalkDir(w.data(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".key") {
			return err
		}
		found++
		text, err := os.ReadFile(path)
		add("the file "+filepath.Base(path), text)
		return err
	}))
	if found < 3 {
		w.Fatalf("only %d files of keys", found)
	}
	return all
}

// arguments are those of every brevet that runs, and of their children.
func arguments(t *testing.T) []byte {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	var all []byte
	for _, path := range dirs {
		text, err := os.ReadFile(path)
		if err != nil { // it ended
			continue
		}
		if words := bytes.Split(text, []byte{0}); slices.ContainsFunc(words, func(w []byte) bool { return bytes.Contains(w, []byte("brevet")) }) {
			all = append(append(all, bytes.Join(words, []byte(" "))...), '\n')
		}
	}
	return all
}
