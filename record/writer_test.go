package record

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/seal"
)

// memory is a Sink and a Source in memory. Its hooks stand for what a disk may do.
type memory struct {
	mu     sync.Mutex
	chunks [][]byte // linked
	root   Hash     // of the last
	synced int
	syncs  int
	closed int
	onPut  func(ctx context.Context, index int) error
	onSync func(ctx context.Context) error
}

func (m *memory) Put(ctx context.Context, index uint32, chunk []byte) error {
	if m.onPut != nil {
		if err := m.onPut(ctx, int(index)); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if int(index) != len(m.chunks) {
		return fmt.Errorf("chunk %d where %d is next", index, len(m.chunks))
	}
	if index == 0 {
		m.root = seed(testHead(chunk).session)
	}
	chunk, m.root = link(m.root, chunk)
	m.chunks = append(m.chunks, chunk)
	return nil
}

func (m *memory) Sync(ctx context.Context) error {
	m.mu.Lock()
	n := len(m.chunks)
	m.mu.Unlock()
	if m.onSync != nil {
		if err := m.onSync(ctx); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.synced = n
	m.syncs++
	return nil
}

func (m *memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed++
	return nil
}

func (m *memory) Chunk(index int) ([]byte, error) {
	if index >= len(m.chunks) || m.chunks[index] == nil {
		return nil, fs.ErrNotExist
	}
	return m.chunks[index], nil
}

func testHead(chunk []byte) head {
	h, _, err := parseHead(chunk)
	if err != nil {
		panic(err) // unreachable: a Writer made it
	}
	return h
}

// unlinked returns linked chunks as their Writer made them.
func unlinked(chunks [][]byte) [][]byte {
	var bare [][]byte
	for _, c := range chunks {
		bare = append(bare, c[min(hashLen, len(c)):])
	}
	return bare
}

func (m *memory) Count() (int, error) { return len(m.chunks), nil }

func (m *memory) durable() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.synced
}

const testSession = brevet.SessionID("ses_01h00000000000000000000001")

func identity(t testing.TB) *seal.Identity {
	t.Helper()
	id, err := seal.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// setup is what Begin needs.
type setup struct {
	Recorder
	session  brevet.Session
	terminal Terminal
}

func config(id *seal.Identity, sink Sink) *setup {
	return &setup{
		Recorder: Recorder{
			Recipients: []seal.Recipient{id.Recipient()},
			Sink:       func(brevet.SessionID) (Sink, error) { return sink, nil },
		},
		session: brevet.Session{
			ID: testSession, Grant: "grt_01h00000000000000000000002", Person: "bob", Target: "web1", Login: "root",
			Machine: "gw-1", Source: "10.1.4.7", Kind: "shell",
		},
		terminal: Terminal{"xterm-256color", 80, 24},
	}
}

func begin(t testing.TB, c *setup) *Writer {
	t.Helper()
	w, err := c.Begin(t.Context(), c.session, c.terminal)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// collect returns the events with copies of their data.
func collect(t testing.TB, src Source, id *seal.Identity) ([]Event, error) {
	t.Helper()
	var all []Event
	for e, err := range Open(src, testSession, Known{}, id).Events() {
		if err != nil {
			return all, err
		}
		e.Data = bytes.Clone(e.Data)
		all = append(all, e)
	}
	return all, nil
}

func joined(events []Event, k Kind) string {
	var b strings.Builder
	for _, e := range events {
		if e.Kind == k {
			b.Write(e.Data)
		}
	}
	return b.String()
}

func TestWriterKeepsEveryByteAndTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, sink := identity(t), &memory{}
		c := config(id, sink)
		c.session.Kind, c.session.Command = "exec", "printf '\xff\x00' # \x1b]52;c;x\x07"
		began := time.Now()
		w := begin(t, c)
		w.Env("LANG", "C.UTF-8")
		w.Output(Stdout, []byte("one\n"))
		time.Sleep(1500 * time.Millisecond)
		w.Resize(132, 50)
		w.Output(Stderr, []byte{0xff, 0x00, 0x1b})
		w.Output(Stdin, []byte("typed"))
		time.Sleep(time.Hour)
		w.Mark("frozen by carol")
		w.Signal("TERM")
		w.Exit(143)
		if err := w.Close("exit"); err != nil {
			t.Fatal(err)
		}

		events, err := collect(t, sink, id)
		if err != nil {
			t.Fatal(err)
		}
		start, _ := events[0].Start()
		if start.Session != testSession || start.Person != "bob" || start.Columns != 80 || !start.Time().Equal(began.Truncate(time.Microsecond)) {
			t.Errorf("start: %+v", start)
		}
		type line struct {
			kind Kind
			at   time.Duration
			data string
		}
		want := []line{
			{KindCommand, 0, c.session.Command},
			{KindEnv, 0, "LANG=C.UTF-8"},
			{KindStdout, 0, "one\n"},
			{KindResize, 1500 * time.Millisecond, "\x84\x01\x32"},
			{KindStderr, 1500 * time.Millisecond, "\xff\x00\x1b"},
			{KindStdin, 1500 * time.Millisecond, "typed"},
			{KindMark, time.Hour + 1500*time.Millisecond, "frozen by carol"},
			{KindSignal, time.Hour + 1500*time.Millisecond, "TERM"},
			{KindExit, time.Hour + 1500*time.Millisecond, "\x8f\x01"},
		}
		if len(events) != len(want)+2 {
			t.Fatalf("%d events, want %d", len(events), len(want)+2)
		}
		for i, e := range events[1 : len(events)-1] {
			if got := (line{e.Kind, e.At, string(e.Data)}); got != want[i] {
				t.Errorf("event %d: got %+v, want %+v", i+1, got, want[i])
			}
		}
		end, err := events[len(events)-1].End()
		if err != nil || end.Reason != "exit" || end.Stdout != (Count{4, 4}) || end.Stdin != (Count{5, 5}) {
			t.Errorf("end: %+v, %v", end, err)
		}
		r := Verify(sink, testSession, Known{w.Commitment().String(), sink.root.String()}, id)
		if !r.Complete || r.Problem != nil || r.Frames != len(events) || r.Bytes != w.State().Bytes || r.Chunks != w.State().Chunks {
			t.Errorf("report %+v, state %+v", r, w.State())
		}
		if r := Verify(sink, testSession, Known{Root: sink.root.String()}); !r.Complete || r.Problem != nil {
			t.Errorf("without a key: %+v", r)
		}
		for _, chunk := range sink.chunks {
			if bytes.Contains(chunk, []byte("xterm-256color")) || bytes.Contains(chunk, []byte("frozen by")) {
				t.Error("a chunk shows what is recorded")
			}
		}
	})
}

