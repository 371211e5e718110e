package catalog

import (
	"fmt"

	"github.com/brevet-pim/brevet/policy"
)

// Problem is something wrong, or odd, in a file of the catalog.
type Problem = policy.Problem

// Problems are all that was found at once; as an error it is Invalid.
type Problems = policy.Problems

// The levels of a Problem.
const (
	Error   = policy.Error
	Warning = policy.Warning
	Note    = policy.Note
)

// maxProblems is how many problems are told at once: more are read by nobody, and hostile input
// could make millions.
const maxProblems = 200

// few returns the problems in order, and no more of them than people read.
func few(problems Problems) Problems {
	problems.Sort()
	if len(problems) <= maxProblems {
		return problems
	}
	level := Note
	for _, p := range problems[maxProblems:] {
		if p.Level == Error || level == Note {
			level = p.Level
		}
	}
	return append(problems[:maxProblems:maxProblems], Problem{Level: level, What: fmt.Sprintf("there are %d more problems", len(problems)-maxProblems)})
}
