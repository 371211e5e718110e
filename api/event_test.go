package api

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/identity/enrol"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/seal"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// act is one call of a procedure that changes something or shows what is secret, and the one event
// that tells of it.
type act struct {
	procedure string
	by        string   // the actor of the event
	kind      string   // "" for a call that changes nothing worth an event
	then      []string // what else may follow from it, by whomever
	has       []string // what the event's record says besides
	call      func(*day) error
}

// day is what has come of the acts before.
type day struct {
	*plane
	alice, bob, carol, frank visitor
	gateway                  brevetv1connect.GatewayServiceClient
	code                     enrol.Code
	grace                    statement.Signer
	request                  *pb.Request
	session                  *pb.Session
}

var (
	issued  = []string{"request.ready", "intent", "grant"}
	wasOver = []string{"grant.ending", "request.cancelled", "request.refused", "session.ended", "grant.confirmed", "grant.ended", "token.revoked"}
)

// acts are in the order in which they make sense.
var acts = []act{
	{procedure: brevetv1connect.AuthServiceGetChallengeProcedure, call: func(d *day) error {
		return second(d.visit(nil).auth().GetChallenge(d.t.Context(), &pb.GetChallengeRequest{}))
	}},
	{procedure: brevetv1connect.AuthServiceSignInProcedure, by: "bob", kind: "signin", has: []string{"SHA256:"}, call: func(d *day) error {
		d.bob = d.login("bob")
		return nil
	}},
	{procedure: brevetv1connect.PeopleServiceInviteProcedure, by: "alice", kind: "invitation.created", has: []string{`"uses":["request"]`}, call: func(d *day) error {
		made, err := d.alice.people().Invite(d.t.Context(), &pb.InviteRequest{Person: "grace", Kind: "person", Uses: []string{"request"}, ValidSeconds: 3600})
		if err == nil {
			d.code, err = enrol.ParseCode(made.GetCode())
		}
		return err
	}},
	{procedure: brevetv1connect.AuthServiceAnswerInvitationProcedure, kind: "invitation.answered", has: []string{"SHA256:", "127.0.0.1"}, call: (*day).answerInvitation},
	{procedure: brevetv1connect.PeopleServiceWithdrawInvitationProcedure, by: "alice", kind: "invitation.withdrawn",
		has: []string{`"before":{`, `"state":"open"`, `"after":{`, `"state":"withdrawn"`, `"henry"`, `"until":"`}, call: (*day).withdraw},
	{procedure: brevetv1connect.PeopleServiceAppendRosterProcedure, by: "alice", kind: "enrol",
		has: []string{`"before":[]`, `"after":[{"person":"grace"`, `"key":"SHA256:`, `"uses":["request"]`, `"until":"`}, call: (*day).enrolGrace},
	{procedure: brevetv1connect.CatalogServiceApplyCatalogProcedure, by: "alice", kind: "catalog", has: []string{`"before":`, `"after":`, "nobody's business"}, call: (*day).apply},
	{procedure: brevetv1connect.RequestServiceCreateRequestProcedure, by: "bob", kind: "request", has: []string{"restart nginx"}, call: func(d *day) error {
		d.request = d.ask(d.bob, "web-root")
		return nil
	}},
	{procedure: brevetv1connect.RequestServiceWatchRequestProcedure, call: func(d *day) error {
		stream, err := d.bob.requests().WatchRequest(d.t.Context(), &pb.WatchRequestRequest{Id: d.request.GetId()})
		return first(stream, err)
	}},
	{procedure: brevetv1connect.RequestServiceApproveProcedure, by: "carol", kind: "approval", then: issued, call: (*day).approve},
	{procedure: brevetv1connect.GatewayServiceLookupProcedure, call: func(d *day) error {
		return second(d.gateway.Lookup(d.t.Context(), &pb.LookupRequest{
			Target: "web1", Login: "root", Key: prooftest.Fingerprint(d.t, d.Keys["bob"].Key()), Presence: "none", Source: "192.0.2.7",
		}))
	}},
	{procedure: brevetv1connect.GatewayServiceCreateInlineRequestProcedure, by: "gw-1", kind: "request", then: issued, has: []string{`"via":"ssh"`}, call: (*day).askInline},
	{procedure: brevetv1connect.GatewayServiceFollowRequestProcedure, call: func(d *day) error {
		stream, err := d.gateway.FollowRequest(d.t.Context(), &pb.FollowRequestRequest{Id: d.request.GetId()})
		return first(stream, err)
	}},
	{procedure: brevetv1connect.GatewayServiceGetHostCertificateProcedure, call: func(d *day) error {
		return second(d.gateway.GetHostCertificate(d.t.Context(), &pb.GetHostCertificateRequest{
			Name: "web1.brevet", PublicKey: authorized(d.t, d.Gateways["gw-1"].Machine, statement.KeyHost),
		}))
	}},
	{procedure: brevetv1connect.GatewayServiceListenProcedure, by: "gw-1", kind: "gateway.joined", call: func(d *day) error {
		stream, err := d.gateway.Listen(d.t.Context(), &pb.ListenRequest{Address: "gw1.test:7022"})
		if err == nil && !stream.Receive() {
			err = stream.Err()
		}
		return err // it goes on until the test ends
	}},
	{procedure: brevetv1connect.GatewayServiceBeginSessionProcedure, by: "gw-1", kind: "session.started", has: []string{"192.0.2.7", `"web1"`}, call: func(d *day) error {
		d.session = d.plane.session(d.request.GetGrant(), "gw-1")
		d.session.Login = "root"
		return second(d.gateway.BeginSession(d.t.Context(), &pb.BeginSessionRequest{Session: d.session}))
	}},
	{procedure: brevetv1connect.SessionServiceWatchSessionProcedure, by: "frank", kind: "session.watched", call: func(d *day) error {
		return d.watch(d.frank, d.session.GetId()).Close()
	}},
	{procedure: brevetv1connect.GatewayServiceSendLiveProcedure, call: func(d *day) error {
		live, err := d.gateway.SendLive(d.t.Context())
		if err == nil {
			err = live.Send(&pb.SendLiveRequest{Session: d.session.GetId(), Frames: []byte("x"), End: true})
		}
		if err == nil {
			_, err = live.CloseAndReceive()
		}
		return err
	}},
	{procedure: brevetv1connect.GatewayServiceReportRefusalProcedure, by: "gw-1", kind: "session.refused", has: []string{"direct-tcpip"}, call: func(d *day) error {
		return second(d.gateway.ReportRefusal(d.t.Context(), &pb.ReportRefusalRequest{What: "direct-tcpip", Why: "no tunnels", Person: "bob"}))
	}},
	{procedure: brevetv1connect.SessionServiceKillSessionProcedure, by: "alice", kind: "session.killed", has: []string{"drill"}, then: []string{"session.ended"}, call: func(d *day) error {
		return second(d.alice.sessions().KillSession(d.t.Context(), &pb.KillSessionRequest{Id: d.session.GetId(), Reason: "drill"}))
	}},
	{procedure: brevetv1connect.GatewayServiceEndSessionProcedure, by: "gw-1", kind: "session.ended", has: []string{"alice ended"}, call: func(d *day) error {
		d.session.EndedAt, d.session.EndReason = timestamppb.Now(), "alice ended this session: drill"
		return second(d.gateway.EndSession(d.t.Context(), &pb.EndSessionRequest{Session: d.session}))
	}},
	{procedure: brevetv1connect.GatewayServicePutChunksProcedure, by: "gw-1", kind: "recording.sealed", has: []string{`"root":`}, call: func(d *day) error {
		return second(d.gateway.PutChunks(d.t.Context(), &pb.PutChunksRequest{Session: d.session.GetId(), Chunks: d.record(d.session)}))
	}},
	{procedure: brevetv1connect.SessionServicePlaySessionProcedure, by: "frank", kind: "recording.played", call: func(d *day) error {
		stream, err := d.frank.sessions().PlaySession(d.t.Context(), &pb.PlaySessionRequest{Id: d.session.GetId()})
		return first(stream, err)
	}},
	{procedure: brevetv1connect.GatewayServiceCutRecordingProcedure, by: "gw-1", kind: "recording.gap", has: []string{"power cut"}, call: (*day).cut},
	{procedure: brevetv1connect.GrantServiceExportGrantProcedure, by: "bob", kind: "audit.exported", call: func(d *day) error {
		return second(brevetv1connect.NewGrantServiceClient(d.bob, d.bob.url()).ExportGrant(d.t.Context(), &pb.ExportGrantRequest{Id: d.request.GetGrant()}))
	}},
	{procedure: brevetv1connect.GrantServiceRevokeGrantProcedure, by: "alice", kind: "revocation", then: wasOver, has: []string{"drill"}, call: (*day).revoke},
	{procedure: brevetv1connect.GatewayServiceConfirmProcedure, by: "gw-1", kind: "grant.confirmed", then: wasOver, call: func(d *day) error {
		return second(d.gateway.Confirm(d.t.Context(), &pb.ConfirmRequest{Grant: d.request.GetGrant(), Closed: 1, TookMicroseconds: 5}))
	}},
	{procedure: brevetv1connect.RequestServiceRefuseProcedure, by: "bob", kind: "revocation", then: wasOver, has: []string{"not now"}, call: func(d *day) error {
		r := d.ask(d.bob, "web-root")
		return second(d.bob.requests().Refuse(d.t.Context(), &pb.RefuseRequest{Statement: d.revocation("bob", statement.RevokeRequest, r.GetStatementId(), "not now")}))
	}},
	{procedure: brevetv1connect.PeopleServiceSuspendProcedure, by: "alice", kind: "revocation", then: wasOver, has: []string{"grace", "laptop stolen", `"before":{"person":"grace"`, `"suspended":"`}, call: func(d *day) error {
		return second(d.alice.people().Suspend(d.t.Context(), &pb.SuspendRequest{Statement: d.revocation("alice", statement.RevokePerson, "grace", "laptop stolen")}))
	}},
	{procedure: brevetv1connect.AuditServiceSearchEventsProcedure, by: "frank", kind: "audit.searched", has: []string{"what for"}, call: func(d *day) error {
		return second(d.frank.audit().SearchEvents(d.t.Context(), &pb.SearchEventsRequest{Text: "what for"}))
	}},
	{procedure: brevetv1connect.AuditServiceTailEventsProcedure, by: "frank", kind: "audit.searched", call: func(d *day) error {
		stream, err := d.frank.audit().TailEvents(d.t.Context(), &pb.TailEventsRequest{})
		return first(stream, err)
	}},
	{procedure: brevetv1connect.AuditServiceExportLogProcedure, by: "frank", kind: "audit.exported", call: func(d *day) error {
		stream, err := d.frank.audit().ExportLog(d.t.Context(), &pb.ExportLogRequest{})
		return first(stream, err)
	}},
	{procedure: brevetv1connect.AuthServiceSignOutProcedure, by: "bob", kind: "token.revoked", call: func(d *day) error {
		return second(d.bob.auth().SignOut(d.t.Context(), &pb.SignOutRequest{}))
	}},
}

