package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/failure"
	"github.com/brevet-pim/brevet/identity/enrol"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// code fails the test unless the error has the code.
func code(t *testing.T, what string, err error, want connect.Code) {
	t.Helper()
	if err == nil || connect.CodeOf(err) != want {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

func TestSignIn(t *testing.T) {
	p := newPlane(t)
	server, err := p.visit(nil).auth().GetServer(t.Context(), &pb.GetServerRequest{})
	if err != nil || server.GetRoot() != string(p.Root) || server.GetOrganisation() != "Test" || server.GetVersion() != "test" {
		t.Errorf("GetServer: %v, %v", server, err)
	}
	bob := p.login("bob")
	me, err := bob.auth().WhoAmI(t.Context(), &pb.WhoAmIRequest{})
	must(t, err)
	if me.GetPerson().GetId() != "bob" || me.GetKey() != prooftest.Fingerprint(t, p.Keys["bob"].Key()) {
		t.Errorf("WhoAmI: %v", me)
	}
	if left := time.Until(me.GetUntil().AsTime()); left > tokenLife || left < tokenLife-time.Minute {
		t.Errorf("the token is good for %s", left)
	}
	other := newCertificate(t, false)
	thief := p.visit(&other)
	thief.token = bob.token
	_, err = thief.auth().WhoAmI(t.Context(), &pb.WhoAmIRequest{})
	code(t, "a token over another connection", err, connect.CodeUnauthenticated)
	p.keepsNoToken(bob.token)

	_, err = bob.auth().SignOut(t.Context(), &pb.SignOutRequest{})
	must(t, err)
	_, err = bob.auth().WhoAmI(t.Context(), &pb.WhoAmIRequest{})
	code(t, "after signing out", err, connect.CodeUnauthenticated)
}

// keepsNoToken looks for the token in every file of the database, and in the log.
func (p *plane) keepsNoToken(token string) {
	p.t.Helper()
	secret := strings.TrimPrefix(token, enrol.TokenPrefix)
	files, err := filepath.Glob(filepath.Join(filepath.Dir(p.spine.Recordings.Dir), "brevet.db*"))
	if err != nil || len(files) == 0 {
		p.t.Fatal("there is no database", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		must(p.t, err)
		if bytes.Contains(b, []byte(secret)) {
			p.t.Errorf("%s has the token", filepath.Base(file))
		}
	}
	if strings.Contains(p.log.String(), secret) {
		p.t.Error("the log has the token")
	}
}

func TestSignInRefused(t *testing.T) {
	p := newPlane(t)
	certificate := newCertificate(t, false)
	v := p.visit(&certificate)
	_, stranger := prooftest.NewKey(t)
	foreign := statement.ID(strings.Repeat("ab", 32))
	sentence := ""
	for _, tt := range []struct {
		name string
		by   statement.Signer
		edit func(*statement.SignIn)
	}{
		{"a key that is not enrolled", stranger, nil},
		{"somebody else's key", p.Keys["carol"], nil},
		{"another connection", p.Keys["bob"], func(s *statement.SignIn) { s.Client = strings.Repeat("00", 32) }},
		{"another organisation", p.Keys["bob"], func(s *statement.SignIn) { s.Org = foreign }},
		{"a challenge of one's own", p.Keys["bob"], func(s *statement.SignIn) { s.Challenge = strings.Repeat("00", 56) }},
	} {
		_, err := v.auth().SignIn(t.Context(), &pb.SignInRequest{Statement: p.answer(v, certificate, "bob", tt.by, tt.edit)})
		code(t, tt.name, err, connect.CodeUnauthenticated)
		message, _ := brevet.MessageOf(failure.Read(err))
		if sentence == "" {
			sentence = message
		}
		if message != sentence {
			t.Errorf("%s: a sentence of its own: %q", tt.name, message)
		}
	}
	good := p.answer(v, certificate, "bob", p.Keys["bob"], nil)
	_, err := p.visit(nil).auth().SignIn(t.Context(), &pb.SignInRequest{Statement: good})
	code(t, "without a client certificate", err, connect.CodeUnauthenticated)
	_, err = v.auth().SignIn(t.Context(), &pb.SignInRequest{Statement: good})
	must(t, err)
	_, err = v.auth().SignIn(t.Context(), &pb.SignInRequest{Statement: good})
	code(t, "the same answer again", err, connect.CodeUnauthenticated)
	events, err := p.spine.Store.Query(t.Context()).Search(store.Filter{Kind: "signin.refused"})
	must(t, err)
	if len(events) != 6 || !strings.Contains(string(events[0].Body), `"bob"`) {
		t.Errorf("%d events of refused sign-ins, want 6 that name who was claimed", len(events))
	}
}

func TestRefusedSignInsFillNoLogAndLockNobodyOut(t *testing.T) {
	p := newPlane(t)
	certificate := newCertificate(t, false)
	v := p.visit(&certificate)
	for range refusalsBurst + 10 {
		_, err := v.auth().SignIn(t.Context(), &pb.SignInRequest{Statement: p.answer(v, certificate, "bob", p.Keys["carol"], nil)})
		code(t, "somebody else's key", err, connect.CodeUnauthenticated)
	}
	events, err := p.spine.Store.Query(t.Context()).Search(store.Filter{Kind: "signin.refused"})
	must(t, err)
	if len(events) < refusalsBurst || len(events) >= refusalsBurst+10 {
		t.Errorf("%d events of %d refused sign-ins", len(events), refusalsBurst+10)
	}
	p.login("bob") // from the very same address
}

// TestGuessedCodesCannotFillTheLog: strangers have no more than a budget of events.
func TestGuessedCodesCannotFillTheLog(t *testing.T) {
	p := newPlane(t)
	_, key := prooftest.NewKey(t)
	guess := &pb.AnswerInvitationRequest{Person: "grace", PublicKey: key.Key().Public, Possession: "none"}
	for range refusalsBurst + 10 {
		guess.Code = enrol.NewSecret().Reveal()
		_, err := p.visit(nil).auth().AnswerInvitation(t.Context(), guess)
		code(t, "a guess", err, connect.CodePermissionDenied)
	}
	events, err := p.spine.Store.Query(t.Context()).Search(store.Filter{Kind: "invitation.refused"})
	must(t, err)
	if len(events) < refusalsBurst || len(events) >= refusalsBurst+10 {
		t.Errorf("%d events of %d guesses", len(events), refusalsBurst+10)
	}
}

func TestInvitation(t *testing.T) {
	p := newPlane(t)
	alice := p.login("alice")
	asked := &pb.InviteRequest{Person: "grace", Kind: "person", Uses: []string{"request", "approve"}, ValidSeconds: 3600}
	_, err := p.login("bob").people().Invite(t.Context(), asked)
	code(t, "bob invites", err, connect.CodePermissionDenied)
	invited, err := alice.people().Invite(t.Context(), asked)
	must(t, err)
	got, err := enrol.ParseCode(invited.GetCode())
	must(t, err)
	if got.Address != "brevet.test:7443" || got.Person != "grace" || hex.EncodeToString(got.Root[:]) != string(p.Root) || got.Pin[0] != 7 {
		t.Errorf("the code says %+v", got)
	}
	if strings.Contains(p.log.String(), got.Secret.Reveal()) {
		t.Error("the log has the secret")
	}

	_, key := prooftest.NewKey(t)
	p.Keys["grace"] = key
	possession, err := statement.Possession{Org: p.Root, Person: "grace", Key: key.Key(), Code: got.Secret.Digest()}.Prove(t.Context(), key)
	must(t, err)
	shown := &pb.AnswerInvitationRequest{Code: got.Secret.Reveal(), Person: "grace", PublicKey: key.Key().Public, Possession: possession}
	wrongCode := &pb.AnswerInvitationRequest{Code: enrol.NewSecret().Reveal(), Person: "grace", PublicKey: key.Key().Public, Possession: possession}
	_, err = p.visit(nil).auth().AnswerInvitation(t.Context(), wrongCode)
	code(t, "another code", err, connect.CodePermissionDenied)
	answered, err := p.visit(nil).auth().AnswerInvitation(t.Context(), shown)
	must(t, err)
	if answered.GetState() != "waiting" || answered.GetPerson() != "grace" {
		t.Errorf("answered: %v", answered)
	}

	if answered, err = p.visit(nil).auth().AnswerInvitation(t.Context(), shown); err != nil || answered.GetState() != "waiting" {
		t.Errorf("asked how it stands: %v, %v", answered, err)
	}
	list, err := alice.people().ListInvitations(t.Context(), &pb.ListInvitationsRequest{})
	must(t, err)
	if len(list.GetInvitations()) != 1 {
		t.Fatalf("%d invitations", len(list.GetInvitations()))
	}
	i := list.GetInvitations()[0]
	if i.GetState() != "answered" || i.GetFingerprint() != prooftest.Fingerprint(t, key.Key()) || i.GetCode() != got.Secret.Digest() || i.GetInvitedBy() != "alice" {
		t.Errorf("the invitation is %v", i)
	}
	e := statement.Enrol{Header: p.header(), Link: p.Link(), Enrolments: []statement.Enrolment{{
		Person: "grace", Kind: brevet.Person, Key: key.Key(), Uses: []statement.Use{"approve", "request"}, From: time.Now().Add(-time.Minute).UnixMicro(),
		Until: time.Now().Add(time.Hour).UnixMicro(), Code: i.GetCode(), Possession: i.GetPossession(),
	}}}
	_, err = alice.people().AppendRoster(t.Context(), &pb.AppendRosterRequest{Statement: p.signed(e, p.Keys["alice"])})
	must(t, err)
	if answered, err = p.visit(nil).auth().AnswerInvitation(t.Context(), shown); err != nil || answered.GetState() != "enrolled" {
		t.Errorf("asked how it stands, once signed: %v, %v", answered, err)
	}
	grace := p.login("grace")
	me, err := grace.auth().WhoAmI(t.Context(), &pb.WhoAmIRequest{})
	must(t, err)
	if len(me.GetPerson().GetKeys()) != 1 || len(me.GetPerson().GetKeys()[0].GetUses()) != 2 {
		t.Errorf("grace is %v", me)
	}

	suspension := statement.Revocation{Header: p.header(), By: "alice", What: statement.RevokePerson, Subject: "grace", Reason: "laptop stolen"}
	suspended, err := alice.people().Suspend(t.Context(), &pb.SuspendRequest{Statement: p.signed(suspension, p.Keys["alice"])})
	must(t, err)
	if !suspended.GetPerson().GetSuspended() {
		t.Errorf("suspended: %v", suspended)
	}
	_, err = grace.auth().WhoAmI(t.Context(), &pb.WhoAmIRequest{})
	code(t, "somebody suspended", err, connect.CodeUnauthenticated)
}

// TestDigestIsNoToken shows that who reads the database has no token.
func TestDigestIsNoToken(t *testing.T) {
	p := newPlane(t)
	bob := p.login("bob")
	sum := sha256.Sum256([]byte(bob.token))
	bob.token = enrol.TokenPrefix + hex.EncodeToString(sum[:])
	_, err := bob.auth().WhoAmI(t.Context(), &pb.WhoAmIRequest{})
	code(t, "a digest as a token", err, connect.CodeUnauthenticated)
}
