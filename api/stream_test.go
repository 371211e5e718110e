package api

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
)

func TestVigil(t *testing.T) {
	client := sha256.Sum256([]byte("client"))
	person := func(until time.Time) call {
		return call{peer: peer{client: client, spki: []byte("client")}, caller: brevet.Caller{Person: "bob"}, token: "digest", until: until}
	}
	for _, tt := range []struct {
		name  string
		life  time.Duration // of the token, from the beginning of the stream
		after time.Duration // what happens then
		what  func(*phoneBook, chan struct{})
		ends  time.Duration // 0: never
		kind  brevet.Kind
	}{
		{name: "revoked", life: time.Hour, after: 12 * time.Second, what: func(b *phoneBook, _ chan struct{}) { b.forget() }, ends: 15 * time.Second, kind: brevet.Unauthenticated},
		{name: "the server stops", life: time.Hour, after: 12 * time.Second, what: func(_ *phoneBook, c chan struct{}) { close(c) }, ends: 12 * time.Second, kind: brevet.Unavailable},
		{name: "the token's own end", life: time.Minute, ends: streamWithin, kind: brevet.Unavailable},
		{name: "revoked after its own end", life: time.Minute, after: time.Hour - time.Second, what: func(b *phoneBook, _ chan struct{}) { b.forget() }, ends: time.Hour, kind: brevet.Unauthenticated},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, closing := time.Now(), make(chan struct{})
				until := began.Add(tt.life)
				book := &phoneBook{tokens: map[string]signedIn{"digest": {"bob", client, until}}}
				if tt.what != nil {
					time.AfterFunc(tt.after, func() { tt.what(book, closing) })
				}
				a := answers{book, time.Now, slog.New(slog.DiscardHandler), closing}
				err := a.vigil(t.Context(), person(until))
				if got := time.Since(began); got != tt.ends || brevet.KindOf(err) != tt.kind {
					t.Errorf("ended after %s with %v, want %s", got, err, tt.ends)
				}
			})
		})
	}
}

func TestVigilOfGateways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spki := []byte("gateway")
		book := &phoneBook{machines: map[[sha256.Size]byte]brevet.MachineID{sha256.Sum256(spki): "gw-1"}}
		a := answers{book, time.Now, slog.New(slog.DiscardHandler), nil}
		began := time.Now()
		const retired = 3 * streamWithin // a gateway listens for as long as it likes
		time.AfterFunc(retired+time.Second, book.forget)
		err := a.vigil(t.Context(), call{peer: peer{spki: spki}, caller: brevet.Caller{Machine: "gw-1"}})
		if got := time.Since(began); got != retired+vigilEvery || brevet.KindOf(err) != brevet.Unauthenticated {
			t.Errorf("ended after %s with %v", got, err)
		}
	})
}

func TestStreamsEndWhenTheServerStops(t *testing.T) {
	closing := make(chan struct{})
	w := newWorld(t, services{request: requestToy{get: echo, watch: func(ctx context.Context, send func(*pb.WatchRequestResponse) error) error {
		if err := send(&pb.WatchRequestResponse{}); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	}}}, closing)
	client := w.signIn("bob", time.Hour).requests()
	stream, err := client.WatchRequest(t.Context(), &pb.WatchRequestRequest{Id: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if !stream.Receive() {
		t.Fatal(stream.Err())
	}
	close(closing)
	if stream.Receive() || connect.CodeOf(stream.Err()) != connect.CodeUnavailable {
		t.Errorf("the stream went on, or ended with %v", stream.Err())
	}
	if _, err := client.GetRequest(t.Context(), &pb.GetRequestRequest{Id: "x"}); err != nil {
		t.Errorf("a call meanwhile: %v", err)
	}
}

// TestSlowClientsSlowDownTheirStream shows that what a client does not read is not made.
func TestSlowClientsSlowDownTheirStream(t *testing.T) {
	const messages, size = 400, 64 << 10
	sent := make(chan int, messages)
	w := newWorld(t, services{request: requestToy{watch: func(_ context.Context, send func(*pb.WatchRequestResponse) error) error {
		m := &pb.WatchRequestResponse{Request: &pb.Request{Statement: make([]byte, size)}}
		for i := range messages {
			sent <- i
			if err := send(m); err != nil {
				return err
			}
		}
		return nil
	}}}, nil)
	stream, err := w.signIn("bob", time.Hour).requests(connect.WithAcceptCompression("gzip", nil, nil)).WatchRequest(t.Context(), &pb.WatchRequestRequest{Id: "x"})
	if err != nil {
		t.Fatal(err)
	}
	n, most := 0, 0
	for stream.Receive() {
		n++
		most = max(most, len(sent)-n)
	}
	if err := stream.Err(); err != nil || n != messages {
		t.Fatalf("%d messages, %v", n, err)
	}
	// HTTP/2 lets a few MiB be under way; all of them would be 25.
	if most*size > 12<<20 {
		t.Errorf("%d MiB were made ahead of the client", most*size>>20)
	}
}

// watched is a session that somebody watches.
type watched struct {
	frames chan []byte
	reason string
}

func (w watched) Frames() <-chan []byte { return w.frames }
func (w watched) Reason() string        { return w.reason }

func TestWatchingEndsWithItsReason(t *testing.T) {
	w := watched{make(chan []byte, 2), "alice ended this grant (drill)"}
	w.frames <- []byte("one")
	w.frames <- []byte("two")
	close(w.frames)
	var got []*pb.WatchSessionResponse
	err := watchFrames(t.Context(), w, func(m *pb.WatchSessionResponse) error {
		got = append(got, m)
		return nil
	})
	if err != nil || len(got) != 3 || string(got[1].GetFrames()) != "two" || got[2].GetEndReason() != w.reason {
		t.Errorf("%v, %v", got, err)
	}
}