func TestWriterLargeStreams(t *testing.T) {
	id, sink := identity(t), &memory{}
	w := begin(t, config(id, sink))
	random := make([]byte, 3<<20+17)
	rand.Read(random)
	zeros := make([]byte, 5<<20)
	var both sync.WaitGroup
	both.Go(func() {
		for p := random; len(p) > 0; {
			n := min(len(p), 100_003)
			if err := w.Output(Stdout, p[:n]); err != nil {
				t.Error(err)
				return
			}
			p = p[n:]
		}
	})
	both.Go(func() { w.Output(Stderr, zeros) })
	both.Wait()
	if err := w.Close("exit"); err != nil {
		t.Fatal(err)
	}
	events, err := collect(t, sink, id)
	if err != nil {
		t.Fatal(err)
	}
	if got := joined(events, KindStdout); got != string(random) {
		t.Errorf("stdout: %d bytes, want %d", len(got), len(random))
	}
	if got := joined(events, KindStderr); got != string(zeros) {
		t.Errorf("stderr: %d bytes, want %d", len(got), len(zeros))
	}
	if state := w.State(); state.Bytes > int64(len(random))+int64(len(random))/100 {
		t.Errorf("%d bytes stored for %d random ones and %d zeros", state.Bytes, len(random), len(zeros))
	}
}

