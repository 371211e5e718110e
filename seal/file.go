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

// NewFile is a file to be made by CreateFiles.
type NewFile struct {
	Name string // in the directory
	Data []byte
}

// CreateFiles is CreateFile for several files of one directory, which costs little more than one:
// each is whole or not there. It returns the indexes of those that stood there already and were
// left as they are. After an error some may have been made.
func CreateFiles(dir string, files []NewFile) (there []int, err error) {
	temps := make([]string, len(files))
	defer func() {
		for _, temp := range temps {
			if temp != "" {
				os.Remove(temp)
			}
		}
	}()
	open := make([]*os.File, len(files))
	for i, file := range files {
		if open[i], err = stage(dir, file.Data); err != nil {
			closeAll(open)
			return nil, err
		}
		temps[i] = open[i].Name()
	}
	if err := syncAll(open); err != nil {
		return nil, fmt.Errorf("write to %s: %w", dir, err)
	}
	for i, file := range files {
		err := os.Link(temps[i], filepath.Join(dir, file.Name)) // a rename would replace what is there
		if errors.Is(err, fs.ErrExist) {
			there = append(there, i)
		} else if err != nil {
			return nil, fmt.Errorf("write %s: %w", file.Name, err)
		}
		if err := os.Remove(temps[i]); err != nil {
			return nil, err
		}
		temps[i] = ""
	}
	return there, SyncDir(dir)
}

// stage writes data to a temporary file, which stays open and is not yet durable.
func stage(dir string, data []byte) (*os.File, error) {
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600, never an existing file
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(data); err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, fmt.Errorf("write to %s: %w", dir, err)
	}
	return f, nil
}

// syncAll makes the files durable, the first of which takes the others along, and closes them.
func syncAll(files []*os.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Sync())
	}
	return errors.Join(append(errs, closeAll(files))...)
}

func closeAll(files []*os.File) error {
	var errs []error
	for _, f := range files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// place writes data to a temporary file beside path, makes it durable, lets put bring it
// to its name, and makes the name durable.
func place(path string, data []byte, put func(temp, path string) error) (err error) {
	dir := filepath.Dir(path)
	f, err := stage(dir, data)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if err = syncAll([]*os.File{f}); err == nil {
		err = put(f.Name(), path)
	}
	if err == nil {
		err = SyncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
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
