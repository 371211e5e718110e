package ssh

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// TestASweepIsForTheChildrenOfSSHDAlone: a sweep whose connection is lost finds itself adopted, beside all
// that its new parent started. It ends none of that, and nothing in a session that began outside of sshd.
func TestASweepIsForTheChildrenOfSSHDAlone(t *testing.T) {
	const noSessions = "#!/bin/sh\ncase $* in *sid=*) echo 1 2; exit 1;; esac; PATH=${PATH#*:}; exec ps \"$@\"\n"
	for _, parent := range []struct {
		name  string
		sweep bool
		ps    string
	}{
		{"init", false, ""},
		{"sshd", true, ""},
		{"sshd-session", true, ""},
		{"sshd", true, noSessions},
	} {
		t.Run(parent.name, func(t *testing.T) {
			dir := t.TempDir()
			shell := filepath.Join(dir, parent.name) // the name that ps shows
			sh, err := exec.LookPath("sh")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(sh, shell); err != nil {
				t.Fatal(err)
			}
			// The first leads a session and a process group, as what sshd runs does.
			const script = `setsid sleep 1000 & child=$!
sleep 1000 & beside=$!
sh -c "$1"; echo $?
for p in $child $beside; do
	case $(ps -o stat= -p $p) in Z*|"") echo ended ;; *) echo lives; kill $p ;; esac
done`
			cmd := exec.Command(shell, "-c", script, "sh", sweepCommand+" 0")
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if parent.ps != "" {
				if err := os.WriteFile(filepath.Join(dir, "ps"), []byte(parent.ps), 0o700); err != nil {
					t.Fatal(err)
				}
				cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			}
			out, err := cmd.Output()
			want := "1\nlives\nlives\n"
			if parent.sweep {
				want = "seen\n0\nended\nlives\n"
			}
			if got := string(out); got != want {
				t.Errorf("a sweep under %s printed %q (%v), want %q", parent.name, got, err, want)
			}
		})
	}
}
