package record

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/seal"
)

// storeUploader delivers into a Store, as the control plane does.
type storeUploader struct {
	store *Store
	mu    sync.Mutex
	fail  func(session brevet.SessionID, first int) error
	calls int
	lost  bool // the next answer is lost on its way
}

func (u *storeUploader) Put(_ context.Context, session brevet.SessionID, first int, chunks [][]byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.calls++
	if u.fail != nil {
		if err := u.fail(session, first); err != nil {
			return err
		}
	}
	_, _, err := u.store.Put(session, first, chunks)
	if u.lost {
		u.lost = false
		return errors.New("connection reset")
	}
	return err
}

func (u *storeUploader) Cut(_ context.Context, session brevet.SessionID, chunks int, reason string) error {
	_, err := u.store.Cut(session, chunks, reason)
	return err
}

// root returns the root of a complete recording.
func (u *storeUploader) root(t testing.TB, session brevet.SessionID) string {
	t.Helper()
	state, err := u.store.State(session)
	if err != nil || state.Root == "" {
		t.Fatalf("the recording is %+v, %v", state, err)
	}
	return state.Root
}

// spooling returns a running Spool that delivers to a new Store.
func spooling(t testing.TB, dir string, u *storeUploader) *Spool {
	t.Helper()
	s, err := OpenSpool(dir, u)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

func wait(t testing.TB, s *Spool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Wait(ctx); err != nil {
		t.Fatalf("not delivered: %v, debt %+v", err, s.Debt())
	}
}

func onSpool(id *seal.Identity, s *Spool) *setup {
	c := config(id, nil)
	c.Sink = s.Session
	return c
}

func report(t testing.TB, store *Store, session brevet.SessionID, known Known, id *seal.Identity) Report {
	t.Helper()
	rec, err := store.Open(session)
	if err != nil {
		t.Fatal(err)
	}
	return Verify(rec, session, known, id)
}

func TestSpoolDelivers(t *testing.T) {
	id := identity(t)
	u := &storeUploader{store: &Store{Dir: filepath.Join(t.TempDir(), "recordings")}}
	dir := filepath.Join(t.TempDir(), "spool")
	s := spooling(t, dir, u)
	data := make([]byte, 5<<20)
	rand.Read(data)
	var sessions sync.WaitGroup
	for i := range 8 {
		sessions.Go(func() {
			c := onSpool(id, s)
			c.session.ID = brevet.SessionID(fmt.Sprintf("ses_01h0000000000000000000000%d", i))
			w := begin(t, c)
			w.Output(Stdout, data[i:])
			if err := w.Close("exit"); err != nil {
				t.Error(err)
			}
		})
	}
	sessions.Wait()
	wait(t, s)
	ids, err := u.store.Sessions()
	if err != nil || len(ids) != 8 {
		t.Fatalf("sessions %v, %v", ids, err)
	}
	for i, session := range ids {
		if r := report(t, u.store, session, Known{}, id); !r.Complete || r.End.Stdout.Recorded != int64(len(data)-i) {
			t.Errorf("%s: %+v", session, r)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left in the spool: %v", left)
	}
	if d := s.Debt(); d != (Debt{}) {
		t.Errorf("debt %+v", d)
	}
}

// While the control plane is away, sessions go on, and all is delivered when it is back.
func TestSpoolWaitsForTheControlPlane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id := identity(t)
		u := &storeUploader{store: &Store{Dir: t.TempDir()}}
		away := true
		u.fail = func(brevet.SessionID, int) error {
			if away {
				return brevet.Errorf(brevet.Unavailable, "the control plane does not answer")
			}
			return nil
		}
		s, err := OpenSpool(t.TempDir(), u)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx) }()

		w := begin(t, onSpool(id, s))
		for range 60 {
			w.Output(Stdout, []byte("still here\n"))
			time.Sleep(time.Second)
		}
		if err := w.Close("exit"); err != nil {
			t.Fatal(err)
		}
		if d := s.Debt(); d.Sessions != 1 || d.Bytes == 0 || time.Since(d.Since) < 59*time.Second {
			t.Errorf("debt %+v", d)
		}
		u.mu.Lock()
		calls := u.calls
		away, u.lost = false, true
		u.mu.Unlock()
		if calls > 12 {
			t.Errorf("%d tries in a minute", calls)
		}
		if err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r := report(t, u.store, testSession, Known{w.Commitment().String(), u.root(t, testSession)}, id); !r.Complete {
			t.Errorf("%+v", r)
		}
		cancel()
		<-done
	})
}

