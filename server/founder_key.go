package server

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/cli"
	"github.com/brevet-pim/brevet/cli/home"
	"github.com/brevet-pim/brevet/statement"
)

const (
	agentKey    = "agent"   // --key agent: the only key of the agent
	fingerprint = "SHA256:" // --key SHA256:…: that key of the agent
)

// founderKey opens the founder's key and returns what a profile names it by. Without a name it makes
// a key in the founder's folder, or takes the one that an earlier try has made there.
func founderKey(ctx context.Context, h *home.Home, name string, person brevet.PersonID) (statement.Signer, string, error) {
	signer, name, err := findKey(ctx, h, name, person)
	if err != nil {
		return nil, "", err
	}
	return statement.BeforeTouch(signer, func() { fmt.Fprintln(os.Stderr, "Touch your security key when it blinks.") }), name, nil
}

func findKey(ctx context.Context, h *home.Home, name string, person brevet.PersonID) (statement.Signer, string, error) {
	switch {
	case name == "":
		return ownKey(ctx, h, person)
	case name == agentKey || strings.HasPrefix(name, fingerprint):
		return keyInAgent(ctx, name)
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, "", fmt.Errorf("find the key: %w", err)
	}
	signer, err := keyInFile(ctx, path)
	return signer, path, err
}

func keyInAgent(ctx context.Context, name string) (statement.Signer, string, error) {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if name == agentKey {
		keys, err := statement.AgentKeys(ctx, socket)
		if err != nil {
			return nil, "", err
		}
		if len(keys) != 1 {
			return nil, "", brevet.Errorf(brevet.Conflict, "the ssh-agent holds %d keys that could sign", len(keys)).
				WithHint("choose one: --key SHA256:…, as ssh-add -l lists them")
		}
		if name, err = statement.Fingerprint(keys[0]); err != nil {
			return nil, "", err
		}
	}
	signer, err := statement.AgentSigner(ctx, socket, name)
	return signer, name, err
}

// keyInFile takes the key from the agent if that has it: a passphrase need not be typed twice. A
// security key signs there, or by ssh-keygen.
func keyInFile(ctx context.Context, path string) (statement.Signer, error) {
	if socket := os.Getenv("SSH_AUTH_SOCK"); socket != "" {
		if b, err := os.ReadFile(path + ".pub"); err == nil {
			if signer, err := agentKeyOf(ctx, socket, string(b)); err == nil {
				return signer, nil
			}
		}
	}
	if statement.IsSecurityKeyFile(path) {
		return statement.SecurityKeySigner(path, os.Stdin, os.Stderr)
	}
	return statement.FileSigner(ctx, path, askPassphrase)
}

func agentKeyOf(ctx context.Context, socket, public string) (statement.Signer, error) {
	key, err := statement.ParseSSHKey(public)
	if err != nil {
		return nil, err
	}
	name, err := statement.Fingerprint(key)
	if err != nil {
		return nil, err
	}
	return statement.AgentSigner(ctx, socket, name)
}

// askPassphrase asks at the terminal.
func askPassphrase(ctx context.Context, path string) (brevet.Secret, error) {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return brevet.Secret{}, brevet.Errorf(brevet.Invalid, "the key in %s is encrypted, and there is no terminal to ask at", path).
			WithHint("load it into your agent: ssh-add %s", path)
	}
	return cli.AskSecret(ctx, os.Stdin, os.Stderr, "Passphrase of "+path+": ")
}

func ownKey(ctx context.Context, h *home.Home, person brevet.PersonID) (statement.Signer, string, error) {
	if _, err := h.Read(cli.NewKeyFile); brevet.KindOf(err) == brevet.NotFound {
		return cli.NewKey(ctx, h, person, os.Stdin, os.Stderr)
	}
	path, err := filepath.Abs(h.Path(cli.NewKeyFile))
	if err != nil {
		return nil, "", fmt.Errorf("find the key: %w", err)
	}
	signer, err := statement.FileSigner(ctx, path, askPassphrase)
	return signer, path, err
}
