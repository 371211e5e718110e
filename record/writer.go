package record

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/seal"
)

const (
	// flushEvery is how long a recorded byte waits at most before it is sealed and on
	// its way to the sink: what a crash can cost.
	flushEvery = time.Second
	// DefaultWithin is how long a recorded byte may wait to be durable, flushEvery included.
	DefaultWithin = 4 * time.Second

	// maxQueue is how many full chunks wait to be sealed before the relay is held back.
	maxQueue = 3
	// syncBytes is after how much the sink is told to make durable what it has, and
	// maxUnsynced how much there may be before the relay is held back. They keep a disk busy
	// that writes slower than a session, and are small enough that even one of 8 MB/s, which
	// has up to two times maxUnsynced before it, keeps within DefaultWithin.
	syncBytes   = 4 << 20
	maxUnsynced = 12 << 20

	// maxReason is the longest reason of an End, and maxEnd what its frame takes at most.
	maxReason = 1 << 10
	maxEnd    = 16 << 10
)

// Sink takes the sealed chunks of one recording, in order. A Spool's session is one.
type Sink interface {
	// Put takes the next chunk and does not keep the slice. The chunk need not be durable yet.
	Put(ctx context.Context, index uint32, chunk []byte) error
	// Sync makes durable what Put took before. It runs beside later Puts.
	Sync(ctx context.Context) error
	// Close is called once, when no other call runs or will come.
	Close() error
}

// Limits are how many bytes of each stream are recorded; what is beyond passes
// unrecorded, and the recording says so. Zero is no limit.
type Limits struct{ Stdin, Stdout, Stderr int64 }

func (l Limits) of(s Stream) int64 { return [streams]int64{l.Stdin, l.Stdout, l.Stderr}[s] }

// Terminal is the terminal of a session; the zero Terminal is none.
type Terminal struct {
	Term          string // as in TERM
	Columns, Rows int    // characters
}

// Recorder begins recordings: the Writers of one process share its buffers and encoders.
// Its fields are not changed once it is in use.
type Recorder struct {
	Recipients []seal.Recipient // 1 to MaxRecipients: who can open the recordings
	Sink       func(brevet.SessionID) (Sink, error)
	Limits     Limits
	Within     time.Duration // how long a recorded byte may wait to be durable; 0: DefaultWithin

	pools pools
}

// Writer records one session. Its methods may be called from several goroutines; they
// copy what they are given and return at once, unless the sink is slower than the session:
// then they wait, so memory stays bounded. An idle Writer has no goroutine, no running
// timer and no buffer.
//
// When a byte is not durable in time the Writer fails: Done is closed, Err says why, and
// every call returns that. A session that must be recorded ends then.
type Writer struct {
	ctx     context.Context // the session's: ended by failure or Close
	cancel  context.CancelFunc
	sink    Sink
	pools   *pools
	limits  Limits
	within  time.Duration
	started time.Time
	done    chan struct{}

	sealer     *sealer // used by one goroutine at a time: that of work
	commitment Hash    // set before Begin returns

	mu      sync.Mutex // guards what follows
	changed sync.Cond  // anything below changed that somebody may wait for
	open    chunk      // being filled
	queue   []chunk    // to be sealed; the first is being sealed while working
	working bool       // work runs
	syncing bool       // sync runs
	again   bool       // and must run once more
	flush   *time.Timer
	armed   bool        // flush will fire
	late    *time.Timer // looks whether anything waits too long
	watched bool        // late will fire

	unsynced int64       // bytes put since the last sync
	pending  []time.Time // of each chunk put but not durable: when its first byte came

	counts   [streams]Count
	state    brevet.RecordingState
	closed   bool
	released bool // the sink is closed
	err      error
}

// chunk is a chunk before it is sealed.
type chunk struct {
	plain []byte
	began time.Time     // when its first byte came
	last  time.Duration // time of its last event
	sync  bool          // make it durable at once
	end   *End          // to be completed: this is the last chunk
}

// Begin begins the recording of a session and returns once its first chunk, with the
// Start, is durable: nothing may flow before. Ending ctx gives up waiting; a Writer outlives it.
func (r *Recorder) Begin(ctx context.Context, s brevet.Session, t Terminal) (*Writer, error) {
	w, err := r.prepare(ctx, s.ID)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { w.giveUp(context.Cause(ctx)) })
	defer stop()
	if err := w.begin(s, t); err != nil {
		w.giveUp(err)
		return nil, err
	}
	return w, nil
}

