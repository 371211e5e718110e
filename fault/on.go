//go:build fault

package fault

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// hits counts how often each point was reached in this process. The environment alone
// arms it, and only in a build with the tag, so there is no other state to pass along.
var hits = struct {
	sync.Mutex
	count map[string]int
}{count: map[string]int{}}

// Point kills the process at once, as a power cut would, if BREVET_FAULT names this hit of
// this point.
func Point(name string) {
	hits.Lock()
	defer hits.Unlock()
	hits.count[name]++
	if hits.count[name] == 1 {
		list(name)
	}
	wanted, n := armed()
	if name == wanted && hits.count[name] == n {
		die()
	}
}

func armed() (name string, n int) {
	name, nth, found := strings.Cut(os.Getenv("BREVET_FAULT"), ":")
	if !found {
		return name, 1
	}
	n, err := strconv.Atoi(nth)
	if err != nil || n < 1 {
		fail(fmt.Errorf("BREVET_FAULT: %q is not a number of a hit, like 3", nth))
	}
	return name, n
}

func list(name string) {
	path := os.Getenv("BREVET_FAULT_LIST")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		fail(err)
	}
	if _, err := fmt.Fprintln(f, name); err != nil {
		fail(err)
	}
	if err := f.Close(); err != nil {
		fail(err)
	}
}

// die does not return: no deferred function runs and nothing is flushed.
func die() {
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGKILL); err != nil {
		fail(err)
	}
	select {}
}

// fail ends a test run that could not do what it was armed for.
func fail(err error) {
	fmt.Fprintln(os.Stderr, "fault:", err)
	os.Exit(70)
}
