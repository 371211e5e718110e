// Package watch knows which gateways are connected to this server and who is watching
// which session. It wakes a gateway's stream when something may have changed for it, and
// passes on what watched sessions show.
//
// It holds nothing that must survive: what a gateway still has to end stands in the
// store, and the gateway's stream reads it there each time it is woken.
package watch

import (
	"maps"
	"slices"
	"sync"

	"github.com/brevet-pim/brevet"
)

const (
	// queue is how many messages a watcher may lag behind before it is dropped.
	queue = 256
	// latest is how many bytes of what a watched session has shown are kept for whoever joins
	// later, and mostLatest how many messages: both are the screen as it is, or nearly.
	latest     = 64 << 10
	mostLatest = queue / 2
)

// Hub is the meeting place of gateways and watchers. The zero value is ready.
type Hub struct {
	mu       sync.Mutex // guards what follows
	links    map[brevet.MachineID]map[*Link]bool
	watchers map[brevet.SessionID]map[*Watcher]bool
	shown    map[brevet.SessionID][][]byte // the latest of each watched session
}

// Link is one open stream of a gateway.
type Link struct {
	Machine brevet.MachineID
	Address string // where people reach the gateway
	wake    chan struct{}
	hub     *Hub
}

// Watcher is one person watching one session.
type Watcher struct {
	Session brevet.SessionID
	Person  brevet.PersonID
	machine brevet.MachineID
	frames  chan []byte
	hub     *Hub
	reason  string // why the session ended; guarded by hub.mu, set before frames closes
}

// Join opens a link for a gateway that connected. The caller closes it with Leave.
func (h *Hub) Join(machine brevet.MachineID, address string) *Link {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.links == nil {
		h.links = map[brevet.MachineID]map[*Link]bool{}
	}
	if h.links[machine] == nil {
		h.links[machine] = map[*Link]bool{}
	}
	link := &Link{Machine: machine, Address: address, wake: make(chan struct{}, 1), hub: h}
	h.links[machine][link] = true
	return link
}

// Leave closes the link.
func (l *Link) Leave() {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	delete(l.hub.links[l.Machine], l)
	if len(l.hub.links[l.Machine]) == 0 {
		delete(l.hub.links, l.Machine)
	}
}

// Alone reports whether the gateway has no other link.
func (l *Link) Alone() bool {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	return len(l.hub.links[l.Machine]) == 1
}

// Links returns how many links the gateway has here.
func (h *Hub) Links(machine brevet.MachineID) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.links[machine])
}

// Woken is sent to when something may have changed for the gateway.
func (l *Link) Woken() <-chan struct{} { return l.wake }

// Connected returns the addresses of the gateways with a link here, by machine.
func (h *Hub) Connected() map[brevet.MachineID]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[brevet.MachineID]string{}
	for machine, links := range h.links {
		for link := range links {
			out[machine] = link.Address
		}
	}
	return out
}

// Wake wakes the links of a gateway.
func (h *Hub) Wake(machine brevet.MachineID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wake(machine)
}

// WakeAll wakes the links of every gateway.
func (h *Hub) WakeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for machine := range h.links {
		h.wake(machine)
	}
}

func (h *Hub) wake(machine brevet.MachineID) {
	for link := range h.links[machine] {
		select {
		case link.wake <- struct{}{}:
		default: // it is awake already
		}
	}
}

// Watch begins to watch a live session of the machine.
func (h *Hub) Watch(session brevet.Session, person brevet.PersonID) (*Watcher, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.links[session.Machine]) == 0 {
		return nil, brevet.Errorf(brevet.Unavailable, "gateway %s, which carries %s, is not connected to this server", session.Machine, session.ID).
			WithHint("the session goes on and is recorded; try again in a moment, or play it afterwards")
	}
	if h.watchers == nil {
		h.watchers = map[brevet.SessionID]map[*Watcher]bool{}
	}
	if h.watchers[session.ID] == nil {
		h.watchers[session.ID] = map[*Watcher]bool{}
	}
	w := &Watcher{Session: session.ID, Person: person, machine: session.Machine, frames: make(chan []byte, queue), hub: h}
	for _, frames := range h.shown[session.ID] {
		w.frames <- frames // mostLatest fit
	}
	h.watchers[session.ID][w] = true
	h.wake(session.Machine)
	return w, nil
}

// Frames yields what the session shows. It closes when the session ends, or when the
// watcher lags too far behind; Reason then says which.
func (w *Watcher) Frames() <-chan []byte { return w.frames }

// Reason says why Frames closed.
func (w *Watcher) Reason() string {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	return w.reason
}

// Close ends the watching.
func (w *Watcher) Close() { w.Stop("you stopped watching") }

// Stop ends the watching for a reason. The first reason stays.
func (w *Watcher) Stop(reason string) {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.drop(reason)
}

// drop removes the watcher once; hub.mu is held.
func (w *Watcher) drop(reason string) {
	set := w.hub.watchers[w.Session]
	if !set[w] {
		return
	}
	delete(set, w)
	if len(set) == 0 {
		delete(w.hub.watchers, w.Session)
		delete(w.hub.shown, w.Session)
	}
	w.reason = reason
	close(w.frames)
	w.hub.wake(w.machine)
}

// Live passes frames of a session on to its watchers. The frames must belong to a session
// of the machine: a gateway cannot show something as another's.
func (h *Hub) Live(machine brevet.MachineID, session brevet.SessionID, frames []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	watched := false
	for w := range h.watchers[session] {
		if w.machine != machine {
			continue
		}
		watched = true
		select {
		case w.frames <- frames:
		default:
			w.drop("your connection is too slow to watch live; play the recording instead")
		}
	}
	if watched && len(h.watchers[session]) > 0 {
		h.keep(session, frames)
	}
}

// keep remembers the frames for whoever joins later. h.mu is held.
func (h *Hub) keep(session brevet.SessionID, frames []byte) {
	if h.shown == nil {
		h.shown = map[brevet.SessionID][][]byte{}
	}
	kept := append(h.shown[session], frames)
	size := 0
	for _, f := range kept {
		size += len(f)
	}
	for len(kept) > 1 && (size > latest || len(kept) > mostLatest) {
		size -= len(kept[0])
		kept = kept[1:]
	}
	h.shown[session] = kept
}

// End tells the watchers of a session that it is over.
func (h *Hub) End(session brevet.SessionID, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers[session] {
		w.drop(reason)
	}
}

// Watchers returns who watches which session of the machine, names sorted.
func (h *Hub) Watchers(machine brevet.MachineID) map[brevet.SessionID][]brevet.PersonID {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[brevet.SessionID][]brevet.PersonID{}
	for session, set := range h.watchers {
		people := map[brevet.PersonID]bool{}
		for w := range set {
			if w.machine == machine {
				people[w.Person] = true
			}
		}
		if len(people) > 0 {
			out[session] = slices.Sorted(maps.Keys(people))
		}
	}
	return out
}
