// Package audit owns the form of the audit log: what an event looks like (Record, Kinds),
// how it stands in the log (Leaf), the Merkle tree over the leaves (Head), and the signed
// checkpoints and proofs that let anyone check the log without trusting who keeps it.
//
// The tree is that of RFC 6962 and checkpoints are those of C2SP, so that stock tools read
// both. Package store keeps the log in its tables; the issuer, gateways and the CLI use
// this package to follow and verify it. There is no SQL here.
package audit

import (
	"crypto/sha256"
	"encoding/hex"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/brevet-pim/brevet"
)

// Leaf is what the log commits to of one event: enough to see that a request was spent or
// a key retired, without the event's body, which retention may erase.
type Leaf struct {
	Kind    string
	Subject string   // id of a statement, or of what it happened to
	Body    [32]byte // see BodyHash
}

// leafVersion begins every leaf, so that a leaf is never read as anything else that is hashed.
const leafVersion = "brevet.leaf.v1\n"

// The longest kind and subject of a leaf, in bytes.
const (
	MaxKind    = 64
	MaxSubject = 160
)

// BodyHash returns SHA-256(salt ‖ body). The salt keeps a body that was erased from being
// guessed by its hash; salts are SaltSize bytes, so that the boundary is fixed.
func BodyHash(salt [SaltSize]byte, body []byte) [32]byte {
	h := sha256.New()
	h.Write(salt[:])
	h.Write(body)
	return [32]byte(h.Sum(nil))
}

// SaltSize is the length of a salt in bytes.
const SaltSize = 16

// Check returns an Invalid error unless kind and subject are plain enough that two
// different leaves cannot have the same bytes.
func (l Leaf) Check() error {
	if !plain(l.Kind, MaxKind) {
		return brevet.Errorf(brevet.Invalid, "%s is not a kind of event", brevet.Quote(clip(l.Kind, MaxKind)))
	}
	if !plain(l.Subject, MaxSubject) {
		return brevet.Errorf(brevet.Invalid, "%s is not the subject of an event: use up to %d letters, digits and . _ : / + = @ -",
			brevet.Quote(clip(l.Subject, MaxSubject)), MaxSubject)
	}
	return nil
}

// plain reports whether s is not empty, at most max bytes, and has only characters of ids
// and of fingerprints as OpenSSH prints them. No blank and no line end is among them.
func plain(s string, max int) bool {
	if s == "" || len(s) > max {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == ':', c == '/', c == '+', c == '=', c == '@', c == '-':
		default:
			return false
		}
	}
	return true
}

// Bytes returns the leaf as the log hashes it: four lines, each ended by a newline.
func (l Leaf) Bytes() []byte {
	b := make([]byte, 0, len(leafVersion)+len(l.Kind)+len(l.Subject)+2*len(l.Body)+3)
	b = append(b, leafVersion...)
	b = append(b, l.Kind...)
	b = append(b, '\n')
	b = append(b, l.Subject...)
	b = append(b, '\n')
	b = hex.AppendEncode(b, l.Body[:])
	return append(b, '\n')
}

// Hash returns the leaf's hash in the tree (RFC 6962 §2.1).
func (l Leaf) Hash() tlog.Hash { return tlog.RecordHash(l.Bytes()) }
