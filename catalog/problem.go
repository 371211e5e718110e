package catalog

import "github.com/brevet-pim/brevet/policy"

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
