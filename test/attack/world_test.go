// Package attack_test attacks Brevet from outside: with its real binary, stock OpenSSH and a real sshd,
// or with clients that keep to no protocol. docs/attacks.md names which test holds which row.
package attack_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet/test/testenv"
)

// TestMain puts the product's own binary on the PATH, as it is built for people.
func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "brevet-attack-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "brevet"), "../../cmd/brevet")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	if err := os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// patience bounds each wait. Real seconds are not asserted: it is for tests that hang.
const patience = 60 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is an organisation with its server running and the target web1, a stock sshd. alice founded
// it and leads; who joins is in the groups of groupsFile.
type world struct {
	testing.TB
	dir    string // data, homes and logs
	api    string // address of the server
	door   string // address of its SSH gateway
	root   string
	pin    string
	login  string // on web1
	host   *testenv.Host
	server *process
}

// found founds an organisation, starts it, and ends it with the test.
func found(t *testing.T) *world {
	t.Helper()
	w := &world{TB: t, dir: t.TempDir(), login: testenv.Login(t)}
	must(t, os.Chmod(w.dir, 0o755)) // sshd looks through it as the login
	ports, err := testenv.FreePorts(2)
	must(t, err)
	w.api, w.door = ports[0], ports[1]
	out := w.as("alice", "init", "--data", w.data(), "--organisation", "Example Ltd", "--founder", "alice", "--key", w.key("alice"),
		"--listen", w.api, "--ssh-listen", w.door).ok(t).out
	w.root, w.pin = field(t, out, `(?m)^root\s+([0-9a-f]{64})$`), field(t, out, `(?m)^pin\s+([0-9a-f]{64})$`)
	config := filepath.Join(w.data(), "config.yaml")
	text, err := os.ReadFile(config)
	must(t, err)
	must(t, os.WriteFile(config, append(text, "\nlog:\n  level: debug\n"...), 0o600))
	w.startServer()
	ca, _, _, _, err := gossh.ParseAuthorizedKey([]byte(w.as("alice", "ssh-ca").ok(t).out))
	must(t, err)
	w.host = testenv.SSHD(t, testenv.SSHDOptions{UserCA: ca, Principals: map[string][]string{w.login: {"web1/" + w.login}}})
	w.apply(nil)
	return w
}

func (w *world) data() string { return filepath.Join(w.dir, "data") }

// startServer starts the server, which says everything in its log.
func (w *world) startServer() {
	w.Helper()
	w.server = start(w, filepath.Join(w.dir, "server.log"), nil, "server", "--data", w.data())
}

// apply puts a catalog in force. Files that are given take the place of those of the same name.
func (w *world) apply(files map[string]string) {
	w.Helper()
	w.tryApply(files).ok(w)
}

func (w *world) tryApply(files map[string]string) ran {
	w.Helper()
	kept, err := os.ReadFile(filepath.Join(w.data(), "catalog", "policies", "brevet.cedar"))
	must(w, err)
	fill := strings.NewReplacer("LOGIN", w.login, "ADDRESS", fmt.Sprintf("%q", w.host.Addr),
		"HOSTKEY", strings.TrimSpace(string(gossh.MarshalAuthorizedKey(w.host.HostKey))))
	dir := w.TempDir()
	all := map[string]string{"brevet.cedar": string(kept), "targets.yaml": targetsFile, "roles.yaml": rolesFile, "groups.yaml": groupsFile, "sre.cedar": policyFile}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		must(w, os.WriteFile(filepath.Join(dir, name), []byte(fill.Replace(text)), 0o600))
	}
	return w.as("alice", "apply", "-f", dir, "--yes", "--message", "for the test")
}