// TestEveryChangeIsOneEvent makes each call once that is not marked as free of side effects, and finds
// exactly one event that tells of it: who, what, and for what was replaced, what was before. A new
// procedure without a row fails.
func TestEveryChangeIsOneEvent(t *testing.T) {
	rows := map[string]bool{}
	for _, a := range acts {
		rows[a.procedure] = true
	}
	for procedure, method := range procedures(t) {
		options := method.Options().(*descriptorpb.MethodOptions)
		if options.GetIdempotencyLevel() != descriptorpb.MethodOptions_NO_SIDE_EFFECTS && !rows[procedure] {
			t.Errorf("%s may change something, and nothing here says which event tells of it", procedure)
		}
	}
	p := newPlane(t)
	d := &day{plane: p, gateway: p.gateways["gw-1"].gateway(), alice: p.login("alice"), carol: p.login("carol"), frank: p.login("frank")}
	for _, a := range acts {
		d.check(a)
	}
}

// TestForgedChunksAreTold: a chunk that does not continue its recording is refused, nothing of it is
// kept, and an event tells of it, once.
func TestForgedChunksAreTold(t *testing.T) {
	p := newPlane(t)
	d := &day{plane: p, gateway: p.gateways["gw-1"].gateway(), bob: p.login("bob")}
	r := d.ask(d.bob, "web-now")
	d.session = p.session(r.GetGrant(), "gw-1")
	must(t, second(d.gateway.BeginSession(t.Context(), &pb.BeginSessionRequest{Session: d.session})))
	good, forged := d.record(d.session), d.record(d.session)
	put := func(first int32, chunks ...[]byte) (*pb.PutChunksResponse, error) {
		return d.gateway.PutChunks(t.Context(), &pb.PutChunksRequest{Session: d.session.GetId(), First: first, Chunks: chunks})
	}
	must(t, second(put(0, good[0])))
	before := d.spine.Store.Size()
	for range 2 {
		code(t, "another recording's chunk", second(put(1, forged[1])), connect.CodeFailedPrecondition)
	}
	if told := d.since(before); len(told) != 1 || told[0].Kind != "recording.gap" || told[0].Actor != "gw-1" {
		t.Errorf("told: %+v", told)
	}
	kept, err := put(1, good[1:]...)
	must(t, err)
	if !kept.GetRecording().GetComplete() {
		t.Errorf("after that the good ones leave %v", kept.GetRecording())
	}
}