func (r *Recorder) prepare(ctx context.Context, session brevet.SessionID) (*Writer, error) {
	if _, err := brevet.ParseSessionID(string(session)); err != nil {
		return nil, err
	}
	sealer, err := newSealer(session, r.Recipients, &r.pools)
	if err != nil {
		return nil, err
	}
	w := &Writer{
		pools: &r.pools, limits: r.Limits, within: r.Within, sealer: sealer,
		started: time.Now(), done: make(chan struct{}),
	}
	if w.within <= 0 {
		w.within = DefaultWithin
	}
	if w.sink, err = r.Sink(session); err != nil {
		return nil, err
	}
	w.changed.L = &w.mu
	w.ctx, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	w.flush = stopped(w.tick)
	w.late = stopped(w.tooLate)
	return w, nil
}

// stopped returns a timer that does not run until it is reset.
func stopped(f func()) *time.Timer {
	t := time.AfterFunc(time.Hour, f)
	t.Stop()
	return t
}

func (w *Writer) begin(s brevet.Session, t Terminal) error {
	start, err := json.Marshal(Start{
		Session: s.ID, Grant: s.Grant, Person: s.Person, Target: s.Target, Login: s.Login, Machine: s.Machine,
		Source: s.Source, Kind: s.Kind, Term: t.Term, Columns: clampSide(t.Columns), Rows: clampSide(t.Rows), At: w.started.UnixMicro(),
	})
	if err != nil {
		return err
	}
	if len(start) > ChunkSize/2 {
		return brevet.Errorf(brevet.Invalid, "the names of a session take %d bytes", len(start))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.record(KindStart, start); err != nil {
		return err
	}
	if err := w.record(KindCommand, []byte(s.Command)); err != nil {
		return err
	}
	w.open.sync = true
	w.cut()
	return w.settle()
}

// Commitment is the hash of the first chunk with its link. Published when the session begins, it
// pins the recording: no other can take its place later.
func (w *Writer) Commitment() Hash { return w.commitment }

// Output records bytes of a stream.
func (w *Writer) Output(s Stream, p []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, cut := w.admit(s, p)
	if err := w.record(s.Kind(), p); err != nil {
		return err
	}
	if cut {
		return w.record(KindMark, fmt.Appendf(nil, "%s beyond %d bytes is not recorded", s, w.limits.of(s)))
	}
	return nil
}

// Resize records a new size of the terminal.
func (w *Writer) Resize(columns, rows int) error {
	data := binary.AppendUvarint(nil, uint64(clampSide(columns)))
	return w.event(KindResize, binary.AppendUvarint(data, uint64(clampSide(rows))))
}

// Env records a variable that the client set.
func (w *Writer) Env(name, value string) error { return w.event(KindEnv, []byte(name+"="+value)) }

// Exit records the status with which the command ended.
func (w *Writer) Exit(status uint32) error {
	return w.event(KindExit, binary.AppendUvarint(nil, uint64(status)))
}

// Signal records the signal that ended the command, as in "TERM".
func (w *Writer) Signal(name string) error { return w.event(KindSignal, []byte(name)) }

// Mark records a sentence of the gateway.
func (w *Writer) Mark(text string) error { return w.event(KindMark, []byte(text)) }

// Done is closed when the Writer fails, and after Close.
func (w *Writer) Done() <-chan struct{} { return w.done }

// Err returns why the Writer failed, or nil.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// State returns how the recording stands: what was handed to the sink, and whether it is
// whole and durable.
func (w *Writer) State() brevet.RecordingState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

// Close writes the End with the reason, waits until all is durable, and closes the sink.
// After a failure it returns that.
func (w *Writer) Close(reason string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.err != nil {
		w.closed = true
		return w.err
	}
	w.closed = true
	w.changed.Broadcast() // whoever waits for room gives up

	if len(w.open.plain) > ChunkSize-maxEnd {
		w.cut()
	}
	w.open.end = &End{
		Reason: reason[:min(len(reason), maxReason)],
		Stdin:  w.counts[Stdin], Stdout: w.counts[Stdout], Stderr: w.counts[Stderr],
	}
	w.open.sync = true
	w.touch()
	w.cut()
	if err := w.settle(); err != nil {
		return err
	}
	w.state.Complete = true
	w.flush.Stop()
	w.release()
	w.cancel()
	close(w.done)
	return nil
}

// event records a small event.
func (w *Writer) event(k Kind, data []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.record(k, data)
}

// admit counts p, returns what of it is within the stream's limit, and reports whether
// that is now passed for the first time.
func (w *Writer) admit(s Stream, p []byte) ([]byte, bool) {
	c := &w.counts[s]
	within := c.Seen == c.Recorded
	c.Seen += int64(len(p))
	if limit := w.limits.of(s); limit > 0 {
		p = p[:min(int64(len(p)), limit-c.Recorded)]
	}
	c.Recorded += int64(len(p))
	return p, within && c.Seen != c.Recorded
}

// record appends one event or, where bytes of a stream do not fit into a chunk, several.
func (w *Writer) record(k Kind, data []byte) error {
	least := len(data)
	if divisible(k) {
		if len(data) == 0 {
			return w.err
		}
		least = 1
	}
	if least > ChunkSize/2 {
		return brevet.Errorf(brevet.Invalid, "a %v event of %d bytes is too long to record", k, len(data))
	}
	for {
		room, err := w.room(least)
		if err != nil {
			return err
		}
		n := min(len(data), room)
		w.append(Event{Kind: k, At: time.Since(w.started), Data: data[:n]})
		if data = data[n:]; len(data) == 0 {
			return nil
		}
	}
}

// divisible reports whether two events of the kind mean the same as one with the bytes of both.
func divisible(k Kind) bool {
	return k == KindStdin || k == KindStdout || k == KindStderr || k == KindCommand
}

// room returns how many bytes of data the open chunk takes, at least as many as asked for,
// and waits for that while the sink is behind.
func (w *Writer) room(least int) (int, error) {
	const reserved = maxFrameHeader + binary.MaxVarintLen64 // a header, and the chunk's own time
	for w.err == nil && !w.closed {
		if n := ChunkSize - reserved - len(w.open.plain); n >= least {
			return n, nil
		}
		if len(w.queue) < maxQueue {
			w.cut()
			continue
		}
		w.changed.Wait()
	}
	if w.err != nil {
		return 0, w.err
	}
	return 0, brevet.Errorf(brevet.Conflict, "the recording is closed")
}

// append puts the event, for which there is room, into the open chunk.
func (w *Writer) append(e Event) {
	w.touch()
	c := &w.open
	if len(c.plain) == 0 {
		c.last = e.At
		c.plain = binary.AppendUvarint(w.pools.grow(c.plain, 64), uint64(e.At))
	}
	c.plain = appendFrame(w.pools.grow(c.plain, maxFrameHeader+len(e.Data)), e, c.last)
	c.last = e.At
}

// touch starts the clocks of the open chunk.
func (w *Writer) touch() {
	if w.open.began.IsZero() {
		w.open.began = time.Now()
	}
	if !w.armed {
		w.armed = true
		w.flush.Reset(flushEvery)
	}
	if !w.watched {
		w.watched = true
		w.late.Reset(w.within)
	}
}

// tick runs flushEvery after the first byte that no sync covers yet.
func (w *Writer) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = false
	switch {
	case w.err != nil || w.closed:
	case len(w.open.plain) > 0:
		w.open.sync = true
		w.cut()
	case len(w.queue) > 0:
		w.queue[len(w.queue)-1].sync = true
	case w.unsynced > 0:
		w.startSync()
	}
}

