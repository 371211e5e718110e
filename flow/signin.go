package flow

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// SignInKey returns whose key it is that somebody signs in with, and its public half, if it may be
// used so now. Any use of the roster's will do: signing in gives no privilege.
func (s *Spine) SignInKey(fingerprint string, now time.Time) (brevet.PersonID, statement.Key, error) {
	v := s.view()
	var err error
	for _, use := range []statement.Use{statement.UseRequest, statement.UseApprove, statement.UseAdminister, statement.UseCatalog} {
		key, problem := v.KeyFor(fingerprint, use, v.size, now.UnixMicro())
		if problem == nil {
			return key.Person, key.Public, nil
		}
		err = problem
	}
	return "", statement.Key{}, err
}

// SignIn keeps the token of somebody whose signed answer was checked (package identity/signin).
func (s *Spine) SignIn(ctx context.Context, by brevet.Caller, raw []byte, token store.Token) (brevet.PersonID, error) {
	envelope, said, err := parse[statement.SignIn](raw)
	if err != nil {
		return "", err
	}
	if said.Person != token.Person {
		return "", brevet.Errorf(brevet.Internal, "a token of %s for %s", token.Person, said.Person)
	}
	by.Person, by.Key = token.Person, token.Key
	event := s.event(string(statement.KindSignIn), string(envelope.ID()), by, fmt.Sprintf("%s signed in", token.Person))
	event.Statement = raw
	event.Detail = map[string]any{"key": token.Key, "source": by.Source.String(), "until": token.ExpiresAt}
	_, err = s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		return []brevet.Event{event}, t.AddToken(token)
	})
	return token.Person, err
}

// SignInRefused tells of a sign-in that failed. person is who they said they are.
func (s *Spine) SignInRefused(ctx context.Context, by brevet.Caller, person brevet.PersonID, why error) {
	event := s.failure("signin.refused", "", by, "a sign-in was not accepted")
	event.Subject = string(event.ID)
	event.Detail = map[string]any{"person": person, "source": by.Source.String(), "error": why.Error()}
	s.tell(ctx, event)
}

// SignOut ends the token with this hash.
func (s *Spine) SignOut(ctx context.Context, by brevet.Caller, hash string) error {
	now := s.Clock()
	event := s.event("token.revoked", string(by.Person), by, fmt.Sprintf("%s signed out", by.Person))
	_, err := s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		_, err := t.RevokeToken(hash, now)
		return []brevet.Event{event}, err
	})
	s.signedIn.forget(func(t store.Token) bool { return t.Hash == hash })
	return err
}

// Token returns whose live token it is, with the key that signed in and the token's end. It must
// be bound to the client's key, and person and key must still be in force.
func (s *Spine) Token(ctx context.Context, digest string, client [sha256.Size]byte, now time.Time) (brevet.PersonID, string, time.Time, error) {
	token, err := s.readToken(ctx, digest)
	if err != nil {
		return "", "", time.Time{}, err
	}
	bound := subtle.ConstantTimeCompare([]byte(token.Client), []byte(hex.EncodeToString(client[:]))) == 1
	if !bound || !token.RevokedAt.IsZero() || !now.Before(token.ExpiresAt) {
		return "", "", time.Time{}, brevet.Errorf(brevet.Unauthenticated, "your sign-in is over").WithHint("sign in again: brevet login")
	}
	person, _, err := s.SignInKey(token.Key, now)
	if err != nil || person != token.Person {
		return "", "", time.Time{}, brevet.Errorf(brevet.Unauthenticated, "your sign-in is over: the key behind it may no longer be used").Because(err)
	}
	return token.Person, token.Key, token.ExpiresAt, nil
}

// readToken returns the token with the digest, whatever it is worth by now.
func (s *Spine) readToken(ctx context.Context, digest string) (store.Token, error) {
	if token, known := s.signedIn.within(digest, justNow); known {
		return token, nil
	}
	ended := s.signedIn.endings()
	reading, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	token, err := s.Store.Query(reading).Token(digest)
	switch {
	case err == nil && token.RevokedAt.IsZero():
		s.signedIn.seen(token, ended)
	case brevet.KindOf(err) == brevet.Unavailable || reading.Err() != nil: // taking away must be possible all the same
		if token, known := s.signedIn.within(digest, lately); known {
			return token, nil
		}
	}
	return token, orAway(reading, err)
}

// signedIn remembers tokens that nobody had ended when they were read: for a moment, so that who makes
// many calls costs one read, and for a little while, for when the database is away.
type signedIn struct {
	mu     sync.Mutex // guards what follows
	tokens map[string]seenToken
	ended  int // how often somebody has ended tokens
}

type seenToken struct {
	store.Token
	at time.Time
}

const (
	// justNow is for how long what was read is not read again. Whoever ends a token in this process
	// ends it here too; a hand in the database waits that long.
	justNow = time.Second
	// lately is for how long a token that was good is good while the database does not answer.
	lately = 5 * time.Minute
	// readWithin is how long the database may take for a token.
	readWithin = 5 * time.Second
	// mostSeen bounds how many tokens are remembered.
	mostSeen = 10000
)

// endings is to be asked for before a token is read that is then seen.
func (k *signedIn) endings() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ended
}

// seen remembers a token that was read after so many endings, unless another one may have ended it since.
func (k *signedIn) seen(token store.Token, ended int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if ended != k.ended {
		return
	}
	if k.tokens == nil || len(k.tokens) >= mostSeen {
		k.tokens = map[string]seenToken{}
	}
	k.tokens[token.Hash] = seenToken{token, time.Now()}
}

// within returns a token that was seen not longer ago than that.
func (k *signedIn) within(hash string, ago time.Duration) (store.Token, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	known, ok := k.tokens[hash]
	return known.Token, ok && time.Since(known.at) < ago
}

// forget forgets the tokens that somebody has ended.
func (k *signedIn) forget(ended func(store.Token) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended++
	maps.DeleteFunc(k.tokens, func(_ string, known seenToken) bool { return ended(known.Token) })
}

// Machine returns the gateway of the roster whose TLS key it is, given as SubjectPublicKeyInfo.
func (s *Spine) Machine(spki []byte) (brevet.MachineID, bool) {
	if len(spki) == 0 {
		return "", false
	}
	digest := sha256.Sum256(spki)
	v := s.view()
	m, _, err := v.Roster.MachineOf(hex.EncodeToString(digest[:]), statement.KeyTLS, v.size)
	if err != nil || m.Use != statement.MachineGateway || len(v.Revoked.Of(statement.RevokeKey, hex.EncodeToString(digest[:]), v.size)) > 0 {
		return "", false
	}
	return m.Name, true
}
