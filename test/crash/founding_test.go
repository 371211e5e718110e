package crash_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet/test/testenv"
)

// foundAgain kills brevet init at the point. Its server does not start then; init run again goes on, and
// after that it does.
func foundAgain(t *testing.T, point string) {
	dir := t.TempDir()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(private, "alice")
	must(t, err)
	key := filepath.Join(dir, "id_ed25519")
	must(t, os.WriteFile(key, pem.EncodeToMemory(block), 0o600))
	ports, err := testenv.FreePorts(2)
	must(t, err)
	data := filepath.Join(dir, "data")
	found := []string{
		"init", "--data", data, "--organisation", "Crash", "--founder", "alice", "--key", key, "--home", filepath.Join(dir, "home"),
		"--listen", ports[0], "--ssh-listen", ports[1],
	}
	p := start(t, point, nil, found...)
	if <-p.done; !p.killed(t) {
		t.Fatalf("brevet init was not killed at %s", point)
	}
	p = start(t, "", nil, "server", "--data", data)
	if <-p.done; p.err == nil || !strings.Contains(p.output(), "brevet init") {
		t.Fatalf("a server of what is founded by half: %v\n%s", p.err, p.output())
	}
	p = start(t, "", nil, found...)
	if <-p.done; p.err != nil {
		t.Fatalf("brevet init, run again: %v\n%s", p.err, p.output())
	}
	p = start(t, "", nil, "server", "--data", data)
	select {
	case <-p.ready:
	case <-p.done:
		t.Fatalf("the server ended: %v\n%s", p.err, p.output())
	case <-time.After(patience):
		t.Fatalf("the server is not ready:\n%s", p.output())
	}
	p.end(syscall.SIGTERM)
	if p.err != nil {
		t.Errorf("the server ended with %v\n%s", p.err, p.output())
	}
}
