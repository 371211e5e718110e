package proof

import (
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet/statement"
)

// Report is what a bundle was found to prove.
type Report struct {
	Lines   []Line
	Verdict *Verdict
	Intent  statement.Intent
	Grant   statement.Grant
	// Certificate is the grant's, verified; nil if the bundle has none.
	Certificate *ssh.Certificate
	// Revoked is what the bundle, or the state that it was checked against, says to be over: the
	// grant was rightly given, and must not be used any more.
	Revoked []Heard
	// Expired is whether the grant's time was over when it was checked.
	Expired bool
	// State is what stands after the bundle's chains.
	State *State
	// Size is that of the log in the checkpoint.
	Size int64
}

// Mark is how a line counts.
type Mark string

// The marks: it holds; it was not shown, so is not known; it holds and somebody should look.
const (
	Holds    Mark = "✓"
	NotShown Mark = "–"
	Notice   Mark = "!"
)

// Line is one thing that was checked, for people.
type Line struct {
	Mark    Mark
	Subject string // root, request, policy …
	Text    string
}

// String returns the lines as a terminal shows them. Nothing in them comes unescaped from a statement.
func (r *Report) String() string {
	var b strings.Builder
	for _, l := range r.Lines {
		b.WriteString(string(l.Mark) + " " + l.Subject)
		for i := len(l.Subject); i < 9; i++ {
			b.WriteByte(' ')
		}
		b.WriteString(" " + l.Text + "\n")
	}
	return b.String()
}

func (r *Report) add(mark Mark, subject, text string) {
	r.Lines = append(r.Lines, Line{mark, subject, text})
}
