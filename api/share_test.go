package api

import (
	"context"
	"testing"
	"testing/synctest"

	"connectrpc.com/connect"

	"github.com/brevet-pim/brevet"
)

// TestStreamsOfOnePerson: they have a share, which comes back when a stream ends, and which is nobody
// else's.
func TestStreamsOfOnePerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, ended := make(chan struct{}), make(chan error, mostStreams)
		shares := newShares()
		lasting := shares.WrapStreamingHandler(func(context.Context, connect.StreamingHandlerConn) error {
			<-end
			return nil
		})
		short := shares.WrapStreamingHandler(func(context.Context, connect.StreamingHandlerConn) error { return nil })
		as := func(c brevet.Caller) context.Context {
			return context.WithValue(t.Context(), callKey{}, call{caller: c})
		}
		bob := as(brevet.Caller{Person: "bob"})
		for range mostStreams {
			go func() { ended <- lasting(bob, nil) }()
		}
		synctest.Wait()
		if err := short(bob, nil); brevet.KindOf(err) != brevet.Limited {
			t.Errorf("one more: %v", err)
		}
		for _, other := range []brevet.Caller{{Person: "carol"}, {Machine: "gw-1"}} {
			if err := short(as(other), nil); err != nil {
				t.Errorf("%v: %v", other, err)
			}
		}
		close(end)
		for range mostStreams {
			must(t, <-ended)
		}
		must(t, short(bob, nil))
		if len(shares.open) != 0 {
			t.Errorf("%v is open after the end", shares.open)
		}
	})
}
