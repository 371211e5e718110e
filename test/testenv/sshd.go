package testenv

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// SSHDOptions says whom a server admits and how it shows itself. The zero
// value admits nobody.
type SSHDOptions struct {
	UserCA         ssh.PublicKey       // signs the user certificates that are admitted
	Principals     map[string][]string // by login, the principals that a certificate must have one of (AuthorizedPrincipalsFile); nil: the login's own name
	AuthorizedKeys []ssh.PublicKey     // plain keys admitted to every login, to compare with
	HostKey        ed25519.PrivateKey  // nil: a new one
	HostCA         ssh.Signer          // signs the host certificate; nil: a new Ed25519 key
	HostNames      []string            // principals of the host certificate, besides the loopback address
	Extra          []string            // lines of sshd_config that go before all others, so that they win
}

// Host is a running stock sshd on a port of the loopback address.
type Host struct {
	Addr    string        // host:port
	HostKey ssh.PublicKey // its plain key
	HostCA  ssh.PublicKey // what signed its certificate
	Login   string        // the privileged login; see the function Login
	process *process
	dir     string
}

// Login returns the privileged login of every server that this package starts:
// root, or without root the running account.
func Login(t TB) string {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatalf("%v", err)
	}
	return me.Username
}

// SSHD starts a server that ends with the test. If the test fails, its log is shown.
func SSHD(t TB, o SSHDOptions) *Host {
	t.Helper()
	dir, err := folder("sshd")
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { removeFolder(t, dir) })
	h, err := StartSSHD(context.Background(), dir, o)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		h.Stop()
		if t.Failed() {
			t.Logf("sshd at %s:\n%s", h.Addr, h.Log())
		}
	})
	return h
}

// StartSSHD starts a server whose files are in dir, and returns once it
// answers. Accounts other than the running one read their principals there, so
// dir must be one that they can pass through.
func StartSSHD(ctx context.Context, dir string, o SSHDOptions) (*Host, error) {
	h, err := prepareHost(dir, &o)
	if err != nil {
		return nil, err
	}
	// Another program may take the port between choosing and listening.
	for range 5 {
		err = h.listen(ctx, o)
		if err == nil || !strings.Contains(h.Log(), "Address already in use") {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return h, nil
}

// Stop ends the server and every session on it.
func (h *Host) Stop() { h.process.stop(syscall.SIGTERM) }

// Log returns what the server has logged, verbosely, so far.
func (h *Host) Log() string {
	if h.process == nil {
		return ""
	}
	return h.process.output()
}

// Port returns the port of Addr.
func (h *Host) Port() string {
	_, port, err := net.SplitHostPort(h.Addr)
	if err != nil {
		return ""
	}
	return port
}

// KnownHost returns the line of a known_hosts file that pins the server's plain key.
func (h *Host) KnownHost() string {
	return fmt.Sprintf("[127.0.0.1]:%s %s", h.Port(), ssh.MarshalAuthorizedKey(h.HostKey))
}

// prepareHost writes all files but the configuration, which names the port.
func prepareHost(dir string, o *SSHDOptions) (*Host, error) {
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	if me.Uid == "0" { // sshd's privilege separation wants this folder, which a service would make
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return nil, err
		}
	}
	if o.HostKey == nil {
		if _, o.HostKey, err = ed25519.GenerateKey(rand.Reader); err != nil {
			return nil, err
		}
	}
	if o.HostCA == nil {
		if o.HostCA, err = newSigner(); err != nil {
			return nil, err
		}
	}
	key, err := ssh.NewSignerFromKey(o.HostKey)
	if err != nil {
		return nil, err
	}
	h := &Host{HostKey: key.PublicKey(), HostCA: o.HostCA.PublicKey(), Login: me.Username, dir: dir}
	return h, errors.Join(writeHostKey(dir, o), writeAdmitted(dir, o))
}

// writeHostKey writes the host's key and the certificate for it.
func writeHostKey(dir string, o *SSHDOptions) error {
	block, err := ssh.MarshalPrivateKey(o.HostKey, "")
	if err != nil {
		return err
	}
	public, err := ssh.NewPublicKey(o.HostKey.Public())
	if err != nil {
		return err
	}
	cert := &ssh.Certificate{
		Key:             public,
		CertType:        ssh.HostCert,
		KeyId:           "test host",
		ValidPrincipals: append([]string{"127.0.0.1"}, o.HostNames...),
		ValidAfter:      uint64(time.Now().Add(-time.Hour).Unix()),
		ValidBefore:     uint64(time.Now().Add(24 * time.Hour).Unix()),
	}
	if err := cert.SignCert(rand.Reader, o.HostCA); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "host_key"), pem.EncodeToMemory(block), 0o600),
		os.WriteFile(filepath.Join(dir, "host_key-cert.pub"), ssh.MarshalAuthorizedKey(cert), 0o644),
	)
}

