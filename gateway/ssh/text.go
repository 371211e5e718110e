package ssh

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/brevet-pim/brevet"
)

// sentence is what a person reads of an error.
func sentence(err error) string {
	message, hint := brevet.MessageOf(err)
	text := "Brevet: " + plain(message) + "."
	if hint = plain(hint); hint != "" {
		text += " " + capital(hint) + "."
	}
	return text
}

// capital begins text with a capital letter.
func capital(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	if size == 0 {
		return ""
	}
	return string(unicode.ToUpper(first)) + text[size:]
}

// plain takes out of text whatever could act on a terminal. Reasons and names come from people.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}

const (
	maxShown = 64  // bytes of a name in the log
	maxCause = 500 // and of an error, which may hold what a peer sent
)

// shown is a text for the log that others may have sent: cut, since it may be as long as they like, and quoted
// if it holds what could mislead whoever reads it.
func shown(text string, most int) string {
	short := text[:min(len(text), most)]
	if plain(short) != short || strings.Contains(short, "\n") {
		short = brevet.Quote(short)
	}
	if len(text) > most {
		short += "…"
	}
	return short
}

// cause is an error for the log.
func cause(err error) string {
	return shown(err.Error(), maxCause)
}

// span writes a duration as people do: 1h, 15m, 1h30m, 45s.
func span(d time.Duration) string {
	var b strings.Builder
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := d / unit.of; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, unit.name)
			d -= n * unit.of
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}

// short is the ending of a request's id that people see and may type.
func short(id brevet.RequestID) string {
	if len(id) < 8 {
		return string(id)
	}
	return string(id[:4] + id[len(id)-4:])
}