// TestDamagedRecordingIsTold: what cannot follow a kept chunk that is damaged is refused for good, and an
// event tells of it.
func TestDamagedRecordingIsTold(t *testing.T) {
	p := newPlane(t)
	d := &day{plane: p, gateway: p.gateways["gw-1"].gateway(), bob: p.login("bob")}
	for name, call := range map[string]func(id string, chunks [][]byte) error{
		"the next chunks": func(id string, chunks [][]byte) error {
			return second(d.gateway.PutChunks(t.Context(), &pb.PutChunksRequest{Session: id, First: 1, Chunks: chunks[1:]}))
		},
		"a cut": func(id string, _ [][]byte) error {
			return second(d.gateway.CutRecording(t.Context(), &pb.CutRecordingRequest{Session: id, Chunks: 1, Reason: "it died"}))
		},
	} {
		session := p.session(d.ask(d.bob, "web-now").GetGrant(), "gw-1")
		must(t, second(d.gateway.BeginSession(t.Context(), &pb.BeginSessionRequest{Session: session})))
		chunks := d.record(session)
		must(t, second(d.gateway.PutChunks(t.Context(), &pb.PutChunksRequest{Session: session.GetId(), Chunks: chunks[:1]})))
		files, err := filepath.Glob(filepath.Join(p.spine.Recordings.Dir, session.GetId(), "*.chunks"))
		must(t, err)
		must(t, os.Truncate(files[0], 100))
		before := d.spine.Store.Size()
		code(t, name, call(session.GetId(), chunks), connect.CodeFailedPrecondition)
		if told := d.since(before); len(told) != 1 || told[0].Kind != "recording.gap" {
			t.Errorf("%s: told %+v", name, told)
		}
	}
}

