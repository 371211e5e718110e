package remote

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/api/failure"
	"github.com/brevet-pim/brevet/gateway"
)

// Listener keeps the gateway connected: it takes orders to end grants and sessions, carries
// them out, confirms them, and sends what watched sessions show.
type Listener struct {
	Client  brevetv1connect.GatewayServiceClient
	Gateway *gateway.Gateway
	Address string // where people reach the gateway
	Log     *slog.Logger

	mu    sync.Mutex // guards shown
	shown map[brevet.SessionID]*showing
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
		l.Log.WarnContext(ctx, "no orders are heard from the control plane", "error", err)
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
	var work sync.WaitGroup // orders, and what is shown, belong to the stream that brought them
	defer work.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watchdog := time.AfterFunc(silence, cancel)
	defer watchdog.Stop()
	at := time.Now() // before the look, so that what begins meanwhile is not taken for lost
	var sessions []string
	for _, s := range l.Gateway.Sessions() {
		sessions = append(sessions, string(s.ID))
	}
	stream, err := l.Client.Listen(ctx, &pb.ListenRequest{Address: l.Address, LiveSessions: sessions, LiveAt: timestamppb.New(at)})
	if err != nil {
		return failure.Read(err)
	}
	defer stream.Close() // the stream has ended or is given up
	for stream.Receive() {
		watchdog.Reset(silence)
		switch order := stream.Msg().GetOrder().(type) {
		case *pb.ListenResponse_End:
			work.Go(func() { l.end(ctx, order.End) })
		case *pb.ListenResponse_Watch:
			l.watch(ctx, &work, order.Watch)
		}
	}
	return failure.Read(stream.Err())
}

// endWithin bounds how long sessions may take to close. What is not closed by then is not
// confirmed, and the order comes again.
const endWithin = 10 * time.Second

func (l *Listener) end(ctx context.Context, order *pb.EndOrder) {
	// An order that has come is carried out, whatever becomes of the stream.
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	var closed gateway.Closed
	switch {
	case order.GetGrant() != "":
		closed = l.Gateway.EndGrant(ending, brevet.GrantID(order.GetGrant()), order.GetReason())
	case order.GetSession() != "":
		closed = l.Gateway.EndSession(ending, brevet.SessionID(order.GetSession()), order.GetReason())
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
		l.Log.WarnContext(ctx, "an end was not confirmed; it will be ordered again", "grant", order.GetGrant(), "session", order.GetSession(), "error", failure.Read(err))
	}
}

// showing is a session that somebody watches.
type showing struct{ stop context.CancelFunc }

// watch begins to show a session, or stops once nobody watches any more.
func (l *Listener) watch(ctx context.Context, work *sync.WaitGroup, order *pb.WatchOrder) {
	id := brevet.SessionID(order.GetSession())
	l.mu.Lock()
	defer l.mu.Unlock()
	current := l.shown[id]
	switch {
	case len(order.GetWatchers()) == 0 && current != nil:
		current.stop()
		delete(l.shown, id)
	case len(order.GetWatchers()) > 0 && current == nil:
		ctx, stop := context.WithCancel(ctx)
		v := &showing{stop}
		if l.shown == nil {
			l.shown = map[brevet.SessionID]*showing{}
		}
		l.shown[id] = v
		work.Go(func() {
			if err := l.show(ctx, id); err != nil && ctx.Err() == nil {
				l.Log.WarnContext(ctx, "a session is no longer shown", "session", id, "error", err)
			}
			l.forget(id, v)
		})
	}
}

// forget takes out one that ended by itself, unless another took its place.
func (l *Listener) forget(id brevet.SessionID, v *showing) {
	v.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shown[id] == v {
		delete(l.shown, id)
	}
}
