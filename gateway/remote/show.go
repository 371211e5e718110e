package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/failure"
	"github.com/brevet-pim/brevet/record"
)

// messageBytes is about how much of a session goes in one message.
const messageBytes = 64 << 10

// show sends what a session shows until it ends or ctx does. A server that takes it too slowly
// loses some, and gets the latest screenful again; the session is never held back.
func (l *Listener) show(ctx context.Context, id brevet.SessionID) error {
	stream, err := l.Client.SendLive(ctx)
	if err != nil {
		return failure.Read(err)
	}
	defer stream.CloseAndReceive() // nothing to learn from the answer
	for {
		watcher, err := l.Gateway.Watch(id)
		if err != nil {
			return err
		}
		why, err := forward(ctx, watcher, func(frames []byte) error {
			return stream.Send(&pb.SendLiveRequest{Session: string(id), Frames: frames})
		})
		watcher.Close()
		switch {
		case err != nil:
			return failure.Read(err)
		case errors.Is(why, io.EOF):
			return failure.Read(stream.Send(&pb.SendLiveRequest{Session: string(id), End: true}))
		case brevet.KindOf(why) != brevet.Limited:
			return why
		}
	}
}

// forward sends events as they come, several in a message when they come fast, until the watcher
// ends, which is why, or sending fails. Each message can be read by itself: it is a whole stream
// of record.WriteEvents.
func forward(ctx context.Context, w *record.Watcher, send func([]byte) error) (why, err error) {
	for {
		first, why := w.Next(ctx)
		if why != nil {
			return why, nil
		}
		var message bytes.Buffer
		if err := record.WriteEvents(&message, burst(w, first)); err != nil {
			return nil, err
		}
		if err := send(message.Bytes()); err != nil {
			return nil, err
		}
	}
}

// burst yields first and what is there already.
func burst(w *record.Watcher, first record.Event) iter.Seq2[record.Event, error] {
	now, cancel := context.WithCancel(context.Background())
	cancel() // so Next does not wait
	return func(yield func(record.Event, error) bool) {
		size := 0
		for e := first; yield(e, nil); {
			if size += len(e.Data); size >= messageBytes {
				return
			}
			var err error
			if e, err = w.Next(now); err != nil {
				return // nothing more yet; an end is seen by the next Next
			}
		}
	}
}
