package cli

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/brevet-pim/brevet"
)

// writeOut writes a new file, for its owner only, or standard output for "-". What is exported may
// hold secrets, and a file that is there may be somebody's only copy.
func (a *app) writeOut(file string, write func(io.Writer) error) error {
	if file == "-" {
		out := bufio.NewWriter(a.out)
		return errors.Join(write(out), out.Flush())
	}
	if err := createFile(file, write); err != nil {
		return err
	}
	a.tell("%s", file)
	return nil
}

// createFile writes a new file, for its owner only, whole or not at all.
func createFile(file string, write func(io.Writer) error) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return brevet.Errorf(brevet.Conflict, "%s is there already", brevet.Quote(file)).WithHint("name another file, or remove it")
	case err != nil:
		return cannotWrite(file, err)
	}
	out := bufio.NewWriter(f)
	err = write(out)
	if closed := errors.Join(out.Flush(), f.Close()); err == nil && closed != nil {
		err = cannotWrite(file, closed)
	}
	if err != nil {
		os.Remove(file) // half an export looks like a whole one
	}
	return err
}

// writeFile writes what a person asked to have, beside its place first, so that it is never half written.
func writeFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".brevet-*")
	if err != nil {
		return cannotWrite(path, err)
	}
	defer os.Remove(f.Name()) // after a rename there is nothing left to remove
	_, err = f.Write(b)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return cannotWrite(path, err)
	}
	return nil
}

func cannotWrite(path string, err error) error {
	return brevet.Errorf(brevet.Unavailable, "cannot write %s", brevet.Quote(path)).Because(err)
}

// readFile reads a file that was named, or standard input for "-", of at most so many bytes.
func (a *app) readFile(path string, most int64) ([]byte, error) {
	in := a.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, brevet.Errorf(brevet.NotFound, "cannot open %s", brevet.Quote(path)).Because(err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return nil, brevet.Errorf(brevet.Unavailable, "cannot read %s", brevet.Quote(path)).Because(err)
	}
	if int64(len(b)) > most {
		return nil, brevet.Errorf(brevet.Invalid, "%s is larger than %d bytes", brevet.Quote(path), most)
	}
	return b, nil
}
