package cli

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/api/failure"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/statement"
)

func connectError(kind brevet.Kind, message string) error {
	return failure.Wire(brevet.Errorf(kind, "%s", message))
}

// say returns what the server answers: the truth, as the test's lie changes it.
func say[M proto.Message](w *world, m M) (M, error) {
	m = proto.Clone(m).(M)
	w.lie(m)
	return m, nil
}

type authPart struct {
	brevetv1connect.UnimplementedAuthServiceHandler
	*world
}

func (p authPart) GetServer(context.Context, *brevetv1.GetServerRequest) (*brevetv1.GetServerResponse, error) {
	return say(p.world, &brevetv1.GetServerResponse{Version: "v0.0.0-test", Organisation: "Example Ltd", Root: string(p.root), Now: stamp()})
}

func (p authPart) GetChallenge(context.Context, *brevetv1.GetChallengeRequest) (*brevetv1.GetChallengeResponse, error) {
	return say(p.world, &brevetv1.GetChallengeResponse{Challenge: "0123456789abcdef0123456789abcdef"})
}

// SignIn checks what a server must: the key, the challenge, and that the token is for this connection.
func (p authPart) SignIn(ctx context.Context, m *brevetv1.SignInRequest) (*brevetv1.SignInResponse, error) {
	e, err := statement.Parse(m.GetStatement())
	if err != nil {
		return nil, failure.Wire(err)
	}
	in, err := statement.Open[statement.SignIn](e)
	if err != nil {
		return nil, failure.Wire(err)
	}
	if _, err := statement.Verify(e, e.Signatures[0], signerOf(p.t, p.keys[in.Person]).Key()); err != nil {
		return nil, failure.Wire(err)
	}
	thumb := thumbOf(ctx.Value(requestKey{}).(*http.Request))
	if in.Client != thumb || in.Org != p.root || in.Challenge != "0123456789abcdef0123456789abcdef" {
		return nil, connectError(brevet.Refused, "the sign-in is for something else")
	}
	p.thumb = thumb
	return &brevetv1.SignInResponse{Token: p.token.Reveal(), Until: timestamppb.New(time.Now().Add(time.Hour)), Person: string(in.Person)}, nil
}

func (p authPart) AnswerInvitation(_ context.Context, m *brevetv1.AnswerInvitationRequest) (*brevetv1.AnswerInvitationResponse, error) {
	return say(p.world, p.answerInvitation(m))
}

func (p authPart) SignOut(ctx context.Context, _ *brevetv1.SignOutRequest) (*brevetv1.SignOutResponse, error) {
	if err := p.known(ctx); err != nil {
		return nil, err
	}
	p.signedOut = true
	return say(p.world, &brevetv1.SignOutResponse{})
}

func (p authPart) WhoAmI(ctx context.Context, _ *brevetv1.WhoAmIRequest) (*brevetv1.WhoAmIResponse, error) {
	if err := p.known(ctx); err != nil {
		return nil, err
	}
	return say(p.world, &brevetv1.WhoAmIResponse{Person: &brevetv1.Person{Id: "alice", Groups: []string{"admins"}}, Key: "SHA256:x", Until: timestamppb.New(time.Now().Add(time.Hour))})
}

type peoplePart struct {
	brevetv1connect.UnimplementedPeopleServiceHandler
	*world
}

func (p peoplePart) GetRoster(ctx context.Context, m *brevetv1.GetRosterRequest) (*brevetv1.GetRosterResponse, error) {
	if err := p.known(ctx); err != nil {
		return nil, err
	}
	got := &brevetv1.GetRosterResponse{}
	passed := int64(0)
	for _, e := range p.roster {
		chained := must(e.Kind())(p.t) != statement.KindRevocation
		if chained {
			passed++
		}
		if passed > m.GetAfter() || !chained && passed == m.GetAfter() {
			got.Statements = append(got.Statements, must(e.Marshal())(p.t))
		}
	}
	return say(p.world, got)
}

