package crash_test

import (
	"bufio"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// binary builds brevet with its fault points, once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "brevet-crash-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "brevet")
	cmd := exec.Command("go", "build", "-tags", "fault", "-o", path, "../../cmd/brevet")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.Join(err, errors.New(string(out)))
	}
	return path, nil
})

// livesAtOnce is how many lives run at a time: most of each is waiting, so more than there are processors.
const livesAtOnce = "10"

func TestMain(m *testing.M) {
	flag.Parse()
	code := 2
	if err := flag.Set("test.parallel", livesAtOnce); err == nil {
		code = m.Run()
	}
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path)) // what cannot be removed lies in the folder for such things
	}
	os.Exit(code)
}

// process is a brevet that runs beside the test.
type process struct {
	cmd   *exec.Cmd
	ready chan struct{} // closed once it has said so
	done  chan struct{} // closed once it has ended
	err   error         // how it ended; read only after done

	mu   sync.Mutex // guards said
	said strings.Builder
}

// start runs brevet with a fault, or none.
func start(t testing.TB, fault string, env []string, args ...string) *process {
	t.Helper()
	path, err := binary()
	must(t, err)
	p := &process{cmd: exec.Command(path, args...), ready: make(chan struct{}), done: make(chan struct{})}
	p.cmd.Env = append([]string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "BREVET_FAULT=" + fault}, env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := p.cmd.StderrPipe()
	must(t, err)
	must(t, p.cmd.Start())
	go func() {
		p.listen(out)
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() { p.end(syscall.SIGKILL) })
	return p
}

// listen keeps what the process says until it ends.
func (p *process) listen(out io.Reader) {
	lines := bufio.NewScanner(out)
	for ready := false; lines.Scan(); {
		p.mu.Lock()
		p.said.WriteString(lines.Text() + "\n")
		p.mu.Unlock()
		if !ready && strings.Contains(lines.Text(), "msg=ready") {
			ready = true
			close(p.ready)
		}
	}
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

// end ends the process by the signal and waits for it.
func (p *process) end(by syscall.Signal) {
	_ = p.cmd.Process.Signal(by) // it may have ended
	<-p.done
}

// killed reports whether the process, which has ended, was killed, and fails the test if it failed by itself.
func (p *process) killed(t testing.TB) bool {
	t.Helper()
	exit, failed := errors.AsType[*exec.ExitError](p.err)
	if failed {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGKILL {
			return true
		}
	}
	if p.err != nil {
		t.Fatalf("the server ended by itself: %v\n%s", p.err, p.output())
	}
	return false
}
