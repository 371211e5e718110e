package ssh_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/brevet-pim/brevet/test/gatewaytest"
)

// TestNothingIsLeftAtTheTarget: a command without a terminal, that neither prints nor listens, nor takes
// SIGTERM, has ended at the target soon after its grant has. Under root sshd passes on no signal.
func TestNothingIsLeftAtTheTarget(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	id := w.Plane.Grant("bob", "web-root", time.Hour)
	dir, err := os.MkdirTemp("", "brevet-sweep-") // the login writes there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, command := range []string{`trap "" TERM; ` + running(dir, "deaf") + `sleep 1000; true`, running(dir, "quiet") + `exec sleep 1000`} {
		s, err := connect(t, w).NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(command); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "both run", func() bool { return alive(dir, "deaf") && alive(dir, "quiet") })
	w.Gateway.EndGrant(limited(t), id, "drill")
	eventually(t, "both have ended", func() bool { return !alive(dir, "deaf") && !alive(dir, "quiet") })
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
