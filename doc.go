// Package brevet is the vocabulary of privileged identity management: the
// nouns that every other package speaks of, their ids, states and errors.
//
// It imports the standard library only and does nothing by itself: what may
// happen to a request or a grant stands in the tables of request.go and
// grant.go, and package flow moves them along.
package brevet
