package remote

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/api/failure"
	"github.com/brevet-pim/brevet/gateway"
)

// Tap shows what a live session's recording sees. It calls show with frames of the recording
// format, from the last screenful on, until stop is called or the session ends.
type Tap func(session brevet.SessionID, show func(frames []byte)) (stop func(), err error)

// Listener keeps the gateway connected: it takes orders to end grants and sessions, carries
// them out, confirms them, and sends what watched sessions show.
type Listener struct {
	Client  brevetv1connect.GatewayServiceClient
	Gateway *gateway.Gateway
	Address string // where people reach the gateway
	Tap     Tap
	Log     *slog.Logger

	mu   sync.Mutex // guards live
	live map[brevet.SessionID]*live
}

// The pauses between tries to connect.
const (
	firstPause = 100 * time.Millisecond
	mostPause  = 5 * time.Second
)

// silence is how long the stream may be silent before it counts as dead; the server speaks
// every few seconds.
const silence = 20 * time.Second

// Run listens until ctx ends, and connects again whenever the stream breaks. What was ordered
// meanwhile is ordered again then, since the server remembers it until it is confirmed.
func (l *Listener) Run(ctx context.Context) error {
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		err := l.listen(ctx)
		if ctx.Err() != nil {
			break
		}
		l.Log.WarnContext(ctx, "the stream of orders broke", "error", err)
		if time.Since(began) > mostPause {
			pause = firstPause
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, mostPause)
	}
	return nil
}

func (l *Listener) listen(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer l.stopAll() // views belong to the stream that ordered them
	watchdog := time.AfterFunc(silence, cancel)
	defer watchdog.Stop()
	var sessions []string
	for _, s := range l.Gateway.Sessions() {
		sessions = append(sessions, string(s.ID))
	}
	stream, err := l.Client.Listen(ctx, &pb.ListenRequest{Address: l.Address, LiveSessions: sessions})
	if err != nil {
		return failure.Read(err)
	}
	defer stream.Close() // the stream has ended or is given up
	var orders sync.WaitGroup
	defer orders.Wait()
	for stream.Receive() {
		watchdog.Reset(silence)
		switch order := stream.Msg().GetOrder().(type) {
		case *pb.ListenResponse_End:
			orders.Go(func() { l.end(ctx, order.End) })
		case *pb.ListenResponse_Watch:
			l.watch(ctx, order.Watch)
		}
	}
	return failure.Read(stream.Err())
}

// endWithin bounds how long sessions may take to close. What is not closed by then is not
// confirmed, and the order comes again.
const endWithin = 10 * time.Second

func (l *Listener) end(ctx context.Context, order *pb.EndOrder) {
	ctx, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	var closed gateway.Closed
	switch {
	case order.GetGrant() != "":
		closed = l.Gateway.EndGrant(ctx, brevet.GrantID(order.GetGrant()), order.GetReason())
	case order.GetSession() != "":
		closed = l.Gateway.EndSession(ctx, brevet.SessionID(order.GetSession()), order.GetReason())
	}
	if !closed.All {
		l.Log.ErrorContext(ctx, "an order to end was not carried out in time", "grant", order.GetGrant(), "session", order.GetSession())
		return
	}
	_, err := l.Client.Confirm(ctx, &pb.ConfirmRequest{
		Grant:            order.GetGrant(),
		Session:          order.GetSession(),
		Closed:           int32(len(closed.Sessions)),
		TookMicroseconds: closed.Took.Microseconds(),
	})
	if err != nil {
		l.Log.WarnContext(ctx, "an end was not confirmed; it will be ordered again", "grant", order.GetGrant(), "error", failure.Read(err))
	}
}

// live is a session that somebody watches.
type live struct {
	stop   func()
	cancel context.CancelFunc
}

// liveQueue is how many runs of frames may wait for the server before the view skips some.
const liveQueue = 256

func (l *Listener) watch(ctx context.Context, order *pb.WatchOrder) {
	id := brevet.SessionID(order.GetSession())
	l.mu.Lock()
	defer l.mu.Unlock()
	current, watched := l.live[id]
	switch {
	case len(order.GetWatchers()) == 0 && watched:
		current.end()
		delete(l.live, id)
	case len(order.GetWatchers()) > 0 && !watched:
		started, err := l.show(ctx, id)
		if err != nil {
			l.Log.WarnContext(ctx, "a session cannot be shown", "session", id, "error", err)
			return
		}
		if l.live == nil {
			l.live = map[brevet.SessionID]*live{}
		}
		l.live[id] = started
	}
}

func (l *Listener) show(ctx context.Context, id brevet.SessionID) (*live, error) {
	frames := make(chan []byte, liveQueue)
	stop, err := l.Tap(id, func(b []byte) {
		select {
		case frames <- b:
		default: // watching never holds a session back
		}
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	go l.send(ctx, id, frames)
	return &live{stop, cancel}, nil
}

// send carries the frames until ctx ends. It belongs to the live view, whose end cancels ctx.
func (l *Listener) send(ctx context.Context, id brevet.SessionID, frames <-chan []byte) {
	stream, err := l.Client.SendLive(ctx)
	if err != nil {
		l.Log.WarnContext(ctx, "a live view did not begin", "session", id, "error", failure.Read(err))
		return
	}
	for {
		select {
		case b := <-frames:
			if err := stream.Send(&pb.SendLiveRequest{Session: string(id), Frames: b}); err != nil {
				return // the server has gone; Listen notices and begins anew
			}
		case <-ctx.Done():
			_, _ = stream.CloseAndReceive() // it ends either way
			return
		}
	}
}

func (v *live) end() {
	v.stop()
	v.cancel()
}

func (l *Listener) stopAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, v := range l.live {
		v.end()
		delete(l.live, id)
	}
}
