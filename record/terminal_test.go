package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

// shown returns what a terminal is given of the text, before Close.
func shown(t testing.TB, text string) string {
	t.Helper()
	var out bytes.Buffer
	s := NewSafeTerminal(&out)
	if n, err := s.Write([]byte(text)); n != len(text) || err != nil {
		t.Fatalf("wrote %d of %d, %v", n, len(text), err)
	}
	return out.String()
}

// TestHarmlessPasses holds what programs draw with: it must come through as it is.
func TestHarmlessPasses(t *testing.T) {
	for _, text := range []string{
		"plain text\r\n\ttabbed\b", "ünïcödé 日本語 🙂 e\u0301", "\u00a0\u2026",
		"\x1b[31;1mred\x1b[0m", "\x1b[38;5;208mcolour\x1b[m", "\x1b[38;2;1;2;3mtrue\x1b[48:2::1:2:3m", "\x1b[4:3mcurly",
		"\x1b[H\x1b[2J\x1b[12;40H\x1b[A\x1b[3B\x1b[C\x1b[D\x1b[G\x1b[d\x1b[5`", "\x1b[K\x1b[1K\x1b[J\x1b[1J\x1b[X", "\x1b[L\x1b[2M\x1b[@\x1b[P",
		"\x1b[S\x1b[3T\x1b[2;23r", "\x1b7\x1b8\x1bD\x1bE\x1bM\x1b[s\x1b[u", "\x1b(0lqk\x1b(B", "\x1b[?1049h\x1b[?25l\x1b[?7h\x1b[?25h\x1b[?1049l", "\x1b[4h\x1b[4l", "\x1b[3b", "\x1b[I\x1b[Z",
	} {
		if got := shown(t, text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// TestHarmfulIsDropped has what makes a terminal answer, type, remember, run or lie. Each is put
// between two words, of which nothing else may remain.
func TestHarmfulIsDropped(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"the clipboard is written (OSC 52)", "\x1b]52;c;cm0gLXJmIC8K\x07", ""},
		{"the clipboard is read", "\x1b]52;c;?\x1b\\", ""},
		{"a title, and asking for it", "\x1b]0;rm -rf /\n\x07\x1b[21t", ""},
		{"an icon name by DECSLPP", "\x1b[20t\x1b[8;999;999t", ""},
		{"a link that reads otherwise (OSC 8)", "\x1b]8;;file:///etc\x1b\\x\x1b]8;;\x1b\\", "x"},
		{"a notification", "\x1b]9;hi\x07\x1b]777;notify;a;b\x07", ""},
		{"a file is sent (iTerm2)", "\x1b]1337;File=name=eA==:AAAA\x07", ""},
		{"colours are asked", "\x1b]4;1;?\x07\x1b]10;?\x07", ""},
		{"device attributes", "\x1b[c\x1b[0c\x1b[>c\x1b[=c\x1bZ", ""},
		{"where is the cursor", "\x1b[6n\x1b[?6n\x1b[5n", ""},
		{"terminal parameters", "\x1b[x\x1b[1x", ""},
		{"modes are asked", "\x1b[4$p\x1b[?25$p", ""},
		{"settings are asked (DECRQSS)", "\x1bP$qm\x1b\\", ""},
		{"termcap is asked", "\x1bP+q544e\x1b\\", ""},
		{"keys are defined (DECUDK)", "\x1bP0;1|17/726d\x1b\\", ""},
		{"a macro is defined and run", "\x1bP1;0;0!zrm\x1b\\\x1b[1*z", ""},
		{"pictures (sixel, kitty)", "\x1bPq#0\x1b\\\x1b_Gf=24;AAAA\x1b\\", ""},
		{"tmux passes on", "\x1bPtmux;\x1b\x1b]52;c;eA==\x07\x1b\\", ""},
		{"screen sets its title", "\x1bkrm -rf /\x1b\\", ""},
		{"privacy message, start of string", "\x1b^x\x1b\\\x1bXy\x1b\\", ""},
		{"a printer", "\x1b[5i\x1b[4i\x1b[?5i", ""},
		{"mouse, focus, paste", "\x1b[?1000h\x1b[?1003h\x1b[?1004h\x1b[?1006h\x1b[?2004h\x1b[?9h", ""},
		{"the mouse by another way", "\x1b[1;1;1;10;10T", ""},
		{"keys (xterm, kitty)", "\x1b[>4;2m\x1b[>1u\x1b[=1u\x1b[?u\x1b=\x1b>", ""},
		{"keyboard is locked, newline mode", "\x1b[2h\x1b[12l\x1b[20h", ""},
		{"reset", "\x1bc\x1b[!p\x1b[61\"p", ""},
		{"what was scrolled away is erased", "\x1b[3J", ""},
		{"character sets of other kinds", "\x1b)0\x1b*A\x1b%G\x1b%@\x1b(A\x0e\x0f", ""},
		{"bell, answerback, nul", "\x07\x05\x00", ""},
		{"controls of eight bits", "\x9b6n\x9d52;c;eA==\x9c", "\ufffd6n\ufffd52;c;eA==\ufffd"},
		{"controls of eight bits in UTF-8", "\u009b6n\u0090x\u009c", "\ufffd6n\ufffdx\ufffd"},
		{"text turned around", "\u202egnp.exe\u202c\u2066\u2069\u200f", "\ufffdgnp.exe\ufffd\ufffd\ufffd\ufffd"},
		{"line separators, tags", "\u2028\u2029\U000e0041", "\ufffd\ufffd\ufffd"},
		{"a sequence that is too long", "\x1b[" + strings.Repeat("1;", 500) + "6n", ""},
		{"a parameter that is too large", "\x1b[99999999999999999999999A", ""},
		{"a sequence broken off", "\x1b[31\x18\x1b[3\x1a", ""},
		{"a sequence broken by a letter of no ASCII", "\x1b[3é", "é"},
		{"a sequence in a sequence", "\x1b[\x1b[6n", ""},
		{"an escape in a string", "\x1b]0;x\x1b[6n", ""},
		{"an escape at the end of a string", "\x1b]0;x\x1b\x1b\\", ""},
		{"a broken character", "\xc3(\xe2\x82(\xff", "\ufffd(\ufffd(\ufffd"},
		{"a long form of ESC", "\xc0\x9b[6n", "\ufffd\ufffd[6n"},
		{"a surrogate", "\xed\xa0\x80", "\ufffd\ufffd\ufffd"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := shown(t, "a"+tt.text+"z"); got != "a"+tt.want+"z" {
				t.Errorf("got %q, want %q", got, "a"+tt.want+"z")
			}
			var out bytes.Buffer
			s := NewSafeTerminal(&out)
			for i := range len(tt.text) { // split everywhere
				s.Write([]byte{tt.text[i]})
			}
			s.Write([]byte("z"))
			if out.String() != tt.want+"z" {
				t.Errorf("byte by byte: got %q, want %q", out.String(), tt.want+"z")
			}
		})
	}
}

