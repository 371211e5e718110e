package proof

import (
	"crypto/sha256"
	"sync"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

// Memory remembers which statements were opened and which signatures were verified, so that the
// same ones cost nothing the second time. It remembers what was good only, bounded in number. A
// nil Memory remembers nothing. It is safe for use by many at once.
type Memory struct {
	mu       sync.Mutex
	now, old generation // guarded by mu
}

// generation is some of what is remembered. When the newer is full, it becomes the older, which is
// forgotten.
type generation struct {
	presence map[[32]byte]brevet.Presence // of verified signatures
	payload  map[[32]byte]statement.Payload
}

const perGeneration = 1 << 14

func newGeneration() generation {
	return generation{presence: map[[32]byte]brevet.Presence{}, payload: map[[32]byte]statement.Payload{}}
}

// verify checks that the key made the signature: see statement.Verify.
func (m *Memory) verify(e statement.Envelope, digest [32]byte, sig statement.Signature, key statement.Key) (brevet.Presence, error) {
	if m == nil {
		return statement.Verify(e, sig, key)
	}
	h := sha256.New()
	h.Write(digest[:])
	for _, part := range []string{string(sig.Scheme), sig.Key, string(key.Kind), key.Public, string(sig.Sig)} {
		h.Write([]byte{byte(len(part) >> 8), byte(len(part))}) // so that no two lists look alike
		h.Write([]byte(part))
	}
	name := [32]byte(h.Sum(nil))
	if presence, ok := recall(m, name, func(g generation) map[[32]byte]brevet.Presence { return g.presence }); ok {
		return presence, nil
	}
	presence, err := statement.Verify(e, sig, key)
	if err == nil {
		m.keep(func(g generation) { g.presence[name] = presence })
	}
	return presence, err
}

// open returns the payload of a statement with the digest: see statement.Open.
func open[T statement.Payload](m *Memory, e statement.Envelope, digest [32]byte) (T, error) {
	if m != nil {
		if p, ok := recall(m, digest, func(g generation) map[[32]byte]statement.Payload { return g.payload }); ok {
			if typed, ok := p.(T); ok {
				return typed, nil
			}
		}
	}
	p, err := statement.Open[T](e)
	if err == nil && m != nil {
		m.keep(func(g generation) { g.payload[digest] = p })
	}
	return p, err
}

func recall[T any](m *Memory, name [32]byte, of func(generation) map[[32]byte]T) (T, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := of(m.now)[name]; ok {
		return v, true
	}
	v, ok := of(m.old)[name]
	return v, ok
}

func (m *Memory) keep(add func(generation)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now.presence == nil || len(m.now.presence) >= perGeneration || len(m.now.payload) >= perGeneration {
		m.now, m.old = newGeneration(), m.now
	}
	add(m.now)
}
