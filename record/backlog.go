package record

import (
	"bytes"
	"slices"
)

// backlogBytes is how much of the latest output a new watcher sees first.
const backlogBytes = 64 << 10

// backlog holds the latest backlogBytes that were written to it, in only as much memory as they
// need, and remembers whether what is lost before them left the terminal on its alternate screen,
// where editors and pagers draw.
type backlog struct {
	buf   []byte
	start int // of the oldest byte, once buf is full
	lost  screen

	terminal bool // only a terminal has screens: what goes elsewhere, and much does, is not searched for them
}

func (b *backlog) write(p []byte) {
	if n := len(p) - backlogBytes; n > 0 {
		b.lose(len(b.buf))
		if b.terminal {
			b.lost.pass(p[:n])
		}
		b.buf, b.start = append(b.buf[:0], p[n:]...), 0
		return
	}
	n := min(len(p), backlogBytes-len(b.buf))
	b.buf = append(b.buf, p[:n]...)
	p = p[n:]
	b.lose(len(p))
	for ; len(p) > 0; p = p[n:] {
		n = copy(b.buf[b.start:], p)
		b.start = (b.start + n) % backlogBytes
	}
}

// lose lets the oldest n bytes pass, which are about to be written over.
func (b *backlog) lose(n int) {
	if !b.terminal {
		return
	}
	older := b.buf[b.start:]
	b.lost.pass(older[:min(n, len(older))])
	b.lost.pass(b.buf[:max(0, n-len(older))])
}

// bytes returns a copy, from where a terminal can begin: where older bytes are lost, not inside
// a character or a sequence but with a line, or else a sequence, if there is one soon.
func (b *backlog) bytes() []byte {
	latest := append(bytes.Clone(b.buf[b.start:]), b.buf[:b.start]...)
	if len(latest) < backlogBytes {
		return latest
	}
	soon := latest[:backlogBytes/16]
	if i := bytes.IndexByte(soon, '\n'); i >= 0 {
		latest = latest[i+1:]
	} else if i := bytes.IndexByte(soon, 0x1b); i >= 0 {
		latest = latest[i:]
	}
	if b.lost.alternate {
		latest = slices.Concat([]byte(enterAlternate), latest)
	}
	return latest
}

// enterAlternate saves the cursor and shows an empty alternate screen.
const enterAlternate = "\x1b[?1049h"

// screen follows which of its two screens a terminal shows.
type screen struct {
	alternate bool
	begun     []byte // of a sequence whose rest comes with the next bytes
}

// maxMode is the longest sequence that sets modes and is looked at.
const maxMode = 32

// pass looks at the bytes that a terminal was given. It skips from one escape to the next, since
// every byte of a session comes by here.
func (s *screen) pass(p []byte) {
	if len(s.begun) > 0 {
		n := min(len(p), maxMode)
		joined := append(s.begun, p[:n]...)
		s.begun = nil
		s.look(joined[:min(len(joined), maxMode)])
	}
	for {
		i := bytes.IndexByte(p, 0x1b)
		if i < 0 {
			return
		}
		s.look(p[i:min(len(p), i+maxMode)])
		p = p[i+1:]
	}
}

// look takes what begins with an escape.
func (s *screen) look(p []byte) {
	const begin = "\x1b[?"
	if len(p) < len(begin) && string(p) == begin[:len(p)] {
		s.begun = bytes.Clone(p)
		return
	}
	params, ok := bytes.CutPrefix(p, []byte(begin))
	if !ok {
		return
	}
	end := bytes.IndexFunc(params, func(r rune) bool { return r != ';' && (r < '0' || r > '9') })
	if end < 0 {
		if len(p) < maxMode {
			s.begun = bytes.Clone(p)
		}
		return
	}
	final := params[end]
	if final != 'h' && final != 'l' {
		return
	}
	for mode := range bytes.SplitSeq(params[:end], []byte(";")) {
		switch string(mode) {
		case "47", "1047", "1049":
			s.alternate = final == 'h'
		}
	}
}
