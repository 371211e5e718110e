package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/brevet-pim/brevet"
)

// next returns the watcher's next event, which must be there already.
func next(t *testing.T, w *Watcher) Event {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e, err := w.Next(ctx)
	if err != nil {
		t.Fatalf("no event: %v", err)
	}
	return e
}

// seen reads all that a watcher sees until the session's end.
func seen(t *testing.T, w *Watcher) string {
	t.Helper()
	var b strings.Builder
	for {
		e, err := w.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		b.Write(e.Data)
	}
}

func TestHubShowsEverything(t *testing.T) {
	var h Hub
	h.Resize(80, 24)
	h.Output(Stdout, []byte("before "))
	h.Output(Stdin, []byte("secret"))
	w := h.Watch()
	defer w.Close()
	if e := next(t, w); e.Kind != KindResize {
		t.Errorf("first comes %v, not the terminal's size", e.Kind)
	}
	if e := next(t, w); string(e.Data) != "before " {
		t.Errorf("backlog %q", e.Data)
	}
	h.Output(Stdout, []byte("out"))
	h.Output(Stderr, []byte("err"))
	h.Output(Stdin, []byte("secret"))
	h.Resize(1<<30, -1)
	if e := next(t, w); e.Kind != KindStdout || string(e.Data) != "out" {
		t.Errorf("got %v %q", e.Kind, e.Data)
	}
	if e := next(t, w); e.Kind != KindStderr || string(e.Data) != "err" {
		t.Errorf("got %v %q", e.Kind, e.Data)
	}
	e := next(t, w)
	if c, r, err := e.Size(); err != nil || c != MaxSide || r != 0 {
		t.Errorf("size %d by %d, %v", c, r, err)
	}
	h.Close()
	if _, err := w.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	if h.Output(Stdout, []byte("late")); seen(t, h.Watch()) == "" {
		t.Error("whoever comes after the end sees nothing of it")
	}
}

// TestHubDropsTheSlow: of many watchers one does not read. It is dropped and told, and neither
// the session nor the others wait.
func TestHubDropsTheSlow(t *testing.T) {
	var h Hub
	slow := h.Watch()
	var readers sync.WaitGroup
	const fast, lines, lineSize = 50, 600, 10 << 10
	for range fast {
		w := h.Watch()
		readers.Go(func() {
			defer w.Close()
			total := 0
			for {
				e, err := w.Next(t.Context())
				if err != nil {
					if !errors.Is(err, io.EOF) || total != lines*lineSize {
						t.Errorf("%d bytes of %d, %v", total, lines*lineSize, err)
					}
					return
				}
				total += len(e.Data)
			}
		})
	}
	line := bytes.Repeat([]byte("x"), lineSize)
	for i := range lines {
		h.Output(Stdout, line)
		if i%100 == 99 { // let those who read catch up: a real session is no faster than its network
			for behind(&h, slow) {
			}
		}
	}
	h.Close()
	readers.Wait()
	var err error
	n := 0
	for err == nil {
		var e Event
		e, err = slow.Next(t.Context())
		n += len(e.Data)
	}
	if brevet.KindOf(err) != brevet.Limited {
		t.Errorf("the slow one got %v", err)
	}
	if n > watcherBytes {
		t.Errorf("%d bytes waited for the slow one", n)
	}
	if h.Watching() != 0 {
		t.Errorf("%d still watch", h.Watching())
	}
}

// behind reports whether somebody other than the slow one has something to read.
func behind(h *Hub, slow *Watcher) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		if w != slow && len(w.queue) > 0 {
			return true
		}
	}
	return false
}

func TestHubManySmallEventsDropTheSlowToo(t *testing.T) {
	var h Hub
	w := h.Watch()
	for range watcherCount + 1 {
		h.Output(Stdout, []byte("x"))
	}
	if h.Watching() != 0 {
		t.Error("it is still there")
	}
	w.Close()
}

func TestHubWakesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h Hub
		w := h.Watch()
		got := make(chan Event)
		go func() {
			e, _ := w.Next(t.Context())
			got <- e
		}()
		synctest.Wait()
		h.Output(Stdout, []byte("x"))
		if e := <-got; string(e.Data) != "x" {
			t.Errorf("got %q", e.Data)
		}
		go func() {
			_, err := w.Next(t.Context())
			if !errors.Is(err, io.EOF) {
				t.Errorf("got %v", err)
			}
			close(got)
		}()
		synctest.Wait()
		w.Close()
		<-got
		w.Close() // once more does no harm
		h.Close()
	})
}

func TestWatcherStopsWithItsContext(t *testing.T) {
	var h Hub
	w := h.Watch()
	defer w.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("gone"))
	if _, err := w.Next(ctx); err == nil || err.Error() != "gone" {
		t.Errorf("got %v", err)
	}
}