func (p peoplePart) AppendRoster(ctx context.Context, m *brevetv1.AppendRosterRequest) (*brevetv1.AppendRosterResponse, error) {
	if err := p.known(ctx); err != nil {
		return nil, err
	}
	p.appended = append(p.appended, m.GetStatement())
	return say(p.world, &brevetv1.AppendRosterResponse{Number: int64(len(p.roster)) + 1})
}

func (p peoplePart) ListPeople(ctx context.Context, _ *brevetv1.ListPeopleRequest) (*brevetv1.ListPeopleResponse, error) {
	if err := p.known(ctx); err != nil {
		return nil, err
	}
	return say(p.world, &brevetv1.ListPeopleResponse{People: []*brevetv1.Person{{Id: "alice", Kind: "person", Founder: true}}})
}

func (p peoplePart) Suspend(ctx context.Context, _ *brevetv1.SuspendRequest) (*brevetv1.SuspendResponse, error) {
	if err := p.known(ctx); err != nil {
		return nil, err
	}
	return say(p.world, &brevetv1.SuspendResponse{Person: &brevetv1.Person{Id: "alice"}, GrantsEnded: 3})
}

func (p peoplePart) ListInvitations(ctx context.Context, _ *brevetv1.ListInvitationsRequest) (*brevetv1.ListInvitationsResponse, error) {
	if err := p.known(ctx); err != nil {
		return nil, err
	}
	return say(p.world, &brevetv1.ListInvitationsResponse{})
}

func (p peoplePart) ListMachines(ctx context.Context, _ *brevetv1.ListMachinesRequest) (*brevetv1.ListMachinesResponse, error) {
	if err := p.known(ctx); err != nil {
		return nil, err
	}
	return say(p.world, &brevetv1.ListMachinesResponse{Machines: []*brevetv1.Machine{{Id: "log", Use: "log"}, {Id: "gw-1", Use: "gateway"}}})
}

type grantPart struct {
	brevetv1connect.UnimplementedGrantServiceHandler
	*world
}

func (p grantPart) ExportGrant(ctx context.Context, m *brevetv1.ExportGrantRequest) (*brevetv1.ExportGrantResponse, error) {
	if err := p.known(ctx); err != nil {
		return nil, err
	}
	return say(p.world, &brevetv1.ExportGrantResponse{Bundle: []byte("proof of " + m.GetId())})
}

func (p grantPart) ListGrants(ctx context.Context, m *brevetv1.ListGrantsRequest) (*brevetv1.ListGrantsResponse, error) {
	if err := p.known(ctx); err != nil {
		return nil, err
	}
	got := &brevetv1.ListGrantsResponse{}
	for i, state := range []string{"live", "ended"} {
		if len(m.GetStates()) == 0 || slices.Contains(m.GetStates(), state) {
			got.Grants = append(got.Grants, &brevetv1.Grant{Id: "grt_" + strings.Repeat(strconv.Itoa(i), 26), State: state})
		}
	}
	return say(p.world, got)
}

func (p grantPart) RevokeGrant(ctx context.Context, _ *brevetv1.RevokeGrantRequest) (*brevetv1.RevokeGrantResponse, error) {
	if err := p.known(ctx); err != nil {
		return nil, err
	}
	return say(p.world, &brevetv1.RevokeGrantResponse{Grant: &brevetv1.Grant{Id: "grt_" + strings.Repeat("0", 26), State: "ended"}})
}

type catalogPart struct {
	brevetv1connect.UnimplementedCatalogServiceHandler
	*world
}

func (p catalogPart) GetCatalog(ctx context.Context, _ *brevetv1.GetCatalogRequest) (*brevetv1.GetCatalogResponse, error) {
	if err := p.known(ctx); err != nil {
		return nil, err
	}
	return say(p.world, p.catalog)
}

func (p catalogPart) ExplainDecision(ctx context.Context, m *brevetv1.ExplainDecisionRequest) (*brevetv1.ExplainDecisionResponse, error) {
	if err := p.known(ctx); err != nil {
		return nil, err
	}
	return say(p.world, &brevetv1.ExplainDecisionResponse{Decision: &brevetv1.Decision{
		Outcome: "refuse", Reasons: []string{"web-root is for group sre (policy sre-may-ask). " + m.GetPerson() + " is in: admins"},
	}})
}

