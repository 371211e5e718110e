// Package proof says what a grant rests on, and checks it.
//
// It owns the State that the log's roster, catalog and revocation statements add up to, the
// Bundle that carries everything one grant rests on, and the checks themselves. The server
// uses them at intake, the issuer before it signs, gateways before they connect anybody, and
// `brevet verify` offline, so all four believe the same things for the same reasons.
//
// Everything here is pure: no store, no network, and the time is a parameter. Order is that of
// the log, given as the index of each statement's leaf: a statement counts if its leaf stands
// after its key's enrolment and before its retirement, whatever times were written into it.
package proof