// home is a person's, with a key in it.
func (w *world) home(name string) string {
	w.Helper()
	dir := filepath.Join(w.dir, "home", name)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	must(w, os.MkdirAll(filepath.Join(dir, ".ssh"), 0o700))
	keygen, err := testenv.Program("ssh-keygen")
	must(w, err)
	if out, err := exec.Command(keygen, "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", filepath.Join(dir, ".ssh", "id_ed25519")).CombinedOutput(); err != nil {
		w.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	return dir
}

func (w *world) key(name string) string { return filepath.Join(w.home(name), ".ssh", "id_ed25519") }

// environment is what the person's programs see: nothing of the account that runs the test.
func (w *world) environment(name string) []string {
	dir := w.home(name)
	return []string{
		"HOME=" + dir, "BREVET_HOME=" + filepath.Join(dir, "brevet"), "USER=" + name,
		"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "TERM=xterm", "SHELL=/bin/sh",
	}
}

// ran is how a command ended.
type ran struct {
	what     string
	out, err string
	status   int
}

// ok fails the test unless the command succeeded.
func (r ran) ok(t testing.TB) ran {
	t.Helper()
	if r.status != 0 {
		t.Fatalf("%s ended with %d\n%s%s", r.what, r.status, r.out, r.err)
	}
	return r
}

// as runs brevet as a person at a machine of their own.
func (w *world) as(name string, args ...string) ran {
	w.Helper()
	return w.run(name, "", "brevet", args...)
}

// config names the person's own configuration: ssh looks for it in the account's home, whatever HOME says.
func (w *world) config(name string) []string {
	return []string{"-F", filepath.Join(w.home(name), ".ssh", "config")}
}

// command is a program that sees what the person sees.
func (w *world) command(ctx context.Context, name, program string, args ...string) *exec.Cmd {
	w.Helper()
	path, err := exec.LookPath(program)
	if err != nil { // where it was only unpacked
		path, err = testenv.Program(program)
		must(w, err)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = w.home(name), w.environment(name)
	return cmd
}

// run runs a program as a person, with something to read.
func (w *world) run(name, in, program string, args ...string) ran {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := w.command(ctx, name, program, args...)
	var out, besides bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &out, &besides
	err := cmd.Run()
	if ctx.Err() != nil {
		w.Fatalf("%s %v hangs:\n%s%s", program, args, out.String(), besides.String())
	}
	r := ran{what: name + ": " + program + " " + strings.Join(args, " "), out: out.String(), err: besides.String()}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		r.status = exit.ExitCode()
	} else {
		must(w, err)
	}
	return r
}

// join has people enrol keys of their own: NAME or NAME=USE,USE. It returns the codes that invited them.
func (w *world) join(people ...string) (codes []string) {
	w.Helper()
	sign := []string{"people", "sign", "--yes"}
	for _, p := range people {
		name, uses, _ := strings.Cut(p, "=")
		invite := []string{"people", "invite", name}
		for _, use := range strings.FieldsFunc(uses, func(r rune) bool { return r == ',' }) {
			invite = append(invite, "--use", use)
		}
		code := strings.TrimSpace(w.as("alice", invite...).ok(w).out)
		codes = append(codes, code)
		// Read, not an argument: those are everybody's on the machine.
		w.run(name, code+"\n", "brevet", "login", "-", "--key", w.key(name), "--no-wait").ok(w)
		sign = append(sign, name)
	}
	w.as("alice", sign...).ok(w)
	for _, p := range people {
		name, _, _ := strings.Cut(p, "=")
		w.as(name, "login").ok(w)
		w.as(name, "ssh-config", "--install").ok(w)
	}
	return codes
}

// ask asks as the person, and returns the request's whole id.
func (w *world) ask(name string, args ...string) string {
	w.Helper()
	short := field(w, w.as(name, append([]string{"request"}, args...)...).ok(w).out, `(req_[a-z0-9]+)`)
	return w.visit(name).request(short).GetId()
}

// granted has erin, who is on call, get web-now, and returns the grant's id.
func (w *world) granted(reason string) string {
	w.Helper()
	return field(w, w.as("erin", "request", "web-now", "web1", "--for", "10m", "--reason", reason).ok(w).out, `(grt_[a-z0-9]+)`)
}

// ssh runs the stock client as a person, without questions.
func (w *world) ssh(name string, args ...string) ran {
	w.Helper()
	return w.run(name, "", "ssh", slices.Concat(w.config(name), []string{"-o", "BatchMode=yes"}, args)...)
}

// web1 is how people write the target.
func (w *world) web1() string { return w.login + "@web1.brevet" }

// events returns what the log has of a kind, newest first, as alice finds it.
func (w *world) events(kind string, more ...string) string {
	w.Helper()
	return w.as("alice", append([]string{"audit", "search", "--kind", kind, "-o", "json"}, more...)...).ok(w).out
}

// awaits repeats the question until the answer has what is wanted.
func (w *world) awaits(want string, ask func() string) string {
	w.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		got := ask()
		if regexp.MustCompile(want).MatchString(got) {
			return got
		}
		select {
		case <-tick.C:
		case <-late:
			w.Fatalf("never %q:\n%s", want, got)
		}
	}
}

// field returns what the group of the pattern matched.
func field(t testing.TB, text, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no %q in:\n%s", pattern, text)
	}
	return m[1]
}

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// process is a brevet that runs beside the test.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	err  error // how it ended; read only after done
}

// start runs brevet until the test ends, and returns once it is ready.
func start(t testing.TB, log string, env []string, args ...string) *process {
	t.Helper()
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	must(t, err)
	defer out.Close()
	path, err := exec.LookPath("brevet")
	must(t, err)
	p := &process{cmd: exec.Command(path, args...), log: log, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = out, out, filepath.Dir(log)
	p.cmd.Env = slices.Concat([]string{"HOME=" + filepath.Dir(log), "PATH=" + os.Getenv("PATH")}, env)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	before := len(p.output())
	must(t, p.cmd.Start())
	go func() { // ends with the process, which the cleanup ends
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		if p.stop(); p.err != nil {
			t.Errorf("brevet %s: %v\n%s", args[0], p.err, p.output())
		}
	})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !strings.Contains(p.output()[before:], "msg=ready") {
		select {
		case <-tick.C:
		case <-p.done:
			t.Fatalf("brevet %s ended: %v\n%s", args[0], p.err, p.output())
		case <-late:
			t.Fatalf("brevet %s is not ready:\n%s", args[0], p.output())
		}
	}
	return p
}

func (p *process) output() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// stop ends the process and waits for it.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
	case <-time.After(patience):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // a process that does not end says where it stands
		<-p.done
	}
}