func (p catalogPart) ApplyCatalog(ctx context.Context, m *brevetv1.ApplyCatalogRequest) (*brevetv1.ApplyCatalogResponse, error) {
	if err := p.known(ctx); err != nil {
		return nil, err
	}
	p.applied = append(p.world.applied, m)
	return say(p.world, &brevetv1.ApplyCatalogResponse{Number: p.catalog.GetNumber() + 1})
}

type auditPart struct {
	brevetv1connect.UnimplementedAuditServiceHandler
	*world
}

func (p auditPart) ExportLog(ctx context.Context, m *brevetv1.ExportLogRequest, s *connect.ServerStream[brevetv1.ExportLogResponse]) error {
	if err := p.known(ctx); err != nil {
		return err
	}
	part, _ := say(p.world, &brevetv1.ExportLogResponse{Leaves: p.rows[m.GetFrom():], Checkpoint: p.checkpoint()})
	return s.Send(part)
}

func (p auditPart) GetCheckpoint(ctx context.Context, _ *brevetv1.GetCheckpointRequest) (*brevetv1.GetCheckpointResponse, error) {
	if err := p.known(ctx); err != nil {
		return nil, err
	}
	return say(p.world, &brevetv1.GetCheckpointResponse{Checkpoint: p.checkpoint()})
}

func (p auditPart) GetConsistencyProof(ctx context.Context, m *brevetv1.GetConsistencyProofRequest) (*brevetv1.GetConsistencyProofResponse, error) {
	if err := p.known(ctx); err != nil {
		return nil, err
	}
	proved, err := audit.Consistency(m.GetTo(), m.GetFrom(), p.hashes())
	if err != nil {
		return nil, failure.Wire(err)
	}
	got := &brevetv1.GetConsistencyProofResponse{}
	for _, h := range proved {
		got.Hashes = append(got.Hashes, h[:])
	}
	return say(p.world, got)
}

func (p auditPart) SearchEvents(ctx context.Context, m *brevetv1.SearchEventsRequest) (*brevetv1.SearchEventsResponse, error) {
	if err := p.known(ctx); err != nil {
		return nil, err
	}
	got := &brevetv1.SearchEventsResponse{NextPageToken: "more"}
	for i := range m.GetPageSize() {
		got.Events = append(got.Events, &brevetv1.Event{Index: int64(i), Kind: "request", Actor: "bob", Message: "bob asked \x1b[31mred"})
	}
	return say(p.world, got)
}

func (p auditPart) TailEvents(ctx context.Context, m *brevetv1.TailEventsRequest, s *connect.ServerStream[brevetv1.TailEventsResponse]) error {
	if err := p.known(ctx); err != nil {
		return err
	}
	return s.Send(&brevetv1.TailEventsResponse{Events: []*brevetv1.Event{{Index: m.GetFrom(), Kind: "request", Actor: "bob", Message: "bob asked"}}})
}

type requestPart struct {
	brevetv1connect.UnimplementedRequestServiceHandler
	*world
}

func (p requestPart) GetRequest(ctx context.Context, m *brevetv1.GetRequestRequest) (*brevetv1.GetRequestResponse, error) {
	if err := p.known(ctx); err != nil {
		return nil, err
	}
	got := &brevetv1.GetRequestResponse{}
	p.lie(got)
	if got.GetRequest() == nil {
		return nil, connectError(brevet.NotFound, "no request ends with "+m.GetId())
	}
	return got, nil
}

func (p requestPart) ListRoles(ctx context.Context, _ *brevetv1.ListRolesRequest) (*brevetv1.ListRolesResponse, error) {
	if err := p.known(ctx); err != nil {
		return nil, err
	}
	return say(p.world, &brevetv1.ListRolesResponse{Roles: p.roles})
}

type systemPart struct {
	brevetv1connect.UnimplementedSystemServiceHandler
	*world
}

func (p systemPart) Check(ctx context.Context, _ *brevetv1.CheckRequest) (*brevetv1.CheckResponse, error) {
	if err := p.known(ctx); err != nil {
		return nil, err
	}
	return say(p.world, &brevetv1.CheckResponse{Now: stamp()})
}
