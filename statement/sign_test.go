package statement_test

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

func keyFile(t *testing.T, block *pem.Block, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, pem.EncodeToMemory(block), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFileSigner(t *testing.T) {
	private := newEd25519(t)
	plain := must(ssh.MarshalPrivateKey(private, "bob@laptop"))(t)
	locked := must(ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("open sesame")))(t)
	weak := must(ssh.MarshalPrivateKey(must(rsa2048())(t), ""))(t)
	want := newSSH(t, private).Key()
	answer := func(passphrase string, err error) statement.Passphrase {
		return func(context.Context, string) (brevet.Secret, error) { return brevet.NewSecret([]byte(passphrase)), err }
	}
	interrupted := brevet.Errorf(brevet.Unavailable, "nobody is here to type a passphrase")
	never := func(context.Context, string) (brevet.Secret, error) {
		t.Error("asked for a passphrase in vain")
		return brevet.Secret{}, nil
	}
	tests := []struct {
		name string
		path string
		ask  statement.Passphrase
		kind brevet.Kind // of the error; Internal for none
	}{
		{"plain", keyFile(t, plain, 0o600), never, brevet.Internal},
		{"read-only", keyFile(t, plain, 0o400), nil, brevet.Internal},
		{"encrypted", keyFile(t, locked, 0o600), answer("open sesame", nil), brevet.Internal},
		{"wrong passphrase", keyFile(t, locked, 0o600), answer("open barley", nil), brevet.Invalid},
		{"encrypted, nobody to ask", keyFile(t, locked, 0o600), nil, brevet.Invalid},
		{"encrypted, no answer", keyFile(t, locked, 0o600), answer("", interrupted), brevet.Unavailable},
		{"others may read", keyFile(t, plain, 0o644), nil, brevet.Refused},
		{"group may read", keyFile(t, plain, 0o640), nil, brevet.Refused},
		{"weak", keyFile(t, weak, 0o600), nil, brevet.Invalid},
		{"no key", keyFile(t, &pem.Block{Type: "CERTIFICATE"}, 0o600), nil, brevet.Invalid},
		{"huge", keyFile(t, &pem.Block{Type: "X", Bytes: make([]byte, 1<<17)}, 0o600), nil, brevet.Invalid},
		{"folder", t.TempDir(), nil, brevet.Invalid},
		{"missing", filepath.Join(t.TempDir(), "none"), nil, brevet.NotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			signer, err := statement.FileSigner(t.Context(), tt.path, tt.ask)
			if tt.kind != brevet.Internal {
				wantKind(t, err, tt.kind)
				if message, hint := brevet.MessageOf(err); strings.Contains(message+hint+err.Error(), "sesame") {
					t.Errorf("the error shows the passphrase: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if signer.Key() != want {
				t.Errorf("got key %+v, want %+v", signer.Key(), want)
			}
			must(statement.New(t.Context(), request(t), signer))(t)
		})
	}
}

// TestFileSignerInterrupted: whoever ends the question for the passphrase is not told that it was wrong.
func TestFileSignerInterrupted(t *testing.T) {
	locked := must(ssh.MarshalPrivateKeyWithPassphrase(newEd25519(t), "", []byte("open sesame")))(t)
	_, err := statement.FileSigner(t.Context(), keyFile(t, locked, 0o600), func(context.Context, string) (brevet.Secret, error) {
		return brevet.Secret{}, context.Canceled
	})
	if brevet.KindOf(err) == brevet.Invalid || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// brokenToken has a key that it does not use.
type brokenToken struct{ crypto.Signer }

func (brokenToken) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("token removed")
}

func TestSignerThatFails(t *testing.T) {
	_, err := statement.MachineSigner(newECDSA(t, elliptic.P384()))
	wantKind(t, err, brevet.Invalid)
	_, err = statement.MachineSigner(must(rsa3072())(t))
	wantKind(t, err, brevet.Invalid)
	_, err = statement.SSHSigner(must(ssh.NewSignerFromSigner(must(rsa2048())(t)))(t))
	wantKind(t, err, brevet.Invalid)

	broken := must(statement.MachineSigner(brokenToken{newEd25519(t)}))(t)
	_, err = statement.New(t.Context(), request(t), broken)
	wantKind(t, err, brevet.Unavailable)
}
