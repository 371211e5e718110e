package api

import (
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
)

// ask files a request of bob's.
func (p *plane) ask(bob visitor, role brevet.RoleName) *pb.Request {
	p.t.Helper()
	p.Now = time.Now().UTC()
	made, err := bob.requests().CreateRequest(p.t.Context(), &pb.CreateRequestRequest{Statement: p.signed(p.Request("bob", role), p.Keys["bob"])})
	must(p.t, err)
	return made.GetRequest()
}

func TestRequestOverTheNetwork(t *testing.T) {
	p := newPlane(t)
	bob, carol, erin := p.login("bob"), p.login("carol"), p.login("erin")
	r := p.ask(bob, "web-root")
	if r.GetState() != string(brevet.Waiting) || r.GetPerson() != "bob" || len(r.GetDecision().GetStages()) != 1 || len(r.GetStatement()) == 0 {
		t.Fatalf("asked: %v", r)
	}
	_, err := erin.requests().GetRequest(t.Context(), &pb.GetRequestRequest{Id: r.GetId()})
	code(t, "somebody whom it does not concern", err, connect.CodeNotFound)

	watching, err := bob.requests().WatchRequest(t.Context(), &pb.WatchRequestRequest{Id: r.GetId()[20:]})
	must(t, err)
	if !watching.Receive() || watching.Msg().GetRequest().GetState() != string(brevet.Waiting) {
		t.Fatalf("watching: %v, %v", watching.Msg(), watching.Err())
	}
	todo, err := carol.requests().ListRequests(t.Context(), &pb.ListRequestsRequest{ForMe: true})
	must(t, err)
	if len(todo.GetRequests()) != 1 || todo.GetRequests()[0].GetId() != r.GetId() {
		t.Fatalf("for carol: %v", todo)
	}
	envelope, err := statement.Parse(r.GetStatement())
	must(t, err)
	yes := p.Approval("carol", proof.Entry{Envelope: envelope}, 0)
	_, err = erin.requests().Approve(t.Context(), &pb.ApproveRequest{Statement: p.signed(yes, p.Keys["carol"])})
	if err == nil {
		t.Error("erin handed in carol's yes as hers")
	}
	agreed, err := carol.requests().Approve(t.Context(), &pb.ApproveRequest{Statement: p.signed(yes, p.Keys["carol"])})
	must(t, err)
	if len(agreed.GetRequest().GetApprovals()) != 1 || agreed.GetRequest().GetApprovals()[0].GetBy() != "carol" {
		t.Errorf("agreed: %v", agreed)
	}
	var last *pb.WatchRequestResponse
	for watching.Receive() {
		last = watching.Msg()
	}
	must(t, watching.Err())
	if last.GetGrant().GetState() != string(brevet.Live) || last.GetGrant().GetHolder() != "gw-1" {
		t.Errorf("the last that bob heard: %v", last)
	}

	proved, err := brevetv1connect.NewGrantServiceClient(bob, bob.url()).ExportGrant(t.Context(), &pb.ExportGrantRequest{Id: last.GetGrant().GetId()})
	must(t, err)
	if _, err := proof.Parse(proved.GetBundle()); err != nil || proved.GetId() != last.GetGrant().GetId() {
		t.Errorf("the proof of %s: %v", proved.GetId(), err)
	}
	story, err := bob.requests().GetStory(t.Context(), &pb.GetStoryRequest{Id: r.GetId()})
	must(t, err)
	if len(story.GetEvents()) < 3 {
		t.Errorf("the story has %d events", len(story.GetEvents()))
	}
}

func TestListsComeInPages(t *testing.T) {
	p := newPlane(t)
	bob, frank := p.login("bob"), p.login("frank")
	var want []string
	for range 3 {
		r := p.ask(bob, "web-root")
		want = append(want, r.GetId())
		revocation := statement.Revocation{Header: p.header(), By: "bob", What: statement.RevokeRequest, Subject: r.GetStatementId(), Reason: "not now"}
		_, err := bob.requests().Refuse(t.Context(), &pb.RefuseRequest{Statement: p.signed(revocation, p.Keys["bob"])})
		must(t, err)
	}
	slices.Sort(want)
	slices.Reverse(want)
	var got []string
	query := &pb.ListRequestsRequest{Mine: true, PageSize: 1}
	for {
		list, err := bob.requests().ListRequests(t.Context(), query)
		must(t, err)
		for _, r := range list.GetRequests() {
			got = append(got, r.GetId())
		}
		if query.PageToken = list.GetNextPageToken(); query.GetPageToken() == "" {
			break
		}
		stolen := &pb.ListRequestsRequest{Mine: true, PageSize: 1, PageToken: query.GetPageToken()}
		_, err = frank.requests().ListRequests(t.Context(), stolen)
		code(t, "somebody else's page token", err, connect.CodeInvalidArgument)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the pages have %v, want %v", got, want)
	}
}

