package failure

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
)

// failing is a server whose every call fails with err.
type failing struct {
	brevetv1connect.UnimplementedAuthServiceHandler
	err error
}

func (f failing) GetServer(context.Context, *brevetv1.GetServerRequest) (*brevetv1.GetServerResponse, error) {
	return nil, Wire(f.err)
}

func call(t *testing.T, err error) error {
	_, handler := brevetv1connect.NewAuthServiceHandler(failing{err: err})
	server := httptest.NewServer(handler)
	defer server.Close()
	client := brevetv1connect.NewAuthServiceClient(http.DefaultClient, server.URL)
	_, got := client.GetServer(t.Context(), &brevetv1.GetServerRequest{})
	return Read(got)
}

func TestErrorsCrossTheAPI(t *testing.T) {
	for _, c := range codes {
		if c.kind == brevet.Internal {
			continue
		}
		t.Run(c.kind.String(), func(t *testing.T) {
			sent := brevet.Errorf(c.kind, "web-root needs “two” approvers").WithHint("ask alice – or dan")
			got := call(t, sent.Because(errors.New("canary")))
			message, hint := brevet.MessageOf(got)
			if brevet.KindOf(got) != c.kind || message != sent.Message || hint != sent.Hint {
				t.Errorf("got %v %q %q, want %v %q %q", brevet.KindOf(got), message, hint, c.kind, sent.Message, sent.Hint)
			}
			if strings.Contains(got.Error(), "canary") {
				t.Error("the cause crossed the API")
			}
		})
	}
}

func TestInsideFailuresTellNothing(t *testing.T) {
	for _, err := range []error{errors.New("canary"), brevet.Errorf(brevet.Internal, "canary")} {
		got := call(t, err)
		if brevet.KindOf(got) != brevet.Internal || strings.Contains(got.Error(), "canary") {
			t.Errorf("got %v, want an Internal error without the cause", got)
		}
	}
}

func TestServerThatIsNotThereIsUnavailable(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	client := brevetv1connect.NewAuthServiceClient(http.DefaultClient, server.URL)
	_, err := client.GetServer(t.Context(), &brevetv1.GetServerRequest{})
	if got := brevet.KindOf(Read(err)); got != brevet.Unavailable {
		t.Errorf("kind %v, want unavailable", got)
	}
}

func TestNothingStaysNothing(t *testing.T) {
	if Wire(nil) != nil || Read(nil) != nil {
		t.Error("a nil error became an error")
	}
	if err := Read(context.Canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the cancellation itself", err)
	}
	wire := connect.NewError(connect.CodeAborted, errors.New("x"))
	if got := Wire(wire); got != error(wire) {
		t.Errorf("Wire changed %v into %v", wire, got)
	}
}
