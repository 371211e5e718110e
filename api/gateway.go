package api

import (
	"context"
	"math"
	"net/netip"
	"strings"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/identity/enrol"
	"github.com/brevet-pim/brevet/statement"
)

// gatewayService answers gateways. The caller is the machine whose TLS key the connection
// showed; no message can name another one as the one who speaks.
type gatewayService struct{ spine *flow.Spine }

// Lookup implements the procedure.
func (s *gatewayService) Lookup(ctx context.Context, m *pb.LookupRequest) (*pb.LookupResponse, error) {
	source, err := address("source", m.GetSource())
	if err := check(
		err,
		named("target", m.GetTarget()),
		statement.CheckLogin("login", m.GetLogin()),
		sized("key", m.GetKey(), maxWord),
		oneOf("presence", m.GetPresence(), brevet.NoPresence, brevet.TouchPresence, brevet.VerifiedPresence),
	); err != nil {
		return nil, err
	}
	answer, err := s.spine.Lookup(ctx, callOf(ctx).caller, flow.Want{
		Target:   brevet.TargetID(m.GetTarget()),
		Login:    m.GetLogin(),
		Key:      m.GetKey(),
		Presence: brevet.Presence(m.GetPresence()),
		Source:   source,
	})
	return &pb.LookupResponse{
		Person:  string(answer.Person),
		Bundles: answer.Bundles,
		Offers:  each(answer.Offers, viewRole),
		Pending: string(answer.Pending),
		Refusal: answer.Refusal,
	}, err
}

// CreateInlineRequest implements the procedure.
func (s *gatewayService) CreateInlineRequest(ctx context.Context, m *pb.CreateInlineRequestRequest) (*pb.CreateInlineRequestResponse, error) {
	if err := check(signed("statement", m.GetStatement())); err != nil {
		return nil, err
	}
	r, err := s.spine.AskInline(ctx, callOf(ctx).caller, m.GetStatement())
	return &pb.CreateInlineRequestResponse{Id: string(r.ID), State: string(r.State), Sentence: r.Sentence}, err
}

// FollowRequest implements the procedure.
func (s *gatewayService) FollowRequest(ctx context.Context, m *pb.FollowRequestRequest, stream *connect.ServerStream[pb.FollowRequestResponse]) error {
	if err := check(ending("id", m.GetId())); err != nil {
		return err
	}
	send := sender(ctx, stream)
	return s.spine.FollowRequest(ctx, callOf(ctx).caller, m.GetId(), func(r flow.RequestView) error {
		return send(&pb.FollowRequestResponse{State: string(r.State), Sentence: r.Sentence, Live: r.Live()})
	})
}

// GetChains implements the procedure.
func (s *gatewayService) GetChains(ctx context.Context, m *pb.GetChainsRequest) (*pb.GetChainsResponse, error) {
	if err := check(between("roster_after", m.GetRosterAfter(), 0, math.MaxInt64), between("catalog_after", m.GetCatalogAfter(), 0, math.MaxInt64)); err != nil {
		return nil, err
	}
	bundle, err := s.spine.Chains(ctx, callOf(ctx).caller, m.GetRosterAfter(), m.GetCatalogAfter())
	return &pb.GetChainsResponse{Bundle: bundle}, err
}

// BeginSession implements the procedure.
func (s *gatewayService) BeginSession(ctx context.Context, m *pb.BeginSessionRequest) (*pb.BeginSessionResponse, error) {
	by := callOf(ctx).caller
	if err := checkSession(by, m.GetSession()); err != nil {
		return nil, err
	}
	return &pb.BeginSessionResponse{}, s.spine.BeginSession(ctx, by, readSession(by.Machine, m.GetSession()))
}

// EndSession implements the procedure.
func (s *gatewayService) EndSession(ctx context.Context, m *pb.EndSessionRequest) (*pb.EndSessionResponse, error) {
	by := callOf(ctx).caller
	if err := checkSession(by, m.GetSession()); err != nil {
		return nil, err
	}
	return &pb.EndSessionResponse{}, s.spine.EndSession(ctx, by, readSession(by.Machine, m.GetSession()))
}

