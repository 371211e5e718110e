package api

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/api/failure"
	"github.com/brevet-pim/brevet/identity/limit"
)

// newBudget returns a budget that does not refill during a test.
func newBudget(burst int) *limit.Sources { return limit.New(time.Hour, burst) }

func TestEveryProtocolAnswers(t *testing.T) {
	w := newWorld(t, services{request: requestToy{get: echo, watch: func(_ context.Context, send func(*pb.WatchRequestResponse) error) error {
		return errors.Join(send(&pb.WatchRequestResponse{}), send(&pb.WatchRequestResponse{}))
	}}}, nil)
	bob := w.signIn("bob", time.Hour)
	for name, options := range map[string][]connect.ClientOption{
		"Connect":      nil,
		"Connect JSON": {connect.WithProtoJSON()},
		"gRPC":         {connect.WithGRPC()},
		"gRPC-Web":     {connect.WithGRPCWeb()},
	} {
		t.Run(name, func(t *testing.T) {
			client := bob.requests(options...)
			got, err := client.GetRequest(t.Context(), &pb.GetRequestRequest{Id: "req_1"})
			if err != nil || got.GetRequest().GetId() != "req_1" {
				t.Errorf("GetRequest: %v, %v", got, err)
			}
			stream, err := client.WatchRequest(t.Context(), &pb.WatchRequestRequest{Id: "req_1"})
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for stream.Receive() {
				n++
			}
			if err := stream.Err(); err != nil || n != 2 {
				t.Errorf("WatchRequest: %d messages, %v", n, err)
			}
			// Nobody who may not call gets more from a stream.
			anybody := brevetv1connect.NewRequestServiceClient(w.visit(nil), "https://"+w.address, options...)
			stream, err = anybody.WatchRequest(t.Context(), &pb.WatchRequestRequest{Id: "req_1"})
			if err == nil {
				if stream.Receive() {
					t.Error("a stranger received a message")
				}
				err = stream.Err()
			}
			if connect.CodeOf(err) != connect.CodeUnauthenticated {
				t.Errorf("a stranger: %v", err)
			}
		})
	}
}

func TestConnectionIsHTTP2(t *testing.T) {
	w := newWorld(t, services{}, nil)
	response, err := w.visit(nil).Get("https://" + w.address + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.ProtoMajor != 2 || response.StatusCode != http.StatusNotFound || response.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s, %s, Cache-Control %q", response.Proto, response.Status, response.Header.Get("Cache-Control"))
	}
}

func TestOnlyPostIsUnderstood(t *testing.T) {
	w := newWorld(t, services{}, nil)
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete, "POSTS"} {
		r, err := http.NewRequestWithContext(t.Context(), method, "https://"+w.address+brevetv1connect.AuthServiceGetServerProcedure+"?connect=v1&encoding=json&message=%7B%7D", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := w.visit(nil).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusMethodNotAllowed || response.Header.Get("Allow") != http.MethodPost {
			t.Errorf("%s: %s", method, response.Status)
		}
	}
}

func TestJSONIsReadStrictly(t *testing.T) {
	w := newWorld(t, services{request: requestToy{get: echo}}, nil)
	bob := w.signIn("bob", time.Hour)
	for name, tt := range map[string]struct{ body, says string }{
		"as it should be":     {`{"id": "req_1"}`, ""},
		"an unknown field":    {`{"id": "req_1", "approved": true}`, `unknown field \"approved\"`},
		"a misspelt field":    {`{"Id": "req_1"}`, `unknown field \"Id\"`},
		"a field given twice": {`{"id": "req_1", "id": "req_2"}`, "duplicate field"},
		"another type":        {`{"id": 1}`, "invalid value for string field id"},
		"something behind":    {`{"id": "req_1"}{}`, "unexpected token"},
		"nothing":             {``, "the least is {}"},
		"no JSON":             {`id=req_1`, "syntax error"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, contentType := range []string{asJSON, "application/json; charset=utf-8"} {
				status, answer := bob.post(brevetv1connect.RequestServiceGetRequestProcedure, contentType, tt.body)
				if tt.says == "" {
					if status != http.StatusOK {
						t.Errorf("%d %s", status, answer)
					}
				} else if status != http.StatusBadRequest || !strings.Contains(answer, tt.says) {
					t.Errorf("%d %s, want it to say %s", status, answer, tt.says)
				}
			}
		})
	}
	if status, _ := bob.post(brevetv1connect.RequestServiceGetRequestProcedure, "application/x-www-form-urlencoded", "id=1"); status != http.StatusUnsupportedMediaType {
		t.Errorf("a form: status %d", status)
	}
}

func TestMessagesAreBounded(t *testing.T) {
	w := newWorld(t, services{}, nil)
	bob, gw := w.signIn("bob", time.Hour), w.gateway("gw-1")
	for _, tt := range []struct {
		as        visitor
		procedure string
		most      int
	}{
		{w.visit(nil), brevetv1connect.AuthServiceSignInProcedure, smallMessage},
		{bob, brevetv1connect.RequestServiceApproveProcedure, signedMessage},
		{bob, brevetv1connect.AuditServiceSearchEventsProcedure, smallMessage},
		{gw, brevetv1connect.GatewayServicePutChunksProcedure, chunksMessage},
	} {
		t.Run(tt.procedure, func(t *testing.T) {
			status, answer := tt.as.post(tt.procedure, asJSON, "{}"+strings.Repeat(" ", tt.most))
			if status != http.StatusTooManyRequests || !strings.Contains(answer, "resource_exhausted") {
				t.Errorf("%d bytes too long: %d %s", 2, status, answer)
			}
			if status, answer := tt.as.post(tt.procedure, asJSON, "{}"+strings.Repeat(" ", tt.most-2)); !strings.Contains(answer, "unimplemented") {
				t.Errorf("of the most length: %d %s", status, answer)
			}
		})
	}
}

