package record

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// SafeTerminal passes to a terminal what a recorded or watched session may do there: print,
// move the cursor, erase, scroll, colour, use the alternate screen. Everything that acts
// beyond that is dropped: what writes the clipboard, sets titles or keys, makes the
// terminal answer (its answer would be typed into the watcher's shell), changes how it
// reads input, or resets it. It works whatever way the bytes are split over writes.
//
// A session is hostile here: who records or watches it runs nothing of it.
type SafeTerminal struct {
	w     io.Writer
	out   []byte
	state terminalState
	seq   []byte // parameters and intermediates of the control sequence being read
	text  int    // bytes of a control string, dropped so far
	char  []byte // the beginning of a UTF-8 character

	// What the session changed, for Close to put back.
	private  map[int]bool // private modes that stand otherwise than at a terminal's start
	insert   bool
	margins  bool
	coloured bool
	lines    bool // line drawing characters are designated
}

type terminalState int

const (
	ground       terminalState = iota
	escape                     // after ESC
	intermediate               // ESC and intermediates: the next final byte ends it
	charset                    // after ESC (
	control                    // after CSI
	overlong                   // a control sequence longer than any that is passed
	controlText                // in a string: OSC, DCS, APC, PM, SOS
	textEscape                 // after an ESC in a string
)

const (
	maxSequence = 128
	// maxControlText is the longest control string that is dropped whole. What goes on
	// for longer is shown as text: a string without an end must not hide the rest.
	maxControlText = 64 << 10
	// maxParameter bounds how often something is repeated.
	maxParameter = 9999
)

// privateModes are those that may be set and reset, with how they stand at first:
// origin, autowrap, cursor, and the four ways to the alternate screen.
var privateModes = map[int]bool{6: false, 7: true, 25: true, 47: false, 1047: false, 1048: false, 1049: false}

// finals are the final bytes of control sequences that are passed: cursor movement,
// tabulation, erasing, inserting and deleting, scrolling, repetition, colour, margins.
const finals = "@ABCDEFGHIJKLMPSTXZ`abdefmr"

// NewSafeTerminal returns a SafeTerminal that writes to w.
func NewSafeTerminal(w io.Writer) *SafeTerminal {
	return &SafeTerminal{w: w, private: map[int]bool{}}
}

