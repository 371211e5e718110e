package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestQuickRun measures a little of everything, so that the measuring does not rot. What the
// figures are is nobody's business on a machine that runs tests.
func TestQuickRun(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "brevet")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/brevet").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var out bytes.Buffer
	if err := run(t.Context(), options{brevet: binary, dir: t.TempDir(), size: quick}, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, title := range []string{"Policy decision", "Certificate signing", "Request to credential", "Start and size", "SSH in bulk", "SSH login", "keystroke", "sessions that do nothing", "Revoke", "Log of"} {
		if !strings.Contains(out.String(), title) {
			t.Errorf("nothing on %q in\n%s", title, out.String())
		}
	}
	if !strings.Contains(out.String(), "goals met") {
		t.Errorf("there is no verdict in\n%s", out.String())
	}
}

func TestUnknownSection(t *testing.T) {
	err := run(t.Context(), options{only: []string{"polcy"}}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), `no section "polcy"; there are policy, signing`) {
		t.Errorf("got %v", err)
	}
}

func TestTimes(t *testing.T) {
	var all times
	for n := range 100 {
		all = append(all, time.Duration(100_000-1000*n))
	}
	if got := all.String(); got != "p50 51µs  p99 100µs" {
		t.Errorf("got %q", got)
	}
	if got := (times{}).String(); got != "p50 0s  p99 0s" {
		t.Errorf("of none: %q", got)
	}
}