func TestAuditOverTheNetwork(t *testing.T) {
	p := newPlane(t)
	bob, frank := p.login("bob"), p.login("frank")
	p.ask(bob, "web-now")
	_, err := bob.audit().SearchEvents(t.Context(), &pb.SearchEventsRequest{})
	code(t, "bob searches", err, connect.CodePermissionDenied)
	tail, err := frank.audit().TailEvents(t.Context(), &pb.TailEventsRequest{})
	must(t, err)
	if !tail.Receive() || tail.Msg().GetEvents()[0].GetIndex() != 0 {
		t.Errorf("tail: %v, %v", tail.Msg(), tail.Err())
	}
	must(t, tail.Close())

	seen := map[int64]bool{}
	query := &pb.SearchEventsRequest{PageSize: 5, Until: timestamppb.Now()} // what follows are events too
	for {
		list, err := frank.audit().SearchEvents(t.Context(), query)
		must(t, err)
		for _, e := range list.GetEvents() {
			if seen[e.GetIndex()] {
				t.Errorf("event %d came twice", e.GetIndex())
			}
			seen[e.GetIndex()] = true
		}
		if query.PageToken = list.GetNextPageToken(); query.GetPageToken() == "" {
			break
		}
	}
	for i := range int64(len(seen)) {
		if !seen[i] {
			t.Errorf("event %d did not come", i)
		}
	}

	asked, err := frank.audit().SearchEvents(t.Context(), &pb.SearchEventsRequest{Kind: "request", PageSize: 1})
	must(t, err)
	if len(asked.GetEvents()) != 1 || asked.GetNextPageToken() != "" {
		t.Errorf("one request was made, and the search has %d and promises more: %q", len(asked.GetEvents()), asked.GetNextPageToken())
	}

	export, err := frank.audit().ExportLog(t.Context(), &pb.ExportLogRequest{})
	must(t, err)
	next, checkpoint := int64(0), []byte(nil)
	for export.Receive() {
		for _, leaf := range export.Msg().GetLeaves() {
			if leaf.GetIndex() != next || len(leaf.GetBodyHash()) != 32 || len(leaf.GetRecord()) == 0 {
				t.Fatalf("leaf %d is %v", next, leaf)
			}
			next++
		}
		checkpoint = export.Msg().GetCheckpoint()
	}
	must(t, export.Err())
	if next < int64(len(seen)) || len(checkpoint) == 0 {
		t.Errorf("%d leaves, a checkpoint of %d bytes", next, len(checkpoint))
	}
}

// session is one of bob's on web1, under the grant, as the gateway tells of it.
func (p *plane) session(grant string, machine brevet.MachineID) *pb.Session {
	now := time.Now()
	return &pb.Session{
		Id: string(brevet.NewSessionID(now)), Grant: grant, Person: "bob", Target: "web1", Login: "deploy", Machine: string(machine),
		Source: "192.0.2.7", Kind: "shell", Recorded: true, StartedAt: timestamppb.New(now),
	}
}

func TestGatewaySpeaksForItselfAlone(t *testing.T) {
	p := newPlane(t)
	ctx, one, two := t.Context(), p.gateways["gw-1"].gateway(), p.gateways["gw-2"].gateway()
	r := p.ask(p.login("bob"), "web-now")
	session := p.session(r.GetGrant(), "")
	_, err := two.BeginSession(ctx, &pb.BeginSessionRequest{Session: session})
	code(t, "a session under another's grant", err, connect.CodeNotFound)
	session.Machine = "gw-1"
	_, err = two.BeginSession(ctx, &pb.BeginSessionRequest{Session: session})
	code(t, "a session in another's name", err, connect.CodeInvalidArgument)
	_, err = one.BeginSession(ctx, &pb.BeginSessionRequest{Session: session})
	must(t, err)

	session.Machine = ""
	_, err = two.EndSession(ctx, &pb.EndSessionRequest{Session: session})
	code(t, "the end of another's session", err, connect.CodeNotFound)
	_, err = two.PutChunks(ctx, &pb.PutChunksRequest{Session: session.GetId(), Chunks: [][]byte{{1}}})
	code(t, "chunks of another's session", err, connect.CodeNotFound)
	_, err = two.CutRecording(ctx, &pb.CutRecordingRequest{Session: session.GetId(), Reason: "no"})
	code(t, "the cut of another's recording", err, connect.CodeNotFound)
	following, err := two.FollowRequest(ctx, &pb.FollowRequestRequest{Id: r.GetId()})
	must(t, err)
	if following.Receive() {
		t.Errorf("another's request is told to gw-2: %v", following.Msg())
	}
	code(t, "another's request", following.Err(), connect.CodeNotFound)

	want := &pb.LookupRequest{Target: "web1", Login: "deploy", Key: prooftest.Fingerprint(t, p.Keys["bob"].Key()), Presence: "none", Source: "192.0.2.7"}
	mine, err := one.Lookup(ctx, want)
	must(t, err)
	others, err := two.Lookup(ctx, want)
	must(t, err)
	if mine.GetPerson() != "bob" || len(mine.GetBundles()) != 1 || len(others.GetBundles()) != 0 {
		t.Errorf("gw-1 gets %d proofs, gw-2 %d", len(mine.GetBundles()), len(others.GetBundles()))
	}
}

