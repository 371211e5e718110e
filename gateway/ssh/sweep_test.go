package ssh_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/brevet-pim/brevet/test/gatewaytest"
)

// TestNothingIsLeftAtTheTarget: a command that neither prints nor listens, nor takes SIGTERM or, on a
// terminal, SIGHUP, has ended at the target soon after its grant has. Under root sshd passes on no signal.
func TestNothingIsLeftAtTheTarget(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	id := w.Plane.Grant("bob", "web-root", time.Hour)
	dir, err := os.MkdirTemp("", "brevet-sweep-") // the login writes there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	commands := map[string]string{
		"deaf":     `trap "" TERM; ` + running(dir, "deaf") + `sleep 1000; true`,
		"quiet":    running(dir, "quiet") + `exec sleep 1000`,
		"terminal": `trap "" TERM HUP; ` + running(dir, "terminal") + `sleep 1000; true`,
	}
	for name, command := range commands {
		s, err := connect(t, w).NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if name == "terminal" {
			if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Start(command); err != nil {
			t.Fatal(err)
		}
	}
	all := func(is bool) bool {
		for name := range commands {
			if alive(dir, name) != is {
				return false
			}
		}
		return true
	}
	eventually(t, "all run", func() bool { return all(true) })
	w.Gateway.EndGrant(limited(t), id, "drill")
	eventually(t, "all have ended", func() bool { return all(false) })
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
