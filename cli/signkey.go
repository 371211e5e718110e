package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/cli/home"
	"github.com/brevet-pim/brevet/cli/show"
	"github.com/brevet-pim/brevet/statement"
)

const agentPrefix = "SHA256:"

// key returns the person's key of the profile. It asks for a passphrase at most once in a run.
func (a *app) key(ctx context.Context) (statement.Signer, error) {
	if a.signer != nil {
		return a.signer, nil
	}
	h, err := a.folder()
	if err != nil {
		return nil, err
	}
	profile, err := h.Profile()
	if err != nil {
		return nil, err
	}
	a.signer, err = a.openKey(ctx, profile.Key, a.socket(profile))
	return a.signer, err
}

func (a *app) socket(p home.Profile) string {
	if p.Agent != "" {
		return p.Agent
	}
	return a.getenv("SSH_AUTH_SOCK")
}

// openKey opens a key by its fingerprint in the agent, or by its file. Of a security key it tells
// whenever it waits for a touch.
func (a *app) openKey(ctx context.Context, key, socket string) (statement.Signer, error) {
	signer, err := a.findKey(ctx, key, socket)
	if err != nil {
		return nil, err
	}
	return statement.BeforeTouch(signer, func() { a.tell("Touch your security key when it blinks.") }), nil
}

// findKey takes a key in a file from the agent if that has it, so that a passphrase is not asked
// for needlessly. A security key signs there, or by ssh-keygen.
func (a *app) findKey(ctx context.Context, key, socket string) (statement.Signer, error) {
	if strings.HasPrefix(key, agentPrefix) {
		return statement.AgentSigner(ctx, socket, key)
	}
	if fingerprint, ok := publicOf(key); ok && socket != "" {
		if s, err := statement.AgentSigner(ctx, socket, fingerprint); err == nil {
			return s, nil
		}
	}
	if statement.IsSecurityKeyFile(key) {
		return statement.SecurityKeySigner(key, a.in, a.err)
	}
	return statement.FileSigner(ctx, key, func(ctx context.Context, path string) (brevet.Secret, error) {
		return AskSecret(ctx, a.in, a.err, "Passphrase of "+path+": ")
	})
}

// publicOf returns the fingerprint of the public key beside a private key's file.
func publicOf(path string) (fingerprint string, ok bool) {
	b, err := os.ReadFile(path + ".pub")
	if err != nil {
		return "", false
	}
	key, err := statement.ParseSSHKey(string(b))
	if err != nil {
		return "", false
	}
	fingerprint, err = statement.Fingerprint(key)
	return fingerprint, err == nil
}

// usualKeys are the names that ssh-keygen gives, the strongest first.
var usualKeys = []string{"id_ed25519_sk", "id_ecdsa_sk", "id_ed25519", "id_ecdsa", "id_rsa"}

// chooseKey finds the key to enrol when none is named: the only one in the agent, else the first
// usual file. It returns what a profile names it by, and "" if there is none.
func (a *app) chooseKey(ctx context.Context) (string, error) {
	if socket := a.getenv("SSH_AUTH_SOCK"); socket != "" {
		keys, err := statement.AgentKeys(ctx, socket)
		switch {
		case err != nil:
			a.tell("The ssh-agent does not answer; looking at files.")
		case len(keys) == 1:
			return statement.Fingerprint(keys[0])
		case len(keys) > 1:
			return "", manyKeys(keys)
		}
	}
	for _, name := range usualKeys {
		path := filepath.Join(a.getenv("HOME"), ".ssh", name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", nil
}

func manyKeys(keys []statement.Key) error {
	var names []string
	for _, k := range keys {
		if f, err := statement.Fingerprint(k); err == nil {
			names = append(names, f)
		}
	}
	return brevet.Errorf(brevet.Conflict, "the ssh-agent holds several keys: %s", strings.Join(names, ", ")).
		WithHint("choose one: brevet login CODE --key %s", names[0])
}

// keyNote says what the signer will ask of the person.
func keyNote(k statement.Key) string {
	if statement.IsSecurityKey(k) {
		return " (touch your key)"
	}
	return ""
}

// announce tells what is about to be signed, and with which key.
func (a *app) announce(id statement.ID, s statement.Signer) error {
	fingerprint, err := statement.Fingerprint(s.Key())
	if err != nil {
		return err
	}
	a.tell("You will sign  %s …  with %s%s", spaced(string(id), 4), show.Cut(fingerprint, 19), keyNote(s.Key()))
	return nil
}
