package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// patience is how long a program may take to become ready, on a machine whose
// two cores others use as well.
const patience = time.Minute

// grace is how long a program may take to end after it was asked to, before it
// is killed.
const grace = 10 * time.Second

// process is a program that this one started and ends.
type process struct {
	cmd  *exec.Cmd
	log  string        // the file that holds its output
	done chan struct{} // closed once it has ended
	err  error         // how it ended; read only after done
}

// start runs cmd with its output in the file log. The process ends with this
// one, however this one ends: nothing that a killed test started stays behind.
func start(cmd *exec.Cmd, log string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true // Ctrl-C is ours to pass on
	endWithParent(cmd.SysProcAttr)

	p := &process{cmd: cmd, log: log, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel ties the child to the thread that started it, so that
		// thread must live until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// ready calls probe until it returns nil. It fails as soon as the process or
// ctx ends, and once patience is at an end.
func (p *process) ready(ctx context.Context, probe func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before it was ready: %v\n%s", p.cmd.Path, p.err, p.output())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", p.cmd.Path, errors.Join(ctx.Err(), err), p.output())
		case <-tick.C:
		}
	}
}

// stop asks the process to end, kills it if it does not, and then whatever it
// had started and left behind.
func (p *process) stop(ask syscall.Signal) {
	select {
	case <-p.done: // its id may belong to another by now
		return
	default:
	}
	left := descendants(p.cmd.Process.Pid)
	// Ending it may fail only because it has ended.
	_ = p.cmd.Process.Signal(ask)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	for _, d := range left {
		d.kill()
	}
}

// output returns what the process has printed so far.
func (p *process) output() string {
	out, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// folder makes a new folder that other accounts can pass through, as servers
// that change their account need. What is secret in it has modes of its own.
func folder(name string) (string, error) {
	dir, err := os.MkdirTemp("", "brevet-"+name+"-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// removeFolder removes what folder made.
func removeFolder(t TB, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Logf("remove %s: %v", dir, err)
	}
}

// account is who a server runs as when it will not run as root.
type account struct {
	uid, gid int
	home     string
}

// lookup returns the account called name.
func lookup(name string) (account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return account{}, fmt.Errorf("account %s: %w", name, err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return account{}, fmt.Errorf("account %s: %w", name, err)
	}
	return account{uid: uid, gid: gid, home: u.HomeDir}, nil
}

// run makes cmd run as a.
func (a account) run(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}}
	cmd.Env = append(cmd.Environ(), "HOME="+a.home)
}