// TestRecordingOnItsWay: a recording that its gateway delivers later is no finding, and nobody takes it
// for whole. One that is cut, or of which something was taken away, is.
func TestRecordingOnItsWay(t *testing.T) {
	p := newPlane(t)
	d := &day{plane: p, gateway: p.gateways["gw-1"].gateway(), bob: p.login("bob")}
	frank := p.login("frank").sessions()
	grant := d.ask(d.bob, "web-now").GetGrant()
	begin := func() ([][]byte, *pb.Session, string) {
		session := p.session(grant, "gw-1")
		must(t, second(d.gateway.BeginSession(t.Context(), &pb.BeginSessionRequest{Session: session})))
		return d.record(session), session, session.GetId()
	}
	put := func(id string, first int32, chunks ...[]byte) {
		t.Helper()
		must(t, second(d.gateway.PutChunks(t.Context(), &pb.PutChunksRequest{Session: id, First: first, Chunks: chunks})))
	}
	end := func(session *pb.Session) {
		t.Helper()
		session.EndedAt, session.EndReason = timestamppb.Now(), "bob logged out"
		must(t, second(d.gateway.EndSession(t.Context(), &pb.EndSessionRequest{Session: session})))
	}
	play := func(id, problem string, findings int) {
		t.Helper()
		before := d.spine.Store.Size()
		stream, err := frank.PlaySession(t.Context(), &pb.PlaySessionRequest{Id: id})
		must(t, err)
		defer stream.Close()
		var report *pb.RecordingReport
		for stream.Receive() {
			report = stream.Msg().GetReport()
		}
		must(t, stream.Err())
		if report.GetComplete() != (problem == "") || !strings.Contains(report.GetProblem(), problem) {
			t.Errorf("it is said to be complete (%v), or %q; want %q", report.GetComplete(), report.GetProblem(), problem)
		}
		told := slices.DeleteFunc(d.since(before), func(e store.Entry) bool { return e.Kind != "recording.gap" })
		if len(told) != findings {
			t.Errorf("%d findings, want %d: %v", len(told), findings, told)
		}
	}

	chunks, session, id := begin()
	put(id, 0, chunks[0])
	play(id, "goes on", 0)
	end(session)
	play(id, "has not come yet from gw-1", 0)
	put(id, 1, chunks[1:]...)
	play(id, "", 0)

	chunks, session, id = begin()
	put(id, 0, chunks[0])
	put(id, 1, chunks[1:]...)
	end(session)
	files, err := filepath.Glob(filepath.Join(p.spine.Recordings.Dir, id, "*.chunks"))
	must(t, err)
	must(t, os.Remove(slices.Max(files)))
	play(id, "cut after chunk", 1)
}

