package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/crypto/ssh"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
)

// things are what a call may name by id: bob's, or such as there never were.
type things struct {
	request, grant, session, person string
	envelope                        statement.Envelope // of the request
	hostKey                         string             // of a gateway
}

// shown is what a call of somebody else's must lead to.
type shown int

const (
	hidden   shown = iota // there or not, the answer is the same: not found
	refusedA              // there or not, the answer is the same: you may not
	denied                // it is refused; that it is there stands in the roster, which the caller has
	listed                // it succeeds, and does not have it
)

// foreign is how a procedure is tried with what is another's.
type foreign struct {
	message func(*plane, things) string // of another's thing; nil: it names nothing of anybody's
	want    shown
	why     string // it names nothing
}

func sign64(p *plane, payload statement.Payload, by brevet.PersonID) string {
	return base64.StdEncoding.EncodeToString(p.signed(payload, p.Keys[by]))
}

func withID(field string, get func(things) string) func(*plane, things) string {
	return func(_ *plane, x things) string { return fmt.Sprintf("{%q: %q}", field, get(x)) }
}

func requestID(x things) string { return x.request }
func grantID(x things) string   { return x.grant }
func sessionID(x things) string { return x.session }

// takesBack is a signed revocation by erin.
func takesBack(what string, subject func(things) string) func(*plane, things) string {
	return func(p *plane, x things) string {
		r := statement.Revocation{Header: p.header(), By: "erin", What: what, Subject: subject(x), Reason: "mine now"}
		return `{"statement": "` + sign64(p, r, "erin") + `"}`
	}
}

// foreigns has a row for every procedure: whoever adds one has to say what it does with ids of others.
// People are tried as erin, whom bob's work on web1 does not concern; gateways as gw-2.
var foreigns = map[string]foreign{
	"AuthService/GetServer":        {why: "the server's own names"},
	"AuthService/GetChallenge":     {why: "a fresh number"},
	"AuthService/SignIn":           {why: "the signed statement names its signer; see TestSignInRefused"},
	"AuthService/SignOut":          {why: "the token that was shown"},
	"AuthService/WhoAmI":           {why: "the token that was shown"},
	"AuthService/AnswerInvitation": {why: "a secret code, not an id; see TestInvitation"},

	"RequestService/ListRoles":     {why: "the caller's own"},
	"RequestService/CreateRequest": {why: "it makes a new one; in another's name it is refused, see TestWhatIsNobodysToSay"},
	"RequestService/GetRequest":    {message: withID("id", requestID)},
	"RequestService/WatchRequest":  {message: withID("id", requestID)},
	"RequestService/GetStory":      {message: withID("id", requestID)},
	"RequestService/ListRequests":  {message: func(*plane, things) string { return `{}` }, want: listed},
	"RequestService/Refuse":        {message: takesBack(statement.RevokeRequest, func(x things) string { return string(x.envelope.ID()) })},
	"RequestService/Approve": {message: func(p *plane, x things) string {
		return `{"statement": "` + sign64(p, p.Approval("erin", proof.Entry{Envelope: x.envelope}, 0), "erin") + `"}`
	}},

	"GrantService/ListGrants":  {message: func(*plane, things) string { return `{"person": "bob"}` }, want: listed},
	"GrantService/RevokeGrant": {message: takesBack(statement.RevokeGrant, grantID)},
	"GrantService/ExportGrant": {message: withID("id", grantID)},

	"SessionService/ListSessions": {message: withID("grant", grantID)},
	"SessionService/WatchSession": {message: withID("id", sessionID)},
	"SessionService/KillSession":  {message: withID("id", sessionID)},
	"SessionService/PlaySession":  {message: withID("id", sessionID)},

	"AuditService/SearchEvents":        {message: withID("request", requestID), want: refusedA},
	"AuditService/TailEvents":          {message: func(*plane, things) string { return `{}` }, want: refusedA},
	"AuditService/ExportLog":           {message: func(*plane, things) string { return `{}` }, want: refusedA},
	"AuditService/GetCheckpoint":       {why: "hashes alone, which everybody may compare"},
	"AuditService/GetConsistencyProof": {why: "hashes alone, which everybody may compare"},

	"CatalogService/GetCatalog":   {why: "everybody who is signed in verifies it, and what they ask for, from the root"},
	"CatalogService/PlanCatalog":  {why: "it compares the caller's own files with the catalog, and changes nothing"},
	"CatalogService/ApplyCatalog": {why: "the statement must be signed by who may; see TestWhatIsNobodysToSay"},
	"CatalogService/ExplainDecision": {message: func(_ *plane, x things) string {
		return `{"person": "` + x.person + `", "role": "web-root", "targets": ["web1"]}`
	}, want: refusedA},

	"PeopleService/GetRoster":  {why: "everybody verifies it from the root"},
	"PeopleService/ListPeople": {message: func(*plane, things) string { return `{}` }, want: listed},
	"PeopleService/Invite": {message: func(_ *plane, x things) string {
		return `{"person": "` + x.person + `", "kind": "person", "uses": ["request"]}`
	}, want: refusedA},
	"PeopleService/ListInvitations":    {message: func(*plane, things) string { return `{}` }, want: refusedA},
	"PeopleService/WithdrawInvitation": {message: func(*plane, things) string { return `{"code": "` + strings.Repeat("ab", 32) + `"}` }, want: refusedA},
	"PeopleService/AppendRoster":       {why: "the statement must be signed by who may; see TestWhatIsNobodysToSay"},
	"PeopleService/Suspend":            {message: takesBack(statement.RevokePerson, func(x things) string { return x.person }), want: refusedA},
	"PeopleService/ListMachines":       {message: func(*plane, things) string { return `{}` }, want: listed},
	"SystemService/Check":              {message: func(*plane, things) string { return `{}` }, want: listed},

	"GatewayService/Lookup":              {why: "it asks by a key; of another gateway's grants it shows none, see TestGatewaySpeaksForItselfAlone"},
	"GatewayService/CreateInlineRequest": {why: "it makes a new one, signed by the gateway that asks"},
	"GatewayService/FollowRequest":       {message: withID("id", requestID)},
	"GatewayService/GetChains":           {why: "every gateway verifies them from the root"},
	"GatewayService/BeginSession":        {message: otherSession},
	"GatewayService/EndSession":          {message: otherSession},
	"GatewayService/ReportRefusal":       {why: "it tells of something and changes nothing"},
	"GatewayService/PutChunks": {message: func(_ *plane, x things) string {
		return `{"session": "` + x.session + `", "chunks": ["AQ=="]}`
	}},
	"GatewayService/CutRecording": {message: withID("session", sessionID)},
	"GatewayService/GetHostCertificate": {message: func(_ *plane, x things) string {
		return `{"name": "gw-2", "public_key": "` + x.hostKey + `"}`
	}, want: denied},
	"GatewayService/Listen":   {why: "the connection's own gateway; see TestRevokedGrantIsOrderedToItsGatewayAlone"},
	"GatewayService/Confirm":  {message: withID("grant", grantID)},
	"GatewayService/SendLive": {why: "frames of another's session are dropped; see TestWatchingLive"},
}

