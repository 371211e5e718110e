package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/api/failure"
)

const (
	// answerWithin bounds a call that is no stream. It leaves room for the ten seconds that
	// RevokeGrant may wait.
	answerWithin = 30 * time.Second
	// vigilEvery is how long somebody who may no longer call can go on with a stream.
	vigilEvery = 5 * time.Second
	// streamWithin is how long a person's stream lasts at most. It may outlive its token's end,
	// which is for new calls, so that somebody can wait for an approval without signing in again.
	streamWithin = 12 * time.Hour
)

// answers is what every answer passes on its way out: a bound on its time, and an error that
// tells the caller what they may know, and the log the rest. Streams end when their
// caller may no longer call, or the server stops.
type answers struct {
	identify Identifier
	clock    func() time.Time
	log      *slog.Logger
	closing  <-chan struct{}
}

// WrapUnary implements connect.Interceptor.
func (a answers) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		bounded, cancel := context.WithTimeout(ctx, answerWithin)
		defer cancel()
		callOf(ctx).hurry.readAll()
		response, err := next(bounded, r)
		return response, a.tell(ctx, r.Spec().Procedure, tookTooLong(ctx, bounded, err))
	}
}

// tookTooLong says of an error that is none but a time that was over, that it was, unless the caller has gone.
func tookTooLong(ctx, bounded context.Context, err error) error {
	_, said := errors.AsType[*brevet.Error](err)
	if said || !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return err
	}
	message := "this took too long and was given up" // by a part of it that has less time
	if bounded.Err() != nil {
		message = fmt.Sprintf("this took longer than %s and was given up", answerWithin)
	}
	return brevet.Errorf(brevet.Unavailable, "%s", message).Because(err).WithHint("look whether it was done before you try again")
}

// WrapStreamingHandler implements connect.Interceptor.
func (a answers) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		watched, cancel := context.WithCancelCause(ctx)
		var watching sync.WaitGroup
		watching.Go(func() { cancel(a.vigil(watched, callOf(ctx))) })
		err := next(watched, conn)
		cancel(nil)
		watching.Wait()
		if ended, ok := errors.AsType[*brevet.Error](context.Cause(watched)); ok {
			err = ended
		}
		return a.tell(ctx, conn.Spec().Procedure, err)
	}
}

// WrapStreamingClient implements connect.Interceptor; a server has no such streams.
func (a answers) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// vigil returns why the stream must end, or nil when ctx ends.
func (a answers) vigil(ctx context.Context, c call) error {
	ticker := time.NewTicker(vigilEvery)
	defer ticker.Stop()
	life := time.NewTimer(streamWithin)
	defer life.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.closing:
			return brevet.Errorf(brevet.Unavailable, "the server is stopping").WithHint("try again in a moment")
		case <-life.C:
			if c.caller.Machine == "" {
				return brevet.Errorf(brevet.Unavailable, "this stream was open for %s, which is the most", streamWithin).WithHint("begin it again")
			}
		case <-ticker.C:
			if err := a.mayGoOn(ctx, c); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// mayGoOn returns why the caller of a stream may no longer call, or nil.
func (a answers) mayGoOn(ctx context.Context, c call) error {
	if c.caller.Machine != "" {
		if id, ok := a.identify.Machine(c.peer.spki); !ok || id != c.caller.Machine {
			return notOfTheRoster()
		}
		return nil
	}
	now := a.clock()
	if lastMoment := c.until.Add(-time.Microsecond); now.After(lastMoment) {
		now = lastMoment
	}
	_, _, _, err := a.identify.Token(ctx, c.token, c.peer.client, now)
	return err
}

// tell returns err for the wire. What the caller is not told goes into the log. ctx is the call's
// own: when it has ended, nobody is told anything any more.
func (a answers) tell(ctx context.Context, procedure string, err error) error {
	if err == nil {
		return nil
	}
	wire := failure.Wire(err)
	switch code := connect.CodeOf(wire); {
	case ctx.Err() != nil:
	case code == connect.CodeInternal:
		a.log.ErrorContext(ctx, "a call failed", "procedure", procedure, "caller", callOf(ctx).caller.String(), "error", err)
	case code == connect.CodeUnavailable:
		a.log.WarnContext(ctx, "a call could not be answered", "procedure", procedure, "error", err)
	}
	return wire
}

// recovered turns a panic of a handler into an error whose cause the log shows.
func recovered(_ context.Context, _ connect.Spec, _ http.Header, what any) error {
	return brevet.Errorf(brevet.Internal, "panic").Because(fmt.Errorf("%v\n%s", what, debug.Stack()))
}
