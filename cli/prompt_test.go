package cli

import (
	"context"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet/test/testenv"
)

// afterwards shows how a command ended and what it left of the terminal, as the shell that it was given to finds it.
const afterwards = `trap : INT; "$@"; echo "ended with $?"; stty -a; read -r left; echo "left <$left>"`

// TestInterruptedSecret: Ctrl-C ends a hidden question at once, the terminal echoes again, and what was
// typed goes nowhere.
func TestInterruptedSecret(t *testing.T) {
	provider := must(testenv.SecurityKeyProvider())(t) // as long as HOME is the account's own
	w := newWorld(t)
	encrypt(t, w.key)
	tests := []struct {
		name     string
		question string
		prepare  func(*testing.T)
		command  []string
	}{
		{"a new key", "Passphrase for the new key", func(t *testing.T) { t.Setenv("BREVET_HOME", filepath.Join(t.TempDir(), "carol")) },
			[]string{"login", w.invite(nil), "--new-key"}},
		{"an encrypted key", "Passphrase of ", func(t *testing.T) { w.become("alice") }, []string{"whoami"}},
		{"a security key", "Enter PIN for ", func(t *testing.T) {
			w.keys["alice"] = securityKey(t, provider)
			w.become("alice")
		}, []string{"whoami"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			tt.prepare(t)
			terminal := must(testenv.StartTerminal(exec.Command("sh", append([]string{"-c", afterwards, "sh", "brevet"}, tt.command...)...)))(t)
			defer terminal.Close()
			must(terminal.Expect(ctx, tt.question))(t)
			for _, typed := range []string{"half a sec", "\x03"} {
				if err := terminal.Type(typed); err != nil {
					t.Fatal(err)
				}
			}
			must(terminal.Expect(ctx, "ended with 130"))(t)
			must(terminal.ExpectMatch(ctx, regexp.MustCompile(` echo `)))(t)
			if err := terminal.Type("\n"); err != nil {
				t.Fatal(err)
			}
			must(terminal.Expect(ctx, "left <>"))(t)
			if err := terminal.Wait(ctx); err != nil || strings.Contains(terminal.Screen(), "half") {
				t.Errorf("%v; the terminal shows:\n%s", err, terminal.Screen())
			}
		})
	}
}

// encrypt gives the key in the file a passphrase.
func encrypt(t *testing.T, file string) {
	t.Helper()
	private := must(ssh.ParseRawPrivateKey(must(os.ReadFile(file))(t)))(t)
	block := must(ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("half a secret")))(t)
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
}

// securityKey makes one that asks for a PIN.
func securityKey(t *testing.T, provider string) string {
	t.Helper()
	t.Setenv("SSH_SK_PROVIDER", provider)
	file := filepath.Join(t.TempDir(), "id_ed25519_sk")
	keygen := exec.Command(must(testenv.Program("ssh-keygen"))(t), "-q", "-t", "ed25519-sk", "-O", "verify-required", "-N", "", "-f", file)
	if out, err := keygen.CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	return file
}