// TestBacklogIsTheLatest compares with keeping everything.
func TestBacklogIsTheLatest(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var b backlog
	var all []byte
	for range 2000 {
		p := make([]byte, random.IntN(200))
		if random.IntN(200) == 0 {
			p = make([]byte, backlogBytes+random.IntN(3*backlogBytes))
		}
		for i := range p {
			p[i] = 'a' + byte(random.IntN(26))
		}
		b.write(p)
		all = append(all, p...)
		want := all[max(0, len(all)-backlogBytes):]
		if got := b.bytes(); !bytes.Equal(got, want) {
			t.Fatalf("after %d bytes: got %d bytes, want %d", len(all), len(got), len(want))
		}
	}
	if cap(b.buf) > 2*backlogBytes {
		t.Errorf("it takes %d bytes", cap(b.buf))
	}
}

// TestLateWatcherSeesASensibleScreen has what came before the backlog in pieces of every size.
func TestLateWatcherSeesASensibleScreen(t *testing.T) {
	line := strings.Repeat("x", 99) + "\n"
	lines := strings.Repeat(line, backlogBytes/100+200)
	drawing := strings.Repeat("\x1b[12;1Hstatus \x1b[31mred\x1b[0m ", backlogBytes/20)
	tests := []struct {
		name, output string
		alternate    bool
		begins       string // what the backlog begins with, behind a switch of the screen
	}{
		{"lines", lines, false, line},
		{"an editor", "$ vi\r\n\x1b[?1049h" + lines, true, line},
		{"an editor that draws no lines", "\x1b[?1049h" + drawing, true, "\x1b["},
		{"an editor that was left", "\x1b[?1049hx\x1b[?1049l" + lines, false, line},
		{"several modes at once", "\x1b[?25;1049h" + lines, true, line},
		{"older spellings", "\x1b[?47h\x1b[?1047l\x1b[?1047h" + lines, true, line},
		{"asked, not set", "\x1b[?1049$p\x1b[?1049n\x1b[1049h" + lines, false, line},
		{"another mode", "\x1b[?2004h\x1b[?104h\x1b[?10490h" + lines, false, line},
		{"escapes before it", "\x1b\x1b\x1b[?1049h" + lines, true, line},
		{"an endless sequence", "\x1b[?" + strings.Repeat("1", 5000) + "\x1b[?1049h" + lines, true, line},
	}
	for _, tt := range tests {
		for _, size := range []int{1, 2, 3, 7, 31, 4096, backlogBytes - 1, 10 * backlogBytes} {
			t.Run(fmt.Sprintf("%s in pieces of %d", tt.name, size), func(t *testing.T) {
				var h Hub
				h.Resize(80, 24)
				for p := range chunked(tt.output, size) {
					h.Output(Stdout, p)
				}
				w := h.Watch()
				defer w.Close()
				next(t, w) // the size
				got, ok := strings.CutPrefix(string(next(t, w).Data), enterAlternate)
				if ok != tt.alternate {
					t.Errorf("alternate screen: %t, want %t", ok, tt.alternate)
				}
				if !strings.HasPrefix(got, tt.begins) {
					t.Errorf("begins with %q", got[:40])
				}
				if !strings.HasSuffix(tt.output, got) || len(got) < backlogBytes*15/16-200 {
					t.Errorf("%d bytes, not the latest", len(got))
				}
			})
		}
	}
}

func chunked(s string, size int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(s) > 0 {
			n := min(size, len(s))
			if !yield([]byte(s[:n])) {
				return
			}
			s = s[n:]
		}
	}
}

// BenchmarkHub is what a session pays that nobody watches.
func BenchmarkHub(b *testing.B) {
	for name, data := range map[string][]byte{"zeros": make([]byte, 32<<10), "random": randomBytes(32 << 10)} {
		b.Run(name, func(b *testing.B) {
			var h Hub
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				h.Output(Stdout, data)
			}
		})
	}
}

func randomBytes(n int) []byte {
	random := rand.NewChaCha8([32]byte{1})
	p := make([]byte, n)
	random.Read(p)
	return p
}

// TestWithoutATerminalThereIsNoScreen has a program write to a pipe what would switch a terminal.
func TestWithoutATerminalThereIsNoScreen(t *testing.T) {
	var h Hub
	h.Output(Stdout, []byte("\x1b[?1049h"+strings.Repeat("x\n", backlogBytes)))
	w := h.Watch()
	defer w.Close()
	if got := string(next(t, w).Data); strings.HasPrefix(got, enterAlternate) {
		t.Errorf("begins with %q", got[:20])
	}
}
