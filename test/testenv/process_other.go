//go:build !linux

package testenv

import "syscall"

// endWithParent does nothing: only Linux ties a process to its parent.
func endWithParent(*syscall.SysProcAttr) {}

type descendant struct{}

// descendants finds nothing: only Linux shows the tree of processes as files.
func descendants(int) []descendant { return nil }

func (descendant) kill() {}
