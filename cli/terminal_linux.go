package cli

import "golang.org/x/sys/unix"

// The calls by which Linux reads and changes what a terminal does; the last drops what was typed and not read.
const (
	getTermios         = unix.TCGETS
	setTermios         = unix.TCSETS
	setTermiosDropping = unix.TCSETSF
)
