package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet/test/testenv"
)

// scene is the organisation on the stage, and what has come of each step.
type scene struct {
	stage  *stage
	binary string
	dir    string

	alice, bob, carol person // leads and approves; engineer; auditor
	server            *background
	target            *testenv.Host
	terminal          *testenv.Terminal // bob's
	prompts           bool              // the target gives terminals, so its shell prompts
	watching          *background       // carol's

	root, api, ssh          string
	request, grant, session string
	proof                   string
}

const (
	reason = "restart stuck nginx, OPS-4711"
	length = "15m"
)

// play plays all steps, and returns what went wrong in the first that failed.
func (s *scene) play(ctx context.Context) error {
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"people make keys", s.makeKeys},
		{"alice founds the organisation", s.found},
		{"the server starts", s.serve},
		{"a target is prepared", s.prepareTarget},
		{"alice applies the catalog", s.apply},
		{"bob and carol join", s.join},
		{"bob runs ssh and is asked why", s.ask},
		{"alice approves", s.approve},
		{"bob works", s.work},
		{"carol watches", s.watch},
		{"alice revokes", s.revoke},
		{"carol plays the recording", s.replay},
		{"anybody verifies the grant", s.verify},
		{"the log is verified", s.audit},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// clear ends what still runs.
func (s *scene) clear() {
	if s.watching != nil {
		s.watching.stop()
	}
	if s.terminal != nil {
		_ = s.terminal.Close() // it may have ended by itself, as it should
	}
	if s.server != nil {
		s.server.stop()
	}
	if s.target != nil {
		s.target.Stop()
	}
}

// logs are what the programs behind the scene said, for when it failed.
func (s *scene) logs() string {
	var b strings.Builder
	if s.terminal != nil {
		fmt.Fprintf(&b, "--- bob's terminal\n%s\n", s.terminal.Screen())
	}
	if s.server != nil {
		fmt.Fprintf(&b, "--- the server\n%s\n", s.server.output())
	}
	if s.target != nil {
		fmt.Fprintf(&b, "--- sshd\n%s\n", s.target.Log())
	}
	return b.String()
}

// makeKeys gives each person a home with a key, made by the stock ssh-keygen.
func (s *scene) makeKeys(ctx context.Context) error {
	for name, p := range map[string]*person{"alice": &s.alice, "bob": &s.bob, "carol": &s.carol} {
		*p = person{name: name, home: filepath.Join(s.dir, name), binary: s.binary}
		if err := os.MkdirAll(filepath.Join(p.home, ".ssh"), 0o700); err != nil {
			return err
		}
		if err := os.Chmod(p.home, 0o700); err != nil {
			return err
		}
		keygen, err := testenv.Program("ssh-keygen")
		if err != nil {
			return err
		}
		if out, err := p.command(ctx, keygen, "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", p.key()).CombinedOutput(); err != nil {
			return fmt.Errorf("ssh-keygen: %w\n%s", err, out)
		}
	}
	return nil
}

// found has alice found the organisation with her key, on ports that are free.
func (s *scene) found(ctx context.Context) error {
	ports, err := testenv.FreePorts(2)
	if err != nil {
		return err
	}
	s.api, s.ssh = ports[0], ports[1]
	out, err := s.alice.brevet(ctx, "init", "--data", s.data(), "--organisation", "demo", "--founder", "alice", "--key", s.alice.key(),
		"--listen", s.api, "--ssh-listen", s.ssh)
	if err != nil {
		return err
	}
	if s.root, err = field(out, `(?m)^root\s+([0-9a-f]{64})$`); err != nil {
		return err
	}
	version, err := s.alice.brevet(ctx, "version")
	if err != nil {
		return err
	}
	fmt.Fprintf(s.stage.out, "%s · data in %s · SQLite · issuer in the server's process\n", strings.TrimSpace(version), s.data())
	s.stage.say("organisation %q, founded by alice       root %s", "demo", spaced(s.root))
	return nil
}

func (s *scene) data() string { return filepath.Join(s.dir, "server") }

