package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDemo plays the demo twice in one folder, as make demo does on one machine.
func TestDemo(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "brevet")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/brevet-pim/brevet/cmd/brevet").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	dir, err := os.MkdirTemp("", "brevet-demo-") // not t.TempDir: sshd reads there as the login
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	data := filepath.Join(dir, "data")
	for range 2 {
		var out bytes.Buffer
		if err := run(t.Context(), &out, options{binary: binary, data: data}); err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
		for _, want := range []string{"you hold no grant", "alice: brevet approve", "sees it live", "drill", "sealed, complete", "true", "Done in"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("the demo does not show %q:\n%s", want, out.String())
			}
		}
	}
}

func TestFoldersOfOthersAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "letter")
	if err := os.WriteFile(file, []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := claim(dir); err == nil {
		t.Error("a folder that no demo made was claimed")
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	mine, err := claim(filepath.Join(dir, "demo"))
	if err != nil {
		t.Fatal(err)
	}
	defer mine.release()
	if _, err := claim(mine.path); err == nil {
		t.Error("two demos share a folder")
	}
}