// An idle second after the last byte, everything is durable and nothing is left running.
func TestWriterFlushesEachSecondAndRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, sink := identity(t), &memory{}
		w := begin(t, config(id, sink))
		if sink.durable() != 1 {
			t.Fatalf("%d chunks durable after Begin", sink.durable())
		}
		w.Output(Stdout, []byte("a"))
		time.Sleep(flushEvery - time.Millisecond)
		synctest.Wait()
		if sink.durable() != 1 {
			t.Error("flushed early")
		}
		w.Output(Stdout, []byte("b"))
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if sink.durable() != 2 {
			t.Error("not flushed after a second")
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if sink.durable() != 2 || sink.syncs != 2 {
			t.Errorf("idle, and %d chunks, %d syncs", sink.durable(), sink.syncs)
		}
		w.mu.Lock()
		if w.armed || w.watched || w.working || w.syncing || w.open.plain != nil || w.queue != nil || w.pending != nil {
			t.Errorf("an idle Writer holds on to something: %+v", w.open)
		}
		w.mu.Unlock()

		// A steady stream is synced about once a second, not once a write.
		for range 100 {
			w.Output(Stdout, []byte("tick\n"))
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if got := sink.syncs; got < 11 || got > 13 {
			t.Errorf("%d syncs for 10 s of output", got-2)
		}
		w.Close("exit")
		select {
		case <-w.Done():
		default:
			t.Error("Done is open after Close")
		}
		if w.Err() != nil || sink.closed != 1 {
			t.Errorf("err %v, closed %d times", w.Err(), sink.closed)
		}
		if err := w.Output(Stdout, []byte("late")); brevet.KindOf(err) != brevet.Conflict {
			t.Errorf("output after Close: %v", err)
		}
		if err := w.Close("again"); err != nil {
			t.Errorf("closed again: %v", err)
		}
	})
}

func TestWriterFailsInTime(t *testing.T) {
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	full := errors.New("no space left on device")
	tests := []struct {
		name   string
		onPut  func(context.Context, int) error
		onSync func(context.Context) error
		within time.Duration // after the byte
		cause  error
	}{
		{name: "put fails", onPut: func(context.Context, int) error { return full }, within: flushEvery, cause: full},
		{name: "sync fails", onSync: func(context.Context) error { return full }, within: flushEvery, cause: full},
		{name: "put hangs", onPut: func(ctx context.Context, _ int) error { return hang(ctx) }, within: DefaultWithin},
		{name: "sync hangs", onSync: hang, within: DefaultWithin},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				id, sink := identity(t), &memory{}
				w := begin(t, config(id, sink))
				sink.onPut, sink.onSync = tt.onPut, tt.onSync
				time.Sleep(time.Hour) // idle for long: the clock runs from the next byte
				w.Output(Stdout, []byte("x"))
				began := time.Now()
				<-w.Done()
				if took := time.Since(began); took != tt.within {
					t.Errorf("failed after %v, want %v", took, tt.within)
				}
				err := w.Err()
				if brevet.KindOf(err) != brevet.Unavailable || tt.cause != nil && !errors.Is(err, tt.cause) {
					t.Errorf("err %v", err)
				}
				if err := w.Output(Stdout, []byte("y")); err == nil {
					t.Error("output after the failure")
				}
				if err := w.Close("exit"); err == nil {
					t.Error("closed well after the failure")
				}
				synctest.Wait()
				if sink.closed != 1 {
					t.Errorf("sink closed %d times", sink.closed)
				}
			})
		})
	}
}

func TestBeginFails(t *testing.T) {
	id := identity(t)
	full := errors.New("no space left on device")
	failing := &memory{}
	tests := []struct {
		name string
		edit func(*setup)
		kind brevet.Kind
	}{
		{"no recipient", func(c *setup) { c.Recipients = nil }, brevet.Invalid},
		{"too many recipients", func(c *setup) { c.Recipients = make([]seal.Recipient, MaxRecipients+1) }, brevet.Invalid},
		{"the zero recipient", func(c *setup) { c.Recipients = make([]seal.Recipient, 1) }, brevet.Invalid},
		{"no session", func(c *setup) { c.session.ID = "" }, brevet.Invalid},
		{"a path for a session", func(c *setup) { c.session.ID = "ses_../../../../etc/passwd" }, brevet.Invalid},
		{"enormous names", func(c *setup) { c.session.Login = strings.Repeat("x", 1<<20) }, brevet.Invalid},
		{"disk full", func(c *setup) { failing.onPut = func(context.Context, int) error { return full } }, brevet.Unavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				*failing = memory{}
				opened := 0
				c := config(id, failing)
				c.Sink = func(brevet.SessionID) (Sink, error) { opened++; return failing, nil }
				tt.edit(c)
				w, err := c.Begin(t.Context(), c.session, c.terminal)
				if w != nil || brevet.KindOf(err) != tt.kind || err == nil {
					t.Errorf("got %v, want kind %v", err, tt.kind)
				}
				synctest.Wait() // who failed does not wait for the sink to be closed
				if failing.closed != opened {
					t.Errorf("the sink was opened %d times and closed %d times", opened, failing.closed)
				}
			})
		})
	}
	t.Run("given up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			sink := &memory{onSync: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			c := config(id, sink)
			_, err := c.Begin(ctx, c.session, c.terminal)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	})
}

