package api

import (
	"context"
	"time"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/policy"
)

// maxAsked is the longest duration that anybody may wonder about.
const maxAsked = 366 * 24 * time.Hour

type catalogService struct{ spine *flow.Spine }

// GetCatalog implements the procedure.
func (s *catalogService) GetCatalog(ctx context.Context, _ *pb.GetCatalogRequest) (*pb.GetCatalogResponse, error) {
	c, err := s.spine.Catalog(ctx, callOf(ctx).caller)
	return &pb.GetCatalogResponse{Statement: c.Statement, Manifest: c.Manifest, Id: c.ID, Number: c.Number}, err
}

// PlanCatalog implements the procedure.
func (s *catalogService) PlanCatalog(ctx context.Context, m *pb.PlanCatalogRequest) (*pb.PlanCatalogResponse, error) {
	if err := check(filled("manifest", m.GetManifest())); err != nil {
		return nil, err
	}
	plan, err := s.spine.PlanCatalog(ctx, callOf(ctx).caller, m.GetManifest())
	return &pb.PlanCatalogResponse{
		Changes:  plan.Changes,
		Findings: each(plan.Findings, viewFinding),
		Number:   plan.Number,
		Previous: plan.Previous,
	}, err
}

// ApplyCatalog implements the procedure.
func (s *catalogService) ApplyCatalog(ctx context.Context, m *pb.ApplyCatalogRequest) (*pb.ApplyCatalogResponse, error) {
	if err := check(signed("statement", m.GetStatement()), filled("manifest", m.GetManifest())); err != nil {
		return nil, err
	}
	c, err := s.spine.ApplyCatalog(ctx, callOf(ctx).caller, m.GetStatement(), m.GetManifest())
	return &pb.ApplyCatalogResponse{Id: c.ID, Number: c.Number}, err
}

// ExplainDecision implements the procedure.
func (s *catalogService) ExplainDecision(ctx context.Context, m *pb.ExplainDecisionRequest) (*pb.ExplainDecisionResponse, error) {
	if err := check(
		namedIf("person", m.GetPerson()),
		named("role", m.GetRole()),
		allNamed("targets", m.GetTargets()),
		span("duration_seconds", m.GetDurationSeconds(), maxAsked),
		text("reason", m.GetReason(), maxReason),
		text("ticket", m.GetTicket(), maxReason),
	); err != nil {
		return nil, err
	}
	by := callOf(ctx).caller
	decision, stages, err := s.spine.Explain(ctx, by, policy.Ask{
		Person:   brevet.PersonID(m.GetPerson()),
		Role:     brevet.RoleName(m.GetRole()),
		Targets:  words[brevet.TargetID](m.GetTargets()),
		Duration: brevet.Seconds(m.GetDurationSeconds()),
		Reason:   m.GetReason(),
		Ticket:   m.GetTicket(),
		Via:      by.Via,
	})
	return &pb.ExplainDecisionResponse{Decision: viewDecision(decision, stages)}, err
}
