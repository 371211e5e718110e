package remote

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

// The longest that the control plane takes.
const (
	maxSentence = 1000 // characters of a reason
	maxWord     = 200  // characters of a name
	maxCommand  = 1000 // bytes of a command; the recording has all of it, as it was
)

// words makes one line of plain text of what people, clients and targets chose, so that no report is
// refused, and lost, because of what stands in it.
func words(s string, most int) string {
	if statement.CheckText("it", s, most) == nil {
		return s
	}
	plain := clip(strings.TrimSpace(norm.NFC.String(strings.Map(visible, s))), most)
	if statement.CheckText("it", plain, most) == nil {
		return plain
	}
	return clip(brevet.Quote(s), most) // piled up accents: there is no end to what Unicode holds
}

func clip(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return strings.TrimSpace(string([]rune(s)[:most-1])) + "…"
}

// visible returns r, or what stands for it where r does not show or acts on a screen.
func visible(r rune) rune {
	switch {
	case r == '\n' || r == '\t':
		return ' '
	case !unicode.IsPrint(r), unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
		return '?'
	}
	return r
}

// command makes a command fit for a message, which takes valid UTF-8 only.
func command(s string) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	if len(s) <= maxCommand {
		return s
	}
	cut := maxCommand
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
