package ssh_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/gateway"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/test/gatewaytest"
)

// live opens a session that prints a line and then waits, and returns once it is there.
func live(t *testing.T, w *gatewaytest.World, args ...string) *terminal {
	t.Helper()
	term := open(t, w, append(args, "gw", "echo up; sleep 300")...)
	term.sees("up\r\n")
	return term
}

func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestSessionsEndWithASentence(t *testing.T) {
	tests := []struct {
		name    string
		options gatewaytest.Options
		lasts   time.Duration
		end     func(*testing.T, *gatewaytest.World, brevet.GrantID)
		says    string
	}{
		{
			name: "the grant is revoked", lasts: time.Hour,
			end: func(t *testing.T, w *gatewaytest.World, id brevet.GrantID) {
				closed := w.Gateway.EndGrant(limited(t), id, "alice ended this grant (drill)")
				if !closed.All || len(closed.Sessions) != 1 || closed.Took <= 0 {
					t.Errorf("confirmed %+v", closed)
				}
			},
			says: "Brevet: alice ended this grant (drill). Ask again: connect once more.",
		},
		{
			name: "the person is suspended", lasts: time.Hour,
			end: func(t *testing.T, w *gatewaytest.World, id brevet.GrantID) {
				w.Gateway.EndGrant(limited(t), id, "bob was suspended by alice: laptop stolen")
			},
			says: "Brevet: bob was suspended by alice: laptop stolen.\r\n", // not how to ask again
		},
		{
			name: "the session is killed", lasts: time.Hour,
			end: func(t *testing.T, w *gatewaytest.World, id brevet.GrantID) {
				sessions := w.Gateway.Sessions()
				if len(sessions) != 1 || sessions[0].Grant != id {
					t.Fatalf("live: %+v", sessions)
				}
				if closed := w.Gateway.EndSession(limited(t), sessions[0].ID, "alice ended this session"); !closed.All {
					t.Errorf("confirmed %+v", closed)
				}
			},
			says: "Brevet: alice ended this session.",
		},
		{
			name: "the grant's end", lasts: 2 * time.Second, // also with the control plane away
			end:  func(_ *testing.T, w *gatewaytest.World, _ brevet.GrantID) { w.Plane.Away(true) },
			says: "Brevet: your grant ended at ",
		},
		{
			name: "nothing happens", lasts: time.Hour,
			options: gatewaytest.Options{Role: func(r *brevet.Role) { r.Limits.Idle = 1 }},
			end:     func(*testing.T, *gatewaytest.World, brevet.GrantID) {},
			says:    "Brevet: nothing happened for 1s, so this session ended.",
		},
		{
			name: "shutdown", lasts: time.Hour,
			end:  func(_ *testing.T, w *gatewaytest.World, _ brevet.GrantID) { w.Stop() },
			says: "Brevet: the gateway is shutting down.",
		},
		{
			name: "the recording cannot be written", lasts: time.Hour,
			options: gatewaytest.Options{Gateway: func(g *gateway.Gateway) {
				g.Recorder = &record.Recorder{Recipients: g.Recorder.(*record.Recorder).Recipients, Sink: fullDisk}
			}},
			end:  func(t *testing.T, w *gatewaytest.World, _ brevet.GrantID) {},
			says: "Brevet: this session must be recorded, and the recording can no longer be written.",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := gatewaytest.Start(t, tt.options)
			id := w.Plane.Grant("bob", "web-root", tt.lasts)
			term := live(t, w)
			tt.end(t, w, id)
			term.sees(tt.says)
			if status := term.ends(); status != 255 {
				t.Errorf("ssh ended with %d, want 255", status)
			}
			w.Plane.Away(false)
			if s := ended(t, w, 1); !strings.Contains(tt.says, s.EndReason) && !strings.HasPrefix(s.EndReason, "your grant ended at") {
				t.Errorf("the end was reported as %q", s.EndReason)
			}
		})
	}
}

// fullDisk takes the beginning of a recording and no more.
func fullDisk(brevet.SessionID) (record.Sink, error) { return full{}, nil }

type full struct{}

