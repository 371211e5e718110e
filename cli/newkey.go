package cli

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/cli/home"
	"github.com/brevet-pim/brevet/cli/show"
	"github.com/brevet-pim/brevet/statement"
)

// NewKeyFile is the file of a person's folder that a key made there is in.
const NewKeyFile = "id_ed25519"

// NewKey makes an Ed25519 key in the person's folder and returns it with its path. At a terminal it
// asks for a passphrase, which may be empty; elsewhere it says that there is none.
func NewKey(ctx context.Context, h *home.Home, person brevet.PersonID, in io.Reader, out io.Writer) (statement.Signer, string, error) {
	path, err := filepath.Abs(h.Path(NewKeyFile))
	if err != nil {
		return nil, "", fmt.Errorf("find the folder of the new key: %w", err)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, "", brevet.Errorf(brevet.Internal, "cannot make a key").Because(err)
	}
	pair, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, "", brevet.Errorf(brevet.Internal, "cannot make a key").Because(err)
	}
	comment := string(person) + " (brevet)"
	block, err := protect(ctx, private, comment, in, out)
	if err != nil {
		return nil, "", err
	}
	line := append(bytes.TrimSuffix(ssh.MarshalAuthorizedKey(pair.PublicKey()), []byte("\n")), " "+comment+"\n"...)
	if err := h.Write(NewKeyFile+".pub", line); err != nil {
		return nil, "", err
	}
	if err := h.Write(NewKeyFile, pem.EncodeToMemory(block)); err != nil { // last: it is what says that there is a key
		return nil, "", err
	}
	if !isTerminal(in) {
		fmt.Fprintln(out, show.Text(fmt.Sprintf("The new key has no passphrase; to give it one: ssh-keygen -p -f %s", path)))
	}
	signer, err := statement.SSHSigner(pair)
	return signer, path, err
}

// protect encrypts the key with the passphrase that the person chooses, if there is one to choose it.
func protect(ctx context.Context, private crypto.PrivateKey, comment string, in io.Reader, out io.Writer) (*pem.Block, error) {
	if !isTerminal(in) {
		return ssh.MarshalPrivateKey(private, comment)
	}
	first, err := AskSecret(ctx, in, out, "Passphrase for the new key (empty for none): ")
	if err != nil {
		return nil, err
	}
	defer first.Erase()
	second, err := AskSecret(ctx, in, out, "The same again: ")
	if err != nil {
		return nil, err
	}
	defer second.Erase()
	switch {
	case !bytes.Equal(first.Reveal(), second.Reveal()):
		return nil, brevet.Errorf(brevet.Invalid, "the two passphrases differ").WithHint("try again")
	case len(first.Reveal()) == 0:
		return ssh.MarshalPrivateKey(private, comment)
	}
	return ssh.MarshalPrivateKeyWithPassphrase(private, comment, first.Reveal())
}