// check makes the call and looks at what the log has gained.
func (d *day) check(a act) {
	d.t.Helper()
	before := d.spine.Store.Size()
	if err := a.call(d); err != nil {
		d.t.Fatalf("%s: %v", a.procedure, err)
	}
	told := 0
	for _, e := range d.since(before) {
		switch {
		case e.Kind == a.kind && e.Actor == a.by:
			told++
			for _, want := range a.has {
				if !strings.Contains(string(e.Body), want) {
					d.t.Errorf("%s: its event does not say %q:\n%s", a.procedure, want, e.Body)
				}
			}
		case !slices.Contains(a.then, e.Kind) && !d.aside(a, e):
			d.t.Errorf("%s: it also left %s by %q", a.procedure, e.Kind, e.Actor)
		}
	}
	if want := min(1, len(a.kind)); told != want {
		d.t.Errorf("%s: %d events of kind %q by %q, want %d", a.procedure, told, a.kind, a.by, want)
	}
}

// aside reports whether the event is of what a call needed to be done before it.
func (d *day) aside(a act, e store.Entry) bool {
	switch a.procedure {
	case brevetv1connect.PeopleServiceWithdrawInvitationProcedure:
		return e.Kind == "invitation.created"
	case brevetv1connect.RequestServiceRefuseProcedure:
		return e.Kind == "request"
	case brevetv1connect.GatewayServiceCutRecordingProcedure:
		return e.Kind == "session.started"
	}
	return false
}