func (full) Put(_ context.Context, index uint32, _ []byte) error {
	if index > 0 {
		return brevet.Errorf(brevet.Unavailable, "no space left on device")
	}
	return nil
}
func (full) Sync(context.Context) error { return nil }
func (full) Close() error               { return nil }

// A proof that is shown again after the revocation opens nothing here.
func TestEndedGrantOpensNothingAgain(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	id := w.Plane.Grant("bob", "web-root", time.Hour)
	if got := ssh(t, w, nil, "gw", "true"); got.status != 0 {
		t.Fatalf("%+v", got)
	}
	w.Gateway.EndGrant(limited(t), id, "alice ended this grant (drill)")
	got := ssh(t, w, nil, "-o", "BatchMode=yes", "gw", "true") // the plane still shows the grant
	if got.status != 255 || len(w.Plane.Begun()) != 1 {
		t.Errorf("got %+v after the end; begun: %d", got, len(w.Plane.Begun()))
	}
}

// A command that was left running without a terminal is told to end, and the others on the same
// connection go on.
func TestKillOfOneSessionSparesOthers(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	if err := w.Client.Configure("ControlPath " + w.Client.Dir + "/mux"); err != nil {
		t.Fatal(err)
	}
	first := open(t, w, "-o", "ControlMaster=yes", "gw", "echo up; cat")
	first.sees("up\r\n")
	second := open(t, w, "gw", "echo up; trap 'echo told to end' TERM; cat")
	second.sees("up\r\n")
	for _, s := range w.Gateway.Sessions() {
		if strings.Contains(s.Command, "trap") {
			w.Gateway.EndSession(limited(t), s.ID, "alice ended this session")
		}
	}
	second.sees("alice ended this session")
	second.ends()
	first.types("still here")
	first.sees("still here\r\nstill here\r\n")
	ended(t, w, 1)
}

func TestNothingBeginsWithoutTheControlPlane(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	if err := w.Client.Configure("ControlPath " + w.Client.Dir + "/mux"); err != nil {
		t.Fatal(err)
	}
	first := open(t, w, "-o", "ControlMaster=yes", "gw", "echo up; cat")
	first.sees("up\r\n")
	w.Plane.Away(true)
	for name, args := range map[string][]string{
		"a new connection":               {"-o", "ControlPath=none", "gw", "true"},
		"a session on an old connection": {"gw", "true"},
	} {
		got := ssh(t, w, nil, args...)
		if got.status != 255 || !strings.Contains(got.stderr, "the control plane does not answer, so nothing new can begin") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	first.types("still here")
	first.sees("still here\r\nstill here\r\n")
	if err := first.Type("\x04"); err != nil {
		t.Fatal(err)
	}
	if status := first.ends(); status != 0 {
		t.Errorf("the open session ended with %d", status)
	}
	w.Plane.Away(false)
	list, err := w.Plane.Ended(limited(t), 2) // and the one that did not begin
	if err != nil {
		t.Errorf("ends were not reported once the control plane was back: %+v, %v", list, err)
	}
}

func TestManyWatch(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	term := open(t, w, "gw", "echo before; cat")
	term.sees("before\r\n")
	id := w.Gateway.Sessions()[0].ID
	var watchers []*record.Watcher
	for range 50 {
		watcher, err := w.Gateway.Watch(id)
		if err != nil {
			t.Fatal(err)
		}
		defer watcher.Close()
		watchers = append(watchers, watcher)
	}
	term.types("after")
	term.sees("after\r\nafter\r\n")
	for i, watcher := range watchers {
		var seen string
		for !strings.Contains(seen, "after") {
			e, err := watcher.Next(limited(t))
			if err != nil {
				t.Fatalf("watcher %d saw %q, then %v", i, seen, err)
			}
			seen += string(e.Data)
		}
		if !strings.HasPrefix(seen, "before") {
			t.Errorf("watcher %d saw %q", i, seen)
		}
	}
	if _, err := w.Gateway.Watch("ses_00000000000000000000000000"); brevet.KindOf(err) != brevet.NotFound {
		t.Errorf("watching nothing gives %v", err)
	}
}