// What the control plane refuses for good is kept and told, and others go on.
func TestSpoolSetsAside(t *testing.T) {
	id := identity(t)
	u := &storeUploader{store: &Store{Dir: t.TempDir()}}
	dir := t.TempDir()
	s := spooling(t, dir, u)

	// Somebody else's chunk stands where this session's belongs.
	forged, _ := recorded(t, id, testSession, "forged")
	if _, _, err := u.store.Put(testSession, 0, unlinked(forged.chunks[:1])); err != nil {
		t.Fatal(err)
	}
	w := begin(t, onSpool(id, s))
	w.Output(Stdout, []byte("true"))
	w.Close("exit")
	c := onSpool(id, s)
	c.session.ID = "ses_01h00000000000000000000007"
	w = begin(t, c)
	w.Close("exit")
	wait(t, s)
	if r := report(t, u.store, c.session.ID, Known{}, id); !r.Complete {
		t.Errorf("the other session: %+v", r)
	}
	if d := s.Debt(); d.Refused != 1 || d.Sessions != 0 {
		t.Errorf("debt %+v", d)
	}
	if _, err := os.Stat(filepath.Join(dir, string(testSession)+refusedSuffix)); err != nil {
		t.Error("what was refused is not kept")
	}
	if again, err := OpenSpool(dir, u); err != nil || again.Debt().Refused != 1 {
		t.Errorf("after a restart: %v", err)
	}
}

// TestAlteredInTheSpool: hands that alter a chunk before it is delivered, sum and all, cannot alter its
// seal. Who opens the recording sees it.
func TestAlteredInTheSpool(t *testing.T) {
	id := identity(t)
	u := &storeUploader{store: &Store{Dir: t.TempDir()}}
	dir := t.TempDir()
	leftover(t, id, dir, 2*ChunkSize)
	path := filepath.Join(dir, string(testSession), fmt.Sprintf("%08d%s", 0, segmentSuffix))
	segment, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	second := segment[recordHeader+binary.BigEndian.Uint32(segment):]
	chunk := second[recordHeader:][:binary.BigEndian.Uint32(second)]
	chunk[len(chunk)-100] ^= 1
	binary.BigEndian.PutUint32(second[4:], recordSum(second[:4], chunk))
	if err := os.WriteFile(path, segment, 0o600); err != nil {
		t.Fatal(err)
	}
	wait(t, spooling(t, dir, u))
	if r := report(t, u.store, testSession, Known{}, id); r.Problem == nil || r.Problem.Fault != Altered || r.Problem.Chunk != 1 {
		t.Errorf("got %v", r.Problem)
	}
}

func TestSpoolOneRecordingASession(t *testing.T) {
	id := identity(t)
	s := spooling(t, t.TempDir(), &storeUploader{store: &Store{Dir: t.TempDir()}})
	w := begin(t, onSpool(id, s))
	defer w.Close("exit")
	c := onSpool(id, s)
	if _, err := c.Begin(t.Context(), c.session, c.terminal); brevet.KindOf(err) != brevet.Conflict {
		t.Errorf("a second Writer for the session: %v", err)
	}
	if _, err := s.Session("ses_../../../../../../etc/cron.d"); err == nil {
		t.Error("a path was taken for a session")
	}
}