// Write passes on what is harmless in p. It reports len(p) unless the terminal fails.
func (t *SafeTerminal) Write(p []byte) (int, error) {
	t.out = t.out[:0]
	for _, b := range p {
		t.step(b)
	}
	if len(t.out) > 0 {
		if _, err := t.w.Write(t.out); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// Close puts back what the session changed: colours, cursor, screen, margins, characters.
func (t *SafeTerminal) Close() error {
	t.out = t.out[:0]
	t.flushChar()
	t.state = ground
	if t.coloured {
		t.out = append(t.out, "\x1b[0m"...)
	}
	if t.lines {
		t.out = append(t.out, "\x1b(B"...)
	}
	if t.insert {
		t.out = append(t.out, "\x1b[4l"...)
	}
	if t.margins {
		t.out = append(t.out, "\x1b7\x1b[r\x1b8"...) // setting margins moves the cursor
	}
	modes := make([]int, 0, len(t.private))
	for mode := range t.private {
		modes = append(modes, mode)
	}
	slices.Sort(modes)
	for _, mode := range modes {
		final := byte('l')
		if privateModes[mode] {
			final = 'h'
		}
		t.out = append(strconv.AppendInt(append(t.out, "\x1b[?"...), int64(mode), 10), final)
	}
	t.coloured, t.lines, t.insert, t.margins = false, false, false, false
	clear(t.private)
	if len(t.out) == 0 {
		return nil
	}
	_, err := t.w.Write(t.out)
	return err
}

// step takes one byte, as the state machine of a VT500 would
// (https://vt100.net/emu/dec_ansi_parser), and appends to out what is passed.
func (t *SafeTerminal) step(b byte) {
	if len(t.char) > 0 && t.continues(b) {
		return
	}
	switch {
	case b == 0x1b:
		t.escapeByte()
	case b == 0x18 || b == 0x1a: // CAN and SUB break off whatever goes on
		t.state = ground
	case t.state == controlText || t.state == textEscape:
		t.stringByte(b)
	case b < 0x20: // C0 controls act in the middle of a sequence too
		if b == '\r' || b == '\n' || b == '\b' || b == '\t' {
			t.out = append(t.out, b)
		}
	case b == 0x7f:
	case b >= 0x80:
		// No byte of a sequence is beyond ASCII: it is broken, and this is text.
		t.state = ground
		t.begin(b)
	default:
		t.printable(b)
	}
}

func (t *SafeTerminal) escapeByte() {
	if t.state == controlText || t.state == textEscape {
		t.state = textEscape
		return
	}
	t.state = escape
}

// printable takes a byte from space to tilde.
func (t *SafeTerminal) printable(b byte) {
	switch t.state {
	case ground:
		t.out = append(t.out, b)
	case escape:
		t.afterEscape(b)
	case intermediate:
		if b >= 0x30 {
			t.state = ground
		}
	case charset:
		t.state = ground
		if b == '0' || b == 'B' { // line drawing, as curses does it, and back
			t.out = append(t.out, 0x1b, '(', b)
			t.lines = b == '0'
		}
	case control:
		switch {
		case b >= 0x40:
			t.state = ground
			t.controlSequence(b)
		case len(t.seq) == maxSequence:
			t.state = overlong
		default:
			t.seq = append(t.seq, b)
		}
	case overlong:
		if b >= 0x40 {
			t.state = ground
		}
	}
}

func (t *SafeTerminal) afterEscape(b byte) {
	t.state = ground
	switch {
	case b == '[':
		t.state, t.seq = control, t.seq[:0]
	case b == '(':
		t.state = charset
	case b == ']' || b == 'P' || b == 'X' || b == '^' || b == '_' || b == 'k': // k is a title for screen and tmux
		t.state, t.text = controlText, 0
	case b < 0x30:
		t.state = intermediate
	case b == '7' || b == '8' || b == 'D' || b == 'E' || b == 'M': // save, restore, index, next line, reverse index
		t.out = append(t.out, 0x1b, b)
	}
}

// stringByte drops a byte of a control string.
func (t *SafeTerminal) stringByte(b byte) {
	if t.state == textEscape {
		// ESC \ ends the string, and any other sequence does too.
		t.state = escape
		t.step(b)
		return
	}
	if b == 0x07 {
		t.state = ground
		return
	}
	if t.text++; t.text > maxControlText {
		t.state = ground
	}
}

// controlSequence passes on CSI seq final, if all of it is known and harmless.
func (t *SafeTerminal) controlSequence(final byte) {
	if rest, ok := bytes.CutPrefix(t.seq, []byte("?")); ok {
		t.privateMode(rest, final)
		return
	}
	params, ok := parameters(t.seq, final == 'm')
	if !ok {
		return
	}
	first := 0
	if len(params) > 0 {
		first = params[0]
	}
	switch {
	case final == 's' || final == 'u': // save and restore the cursor; with parameters it is something else
		if len(t.seq) != 0 {
			return
		}
	case final == 'h' || final == 'l':
		if string(t.seq) != "4" { // insert mode
			return
		}
		t.insert = final == 'h'
	case final == 'T' && len(params) > 1: // not scrolling but tracking the mouse
		return
	case final == 'J' && first > 2: // 3 takes away what the watcher could scroll back to
		return
	case bytes.IndexByte([]byte(finals), final) < 0:
		return
	}
	t.margins = t.margins || final == 'r'
	t.coloured = t.coloured || final == 'm'
	t.out = append(append(append(t.out, 0x1b, '['), t.seq...), final)
}

// privateMode passes on CSI ? params h or l, for the modes among them that may be set.
func (t *SafeTerminal) privateMode(seq []byte, final byte) {
	params, ok := parameters(seq, false)
	if !ok || final != 'h' && final != 'l' {
		return
	}
	for _, mode := range params {
		initial, known := privateModes[mode]
		if !known {
			continue
		}
		if on := final == 'h'; on != initial {
			t.private[mode] = true
		} else {
			delete(t.private, mode)
		}
		t.out = append(strconv.AppendInt(append(t.out, "\x1b[?"...), int64(mode), 10), final)
	}
}

// parameters reads numbers between semicolons, of which an empty one is 0, and for
// colours between colons too. Anything else makes the sequence another one.
func parameters(seq []byte, colons bool) (params []int, ok bool) {
	if len(seq) == 0 {
		return nil, true
	}
	n := 0
	for _, b := range seq {
		switch {
		case '0' <= b && b <= '9':
			if n = 10*n + int(b-'0'); n > maxParameter {
				return nil, false
			}
		case b == ';' || b == ':' && colons:
			params = append(params, n)
			n = 0
		default:
			return nil, false
		}
	}
	return append(params, n), true
}

// begin takes the first byte of a character beyond ASCII.
func (t *SafeTerminal) begin(b byte) {
	t.char = append(t.char, b)
	t.complete()
}

// continues takes a byte inside a character and reports whether it belonged there.
func (t *SafeTerminal) continues(b byte) bool {
	if b&0xc0 != 0x80 {
		t.flushChar()
		return false
	}
	t.char = append(t.char, b)
	t.complete()
	return true
}

// complete prints the character once it is whole or cannot become so.
func (t *SafeTerminal) complete() {
	if !utf8.FullRune(t.char) {
		return
	}
	r, size := utf8.DecodeRune(t.char)
	rest := append([]byte(nil), t.char[size:]...)
	t.char = t.char[:0]
	t.print(r)
	for _, b := range rest { // of a broken character: each stands for itself
		t.begin(b)
	}
}

// flushChar prints the mark of a broken character, if one has begun.
func (t *SafeTerminal) flushChar() {
	if len(t.char) > 0 {
		t.char = t.char[:0]
		t.print(utf8.RuneError)
	}
}

// print appends a character beyond ASCII. C1 controls act like sequences on some terminals,
// marks of direction make text read otherwise than it is, and tags are text that nobody sees.
func (t *SafeTerminal) print(r rune) {
	if r < 0xa0 || unicode.Is(unicode.Bidi_Control, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) || 0xe0000 <= r && r < 0xe0080 {
		r = utf8.RuneError
	}
	t.out = utf8.AppendRune(t.out, r)
}
