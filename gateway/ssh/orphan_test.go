package ssh

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// TestASweepIsForTheChildrenOfSSHDAlone: a sweep whose connection is lost finds itself adopted, beside all
// that its new parent started. It ends none of that.
func TestASweepIsForTheChildrenOfSSHDAlone(t *testing.T) {
	for _, parent := range []struct {
		name  string
		sweep bool
	}{
		{"init", false},
		{"sshd", true},
		{"sshd-session", true},
	} {
		t.Run(parent.name, func(t *testing.T) {
			shell := filepath.Join(t.TempDir(), parent.name) // the name that ps shows
			sh, err := exec.LookPath("sh")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(sh, shell); err != nil {
				t.Fatal(err)
			}
			// The bystander leads a process group, as what sshd runs does.
			const script = `setsid sleep 1000 & bystander=$!
sh -c "$1"; echo $?
case $(ps -o stat= -p $bystander) in Z*|"") ;; *) echo lives; kill $bystander ;; esac`
			cmd := exec.Command(shell, "-c", script, "sh", sweepCommand)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out, err := cmd.Output()
			want := "1\nlives\n"
			if parent.sweep {
				want = "0\n"
			}
			if got := string(out); got != want {
				t.Errorf("a sweep under %s printed %q (%v), want %q", parent.name, got, err, want)
			}
		})
	}
}