// TestAStringWithoutEndHidesNothing: what follows comes to light again.
func TestAStringWithoutEndHidesNothing(t *testing.T) {
	got := shown(t, "\x1b]0;"+strings.Repeat("x", 2*maxControlText)+"visible")
	if !strings.HasSuffix(got, "visible") || len(got) > maxControlText+20 {
		t.Errorf("%d bytes, the last %q", len(got), got[max(0, len(got)-20):])
	}
}

// TestCloseLeavesTheTerminalAsItWas has sessions that end in the middle of something.
func TestCloseLeavesTheTerminalAsItWas(t *testing.T) {
	tests := []struct{ text, want string }{
		{"plain", ""},
		{"\x1b[31mred", "\x1b[0m"},
		{"\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"},
		{"\x1b[?1049h\x1b[?1049l", ""},
		{"\x1b[?7l\x1b[?6h", "\x1b[?6l\x1b[?7h"},
		{"\x1b[4h", "\x1b[4l"},
		{"\x1b(0", "\x1b(B"},
		{"\x1b(0\x1b(B", ""},
		{"\x1b[2;10r", "\x1b7\x1b[r\x1b8"},
		{"\x1b[31", ""},
		{"\x1b]0;half a title", ""},
		{"half a character \xe2\x82", "\ufffd"},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		s := NewSafeTerminal(&out)
		s.Write([]byte(tt.text))
		out.Reset()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if out.String() != tt.want {
			t.Errorf("%q: got %q, want %q", tt.text, out.String(), tt.want)
		}
		out.Reset()
		if s.Close(); out.Len() > 0 {
			t.Errorf("%q: closed again: %q", tt.text, out.String())
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("hung up") }

func TestSafeTerminalTellsOfFailure(t *testing.T) {
	if n, err := NewSafeTerminal(broken{}).Write([]byte("x")); n != 0 || err == nil {
		t.Errorf("got %d, %v", n, err)
	}
}

// FuzzSafeTerminal looks at what is passed as a terminal would: it must be made of what is listed
// here, whatever was put in, and the same however that was split.
func FuzzSafeTerminal(f *testing.F) {
	for _, text := range []string{"\x1b[31mx\x1b[0m", "\x1b]52;c;eA==\x07", "\x1bP$q\x1b\\", "\x9b6n", "\xc0\x9b", "\x1b[?1049;25h", "\x1b(0q\x1b(B", "\x1b[\x1b\x18\x7f\x00"} {
		f.Add([]byte(text), 3)
	}
	f.Fuzz(func(t *testing.T, text []byte, split int) {
		got := shown(t, string(text))
		if err := harmless(got); err != nil {
			t.Fatalf("%q became %q: %v", text, got, err)
		}
		if len(text) == 0 {
			return
		}
		at := int(uint(split) % uint(len(text)))
		var out bytes.Buffer
		s := NewSafeTerminal(&out)
		s.Write(text[:at])
		s.Write(text[at:])
		if out.String() != got {
			t.Errorf("%q split at %d: %q, whole %q", text, at, out.String(), got)
		}
		s.Close()
		if err := harmless(out.String()); err != nil {
			t.Error(err)
		}
	})
}

// harmless is written from the list of what may pass, not from the filter.
func harmless(text string) error {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return fmt.Errorf("byte %x of no character", text[i])
		case r == 0x1b:
			n := sequenceLength(text[i:])
			if n == 0 {
				return fmt.Errorf("%.20q", text[i:])
			}
			i += n
			continue
		case r < 0x20 && !strings.ContainsRune("\r\n\b\t", r), r >= 0x7f && r < 0xa0:
			return fmt.Errorf("control %U", r)
		}
		i += size
	}
	return nil
}

// sequenceLength returns how long the allowed sequence at the head of s is, or 0.
func sequenceLength(s string) int {
	if len(s) < 2 {
		return 0
	}
	switch {
	case strings.ContainsRune("78DEM", rune(s[1])):
		return 2
	case s[1] == '(' && len(s) > 2 && strings.ContainsRune("0B", rune(s[2])):
		return 3
	case s[1] != '[':
		return 0
	}
	n := 2
	private := n < len(s) && s[n] == '?'
	if private {
		n++
	}
	for n < len(s) && strings.IndexByte("0123456789;:", s[n]) >= 0 {
		n++
	}
	if n == len(s) {
		return 0
	}
	allowed := "@ABCDEFGHIJKLMPSTXZ`abdefmrsuhl"
	if private {
		allowed = "hl"
	}
	if strings.IndexByte(allowed, s[n]) < 0 {
		return 0
	}
	return n + 1
}

func BenchmarkSafeTerminal(b *testing.B) {
	data := []byte(strings.Repeat("\x1b[32mGET\x1b[0m /orders/17 200 0.012s – ok\r\n", 1000))
	s := NewSafeTerminal(io.Discard)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		s.Write(data)
	}
}
