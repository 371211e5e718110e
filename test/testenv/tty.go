package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"

	"github.com/creack/pty"

	"github.com/brevet-pim/brevet"
)

// CanGiveTerminals says why an sshd of this account cannot give its sessions a terminal, or returns nil.
// sshd gives each to the group "tty", which without root it cannot do unless /dev/pts does it already
// (mount option gid=5, as Debian has it; some containers lack it) or the sshd may have a group "tty" of
// its own, in namespaces of its own, which some systems forbid.
func CanGiveTerminals() error {
	strange, err := strangeTTY()
	if err != nil || !strange {
		return err
	}
	dir, err := os.MkdirTemp("", "brevet-tty-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	try, err := withOwnTTY(exec.Command("true"), dir)
	if err == nil {
		err = try.Run()
	}
	if err != nil {
		return brevet.Errorf(brevet.Unavailable, "an sshd without root cannot give terminals here: /dev/pts is not mounted with the gid of the group tty").
			Because(err).WithHint("run as root, mount devpts with gid=5, or permit user namespaces")
	}
	return nil
}

// strangeTTY reports whether terminals that this account opens are of another group than "tty", which
// it cannot change.
func strangeTTY() (bool, error) {
	if os.Geteuid() == 0 {
		return false, nil
	}
	group, err := user.LookupGroup("tty")
	if err != nil { // then sshd leaves the terminal as it is
		return false, nil
	}
	master, terminal, err := pty.Open()
	if err != nil {
		return false, err
	}
	defer master.Close()
	defer terminal.Close()
	info, err := terminal.Stat()
	if err != nil {
		return false, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && strconv.Itoa(int(stat.Gid)) != group.Gid, nil
}

// ttyLine is that of the group in group(5), up to and after its id.
var ttyLine = regexp.MustCompile(`(?m)^(tty:[^:]*:)[0-9]+(:.*)$`)

// ownTTY has a program see another file in place of /etc/group, and no privilege from that.
const ownTTY = `mount --bind -- "$1" /etc/group && shift && exec setpriv --inh-caps=-all --ambient-caps=-all -- "$@"`

// withOwnTTY returns the command so that it runs in user and mount namespaces of its own, as the same
// account, and takes this account's group for "tty". dir is where the file lies that says so.
func withOwnTTY(cmd *exec.Cmd, dir string) (*exec.Cmd, error) {
	groups, err := os.ReadFile("/etc/group")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "group")
	if err := os.WriteFile(path, ttyLine.ReplaceAll(groups, fmt.Appendf(nil, "${1}%d${2}", os.Getegid())), 0o644); err != nil {
		return nil, err
	}
	wrapped := exec.Command("unshare", append([]string{"--user", "--map-current-user", "--keep-caps", "--mount", "--", "sh", "-c", ownTTY, "sh", path, cmd.Path}, cmd.Args[1:]...)...)
	wrapped.Env = cmd.Env
	return wrapped, nil
}
