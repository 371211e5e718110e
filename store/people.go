package store

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/brevet-pim/brevet"
)

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Invitation lets a person offer a key with a one-time code, for an administrator to sign.
type Invitation struct {
	Code       string // SHA-256 of the code, hex; the code itself is not kept
	Person     brevet.PersonID
	Kind       brevet.IdentityKind
	Owner      brevet.PersonID // of a workload
	Uses       []string        // what the key is to be for
	Groups     []brevet.GroupName
	CreatedBy  brevet.PersonID
	CreatedAt  time.Time
	ExpiresAt  time.Time
	Attempts   int       // answers that did not show possession
	Key        string    // the public key that was offered, or ""
	Possession string    // the key's own signature, see statement.Possession
	AnsweredAt time.Time // zero until then
	ClosedAt   time.Time // when it was signed, or withdrawn; zero until then
	Statement  string    // id of the enrolment that it led to, or ""
}

const invitationColumns = "code, person, kind, owner, uses, groups, created_by, created_at, expires_at, attempts, key, possession, answered_at, closed_at, statement"

func scanInvitation(row scanner) (Invitation, error) {
	var i Invitation
	err := row.Scan(&i.Code, &i.Person, &i.Kind, &i.Owner, unpack{&i.Uses}, unpack{&i.Groups}, &i.CreatedBy, instant{&i.CreatedAt},
		instant{&i.ExpiresAt}, &i.Attempts, &i.Key, &i.Possession, instant{&i.AnsweredAt}, instant{&i.ClosedAt}, &i.Statement)
	return i, err
}

// Invitation returns the invitation whose code has this digest.
func (q *Query) Invitation(code string) (Invitation, error) {
	found, err := one(q, scanInvitation, "select "+invitationColumns+" from invitations where code = $1", code)
	if err == errNone {
		return found, brevet.Errorf(brevet.NotFound, "this code is not known").WithHint("ask whoever invited you for a new one: brevet people invite")
	}
	return found, err
}

// OpenInvitations returns the invitations that were neither signed nor withdrawn, oldest first.
func (q *Query) OpenInvitations(limit int) ([]Invitation, error) {
	return list(q, scanInvitation, "select "+invitationColumns+" from invitations where closed_at = 0 order by created_at, code limit $1", Page{Limit: limit}.limit())
}

// AddInvitation writes a new invitation. It must expire.
func (t *Tx) AddInvitation(i Invitation) error {
	if !i.ExpiresAt.After(i.CreatedAt) {
		return brevet.Errorf(brevet.Invalid, "the invitation of %s does not expire", i.Person)
	}
	return t.insert("invitation of", i.Person, "insert into invitations ("+invitationColumns+`)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, '', '', 0, 0, '')`,
		i.Code, i.Person, i.Kind, i.Owner, packed(i.Uses), packed(i.Groups), i.CreatedBy, micros(i.CreatedAt), micros(i.ExpiresAt))
}

// AnswerInvitation writes the key that was offered. Only the first answer counts: if there
// is one, or the invitation is closed or too old at that time, it is a Conflict.
func (t *Tx) AnswerInvitation(code, key, possession string, at time.Time) error {
	n, err := t.exec("update invitations set key = $1, possession = $2, answered_at = $3 where code = $4 and answered_at = 0 and closed_at = 0 and expires_at > $5",
		key, possession, micros(at), code, micros(at))
	return used(n, err)
}

// CloseInvitation writes that the invitation led to an enrolment, or was withdrawn (no statement).
func (t *Tx) CloseInvitation(code, statement string, at time.Time) error {
	n, err := t.exec("update invitations set closed_at = $1, statement = $2 where code = $3 and closed_at = 0", micros(at), statement, code)
	return used(n, err)
}

func used(n int64, err error) error {
	if err != nil || n == 1 {
		return err
	}
	return brevet.Errorf(brevet.Conflict, "this code was used, withdrawn or is too old").WithHint("ask for a new one: brevet people invite")
}

// MissInvitation counts an answer that did not show possession, and returns how many there were.
func (w *Work) MissInvitation(code string) (int, error) {
	return one(&w.q, value[int], "update invitations set attempts = attempts + 1 where code = $1 returning attempts", code)
}

// Token is a sign-in token. Only its hash is kept.
type Token struct {
	Hash      string // SHA-256 of the token, hex
	Person    brevet.PersonID
	Key       string // fingerprint of the key that signed in
	Client    string // thumbprint of the client certificate's key that it is bound to
	IssuedAt  time.Time
	ExpiresAt time.Time
	RevokedAt time.Time // zero while it is good
}

// Token returns the token with this hash, revoked or expired ones too.
func (q *Query) Token(hash string) (Token, error) {
	found, err := one(q, func(row scanner) (t Token, err error) {
		err = row.Scan(&t.Hash, &t.Person, &t.Key, &t.Client, instant{&t.IssuedAt}, instant{&t.ExpiresAt}, instant{&t.RevokedAt})
		return t, err
	}, "select hash, person, key, client, issued_at, expires_at, revoked_at from tokens where hash = $1", hash)
	if err == errNone {
		return found, brevet.Errorf(brevet.Unauthenticated, "this sign-in is not known").WithHint("sign in: brevet login")
	}
	return found, err
}

// AddToken writes a new token. It must expire.
func (t *Tx) AddToken(k Token) error {
	if !k.ExpiresAt.After(k.IssuedAt) {
		return brevet.Errorf(brevet.Invalid, "the token of %s does not expire", k.Person)
	}
	return t.insert("token of", k.Person, "insert into tokens (hash, person, key, client, issued_at, expires_at, revoked_at) values ($1, $2, $3, $4, $5, $6, 0)",
		k.Hash, k.Person, k.Key, k.Client, micros(k.IssuedAt), micros(k.ExpiresAt))
}

// RevokeToken ends one token, and reports whether it was good until then.
func (t *Tx) RevokeToken(hash string, at time.Time) (bool, error) {
	n, err := t.exec("update tokens set revoked_at = $1 where hash = $2 and revoked_at = 0 and expires_at > $3", micros(at), hash, micros(at))
	return n == 1, err
}

// RevokeTokens ends all tokens of a person, and returns how many were good until then.
func (t *Tx) RevokeTokens(person brevet.PersonID, at time.Time) (int, error) {
	n, err := t.exec("update tokens set revoked_at = $1 where person = $2 and revoked_at = 0 and expires_at > $3", micros(at), person, micros(at))
	return int(n), err
}
