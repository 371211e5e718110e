package remote_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/api/failure"
	"github.com/brevet-pim/brevet/gateway"
	"github.com/brevet-pim/brevet/gateway/remote"
)

// unknowing is a control plane that has taken the gateway out of its roster.
type unknowing struct {
	brevetv1connect.UnimplementedGatewayServiceHandler
}

func (unknowing) Lookup(context.Context, *pb.LookupRequest) (*pb.LookupResponse, error) {
	return nil, failure.Wire(brevet.Errorf(brevet.Unauthenticated, "only gateways of the roster may call this"))
}

func TestGatewayThatIsNotTheOrganisations(t *testing.T) {
	_, handler := brevetv1connect.NewGatewayServiceHandler(unknowing{})
	server := httptest.NewServer(handler)
	defer server.Close()
	control := remote.Control{Client: brevetv1connect.NewGatewayServiceClient(http.DefaultClient, server.URL)}
	_, err := control.Lookup(t.Context(), gateway.Want{Target: "web1"})
	message, hint := brevet.MessageOf(err)
	// Refused, since that is what a gateway tells people as it stands.
	if brevet.KindOf(err) != brevet.Refused || !strings.Contains(message, "one of the organisation's") || hint != "ask an administrator" {
		t.Errorf("got %v: %q, %q", brevet.KindOf(err), message, hint)
	}
}
