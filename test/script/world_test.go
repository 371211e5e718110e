package script_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet/test/testenv"
)

// patience bounds each wait. Real seconds are not asserted: it is for stories that hang.
const (
	patience    = 90 * time.Second
	stopsWithin = 30 * time.Second
)

// world is what one story has running.
type world struct {
	processes map[string]*process          // by the name of server and gateways
	terminals map[string]*testenv.Terminal // by person
}

type worldKey struct{}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

func setUp(t *testing.T, env *testscript.Env, database string) error {
	w := &world{processes: map[string]*process{}, terminals: map[string]*testenv.Terminal{}}
	env.Values[worldKey{}] = w
	env.Defer(func() {
		for _, t := range w.terminals {
			_ = t.Close() // most have ended by themselves
		}
		for name, p := range w.processes {
			if p.stop(syscall.SIGTERM); p.err != nil && !p.killed {
				t.Errorf("%s: %v\n%s", name, p.err, p.output())
			}
		}
	})
	me, err := user.Current()
	if err != nil {
		return err
	}
	provider, err := testenv.SecurityKeyProvider()
	if err != nil {
		return err
	}
	env.Setenv("SSH_SK_PROVIDER", provider)
	docs, err := filepath.Abs("../../docs")
	if err != nil {
		return err
	}
	env.Setenv("DOCS", docs)
	env.Setenv("GORACE", "atexit_sleep_ms=0") // with -race each command would sleep for a second at its end
	env.Setenv("LOGIN", me.Username)
	env.Setenv("DATA", filepath.Join(env.WorkDir, "data"))
	env.Setenv("DATABASE_URL", database)
	env.Setenv("DATABASE", "")
	if database != "" {
		env.Setenv("DATABASE", "env:DATABASE_URL")
	}
	ports, err := testenv.FreePorts(3)
	if err != nil {
		return err
	}
	for i, name := range []string{"API", "SSH", "SSH2"} {
		env.Setenv(name, ports[i])
	}
	return os.Chmod(env.WorkDir, 0o755)
}

// keyType is what ssh-keygen is asked for: a story may set KEYS.
func keyType(ts *testscript.TestScript) string { return cmp.Or(ts.Getenv("KEYS"), "ed25519") }

// keyOf is the file of a person's key of that type.
func keyOf(ts *testscript.TestScript, name string) string {
	return filepath.Join(ts.Getenv("WORK"), "home", name, ".ssh", "id_"+strings.ReplaceAll(keyType(ts), "-", "_"))
}

// home is a person's, with a key in it.
func home(ts *testscript.TestScript, name string) string {
	dir := filepath.Join(ts.Getenv("WORK"), "home", name)
	key := keyOf(ts, name)
	if _, err := os.Stat(key); err == nil {
		return dir
	}
	ts.Check(os.MkdirAll(filepath.Dir(key), 0o700))
	ts.Check(os.Chmod(dir, 0o700))
	keygen, err := testenv.Program("ssh-keygen")
	ts.Check(err)
	cmd := exec.Command(keygen, "-q", "-t", keyType(ts), "-N", "", "-C", name, "-f", key)
	cmd.Env = append(cmd.Environ(), "SSH_SK_PROVIDER="+ts.Getenv("SSH_SK_PROVIDER"))
	if out, err := cmd.CombinedOutput(); err != nil {
		ts.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	return dir
}

// become makes what follows run as the person.
func become(ts *testscript.TestScript, name string) {
	dir := home(ts, name)
	ts.Setenv("HOME", dir)
	ts.Setenv("BREVET_HOME", filepath.Join(dir, "brevet"))
	ts.Setenv("USER", name)
}

// program finds a command where the system keeps it, also where it was only unpacked.
func program(name string) string {
	if name == "brevet" {
		return name
	}
	if path, err := testenv.Program(name); err == nil {
		return path
	}
	return name
}

// as runs a command as a person: as NAME COMMAND ARGUMENTS.
func as(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: as NAME COMMAND ...")
	}
	become(ts, args[0])
	err := ts.Exec(program(args[1]), args[2:]...)
	switch {
	case err != nil && !neg:
		ts.Fatalf("%s: %s: %v", args[0], strings.Join(args[1:], " "), err)
	case err == nil && neg:
		ts.Fatalf("%s: %s: succeeded, which it should not", args[0], strings.Join(args[1:], " "))
	}
}

