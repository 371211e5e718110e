package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/dial"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/identity/enrol"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// How long a one-time code is good.
const (
	codeLife    = 24 * time.Hour
	maxCodeLife = 30 * 24 * time.Hour
)

type peopleService struct {
	spine   *flow.Spine
	address string   // of the server, for one-time codes
	pin     dial.Pin // of the authority of its certificate
}

// GetRoster implements the procedure.
func (s *peopleService) GetRoster(ctx context.Context, m *pb.GetRosterRequest) (*pb.GetRosterResponse, error) {
	if m.GetAfter() < 0 {
		return nil, wrong("after", "%d is no number of a statement", m.GetAfter())
	}
	statements, err := s.spine.Roster(ctx, m.GetAfter())
	return &pb.GetRosterResponse{Statements: statements}, err
}

// ListPeople implements the procedure.
func (s *peopleService) ListPeople(ctx context.Context, _ *pb.ListPeopleRequest) (*pb.ListPeopleResponse, error) {
	people, err := s.spine.People(ctx, callOf(ctx).caller)
	return &pb.ListPeopleResponse{People: each(people, viewPerson)}, err
}

// Invite implements the procedure. The code is made here and shown once; flow gets its digest.
func (s *peopleService) Invite(ctx context.Context, m *pb.InviteRequest) (*pb.InviteResponse, error) {
	if err := checkInvite(m); err != nil {
		return nil, err
	}
	code := enrol.Code{Secret: enrol.NewSecret(), Pin: s.pin, Address: s.address, Person: brevet.PersonID(m.GetPerson())}
	root, err := hex.DecodeString(string(s.spine.Root))
	if err != nil || copy(code.Root[:], root) != len(code.Root) {
		return nil, brevet.Errorf(brevet.Internal, "the root's id is no digest").Because(err)
	}
	shown, err := code.Encode()
	if err != nil {
		return nil, err
	}
	life := codeLife
	if m.GetValidSeconds() > 0 {
		life = time.Duration(m.GetValidSeconds()) * time.Second
	}
	by, now := callOf(ctx).caller, s.spine.Clock()
	err = s.spine.Invite(ctx, by, store.Invitation{
		Code:      code.Secret.Digest(),
		Person:    code.Person,
		Kind:      brevet.IdentityKind(m.GetKind()),
		Owner:     brevet.PersonID(m.GetOwner()),
		Uses:      slices.Compact(slices.Sorted(slices.Values(m.GetUses()))),
		CreatedBy: by.Person,
		CreatedAt: now,
		ExpiresAt: now.Add(life),
	})
	if err != nil {
		return nil, err
	}
	return &pb.InviteResponse{Code: shown, Until: stamp(now.Add(life))}, nil
}

func checkInvite(m *pb.InviteRequest) error {
	var uses error
	if len(m.GetUses()) == 0 {
		uses = wrong("uses", "it is empty; a key must be for something, at least to request")
	}
	var owner error
	if workload := brevet.IdentityKind(m.GetKind()) == brevet.Workload; workload != (m.GetOwner() != "") {
		owner = wrong("owner", "a workload has one, and nobody else")
	}
	return check(
		named("person", m.GetPerson()),
		oneOf("kind", m.GetKind(), brevet.Person, brevet.Workload),
		namedIf("owner", m.GetOwner()),
		owner,
		uses,
		allOf("uses", m.GetUses(), statement.UseRequest, statement.UseApprove, statement.UseAdminister, statement.UseCatalog),
		span("valid_seconds", m.GetValidSeconds(), maxCodeLife),
	)
}

// ListInvitations implements the procedure.
func (s *peopleService) ListInvitations(ctx context.Context, _ *pb.ListInvitationsRequest) (*pb.ListInvitationsResponse, error) {
	list, err := s.spine.Invitations(ctx, callOf(ctx).caller)
	return &pb.ListInvitationsResponse{Invitations: each(list, viewInvitation)}, err
}

// WithdrawInvitation implements the procedure.
func (s *peopleService) WithdrawInvitation(ctx context.Context, m *pb.WithdrawInvitationRequest) (*pb.WithdrawInvitationResponse, error) {
	if b, err := hex.DecodeString(m.GetCode()); err != nil || len(b) != sha256.Size {
		return nil, wrong("code", "it is no SHA-256 in hex; an invitation's code as ListInvitations has it is one")
	}
	was, err := s.spine.WithdrawInvitation(ctx, callOf(ctx).caller, m.GetCode())
	if err != nil {
		return nil, err
	}
	return &pb.WithdrawInvitationResponse{Invitation: viewInvitation(was)}, nil
}

// AppendRoster implements the procedure.
func (s *peopleService) AppendRoster(ctx context.Context, m *pb.AppendRosterRequest) (*pb.AppendRosterResponse, error) {
	if err := check(signed("statement", m.GetStatement())); err != nil {
		return nil, err
	}
	id, number, err := s.spine.AppendRoster(ctx, callOf(ctx).caller, m.GetStatement())
	return &pb.AppendRosterResponse{Id: id, Number: number}, err
}

// Suspend implements the procedure.
func (s *peopleService) Suspend(ctx context.Context, m *pb.SuspendRequest) (*pb.SuspendResponse, error) {
	if err := check(signed("statement", m.GetStatement())); err != nil {
		return nil, err
	}
	done, err := s.spine.Suspend(ctx, callOf(ctx).caller, m.GetStatement(), patience(m))
	return &pb.SuspendResponse{Person: viewPerson(done.Person), GrantsEnded: int32(done.Ended), GrantsLeft: int32(done.Left)}, err
}

// ListMachines implements the procedure.
func (s *peopleService) ListMachines(ctx context.Context, _ *pb.ListMachinesRequest) (*pb.ListMachinesResponse, error) {
	machines, err := s.spine.Machines(ctx, callOf(ctx).caller)
	return &pb.ListMachinesResponse{Machines: each(machines, viewMachine)}, err
}
