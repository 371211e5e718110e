package watch_test

import (
	"slices"
	"testing"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/flow/watch"
)

var session = brevet.Session{ID: "ses_1", Machine: "gw-1"}

func join(t *testing.T, h *watch.Hub) *watch.Link {
	t.Helper()
	link := h.Join("gw-1", "gw:7022")
	t.Cleanup(link.Leave)
	return link
}

func begin(t *testing.T, h *watch.Hub, person brevet.PersonID) *watch.Watcher {
	t.Helper()
	w, err := h.Watch(session, person)
	if err != nil {
		t.Fatalf("Watch: %v", err)
	}
	return w
}

// read returns what is there for the watcher now.
func read(w *watch.Watcher) string {
	var all []byte
	for {
		select {
		case frames, ok := <-w.Frames():
			if !ok {
				return string(all)
			}
			all = append(all, frames...)
		default:
			return string(all)
		}
	}
}

func TestManyWatchOneSession(t *testing.T) {
	var h watch.Hub
	link := join(t, &h)
	alice := begin(t, &h, "alice")
	h.Live("gw-1", session.ID, []byte("one "))
	carol := begin(t, &h, "carol") // joins later, and sees the screen as it is
	h.Live("gw-1", session.ID, []byte("two"))
	for name, w := range map[string]*watch.Watcher{"alice": alice, "carol": carol} {
		if got := read(w); got != "one two" {
			t.Errorf("%s saw %q", name, got)
		}
	}
	if got := h.Watchers("gw-1")[session.ID]; !slices.Equal(got, []brevet.PersonID{"alice", "carol"}) {
		t.Errorf("watchers: %v", got)
	}
	select {
	case <-link.Woken():
	default:
		t.Error("the gateway was not woken")
	}
	h.End(session.ID, "it is over")
	if _, open := <-alice.Frames(); open || alice.Reason() != "it is over" {
		t.Errorf("alice's view is open %v, reason %q", open, alice.Reason())
	}
	if got := h.Watchers("gw-1"); len(got) != 0 {
		t.Errorf("watchers after the end: %v", got)
	}
}

func TestAGatewayShowsOnlyItsOwn(t *testing.T) {
	var h watch.Hub
	join(t, &h)
	alice := begin(t, &h, "alice")
	h.Live("gw-2", session.ID, []byte("forged"))
	if got := read(alice); got != "" {
		t.Errorf("saw %q of a gateway that does not carry the session", got)
	}
	if got := read(begin(t, &h, "carol")); got != "" {
		t.Errorf("who joined later saw %q", got)
	}
}

func TestASlowWatcherIsDropped(t *testing.T) {
	var h watch.Hub
	join(t, &h)
	slow := begin(t, &h, "alice")
	for range 1000 {
		h.Live("gw-1", session.ID, []byte("x"))
	}
	if got := len(read(slow)); got == 1000 || slow.Reason() == "" {
		t.Errorf("read %d messages, reason %q", got, slow.Reason())
	}
}

func TestWatchingNeedsTheGateway(t *testing.T) {
	var h watch.Hub
	if _, err := h.Watch(session, "alice"); brevet.KindOf(err) != brevet.Unavailable {
		t.Errorf("got %v, want unavailable", err)
	}
}
