package seal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/brevet-pim/brevet"
)

// ReadFile reads a secret from a file that nobody but its owner may read or write, of at
// most limit bytes. Permissions are taken from the open file, so they cannot change between
// the look and the read.
func ReadFile(path string, limit int64) (brevet.Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return brevet.Secret{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return brevet.Secret{}, err
	}
	if !info.Mode().IsRegular() {
		return brevet.Secret{}, brevet.Errorf(brevet.Invalid, "%s is not a file", brevet.Quote(path))
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return brevet.Secret{}, brevet.Errorf(brevet.Refused, "%s can be reached by others than its owner (mode %04o)", brevet.Quote(path), mode).
			WithHint("chmod 600 %s", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return brevet.Secret{}, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(b)) > limit {
		clear(b)
		return brevet.Secret{}, brevet.Errorf(brevet.Invalid, "%s is longer than %d bytes", brevet.Quote(path), limit)
	}
	return brevet.NewSecret(b), nil
}

// WriteFile replaces the file at path, readable by its owner only: after a crash either
// the old bytes are there or the new ones, whole. It refuses to take the place of
// anything but a regular file, a symbolic link included.
func WriteFile(path string, data []byte) error {
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() {
		return brevet.Errorf(brevet.Refused, "%s is not a regular file and is not replaced", brevet.Quote(path)).
			WithHint("look at what stands there: ls -l %s", path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return place(path, data, os.Rename)
}

// CreateFile writes a new file at path, readable by its owner only, whole or not at all.
// If anything stands there already, it stays and the error matches fs.ErrExist.
func CreateFile(path string, data []byte) error {
	return place(path, data, func(temp, path string) error {
		// A link, since a rename would replace what is there.
		if err := os.Link(temp, path); err != nil {
			return err
		}
		return os.Remove(temp)
	})
}

// place writes data to a temporary file beside path, makes it durable, lets put bring it
// to its name, and makes the name durable.
func place(path string, data []byte, put func(temp, path string) error) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600, never an existing file
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = put(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

// SyncDir makes the names in a directory durable: those of files that were created,
// renamed or removed in it.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
