package remote_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/gateway"
	"github.com/brevet-pim/brevet/gateway/remote"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/test/orgplane"
)

// listening is a gateway that is connected, with bob's grant and a session of it.
type listening struct {
	*world
	gateway *gateway.Gateway
	grant   brevet.GrantID
}

func listen(t *testing.T) *listening {
	t.Helper()
	w := newWorld(t)
	l := &listening{world: w, grant: w.Give("bob", "web-now")}
	l.gateway = &gateway.Gateway{
		Machine: "gw-1", Org: w.org.Root, Control: remote.Control{Client: w.client}, Verifier: w.open(),
		Holder: w.org.Gateways["gw-1"].Holder, Signer: w.org.Gateways["gw-1"].Statements,
		Recorder: nowhere{}, Log: slog.New(slog.DiscardHandler),
	}
	listener := &remote.Listener{Client: w.client, Gateway: l.gateway, Address: "127.0.0.1:7022", Log: l.gateway.Log}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- l.gateway.Run(ctx) }()
	go func() { done <- listener.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	w.Until(t, func(h orgplane.Heard) bool { return len(h.Listens) == 1 })
	return l
}

// nowhere takes recordings and keeps none.
type nowhere struct{}

func (nowhere) Begin(context.Context, brevet.Session, record.Terminal) (*record.Writer, error) {
	return nil, brevet.Errorf(brevet.Unavailable, "nothing is recorded in this test")
}

// begin opens a session, which hangs up as soon as it is ended.
func (l *listening) begin() *gateway.Session {
	l.t.Helper()
	standing, err := l.gateway.Lookup(l.t.Context(), l.want)
	if err != nil || len(standing.Admissions) == 0 {
		l.t.Fatalf("%+v, %v", standing, err)
	}
	a := standing.Admissions[0]
	a.Role.Recording = brevet.RecordingOff
	s, err := l.gateway.Begin(l.t.Context(), a, gateway.Use{Kind: "exec", Command: "\xff'", Source: netip.MustParseAddr("192.0.2.7")})
	if err != nil {
		l.t.Fatal(err)
	}
	go func() {
		<-s.Context().Done()
		s.Finish("hung up")
	}()
	return s
}

func endGrant(id brevet.GrantID) *pb.ListenResponse {
	return &pb.ListenResponse{Order: &pb.ListenResponse_End{End: &pb.EndOrder{Grant: string(id), Reason: "alice ended this grant (drill)"}}}
}

func TestOrdersToEndAreCarriedOutAndConfirmed(t *testing.T) {
	l := listen(t)
	first, second := l.begin(), l.begin()
	l.Order(&pb.ListenResponse{Order: &pb.ListenResponse_End{End: &pb.EndOrder{Session: string(first.ID), Reason: "alice ended this session"}}})
	l.Until(t, func(h orgplane.Heard) bool { return len(h.Confirmed) == 1 })
	if first.Context().Err() == nil || second.Context().Err() != nil {
		t.Error("another session ended than was ordered")
	}
	l.Order(endGrant(l.grant))
	h := l.Until(t, func(h orgplane.Heard) bool { return len(h.Confirmed) == 2 && len(h.Ended) == 2 })
	c := h.Confirmed[1]
	if c.GetGrant() != string(l.grant) || c.GetClosed() != 1 || c.GetTookMicroseconds() <= 0 {
		t.Errorf("confirmed %+v", c)
	}
	for i, want := range []string{"alice ended this session", "alice ended this grant (drill)"} {
		if got := h.Ended[i].GetEndReason(); got != want {
			t.Errorf("reported the end %q, want %q", got, want)
		}
	}
	if got := h.Begun[0].GetCommand(); got != "\ufffd'" {
		t.Errorf("a command that is no text was reported as %q", got)
	}
}

// An order that was not confirmed comes again with the next stream, and is confirmed then; sessions
// live on in between, and the control plane hears which.
func TestBrokenStreamIsTakenUpAgain(t *testing.T) {
	l := listen(t)
	s := l.begin()
	l.Away(true)
	l.Order(endGrant(l.grant))
	if s.Context().Err() != nil {
		t.Fatal("the session did not outlive the stream")
	}
	l.Away(false)
	h := l.Until(t, func(h orgplane.Heard) bool { return len(h.Confirmed) == 1 })
	again := h.Listens[1]
	if again.GetAddress() != "127.0.0.1:7022" || !slices.Equal(again.GetLiveSessions(), []string{string(s.ID)}) {
		t.Errorf("it listens again with %+v", again)
	}
	l.Away(true)
	l.Away(false)
	h = l.Until(t, func(h orgplane.Heard) bool { return len(h.Confirmed) == 2 }) // ordered again, nothing is left
	if h.Confirmed[1].GetClosed() != 0 {
		t.Errorf("confirmed %+v", h.Confirmed[1])
	}
}