// Segments end and are removed while the session goes on.
func TestSpoolSegments(t *testing.T) {
	id := identity(t)
	u := &storeUploader{store: &Store{Dir: t.TempDir()}}
	dir := t.TempDir()
	s := spooling(t, dir, u)
	w := begin(t, onSpool(id, s))
	data := make([]byte, segmentSize/2)
	rand.Read(data)
	for range 5 {
		if err := w.Output(Stdout, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close("exit"); err != nil {
		t.Fatal(err)
	}
	wait(t, s)
	if r := report(t, u.store, testSession, Known{w.Commitment().String(), u.root(t, testSession)}, id); !r.Complete {
		t.Errorf("%+v", r.Problem)
	}
}

// leftover copies what an open recording has on disk so far, as a crash would leave it.
func leftover(t testing.TB, id *seal.Identity, dir string, bytes int) {
	t.Helper()
	s, err := OpenSpool(filepath.Join(t.TempDir(), "live"), &storeUploader{store: &Store{Dir: t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	w := begin(t, onSpool(id, s))
	data := make([]byte, bytes)
	rand.Read(data)
	w.Output(Stdout, data)
	w.mu.Lock()
	w.open.sync = true
	w.cut()
	w.settle()
	w.mu.Unlock()
	if err := os.CopyFS(filepath.Join(dir, string(testSession)), os.DirFS(filepath.Join(s.dir, string(testSession)))); err != nil {
		t.Fatal(err)
	}
	w.Close("exit")
}

func TestSpoolRecovers(t *testing.T) {
	id := identity(t)
	segment := func(dir string) string { return filepath.Join(dir, string(testSession), "00000000"+segmentSuffix) }
	truncate := func(by int64) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			info, err := os.Stat(segment(dir))
			if err != nil {
				t.Fatal(err)
			}
			os.Truncate(segment(dir), info.Size()-by)
		}
	}
	add := func(b []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			f, _ := os.OpenFile(segment(dir), os.O_APPEND|os.O_WRONLY, 0)
			defer f.Close()
			f.Write(b)
		}
	}
	tests := []struct {
		name    string
		crash   func(t *testing.T, dir string)
		chunks  int
		damaged bool
	}{
		{"between two records", func(*testing.T, string) {}, 6, false},
		{"inside a record", truncate(10), 5, false},
		{"inside a header", add([]byte{0, 0, 1}), 6, false},
		{"zeros behind the end", add(make([]byte, 4096)), 6, false},
		{"a length that is a lie", add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}), 6, false},
		{"a record with a wrong sum", add([]byte{0, 0, 0, 1, 0, 0, 0, 0, 'x'}), 6, false},
		{"more garbage than a crash leaves", add(make([]byte, MaxChunk+100)), 6, true},
		{"a record in the middle is bad", func(t *testing.T, dir string) {
			f, _ := os.OpenFile(segment(dir), os.O_RDWR, 0)
			defer f.Close()
			f.WriteAt([]byte("XX"), 300<<10)
		}, 2, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			leftover(t, id, dir, 4*ChunkSize)
			tt.crash(t, dir)
			u := &storeUploader{store: &Store{Dir: t.TempDir()}}
			s := spooling(t, dir, u)
			wait(t, s)
			r := report(t, u.store, testSession, Known{}, id)
			if r.Problem == nil || r.Problem.Fault != Cut || r.Chunks != tt.chunks {
				t.Errorf("report %+v, want %d chunks", r, tt.chunks)
			}
			if why, err := u.store.CutReason(testSession); err != nil || why != reasonStopped {
				t.Errorf("cut for %q, %v", why, err)
			}
			left, _ := os.ReadDir(dir)
			if tt.damaged != (len(left) == 1 && strings.HasSuffix(left[0].Name(), damagedSuffix)) {
				t.Errorf("left in the spool: %v", left)
			}
			// And once more, as if the process had died before it could clear up.
			leftover(t, id, t.TempDir(), 1)
		})
	}
}

// A recording that was whole when the gateway died is not marked cut, even if it died
// between delivering it and clearing up.
func TestSpoolRecoversWhole(t *testing.T) {
	id := identity(t)
	u := &storeUploader{store: &Store{Dir: t.TempDir()}}
	dir := t.TempDir()
	s, err := OpenSpool(dir, u) // nobody runs it
	if err != nil {
		t.Fatal(err)
	}
	w := begin(t, onSpool(id, s))
	w.Output(Stdout, []byte("hello"))
	if err := w.Close("exit"); err != nil {
		t.Fatal(err)
	}
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	os.MkdirAll(filepath.Join(copied, "ses_01h00000000000000000000008"), 0o700)          // died before its first chunk
	os.MkdirAll(filepath.Join(copied, "ses_01h00000000000000000000009.done/xyz"), 0o700) // died while clearing up
	for _, d := range []string{dir, copied} {
		s := spooling(t, d, u)
		wait(t, s)
		if r := report(t, u.store, testSession, Known{}, id); !r.Complete {
			t.Errorf("%+v", r)
		}
		if why, _ := u.store.CutReason(testSession); why != "" {
			t.Errorf("marked cut: %s", why)
		}
		if left, _ := os.ReadDir(d); len(left) != 0 {
			t.Errorf("left in the spool: %v", left)
		}
	}
}