// since returns the events behind the first n of the log.
func (d *day) since(n int64) []store.Entry {
	d.t.Helper()
	entries, err := d.spine.Store.Query(d.t.Context()).Search(store.Filter{Limit: store.MaxPage})
	must(d.t, err)
	entries = slices.DeleteFunc(entries, func(e store.Entry) bool { return e.Index < n })
	slices.Reverse(entries)
	return entries
}

// stream is what a client has of one.
type stream interface {
	Receive() bool
	Err() error
	Close() error
}

// first reads until something has come, and closes.
func first(s stream, err error) error {
	if err != nil {
		return err
	}
	if !s.Receive() {
		return s.Err()
	}
	return s.Close()
}

func (d *day) answerInvitation() error {
	_, d.grace = prooftest.NewKey(d.t)
	possession, err := statement.Possession{Org: d.Root, Person: "grace", Key: d.grace.Key(), Code: d.code.Secret.Digest()}.Prove(d.t.Context(), d.grace)
	must(d.t, err)
	return second(d.visit(nil).auth().AnswerInvitation(d.t.Context(), &pb.AnswerInvitationRequest{
		Code: d.code.Secret.Reveal(), Person: "grace", PublicKey: d.grace.Key().Public, Possession: possession,
	}))
}

// withdraw has alice take back a code that she made for somebody else.
func (d *day) withdraw() error {
	made, err := d.alice.people().Invite(d.t.Context(), &pb.InviteRequest{Person: "henry", Kind: "person", Uses: []string{"request"}})
	must(d.t, err)
	code, err := enrol.ParseCode(made.GetCode())
	must(d.t, err)
	return second(d.alice.people().WithdrawInvitation(d.t.Context(), &pb.WithdrawInvitationRequest{Code: code.Secret.Digest()}))
}

func (d *day) enrolGrace() error {
	one := statement.Enrolment{
		Person: "grace", Kind: brevet.Person, Key: d.grace.Key(), Uses: []statement.Use{statement.UseRequest},
		From: time.Now().Add(-time.Minute).UnixMicro(), Until: time.Now().Add(time.Hour).UnixMicro(), Code: d.code.Secret.Digest(),
	}
	var err error
	one.Possession, err = statement.Possession{Org: d.Root, Person: "grace", Key: one.Key, Code: one.Code}.Prove(d.t.Context(), d.grace)
	must(d.t, err)
	s := statement.Enrol{Header: d.header(), Link: d.Link(), Enrolments: []statement.Enrolment{one}}
	return second(d.alice.people().AppendRoster(d.t.Context(), &pb.AppendRosterRequest{Statement: d.signed(s, d.Keys["alice"])}))
}

func (d *day) apply() error {
	next := d.Catalog
	next.Roles = slices.Clone(next.Roles)
	next.Roles[0].Description = "nobody's business"
	manifest, digest, err := catalog.Manifest(catalog.Normalise(next))
	must(d.t, err)
	s := statement.Catalog{Header: d.header(), Link: d.CatalogLink(), Manifest: digest, Message: "another description"}
	return second(brevetv1connect.NewCatalogServiceClient(d.alice, d.alice.url()).ApplyCatalog(d.t.Context(), &pb.ApplyCatalogRequest{
		Statement: d.signed(s, d.Keys["alice"]), Manifest: manifest,
	}))
}

// approve has carol agree, and waits until the grant is live.
func (d *day) approve() error {
	envelope, err := statement.Parse(d.request.GetStatement())
	must(d.t, err)
	yes := d.Approval("carol", proof.Entry{Envelope: envelope}, 0)
	if _, err := d.carol.requests().Approve(d.t.Context(), &pb.ApproveRequest{Statement: d.signed(yes, d.Keys["carol"])}); err != nil {
		return err
	}
	d.request.Grant = string(brevet.RequestID(d.request.GetId()).Grant())
	return d.until(brevet.GrantID(d.request.GetGrant()), brevet.Live)
}