// A sink slower than the session holds the relay back: memory stays bounded, no byte is lost.
func TestWriterHoldsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, sink := identity(t), &memory{}
		w := begin(t, config(id, sink))
		sink.onPut = func(context.Context, int) error { time.Sleep(50 * time.Millisecond); return nil }
		data := make([]byte, 20*ChunkSize)
		rand.Read(data)
		began := time.Now()
		if err := w.Output(Stdout, data); err != nil {
			t.Fatal(err)
		}
		w.mu.Lock()
		if n := len(w.queue); n > maxQueue {
			t.Errorf("%d chunks in the queue", n)
		}
		w.mu.Unlock()
		if took := time.Since(began); took < 800*time.Millisecond {
			t.Errorf("20 chunks went away in %v", took)
		}
		if err := w.Close("exit"); err != nil {
			t.Fatal(err)
		}
		events, err := collect(t, sink, id)
		if err != nil || joined(events, KindStdout) != string(data) {
			t.Errorf("bytes were lost: %v", err)
		}
	})
}

// A disk that cannot keep up with syncing holds back too, and a slow one does not fail.
func TestWriterBoundsWhatIsNotSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, sink := identity(t), &memory{}
		w := begin(t, config(id, sink))
		const rate = 8 << 20 // bytes a second
		most := 0
		sink.onSync = func(context.Context) error {
			sink.mu.Lock()
			size := 0
			for _, c := range sink.chunks[sink.synced:] {
				size += len(c)
			}
			sink.mu.Unlock()
			most = max(most, size)
			time.Sleep(time.Duration(size) * time.Second / rate)
			return nil
		}
		data := make([]byte, 64<<20)
		rand.Read(data[:1<<20])
		for i := 1 << 20; i < len(data); i += 1 << 20 {
			copy(data[i:], data[:1<<20])
		}
		if err := w.Output(Stdout, data); err != nil {
			t.Fatal(err)
		}
		if err := w.Close("exit"); err != nil {
			t.Fatal(err)
		}
		if most > maxUnsynced+2*ChunkSize {
			t.Errorf("%d bytes were not synced at once", most)
		}
	})
}

func TestCloseWakesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, sink := identity(t), &memory{}
		w := begin(t, config(id, sink))
		slow := make(chan struct{})
		sink.onPut = func(context.Context, int) error { <-slow; return nil }
		result := make(chan error)
		data := make([]byte, 30*ChunkSize)
		go func() { result <- w.Output(Stdout, data) }()
		synctest.Wait()
		go func() { result <- w.Close("killed") }()
		synctest.Wait()
		if err := <-result; brevet.KindOf(err) != brevet.Conflict {
			t.Errorf("the waiting output ended with %v", err)
		}
		close(slow)
		if err := <-result; err != nil {
			t.Errorf("close: %v", err)
		}
		if r := Verify(sink, testSession, Known{}, id); !r.Complete || r.End.Reason != "killed" {
			t.Errorf("%+v", r)
		}
	})
}

