package record

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
)

const (
	// watcherBytes is how far a watcher may fall behind before it is dropped.
	watcherBytes = 4 << 20
	watcherCount = 1 << 12
)

// Hub shows a live session to those who watch it: first the latest 64 KiB of its output, on
// the screen that it is on, then everything as it comes. A watcher that is too slow is dropped; the session never
// waits for one. The zero Hub is ready for use.
type Hub struct {
	mu       sync.Mutex // guards what follows
	started  time.Time
	size     []byte  // data of the latest resize
	backlog  backlog // output, stderr too
	watchers map[*Watcher]struct{}
	closed   bool
}

// Output shows bytes of a stream. What is typed (Stdin) is not shown.
func (h *Hub) Output(s Stream, p []byte) {
	if s == Stdin || len(p) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.backlog.write(p)
	if len(h.watchers) == 0 {
		return
	}
	for len(p) > 0 {
		n := min(len(p), ChunkSize)
		h.send(Event{Kind: s.Kind(), At: h.now(), Data: bytes.Clone(p[:n])})
		p = p[n:]
	}
}

// Resize shows a new size of the terminal, and tells that there is one. A watcher that comes later
// sees it first.
func (h *Hub) Resize(columns, rows int) {
	data := binary.AppendUvarint(nil, uint64(clampSide(columns)))
	data = binary.AppendUvarint(data, uint64(clampSide(rows)))
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.size = data
	h.backlog.terminal = true
	h.send(Event{Kind: KindResize, At: h.now(), Data: data})
}

// Watching returns how many watch.
func (h *Hub) Watching() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.watchers)
}

// Watch begins to watch. The Watcher must be closed.
func (h *Hub) Watch() *Watcher {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := &Watcher{hub: h, wake: make(chan struct{}, 1)}
	if h.size != nil {
		w.add(Event{Kind: KindResize, At: h.now(), Data: h.size})
	}
	if b := h.backlog.bytes(); len(b) > 0 {
		w.add(Event{Kind: KindStdout, At: h.now(), Data: b})
	}
	if h.closed {
		w.err = io.EOF
		return w
	}
	if h.watchers == nil {
		h.watchers = map[*Watcher]struct{}{}
	}
	h.watchers[w] = struct{}{}
	return w
}

// Close ends the session for every watcher, once it has seen the rest.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for w := range h.watchers {
		h.drop(w, io.EOF)
	}
}

// now returns the time since the first event.
func (h *Hub) now() time.Duration {
	if h.started.IsZero() {
		h.started = time.Now()
	}
	return time.Since(h.started)
}

func (h *Hub) send(e Event) {
	for w := range h.watchers {
		if w.bytes+len(e.Data) > watcherBytes || len(w.queue) >= watcherCount {
			h.drop(w, brevet.Errorf(brevet.Limited, "you were too slow for this session").
				WithHint("watch it again, or play its recording"))
			continue
		}
		w.add(e)
	}
}

func (h *Hub) drop(w *Watcher, why error) {
	delete(h.watchers, w)
	w.err = why
	w.signal()
}

// Watcher is one who watches a session.
type Watcher struct {
	hub  *Hub
	wake chan struct{} // holds one token when there may be something new

	// Guarded by Hub.mu.
	queue []Event
	bytes int
	err   error
}

// Next returns the next event, which belongs to all watchers and must not be changed. It
// waits for one, until ctx ends. The error is io.EOF after the session's end, and Limited
// once the watcher has been dropped for slowness.
func (w *Watcher) Next(ctx context.Context) (Event, error) {
	for {
		e, ok, err := w.pop()
		if ok || err != nil {
			return e, err
		}
		select {
		case <-ctx.Done():
			return Event{}, context.Cause(ctx)
		case <-w.wake:
		}
	}
}

// Close ends watching.
func (w *Watcher) Close() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.queue = nil
	if w.err == nil {
		w.hub.drop(w, io.EOF)
	}
}

func (w *Watcher) pop() (e Event, ok bool, err error) {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	if len(w.queue) == 0 {
		return Event{}, false, w.err
	}
	e = w.queue[0]
	w.queue[0] = Event{}
	w.queue = w.queue[1:]
	w.bytes -= len(e.Data)
	return e, true, nil
}

func (w *Watcher) add(e Event) {
	w.queue = append(w.queue, e)
	w.bytes += len(e.Data)
	w.signal()
}

func (w *Watcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
