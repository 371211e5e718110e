// Package show turns what the API sends into what a terminal prints: escaped text,
// tables, times and durations, and the machine-readable forms.
//
// Everything that a person reads of somebody else's making goes through Text or
// Lines, so that a reason, a name or a command cannot act on the terminal it is shown
// on, nor look like what it is not.
package show

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"

	"github.com/brevet-pim/brevet"
)

// Text returns s on one line, with every character written out (as in \u202e) that a terminal
// would act on or that a reader could not see.
func Text(s string) string { return escape(s, "") }

// Lines is Text for text of several lines: line feeds and tabs stay.
func Lines(s string) string { return escape(s, "\n\t") }

func escape(s, keep string) string {
	if strings.IndexFunc(s, odd) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case odd(r) && !strings.ContainsRune(keep, r):
			b.WriteString(visible(r))
		default:
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

func visible(r rune) string {
	switch {
	case r == '\n':
		return `\n`
	case r == '\t':
		return `\t`
	case r == '\r':
		return `\r`
	case r < 0x100:
		return fmt.Sprintf(`\x%02x`, r)
	case r < 0x10000:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}

// odd goes further than brevet.Misleading: also blank letters, variation selectors and spaces
// that are not the space. Showing one of these as an escape costs little; hiding it may cost much.
func odd(r rune) bool {
	return brevet.Misleading(r) ||
		r != ' ' && unicode.Is(unicode.Zs, r) ||
		r == '\u2800' || // a braille cell without dots
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// Width is the number of columns that s, as Text returns it, takes on a terminal.
func Width(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

func runeWidth(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// Cut returns s in at most n columns, ending in "…" if something is missing.
func Cut(s string, n int) string {
	if Width(s) <= n {
		return s
	}
	left := n - 1
	for i, r := range s {
		if left -= runeWidth(r); left < 0 {
			return s[:i] + "…"
		}
	}
	return s
}