func (s *scene) serve(ctx context.Context) error {
	began := time.Now()
	var err error
	// The server outlives the scene's patience: it may stay up.
	if s.server, err = start(s.alice.command(context.WithoutCancel(ctx), s.binary, "server", "--data", s.data())); err != nil {
		return err
	}
	if err := s.server.until(ctx, "msg=ready"); err != nil {
		return err
	}
	s.stage.say("server ready after %d ms                  API %s, ssh %s", time.Since(began).Milliseconds(), s.api, s.ssh)
	return nil
}

// prepareTarget starts the system's own OpenSSH server on a loopback port. It trusts the issuer's
// authority, and lets a certificate in as a login only if that names this target and the login.
func (s *scene) prepareTarget(ctx context.Context) error {
	line, err := s.alice.brevet(ctx, "ssh-ca")
	if err != nil {
		return err
	}
	ca, _, _, _, err := gossh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return fmt.Errorf("the authority's key: %w", err)
	}
	dir := filepath.Join(s.dir, "web1")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	me, err := user.Current()
	if err != nil {
		return err
	}
	login := me.Username
	s.target, err = testenv.StartSSHD(context.WithoutCancel(ctx), dir, testenv.SSHDOptions{
		UserCA: ca, Principals: map[string][]string{login: {"web1/" + login}},
	})
	if err != nil {
		return err
	}
	how := "as root"
	if login != "root" {
		how = "without root: the privileged login is " + login
	}
	s.stage.say("target web1: %s on %s, %s", opensshVersion(ctx), s.target.Addr, how)
	return nil
}

// apply puts roles, target, groups and policies in force.
func (s *scene) apply(ctx context.Context) error {
	dir := filepath.Join(s.data(), "catalog")
	if err := writeCatalog(dir, s.target.Login, s.target.Addr, s.target.HostKey); err != nil {
		return err
	}
	if _, _, err := s.alice.both(ctx, "apply", "-f", dir, "--yes", "--message", "web1, and who may have root on it"); err != nil {
		return err
	}
	s.stage.say("alice: brevet apply -f catalog/            role web-root on web1; signed by her key")
	return nil
}

// join has bob and carol enrol their keys by one-time codes, and alice sign both at once.
func (s *scene) join(ctx context.Context) error {
	for _, p := range []person{s.bob, s.carol} {
		code, err := s.alice.brevet(ctx, "people", "invite", p.name)
		if err != nil {
			return err
		}
		if _, err := p.brevet(ctx, "login", strings.TrimSpace(code), "--key", p.key(), "--no-wait"); err != nil {
			return err
		}
	}
	if _, err := s.alice.brevet(ctx, "people", "sign", "bob", "carol", "--yes"); err != nil {
		return err
	}
	for _, p := range []person{s.bob, s.carol} {
		if _, err := p.brevet(ctx, "login"); err != nil {
			return err
		}
	}
	if _, err := s.bob.brevet(ctx, "ssh-config", "--install"); err != nil {
		return err
	}
	s.stage.say("people: alice (lead), bob (engineer), carol (auditor), each with a key of their own")
	return nil
}

// ask has bob run the stock ssh, without any privilege, and answer its questions.
func (s *scene) ask(ctx context.Context) error {
	ssh, err := testenv.Program("ssh")
	if err != nil {
		return err
	}
	host := s.target.Login + "@web1.brevet"
	arguments := []string{"-F", filepath.Join(s.bob.home, ".ssh", "config")}
	if s.prompts = testenv.CanGiveTerminals() == nil; !s.prompts {
		arguments = append(arguments, "-T")
	}
	// Bob's ssh must go on when the scene is over, to show that it ended by itself.
	cmd := s.bob.command(context.WithoutCancel(ctx), ssh, append(arguments, host)...)
	if s.terminal, err = testenv.StartTerminal(cmd); err != nil {
		return err
	}
	s.stage.say("bob: ssh %s", host)
	for _, answer := range []struct{ question, answer string }{{"Reason: ", reason}, {"How long [30m]: ", length}} {
		text, err := s.terminal.Expect(ctx, answer.question)
		if err != nil {
			return err
		}
		s.stage.show(unechoed(text) + answer.answer)
		if err := s.terminal.Type(answer.answer + "\n"); err != nil {
			return err
		}
	}
	found, err := s.terminal.ExpectMatch(ctx, regexp.MustCompile(`Asked as (req_[a-z0-9]+)[^\n]*`))
	if err != nil {
		return err
	}
	s.request = found.Groups[1]
	s.stage.show(found.Groups[0])
	return nil
}

