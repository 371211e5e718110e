// Package testenv starts the real programs that Brevet is tested against: a
// stock sshd, a PostgreSQL, and a stock ssh client with its agent, each on
// loopback, in a folder of its own, and ended with whoever started it.
//
// Nothing here imitates anything. A program that is missing fails the test
// and names the command that installs it. Everything works as root and as an
// ordinary account. The Start functions need no test, so the demo uses them
// too; the functions that take a TB are the same for tests.
package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/brevet-pim/brevet"
)

// TB is the part of testing.TB that this package needs. A testscript can
// satisfy it too.
type TB interface {
	Helper()
	Cleanup(func())
	Failed() bool
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}

// Program returns the path of a program that scripts/deps provides: from the
// search path, from where Debian keeps servers, or, where nobody may install
// packages, from the tree that scripts/deps unpacked in the cache folder.
func Program(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, root := range []string{"/", unpacked()} {
		for _, pattern := range []string{"usr/sbin", "usr/bin", "usr/lib/postgresql/*/bin", "usr/lib/openssh"} {
			found, err := filepath.Glob(filepath.Join(root, pattern, name))
			if err == nil && len(found) > 0 {
				return slices.MaxFunc(found, byVersion), nil
			}
		}
	}
	return "", missing(name)
}

// SecurityKeyProvider returns the path of OpenSSH's own software stand-in for
// a FIDO authenticator (sk-dummy.so), for SSH_SK_PROVIDER. It touches itself,
// so it tests formats and flags, not presence.
func SecurityKeyProvider() (string, error) {
	for _, root := range []string{"/", unpacked()} {
		found, err := filepath.Glob(filepath.Join(root, "usr/lib/openssh/regress/misc/sk-dummy/sk-dummy.so"))
		if err == nil && len(found) > 0 {
			return found[0], nil
		}
	}
	return "", missing("sk-dummy.so")
}

// missing is the error for a program that is not there.
func missing(name string) error {
	return brevet.Errorf(brevet.Unavailable, "%s is not installed", name).WithHint("make deps installs it")
}

// unpacked returns the tree into which scripts/deps unpacks packages that it
// may not install. It need not exist.
func unpacked() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return filepath.Join(os.TempDir(), "brevet", "debian")
	}
	return filepath.Join(cache, "brevet", "debian")
}

// byVersion orders paths that differ in a version folder, 9 before 15.
func byVersion(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	if a < b {
		return -1
	}
	return 1
}

// libraries returns what the environment of the program at path must have
// besides: nothing, or, for an unpacked program, where the libraries lie that
// were unpacked with it.
func libraries(path string) []string {
	inTree, err := filepath.Rel(unpacked(), path)
	if err != nil || !filepath.IsLocal(inTree) {
		return nil
	}
	var dirs []string
	for _, pattern := range []string{"usr/lib/*-linux-gnu*", "lib/*-linux-gnu*"} {
		found, err := filepath.Glob(filepath.Join(unpacked(), pattern))
		if err == nil {
			dirs = append(dirs, found...)
		}
	}
	return []string{"LD_LIBRARY_PATH=" + strings.Join(dirs, string(os.PathListSeparator))}
}

// command is exec.Command for a path that Program returned.
func command(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.Env = append(cmd.Environ(), libraries(path)...)
	return cmd
}