// until repeats a command until it prints something: until REGEXP as NAME COMMAND ....
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 || args[1] != "as" {
		ts.Fatalf("usage: until REGEXP as NAME COMMAND ...")
	}
	want := pattern(ts, args[0])
	become(ts, args[2])
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		err := ts.Exec(program(args[3]), args[4:]...)
		if want.MatchString(ts.ReadFile("stdout")) || want.MatchString(ts.ReadFile("stderr")) {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			ts.Fatalf("never printed %q (%v)", args[0], err)
		}
	}
}

// let keeps what a group matched: let VARIABLE REGEXP.
func let(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: let VARIABLE REGEXP")
	}
	m := pattern(ts, args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) < 2 {
		ts.Fatalf("no %q in the last standard output", args[1])
	}
	ts.Setenv(args[0], m[1])
}

func pattern(ts *testscript.TestScript, text string) *regexp.Regexp {
	re, err := regexp.Compile("(?m)" + text)
	ts.Check(err)
	return re
}

// organisation founds one, and starts its server and the target web1. Files that the story has in org/
// are added to the catalog; LOGIN, ADDRESS and HOSTKEY in them are filled in.
func organisation(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("unsupported: ! organisation")
	}
	become(ts, "alice")
	init := []string{"init", "--data", ts.Getenv("DATA"), "--organisation", "Example Ltd", "--founder", "alice",
		"--key", keyOf(ts, "alice"), "--listen", ts.Getenv("API"), "--ssh-listen", ts.Getenv("SSH")}
	if database := ts.Getenv("DATABASE"); database != "" {
		init = append(init, "--database", database)
	}
	ts.Check(ts.Exec("brevet", append(init, args...)...))
	let(ts, false, []string{"ROOT", `^root\s+([0-9a-f]{64})$`})
	let(ts, false, []string{"PIN", `^pin\s+([0-9a-f]{64})$`})
	controlServer(ts, false, []string{"start"})
	startTarget(ts)
	applyFiles(ts)
}

// startTarget starts web1.
func startTarget(ts *testscript.TestScript) {
	ts.Check(ts.Exec("brevet", "ssh-ca"))
	ca, _, _, _, err := gossh.ParseAuthorizedKey([]byte(ts.ReadFile("stdout")))
	ts.Check(err)
	dir, err := os.MkdirTemp("", "brevet-web1-")
	ts.Check(err)
	ts.Defer(func() { _ = os.RemoveAll(dir) })
	ts.Check(os.Chmod(dir, 0o755)) // sshd reads there as the login
	login := ts.Getenv("LOGIN")
	h, err := testenv.StartSSHD(context.Background(), dir, testenv.SSHDOptions{
		UserCA: ca, Principals: map[string][]string{login: {"web1/" + login}},
	})
	ts.Check(err)
	ts.Defer(h.Stop)
	ts.Setenv("ADDRESS", h.Addr)
	ts.Setenv("HOSTKEY", strings.TrimSpace(string(gossh.MarshalAuthorizedKey(h.HostKey))))
}

// applyFiles fills in the story's catalog and applies it.
func applyFiles(ts *testscript.TestScript) {
	dir := ts.MkAbs("org")
	fill := strings.NewReplacer("LOGIN", ts.Getenv("LOGIN"), "ADDRESS", fmt.Sprintf("%q", ts.Getenv("ADDRESS")), "HOSTKEY", ts.Getenv("HOSTKEY"))
	base := map[string]string{"targets.yaml": targetsFile, "roles.yaml": rolesFile, "groups.yaml": groupsFile, "sre.cedar": policyFile}
	kept, err := os.ReadFile(filepath.Join(ts.Getenv("DATA"), "catalog", "policies", "brevet.cedar"))
	ts.Check(err)
	base["brevet.cedar"] = string(kept)
	ts.Check(os.MkdirAll(dir, 0o755))
	for name, text := range base {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			continue
		}
		ts.Check(os.WriteFile(path, []byte(text), 0o644))
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	ts.Check(err)
	for _, path := range files {
		b, err := os.ReadFile(path)
		ts.Check(err)
		ts.Check(os.WriteFile(path, []byte(fill.Replace(string(b))), 0o644))
	}
	ts.Check(ts.Exec("brevet", "apply", "-f", dir, "--yes", "--message", "the story's catalog"))
}

