package cli

import (
	"context"
	"errors"

	"github.com/brevet-pim/brevet"
)

// The exit statuses, as docs/reference/exit-codes.md lists them.
const (
	statusOK              = 0
	statusFailure         = 1
	statusUsage           = 2
	statusNeedsYou        = 3
	statusRefused         = 4
	statusNotFound        = 5
	statusUnavailable     = 6
	statusConflict        = 7
	statusLimited         = 8
	statusUnauthenticated = 9
	statusInterrupted     = 130
)

// Status returns the exit status for the outcome of a command.
func Status(err error) int {
	if s, ok := errors.AsType[silent](err); ok {
		return s.status()
	}
	switch {
	case err == nil:
		return statusOK
	case errors.Is(err, context.Canceled):
		return statusInterrupted
	}
	switch brevet.KindOf(err) {
	case brevet.Invalid:
		return statusUsage
	case brevet.Unauthenticated:
		return statusUnauthenticated
	case brevet.Refused:
		return statusRefused
	case brevet.NotFound:
		return statusNotFound
	case brevet.Conflict:
		return statusConflict
	case brevet.Limited:
		return statusLimited
	case brevet.Unavailable:
		return statusUnavailable
	}
	return statusFailure
}

// silent is an error with an exit status of its own that may have been told already.
type silent interface {
	error
	status() int
	said() bool
}

// interrupted is a command that the person ended.
type interrupted struct{}

func (interrupted) Error() string { return "interrupted" }
func (interrupted) status() int   { return statusInterrupted }
func (interrupted) said() bool    { return true }

// exit is the end of a command that has told its outcome itself, as ssh and doctor do.
type exit int

func (e exit) Error() string { return "" }
func (e exit) status() int   { return int(e) }
func (e exit) said() bool    { return true }
