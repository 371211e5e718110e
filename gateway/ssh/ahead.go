package ssh

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"
)

// Who logs in waits for the answer to each message. x/crypto queues 16 that come ahead of that, and what reads one more
// waits for room. If the login fails then, nobody makes room any more, and two goroutines with their memory are
// lost for each such connection, by whoever likes. So a client that is too far ahead is hung up on before.

// mostAhead is less than 16, since an attempt that fails may be answered twice: by the reason, and by the failure.
const mostAhead = 8

var errAhead = errors.New("the client sends without waiting for answers, before it is logged in")

// ahead is a connection that counts how many packets (RFC 4253, section 6) were read and not yet answered, until
// it is told that somebody is logged in. It knows where packets end, encrypted or not: with AES-GCM, the one
// cipher here, their lengths are in the clear (RFC 5647, section 7.3).
type ahead struct {
	net.Conn
	loggedIn   atomic.Bool
	unanswered atomic.Int32

	greeted bool   // the line with the client's version has gone by
	keyed   bool   // packets are encrypted from now on
	header  []byte // of the next packet, or a line before them, as far as it is there; x/crypto bounds lines
	left    int    // bytes of the packet
}

const (
	lengthSize = 4
	gcmTagSize = 16
	msgNewKeys = 21
)

func (a *ahead) Read(p []byte) (int, error) {
	n, err := a.Conn.Read(p)
	if n > 0 && !a.loggedIn.Load() && !a.count(p[:n]) {
		return 0, errAhead
	}
	return n, err
}

// count looks at what was read, and reports whether that is not too far ahead.
func (a *ahead) count(p []byte) bool {
	for len(p) > 0 {
		if a.left > 0 {
			skip := min(a.left, len(p))
			a.left -= skip
			p = p[skip:]
			continue
		}
		a.header = append(a.header, p[0])
		p = p[1:]
		if !a.greeted {
			a.greets()
			continue
		}
		if !a.begins() {
			continue
		}
		if a.unanswered.Add(1) > mostAhead {
			return false
		}
	}
	return true
}

// greets looks for the version, which x/crypto lets other lines precede.
func (a *ahead) greets() {
	if a.header[len(a.header)-1] != '\n' {
		return
	}
	a.greeted = bytes.HasPrefix(a.header, []byte("SSH-"))
	a.header = nil
}

// begins reports whether the header of a packet is there, and sets how much of it is left.
func (a *ahead) begins() bool {
	const padding, kind = 1, 1
	if a.keyed {
		if len(a.header) < lengthSize {
			return false
		}
		a.left = int(binary.BigEndian.Uint32(a.header)) + gcmTagSize
	} else {
		if len(a.header) < lengthSize+padding+kind {
			return false
		}
		a.left = int(binary.BigEndian.Uint32(a.header)) - padding - kind
		a.keyed = a.header[lengthSize+padding] == msgNewKeys
	}
	a.header = a.header[:0]
	return true
}

func (a *ahead) Write(p []byte) (int, error) {
	if a.unanswered.Load() > 0 && !a.loggedIn.Load() {
		a.unanswered.Add(-1) // there is one writer
	}
	return a.Conn.Write(p)
}
