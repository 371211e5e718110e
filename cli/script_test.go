package cli

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/brevet-pim/brevet/proof/prooftest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"brevet": func() { os.Exit(Run(New("v0.0.0-test"))) },
	})
}

// TestScripts runs the stories that need no server. Those with one stand in test/script.
func TestScripts(t *testing.T) {
	file, root := exportedGrant(t, time.Now())
	oldFile, oldRoot := exportedGrant(t, time.Date(2024, 2, 29, 23, 50, 0, 0, time.UTC))
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"status": status},
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", "atexit_sleep_ms=0") // see test/script
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("PROOF", file)
			e.Setenv("ROOT", root)
			e.Setenv("OLD_PROOF", oldFile)
			e.Setenv("OLD_ROOT", oldRoot)
			e.Setenv("SSH_AUTH_SOCK", "")
			e.Setenv("ESC", "\x1b")
			return nil
		},
	})
}

// status N COMMAND... runs a command that must end with the exit status N.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("ended with %d, want %d", got, want)
	}
}

// exportedGrant returns a file with the proof of a grant as an issuer gives it, and its root.
func exportedGrant(t *testing.T, start time.Time) (file, root string) {
	t.Helper()
	org := prooftest.New(t, prooftest.Options{Start: start})
	request := org.Ask("bob", "web-root", nil)
	approval := org.Approve("alice", request, 0, nil)
	bundle := org.Give(prooftest.Evidence(request, approval), nil, nil, nil)
	file = t.TempDir() + "/grant.brevet"
	if err := os.WriteFile(file, must(bundle.Marshal())(t), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, string(org.Root)
}