// writeAdmitted writes who may come in: the user CA, the principals of each login, the plain keys.
func writeAdmitted(dir string, o *SSHDOptions) error {
	var ca, keys []byte
	if o.UserCA != nil {
		ca = ssh.MarshalAuthorizedKey(o.UserCA)
	}
	for _, k := range o.AuthorizedKeys {
		keys = append(keys, ssh.MarshalAuthorizedKey(k)...)
	}
	err := errors.Join(
		os.WriteFile(filepath.Join(dir, "user_ca.pub"), ca, 0o644),
		os.WriteFile(filepath.Join(dir, "authorized_keys"), keys, 0o644),
		os.MkdirAll(filepath.Join(dir, "principals"), 0o755),
	)
	for login, principals := range o.Principals {
		lines := strings.Join(principals, "\n") + "\n"
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, "principals", login), []byte(lines), 0o644))
	}
	return err
}

// listen starts sshd on a free port and waits for its greeting.
func (h *Host) listen(ctx context.Context, o SSHDOptions) error {
	sshd, err := Program("sshd")
	if err != nil {
		return err
	}
	free, err := FreePorts(1)
	if err != nil {
		return err
	}
	h.Addr = free[0]
	config := filepath.Join(h.dir, "sshd_config")
	lines := h.config(o)
	for _, optional := range optionalLines(sshd) {
		if accepts(sshd, h.dir, append(lines, optional)) {
			lines = append(lines, optional)
		}
	}
	if err := os.WriteFile(config, text(lines), 0o600); err != nil {
		return err
	}
	cmd := command(sshd, "-D", "-e", "-f", config)
	if strange, err := strangeTTY(); err == nil && strange && CanGiveTerminals() == nil {
		if cmd, err = withOwnTTY(cmd, h.dir); err != nil {
			return err
		}
	}
	if h.process, err = start(cmd, filepath.Join(h.dir, "log")); err != nil {
		return err
	}
	if err := h.process.ready(ctx, h.greets); err != nil {
		h.Stop()
		return err
	}
	return nil
}

// config returns the lines of sshd_config. In sshd_config the first value wins.
func (h *Host) config(o SSHDOptions) []string {
	in := func(name string) string { return filepath.Join(h.dir, name) }
	lines := append(append([]string{}, o.Extra...),
		"ListenAddress "+h.Addr,
		"HostKey "+in("host_key"),
		"HostCertificate "+in("host_key-cert.pub"),
		"AuthorizedKeysFile "+in("authorized_keys"),
		"PermitRootLogin prohibit-password",
		"PasswordAuthentication no",
		"KbdInteractiveAuthentication no",
		"UsePAM no",      // works without root too, and depends on nothing of the machine's
		"StrictModes no", // the files lie in a temporary folder
		"PidFile none",
		"PrintMotd no",
		"LogLevel VERBOSE",
		// What an account's shell does when it starts is not tested, and may not bear to be killed in the midst.
		"SetEnv HOME="+h.dir,
		"MaxStartups 1000", // load tests open many at once
		"Subsystem sftp internal-sftp",
	)
	if o.UserCA != nil {
		lines = append(lines, "TrustedUserCAKeys "+in("user_ca.pub"))
	}
	if o.Principals != nil {
		lines = append(lines, "AuthorizedPrincipalsFile "+in("principals/%u"))
	}
	return lines
}

// optionalLines are settings that only newer servers know: no waiting list for
// an address that failed to log in, which tests do on purpose, and where an
// unpacked server finds its other half.
func optionalLines(sshd string) []string {
	beside := filepath.Join(filepath.Dir(sshd), "..", "lib", "openssh")
	return []string{
		"PerSourcePenalties no",
		"SshdSessionPath " + filepath.Join(beside, "sshd-session"),
		"SshdAuthPath " + filepath.Join(beside, "sshd-auth"),
	}
}

// accepts reports whether sshd takes these lines.
func accepts(sshd, dir string, lines []string) bool {
	trial := filepath.Join(dir, "trial_config")
	defer os.Remove(trial)
	if err := os.WriteFile(trial, text(lines), 0o600); err != nil {
		return false
	}
	return command(sshd, "-t", "-f", trial).Run() == nil
}

// greets succeeds once the server says which protocol it speaks.
func (h *Host) greets(ctx context.Context) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", h.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	greeting := make([]byte, len("SSH-2.0-"))
	if _, err := io.ReadFull(c, greeting); err != nil {
		return err
	}
	if !bytes.Equal(greeting, []byte("SSH-2.0-")) {
		return fmt.Errorf("%s greets with %q", h.Addr, greeting)
	}
	return nil
}

// newSigner makes an Ed25519 key.
func newSigner() (ssh.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(key)
}

// text joins lines into a file.
func text(lines []string) []byte { return []byte(strings.Join(lines, "\n") + "\n") }
