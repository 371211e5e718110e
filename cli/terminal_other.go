//go:build !linux

package cli

import "golang.org/x/sys/unix"

// The same calls of the BSDs and of macOS.
const (
	getTermios         = unix.TIOCGETA
	setTermios         = unix.TIOCSETA
	setTermiosDropping = unix.TIOCSETAF
)
