package node_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/api/failure"
	"github.com/brevet-pim/brevet/gateway/node"
)

// unknowing is a control plane whose roster has no such gateway.
type unknowing struct {
	brevetv1connect.UnimplementedGatewayServiceHandler
}

func (unknowing) GetChains(context.Context, *pb.GetChainsRequest) (*pb.GetChainsResponse, error) {
	return nil, failure.Wire(brevet.Errorf(brevet.Unauthenticated, "only gateways of the roster may call this"))
}

// A gateway says that it is ready once it knows that it may serve, and no later than it begins to wait.
func TestGatewayIsReady(t *testing.T) {
	w := newWorld(t)
	_, handler := brevetv1connect.NewGatewayServiceHandler(unknowing{})
	server := httptest.NewServer(handler)
	defer server.Close()
	unknown := brevetv1connect.NewGatewayServiceClient(http.DefaultClient, server.URL)

	c, ready := w.config(), false
	c.Client, c.Ready = unknown, func() { ready = true }
	n, err := node.Open(c)
	must(t, err)
	if err := n.Run(t.Context()); brevet.KindOf(err) != brevet.Unauthenticated || ready {
		t.Errorf("unsigned: it ended with %v, and was ready: %v", err, ready)
	}
	for _, away := range []bool{false, true} {
		w.Away(away)
		c, told := w.config(), make(chan struct{})
		c.Ready = func() { close(told) }
		_, stop := w.start(c)
		select {
		case <-told:
		case <-time.After(20 * time.Second):
			t.Errorf("away: %v; it is never ready", away)
		}
		must(t, stop())
	}
}
