package testenv

import (
	"context"
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Client is the stock ssh client with a configuration, known hosts and keys of
// its own: nothing of the account that runs it reaches it.
type Client struct {
	Dir    string   // holds config, known_hosts, keys, and is the client's HOME
	Env    []string // what its commands see, besides HOME; the caller may add to it
	Socket string   // of its agent, or ""
	lines  []string // of config, before the defaults
	keys   []string // paths of private keys
}

// SSHClient returns a client whose files end with the test.
func SSHClient(t TB) *Client {
	t.Helper()
	dir, err := folder("ssh")
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { removeFolder(t, dir) })
	c, err := NewClient(dir)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return c
}

// NewClient returns a client whose files are in dir.
func NewClient(dir string) (*Client, error) {
	if _, err := Program("ssh"); err != nil {
		return nil, err
	}
	c := &Client{
		Dir: dir,
		Env: []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "TERM=xterm", "SHELL=/bin/sh"},
	}
	return c, errors.Join(os.WriteFile(c.in("known_hosts"), nil, 0o600), c.Configure())
}

// Configure adds lines to the client's configuration, before its defaults. The
// first value of an option wins.
func (c *Client) Configure(lines ...string) error {
	c.lines = append(c.lines, lines...)
	config := append(append([]string{}, c.lines...),
		"Host *",
		"StrictHostKeyChecking yes",
		"UserKnownHostsFile "+c.in("known_hosts"),
		"GlobalKnownHostsFile none",
		"ConnectTimeout 20",
	)
	for _, path := range c.keys {
		config = append(config, "IdentityFile "+path)
	}
	if len(c.keys) == 0 {
		config = append(config, "IdentityFile none")
	}
	if c.Socket == "" {
		config = append(config, "IdentityAgent none")
	} else {
		config = append(config, "IdentityAgent "+c.Socket)
	}
	return os.WriteFile(c.in("config"), text(config), 0o600)
}

// Trust adds lines to the client's known hosts.
func (c *Client) Trust(lines ...string) error {
	f, err := os.OpenFile(c.in("known_hosts"), os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text(lines))
	return errors.Join(err, f.Close())
}

// AddKey gives the client a key in a file called name, with a certificate if
// there is one, and returns the file's path.
func (c *Client) AddKey(name string, key crypto.PrivateKey, cert *ssh.Certificate) (string, error) {
	block, err := ssh.MarshalPrivateKey(key, name)
	if err != nil {
		return "", err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return "", err
	}
	path := c.in(name)
	err = errors.Join(
		os.WriteFile(path, pem.EncodeToMemory(block), 0o600),
		os.WriteFile(path+".pub", ssh.MarshalAuthorizedKey(signer.PublicKey()), 0o644),
	)
	if cert != nil {
		err = errors.Join(err, os.WriteFile(path+"-cert.pub", ssh.MarshalAuthorizedKey(cert), 0o644))
	}
	if err != nil {
		return "", err
	}
	c.keys = append(c.keys, path)
	return path, c.Configure()
}

// UseAgent has the client ask the agent at socket for its keys.
func (c *Client) UseAgent(socket string) error {
	c.Socket = socket
	c.Env = append(c.Env, "SSH_AUTH_SOCK="+socket)
	return c.Configure()
}

// Command returns an ssh command with the client's configuration. ssh is ended
// when ctx is.
func (c *Client) Command(ctx context.Context, args ...string) *exec.Cmd {
	return c.Program(ctx, "ssh", append([]string{"-F", c.in("config")}, args...)...)
}

// Program returns a command that sees what the client sees: its HOME, its agent.
func (c *Client) Program(ctx context.Context, name string, args ...string) *exec.Cmd {
	path, err := Program(name)
	if err != nil {
		path = name // Start will say that it is missing
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = c.Dir, slices.Concat(c.Env, libraries(path))
	return cmd
}

// Terminal starts ssh on a terminal of its own, as a person would.
func (c *Client) Terminal(ctx context.Context, args ...string) (*Terminal, error) {
	return StartTerminal(c.Command(ctx, args...))
}

func (c *Client) in(name string) string { return filepath.Join(c.Dir, name) }

// Agent is a running stock ssh-agent.
type Agent struct {
	Socket  string
	Keyring agent.ExtendedAgent // speaks to it
	conn    net.Conn
	process *process
}

// SSHAgent starts an agent that ends with the test.
func SSHAgent(t TB, keys ...agent.AddedKey) *Agent {
	t.Helper()
	dir, err := folder("agent")
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { removeFolder(t, dir) })
	a, err := StartAgent(context.Background(), dir, keys...)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(a.Stop)
	return a
}

// StartAgent starts an agent with its socket in dir and gives it keys.
func StartAgent(ctx context.Context, dir string, keys ...agent.AddedKey) (*Agent, error) {
	path, err := Program("ssh-agent")
	if err != nil {
		return nil, err
	}
	a := &Agent{Socket: filepath.Join(dir, "agent.sock")}
	if a.process, err = start(command(path, "-D", "-a", a.Socket), filepath.Join(dir, "log")); err != nil {
		return nil, err
	}
	err = a.process.ready(ctx, func(ctx context.Context) error {
		a.conn, err = (&net.Dialer{}).DialContext(ctx, "unix", a.Socket)
		return err
	})
	if err != nil {
		a.process.stop(syscall.SIGTERM)
		return nil, err
	}
	a.Keyring = agent.NewClient(a.conn)
	for _, key := range keys {
		if err := a.Keyring.Add(key); err != nil {
			a.Stop()
			return nil, fmt.Errorf("give the agent key %q: %w", key.Comment, err)
		}
	}
	return a, nil
}

// Stop ends the agent. Its socket goes with it.
func (a *Agent) Stop() {
	_ = a.conn.Close() // the agent ends all the same
	a.process.stop(syscall.SIGTERM)
}