// unechoed returns what a terminal shows after the line that was typed.
func unechoed(text string) string {
	if typed, rest, found := strings.Cut(text, "\n"); found && (strings.HasPrefix(typed, reason) || strings.HasPrefix(typed, length)) {
		return rest
	}
	return text
}

// approve has alice look who waits for her, and agree.
func (s *scene) approve(ctx context.Context) error {
	list, err := s.alice.brevet(ctx, "requests", "--for-me")
	if err != nil {
		return err
	}
	if s.request, err = field(list, `(?m)^(req_[a-z0-9]*`+strings.TrimPrefix(s.request, "req_")+`) `); err != nil {
		return err
	}
	if _, _, err := s.alice.both(ctx, "approve", s.request, "--yes"); err != nil {
		return err
	}
	s.stage.say("alice: brevet approve %s              signed with her key", s.request)
	return nil
}

// work has bob's ssh go on into the target, and run commands as the privileged login.
func (s *scene) work(ctx context.Context) error {
	greeting, err := s.terminal.Expect(ctx, "this session is recorded.")
	if err != nil {
		return err
	}
	s.stage.show(greeting)
	prompt := ""
	if s.prompts {
		// What is typed before the shell listens would show twice.
		m, err := s.terminal.ExpectMatch(ctx, regexp.MustCompile(`[^\n]*[#$] `))
		if err != nil {
			return err
		}
		prompt = m.Groups[0]
	}
	text, err := s.typed(ctx, "echo I am $(id -un) on web1, $((40 + 2))", "I am "+s.target.Login+" on web1, 42")
	if err != nil {
		return err
	}
	s.stage.show(prompt + text)
	list, err := s.carol.brevet(ctx, "sessions")
	if err != nil {
		return err
	}
	if s.session, err = field(list, `(ses_[a-z0-9]+)`); err != nil {
		return err
	}
	if s.grant, err = field(list, `(grt_[a-z0-9]+)`); err != nil {
		return err
	}
	s.stage.say("carol: brevet sessions                     %s of bob on web1, under %s", s.session, s.grant)
	return nil
}

// typed has bob type a command, and waits for what it prints.
func (s *scene) typed(ctx context.Context, command, want string) (string, error) {
	if err := s.terminal.Type(command + "\n"); err != nil {
		return "", err
	}
	return s.terminal.Expect(ctx, want)
}

// watch has carol see live what bob's commands show.
func (s *scene) watch(ctx context.Context) error {
	var err error
	if s.watching, err = start(s.carol.command(context.WithoutCancel(ctx), s.binary, "sessions", "watch", s.session)); err != nil {
		return err
	}
	if err := s.watching.until(ctx, "I am "+s.target.Login); err != nil { // the last screenful comes first
		return err
	}
	if _, err := s.typed(ctx, "echo nginx is $(echo up)", "nginx is up"); err != nil {
		return err
	}
	if err := s.watching.until(ctx, "nginx is up"); err != nil {
		return err
	}
	s.stage.say("carol: brevet sessions watch %s      sees it live: nginx is up", s.session)
	return nil
}

