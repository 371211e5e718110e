package proof

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/statement"
)

// Memory remembers which statements were opened and which signatures were verified, so that the
// same ones cost nothing the second time. It remembers what was good only, bounded in number. A nil
// Memory remembers nothing. It is safe for use by many at once, and may be shared by all that check in one
// process: what a signature or statement is remembered by is all that went into checking it.
type Memory struct {
	presences   Recent[[32]byte, brevet.Presence]   // of verified signatures
	payloads    Recent[[32]byte, statement.Payload] // by the digest of the statement
	checkpoints Recent[[32]byte, audit.Checkpoint]  // that the log signed
}

const (
	// mostRemembered is how many statements and signatures are remembered at least.
	mostRemembered = 1 << 14
	// mostCheckpoints is how many checkpoints: only the newest is asked for.
	mostCheckpoints = 1 << 4
)

// verify checks that the key made the signature: see statement.Verify.
func (m *Memory) verify(e statement.Envelope, digest [32]byte, sig statement.Signature, key statement.Key) (brevet.Presence, error) {
	if m == nil {
		return statement.Verify(e, sig, key)
	}
	name := nameOf(digest, sig, key)
	if presence, ok := m.presences.Recall(name); ok {
		return presence, nil
	}
	presence, err := statement.Verify(e, sig, key)
	if err == nil {
		m.presences.Keep(name, presence, mostRemembered)
	}
	return presence, err
}

// nameOf is what a signature that was verified is remembered by.
func nameOf(digest [32]byte, sig statement.Signature, key statement.Key) [32]byte {
	return listed(string(digest[:]), string(sig.Scheme), sig.Key, string(key.Kind), key.Public, string(sig.Sig))
}

// listed returns the hash of a list. No two lists have the same.
func listed(parts ...string) [32]byte {
	b := make([]byte, 0, 512)
	for _, part := range parts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(part)))
		b = append(b, part...)
	}
	return sha256.Sum256(b)
}

// Made takes in, unchecked, a statement that the caller has made and signed with its own key just now.
// It is for a Memory of the caller's alone.
func (m *Memory) Made(e statement.Envelope, p statement.Payload, key statement.Key) {
	digest := e.Digest()
	m.payloads.Keep(digest, p, mostRemembered)
	for _, sig := range e.Signatures {
		m.presences.Keep(nameOf(digest, sig, key), brevet.NoPresence, mostRemembered)
	}
}

// SignedCheckpoint takes in, unchecked, a checkpoint that the log of this process signed just now with its
// own key: see audit.Signer.Telling.
func (m *Memory) SignedCheckpoint(signed []byte, by ed25519.PublicKey, c audit.Checkpoint) {
	m.checkpoints.Keep(nameOfCheckpoint(signed, c.Origin, by), c, mostCheckpoints)
}

// openCheckpoint returns the checkpoint of the log of that name, which the key signed: see audit.Open.
func (m *Memory) openCheckpoint(signed []byte, origin string, key ed25519.PublicKey) (audit.Checkpoint, error) {
	if m == nil {
		return audit.Open(signed, origin, key)
	}
	name := nameOfCheckpoint(signed, origin, key)
	if c, ok := m.checkpoints.Recall(name); ok {
		return c, nil
	}
	c, err := audit.Open(signed, origin, key)
	if err == nil {
		m.checkpoints.Keep(name, c, mostCheckpoints)
	}
	return c, err
}

// nameOfCheckpoint is what a signed checkpoint is remembered by.
func nameOfCheckpoint(signed []byte, origin string, key ed25519.PublicKey) [32]byte {
	return listed(origin, string(key), string(signed))
}

// Open returns the payload of a statement: see statement.Open.
func Open[T statement.Payload](m *Memory, e statement.Envelope) (T, error) {
	return open[T](m, e, e.Digest())
}

// open returns the payload of a statement with the digest: see statement.Open.
func open[T statement.Payload](m *Memory, e statement.Envelope, digest [32]byte) (T, error) {
	if m == nil {
		return statement.Open[T](e)
	}
	if p, ok := m.payloads.Recall(digest); ok {
		if typed, ok := p.(T); ok {
			return typed, nil
		}
	}
	p, err := statement.Open[T](e)
	if err == nil {
		m.payloads.Keep(digest, p, mostRemembered)
	}
	return p, err
}
