package api

import (
	"context"
	"sync"
	"time"

	"connectrpc.com/connect"
)

// sendWithin is how long a client may let a message wait before its stream is given up.
const sendWithin = 30 * time.Second

// sender returns what sends one message after another. It waits while the client does not
// read, so that a slow client slows down what feeds it and nothing piles up here.
func sender[M any](ctx context.Context, stream *connect.ServerStream[M]) func(*M) error {
	hurry := callOf(ctx).hurry
	hurry.off()
	return func(m *M) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		hurry.write(sendWithin)
		defer hurry.off()
		return stream.Send(m)
	}
}

// withBeat runs run, and beside it beat, at once and every so often, until run returns. A
// beat that fails ends run's context.
func withBeat(ctx context.Context, every time.Duration, beat func() error, run func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var beating sync.WaitGroup
	beating.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			if err := beat(); err != nil {
				cancel(err)
				return
			}
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
	})
	err := run(ctx)
	cancel(nil)
	beating.Wait()
	return err
}
