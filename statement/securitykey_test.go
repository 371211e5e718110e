package statement_test

import (
	"bytes"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/test/testenv"
)

// withAuthenticator is a folder where stock programs, and those that we start, find OpenSSH's own
// stand-in for a FIDO authenticator.
func withAuthenticator(t *testing.T) *openssh {
	o := newOpenSSH(t)
	provider := must(testenv.SecurityKeyProvider())(t)
	o.env = append(o.env, "SSH_SK_PROVIDER="+provider)
	t.Setenv("SSH_SK_PROVIDER", provider)
	t.Setenv("SSH_AUTH_SOCK", "")
	return o
}

// securityKey has stock ssh-keygen make a FIDO key and returns the path of its handle.
func (o *openssh) securityKey(t *testing.T, name string, options ...string) (string, statement.Key) {
	t.Helper()
	path := o.path(name)
	o.must(t, nil, "ssh-keygen", append([]string{"-q", "-N", "", "-C", "bob@laptop", "-f", path}, options...)...)
	return path, must(statement.ParseSSHKey(string(must(os.ReadFile(path + ".pub"))(t))))(t)
}

var securityKeys = []struct {
	name    string
	options []string
	want    brevet.Presence
}{
	{"ed25519", []string{"-t", "ed25519-sk"}, brevet.TouchPresence},
	{"ecdsa", []string{"-t", "ecdsa-sk"}, brevet.TouchPresence},
	{"ed25519 with PIN", []string{"-t", "ed25519-sk", "-O", "verify-required"}, brevet.VerifiedPresence},
	{"ecdsa with PIN", []string{"-t", "ecdsa-sk", "-O", "verify-required"}, brevet.VerifiedPresence},
	{"application of its own", []string{"-t", "ed25519-sk", "-O", "application=ssh:brevet"}, brevet.TouchPresence},
}

// TestStockSSHKeygenSignsBySecurityKey verifies what stock ssh-keygen signed, as anybody may at a shell.
func TestStockSSHKeygenSignsBySecurityKey(t *testing.T) {
	for _, tt := range securityKeys {
		t.Run(tt.name, func(t *testing.T) {
			o := withAuthenticator(t)
			path, key := o.securityKey(t, "key", tt.options...)
			e := must(statement.New(t.Context(), approval(t)))(t)
			message := o.write(t, "pae", e.PAE())
			o.must(t, nil, "ssh-keygen", "-q", "-Y", "sign", "-n", "brevet", "-f", path, message)
			if err := e.Attach(must(statement.ParseArmored(must(os.ReadFile(message + ".sig"))(t)))(t)); err != nil {
				t.Fatal(err)
			}
			if got := must(e.VerifiedBy(key))(t); got != tt.want {
				t.Errorf("presence %s, want %s", got, tt.want)
			}
		})
	}
}

// TestSecurityKeySigner signs by the handle in a file, and stock ssh-keygen verifies it.
func TestSecurityKeySigner(t *testing.T) {
	for _, tt := range securityKeys {
		t.Run(tt.name, func(t *testing.T) {
			o := withAuthenticator(t)
			path, key := o.securityKey(t, "key", tt.options...)
			if !statement.IsSecurityKeyFile(path) || !statement.IsSecurityKey(key) {
				t.Error("it does not pass for a security key")
			}
			var says bytes.Buffer
			signer := must(statement.SecurityKeySigner(path, nil, &says))(t)
			if signer.Key() != key {
				t.Errorf("key %+v, want %+v", signer.Key(), key)
			}
			touches := 0
			signer = statement.BeforeTouch(signer, func() { touches++ })
			e := must(statement.New(t.Context(), approval(t), signer))(t)
			if got := must(e.VerifiedBy(key))(t); got != tt.want || touches != 1 {
				t.Errorf("presence %s after %d touches, want %s after one", got, touches, tt.want)
			}
			if err := o.verify(t, key, must(e.Signatures[0].Armored())(t), e.PAE()); err != nil {
				t.Error(err)
			}
			if !strings.Contains(says.String(), "Confirm user presence") {
				t.Errorf("the person is not told to touch: %q", says.String())
			}
		})
	}
}

// TestSecurityKeyWithPassphrase shows that an encrypted handle is known for what it is.
func TestSecurityKeyWithPassphrase(t *testing.T) {
	o := withAuthenticator(t)
	path := o.path("key")
	o.must(t, nil, "ssh-keygen", "-q", "-N", "open sesame", "-t", "ed25519-sk", "-f", path)
	signer := must(statement.SecurityKeySigner(path, nil, &bytes.Buffer{}))(t)
	t.Setenv("DISPLAY", "") // there is nobody to ask
	_, err := statement.New(t.Context(), approval(t), signer)
	wantKind(t, err, brevet.Unavailable)
}

