package brevet

import (
	"slices"
	"unicode"
	"unicode/utf8"
)

// CheckText returns an Invalid error if text could act on a terminal or mislead its reader:
// if it is not UTF-8, or has control, bidirectional or invisible characters. Line feeds and
// tabs are allowed only if lines is true. What names the field for the message.
func CheckText(what, text string, lines bool) error {
	if !utf8.ValidString(text) {
		return Errorf(Invalid, "%s is not UTF-8", what)
	}
	for _, r := range text {
		if Misleading(r) && !(lines && (r == '\n' || r == '\t')) {
			return Errorf(Invalid, "%s has the character %U, which is invisible or acts on a terminal: remove it", what, r)
		}
	}
	return nil
}

// Misleading reports whether r cannot be seen or changes how others are seen: controls, format
// characters (zero width, bidirectional marks), line and paragraph separators, private use.
func Misleading(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs)
}

// Nearest returns the one of words that somebody who typed word most likely meant, and false
// if none is near.
func Nearest(word string, words []string) (string, bool) {
	best, least := "", len(word)/3+2
	for _, w := range words {
		if abs(len(w)-len(word)) >= least {
			continue
		}
		if d := distance(word, w); d < least {
			best, least = w, d
		}
	}
	return best, best != "" && least < len(word)
}

// distance is the number of bytes to insert, delete, replace or swap with a neighbour to make
// a into b (optimal string alignment).
func distance(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			same := 1
			if a[i] == b[j] {
				same = 0
			}
			next[j+1] = slices.Min([]int{next[j] + 1, row[j+1] + 1, row[j] + same})
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}

func abs(n int) int { return max(n, -n) }