// TestCrash kills a process that records, and looks at what is left of the recording.
func TestCrash(t *testing.T) {
	if dir := os.Getenv("RECORD_CRASH_DIR"); dir != "" {
		crashing(t, dir)
		return
	}
	id := identity(t)
	for _, kill := range []int{1, 2, 3} { // syncs; the first makes the Start durable
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run=^TestCrash$", "-test.v")
		cmd.Env = append(os.Environ(), "RECORD_CRASH_DIR="+dir, "RECORD_CRASH_FOR="+id.Recipient().String())
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The child says what it records and, after each sync, how many lines that made durable.
		recorded, durable, syncs := 0, 0, 0
		for lines := bufio.NewScanner(out); syncs < kill && lines.Scan(); {
			if n, ok := strings.CutPrefix(lines.Text(), "durable "); ok {
				durable, _ = strconv.Atoi(n)
				syncs++
			} else if strings.HasPrefix(lines.Text(), "recorded ") {
				recorded++
			}
		}
		cmd.Process.Signal(syscall.SIGKILL)
		cmd.Wait()

		u := &storeUploader{store: &Store{Dir: t.TempDir()}}
		s := spooling(t, dir, u)
		wait(t, s)
		r := report(t, u.store, testSession, Known{}, id)
		if r.Problem == nil || r.Problem.Fault != Cut || r.Start.Session != testSession {
			t.Fatalf("report %+v", r)
		}
		rec, _ := u.store.Open(testSession)
		got := map[string]bool{}
		for e, err := range Open(rec, testSession, Known{}, id).Events() {
			if err == nil && e.Kind == KindStdout {
				got[string(e.Data)] = true
			}
		}
		for i := range durable {
			if line := fmt.Sprintf("recorded %d\n", i); !got[line] {
				t.Errorf("%q was durable and is lost", line)
			}
		}
		if kill > 1 && (len(got) < 10 || r.Last == 0) {
			t.Errorf("only %d lines, the last %v after the start", len(got), r.Last)
		}
		t.Logf("killed after %d lines, of which %d were known to be durable; %d are left", recorded, durable, len(got))
		if why, _ := u.store.CutReason(testSession); why != reasonStopped {
			t.Errorf("cut for %q", why)
		}
	}
}

