// Package statement owns what people and machines sign: the payloads, the envelope that
// carries them, and the keys and signatures on it.
//
// Everything that is signed has one form. A payload is JSON in the form of RFC 8785, the
// envelope is DSSE (https://github.com/secure-systems-lab/dsse), and what a key signs is
// DSSE's pre-authentication encoding of the payload's type and bytes, so that a signature
// on one kind of statement is never good for another. The bytes that were signed are the
// bytes that are kept; nothing is written anew before it is verified.
//
// The package says whether a statement is well formed and whether a given key made a given
// signature. It does not know who may say what: which key belongs to whom, what is in date,
// and how many must sign are questions for package proof.
package statement
