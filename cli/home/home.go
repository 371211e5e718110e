// Package home owns a person's Brevet folder: which server, root and key they use
// (profile.yaml), the TLS client certificate and the token of their last sign-in,
// and what their machine has verified before (roster, checkpoints).
//
// The folder is for its owner alone. Files are written beside their place and moved
// there, so that none is ever half written; symbolic links are not followed, so that
// nobody can make Brevet read or write elsewhere.
package home

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/brevet-pim/brevet"
)

// Home is an open folder.
type Home struct {
	dir  string
	root *os.Root
}

// Dir returns the folder that getenv asks for: BREVET_HOME, else brevet in XDG_CONFIG_HOME, else
// .config/brevet in HOME.
func Dir(getenv func(string) string) (string, error) {
	if dir := getenv("BREVET_HOME"); dir != "" {
		return dir, nil
	}
	if dir := getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "brevet"), nil
	}
	if dir := getenv("HOME"); dir != "" {
		return filepath.Join(dir, ".config", "brevet"), nil
	}
	return "", brevet.Errorf(brevet.Invalid, "there is no folder for Brevet: neither BREVET_HOME nor HOME is set").
		WithHint("export BREVET_HOME=some/folder")
}

// Open opens the folder, making it if it is not there. It refuses one that belongs to somebody
// else, and closes one that others may look into.
func Open(dir string) (*Home, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, cannot("make", dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, cannot("open", dir, err)
	}
	h := &Home{dir: dir, root: root}
	if err := h.claim(); err != nil {
		root.Close()
		return nil, err
	}
	return h, nil
}

func (h *Home) claim() error {
	info, err := h.root.Stat(".")
	if err != nil {
		return cannot("look at", h.dir, err)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
		return brevet.Errorf(brevet.Refused, "the folder %s belongs to another user", brevet.Quote(h.dir)).
			WithHint("set BREVET_HOME to a folder of your own")
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	ours, err := h.ours(info)
	if err != nil {
		return err
	}
	if !ours {
		return brevet.Errorf(brevet.Refused, "others may enter the folder %s, which is not for Brevet alone", brevet.Quote(h.dir)).
			WithHint("set BREVET_HOME to a folder of its own")
	}
	if err := h.root.Chmod(".", 0o700); err != nil {
		return cannot("close to others", h.dir, err)
	}
	return nil
}

// ours reports whether the folder is Brevet's, so that it may be closed to others: it is empty, or has a
// profile. One like /tmp is everybody's, whatever somebody has put there.
func (h *Home) ours(info fs.FileInfo) (bool, error) {
	if info.Mode()&fs.ModeSticky != 0 {
		return false, nil
	}
	f, err := h.root.Open(".")
	if err != nil {
		return false, cannot("open", h.dir, err)
	}
	defer f.Close()
	if _, err := f.Readdirnames(1); errors.Is(err, io.EOF) {
		return true, nil
	} else if err != nil {
		return false, cannot("look into", h.dir, err)
	}
	profile, err := h.root.Lstat(profileFile)
	return err == nil && profile.Mode().IsRegular(), nil
}

// Close closes the folder.
func (h *Home) Close() error { return h.root.Close() }

// Path returns the name under which other programs find a file of the folder.
func (h *Home) Path(name string) string { return filepath.Join(h.dir, name) }

// maxFile bounds what is read: a roster of 10,000 people is a few MiB.
const maxFile = 64 << 20

// Read returns a file of the folder. The error is NotFound if there is none, and Refused if it
// is a link, belongs to somebody else or may be read or written by others.
func (h *Home) Read(name string) ([]byte, error) {
	before, err := h.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, brevet.Errorf(brevet.NotFound, "there is no %s", brevet.Quote(h.Path(name)))
	}
	if err != nil {
		return nil, cannot("look at", h.Path(name), err)
	}
	if !before.Mode().IsRegular() {
		return nil, brevet.Errorf(brevet.Refused, "%s is not a plain file", brevet.Quote(h.Path(name))).WithHint("remove it")
	}
	f, err := h.root.Open(name)
	if err != nil {
		return nil, cannot("open", h.Path(name), err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !os.SameFile(before, info) { // swapped for a link in between
		return nil, brevet.Errorf(brevet.Refused, "%s changed while it was opened", brevet.Quote(h.Path(name)))
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, brevet.Errorf(brevet.Refused, "others may read or write %s", brevet.Quote(h.Path(name))).
			WithHint("chmod 600 %s, and sign in again if it may have been seen", h.Path(name))
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil || len(b) > maxFile {
		return nil, cannot("read", h.Path(name), err)
	}
	return b, nil
}

// Write puts b in a file of the folder, whole or not at all, for the owner only.
func (h *Home) Write(name string, b []byte) error {
	var tail [8]byte
	rand.Read(tail[:])
	temporary := name + "." + hex.EncodeToString(tail[:])
	if err := h.writeNew(temporary, b); err != nil {
		h.root.Remove(temporary)
		return cannot("write", h.Path(name), err)
	}
	if err := h.root.Rename(temporary, name); err != nil { // replaces a link, does not follow it
		h.root.Remove(temporary)
		return cannot("write", h.Path(name), err)
	}
	return nil
}

func (h *Home) writeNew(name string, b []byte) error {
	f, err := h.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// Remove removes a file of the folder, if it is there.
func (h *Home) Remove(name string) error {
	if err := h.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return cannot("remove", h.Path(name), err)
	}
	return nil
}

// Locked runs f while no other process runs one on the folder, so that a token and the
// certificate that it is bound to are always those of one sign-in.
func (h *Home) Locked(f func() error) error {
	lock, err := h.root.OpenFile("lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return cannot("lock", h.dir, err)
	}
	defer lock.Close() // and so unlocks
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return cannot("lock", h.dir, err)
	}
	return f()
}

func cannot(what, path string, err error) error {
	return brevet.Errorf(brevet.Unavailable, "cannot %s %s: %v", what, brevet.Quote(path), reason(err)).Because(err)
}

// reason is the system's word for err, without the path that stands before it already.
func reason(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	if err == nil {
		return fmt.Errorf("it is too large")
	}
	return err
}
