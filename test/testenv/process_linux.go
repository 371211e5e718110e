package testenv

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// endWithParent has the kernel end the process when the thread that started it ends.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGTERM }

// descendant is a process below one of ours, with its start time, since a
// process id alone may by now belong to somebody else.
type descendant struct {
	pid   int
	since string
}

// descendants returns the processes that pid started, and theirs. A server
// whose connections leave its process group, as sshd's do, is ended whole by it.
func descendants(pid int) []descendant {
	children := map[int][]descendant{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	for _, path := range stats {
		child, parent, err := readStat(path)
		if err == nil {
			children[parent] = append(children[parent], child)
		}
	}
	var found []descendant
	for next := []int{pid}; len(next) > 0; next = next[1:] {
		for _, c := range children[next[0]] {
			found = append(found, c)
			next = append(next, c.pid)
		}
	}
	return found
}

// readStat reads a process's id, its parent's, and when it started (proc(5)).
func readStat(path string) (child descendant, parent int, err error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return descendant{}, 0, err
	}
	// The second field is the name in parentheses and may hold anything.
	end := bytes.LastIndexByte(raw, ')')
	fields := strings.Fields(string(raw[end+1:]))
	if end < 0 || len(fields) < 20 {
		return descendant{}, 0, fmt.Errorf("%s: unknown form", path)
	}
	pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
	if err != nil {
		return descendant{}, 0, err
	}
	parent, err = strconv.Atoi(fields[1])
	return descendant{pid: pid, since: fields[19]}, parent, err
}

// kill ends the process if it is still the one that was found.
func (d descendant) kill() {
	now, _, err := readStat(fmt.Sprintf("/proc/%d/stat", d.pid))
	if err == nil && now == d {
		_ = syscall.Kill(d.pid, syscall.SIGKILL)
	}
}
