package api

import (
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

// Longest texts of messages, in characters.
const (
	maxReason = 1000
	maxSearch = 200
	maxID     = 64  // bytes of an id or of its ending
	maxWord   = 200 // of what a gateway reports: a fingerprint, a sentence's kind
)

// check returns an Invalid error that tells of every field that is wrong, or nil.
func check(fields ...error) error {
	var wrong []string
	hint := ""
	for _, err := range fields {
		if err == nil {
			continue
		}
		message, more := brevet.MessageOf(err)
		wrong = append(wrong, message)
		if hint == "" {
			hint = more
		}
	}
	if wrong == nil {
		return nil
	}
	return brevet.Errorf(brevet.Invalid, "%s", strings.Join(wrong, "; ")).WithHint("%s", hint).Because(errors.Join(fields...))
}

// wrong is the error of one field.
func wrong(field, format string, args ...any) *brevet.Error {
	e := brevet.Errorf(brevet.Invalid, format, args...)
	e.Message = field + ": " + e.Message
	return e
}

// inField names the field in the error of what reads it.
func inField(field string, err error) error {
	if err == nil {
		return nil
	}
	message, hint := brevet.MessageOf(err)
	return wrong(field, "%s", message).WithHint("%s", hint).Because(err)
}

// named wants the name of a noun.
func named(field, name string) error { return brevet.CheckName(field, name) }

// namedIf wants the name of a noun, or nothing.
func namedIf(field, name string) error {
	if name == "" {
		return nil
	}
	return named(field, name)
}

// allNamed wants the names of nouns.
func allNamed(field string, names []string) error {
	for _, name := range names {
		if err := named(field, name); err != nil {
			return err
		}
	}
	return nil
}

// ending wants an id, or an ending of one.
func ending(field, id string) error {
	if id == "" {
		return wrong(field, "it is missing")
	}
	return endingIf(field, id)
}

// endingIf wants an id, an ending of one, or nothing.
func endingIf(field, id string) error {
	if len(id) > maxID || strings.Trim(id, "0123456789abcdefghijklmnopqrstuvwxyz_") != "" {
		return wrong(field, "%s is no id, nor the ending of one", brevet.Quote(id[:min(len(id), maxID)]))
	}
	return nil
}

// oneOf wants one of the words.
func oneOf[T ~string](field, word string, words ...T) error {
	if slices.Contains(words, T(word)) {
		return nil
	}
	return wrong(field, "%s is none of: %s", brevet.Quote(word[:min(len(word), maxID)]), strings.Join(texts(words), ", "))
}

// allOf wants only such words.
func allOf[T ~string](field string, given []string, words ...T) error {
	for _, word := range given {
		if err := oneOf(field, word, words...); err != nil {
			return err
		}
	}
	return nil
}

// text wants text that is fit to be shown and kept, or nothing.
func text(field, s string, most int) error {
	return inField(field, statement.CheckText("it", s, most))
}

// signed wants the bytes of a statement. What they say is read by flow.
func signed(field string, envelope []byte) error {
	switch {
	case len(envelope) == 0:
		return wrong(field, "it is missing; give the signed envelope")
	case len(envelope) > statement.MaxEnvelope:
		return wrong(field, "it has %d bytes, at most %d can be read", len(envelope), statement.MaxEnvelope)
	}
	return nil
}

// between wants a number of a range.
func between[N int32 | int64](field string, n, least, most N) error {
	if n < least || n > most {
		return wrong(field, "%d is not between %d and %d", n, least, most)
	}
	return nil
}

// span wants a duration in whole seconds, from zero on.
func span(field string, seconds int64, most time.Duration) error {
	return between(field, seconds, 0, int64(most/time.Second))
}

// logRange wants a range of the log: to is its end, or 0 for the newest.
func logRange(fromField, toField string, from, to int64) error {
	return check(between(fromField, from, 0, math.MaxInt64), between(toField, to, 0, math.MaxInt64), ordered(fromField, from, to))
}

func ordered(field string, from, to int64) error {
	if to != 0 && from > to {
		return wrong(field, "%d is beyond the range's end %d", from, to)
	}
	return nil
}

// sized wants bytes of text, at most so many.
func sized(field, s string, most int) error {
	switch {
	case s == "":
		return wrong(field, "it is missing")
	case len(s) > most:
		return wrong(field, "it has %d bytes, at most %d can be read", len(s), most)
	}
	return nil
}

// filled wants bytes.
func filled(field string, b []byte) error {
	if len(b) == 0 {
		return wrong(field, "it is missing")
	}
	return nil
}
