package statement_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/test/testenv"
)

// openssh is a folder in which stock OpenSSH programs run.
type openssh struct {
	dir string
	env []string
}

func newOpenSSH(t *testing.T) *openssh {
	return &openssh{dir: t.TempDir(), env: []string{"PATH=" + os.Getenv("PATH"), "SSH_ASKPASS_REQUIRE=never"}}
}

func (o *openssh) path(name string) string { return filepath.Join(o.dir, name) }

func (o *openssh) write(t *testing.T, name string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(o.path(name), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return o.path(name)
}

func (o *openssh) run(ctx context.Context, t *testing.T, stdin []byte, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(ctx, must(testenv.Program(name))(t), args...)
	cmd.Dir, cmd.Env, cmd.Stdin = o.dir, o.env, bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (o *openssh) must(t *testing.T, stdin []byte, name string, args ...string) string {
	t.Helper()
	out, err := o.run(t.Context(), t, stdin, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// verify has stock ssh-keygen check a signature on message as alice's.
func (o *openssh) verify(t *testing.T, key statement.Key, armored, message []byte) error {
	t.Helper()
	allowed := o.write(t, "allowed_signers", fmt.Appendf(nil, "alice namespaces=\"brevet\" %s\n", key.Public))
	out, err := o.run(t.Context(), t, message, "ssh-keygen", "-Y", "verify", "-n", "brevet", "-f", allowed, "-I", "alice", "-s", o.write(t, "sig", armored))
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func TestStockSSHKeygenVerifies(t *testing.T) {
	signers := map[string]statement.Signer{
		"ed25519":      newSSH(t, newEd25519(t)),
		"ecdsa":        newSSH(t, newECDSA(t, elliptic.P256())),
		"rsa":          newSSH(t, must(rsa3072())(t)),
		"fido ed25519": must(statement.SSHSigner(newFIDOEd25519(t, "ssh:", touched)))(t),
		"fido ecdsa":   must(statement.SSHSigner(newFIDOECDSA(t, "ssh:", touched|verified)))(t),
	}
	for name, signer := range signers {
		t.Run(name, func(t *testing.T) {
			o := newOpenSSH(t)
			e := must(statement.New(t.Context(), approval(t), signer))(t)
			armored := must(e.Signatures[0].Armored())(t)
			if err := o.verify(t, signer.Key(), armored, e.PAE()); err != nil {
				t.Error(err)
			}
			if err := o.verify(t, signer.Key(), armored, append(e.PAE(), ' ')); err == nil {
				t.Error("ssh-keygen takes the signature for other bytes")
			}
		})
	}
}

func TestStockSSHKeygenSigns(t *testing.T) {
	for _, kind := range [][]string{{"ed25519"}, {"ecdsa"}, {"rsa", "-b", "3072"}} {
		t.Run(kind[0], func(t *testing.T) {
			o := newOpenSSH(t)
			o.must(t, nil, "ssh-keygen", append([]string{"-q", "-N", "", "-C", "bob@laptop", "-f", o.path("key"), "-t"}, kind...)...)
			key := must(statement.ParseSSHKey(string(must(os.ReadFile(o.path("key.pub")))(t))))(t)
			if listed := o.must(t, nil, "ssh-keygen", "-l", "-f", o.path("key.pub")); !strings.Contains(listed, fingerprint(t, key)+" ") {
				t.Errorf("fingerprint %s is not in %q", fingerprint(t, key), listed)
			}

			e := must(statement.New(t.Context(), approval(t)))(t)
			message := o.write(t, "pae", e.PAE())
			o.must(t, nil, "ssh-keygen", "-q", "-Y", "sign", "-n", "brevet", "-f", o.path("key"), message)
			sig := must(statement.ParseArmored(must(os.ReadFile(message + ".sig"))(t)))(t)
			if err := e.Attach(sig); err != nil {
				t.Fatal(err)
			}
			if got := must(e.VerifiedBy(key))(t); got != brevet.NoPresence {
				t.Errorf("presence %s of a key in a file", got)
			}

			os.Remove(message + ".sig")
			o.must(t, nil, "ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", o.path("key"), message)
			_, err := statement.ParseArmored(must(os.ReadFile(message + ".sig"))(t))
			wantKind(t, err, brevet.Refused)

			signer := must(statement.FileSigner(t.Context(), o.path("key"), nil))(t)
			byFile := must(statement.New(t.Context(), approval(t), signer))(t)
			if err := o.verify(t, key, must(byFile.Signatures[0].Armored())(t), byFile.PAE()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestStockAgentSigns(t *testing.T) {
	ed, rsaKey, weak, certified := newEd25519(t), must(rsa3072())(t), must(rsa2048())(t), newEd25519(t)
	stock := testenv.SSHAgent(t,
		agent.AddedKey{PrivateKey: ed}, agent.AddedKey{PrivateKey: rsaKey}, agent.AddedKey{PrivateKey: weak},
		agent.AddedKey{PrivateKey: certified, Certificate: certificateFor(t, must(ssh.NewSignerFromSigner(certified))(t))})
	keys := must(statement.AgentKeys(t.Context(), stock.Socket))(t)
	if len(keys) != 2 {
		t.Errorf("the agent has %d keys for us, want the Ed25519 one and the RSA one of 3072 bits: %v", len(keys), keys)
	}
	o := newOpenSSH(t)
	for _, key := range keys {
		signer := must(statement.AgentSigner(t.Context(), stock.Socket, fingerprint(t, key)))(t)
		e := must(statement.New(t.Context(), request(t), signer))(t)
		if got := must(e.VerifiedBy(key))(t); got != brevet.NoPresence {
			t.Errorf("presence %s of a key in memory", got)
		}
		if err := o.verify(t, key, must(e.Signatures[0].Armored())(t), e.PAE()); err != nil {
			t.Error(err)
		}
	}
	_, err := statement.AgentSigner(t.Context(), stock.Socket, "SHA256:none")
	wantKind(t, err, brevet.NotFound)
	signer := must(statement.AgentSigner(t.Context(), stock.Socket, fingerprint(t, keys[0])))(t)
	if err := stock.Keyring.RemoveAll(); err != nil {
		t.Fatal(err)
	}
	_, err = statement.New(t.Context(), request(t), signer)
	wantKind(t, err, brevet.NotFound)
}

// TestSecurityKeyThroughStockAgent signs by a FIDO key that OpenSSH's own stand-in for an
// authenticator made and holds, through a stock agent.
func TestSecurityKeyThroughStockAgent(t *testing.T) {
	o := newOpenSSH(t)
	provider := must(testenv.SecurityKeyProvider())(t)
	socket := o.startAgent(t, provider)
	o.env = append(o.env, "SSH_AUTH_SOCK="+socket, "SSH_SK_PROVIDER="+provider)
	for _, kind := range []string{"ed25519-sk", "ecdsa-sk"} {
		file := o.path(kind)
		o.must(t, nil, "ssh-keygen", "-q", "-N", "", "-t", kind, "-f", file)
		o.must(t, nil, "ssh-add", "-q", file)
		_, err := statement.FileSigner(t.Context(), file, nil)
		wantKind(t, err, brevet.Invalid) // no private key in that file
	}
	keys := must(statement.AgentKeys(t.Context(), socket))(t)
	if len(keys) != 2 {
		t.Fatalf("the agent has %d security keys, want 2", len(keys))
	}
	for _, key := range keys {
		signer := must(statement.AgentSigner(t.Context(), socket, fingerprint(t, key)))(t)
		e := must(statement.New(t.Context(), approval(t), signer))(t)
		if got := must(e.VerifiedBy(key))(t); got != brevet.TouchPresence {
			t.Errorf("presence %s, want touch", got)
		}
		if err := o.verify(t, key, must(e.Signatures[0].Armored())(t), e.PAE()); err != nil {
			t.Error(err)
		}
	}
}

// TestUntouchedSecurityKey shows why we read the flags ourselves: stock ssh-keygen takes a
// signature by a FIDO key that nobody touched, and we do not.
func TestUntouchedSecurityKey(t *testing.T) {
	o := newOpenSSH(t)
	provider := must(testenv.SecurityKeyProvider())(t)
	o.env = append(o.env, "SSH_SK_PROVIDER="+provider)
	o.must(t, nil, "ssh-keygen", "-q", "-N", "", "-t", "ed25519-sk", "-O", "no-touch-required", "-f", o.path("key"))
	key := must(statement.ParseSSHKey(string(must(os.ReadFile(o.path("key.pub")))(t))))(t)
	e := must(statement.New(t.Context(), approval(t)))(t)
	message := o.write(t, "pae", e.PAE())
	o.must(t, nil, "ssh-keygen", "-q", "-Y", "sign", "-n", "brevet", "-f", o.path("key"), message)
	armored := must(os.ReadFile(message + ".sig"))(t)
	if err := o.verify(t, key, armored, e.PAE()); err != nil {
		t.Errorf("ssh-keygen refuses it by itself: %v", err)
	}
	if err := e.Attach(must(statement.ParseArmored(armored))(t)); err != nil {
		t.Fatal(err)
	}
	_, err := e.VerifiedBy(key)
	wantKind(t, err, brevet.Refused)
}

// startAgent starts a stock agent that may load the provider from where it lies.
func (o *openssh) startAgent(t *testing.T, provider string) string {
	t.Helper()
	socket := o.path("agent.sock")
	cmd := exec.Command(must(testenv.Program("ssh-agent"))(t), "-D", "-a", socket, "-P", provider)
	cmd.Dir, cmd.Env = o.dir, o.env
	stdout := must(cmd.StdoutPipe())(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	})
	// The agent prints where it listens once it does.
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || !strings.Contains(line, socket) {
		t.Fatalf("ssh-agent says %q, %v", line, err)
	}
	return socket
}

// TestAgentThatHangs shows that a person can give up waiting for a touch.
func TestAgentThatHangs(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "agent.sock")
	listener := must(net.Listen("unix", socket))(t)
	defer listener.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.Read(make([]byte, 1)) // the question has come
		cancel()
		conn.Read(make([]byte, 1<<10)) // until we hang up
	}()
	_, err := statement.AgentKeys(ctx, socket)
	wantKind(t, err, brevet.Unavailable)

	_, err = statement.AgentKeys(t.Context(), "")
	wantKind(t, err, brevet.Unavailable)
	_, err = statement.AgentKeys(t.Context(), socket+".none")
	wantKind(t, err, brevet.Unavailable)
}

// lyingAgent offers a key and signs with another.
type lyingAgent struct {
	agent.Agent
	other ssh.Signer
}

func (a lyingAgent) Sign(_ ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	return a.other.Sign(rand.Reader, data)
}

func TestAgentThatLies(t *testing.T) {
	keyring := agent.NewKeyring()
	if err := keyring.Add(agent.AddedKey{PrivateKey: newEd25519(t)}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "agent.sock")
	listener := must(net.Listen("unix", socket))(t)
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			agent.ServeAgent(lyingAgent{keyring, must(ssh.NewSignerFromSigner(newEd25519(t)))(t)}, conn)
			conn.Close()
		}
	}()
	key := must(statement.AgentKeys(t.Context(), socket))(t)[0]
	signer := must(statement.AgentSigner(t.Context(), socket, fingerprint(t, key)))(t)
	_, err := statement.New(t.Context(), request(t), signer)
	wantKind(t, err, brevet.Refused)
}