// checkSession wants a session of the gateway's own.
func checkSession(by brevet.Caller, s *pb.Session) error {
	if s == nil {
		return wrong("session", "it is missing")
	}
	_, idWrong := brevet.ParseSessionID(s.GetId())
	_, grantWrong := brevet.ParseGrantID(s.GetGrant())
	var machineWrong error
	if s.GetMachine() != "" && s.GetMachine() != string(by.Machine) {
		machineWrong = wrong("session.machine", "you are %s and can speak for no other gateway", by.Machine)
	}
	return check(
		inField("session.id", idWrong),
		inField("session.grant", grantWrong),
		machineWrong,
		named("session.person", s.GetPerson()),
		named("session.target", s.GetTarget()),
		statement.CheckLogin("session.login", s.GetLogin()),
		text("session.end_reason", s.GetEndReason(), maxReason),
	)
}

// ReportRefusal implements the procedure.
func (s *gatewayService) ReportRefusal(ctx context.Context, m *pb.ReportRefusalRequest) (*pb.ReportRefusalResponse, error) {
	if err := check(
		namedIf("person", m.GetPerson()),
		namedIf("target", m.GetTarget()),
		endingIf("grant", m.GetGrant()),
		text("what", m.GetWhat(), maxWord),
		text("why", m.GetWhy(), maxReason),
		text("login", m.GetLogin(), maxWord),
		text("key", m.GetKey(), maxWord),
		text("source", m.GetSource(), maxWord),
		between("count", m.GetCount(), 0, 1<<30),
	); err != nil {
		return nil, err
	}
	return &pb.ReportRefusalResponse{}, s.spine.ReportRefusal(ctx, callOf(ctx).caller, flow.Refusal{
		What:       m.GetWhat(),
		Why:        m.GetWhy(),
		Person:     brevet.PersonID(m.GetPerson()),
		Grant:      brevet.GrantID(m.GetGrant()),
		Target:     brevet.TargetID(m.GetTarget()),
		Login:      m.GetLogin(),
		Key:        m.GetKey(),
		Source:     m.GetSource(),
		At:         moment(m.GetAt()),
		Unreported: int(m.GetCount()),
	})
}

// PutChunks implements the procedure.
func (s *gatewayService) PutChunks(ctx context.Context, m *pb.PutChunksRequest) (*pb.PutChunksResponse, error) {
	id, err := brevet.ParseSessionID(m.GetSession())
	if err := check(inField("session", err), between("first", m.GetFirst(), 0, 1<<30)); err != nil {
		return nil, err
	}
	if len(m.GetChunks()) == 0 {
		return nil, wrong("chunks", "it is empty")
	}
	state, err := s.spine.PutChunks(ctx, callOf(ctx).caller, id, int(m.GetFirst()), m.GetChunks())
	return &pb.PutChunksResponse{Recording: viewRecording(state)}, err
}

// CutRecording implements the procedure.
func (s *gatewayService) CutRecording(ctx context.Context, m *pb.CutRecordingRequest) (*pb.CutRecordingResponse, error) {
	id, err := brevet.ParseSessionID(m.GetSession())
	if err := check(inField("session", err), between("chunks", m.GetChunks(), 0, 1<<30), text("reason", m.GetReason(), maxReason)); err != nil {
		return nil, err
	}
	state, err := s.spine.CutRecording(ctx, callOf(ctx).caller, id, int(m.GetChunks()), m.GetReason())
	return &pb.CutRecordingResponse{Recording: viewRecording(state)}, err
}

// maxHost is the longest name of a host, see RFC 1035, section 2.3.4.
const maxHost = 253