func TestLimits(t *testing.T) {
	id, sink := identity(t), &memory{}
	c := config(id, sink)
	c.Limits = Limits{Stdin: 10, Stdout: 4}
	w := begin(t, c)
	for range 3 {
		w.Output(Stdin, []byte("123456"))
	}
	w.Output(Stdout, []byte("1234"))
	w.Output(Stderr, make([]byte, 1000))
	w.Close("exit")
	events, err := collect(t, sink, id)
	if err != nil {
		t.Fatal(err)
	}
	if got := joined(events, KindStdin); got != "1234561234" {
		t.Errorf("stdin %q", got)
	}
	if got := joined(events, KindMark); got != "stdin beyond 10 bytes is not recorded" {
		t.Errorf("marks %q", got)
	}
	end, _ := events[len(events)-1].End()
	if end.Stdin != (Count{18, 10}) || end.Stdout != (Count{4, 4}) || end.Stderr != (Count{1000, 1000}) {
		t.Errorf("end %+v", end)
	}
}

// A command may be as long as SSH lets it be: it is recorded whole.
func TestLongCommand(t *testing.T) {
	id, sink := identity(t), &memory{}
	c := config(id, sink)
	c.session.Command = strings.Repeat("\xff\"<", 300_000)
	w := begin(t, c)
	if err := w.Mark(strings.Repeat("m", ChunkSize)); brevet.KindOf(err) != brevet.Invalid {
		t.Errorf("an enormous mark: %v", err)
	}
	for range 5 { // a mark that does not fit any more goes into the next chunk, whole
		if err := w.Mark(strings.Repeat("m", 100<<10)); err != nil {
			t.Error(err)
		}
	}
	if err := w.Close(strings.Repeat("\x01", 1<<20)); err != nil {
		t.Fatal(err)
	}
	events, err := collect(t, sink, id)
	if err != nil || joined(events, KindCommand) != c.session.Command {
		t.Errorf("the command is not whole: %v", err)
	}
	for _, e := range events {
		if e.Kind == KindMark && len(e.Data) != 100<<10 {
			t.Errorf("a mark of %d bytes", len(e.Data))
		}
	}
}

func BenchmarkWriter(b *testing.B) {
	for _, kind := range []string{"zeros", "text", "random"} {
		b.Run(kind, func(b *testing.B) {
			data := make([]byte, 256<<10)
			switch kind {
			case "random":
				rand.Read(data)
			case "text":
				for i, line := 0, 0; i < len(data); line++ {
					i += copy(data[i:], fmt.Sprintf("Nov 25 04:36:%02d web1 nginx[%d]: GET /orders/%d 200\n", line%60, 1000+line%7, line*7919))
				}
			}
			w := begin(b, config(identity(b), discard{}))
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if err := w.Output(Stdout, data); err != nil {
					b.Fatal(err)
				}
			}
			if err := w.Close("exit"); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(w.State().Bytes)/float64(b.N*len(data)), "stored/byte")
		})
	}
}

// BenchmarkIdle says what a recorded session costs in memory that has spoken once and now rests,
// with its Hub.
func BenchmarkIdle(b *testing.B) {
	c := config(identity(b), nil)
	c.Sink = func(brevet.SessionID) (Sink, error) { return discard{}, nil }
	before := memoryInUse()
	var writers []*Writer
	var hubs []*Hub
	for b.Loop() {
		w, h := begin(b, c), new(Hub)
		for _, text := range []string{"Last login: Thu Nov 26 14:02:11 2026 from 10.1.4.7\r\n", "root@web1:~# "} {
			if err := w.Output(Stdout, []byte(text)); err != nil {
				b.Fatal(err)
			}
			h.Output(Stdout, []byte(text))
		}
		writers, hubs = append(writers, w), append(hubs, h)
	}
	for _, w := range writers {
		w.mu.Lock()
		w.open.sync = true
		w.cut()
		if err := w.settle(); err != nil {
			b.Error(err)
		}
		w.mu.Unlock()
	}
	b.ReportMetric(float64(memoryInUse()-before)/1024/float64(b.N), "KiB/session")
	runtime.KeepAlive(writers)
	runtime.KeepAlive(hubs)
}

// memoryInUse returns what heap and stacks take, in bytes, once garbage is gone.
func memoryInUse() int64 {
	for range 3 { // what is in a sync.Pool goes at the second
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

type discard struct{}

func (discard) Put(context.Context, uint32, []byte) error { return nil }
func (discard) Sync(context.Context) error                { return nil }
func (discard) Close() error                              { return nil }
