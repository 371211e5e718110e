package ssh_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/test/gatewaytest"
	"github.com/brevet-pim/brevet/test/testenv"
)

// result is what became of a stock client.
type result struct {
	stdout, stderr string
	status         int
}

// ssh runs the stock client against the gateway.
func ssh(t *testing.T, w *gatewaytest.World, stdin []byte, args ...string) result {
	t.Helper()
	return run(t, w, "ssh", stdin, append([]string{"-F", w.Client.Dir + "/config"}, args...)...)
}

func run(t *testing.T, w *gatewaytest.World, program string, stdin []byte, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := w.Client.Program(ctx, program, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Errorf("%s: %v", program, err)
		return result{status: -1}
	}
	return result{out.String(), errs.String(), exitStatus(err)}
}

// exitStatus is that of a program which ended with err; -1: by a signal.
func exitStatus(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return 0
}

// ended waits until n sessions are over, and returns the last.
func ended(t *testing.T, w *gatewaytest.World, n int) brevet.Session {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	list, err := w.Plane.Ended(ctx, n)
	if err != nil {
		t.Fatalf("%d sessions ended, want %d: %v", len(list), n, err)
	}
	return list[n-1]
}

// played returns what was recorded of the streams of a session, by kind.
func played(t *testing.T, w *gatewaytest.World, s brevet.Session) map[record.Kind]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := w.Spool.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	r, err := w.Store.Open(s.ID)
	if err != nil {
		t.Fatal(err)
	}
	got := map[record.Kind]string{}
	for e, err := range record.Open(r, s.ID, record.Known{}, w.Opens).Events() { // fails unless it is whole
		if err != nil {
			t.Fatal(err)
		}
		got[e.Kind] += string(e.Data)
	}
	return got
}

func TestExec(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	tests := []struct {
		name, command, stdin string
		want                 result
	}{
		{name: "output", command: "echo hello", want: result{stdout: "hello\n"}},
		{name: "status", command: "exit 42", want: result{status: 42}},
		{name: "both streams", command: "echo out; echo err >&2; exit 3", want: result{"out\n", "err\n", 3}},
		{name: "input", command: "tr a-z A-Z", stdin: "shout\n", want: result{stdout: "SHOUT\n"}},
		{name: "no output", command: "true"},
		{name: "signal", command: "kill -TERM $$", want: result{status: 255}},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ssh(t, w, []byte(tt.stdin), "gw", tt.command)
			got.stderr = withoutBanner(got.stderr)
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			s := ended(t, w, i+1)
			if s.Command != tt.command || s.Kind != "exec" || s.Person != "bob" || s.Login != w.Login || s.Target != "web1" || !s.Recording.Complete {
				t.Errorf("the session was reported as %+v", s)
			}
			rec := played(t, w, s)
			if rec[record.KindStdout] != tt.want.stdout || rec[record.KindStderr] != tt.want.stderr || rec[record.KindStdin] != tt.stdin || rec[record.KindCommand] != tt.command {
				t.Errorf("recorded %q", rec)
			}
		})
	}
}

func withoutBanner(s string) string {
	var kept strings.Builder
	for line := range strings.Lines(s) {
		if !strings.HasPrefix(line, "Brevet: this session is recorded") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

func TestBulkBothWays(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	data := make([]byte, 24<<20)
	rand.Read(data)
	got := ssh(t, w, data, "gw", "tee /dev/stderr")
	if got.stdout != string(data) {
		t.Errorf("%d bytes came back on stdout, of %d, or others", len(got.stdout), len(data))
	}
	if !strings.HasSuffix(got.stderr, string(data)) {
		t.Errorf("%d bytes came back on stderr, of %d, or others", len(got.stderr), len(data))
	}
	rec := played(t, w, ended(t, w, 1))
	for _, k := range []record.Kind{record.KindStdin, record.KindStdout, record.KindStderr} {
		if sha256.Sum256([]byte(rec[k])) != sha256.Sum256(data) {
			t.Errorf("%v was recorded otherwise: %d bytes of %d", k, len(rec[k]), len(data))
		}
	}
}

func TestCopying(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	dir, err := os.MkdirTemp("", "brevet-copy-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	data := make([]byte, 3<<20)
	rand.Read(data)
	local := w.Client.Dir + "/local"
	if err := os.WriteFile(local, data, 0o600); err != nil {
		t.Fatal(err)
	}
	config := w.Client.Dir + "/config"
	rsync, err := testenv.Program("rsync")
	if err != nil {
		t.Fatal(err)
	}
	git := "git init -q " + dir + "/repo && cd " + dir + "/repo && git -c user.name=b -c user.email=b@x commit -q --allow-empty -m first"
	programs := []struct {
		name, program string
		args          []string
	}{
		{"scp up", "scp", []string{"-O", "-F", config, local, "gw:" + dir + "/up"}},
		{"scp down", "scp", []string{"-O", "-F", config, "gw:" + dir + "/up", w.Client.Dir + "/down"}},
		{"rsync up", "rsync", []string{"--rsync-path", rsync, "-e", "ssh -F " + config, local, "gw:" + dir + "/synced"}},
		{"git init", "ssh", []string{"-F", config, "gw", git}},
		{"git clone", "git", []string{"-c", "core.sshCommand=ssh -F " + config, "clone", "-q", "gw:" + dir + "/repo", w.Client.Dir + "/repo"}},
	}
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			if got := run(t, w, p.program, nil, p.args...); got.status != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
	down, err := os.ReadFile(w.Client.Dir + "/down")
	if err != nil || !bytes.Equal(down, data) {
		t.Errorf("another file came back: %d bytes, %v", len(down), err)
	}
	synced, err := os.ReadFile(dir + "/synced")
	if err != nil || !bytes.Equal(synced, data) {
		t.Errorf("rsync left another file: %d bytes, %v", len(synced), err)
	}
	if rec := played(t, w, ended(t, w, 1)); !strings.Contains(rec[record.KindStdin], string(data)) {
		t.Error("what was copied to the target is not in the recording")
	}
}