// cut hands the open chunk over to be sealed.
func (w *Writer) cut() {
	w.queue = append(w.queue, w.open)
	w.open = chunk{}
	if !w.working {
		w.working = true
		go w.work()
	}
}

// work seals what is queued and ends when nothing is.
func (w *Writer) work() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 && w.err == nil {
		if w.unsynced > maxUnsynced {
			w.changed.Wait()
			continue
		}
		c := w.queue[0] // it stays there while it is sealed, so that its age is seen
		w.mu.Unlock()
		size, err := w.put(c)
		w.mu.Lock()
		if err != nil {
			w.fail(err)
		}
		if w.err != nil {
			break
		}
		sync := w.queue[0].sync // the tick may have asked for it meanwhile
		w.queue = w.queue[1:]
		w.unsynced += int64(size)
		w.pending = append(w.pending, c.began)
		w.state.Chunks++
		w.state.Bytes += int64(size)
		if sync || w.unsynced > syncBytes {
			w.startSync()
		}
		w.changed.Broadcast()
	}
	if len(w.queue) == 0 {
		w.queue = nil
	}
	w.working = false
	w.releaseFailed()
	w.changed.Broadcast()
}

// put seals one chunk and gives it to the sink. It runs without the lock.
func (w *Writer) put(c chunk) (size int, err error) {
	if c.end != nil {
		if c.plain, err = w.appendEnd(c); err != nil {
			return 0, err
		}
	}
	index := w.sealer.index
	buf := w.pools.grow(nil, headLen+len(c.plain)+gcmTag)
	sealed := w.sealer.seal(buf, c.plain, c.end != nil)
	if index == 0 {
		_, w.commitment = link(seed(w.sealer.session), sealed)
	}
	err = w.sink.Put(w.ctx, index, sealed)
	w.pools.recycle(c.plain)
	w.pools.recycle(buf)
	return len(sealed), err
}

