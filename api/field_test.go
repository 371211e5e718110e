package api

import (
	"strings"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/statement"
)

// TestErrorsNameTheField goes through every handler's checks that a message can fail without
// anything behind the handler: the spine is never reached, as there is none.
func TestErrorsNameTheField(t *testing.T) {
	long := strings.Repeat("x", 2000)
	session := func(edit func(*pb.Session)) *pb.Session {
		s := &pb.Session{
			Id: string(brevet.NewSessionID(time.Now())), Grant: "grt_" + strings.Repeat("0", 26),
			Machine: "gw-1", Person: "bob", Target: "web1", Login: "root",
		}
		edit(s)
		return s
	}
	byGateway := withCall(t, brevet.Caller{Machine: "gw-1"})
	byBob := withCall(t, brevet.Caller{Person: "bob"})
	var (
		auth     = &authService{}
		requests = &requestService{}
		grants   = &grantService{}
		sessions = &sessionService{}
		audit    = &auditService{}
		catalog  = &catalogService{}
		folk     = &peopleService{}
		gateways = &gatewayService{}
	)
	for field, call := range map[string]func() error{
		"statement: it is missing": func() error { return second(requests.CreateRequest(byBob, &pb.CreateRequestRequest{})) },
		"statement: it has": func() error {
			return second(requests.Approve(byBob, &pb.ApproveRequest{Statement: make([]byte, statement.MaxEnvelope+1)}))
		},
		"id: it is missing":  func() error { return second(requests.GetRequest(byBob, &pb.GetRequestRequest{})) },
		"id: \"%\" is no id": func() error { return second(requests.GetStory(byBob, &pb.GetStoryRequest{Id: "%"})) },
		"states: \"open\"": func() error {
			return second(requests.ListRequests(byBob, &pb.ListRequestsRequest{States: []string{"open"}}))
		},
		"page_size: 9999":     func() error { return second(grants.ListGrants(byBob, &pb.ListGrantsRequest{PageSize: 9999})) },
		"person name \"Bob\"": func() error { return second(grants.ListGrants(byBob, &pb.ListGrantsRequest{Person: "Bob"})) },
		"target name \"a/b\"": func() error { return second(sessions.ListSessions(byBob, &pb.ListSessionsRequest{Target: "a/b"})) },
		"reason: it is longer": func() error {
			return second(sessions.KillSession(byBob, &pb.KillSessionRequest{Id: "x", Reason: long}))
		},
		"text: it has":            func() error { return second(audit.SearchEvents(byBob, &pb.SearchEventsRequest{Text: "a\x1b[2J"})) },
		"page_token: it is not":   func() error { return second(audit.SearchEvents(byBob, &pb.SearchEventsRequest{PageToken: "x"})) },
		"from: -2":                func() error { return audit.TailEvents(byBob, &pb.TailEventsRequest{From: -2}, nil) },
		"from: 7 is beyond":       func() error { return audit.ExportLog(byBob, &pb.ExportLogRequest{From: 7, To: 5}, nil) },
		"to: -1":                  func() error { return second(audit.GetConsistencyProof(byBob, &pb.GetConsistencyProofRequest{To: -1})) },
		"manifest: it is missing": func() error { return second(catalog.PlanCatalog(byBob, &pb.PlanCatalogRequest{})) },
		"role has no name":        func() error { return second(catalog.ExplainDecision(byBob, &pb.ExplainDecisionRequest{})) },
		"duration_seconds: -5": func() error {
			return second(catalog.ExplainDecision(byBob, &pb.ExplainDecisionRequest{Role: "r", DurationSeconds: -5}))
		},
		"after: -1":         func() error { return second(folk.GetRoster(byBob, &pb.GetRosterRequest{After: -1})) },
		"kind: \"robot\"":   func() error { return second(folk.Invite(byBob, &pb.InviteRequest{Person: "r2", Kind: "robot"})) },
		"uses: it is empty": func() error { return second(folk.Invite(byBob, &pb.InviteRequest{Person: "bo", Kind: "person"})) },
		"uses: \"everything\"": func() error {
			return second(folk.Invite(byBob, &pb.InviteRequest{Person: "bo", Kind: "person", Uses: []string{"everything"}}))
		},
		"owner: a workload has one": func() error { return second(folk.Invite(byBob, &pb.InviteRequest{Person: "bot", Kind: "workload"})) },
		"valid_seconds: 99999999": func() error {
			return second(folk.Invite(byBob, &pb.InviteRequest{Person: "bo", Kind: "person", ValidSeconds: 99999999}))
		},
		"code: it is no SHA-256": func() error {
			return second(folk.WithdrawInvitation(byBob, &pb.WithdrawInvitationRequest{Code: "bob"}))
		},
		"code: the code":            func() error { return second(auth.AnswerInvitation(byBob, &pb.AnswerInvitationRequest{Code: "123456"})) },
		"public_key: it is missing": func() error { return second(auth.AnswerInvitation(byBob, &pb.AnswerInvitationRequest{})) },
		"source: \"office\"":        func() error { return second(gateways.Lookup(byGateway, &pb.LookupRequest{Source: "office"})) },
		"presence: \"yes\"":         func() error { return second(gateways.Lookup(byGateway, &pb.LookupRequest{Presence: "yes"})) },
		"login \"-oProxy\" is not":  func() error { return second(gateways.Lookup(byGateway, &pb.LookupRequest{Login: "-oProxy"})) },
		"session: it is missing":    func() error { return second(gateways.BeginSession(byGateway, &pb.BeginSessionRequest{})) },
		"session.machine: you are gw-1": func() error {
			return second(gateways.BeginSession(byGateway, &pb.BeginSessionRequest{Session: session(func(s *pb.Session) { s.Machine = "gw-2" })}))
		},
		"session.id: \"7\"": func() error {
			return second(gateways.EndSession(byGateway, &pb.EndSessionRequest{Session: session(func(s *pb.Session) { s.Id = "7" })}))
		},
		"session: \"*\"": func() error {
			return second(gateways.PutChunks(byGateway, &pb.PutChunksRequest{Session: "*", Chunks: [][]byte{{1}}}))
		},
		"chunks: it is empty": func() error {
			return second(gateways.PutChunks(byGateway, &pb.PutChunksRequest{Session: string(brevet.NewSessionID(time.Now()))}))
		},
		"chunks: -1":     func() error { return second(gateways.CutRecording(byGateway, &pb.CutRecordingRequest{Chunks: -1})) },
		"count: -1":      func() error { return second(gateways.ReportRefusal(byGateway, &pb.ReportRefusalRequest{Count: -1})) },
		"closed: -1":     func() error { return second(gateways.Confirm(byGateway, &pb.ConfirmRequest{Closed: -1})) },
		"roster_after: ": func() error { return second(gateways.GetChains(byGateway, &pb.GetChainsRequest{RosterAfter: -1})) },
		"name: it has": func() error {
			return second(gateways.GetHostCertificate(byGateway, &pb.GetHostCertificateRequest{Name: long}))
		},
		"address: ": func() error { return gateways.Listen(byGateway, &pb.ListenRequest{Address: "here"}, nil) },
		"live_sessions: ": func() error {
			return gateways.Listen(byGateway, &pb.ListenRequest{Address: "a:1", LiveSessions: []string{"x"}}, nil)
		},
	} {
		t.Run(field, func(t *testing.T) {
			err := call()
			message, _ := brevet.MessageOf(err)
			if brevet.KindOf(err) != brevet.Invalid || !strings.Contains(message, field) {
				t.Errorf("got %v, want it to name %s", err, field)
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

func TestCheckTellsOfAllFields(t *testing.T) {
	err := check(nil, named("person", "A"), nil, text("reason", " x", 10), wrong("count", "%d is odd", 3).WithHint("take an even one"))
	message, hint := brevet.MessageOf(err)
	for _, want := range []string{"person name", "reason: it begins or ends with a space", "count: 3 is odd"} {
		if !strings.Contains(message, want) {
			t.Errorf("%q does not tell of %q", message, want)
		}
	}
	if hint != "take an even one" || brevet.KindOf(err) != brevet.Invalid {
		t.Errorf("hint %q of %v", hint, err)
	}
	if check(nil, nil) != nil {
		t.Error("nothing is wrong, and yet")
	}
}
