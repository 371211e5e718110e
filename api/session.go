package api

import (
	"context"

	"connectrpc.com/connect"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/flow"
)

type sessionService struct{ spine *flow.Spine }

// ListSessions implements the procedure.
func (s *sessionService) ListSessions(ctx context.Context, m *pb.ListSessionsRequest) (*pb.ListSessionsResponse, error) {
	by := callOf(ctx).caller
	want := flow.SessionWant{
		Live:   m.GetLive(),
		Grant:  m.GetGrant(),
		Person: brevet.PersonID(m.GetPerson()),
		Target: brevet.TargetID(m.GetTarget()),
	}
	var err error
	want.Page, err = page(by, m)
	if err := check(err, endingIf("grant", m.GetGrant()), namedIf("person", m.GetPerson()), namedIf("target", m.GetTarget())); err != nil {
		return nil, err
	}
	list, next, err := s.spine.Sessions(ctx, by, want)
	return &pb.ListSessionsResponse{Sessions: each(list, viewSession), NextPageToken: pageToken(by, m, next)}, err
}

// WatchSession implements the procedure. Somebody who does not keep up loses the view, see
// watch.Hub: it must hold back neither the session nor other watchers.
func (s *sessionService) WatchSession(ctx context.Context, m *pb.WatchSessionRequest, stream *connect.ServerStream[pb.WatchSessionResponse]) error {
	if err := check(ending("id", m.GetId())); err != nil {
		return err
	}
	w, err := s.spine.WatchSession(ctx, callOf(ctx).caller, m.GetId())
	if err != nil {
		return err
	}
	defer w.Close()
	return watchFrames(ctx, w, sender(ctx, stream))
}

// frames is what somebody watches: see watch.Watcher.
type frames interface {
	Frames() <-chan []byte
	Reason() string
}

func watchFrames(ctx context.Context, w frames, send func(*pb.WatchSessionResponse) error) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case b, more := <-w.Frames():
			if !more {
				return send(&pb.WatchSessionResponse{EndReason: w.Reason()})
			}
			if err := send(&pb.WatchSessionResponse{Frames: b}); err != nil {
				return err
			}
		}
	}
}

// KillSession implements the procedure.
func (s *sessionService) KillSession(ctx context.Context, m *pb.KillSessionRequest) (*pb.KillSessionResponse, error) {
	if err := check(ending("id", m.GetId()), text("reason", m.GetReason(), maxReason)); err != nil {
		return nil, err
	}
	session, err := s.spine.KillSession(ctx, callOf(ctx).caller, m.GetId(), m.GetReason(), patience(m))
	return &pb.KillSessionResponse{Session: viewSession(session)}, err
}

// PlaySession implements the procedure. The recording is read as fast as the client takes it.
func (s *sessionService) PlaySession(ctx context.Context, m *pb.PlaySessionRequest, stream *connect.ServerStream[pb.PlaySessionResponse]) error {
	if err := check(ending("id", m.GetId())); err != nil {
		return err
	}
	send := sender(ctx, stream)
	report, err := s.spine.PlaySession(ctx, callOf(ctx).caller, m.GetId(), func(frames []byte) error {
		return send(&pb.PlaySessionResponse{Frames: frames})
	})
	if err != nil {
		return err
	}
	return send(&pb.PlaySessionResponse{Report: &pb.RecordingReport{
		Chunks:   int32(report.Chunks),
		Frames:   report.Frames,
		Bytes:    report.Bytes,
		Complete: report.Complete,
		Problem:  report.Problem,
	}})
}