func TestWatchingLive(t *testing.T) {
	p := newPlane(t)
	ctx, one, two := t.Context(), p.gateways["gw-1"].gateway(), p.gateways["gw-2"].gateway()
	bob, frank := p.login("bob"), p.login("frank")
	r := p.ask(bob, "web-now")
	session := p.session(r.GetGrant(), "gw-1")
	_, err := one.BeginSession(ctx, &pb.BeginSessionRequest{Session: session})
	must(t, err)
	orders, err := one.Listen(ctx, &pb.ListenRequest{Address: "gw1.test:7022", LiveSessions: []string{session.GetId()}})
	must(t, err)
	seen := p.watch(frank, session.GetId())
	for orders.Receive() && orders.Msg().GetWatch() == nil {
	}
	if order := orders.Msg().GetWatch(); order.GetSession() != session.GetId() || !slices.Equal(order.GetWatchers(), []string{"frank"}) {
		t.Fatalf("ordered: %v, %v", orders.Msg(), orders.Err())
	}
	for _, show := range []struct {
		by     brevetv1connect.GatewayServiceClient
		frames string
	}{{two, "forged"}, {one, "root@web1:~# "}} {
		live, err := show.by.SendLive(ctx)
		must(t, err)
		must(t, live.Send(&pb.SendLiveRequest{Session: session.GetId(), Frames: []byte(show.frames), End: true}))
		_, err = live.CloseAndReceive()
		must(t, err)
	}
	if !seen.Receive() || string(seen.Msg().GetFrames()) != "root@web1:~# " {
		t.Errorf("frank sees %q, %v", seen.Msg().GetFrames(), seen.Err())
	}
	session.EndedAt, session.EndReason = timestamppb.Now(), "bob logged out"
	_, err = one.EndSession(ctx, &pb.EndSessionRequest{Session: session})
	must(t, err)
	if !seen.Receive() || seen.Msg().GetEndReason() != "bob logged out" {
		t.Errorf("the end is %v, %v", seen.Msg(), seen.Err())
	}
	if seen.Receive() || seen.Err() != nil {
		t.Errorf("after the end: %v, %v", seen.Msg(), seen.Err())
	}
	_, err = bob.sessions().KillSession(ctx, &pb.KillSessionRequest{Id: session.GetId()})
	if err == nil {
		t.Error("a session that is over was ended")
	}
}

// watch begins to watch, once a gateway is there that can show something.
func (p *plane) watch(v visitor, id string) *connect.ServerStreamForClient[pb.WatchSessionResponse] {
	p.t.Helper()
	for {
		size := p.spine.Store.Size() // that it joined is an event, after it did
		if len(p.spine.Hub.Connected()) > 0 {
			break
		}
		_, err := p.spine.Store.Wait(p.t.Context(), size)
		must(p.t, err)
	}
	stream, err := v.sessions().WatchSession(p.t.Context(), &pb.WatchSessionRequest{Id: id})
	must(p.t, err)
	return stream
}

func TestRevokedGrantIsOrderedToItsGatewayAlone(t *testing.T) {
	p := newPlane(t)
	ctx, one := t.Context(), p.gateways["gw-1"].gateway()
	r := p.ask(p.login("bob"), "web-now")
	alice := p.login("alice")
	orders, err := one.Listen(ctx, &pb.ListenRequest{Address: "gw1.test:7022"})
	must(t, err)
	revocation := statement.Revocation{Header: p.header(), By: "alice", What: statement.RevokeGrant, Subject: r.GetGrant(), Reason: "drill"}
	ended, err := brevetv1connect.NewGrantServiceClient(alice, alice.url()).RevokeGrant(ctx, &pb.RevokeGrantRequest{Statement: p.signed(revocation, p.Keys["alice"])})
	must(t, err)
	if ended.GetGrant().GetState() != string(brevet.Ending) {
		t.Errorf("revoked: %v", ended)
	}
	for orders.Receive() && orders.Msg().GetEnd() == nil {
	}
	if orders.Msg().GetEnd().GetGrant() != r.GetGrant() {
		t.Fatalf("ordered: %v, %v", orders.Msg(), orders.Err())
	}
	confirm := &pb.ConfirmRequest{Grant: r.GetGrant(), Closed: 1, TookMicroseconds: 12_000}
	if _, err = p.gateways["gw-2"].gateway().Confirm(ctx, confirm); err == nil {
		t.Error("gw-2 confirmed what gw-1 was told")
	}
	g, err := p.spine.Store.Query(ctx).Grant(brevet.GrantID(r.GetGrant()))
	must(t, err)
	if g.State != brevet.Ending {
		t.Fatalf("after gw-2's word the grant is %s", g.State)
	}
	_, err = one.Confirm(ctx, confirm)
	must(t, err)
	if g, err = p.spine.Store.Query(ctx).Grant(g.ID); err != nil || g.State != brevet.Ended {
		t.Errorf("after gw-1's word the grant is %s, %v", g.State, err)
	}
}
