package ssh_test

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/test/gatewaytest"
	"github.com/brevet-pim/brevet/test/testenv"
)

// terminal is a person at a stock ssh client.
type terminal struct {
	*testing.T
	*testenv.Terminal
	ctx context.Context
}

// open runs ssh on a terminal of its own.
func open(t *testing.T, w *gatewaytest.World, args ...string) *terminal {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	term, err := w.Client.Terminal(ctx, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { term.Close() })
	return &terminal{T: t, Terminal: term, ctx: ctx}
}

// sees waits until text is printed and returns what came before, and it.
func (t *terminal) sees(text string) string {
	t.Helper()
	got, err := t.Expect(t.ctx, text)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// types types a line.
func (t *terminal) types(line string) {
	t.Helper()
	if err := t.Type(line + "\n"); err != nil {
		t.Fatal(err)
	}
}

// ends waits for the end of ssh and returns its exit status.
func (t *terminal) ends() int {
	t.Helper()
	err := t.Terminal.Wait(t.ctx)
	if t.ctx.Err() != nil {
		t.Fatal(err)
	}
	return exitStatus(err)
}

func TestShell(t *testing.T) {
	if err := testenv.CanGiveTerminals(); err != nil {
		t.Fatal(err)
	}
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	term := open(t, w, "gw")
	term.sees("this session is recorded")
	term.types("PS1='ready'; stty -echo; printf '%s-%s\\n' tty $(tty | cut -c1-8)")
	term.sees("tty-/dev/pts")
	term.types("stty size")
	term.sees("24 80")
	if err := term.Resize(50, 132); err != nil {
		t.Fatal(err)
	}
	term.types("while [ \"$(stty size)\" != '50 132' ]; do :; done; echo resized")
	term.sees("resized\r\n")
	term.types("read secret; echo length ${#secret}")
	term.types("hunter2-hidden")
	term.sees("length 14")
	term.types(`sh -c 'trap "echo int""errupted; exit" INT; echo tr""apped; while :; do read line; done'`)
	term.sees("trapped")
	if err := term.Type("\x03"); err != nil {
		t.Fatal(err)
	}
	term.sees("interrupted")
	term.types("exit 7")
	if status := term.ends(); status != 7 {
		t.Errorf("ssh ended with %d, want 7", status)
	}
	s := ended(t, w, 1)
	if s.Kind != "shell" || s.Command != "" || !s.Recording.Complete || s.EndReason != "exit 7" {
		t.Errorf("the session was reported as %+v", s)
	}
	rec := played(t, w, s)
	if !strings.Contains(rec[record.KindStdout], "resized") || rec[record.KindResize] == "" {
		t.Errorf("output or resizing is not in the recording: %q", rec)
	}
	for kind, data := range rec {
		if strings.Contains(data, "hunter2-hidden") {
			t.Errorf("what was typed without echo is in the recording, as %v", kind)
		}
	}
}

func TestRoleWithoutTerminalGivesNone(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{Role: func(r *brevet.Role) { r.SSH.Permit = nil }})
	w.Plane.Grant("bob", "web-root", time.Hour)
	got := ssh(t, w, nil, "-tt", "gw", "true")
	if got.status != 255 || !strings.Contains(got.stderr, "role web-root gives no terminal. Connect without one: ssh -T") {
		t.Errorf("got %+v, want a sentence", got)
	}
	refusal(t, w, "pty-req")
	got = ssh(t, w, []byte("echo from the shell\n"), "-T", "gw")
	if got.stdout != "from the shell\n" {
		t.Errorf("got %+v, want a shell without a terminal", got)
	}
	if rec := played(t, w, ended(t, w, 1)); rec[record.KindStdin] != "echo from the shell\n" {
		t.Errorf("without a terminal the input is %q in the recording", rec[record.KindStdin])
	}
}

// A target that gives no terminal must not be a way to send what is not recorded.
func TestInputIsRecordedWhenTheTargetGivesNoTerminal(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{SSHD: testenv.SSHDOptions{Extra: []string{"PermitTTY no"}}})
	w.Plane.Grant("bob", "web-root", time.Hour)
	got := ssh(t, w, []byte("echo by the way\n"), "-tt", "gw", "sh")
	if !strings.Contains(got.stdout, "by the way") {
		t.Fatalf("%+v", got)
	}
	if rec := played(t, w, ended(t, w, 1)); !strings.Contains(rec[record.KindStdin], "echo by the way\n") {
		t.Errorf("the input is %q in the recording", rec[record.KindStdin])
	}
}

func TestEnvironmentPassesByList(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{
		Role: func(r *brevet.Role) { r.SSH.Environment = []string{"LC_*", "BREVET_TEST", "LD_*", "BASH_ENV"} },
		SSHD: testenv.SSHDOptions{Extra: []string{"AcceptEnv *"}},
	})
	w.Plane.Grant("bob", "web-root", time.Hour)
	got := ssh(t, w, nil,
		"-o", "SetEnv=LC_NAME=one BREVET_TEST=two OTHER=three LD_PRELOAD=/evil.so BASH_ENV=/evil", "gw", "env")
	for _, want := range []string{"LC_NAME=one", "BREVET_TEST=two"} {
		if !strings.Contains(got.stdout, want+"\n") {
			t.Errorf("%s did not reach the target:\n%s", want, got.stdout)
		}
	}
	if bad := regexp.MustCompile(`(?m)^(OTHER|LD_PRELOAD|BASH_ENV)=.*`).FindString(got.stdout); bad != "" {
		t.Errorf("%s reached the target", bad)
	}
	if rec := played(t, w, ended(t, w, 1)); !strings.Contains(rec[record.KindEnv], "BREVET_TEST=two") {
		t.Errorf("the recording has the variables %q", rec[record.KindEnv])
	}
}
