package script_test

import (
	"context"
	"os/exec"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/brevet-pim/brevet/test/testenv"
)

// openTerminal has a person begin something on a terminal of theirs: terminal NAME COMMAND ....
// ssh gets the configuration that brevet ssh-config wrote in their home, where the stock client, which
// looks in the account's, would not find it.
func openTerminal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: terminal NAME COMMAND ...")
	}
	become(ts, args[0])
	dir, name, arguments := home(ts, args[0]), args[1], args[2:]
	if name == "ssh" {
		arguments = append([]string{"-F", filepath.Join(dir, ".ssh", "config")}, arguments...)
	}
	path, err := exec.LookPath(program(name))
	ts.Check(err)
	cmd := exec.Command(path, arguments...)
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "BREVET_HOME=" + ts.Getenv("BREVET_HOME"), "PATH=" + ts.Getenv("PATH"), "LANG=C.UTF-8", "TERM=xterm", "SHELL=/bin/sh",
		"SSH_SK_PROVIDER=" + ts.Getenv("SSH_SK_PROVIDER")}
	t, err := testenv.StartTerminal(cmd)
	ts.Check(err)
	w := worldOf(ts)
	if old := w.terminals[args[0]]; old != nil {
		_ = old.Close() // it has ended, or is given up
	}
	w.terminals[args[0]] = t
}

func terminalOf(ts *testscript.TestScript, name string) *testenv.Terminal {
	t := worldOf(ts).terminals[name]
	if t == nil {
		ts.Fatalf("%s sits at no terminal", name)
	}
	return t
}

// expect waits for what a terminal shows: expect NAME REGEXP [VARIABLE], which then is what the group matched.
func expect(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: expect NAME REGEXP [VARIABLE]")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := terminalOf(ts, args[0]).ExpectMatch(ctx, pattern(ts, args[1]))
	ts.Check(err)
	if len(args) == 3 {
		ts.Setenv(args[2], m.Groups[1])
	}
}

// typeText types a line: type NAME TEXT.
func typeText(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: type NAME TEXT")
	}
	ts.Check(terminalOf(ts, args[0]).Type(args[1] + "\n"))
}

// ends waits until the program at a terminal has ended, with success or (!) without.
func ends(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] ends NAME")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := terminalOf(ts, args[0]).Wait(ctx)
	if ctx.Err() != nil || (err != nil) != neg {
		ts.Fatalf("the program at %s's terminal ended with %v; it shows:\n%s", args[0], err, terminalOf(ts, args[0]).Screen())
	}
}
