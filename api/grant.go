package api

import (
	"context"
	"time"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/flow"
)

// patience is how long a call that takes back waits for the enforcement points, if it is asked to.
func patience(m interface{ GetWait() bool }) time.Duration {
	if m.GetWait() {
		return 10 * time.Second
	}
	return 0
}

type grantService struct{ spine *flow.Spine }

// ListGrants implements the procedure.
func (s *grantService) ListGrants(ctx context.Context, m *pb.ListGrantsRequest) (*pb.ListGrantsResponse, error) {
	by := callOf(ctx).caller
	want := flow.GrantWant{States: words[brevet.GrantState](m.GetStates()), Person: brevet.PersonID(m.GetPerson())}
	var err error
	want.Page, err = page(by, m)
	if err := check(err, allOf("states", m.GetStates(), brevet.GrantStates()...), namedIf("person", m.GetPerson())); err != nil {
		return nil, err
	}
	list, next, err := s.spine.Grants(ctx, by, want)
	return &pb.ListGrantsResponse{Grants: each(list, viewGrant), NextPageToken: pageToken(by, m, next)}, err
}

// RevokeGrant implements the procedure.
func (s *grantService) RevokeGrant(ctx context.Context, m *pb.RevokeGrantRequest) (*pb.RevokeGrantResponse, error) {
	if err := check(signed("statement", m.GetStatement())); err != nil {
		return nil, err
	}
	g, err := s.spine.Revoke(ctx, callOf(ctx).caller, m.GetStatement(), patience(m))
	return &pb.RevokeGrantResponse{Grant: viewGrant(g)}, err
}

// ExportGrant implements the procedure.
func (s *grantService) ExportGrant(ctx context.Context, m *pb.ExportGrantRequest) (*pb.ExportGrantResponse, error) {
	if err := check(ending("id", m.GetId())); err != nil {
		return nil, err
	}
	id, bundle, err := s.spine.ExportGrant(ctx, callOf(ctx).caller, m.GetId())
	return &pb.ExportGrantResponse{Id: string(id), Bundle: bundle}, err
}