func otherSession(_ *plane, x things) string {
	return `{"session": {"id": "` + x.session + `", "grant": "` + x.grant + `", "person": "bob", "target": "web1", "login": "deploy", "kind": "shell", "startedAt": "` + time.Now().UTC().Format(time.RFC3339) + `"}}`
}

// TestOthersThingsAreHiddenByEveryCall (Q19, B45): what is another's can by no call be seen, changed or
// ended by its id, and that it is there cannot be told.
func TestOthersThingsAreHiddenByEveryCall(t *testing.T) {
	p := newPlane(t)
	bob, erin := p.login("bob"), p.login("erin")
	there := p.thingsOfBob(bob)
	key, _ := prooftest.NewKey(t)
	none := things{
		request: "req_" + strings.Repeat("0", 26), grant: "grt_" + strings.Repeat("0", 26), session: "ses_" + strings.Repeat("0", 26), person: "zoe",
		hostKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey()))),
	}
	var err error
	p.Now = time.Now().UTC()
	none.envelope, err = statement.New(t.Context(), p.Request("bob", "web-root"), p.Keys["bob"]) // was never handed in
	must(t, err)
	ids := func(x things) *strings.Replacer {
		return strings.NewReplacer(x.request, "R", x.grant, "G", x.session, "S", x.person, "P", string(x.envelope.ID()), "E",
			x.request[len(x.request)-6:], "r", x.grant[len(x.grant)-6:], "g")
	}
	for procedure, method := range procedures(t) {
		name := strings.TrimPrefix(procedure, "/brevet.v1.")
		row, ok := foreigns[name]
		if !ok {
			t.Errorf("%s: nobody has said what it does with the ids of others: it needs a row in this test", name)
		}
		if !ok || row.message == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			as := erin
			if audienceOf(procedure) == machine {
				as = p.gateways["gw-2"]
			}
			status, answer := as.ask(method, procedure, row.message(p, there))
			if row.want == listed {
				for _, of := range []string{there.request, there.grant, there.session, `"bob"`} {
					if status != http.StatusOK && status != http.StatusForbidden || strings.Contains(answer, of) {
						t.Errorf("%d: the answer has %s: %s", status, of, answer)
					}
				}
				return
			}
			other, another := as.ask(method, procedure, row.message(p, none))
			answer, another = ids(there).Replace(answer), ids(none).Replace(another)
			want := map[shown]string{hidden: "not_found", refusedA: "permission_denied", denied: "permission_denied"}[row.want]
			same := answer == another || row.want == denied
			if status != other || !same || !strings.Contains(answer, want) {
				t.Errorf("of bob's: %d %s\nof nothing: %d %s\nwant %s for both", status, answer, other, another, want)
			}
		})
	}
	p.stillBobs(there)
}

