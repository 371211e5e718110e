package brevet

import (
	"errors"
	"fmt"
	"strconv"
)

// Kind says what sort of failure an Error is. Each surface turns kinds into its own
// codes in one switch: the API into Connect codes, the CLI into exit statuses.
type Kind int

// The kinds of failure. The zero Kind is Internal: a failure of Brevet or of what it runs on.
const (
	Internal        Kind = iota
	Invalid              // the input is wrong; the message names the field and the remedy
	Unauthenticated      // nobody proved who is asking
	Refused              // a rule, a person or a proof says no
	NotFound             // there is no such thing, or the caller may not know of it
	Conflict             // it is no longer, or not yet, in a state that allows this
	Limited              // too much or too often; later it may go through
	Unavailable          // something that is needed does not answer; nothing was done
)

var kindNames = [...]string{"internal", "invalid", "unauthenticated", "refused", "not found", "conflict", "limited", "unavailable"}

func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return kindNames[Internal]
	}
	return kindNames[k]
}

// Error is a failure with a sentence for the person who meets it. The cause, if any,
// is for the log and is never shown.
type Error struct {
	Kind    Kind
	Message string // what happened, in words for the person; no secret
	Hint    string // what to do next, or ""
	Cause   error
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Cause }

// Errorf returns an Error of the given kind. Its message is shown to people, so an
// error from elsewhere is added with Because, not formatted in.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Because returns a copy of e with the cause, which only the log shows.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.Cause = cause
	return &c
}

// WithHint returns a copy of e that also says what to do next.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// KindOf returns the kind of the first Error in err's chain, and Internal if there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// MessageOf returns what a person may be told of err: the message and hint of the first
// Error in its chain. Anything else is a failure inside Brevet, of which only that is said.
func MessageOf(err error) (message, hint string) {
	if e, ok := errors.AsType[*Error](err); ok && e.Kind != Internal {
		return e.Message, e.Hint
	}
	return "something failed inside Brevet; its log has the cause", ""
}

// Quote returns s between quotation marks with everything escaped that could act on a
// terminal or mislead a reader: control characters, bidirectional marks and whatever is not ASCII.
func Quote(s string) string { return strconv.QuoteToASCII(s) }
