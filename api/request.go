package api

import (
	"context"

	"connectrpc.com/connect"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/flow"
)

type requestService struct{ spine *flow.Spine }

// ListRoles implements the procedure.
func (s *requestService) ListRoles(ctx context.Context, _ *pb.ListRolesRequest) (*pb.ListRolesResponse, error) {
	roles, err := s.spine.Roles(ctx, callOf(ctx).caller)
	return &pb.ListRolesResponse{Roles: each(roles, viewRole)}, err
}

// CreateRequest implements the procedure.
func (s *requestService) CreateRequest(ctx context.Context, m *pb.CreateRequestRequest) (*pb.CreateRequestResponse, error) {
	if err := check(signed("statement", m.GetStatement())); err != nil {
		return nil, err
	}
	r, err := s.spine.Ask(ctx, callOf(ctx).caller, m.GetStatement())
	return &pb.CreateRequestResponse{Request: viewRequest(r)}, err
}

// GetRequest implements the procedure.
func (s *requestService) GetRequest(ctx context.Context, m *pb.GetRequestRequest) (*pb.GetRequestResponse, error) {
	if err := check(ending("id", m.GetId())); err != nil {
		return nil, err
	}
	r, err := s.spine.Request(ctx, callOf(ctx).caller, m.GetId())
	return &pb.GetRequestResponse{Request: viewRequest(r)}, err
}

// ListRequests implements the procedure.
func (s *requestService) ListRequests(ctx context.Context, m *pb.ListRequestsRequest) (*pb.ListRequestsResponse, error) {
	by := callOf(ctx).caller
	want := flow.RequestWant{ForMe: m.GetForMe(), Mine: m.GetMine(), States: words[brevet.RequestState](m.GetStates())}
	var err error
	want.Page, err = page(by, m)
	if err := check(err, allOf("states", m.GetStates(), brevet.RequestStates()...)); err != nil {
		return nil, err
	}
	list, next, err := s.spine.Requests(ctx, by, want)
	return &pb.ListRequestsResponse{Requests: each(list, viewRequest), NextPageToken: pageToken(by, m, next)}, err
}

// WatchRequest implements the procedure.
func (s *requestService) WatchRequest(ctx context.Context, m *pb.WatchRequestRequest, stream *connect.ServerStream[pb.WatchRequestResponse]) error {
	if err := check(ending("id", m.GetId())); err != nil {
		return err
	}
	send := sender(ctx, stream)
	return s.spine.WatchRequest(ctx, callOf(ctx).caller, m.GetId(), func(r flow.RequestView, g flow.GrantView) error {
		return send(&pb.WatchRequestResponse{Request: viewRequest(r), Grant: viewGrant(g)})
	})
}

// Approve implements the procedure.
func (s *requestService) Approve(ctx context.Context, m *pb.ApproveRequest) (*pb.ApproveResponse, error) {
	if err := check(signed("statement", m.GetStatement())); err != nil {
		return nil, err
	}
	r, err := s.spine.Approve(ctx, callOf(ctx).caller, m.GetStatement())
	return &pb.ApproveResponse{Request: viewRequest(r)}, err
}

// Refuse implements the procedure.
func (s *requestService) Refuse(ctx context.Context, m *pb.RefuseRequest) (*pb.RefuseResponse, error) {
	if err := check(signed("statement", m.GetStatement())); err != nil {
		return nil, err
	}
	r, err := s.spine.Refuse(ctx, callOf(ctx).caller, m.GetStatement())
	return &pb.RefuseResponse{Request: viewRequest(r)}, err
}

// GetStory implements the procedure.
func (s *requestService) GetStory(ctx context.Context, m *pb.GetStoryRequest) (*pb.GetStoryResponse, error) {
	if err := check(ending("id", m.GetId())); err != nil {
		return nil, err
	}
	story, err := s.spine.Story(ctx, callOf(ctx).caller, m.GetId())
	return &pb.GetStoryResponse{
		Request:  viewRequest(story.Request),
		Grant:    viewGrant(story.Grant),
		Sessions: each(story.Sessions, viewSession),
		Events:   each(story.Events, viewEvent),
	}, err
}
