package ssh_test

import (
	"os"
	"path/filepath"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/test/gatewaytest"
	"github.com/brevet-pim/brevet/test/testenv"
)

// securityKey gives bob a FIDO key, which OpenSSH's own stand-in for an authenticator holds. It is
// the only kind that his client then offers.
func securityKey(t *testing.T, w *gatewaytest.World, options ...string) gossh.PublicKey {
	t.Helper()
	provider, err := testenv.SecurityKeyProvider()
	if err != nil {
		t.Fatal(err)
	}
	w.Client.Env = append(w.Client.Env, "SSH_SK_PROVIDER="+provider)
	path := filepath.Join(w.Client.Dir, "bob_sk")
	if got := run(t, w, "ssh-keygen", nil, append([]string{"-q", "-N", "", "-f", path}, options...)...); got.status != 0 {
		t.Fatalf("ssh-keygen: %s", got.stderr)
	}
	line, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	public, _, _, _, err := gossh.ParseAuthorizedKey(line)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Client.Configure("SecurityKeyProvider "+provider, "IdentityFile "+path, "PubkeyAcceptedAlgorithms sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com"); err != nil {
		t.Fatal(err)
	}
	w.Plane.Enrol("bob", public)
	return public
}

// TestSecurityKeyShowsATouch asks in the login by a FIDO key: the request that the gateway signs
// says what it saw.
func TestSecurityKeyShowsATouch(t *testing.T) {
	for _, kind := range []string{"ed25519-sk", "ecdsa-sk"} {
		t.Run(kind, func(t *testing.T) {
			w := gatewaytest.Start(t, gatewaytest.Options{})
			key := securityKey(t, w, "-t", kind)
			term := open(t, w, "gw", "echo in")
			ask(term)
			asked := approve(t, w)
			term.sees("\nin\r\n")
			if status := term.ends(); status != 0 {
				t.Errorf("ssh ended with %d", status)
			}
			want := statement.Seen{Key: gossh.FingerprintSHA256(key), Presence: brevet.TouchPresence, Source: "127.0.0.1"}
			if asked.Seen != want {
				t.Errorf("the gateway says that it saw %+v, want %+v", asked.Seen, want)
			}
		})
	}
}

// TestUntouchedSecurityKeyIsRefused: a key that may sign without a touch shows nobody, and would
// otherwise pass for one that was touched.
func TestUntouchedSecurityKeyIsRefused(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	securityKey(t, w, "-t", "ed25519-sk", "-O", "no-touch-required")
	got := ssh(t, w, nil, "-o", "BatchMode=yes", "gw", "true")
	if got.status != 255 {
		t.Errorf("ssh ended with %d: %s", got.status, got.stderr)
	}
	if begun := w.Plane.Begun(); len(begun) != 0 {
		t.Errorf("sessions began: %+v", begun)
	}
}
