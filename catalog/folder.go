package catalog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/brevet-pim/brevet"
)

// File is one file of a catalog's folder. Its name has slashes and is relative to the folder.
type File struct{ Name, Text string }

// ReadDir is Read for a folder of this machine. Nothing outside the folder is read, wherever a
// link in it leads. The error is that of a folder that cannot be opened.
func ReadDir(dir string) (brevet.Catalog, Problems, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return brevet.Catalog{}, nil, notAFolder(dir, err)
	}
	defer root.Close()
	c, problems := Read(root.FS())
	return c, problems, nil
}

func notAFolder(dir string, err error) error {
	kind := brevet.Invalid
	if errors.Is(err, fs.ErrNotExist) {
		kind = brevet.NotFound
	}
	return brevet.Errorf(kind, "%s cannot be read as a folder: %s", brevet.Quote(dir), cause(err)).
		WithHint("name the folder that has the roles, targets, groups and policies").Because(err)
}

// Write writes files into the folder, which it makes if need be. It replaces nothing: if one of
// the files is there already, none is written and the error is a Conflict.
func Write(dir string, files []File) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the catalog's folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return notAFolder(dir, err)
	}
	defer root.Close()
	for _, f := range files {
		if _, err := root.Lstat(f.Name); err == nil {
			return brevet.Errorf(brevet.Conflict, "%s has a file %s already", brevet.Quote(dir), f.Name).WithHint("name an empty folder")
		}
	}
	for _, f := range files {
		if err := writeNew(root, f); err != nil {
			return fmt.Errorf("write %s: %w", f.Name, err)
		}
	}
	return nil
}

func writeNew(root *os.Root, f File) error {
	if folder := path.Dir(f.Name); folder != "." {
		if err := root.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	out, err := root.OpenFile(f.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = out.WriteString(f.Text)
	return errors.Join(err, out.Close())
}
