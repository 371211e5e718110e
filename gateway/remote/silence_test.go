package remote

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/gateway"
)

// mute is a server that takes a call and then says nothing, as one does behind a network that is gone.
type mute struct{ calls atomic.Int64 }

func (m *mute) Do(r *http.Request) (*http.Response, error) {
	m.calls.Add(1)
	body, w := io.Pipe()
	context.AfterFunc(r.Context(), func() { w.CloseWithError(r.Context().Err()) })
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/2.0", ProtoMajor: 2, Request: r,
		Header: http.Header{"Content-Type": {"application/connect+proto"}}, Body: body,
	}, nil
}

// A stream on which nothing comes is given up, and begun anew: orders must not wait for a TCP time-out.
func TestSilentStreamIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &mute{}
		l := &Listener{
			Client:  brevetv1connect.NewGatewayServiceClient(server, "https://server"),
			Gateway: &gateway.Gateway{}, Address: "127.0.0.1:7022", Log: slog.New(slog.DiscardHandler),
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		time.Sleep(silence - time.Second)
		synctest.Wait()
		if n := server.calls.Load(); n != 1 {
			t.Errorf("%d streams before the silence is long", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := server.calls.Load(); n != 2 {
			t.Errorf("%d streams after %v of silence", n, silence)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
