package statement

import (
	"bytes"
	"context"
	"encoding/pem"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
)

// IsSecurityKey reports whether k is of a FIDO key, whose signatures show a person's presence.
func IsSecurityKey(k Key) bool { return k.Kind == KindSSH && strings.HasPrefix(k.Public, "sk-") }

// IsSecurityKeyFile reports whether the file at path is what ssh-keygen -t ed25519-sk or ecdsa-sk
// writes: the handle of a FIDO key, which signs nothing without the authenticator. A file that
// cannot be read is none.
func IsSecurityKeyFile(path string) bool {
	key, err := securityKeyIn(path)
	return err == nil && IsSecurityKey(key)
}

// SecurityKeySigner returns a signer by the FIDO key whose handle is in the file at path. The stock
// ssh-keygen speaks to the authenticator, by the provider of SSH_SK_PROVIDER or its own. It asks
// for the PIN, and for the passphrase of the file, at in if that is a terminal, and tells on says
// that it waits for a touch. A file that holds no such key is Invalid; without ssh-keygen the
// error is Unavailable.
func SecurityKeySigner(path string, in io.Reader, says io.Writer) (Signer, error) {
	key, err := securityKeyIn(path)
	if err != nil {
		return nil, err
	}
	if !IsSecurityKey(key) {
		return nil, brevet.Errorf(brevet.Invalid, "the key in %s is no security key", path)
	}
	fingerprint, err := Fingerprint(key)
	if err != nil {
		return nil, err
	}
	program, err := exec.LookPath("ssh-keygen")
	if err != nil {
		return nil, brevet.Errorf(brevet.Unavailable, "ssh-keygen, which speaks to security keys, is not installed").Because(err).
			WithHint("install OpenSSH's client: apt install openssh-client")
	}
	return keygenSigner{keyPair{key, fingerprint}, program, path, in, says}, nil
}

// keygenSigner signs as "ssh-keygen -Y sign" does.
type keygenSigner struct {
	keyPair
	program string
	path    string // of the key's handle
	in      io.Reader
	says    io.Writer
}

// Sign hands the PAE over in a file and not by standard input: there ssh-keygen would look for the
// PIN if it finds no terminal, or prefer a window that may not be there to the terminal that is.
func (s keygenSigner) Sign(ctx context.Context, pae []byte) (Signature, error) {
	dir, err := os.MkdirTemp("", "brevet-sign-")
	if err != nil {
		return Signature{}, brevet.Errorf(brevet.Unavailable, "there is no place for what is to be signed").Because(err)
	}
	defer os.RemoveAll(dir)
	message := filepath.Join(dir, "statement")
	if err := os.WriteFile(message, pae, 0o600); err != nil {
		return Signature{}, brevet.Errorf(brevet.Unavailable, "there is no place for what is to be signed").Because(err)
	}
	cmd := exec.CommandContext(ctx, s.program, "-q", "-Y", "sign", "-n", Namespace, "-f", s.path, message)
	cmd.Stdin, cmd.Stderr = s.in, s.says
	// Not killed at once: at the question for the PIN it has the echo to switch on again.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Second // until it is killed, and says no longer waited for: its helper may hold it open
	if err := cmd.Run(); err != nil {
		return Signature{}, brevet.Errorf(brevet.Unavailable, "the security key of %s did not sign", s.path).Because(err).
			WithHint("plug it in, and touch it when it blinks; if your agent holds it: ssh-add %s", s.path)
	}
	armored, err := os.ReadFile(message + ".sig")
	if err != nil {
		return Signature{}, brevet.Errorf(brevet.Unavailable, "ssh-keygen wrote no signature").Because(err)
	}
	sig, err := ParseArmored(armored)
	if err != nil {
		return Signature{}, err
	}
	if sig.Key != s.fingerprint {
		return Signature{}, refusedSignature("another key made it")
	}
	return sig, nil
}

// securityKeyIn reads the public key in a private key's file.
func securityKeyIn(path string) (Key, error) {
	b, err := readKeyFile(path)
	if err != nil {
		return Key{}, err
	}
	defer clear(b)
	pub, err := publicIn(b)
	if err != nil {
		return Key{}, brevet.Errorf(brevet.Invalid, "%s is not a key file of OpenSSH", path).Because(err)
	}
	return SSHKey(pub)
}

// publicIn reads the public key of an OpenSSH private key, which stands before the private part
// and in clear even if that is encrypted (OpenSSH's PROTOCOL.key).
func publicIn(private []byte) (ssh.PublicKey, error) {
	const magic = "openssh-key-v1\x00"
	block, _ := pem.Decode(private)
	if block == nil {
		return nil, brevet.Errorf(brevet.Invalid, "this is not PEM")
	}
	defer clear(block.Bytes)
	body, ok := bytes.CutPrefix(block.Bytes, []byte(magic))
	if !ok {
		return nil, brevet.Errorf(brevet.Invalid, "this is not in OpenSSH's form")
	}
	var header struct {
		Cipher, KDF, KDFOptions string
		Keys                    uint32
		Public                  []byte
		Rest                    []byte `ssh:"rest"`
	}
	if err := ssh.Unmarshal(body, &header); err != nil {
		return nil, err
	}
	return ssh.ParsePublicKey(bytes.Clone(header.Public)) // an Ed25519 key is kept as the slice it was read from
}

// BeforeTouch returns a signer that calls tell before each signature by a FIDO key, so that a
// person knows what the blinking waits for. Signers by other keys come back as they are.
func BeforeTouch(s Signer, tell func()) Signer {
	if !IsSecurityKey(s.Key()) {
		return s
	}
	return touchSigner{s, tell}
}

type touchSigner struct {
	Signer
	tell func()
}

func (s touchSigner) Sign(ctx context.Context, pae []byte) (Signature, error) {
	s.tell()
	return s.Signer.Sign(ctx, pae)
}
