package ssh_test

import (
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet/test/gatewaytest"
	"github.com/brevet-pim/brevet/test/testenv"
)

// TestNothingIsLeftAtTheTarget: a command that neither prints nor listens, nor takes SIGTERM or, on a
// terminal, SIGHUP, has ended at the target soon after its grant has; so has what a terminal's shell has in
// the background. Under root sshd passes on no signal. Nothing else at the target is touched.
func TestNothingIsLeftAtTheTarget(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	id := w.Plane.Grant("bob", "web-root", time.Hour)
	_, erin := gatewaytest.NewKey()
	w.Plane.Enrol("erin", erin.PublicKey())
	w.Plane.Grant("erin", "web-root", time.Hour)
	dir, err := os.MkdirTemp("", "brevet-sweep-") // the login writes there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })

	commands := map[string]string{
		"deaf":     `trap "" TERM; ` + running(dir, "deaf") + `sleep 1000; true`,
		"quiet":    running(dir, "quiet") + `exec sleep 1000`,
		"terminal": `trap "" TERM HUP; ` + running(dir, "terminal") + `sleep 1000; true`,
		"apart":    `setsid sh -c '` + running(dir, "apart") + `exec sleep 1000' & wait`,
	}
	for name, command := range commands {
		s, err := connect(t, w).NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if name == "terminal" || name == "apart" {
			if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Start(command); err != nil {
			t.Fatal(err)
		}
	}
	types(t, connect(t, w),
		"nohup sh -c '"+running(dir, "nohup")+"exec sleep 1000' >"+dir+"/out 2>&1 &",
		"sh -c '"+running(dir, "disowned")+`trap "" TERM HUP; while :; do sleep 1; done' & disown $! || true`,
		"setsid sh -c '"+daemon(dir, "daemon")+"'")
	types(t, connect(t, w, func(c *gossh.ClientConfig) { c.Auth = []gossh.AuthMethod{gossh.PublicKeys(erin)} }),
		running(dir, "her-shell"),
		"nohup sh -c '"+running(dir, "hers")+"exec sleep 1000' >"+dir+"/out 2>&1 &")
	for name, script := range map[string]string{
		"beside": running(dir, "beside") + "exec sleep 1000", // a child of this process, in a session of its own
		"orphan": daemon(dir, "orphan"),                      // a child of process 1
	} {
		beside := exec.Command("setsid", "sh", "-c", script)
		if err := beside.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { _ = beside.Wait() }()
		t.Cleanup(func() { _ = exec.Command("sh", "-c", "kill $(cat "+filepath.Join(dir, name)+")").Run() })
	}
	t.Cleanup(func() {
		_ = exec.Command("sh", "-c", "cd "+dir+" && kill -9 $(cat daemon nohup disowned hers apart)").Run()
	})

	// A daemon was handed over to process 1 before the end: it may be a service that somebody is to have.
	spared := []string{"her-shell", "hers", "beside", "orphan", "daemon"}
	ended := append(slices.Collect(maps.Keys(commands)), "nohup", "disowned")
	all := func(names []string, is bool) func() bool {
		return func() bool {
			return !slices.ContainsFunc(names, func(name string) bool { return alive(dir, name) != is })
		}
	}
	eventually(t, "all run", all(append(spared, ended...), true))
	if closed := w.Gateway.EndGrant(limited(t), id, "drill"); !closed.All {
		t.Errorf("the sessions were closed: %+v", closed)
	}
	// Some of them end by the last signal only, so whatever else were to get one has it by then.
	eventually(t, "all have ended", all(ended, false))
	if !all(spared, true)() {
		for _, name := range spared {
			t.Logf("%s lives: %v", name, alive(dir, name))
		}
		t.Error("somebody else's process was ended")
	}
}

// TestATerminalIsHungUpWhereNothingMoreCanRun: a terminal that holds all of sshd's places does not last
// longer for that, and the log says that something may be left.
func TestATerminalIsHungUpWhereNothingMoreCanRun(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{SSHD: testenv.SSHDOptions{Extra: []string{"MaxSessions 1"}}})
	id := w.Plane.Grant("bob", "web-root", time.Hour)
	dir, err := os.MkdirTemp("", "brevet-sweep-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	types(t, connect(t, w), running(dir, "shell"))
	eventually(t, "the shell runs", func() bool { return alive(dir, "shell") })
	w.Gateway.EndGrant(limited(t), id, "drill")
	eventually(t, "the shell has ended", func() bool { return !alive(dir, "shell") })
	eventually(t, "the log says so", func() bool { return strings.Contains(w.Log(), "a command may run on at the target") })
}

// types has a login shell on a terminal run these lines.
func types(t *testing.T, c *gossh.Client, lines ...string) {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if _, err := io.WriteString(keys, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
}

// daemon is a command that leaves a child to process 1.
func daemon(dir, name string) string {
	return `sh -c "` + strings.ReplaceAll(running(dir, name), "$", `\$`) + `exec sleep 1000" >/dev/null 2>&1 &`
}

// running is what a command begins with that tells its process.
func running(dir, name string) string {
	path := filepath.Join(dir, name)
	return "echo $$ > " + path + ".new && mv " + path + ".new " + path + "; "
}

// alive reports whether the process runs that a command told.
func alive(dir, name string) bool {
	pid, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return false
	}
	state, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
	return err == nil && !strings.Contains(string(state), ") Z ")
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("it never came that %s", what)
		}
	}
}
