package api

import (
	"context"
	"strconv"

	"connectrpc.com/connect"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/store"
)

type auditService struct{ spine *flow.Spine }

// SearchEvents implements the procedure.
func (s *auditService) SearchEvents(ctx context.Context, m *pb.SearchEventsRequest) (*pb.SearchEventsResponse, error) {
	by := callOf(ctx).caller
	p, err := page(by, m)
	f := store.Filter{
		Kind:    m.GetKind(),
		Person:  brevet.PersonID(m.GetPerson()),
		Request: brevet.RequestID(m.GetRequest()),
		Session: brevet.SessionID(m.GetSession()),
		Text:    m.GetText(),
		Since:   moment(m.GetSince()),
		Until:   moment(m.GetUntil()),
		Limit:   p.Limit,
	}
	if err == nil && p.After != "" {
		if f.Before, err = strconv.ParseInt(p.After, 10, 64); err != nil {
			err = wrong("page_token", "it is not of this list").Because(err)
		}
	}
	if err := check(
		err,
		text("kind", m.GetKind(), maxSearch),
		namedIf("person", m.GetPerson()),
		endingIf("request", m.GetRequest()),
		endingIf("session", m.GetSession()),
		text("text", m.GetText(), maxSearch),
	); err != nil {
		return nil, err
	}
	events, more, err := s.spine.SearchEvents(ctx, by, f)
	if err != nil {
		return nil, err
	}
	response := &pb.SearchEventsResponse{Events: each(events, viewEvent)}
	if more {
		response.NextPageToken = pageToken(by, m, strconv.FormatInt(events[len(events)-1].Index, 10))
	}
	return response, nil
}

// TailEvents implements the procedure.
func (s *auditService) TailEvents(ctx context.Context, m *pb.TailEventsRequest, stream *connect.ServerStream[pb.TailEventsResponse]) error {
	if m.GetFrom() < -1 {
		return wrong("from", "%d is no index; -1 is for new events only", m.GetFrom())
	}
	send := sender(ctx, stream)
	return s.spine.TailEvents(ctx, callOf(ctx).caller, m.GetFrom(), func(events []flow.EventView) error {
		return send(&pb.TailEventsResponse{Events: each(events, viewEvent)})
	})
}

// leavesMessage is about how many bytes of leaves go into one message of an export.
const leavesMessage = 512 << 10

// ExportLog implements the procedure.
func (s *auditService) ExportLog(ctx context.Context, m *pb.ExportLogRequest, stream *connect.ServerStream[pb.ExportLogResponse]) error {
	if err := logRange("from", "to", m.GetFrom(), m.GetTo()); err != nil {
		return err
	}
	send := sender(ctx, stream)
	checkpoint, err := s.spine.ExportLog(ctx, callOf(ctx).caller, m.GetFrom(), m.GetTo(), func(entries []store.Entry) error {
		for len(entries) > 0 {
			var leaves []*pb.Leaf
			leaves, entries = takeLeaves(entries, leavesMessage)
			if err := send(&pb.ExportLogResponse{Leaves: leaves}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return send(&pb.ExportLogResponse{Checkpoint: checkpoint})
}

// takeLeaves returns the first entries, at least one, for a message of about so many bytes, and the rest.
func takeLeaves(entries []store.Entry, bytes int) ([]*pb.Leaf, []store.Entry) {
	n := 0
	for size := 0; n < len(entries) && size < bytes; n++ {
		size += len(entries[n].Body) + len(entries[n].Statement)
	}
	return each(entries[:n], viewLeaf), entries[n:]
}

// GetCheckpoint implements the procedure.
func (s *auditService) GetCheckpoint(ctx context.Context, _ *pb.GetCheckpointRequest) (*pb.GetCheckpointResponse, error) {
	checkpoint, key, err := s.spine.Checkpoint(ctx, callOf(ctx).caller)
	return &pb.GetCheckpointResponse{Checkpoint: checkpoint, LogKey: key}, err
}

// GetConsistencyProof implements the procedure.
func (s *auditService) GetConsistencyProof(ctx context.Context, m *pb.GetConsistencyProofRequest) (*pb.GetConsistencyProofResponse, error) {
	if err := logRange("from", "to", m.GetFrom(), m.GetTo()); err != nil {
		return nil, err
	}
	hashes, err := s.spine.Consistency(ctx, callOf(ctx).caller, m.GetFrom(), m.GetTo())
	return &pb.GetConsistencyProofResponse{Hashes: hashes}, err
}
