package api

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/identity/enrol"
	"github.com/brevet-pim/brevet/identity/limit"
	"github.com/brevet-pim/brevet/identity/signin"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// tokenLife is how long a sign-in is good. Clients sign in again by themselves, with the key.
const tokenLife = 15 * time.Minute

// The budget of refused sign-ins and one-time codes that become events, of one address. Beyond it
// they are refused all the same, but cannot fill the log. It keeps nobody from signing in.
const (
	refusalsEvery = 10 * time.Second
	refusalsBurst = 20
)

type authService struct {
	spine    *flow.Spine
	door     *signin.Door
	version  string
	refusals *limit.Sources
}

func newAuthService(spine *flow.Spine, door *signin.Door, version string) *authService {
	return &authService{spine, door, version, limit.New(refusalsEvery, refusalsBurst)}
}

// GetServer implements the procedure.
func (s *authService) GetServer(context.Context, *pb.GetServerRequest) (*pb.GetServerResponse, error) {
	return &pb.GetServerResponse{
		Version:      s.version,
		Organisation: s.spine.State().Roster.Root().Name,
		Root:         string(s.spine.Root),
		Now:          stamp(s.spine.Clock()),
	}, nil
}

// GetChallenge implements the procedure.
func (s *authService) GetChallenge(context.Context, *pb.GetChallengeRequest) (*pb.GetChallengeResponse, error) {
	return &pb.GetChallengeResponse{Challenge: s.door.Challenge(s.spine.Clock())}, nil
}

// SignIn implements the procedure. The token is bound to the key of the connection's TLS client
// certificate (RFC 8705, section 3), and only its digest is kept.
func (s *authService) SignIn(ctx context.Context, m *pb.SignInRequest) (*pb.SignInResponse, error) {
	c, now := callOf(ctx), s.spine.Clock()
	if !c.peer.hasKey() {
		return nil, noCertificate()
	}
	if err := check(signed("statement", m.GetStatement())); err != nil {
		return nil, err
	}
	answer, err := statement.Parse(m.GetStatement())
	if err != nil {
		return nil, inField("statement", err)
	}
	person, key, err := s.door.Check(answer, s.spine, c.peer.client, now)
	if err != nil {
		s.tellRefused(ctx, c, answer, now, err)
		return nil, err
	}
	by, token, until := c.caller, enrol.NewToken(), now.Add(tokenLife)
	by.Person, by.Key = person, key
	person, err = s.spine.SignIn(ctx, by, m.GetStatement(), store.Token{
		Hash:      token.Digest(),
		Person:    person,
		Key:       key,
		Client:    hex.EncodeToString(c.peer.client[:]),
		IssuedAt:  now,
		ExpiresAt: until,
	})
	if err != nil {
		return nil, err
	}
	return &pb.SignInResponse{Token: token.Reveal(), Until: stamp(until), Person: string(person)}, nil
}

// tellRefused makes an event of a refused sign-in, with the name that was claimed.
func (s *authService) tellRefused(ctx context.Context, c call, answer statement.Envelope, now time.Time, why error) {
	if !s.refusals.Allow(c.peer.source, now) {
		return
	}
	var claimed brevet.PersonID
	if said, err := statement.Open[statement.SignIn](answer); err == nil { // else no name was given in due form
		claimed = said.Person
	}
	s.spine.SignInRefused(ctx, c.caller, claimed, why)
}

// SignOut implements the procedure.
func (s *authService) SignOut(ctx context.Context, _ *pb.SignOutRequest) (*pb.SignOutResponse, error) {
	c := callOf(ctx)
	return &pb.SignOutResponse{}, s.spine.SignOut(ctx, c.caller, c.token)
}

// WhoAmI implements the procedure.
func (s *authService) WhoAmI(ctx context.Context, _ *pb.WhoAmIRequest) (*pb.WhoAmIResponse, error) {
	c := callOf(ctx)
	person, err := s.spine.Person(ctx, c.caller, c.caller.Person)
	if err != nil {
		return nil, err
	}
	return &pb.WhoAmIResponse{Person: viewPerson(person), Key: c.caller.Key, Until: stamp(c.until)}, nil
}

// Longest parts of an answer to an invitation, in bytes; statement checks what is in them.
const (
	maxPublicKey  = 8 << 10
	maxPossession = 8 << 10
)

// AnswerInvitation implements the procedure.
func (s *authService) AnswerInvitation(ctx context.Context, m *pb.AnswerInvitationRequest) (*pb.AnswerInvitationResponse, error) {
	secret, err := enrol.ParseSecret(m.GetCode())
	if err := check(
		inField("code", err),
		named("person", m.GetPerson()),
		sized("public_key", m.GetPublicKey(), maxPublicKey),
		sized("possession", m.GetPossession(), maxPossession),
	); err != nil {
		return nil, err
	}
	c, person := callOf(ctx), brevet.PersonID(m.GetPerson())
	state, err := s.spine.AnswerInvitation(ctx, c.caller, secret.Digest(), person, m.GetPublicKey(), m.GetPossession())
	if err != nil {
		if brevet.KindOf(err) == brevet.Refused && s.refusals.Allow(c.peer.source, s.spine.Clock()) {
			s.spine.InvitationRefused(ctx, c.caller, person, err)
		}
		return nil, err
	}
	return &pb.AnswerInvitationResponse{Person: m.GetPerson(), State: state}, nil
}