// stillBobs fails the test unless bob's grant and session are as they were.
func (p *plane) stillBobs(x things) {
	p.t.Helper()
	q := p.spine.Store.Query(p.t.Context())
	if g, err := q.Grant(brevet.GrantID(x.grant)); err != nil || g.State != brevet.Live {
		p.t.Errorf("bob's grant is %s, %v", g.State, err)
	}
	if s, err := q.Session(brevet.SessionID(x.session)); err != nil || !s.EndedAt.IsZero() {
		p.t.Errorf("bob's session is %+v, %v", s, err)
	}
}

// thingsOfBob are a grant of bob's, held by gw-1, with a session under it.
func (p *plane) thingsOfBob(bob visitor) things {
	p.t.Helper()
	r := p.ask(bob, "web-now")
	session := p.session(r.GetGrant(), "gw-1")
	_, err := p.gateways["gw-1"].gateway().BeginSession(p.t.Context(), &pb.BeginSessionRequest{Session: session})
	must(p.t, err)
	envelope, err := statement.Parse(r.GetStatement())
	must(p.t, err)
	return things{
		request: r.GetId(), grant: r.GetGrant(), session: session.GetId(), person: "bob", envelope: envelope,
		hostKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(p.Gateways["gw-1"].Host.PublicKey()))),
	}
}

// ask calls a procedure with JSON, in the form that it takes: alone, or in a stream of one message.
// It returns the status and the answer, or the first of it where the answer does not end.
func (v visitor) ask(method protoreflect.MethodDescriptor, procedure, message string) (int, string) {
	v.world.t.Helper()
	if !method.IsStreamingServer() && !method.IsStreamingClient() {
		return v.post(procedure, asJSON, message)
	}
	ctx, cancel := context.WithCancel(v.world.t.Context())
	defer cancel()
	status, first, err := v.stream(ctx, procedure, message)
	must(v.world.t, err)
	return status, first
}

// framed is a message in the frame of a stream.
func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// stream sends one message of a stream and returns the first that comes back.
func (v visitor) stream(ctx context.Context, procedure, message string) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, v.url()+procedure, bytes.NewReader(framed([]byte(message))))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Content-Type", "application/connect+json")
	response, err := v.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	var head [5]byte
	if _, err := io.ReadFull(response.Body, head[:]); err != nil {
		return response.StatusCode, "", nil
	}
	first, err := io.ReadAll(io.LimitReader(response.Body, int64(binary.BigEndian.Uint32(head[1:]))))
	return response.StatusCode, string(first), err
}

// TestWhatIsNobodysToSay: what is signed in another's name, or by somebody who may not, makes nothing.
func TestWhatIsNobodysToSay(t *testing.T) {
	p := newPlane(t)
	erin := p.login("erin")
	p.Now = time.Now().UTC()
	_, err := erin.requests().CreateRequest(t.Context(), &pb.CreateRequestRequest{Statement: p.signed(p.Request("bob", "web-now"), p.Keys["erin"])})
	code(t, "a request in bob's name", err, connect.CodePermissionDenied)
	_, err = erin.requests().CreateRequest(t.Context(), &pb.CreateRequestRequest{Statement: p.signed(p.Request("bob", "web-now"), p.Keys["bob"])})
	code(t, "bob's own request, brought by erin", err, connect.CodePermissionDenied)

	link := p.Link()
	_, key := prooftest.NewKey(t)
	enrol := statement.Enrol{Header: p.header(), Link: link, Enrolments: []statement.Enrolment{p.Enrolment("erin", "", key, statement.UseAdminister)}}
	_, err = erin.people().AppendRoster(t.Context(), &pb.AppendRosterRequest{Statement: p.signed(enrol, p.Keys["erin"])})
	code(t, "a roster by erin", err, connect.CodePermissionDenied)
	manifest, digest, err := catalog.Manifest(catalog.Normalise(p.Catalog))
	must(t, err)
	head, number := p.spine.State().Catalog.Head()
	apply := statement.Catalog{Header: p.header(), Link: statement.Link{Number: number + 1, Previous: head}, Manifest: digest, Message: "mine"}
	_, err = brevetv1connect.NewCatalogServiceClient(erin, erin.url()).ApplyCatalog(t.Context(), &pb.ApplyCatalogRequest{Statement: p.signed(apply, p.Keys["erin"]), Manifest: manifest})
	code(t, "a catalog by erin", err, connect.CodePermissionDenied)
	if _, now := p.spine.State().Catalog.Head(); now != number {
		t.Error("the catalog changed")
	}
}
