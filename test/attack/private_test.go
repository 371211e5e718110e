package attack_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet/test/testenv"
)

// private fails the test if anybody but the owner may touch what is below the folder, but for one folder
// that has nothing secret.
func private(t *testing.T, dir, open string) {
	t.Helper()
	files := 0
	must(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		files++
		if entry.Name() == open {
			return fs.SkipDir
		}
		if info.Mode()&fs.ModeSocket == 0 && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is %s", path, info.Mode())
		}
		return nil
	}))
	if files < 4 {
		t.Errorf("there are only %d files in %s", files, dir)
	}
}

// TestSecretsAreTheirOwnersAlone (B52): whatever the umask, what a person's and the server's folders hold is
// for their owner; a folder that others can write to and a link in the place of a file are not used.
func TestSecretsAreTheirOwnersAlone(t *testing.T) {
	w := found(t)
	w.join("bob")
	bobs := filepath.Join(w.home("bob"), "brevet")
	must(t, os.RemoveAll(filepath.Join(bobs, "token")))
	w.run("bob", "", "sh", "-c", "umask 0; brevet login && brevet roles && brevet ssh-config --install").ok(t)
	private(t, bobs, "")
	private(t, w.data(), "catalog")

	must(t, os.Chmod(bobs, 0o777))
	if got := w.as("bob", "roles"); got.status == 0 {
		if info, err := os.Stat(bobs); err != nil || info.Mode().Perm()&0o022 != 0 {
			t.Errorf("a folder that everybody writes to is used as it is: %+v", got)
		}
	}
	must(t, os.Chmod(bobs, 0o700))
	token, elsewhere := filepath.Join(bobs, "token"), filepath.Join(t.TempDir(), "elsewhere")
	must(t, os.WriteFile(elsewhere, []byte("precious"), 0o600))
	must(t, os.Remove(token))
	must(t, os.Symlink(elsewhere, token))
	w.as("bob", "login")
	if kept, err := os.ReadFile(elsewhere); err != nil || string(kept) != "precious" {
		t.Errorf("what a link pointed to is %q, %v", kept, err)
	}
	must(t, os.Remove(token))
	must(t, os.WriteFile(token, []byte("brevet_t_x"), 0o644))
	w.as("bob", "login").ok(t)
	private(t, bobs, "")
}

// TestTokenGoesToItsServerAlone (B52): another server, at whatever address the profile says, is shown nothing.
func TestTokenGoesToItsServerAlone(t *testing.T) {
	w, other := found(t), found(t)
	w.join("bob")
	profile := filepath.Join(w.home("bob"), "brevet", "profile.yaml")
	text, err := os.ReadFile(profile)
	must(t, err)
	must(t, os.WriteFile(profile, []byte(strings.ReplaceAll(string(text), w.api, other.api)), 0o600))
	for _, args := range [][]string{{"roles"}, {"login"}, {"whoami"}, {"request", "web-root", "web1", "--for", "5m", "--reason", "x"}} {
		if got := w.as("bob", args...); got.status == 0 || !strings.Contains(got.err, "not the server it should be") {
			t.Errorf("%v: %+v", args, got)
		}
	}
	for _, kind := range []string{"signin", "signin.refused", "request"} {
		if strings.Contains(other.events(kind), `"bob"`) {
			t.Errorf("the other server has heard of bob: %s", other.events(kind))
		}
	}
}

// TestCompletionRunsNothing (B52): what bash completes from the words of others is not run by it.
func TestCompletionRunsNothing(t *testing.T) {
	w := found(t)
	w.join("bob")
	mark := filepath.Join(w.home("alice"), "mark")
	id := w.ask("bob", "web-root", "web1", "--for", "5m", "--reason", "$(touch "+mark+") `touch "+mark+"` ; touch "+mark+" 'x\"")
	bash, err := testenv.Program("bash")
	must(t, err)
	script := `set -e
_get_comp_words_by_ref() { words=("${COMP_WORDS[@]}") cword=2 cur= prev=approve; } # of bash-completion
__ltrim_colon_completions() { :; }
brevet completion bash > completion
. ./completion
COMP_WORDS=(brevet approve "") COMP_CWORD=2 COMP_LINE="brevet approve " COMP_POINT=15 COMP_TYPE=63
__start_brevet brevet || true
printf '%s\n' "${COMPREPLY[@]}"
`
	got := w.run("alice", "", bash, "-c", script).ok(t)
	if !strings.Contains(got.out, id[len(id)-4:]) {
		t.Errorf("nothing is completed, so this shows nothing: %+v", got)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the reason was run")
	}
}