func crashing(t *testing.T, dir string) {
	to, err := seal.ParseRecipient(os.Getenv("RECORD_CRASH_FOR"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenSpool(dir, &storeUploader{store: &Store{Dir: t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	told := &tellingSink{}
	r := Recorder{Recipients: []seal.Recipient{to}, Sink: func(id brevet.SessionID) (Sink, error) {
		told.Sink, err = s.Session(id)
		return told, err
	}}
	w, err := r.Begin(t.Context(), brevet.Session{ID: testSession}, Terminal{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1_000 {
		line := fmt.Sprintf("recorded %d\n", i)
		w.Output(Stdout, []byte(line))
		told.recorded(w)
		os.Stdout.WriteString(line)
		<-time.After(20 * time.Millisecond)
	}
}

// tellingSink says on standard output how many lines each sync has made durable.
type tellingSink struct {
	Sink
	mu    sync.Mutex // guards what follows
	lines []int      // of each line the chunk that it is in, or a later one
	put   int        // chunks
}

// recorded notes that one more line was recorded. If its chunk was cut meanwhile it counts for the next.
func (k *tellingSink) recorded(w *Writer) {
	w.mu.Lock()
	open := w.state.Chunks + len(w.queue)
	w.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lines = append(k.lines, open)
}

func (k *tellingSink) Put(ctx context.Context, index uint32, chunk []byte) error {
	err := k.Sink.Put(ctx, index, chunk)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.put = int(index) + 1
	return err
}

func (k *tellingSink) Sync(ctx context.Context) error {
	k.mu.Lock()
	put := k.put
	k.mu.Unlock()
	if err := k.Sink.Sync(ctx); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	durable := 0
	for durable < len(k.lines) && k.lines[durable] < put {
		durable++
	}
	fmt.Printf("durable %d\n", durable)
	return nil
}

// limitFiles lets no file of this process grow beyond size, as a full disk would not, until the
// test ends or the function that it returns is called.
func limitFiles(t *testing.T, size uint64) (lift func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ) // so that the write fails, as on a full disk
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	lift = func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(lift)
	return lift
}

// ending reports whether a recording is still to be closed.
func ending(s *Spool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.open {
		if !d.final {
			return true
		}
	}
	return false
}

// A full disk ends the recording, and what was written before is delivered.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	lift := limitFiles(t, 2<<20)
	id := identity(t)
	u := &storeUploader{store: &Store{Dir: t.TempDir()}}
	away := true
	u.fail = func(brevet.SessionID, int) error {
		if away {
			return errors.New("away")
		}
		return nil
	}
	s := spooling(t, dir, u)
	w := begin(t, onSpool(id, s))
	data := make([]byte, 8<<20)
	rand.Read(data)
	if err := w.Output(Stdout, data); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("8 MiB on a disk of 2: %v", err)
	}
	<-w.Done()
	if err := w.Close("exit"); err == nil {
		t.Error("closed well")
	}
	for ending(s) { // a sync may be on its way
		time.Sleep(time.Millisecond)
	}
	u.mu.Lock()
	away = false
	u.mu.Unlock()
	wait(t, s)
	r := report(t, u.store, testSession, Known{}, id)
	if r.Problem == nil || r.Problem.Fault != Cut || r.Chunks < 5 {
		t.Errorf("report %+v", r)
	}
	if why, _ := u.store.CutReason(testSession); why != reasonFailed {
		t.Errorf("cut for %q", why)
	}
	events, _ := func() ([]Event, error) { rec, _ := u.store.Open(testSession); return collect(t, rec, id) }()
	if got := joined(events, KindStdout); !bytes.HasPrefix(data, []byte(got)) || len(got) < 1<<20 {
		t.Errorf("%d bytes came through", len(got))
	}
	lift() // there is room again
	c := onSpool(id, s)
	c.session.ID = "ses_01h00000000000000000000007"
	if err := begin(t, c).Close("exit"); err != nil {
		t.Error(err)
	}
	wait(t, s)
}

func FuzzSpoolRecord(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 0, 'x'})
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := filepath.Join(t.TempDir(), string(testSession))
		os.Mkdir(dir, 0o700)
		os.WriteFile(filepath.Join(dir, "00000000"+segmentSuffix), b, 0o600)
		d := &delivery{session: testSession, dir: dir, leftover: true}
		for range 3 {
			if _, err := d.read(1 << 30); err != nil {
				t.Fatal(err)
			}
		}
		if d.segment != nil {
			d.segment.Close()
		}
	})
}

// BenchmarkSpool records to disk, beside writing the same bytes to a file of the same disk, synced
// as often, with nothing compressed, sealed or chained.
func BenchmarkSpool(b *testing.B) {
	for _, kind := range []string{"zeros", "random"} {
		data := make([]byte, 256<<10)
		if kind == "random" {
			rand.Read(data)
		}
		b.Run(kind, func(b *testing.B) {
			s, err := OpenSpool(b.TempDir(), nil)
			if err != nil {
				b.Fatal(err)
			}
			w := begin(b, onSpool(identity(b), s))
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if err := w.Output(Stdout, data); err != nil {
					b.Fatal(err)
				}
			}
			if err := w.Close("exit"); err != nil {
				b.Fatal(err)
			}
		})
		b.Run("plain file/"+kind, func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "plain"))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(data)))
			written := 0
			for b.Loop() {
				if _, err := f.Write(data); err != nil {
					b.Fatal(err)
				}
				if written += len(data); written%syncBytes == 0 {
					if err := f.Sync(); err != nil {
						b.Fatal(err)
					}
				}
			}
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