// until waits until the grant is in the state.
func (d *day) until(id brevet.GrantID, state brevet.GrantState) error {
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	for {
		size := d.spine.Store.Size()
		if g, err := d.spine.Store.Query(ctx).Grant(id); err == nil && g.State == state {
			return nil
		}
		if _, err := d.spine.Store.Wait(ctx, size); err != nil {
			return err
		}
	}
}

// askInline asks for what nobody need agree to, and waits until it is given.
func (d *day) askInline() error {
	d.Now = time.Now().UTC()
	r := d.Request("bob", "web-now")
	r.Via, r.Seen = brevet.ViaSSH, statement.Seen{Key: prooftest.Fingerprint(d.t, d.Keys["bob"].Key()), Presence: brevet.NoPresence, Source: "192.0.2.7"}
	made, err := d.gateway.CreateInlineRequest(d.t.Context(), &pb.CreateInlineRequestRequest{Statement: d.signed(r, d.Gateways["gw-1"].Statements)})
	if err != nil {
		return err
	}
	return d.until(brevet.RequestID(made.GetId()).Grant(), brevet.Live)
}

// cut begins another session and says that its recording has nothing but its beginning.
func (d *day) cut() error {
	other := d.plane.session(d.request.GetGrant(), "gw-1")
	other.Login = "root"
	if _, err := d.gateway.BeginSession(d.t.Context(), &pb.BeginSessionRequest{Session: other}); err != nil {
		return err
	}
	chunks := d.record(other)
	if _, err := d.gateway.PutChunks(d.t.Context(), &pb.PutChunksRequest{Session: other.GetId(), Chunks: chunks[:1]}); err != nil {
		return err
	}
	return second(d.gateway.CutRecording(d.t.Context(), &pb.CutRecordingRequest{Session: other.GetId(), Chunks: 1, Reason: "power cut"}))
}

func (d *day) revoke() error {
	return second(brevetv1connect.NewGrantServiceClient(d.alice, d.alice.url()).RevokeGrant(d.t.Context(), &pb.RevokeGrantRequest{
		Statement: d.revocation("alice", statement.RevokeGrant, d.request.GetGrant(), "drill"),
	}))
}

// revocation signs one, of now.
func (d *day) revocation(by brevet.PersonID, what, subject, reason string) []byte {
	return d.signed(statement.Revocation{Header: d.header(), By: string(by), What: what, Subject: subject, Reason: reason}, d.Keys[by])
}

// record returns the chunks of a recording of the session, to its end.
func (d *day) record(of *pb.Session) [][]byte {
	d.t.Helper()
	var kept shelf
	recorder := &record.Recorder{
		Recipients: []seal.Recipient{d.spine.Recorder.Recipient()}, Sink: func(brevet.SessionID) (record.Sink, error) { return &kept, nil },
	}
	w, err := recorder.Begin(d.t.Context(), brevet.Session{
		ID: brevet.SessionID(of.GetId()), Grant: brevet.GrantID(of.GetGrant()), Person: "bob", Target: "web1", Login: "root", Machine: "gw-1", Kind: "shell", StartedAt: time.Now(),
	}, record.Terminal{})
	must(d.t, err)
	must(d.t, w.Output(record.Stdout, []byte("hello")))
	must(d.t, w.Close("bob logged out"))
	return kept.chunks
}

// shelf is a Sink that keeps chunks.
type shelf struct{ chunks [][]byte }

// Put implements record.Sink.
func (s *shelf) Put(_ context.Context, _ uint32, chunk []byte) error {
	s.chunks = append(s.chunks, slices.Clone(chunk))
	return nil
}

// Sync implements record.Sink.
func (s *shelf) Sync(context.Context) error { return nil }

func (s *shelf) Close() error { return nil }

// authorized returns the machine's key of that use, as OpenSSH prints it.
func authorized(t *testing.T, m statement.Machine, use statement.MachineUse) string {
	t.Helper()
	for _, k := range m.Keys {
		if k.Use == use {
			return k.Key.Public
		}
	}
	t.Fatalf("%s has no key of use %s", m.Name, use)
	return ""
}