// join has people enrol keys of their own: join NAME[=USE,USE]....
func join(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: join NAME[=USE,USE]...")
	}
	sign := []string{"people", "sign", "--yes"}
	var names []string
	for _, arg := range args {
		name, uses, _ := strings.Cut(arg, "=")
		names = append(names, name)
		invite := []string{"people", "invite", name}
		for use := range strings.SplitSeq(uses, ",") {
			if use != "" {
				invite = append(invite, "--use", use)
			}
		}
		become(ts, "alice")
		ts.Check(ts.Exec("brevet", invite...))
		code := strings.TrimSpace(ts.ReadFile("stdout"))
		become(ts, name)
		ts.Check(ts.Exec("brevet", "login", code, "--key", keyOf(ts, name), "--no-wait"))
	}
	become(ts, "alice")
	ts.Check(ts.Exec("brevet", append(sign, names...)...))
	for _, name := range names {
		become(ts, name)
		ts.Check(ts.Exec("brevet", "login"))
		ts.Check(ts.Exec("brevet", "ssh-config", "--install"))
	}
}

// controlServer starts and ends the server.
func controlServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: server start|stop|kill|log")
	}
	control(ts, args[0], "server", "server", "--data", ts.Getenv("DATA"))
}

// controlGateway starts and ends a gateway of its own.
func controlGateway(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: gateway start|stop|kill|pause|resume DATA")
	}
	control(ts, args[0], args[1], "gateway", "--data", ts.MkAbs(args[1]))
}

func control(ts *testscript.TestScript, what, name string, command ...string) {
	w := worldOf(ts)
	p := w.processes[name]
	if p == nil && what != "start" {
		ts.Fatalf("%s was not started", name)
	}
	switch what {
	case "start":
		p, err := startProcess(ts, name, command...)
		ts.Check(err)
		w.processes[name] = p
		ts.Check(p.await("msg=ready"))
	case "stop":
		p.stop(syscall.SIGTERM)
		if p.err != nil {
			ts.Fatalf("%s ended with %v:\n%s", name, p.err, p.output())
		}
	case "kill":
		p.killed = true
		p.stop(syscall.SIGKILL)
	case "pause":
		ts.Check(p.cmd.Process.Signal(syscall.SIGSTOP))
	case "resume":
		ts.Check(p.cmd.Process.Signal(syscall.SIGCONT))
	case "log":
		fmt.Fprint(ts.Stdout(), p.output())
	default:
		ts.Fatalf("cannot %s %s", what, name)
	}
}

// process is a brevet that runs beside the story.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	err  error // how it ended; read only after done

	killed bool // by the story
}

func startProcess(ts *testscript.TestScript, name string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(ts.Getenv("WORK"), name+".log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	path, err := exec.LookPath("brevet")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, ts.Getenv("WORK")
	cmd.Env = []string{"HOME=" + ts.Getenv("WORK"), "PATH=" + os.Getenv("PATH"), "DATABASE_URL=" + ts.Getenv("DATABASE_URL")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p := &process{cmd: cmd, log: log.Name(), done: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process, which setUp's deferred stop ends
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) output() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (p *process) await(text string) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !strings.Contains(p.output(), text) {
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("it ended (%v):\n%s", p.err, p.output())
		case <-late:
			return fmt.Errorf("never printed %q:\n%s", text, p.output())
		}
	}
	return nil
}

func (p *process) stop(by syscall.Signal) {
	if err := p.cmd.Process.Signal(by); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return
	}
	select {
	case <-p.done:
	case <-time.After(stopsWithin):
		// A process that does not end says where it stands.
		_ = p.cmd.Process.Signal(syscall.SIGQUIT)
		<-p.done
		p.err = fmt.Errorf("it did not end within %s", stopsWithin)
	}
}
