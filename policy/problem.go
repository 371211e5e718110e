package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/brevet-pim/brevet"
)

// Level says how bad a Problem is.
type Level string

// The levels. An Error stops a catalog from coming into force; a Warning is most likely a
// mistake; a Note is something to know.
const (
	Error   Level = "error"
	Warning Level = "warning"
	Note    Level = "note"
)

func (l Level) rank() int { return slices.Index([]Level{Error, Warning, Note}, l) }

// Problem is something wrong, or odd, in a file that people wrote.
type Problem struct {
	Level  Level  `json:"level"`
	File   string `json:"file"`   // empty if it is in no file
	Line   int    `json:"line"`   // from 1; 0: the whole file
	Column int    `json:"column"` // from 1; 0: the whole line
	About  string `json:"about"`  // the noun it is about, as in "role web-root", or ""
	What   string `json:"what"`   // one sentence, without a full stop
	Remedy string `json:"remedy"` // what to do about it, or ""
}

// String returns the problem as one line: file:line:column: what: remedy.
func (p Problem) String() string {
	var b strings.Builder
	for _, part := range []struct {
		text string
		show bool
	}{
		{p.File + ":", p.File != ""},
		{fmt.Sprintf("%d:", p.Line), p.File != "" && p.Line > 0},
		{fmt.Sprintf("%d:", p.Column), p.File != "" && p.Line > 0 && p.Column > 0},
	} {
		if part.show {
			b.WriteString(part.text)
		}
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	if p.Level != Error {
		b.WriteString(string(p.Level) + ": ")
	}
	b.WriteString(p.What)
	if p.Remedy != "" {
		b.WriteString(": " + p.Remedy)
	}
	return b.String()
}

// Problems are all that was found wrong at once. As an error it is of kind Invalid.
type Problems []Problem

// Error returns one line for each problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets brevet.KindOf and brevet.MessageOf see the problems as an Invalid error.
func (p Problems) Unwrap() error { return brevet.Errorf(brevet.Invalid, "%s", p.Error()) }

// Errors returns the problems of level Error.
func (p Problems) Errors() Problems {
	return slices.DeleteFunc(slices.Clone(p), func(one Problem) bool { return one.Level != Error })
}

// Err returns the problems of level Error as an error, and nil if there are none.
func (p Problems) Err() error {
	if errs := p.Errors(); len(errs) > 0 {
		return errs
	}
	return nil
}

// Sort puts the problems in the order of files and lines, errors first in a line.
func (p Problems) Sort() {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Level.rank(), b.Level.rank()), cmp.Compare(a.Column, b.Column))
	})
}