func TestPackedMessagesAreBounded(t *testing.T) {
	w := newWorld(t, services{}, nil)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	for range 64 {
		if _, err := z.Write(bytes.Repeat([]byte{' '}, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+w.address+brevetv1connect.AuthServiceGetServerProcedure, &bomb)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", asJSON)
	r.Header.Set("Content-Encoding", "gzip")
	response, err := w.visit(nil).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusTooManyRequests {
		t.Errorf("64 MiB in %d bytes: %s", bomb.Len(), response.Status)
	}
}

func TestErrorsTellWhatAPersonMayKnow(t *testing.T) {
	const secret = "brevet_t_a-secret-of-the-cause"
	cause := errors.New("dial tcp 10.0.0.7:5432: password authentication failed for " + secret)
	for name, tt := range map[string]struct {
		err           error
		code          connect.Code
		says, advises string
		logged        bool
	}{
		"a rule says no":    {brevet.Errorf(brevet.Refused, "bob may not").Because(cause).WithHint("ask alice"), connect.CodePermissionDenied, "bob may not", "ask alice", false},
		"the store is away": {brevet.Errorf(brevet.Unavailable, "the database does not answer").Because(cause), connect.CodeUnavailable, "the database does not answer", "", true},
		"a bug":             {cause, connect.CodeInternal, "something failed inside Brevet; its log has the cause", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, services{request: requestToy{
				get:   func(context.Context, *pb.GetRequestRequest) (*pb.GetRequestResponse, error) { return nil, tt.err },
				watch: func(context.Context, func(*pb.WatchRequestResponse) error) error { return tt.err },
			}}, nil)
			client := w.signIn("bob", time.Hour).requests()
			_, unary := client.GetRequest(t.Context(), &pb.GetRequestRequest{Id: "x"})
			stream, err := client.WatchRequest(t.Context(), &pb.WatchRequestRequest{Id: "x"})
			if err != nil {
				t.Fatal(err)
			}
			for stream.Receive() {
				t.Error("a message came")
			}
			for _, err := range []error{unary, stream.Err()} {
				if connect.CodeOf(err) != tt.code || strings.Contains(err.Error(), secret) {
					t.Errorf("on the wire: %v", err)
				}
				if message, hint := brevet.MessageOf(failure.Read(err)); message != tt.says || hint != tt.advises {
					t.Errorf("the person reads %q, %q", message, hint)
				}
			}
			if got := strings.Contains(w.log.String(), "password authentication failed"); got != tt.logged {
				t.Errorf("the cause is in the log: %v, want %v\n%s", got, tt.logged, w.log)
			}
		})
	}
}

func TestPanicsBecomeErrors(t *testing.T) {
	w := newWorld(t, services{request: requestToy{
		get: func(context.Context, *pb.GetRequestRequest) (*pb.GetRequestResponse, error) {
			panic("at the wrong place")
		},
		watch: func(_ context.Context, send func(*pb.WatchRequestResponse) error) error {
			if err := send(&pb.WatchRequestResponse{}); err != nil {
				return err
			}
			panic("in the middle")
		},
	}}, nil)
	client := w.signIn("bob", time.Hour).requests()
	if _, err := client.GetRequest(t.Context(), &pb.GetRequestRequest{Id: "x"}); connect.CodeOf(err) != connect.CodeInternal || strings.Contains(err.Error(), "wrong place") {
		t.Errorf("a call: %v", err)
	}
	stream, err := client.WatchRequest(t.Context(), &pb.WatchRequestRequest{Id: "x"})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for stream.Receive() {
		n++
	}
	if connect.CodeOf(stream.Err()) != connect.CodeInternal || strings.Contains(stream.Err().Error(), "middle") || n != 1 {
		t.Errorf("a stream: %d messages, %v", n, stream.Err())
	}
	for _, want := range []string{"at the wrong place", "in the middle", "handler_test.go"} {
		if !strings.Contains(w.log.String(), want) {
			t.Errorf("the log does not tell of %q", want)
		}
	}
}

func TestPanicBeforeTheHandlers(t *testing.T) {
	w := serve(t, func(m *Middleware) http.Handler {
		return m.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("early") }))
	})
	status, answer := w.visit(nil).post(brevetv1connect.AuthServiceGetServerProcedure, asJSON, "{}")
	if status != http.StatusInternalServerError || strings.Contains(answer, "early") || !strings.Contains(w.log.String(), "early") {
		t.Errorf("%d %s", status, answer)
	}
}

// TestNoTimeIsToldAsSuch: a call that its caller gives no time is told that, and not that Brevet failed.
func TestNoTimeIsToldAsSuch(t *testing.T) {
	w := newWorld(t, services{request: requestToy{get: func(ctx context.Context, _ *pb.GetRequestRequest) (*pb.GetRequestResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}}, nil)
	bob := w.signIn("bob", time.Hour)
	for _, within := range []string{"0", "1"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+w.address+brevetv1connect.RequestServiceGetRequestProcedure, strings.NewReader(`{"id":"req_1"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", asJSON)
		r.Header.Set("Connect-Timeout-Ms", within)
		res, err := bob.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || !strings.Contains(string(body), `"deadline_exceeded"`) || !strings.Contains(string(body), "the deadline of the call") {
			t.Errorf("within %s ms: %d %s, %v", within, res.StatusCode, body, err)
		}
	}
}