func watch(id brevet.SessionID, watchers ...string) *pb.ListenResponse {
	return &pb.ListenResponse{Order: &pb.ListenResponse_Watch{Watch: &pb.WatchOrder{Session: string(id), Watchers: watchers}}}
}

// seen reads every message by itself, as whoever comes in the middle must.
func seen(t *testing.T, frames [][]byte) (text string, ended bool) {
	t.Helper()
	for _, message := range frames {
		if string(message) == "end" {
			return text, true
		}
		for e, err := range record.ReadEvents(bytes.NewReader(message)) {
			if err != nil {
				t.Fatal(err)
			}
			text += string(e.Data)
		}
	}
	return text, false
}

func TestWatchedSessionIsShown(t *testing.T) {
	l := listen(t)
	s := l.begin()
	if err := s.Output(record.Stdout, []byte("before ")); err != nil {
		t.Fatal(err)
	}
	l.Order(watch("ses_00000000000000000000000000", "carol")) // not here: only a line in the log
	l.Order(watch(s.ID, "carol"))
	l.Order(watch(s.ID, "carol", "dave"))
	l.Until(t, func(h orgplane.Heard) bool { text, _ := seen(t, h.Frames); return text == "before " })
	big := strings.Repeat("x", 200<<10)
	for _, text := range []string{"after ", big} {
		if err := s.Output(record.Stdout, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	l.Until(t, func(h orgplane.Heard) bool { text, _ := seen(t, h.Frames); return text == "before after "+big })
	l.gateway.EndSession(t.Context(), s.ID, "over")
	l.Until(t, func(h orgplane.Heard) bool { _, ended := seen(t, h.Frames); return ended })
}

func TestNobodyWatchesAnyMore(t *testing.T) {
	l := listen(t)
	s := l.begin()
	l.Order(watch(s.ID, "carol"))
	if err := s.Output(record.Stdout, []byte("one")); err != nil {
		t.Fatal(err)
	}
	l.Until(t, func(h orgplane.Heard) bool { text, _ := seen(t, h.Frames); return text == "one" })
	l.Order(watch(s.ID))
	l.Order(watch(s.ID, "dave")) // at once again: a new view begins with the latest screenful
	l.Until(t, func(h orgplane.Heard) bool { text, _ := seen(t, h.Frames); return text == "oneone" })
}

// Recordings wait on disk while the control plane is away, and over a restart of the gateway.
func TestRecordingsAreDeliveredLater(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	spool := func() (*record.Spool, context.CancelFunc, chan error) {
		s, err := record.OpenSpool(dir, remote.Recordings{Client: w.client})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		return s, cancel, done
	}
	identity, recorder := sealing(t)
	w.Away(true)
	first, stop, done := spool()
	recorder.Sink = first.Session
	session := brevet.Session{ID: brevet.NewSessionID(time.Now()), Grant: "grt_1", Person: "bob", Target: "web1", Login: "root", Kind: "exec", Command: "id"}
	writer, err := recorder.Begin(t.Context(), session, record.Terminal{})
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Output(record.Stdout, []byte("uid=0")); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close("exit 0"); err != nil {
		t.Fatal(err)
	}
	if debt := first.Debt(); debt.Sessions != 1 || debt.Bytes == 0 {
		t.Errorf("while the control plane is away: %+v", debt)
	}
	stop()
	<-done
	w.Away(false)
	second, stop, done := spool()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := second.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	stop()
	<-done
	r, err := w.Store.Open(session.ID)
	if err != nil {
		t.Fatal(err)
	}
	if report := record.Verify(r, session.ID, record.Known{Commitment: writer.Commitment().String()}, identity); !report.Complete || second.Debt() != (record.Debt{}) {
		t.Errorf("delivered %+v, debt %+v", report, second.Debt())
	}
}
