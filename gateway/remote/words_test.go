package remote

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/brevet-pim/brevet/statement"
)

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "",
		"plain":                      "plain",
		"two\nlines\r\n":             "two lines?",
		"\x1b]52;c;aGk=\x07":         "?]52;c;aGk=?",
		"\xff\xfe":                   "\ufffd\ufffd",
		"u\u0308ber":                 "über",
		"a\u202eb\u200bc\ufe0fd":     "a?b?c?d",
		strings.Repeat("ä", 30):      strings.Repeat("ä", 19) + "…",
		strings.Repeat("a ", 10):     strings.TrimSpace(strings.Repeat("a ", 10)),
		strings.Repeat("a ", 9) + "": strings.TrimSpace(strings.Repeat("a ", 9)),
	} {
		if got := words(text, 20); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func FuzzWords(f *testing.F) {
	f.Add("a\u0301\u034f\u115f \U000e0100x", 3)
	f.Add("\xf0\x28\x8c\x28", 1)
	f.Add(strings.Repeat("\u0344", 20), 10)
	f.Fuzz(func(t *testing.T, text string, most int) {
		most = 2 + max(0, most)%200
		if got := words(text, most); statement.CheckText("it", got, most) != nil {
			t.Errorf("%q becomes %q (%d): %v", text, got, most, statement.CheckText("it", got, most))
		}
		if got := command(text); !utf8.ValidString(got) || len(got) > maxCommand+3 {
			t.Errorf("%q becomes %q", text, got)
		}
	})
}
