package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server of Brevet's that runs beside this one.
type process struct {
	cmd  *exec.Cmd
	log  string // file with what it tells of itself
	done chan struct{}
	err  error // how it ended; read only after done
}

// startProcess starts the command. It ends with this process, however that ends.
func startProcess(cmd *exec.Cmd, log string) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	p := &process{cmd: cmd, log: log, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel ties the child to the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	return p, <-started
}

// until waits until the process has told this of itself.
func (p *process) until(ctx context.Context, text string) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		said, err := os.ReadFile(p.log)
		if err != nil {
			return err
		}
		if bytes.Contains(said, []byte(text)) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.done:
			return fmt.Errorf("it ended (%w) with:\n%s", errors.Join(errors.New("too early"), p.err), said)
		}
	}
}

// stop asks the process to end, and waits until it has.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// resident is the memory of the process that is in RAM, in bytes (VmRSS of proc(5)).
func (p *process) resident() (int64, error) {
	text := field(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid), "VmRSS")
	kilobytes, err := strconv.ParseInt(strings.TrimSuffix(text, " kB"), 10, 64)
	return kilobytes << 10, err
}

// cpu is the processor time that the process has used, of users and of the kernel for it (proc(5)).
func (p *process) cpu() (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The second field is the name in parentheses, and may hold anything.
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	var ticks int64
	for _, text := range fields[11:13] {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil // a tick is a hundredth of a second (USER_HZ)
}