func TestSecurityKeySignerRefuses(t *testing.T) {
	o := withAuthenticator(t)
	good, _ := o.securityKey(t, "good", "-t", "ed25519-sk")
	untouched, _ := o.securityKey(t, "untouched", "-t", "ed25519-sk", "-O", "no-touch-required")
	other, _ := o.securityKey(t, "other", "-t", "ed25519-sk")
	sign := func(t *testing.T, path string) error {
		signer, err := statement.SecurityKeySigner(path, nil, &bytes.Buffer{})
		if err != nil {
			return err
		}
		_, err = statement.New(t.Context(), approval(t), signer)
		return err
	}
	if err := sign(t, good); err != nil {
		t.Fatal(err)
	}
	t.Run("not touched", func(t *testing.T) { wantKind(t, sign(t, untouched), brevet.Refused) })
	t.Run("not plugged in", func(t *testing.T) {
		t.Setenv("SSH_SK_PROVIDER", o.path("none.so"))
		wantKind(t, sign(t, good), brevet.Unavailable)
	})
	t.Run("no ssh-keygen", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		wantKind(t, sign(t, good), brevet.Unavailable)
	})
	t.Run("names another key than it holds", func(t *testing.T) {
		mixed := keyBlock(t, good)
		mixed.Bytes = bytes.Replace(mixed.Bytes, publicOf(t, good), publicOf(t, other), 1)
		if err := sign(t, keyFile(t, mixed, 0o600)); err == nil {
			t.Error("it signs")
		}
	})
	t.Run("others may read it", func(t *testing.T) { wantKind(t, sign(t, keyFile(t, keyBlock(t, good), 0o644)), brevet.Refused) })
}

// TestIsSecurityKeyFile feeds files that are no handle of a key made for SSH.
func TestIsSecurityKeyFile(t *testing.T) {
	handle := func(public []byte, more ...byte) *pem.Block {
		header := ssh.Marshal(struct {
			Cipher, KDF, KDFOptions string
			Keys                    uint32
			Public                  []byte
		}{"none", "none", "", 1, public})
		return &pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: append(append([]byte("openssh-key-v1\x00"), header...), more...)}
	}
	forSSH := newFIDOEd25519(t, "ssh:", touched).PublicKey().Marshal()
	tests := []struct {
		name string
		path string
		want bool
	}{
		{"made for SSH", keyFile(t, handle(forSSH), 0o600), true},
		{"made for SSH, ECDSA", keyFile(t, handle(newFIDOECDSA(t, "ssh:work", touched).PublicKey().Marshal(), 1, 2), 0o600), true},
		{"made for a web site", keyFile(t, handle(newFIDOEd25519(t, "https://example.com", touched).PublicKey().Marshal()), 0o600), false},
		{"made for a web site, ECDSA", keyFile(t, handle(newFIDOECDSA(t, "example.com", touched).PublicKey().Marshal()), 0o600), false},
		{"a key in a file", keyFile(t, must(ssh.MarshalPrivateKey(newEd25519(t), ""))(t), 0o600), false},
		{"cut", keyFile(t, handle(forSSH[:20]), 0o600), false},
		{"cut header", keyFile(t, &pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: []byte("openssh-key-v1\x00\x00\x00\x00\xff")}, 0o600), false},
		{"another form", keyFile(t, &pem.Block{Type: "PRIVATE KEY", Bytes: forSSH}, 0o600), false},
		{"missing", filepath.Join(t.TempDir(), "none"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := statement.IsSecurityKeyFile(tt.path); got != tt.want {
				t.Errorf("got %v", got)
			}
			if _, err := statement.SecurityKeySigner(tt.path, nil, nil); (err == nil) != tt.want {
				t.Errorf("the signer: %v", err)
			}
		})
	}
}

// TestOnlySecurityKeysAnnounceATouch leaves other signers as they are.
func TestOnlySecurityKeysAnnounceATouch(t *testing.T) {
	signer := statement.BeforeTouch(newSSH(t, newEd25519(t)), func() { t.Error("announces a touch") })
	must(statement.New(t.Context(), approval(t), signer))(t)
}

func keyBlock(t *testing.T, path string) *pem.Block {
	t.Helper()
	block, _ := pem.Decode(must(os.ReadFile(path))(t))
	return block
}

func publicOf(t *testing.T, path string) []byte {
	t.Helper()
	pub, _, _, _, err := ssh.ParseAuthorizedKey(must(os.ReadFile(path + ".pub"))(t))
	if err != nil {
		t.Fatal(err)
	}
	return pub.Marshal()
}
