// Package signin proves who is at the other end of a connection: it gives out challenges
// and checks the signed answers.
//
// It knows no passwords. Somebody signs in with a key of the roster, over a TLS connection
// whose client certificate the answer names, so that an answer is of no use on another
// connection. What a token is, and that it may be revoked, is the caller's business.
package signin

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

// fresh is how long a challenge is good for.
const fresh = time.Minute

// Keys is what the package needs of the roster: the key if it may be used so now.
type Keys interface {
	// SignInKey returns whose key it is and its public half, or a Refused error.
	SignInKey(fingerprint string, now time.Time) (brevet.PersonID, statement.Key, error)
}

// Door gives out challenges and checks answers. A challenge is good at the Door that gave
// it: behind a load balancer a client that meets another one asks again.
type Door struct {
	org    statement.ID
	secret [32]byte

	mu   sync.Mutex                      // guards used
	used map[[sha256.Size]byte]time.Time // challenges answered rightly, until they are stale anyway
}

// New returns a Door of the organisation.
func New(org statement.ID) *Door {
	d := &Door{org: org, used: map[[sha256.Size]byte]time.Time{}}
	rand.Read(d.secret[:]) // never fails (crypto/rand, Go 1.24)
	return d
}

// A challenge is a time (8 bytes), a nonce (16) and a MAC of both (32), in hex. So giving
// one out costs no memory, however many are asked for.
const challengeSize = 8 + 16 + sha256.Size

// Challenge returns a value that a sign-in statement must repeat within a minute.
func (d *Door) Challenge(now time.Time) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(now.UnixMicro()))
	var nonce [16]byte
	rand.Read(nonce[:])
	b = append(b, nonce[:]...)
	return hex.EncodeToString(append(b, d.mac(b)...))
}

func (d *Door) mac(b []byte) []byte {
	h := hmac.New(sha256.New, d.secret[:])
	h.Write(b)
	return h.Sum(nil)
}

// Check returns who answers the challenge. client is the SHA-256 of the public key of the
// connection's TLS client certificate. Any flaw is an Unauthenticated error, and all of
// them have one sentence: which keys are enrolled is not for strangers to learn.
func (d *Door) Check(answer statement.Envelope, keys Keys, client [sha256.Size]byte, now time.Time) (brevet.PersonID, string, error) {
	s, err := statement.Open[statement.SignIn](answer)
	if err != nil {
		return "", "", refused(err)
	}
	if err := d.check(s, client, now); err != nil {
		return "", "", refused(err)
	}
	if len(answer.Signatures) != 1 {
		return "", "", refused(brevet.Errorf(brevet.Invalid, "%d signatures", len(answer.Signatures)))
	}
	sig := answer.Signatures[0]
	person, key, err := keys.SignInKey(sig.Key, now)
	if err != nil {
		return "", "", refused(err)
	}
	if person != s.Person {
		return "", "", refused(brevet.Errorf(brevet.Refused, "the key is of %s", person))
	}
	if _, err := statement.Verify(answer, sig, key); err != nil {
		return "", "", refused(err)
	}
	if !d.spend(s.Challenge, now) {
		return "", "", refused(brevet.Errorf(brevet.Refused, "the challenge was used before"))
	}
	return person, sig.Key, nil
}

func (d *Door) check(s statement.SignIn, client [sha256.Size]byte, now time.Time) error {
	switch at, ok := d.given(s.Challenge); {
	case s.Org != d.org:
		return brevet.Errorf(brevet.Refused, "for another organisation")
	case !ok:
		return brevet.Errorf(brevet.Refused, "not a challenge of ours")
	case now.Before(at) || now.Sub(at) > fresh:
		return brevet.Errorf(brevet.Refused, "the challenge is stale")
	case s.Client != hex.EncodeToString(client[:]):
		return brevet.Errorf(brevet.Refused, "for another connection")
	}
	return nil
}

// given returns when the challenge was given out, and false if it was not given here.
func (d *Door) given(challenge string) (time.Time, bool) {
	b, err := hex.DecodeString(challenge)
	if err != nil || len(b) != challengeSize {
		return time.Time{}, false
	}
	body, mac := b[:challengeSize-sha256.Size], b[challengeSize-sha256.Size:]
	if !hmac.Equal(mac, d.mac(body)) {
		return time.Time{}, false
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(body))), true
}

// spend marks the challenge as used and reports whether it was fresh. Only right answers
// get here, so what is remembered is bounded by the sign-ins of a minute.
func (d *Door) spend(challenge string, now time.Time) bool {
	id := sha256.Sum256([]byte(challenge))
	d.mu.Lock()
	defer d.mu.Unlock()
	for old, at := range d.used {
		if now.Sub(at) > 2*fresh {
			delete(d.used, old)
		}
	}
	if _, used := d.used[id]; used {
		return false
	}
	d.used[id] = now
	return true
}

func refused(cause error) error {
	return brevet.Errorf(brevet.Unauthenticated, "this sign-in was not accepted").Because(cause).
		WithHint("a new key waits for an administrator: brevet people sign NAME. If yours was retired, or you are suspended, ask one")
}
