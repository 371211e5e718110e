package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFileThatIsNoCheckpoint: the wrong file is told from a checkpoint that another log signed.
func TestFileThatIsNoCheckpoint(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	export := filepath.Join(dir, "log.jsonl")
	run(t, "", "audit", "export", "--file", export).want(t, 0)
	checkpoint := string(w.checkpoint())
	for name, tt := range map[string]struct {
		text   string
		status int
		want   string
	}{
		"empty":     {"", statusUsage, "is not a checkpoint of a log"},
		"passwd":    {"root:x:0:0:root:/root:/bin/bash\n", statusUsage, "is not a checkpoint of a log"},
		"an export": {string(must(os.ReadFile(export))(t)), statusUsage, "is not a checkpoint of a log"},
		"unsigned":  {checkpoint[:strings.Index(checkpoint, "\n\n")+1], statusUsage, "is not a checkpoint of a log"},
		"longer":    {strings.Replace(checkpoint, "\n4\n", "\n4\n\n", 1), statusUsage, "is not a checkpoint of a log"},
		"forged":    {strings.Replace(checkpoint, "\n4\n", "\n5\n", 1), statusRefused, "is not signed by"},
		"good":      {checkpoint, 0, "goes on from the checkpoint of 4 events"},
	} {
		file := filepath.Join(dir, "checkpoint")
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			run(t, "", "audit", "verify", "--checkpoint", file).want(t, tt.status, tt.want)
			run(t, "", "audit", "verify", "--file", export, "--root", string(w.root), "--checkpoint", file).want(t, tt.status, tt.want)
		})
	}
}

// TestExportThatIsNotWhole: an export of a part is the wrong file; one that lacks something, in the
// middle or of its last line, does not hold.
func TestExportThatIsNotWhole(t *testing.T) {
	w := newWorld(t)
	export := filepath.Join(t.TempDir(), "log.jsonl")
	run(t, "", "audit", "export", "--file", export).want(t, 0)
	whole := string(must(os.ReadFile(export))(t))
	lines := strings.SplitAfter(strings.TrimSuffix(whole, "\n"), "\n")
	for name, tt := range map[string]struct {
		text   string
		status int
		want   string
	}{
		"from the third on":       {strings.Join(lines[2:], ""), statusUsage, "this export begins at event 2, and can be verified from the first on only"},
		"a line gone":             {lines[0] + strings.Join(lines[2:], ""), statusRefused, "event 1: it is missing"},
		"the last line gone":      {strings.Join(lines[:len(lines)-1], ""), statusRefused, "there is no checkpoint at the end"},
		"the last line truncated": {whole[:len(whole)-20], statusRefused, "the export is cut or was changed: line 5 is not of an export"},
		"not an export":           {"root:x:0:0\n", statusUsage, "line 1 is not of an export of the log"},
		"whole":                   {whole, 0, "4 events"},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, tt.text, "audit", "verify", "--file", "-", "--root", string(w.root))
			got.want(t, tt.status, tt.want)
			if tt.status == statusUsage && strings.Contains(got.err, "evidence") {
				t.Errorf("the wrong file is said to be evidence: %s", got.err)
			}
		})
	}
}
