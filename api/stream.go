package api

import (
	"context"
	"time"

	"connectrpc.com/connect"
)

// sendWithin is how long a client may let a message wait before its stream is given up.
const sendWithin = 30 * time.Second

// sender begins the answer, so that the client knows at once that it has a stream, and returns what
// sends one message after another. It waits while the client does not read, so that a slow
// client slows down what feeds it and nothing piles up here.
func sender[M any](ctx context.Context, stream *connect.ServerStream[M]) func(*M) error {
	hurry := callOf(ctx).hurry
	hurry.off()
	_ = stream.Send(nil) // headers alone; if the client has gone, the first message tells
	return func(m *M) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		hurry.write(sendWithin)
		defer hurry.off()
		return stream.Send(m)
	}
}
