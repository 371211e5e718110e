// Package policy decides, with Cedar, who may do what, and says why.
//
// It owns the schema that policies are written against, the check that a policy cannot fail
// open, the index that makes a decision cost the same with ten thousand people as with ten,
// and the sentences that tell people what would change an answer. It has no store, no clock
// and no network: the same catalog and the same inputs give the same answer to the server
// that asks first and to the issuer that asks again.
//
// Everything fails closed. A policy that cannot be parsed, does not fit the schema or reads a
// claimed value in a permit is refused when it is compiled; an evaluation error, an unknown
// person, role or target, and a panic of the engine are each a refusal.
//
// Counting is not Cedar's: approval stages and their quorum are rules of this package.
package policy
