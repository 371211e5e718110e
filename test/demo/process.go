package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// person is somebody at a machine of their own: a home, an SSH key in it, and Brevet's folder.
type person struct {
	name   string
	home   string
	binary string
}

// key is the person's private key, as ssh-keygen made it.
func (p person) key() string { return p.home + "/.ssh/id_ed25519" }

// environment is what the person's programs see: nothing of the account that runs the demo.
func (p person) environment() []string {
	return []string{
		"HOME=" + p.home, "BREVET_HOME=" + p.home, "PATH=" + os.Getenv("PATH"),
		"LANG=C.UTF-8", "TERM=xterm", "USER=" + p.name, "SHELL=/bin/sh",
	}
}

func (p person) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = p.home, p.environment()
	return cmd
}

// brevet runs a command to its end and returns what it prints as its result.
func (p person) brevet(ctx context.Context, args ...string) (string, error) {
	out, _, err := p.both(ctx, args...)
	return out, err
}

// both also returns what the command prints besides.
func (p person) both(ctx context.Context, args ...string) (out, besides string, err error) {
	cmd := p.command(ctx, p.binary, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", "", fmt.Errorf("%s: brevet %s: %w\n%s%s", p.name, strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), stderr.String(), nil
}

// background is a command that goes on, with all that it prints.
type background struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // read only after done

	mu  sync.Mutex // guards out
	out bytes.Buffer
}

// start runs the command beside the scene. It ends with the demo, however that ends.
func start(cmd *exec.Cmd) (*background, error) {
	b := &background{cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = b, b
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	go func() {
		// The kernel ties the child to the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			b.err = cmd.Wait()
			close(b.done)
		}
	}()
	return b, <-started
}

func (b *background) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.Write(p)
}

func (b *background) output() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.String()
}

// until waits until the command has printed text.
func (b *background) until(ctx context.Context, text string) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(b.output(), text) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waited for %q: %w; there is:\n%s", text, ctx.Err(), b.output())
		case <-b.done:
			if strings.Contains(b.output(), text) {
				return nil
			}
			return fmt.Errorf("waited for %q, but the command ended (%v) with:\n%s", text, b.err, b.output())
		}
	}
	return nil
}

// wait waits until the command has ended, and returns how.
func (b *background) wait(ctx context.Context) error {
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return fmt.Errorf("%s still runs: %w; there is:\n%s", b.cmd.Path, ctx.Err(), b.output())
	}
}

// stop asks the command to end, and makes it.
func (b *background) stop() {
	select {
	case <-b.done:
		return
	default:
	}
	_ = b.cmd.Process.Signal(syscall.SIGTERM) // it may have ended just now
	select {
	case <-b.done:
	case <-time.After(15 * time.Second):
		_ = b.cmd.Process.Kill()
		<-b.done
	}
}
