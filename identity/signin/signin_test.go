package signin

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

var (
	start  = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	org    = statement.ID(strings.Repeat("ab", 32))
	client = sha256.Sum256([]byte("the client's TLS key"))
)

// roster is keys by fingerprint, in the smallest form.
type roster map[string]enrolled

type enrolled struct {
	person brevet.PersonID
	key    statement.Key
}

func (r roster) SignInKey(fingerprint string, _ time.Time) (brevet.PersonID, statement.Key, error) {
	e, ok := r[fingerprint]
	if !ok {
		return "", statement.Key{}, brevet.Errorf(brevet.Refused, "not enrolled")
	}
	return e.person, e.key, nil
}

func newSigner(t *testing.T) statement.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := statement.SSHSigner(s)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func enrol(t *testing.T, r roster, person brevet.PersonID) statement.Signer {
	t.Helper()
	s := newSigner(t)
	fingerprint, err := statement.Fingerprint(s.Key())
	if err != nil {
		t.Fatal(err)
	}
	r[fingerprint] = enrolled{person, s.Key()}
	return s
}

func answer(t *testing.T, by statement.Signer, challenge string, edit func(*statement.SignIn)) statement.Envelope {
	t.Helper()
	s := statement.SignIn{
		Header:    statement.NewHeader(org, start, start.Add(time.Minute)),
		Person:    "bob",
		Challenge: challenge,
		Client:    hex.EncodeToString(client[:]),
	}
	if edit != nil {
		edit(&s)
	}
	e, err := statement.New(context.Background(), s, by)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestSignIn(t *testing.T) {
	keys := roster{}
	bob, carol, stranger := enrol(t, keys, "bob"), enrol(t, keys, "carol"), newSigner(t)
	for _, tt := range []struct {
		name  string
		by    statement.Signer
		edit  func(*statement.SignIn)
		after time.Duration
		ok    bool
	}{
		{name: "right", by: bob, ok: true},
		{name: "a key of somebody else", by: carol},
		{name: "a key that is not enrolled", by: stranger},
		{name: "another organisation", by: bob, edit: func(s *statement.SignIn) { s.Org = statement.ID(strings.Repeat("cd", 32)) }},
		{name: "another connection", by: bob, edit: func(s *statement.SignIn) { s.Client = strings.Repeat("00", 32) }},
		{name: "a challenge of one's own", by: bob, edit: func(s *statement.SignIn) { s.Challenge = strings.Repeat("00", challengeSize) }},
		{name: "an altered challenge", by: bob, edit: func(s *statement.SignIn) { s.Challenge = s.Challenge[:20] + "ffff" + s.Challenge[24:] }},
		{name: "a minute late", by: bob, after: fresh + time.Second},
		{name: "before it was given", by: bob, after: -time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := New(org)
			e := answer(t, tt.by, d.Challenge(start), tt.edit)
			person, _, err := d.Check(e, keys, client, start.Add(tt.after))
			if (err == nil) != tt.ok {
				t.Fatalf("got %v", err)
			}
			if err == nil && person != "bob" {
				t.Errorf("signed in as %s", person)
			}
			if err != nil && brevet.KindOf(err) != brevet.Unauthenticated {
				t.Errorf("kind %s", brevet.KindOf(err))
			}
		})
	}
}

func TestAnswerIsGoodOnce(t *testing.T) {
	keys := roster{}
	bob, d := enrol(t, keys, "bob"), New(org)
	e := answer(t, bob, d.Challenge(start), nil)
	if _, _, err := d.Check(e, keys, client, start); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Check(e, keys, client, start.Add(time.Second)); err == nil {
		t.Error("the same answer signed in twice")
	}
}

func TestChallengeOfAnotherDoor(t *testing.T) {
	keys := roster{}
	bob := enrol(t, keys, "bob")
	e := answer(t, bob, New(org).Challenge(start), nil)
	if _, _, err := New(org).Check(e, keys, client, start); err == nil {
		t.Error("a challenge of another server was taken")
	}
}