// GetHostCertificate implements the procedure.
func (s *gatewayService) GetHostCertificate(ctx context.Context, m *pb.GetHostCertificateRequest) (*pb.GetHostCertificateResponse, error) {
	if err := check(sized("name", m.GetName(), maxHost), sized("public_key", m.GetPublicKey(), maxPublicKey)); err != nil {
		return nil, err
	}
	wire, err := s.spine.HostCertificate(ctx, callOf(ctx).caller, m.GetName(), m.GetPublicKey())
	if err != nil {
		return nil, err
	}
	certificate, err := ssh.ParsePublicKey(wire)
	if err != nil {
		return nil, brevet.Errorf(brevet.Internal, "the issuer's host certificate cannot be read").Because(err)
	}
	return &pb.GetHostCertificateResponse{Certificate: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(certificate)))}, nil
}

// Listen implements the procedure. flow sees to it that the gateway hears something every few seconds.
func (s *gatewayService) Listen(ctx context.Context, m *pb.ListenRequest, stream *connect.ServerStream[pb.ListenResponse]) error {
	live, err := sessions("live_sessions", m.GetLiveSessions())
	if err := check(err, inField("address", enrol.CheckAddress(m.GetAddress()))); err != nil {
		return err
	}
	present := flow.Present{Address: m.GetAddress(), Live: live} // without a time all began later, and none is taken for lost
	if at := m.GetLiveAt(); at != nil {
		present.At = at.AsTime()
	}
	send := sender(ctx, stream)
	return s.spine.Listen(ctx, callOf(ctx).caller, present, func(o flow.Order) error { return send(viewOrder(o)) })
}

func sessions(field string, list []string) ([]brevet.SessionID, error) {
	ids := make([]brevet.SessionID, len(list))
	for i, text := range list {
		id, err := brevet.ParseSessionID(text)
		if err != nil {
			return nil, inField(field, err)
		}
		ids[i] = id
	}
	return ids, nil
}

func viewOrder(o flow.Order) *pb.ListenResponse {
	switch {
	case o.KeepAlive():
		return &pb.ListenResponse{Order: &pb.ListenResponse_KeepAlive{KeepAlive: &pb.KeepAlive{}}}
	case o.Watch:
		return &pb.ListenResponse{Order: &pb.ListenResponse_Watch{Watch: &pb.WatchOrder{Session: string(o.Session), Watchers: texts(o.Watchers)}}}
	}
	return &pb.ListenResponse{Order: &pb.ListenResponse_End{End: &pb.EndOrder{Grant: string(o.Grant), Session: string(o.Session), Reason: o.Reason}}}
}

// Confirm implements the procedure.
func (s *gatewayService) Confirm(ctx context.Context, m *pb.ConfirmRequest) (*pb.ConfirmResponse, error) {
	if err := check(
		endingIf("grant", m.GetGrant()),
		endingIf("session", m.GetSession()),
		between("closed", m.GetClosed(), 0, 1<<30),
		between("took_microseconds", m.GetTookMicroseconds(), 0, int64(24*time.Hour/time.Microsecond)),
	); err != nil {
		return nil, err
	}
	return &pb.ConfirmResponse{}, s.spine.Confirm(ctx, callOf(ctx).caller, flow.Closed{
		Grant:       brevet.GrantID(m.GetGrant()),
		Session:     brevet.SessionID(m.GetSession()),
		Connections: int(m.GetClosed()),
		Took:        time.Duration(m.GetTookMicroseconds()) * time.Microsecond,
	})
}

// SendLive implements the procedure. That the frames are over says EndSession, so the message's
// end only ends the stream.
func (s *gatewayService) SendLive(ctx context.Context, stream *connect.ClientStream[pb.SendLiveRequest]) (*pb.SendLiveResponse, error) {
	c := callOf(ctx)
	c.hurry.off() // a session may show nothing for long
	for stream.Receive() {
		m := stream.Msg()
		id, err := brevet.ParseSessionID(m.GetSession())
		if err != nil {
			return nil, inField("session", err)
		}
		if len(m.GetFrames()) > 0 {
			s.spine.Hub.Live(c.caller.Machine, id, m.GetFrames())
		}
		if m.GetEnd() {
			break
		}
	}
	return &pb.SendLiveResponse{}, stream.Err()
}

// address wants an IP address.
func address(field, s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, wrong(field, "%s is no IP address", brevet.Quote(s[:min(len(s), maxID)])).Because(err)
	}
	return a.Unmap(), nil
}
