package api

import (
	"context"

	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/flow"
)

type systemService struct{ spine *flow.Spine }

// Check implements the procedure.
func (s *systemService) Check(ctx context.Context, _ *pb.CheckRequest) (*pb.CheckResponse, error) {
	findings, err := s.spine.Check(ctx, callOf(ctx).caller)
	return &pb.CheckResponse{Findings: each(findings, viewFinding), Now: stamp(s.spine.Clock())}, err
}
