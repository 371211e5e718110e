package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// mark is the file by which a folder is known as a demo's, so that no other is ever removed.
const mark = ".brevet-demo"

// folder is the demo's folder, held by this process alone.
type folder struct {
	path string
	lock *os.File
}

// claim makes the folder anew.
func claim(dir string) (*folder, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(path, mark)); err != nil {
			return nil, fmt.Errorf("%s is not a folder of an earlier demo, and is left alone: name another one with -data", path)
		}
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(path, mark), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("another demo is up in %s: end it, or name another folder with -data", path)
	}
	for _, e := range entries {
		if e.Name() == mark {
			continue
		}
		if err := os.RemoveAll(filepath.Join(path, e.Name())); err != nil {
			lock.Close()
			return nil, err
		}
	}
	return &folder{path, lock}, nil
}

// release lets another demo have the folder. What it holds stays, to be looked at.
func (f *folder) release() { f.lock.Close() }