// appendEnd adds the End, which only now is known: every other chunk is sealed.
func (w *Writer) appendEnd(c chunk) ([]byte, error) {
	data, err := json.Marshal(w.sealer.end(*c.end))
	if err != nil {
		return nil, err
	}
	e := Event{Kind: KindEnd, At: time.Since(w.started), Data: data}
	if len(c.plain) == 0 {
		c.last = e.At
		c.plain = binary.AppendUvarint(nil, uint64(e.At))
	}
	return appendFrame(c.plain, e, c.last), nil
}

func (w *Writer) startSync() {
	if w.syncing {
		w.again = true
		return
	}
	w.syncing = true
	go w.sync()
}

// sync makes durable what was put, once more if that was asked for meanwhile.
func (w *Writer) sync() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for more := true; more && w.err == nil; more = w.again {
		w.again = false
		chunks, bytes := len(w.pending), w.unsynced
		w.mu.Unlock()
		err := w.sink.Sync(w.ctx)
		w.mu.Lock()
		if err != nil {
			w.fail(err)
			break
		}
		w.pending = w.pending[chunks:]
		w.unsynced -= bytes
		if w.oldest().IsZero() {
			w.pending = nil
			w.watched = false
			w.late.Stop()
		}
		w.changed.Broadcast()
	}
	w.syncing = false
	w.releaseFailed()
	w.changed.Broadcast()
}

// oldest returns when the first byte came that is not durable, or the zero time.
func (w *Writer) oldest() time.Time {
	switch {
	case len(w.pending) > 0:
		return w.pending[0]
	case len(w.queue) > 0:
		return w.queue[0].began
	}
	return w.open.began
}

// tooLate fails the Writer if something waits for longer than it may, and looks again
// when the next could.
func (w *Writer) tooLate() {
	w.mu.Lock()
	defer w.mu.Unlock()
	oldest := w.oldest()
	if w.err != nil || oldest.IsZero() {
		w.watched = false
		return
	}
	if left := w.within - time.Since(oldest); left > 0 {
		w.late.Reset(left)
		return
	}
	w.fail(fmt.Errorf("not durable after %v", w.within))
}

// settle waits until all that was cut is durable, or the Writer fails.
func (w *Writer) settle() error {
	for w.err == nil && (len(w.queue) > 0 || len(w.pending) > 0 || w.working || w.syncing) {
		w.changed.Wait()
	}
	return w.err
}

func (w *Writer) giveUp(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail(cause)
}

// fail ends the recording for good. The chunks in work are not waited for: a disk that
// hangs must not hold up the end of the session.
func (w *Writer) fail(cause error) {
	if w.err != nil || w.state.Complete {
		return
	}
	w.err = brevet.Errorf(brevet.Unavailable, "the recording cannot be written").Because(cause).
		WithHint("look at the gateway's disk: brevet doctor")
	w.queue, w.open = nil, chunk{}
	w.flush.Stop()
	w.late.Stop()
	w.cancel()
	close(w.done)
	w.releaseFailed()
	w.changed.Broadcast()
}

// releaseFailed closes the sink after a failure, once nobody uses it.
func (w *Writer) releaseFailed() {
	if w.err != nil && !w.working && !w.syncing {
		w.release()
	}
}

// release closes the sink, whose last Sync has succeeded or whose failure is told already.
// It lets go of the lock meanwhile: a hanging disk must not keep Err from answering.
func (w *Writer) release() {
	if w.released {
		return
	}
	w.released = true
	w.mu.Unlock()
	w.sink.Close()
	w.mu.Lock()
}

func clampSide(n int) int { return max(0, min(n, MaxSide)) }