// revoke has alice take the grant back: bob's connection ends at once, with a sentence that says why.
func (s *scene) revoke(ctx context.Context) error {
	out, besides, err := s.alice.both(ctx, "revoke", s.grant, "--reason", "drill")
	if err != nil {
		return err
	}
	s.stage.say("alice: brevet revoke %s --reason drill", s.grant)
	found, err := s.terminal.ExpectMatch(ctx, regexp.MustCompile(`Brevet: [^\n]*drill[^\n]*`))
	if err != nil {
		return err
	}
	s.stage.show(found.Groups[0])
	if err := s.terminal.Wait(ctx); err == nil {
		return fmt.Errorf("bob's ssh ended as if all were well")
	} else if ctx.Err() != nil {
		return err
	}
	if err := s.watching.wait(ctx); err != nil {
		return err
	}
	s.stage.show(strings.TrimSpace(out + besides))
	return nil
}

// replay has carol play what was recorded.
func (s *scene) replay(ctx context.Context) error {
	out, besides, err := s.carol.both(ctx, "sessions", "play", s.session, "--no-wait")
	if err != nil {
		return err
	}
	if !strings.Contains(out, "nginx is up") {
		return fmt.Errorf("the recording lacks what bob's commands printed:\n%s", out)
	}
	s.stage.say("carol: brevet sessions play %s       %s", s.session, lastLine(besides))
	return nil
}

// verify checks the grant offline, by somebody who knows nothing but the root.
func (s *scene) verify(ctx context.Context) error {
	s.proof = filepath.Join(s.dir, s.grant+".brevet")
	if _, _, err := s.carol.both(ctx, "grants", "export", s.grant, "--file", s.proof); err != nil {
		return err
	}
	anybody := person{name: "anybody", home: filepath.Join(s.dir, "anybody"), binary: s.binary}
	if err := os.Mkdir(anybody.home, 0o700); err != nil {
		return err
	}
	out, besides, err := anybody.both(ctx, "verify", s.proof, "--root", s.root)
	if err != nil {
		return err
	}
	if lastLine(out) != "true" {
		return fmt.Errorf("brevet verify does not end with true:\n%s", out)
	}
	s.stage.say("anybody, offline: brevet verify %s.brevet --root %s…", s.grant, s.root[:8])
	s.stage.show(besides + out)
	return nil
}

// audit has carol check the whole log.
func (s *scene) audit(ctx context.Context) error {
	out, besides, err := s.carol.both(ctx, "audit", "verify")
	if err != nil {
		return err
	}
	verdict, err := field(besides+out, `(?m)^✓ (.*)$`)
	if err != nil {
		return err
	}
	s.stage.say("carol: brevet audit verify                 %s", verdict)
	return nil
}

// invite prints what the reader can try.
func (s *scene) invite() {
	home := func(p person) string { return "BREVET_HOME=" + p.home }
	fmt.Fprintf(s.stage.out, " It stays up until Ctrl-C; try, in other terminals:\n")
	for _, try := range []string{
		home(s.bob) + " " + s.binary + " ssh " + s.target.Login + "@web1",
		home(s.alice) + " " + s.binary + " requests --watch",
		home(s.alice) + " " + s.binary + " approve REQUEST",
		home(s.carol) + " " + s.binary + " sessions",
		home(s.carol) + " " + s.binary + " story " + s.request,
		s.binary + " verify " + s.proof + " --root " + s.root,
	} {
		fmt.Fprintf(s.stage.out, "  %s\n", try)
	}
}

// field returns what the pattern's group matches.
func field(text, pattern string) (string, error) {
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("there is no %s in:\n%s", pattern, text)
	}
	return m[1], nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// spaced shows the beginning of a fingerprint in groups that people can compare.
func spaced(hex string) string { return hex[:4] + " " + hex[4:8] + " " + hex[8:12] + " " + hex[12:16] }

// opensshVersion says which sshd the system has, in its own words.
func opensshVersion(ctx context.Context) string {
	ssh, err := testenv.Program("ssh")
	if err != nil {
		return "OpenSSH"
	}
	out, err := exec.CommandContext(ctx, ssh, "-V").CombinedOutput()
	version, _, _ := strings.Cut(string(out), ",")
	if err != nil || version == "" {
		return "OpenSSH"
	}
	return version
}
