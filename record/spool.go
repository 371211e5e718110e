package record

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/seal"
)

// A Spool's directory has one directory for each recording that is not wholly delivered,
// named after its session. In it stand segments, named after their first chunk: append-only
// files of records
//
//	length (4) | CRC-32C of length and chunk (4) | chunk
//
// A record that is cut or whose sum is wrong ends the recording: a crash tears at most the
// last one. The sum finds accidents only; against hands the chunk's own seal and chain stand.
const (
	segmentSuffix = ".spool"
	segmentSize   = 64 << 20 // a segment is finished at the first Sync beyond
	recordHeader  = 8

	// What is set aside is no longer delivered; doneSuffix marks what only must be removed.
	refusedSuffix = ".refused"
	damagedSuffix = ".damaged"
	doneSuffix    = ".done"
)

// How a Spool delivers: so many recordings at once, so many bytes and chunks in a call,
// and after a failure not before so long.
const (
	deliverers    = 4
	batchBytes    = 3 << 20 // with one chunk more it must be a message that the API takes
	batchChunks   = 64
	firstBackoff  = 500 * time.Millisecond
	longestPause  = 30 * time.Second
	reasonStopped = "the gateway stopped while it recorded"
	reasonFailed  = "the gateway could not write on"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Uploader takes a recording to where it is kept. Both calls may be repeated with the same
// arguments. An error of kind Conflict or Invalid is final; after any other the Spool tries
// again, for as long as it takes.
type Uploader interface {
	// Put delivers chunks, the first of which has the given index. Chunks of one session
	// come in order and one call at a time. Put does not keep the slices.
	Put(ctx context.Context, session brevet.SessionID, first int, chunks [][]byte) error
	// Cut says that nothing comes after so many chunks, though the recording has no end.
	Cut(ctx context.Context, session brevet.SessionID, chunks int, reason string) error
}

// Spool keeps sealed chunks on the gateway's disk until they are delivered: while the
// control plane is away, and over a crash. One process uses a Spool's directory.
type Spool struct {
	// Log is told of recordings that wait, are refused or are damaged; nil: slog.Default(). It is
	// set before Run.
	Log *slog.Logger

	dir string
	to  Uploader

	mu      sync.Mutex // guards what follows, and the marked fields of deliveries
	changed sync.Cond
	open    map[brevet.SessionID]*delivery
	ready   []*delivery // something to do, nobody does it
	stopped bool
	refused int // set aside

	bursting  *delivery // moves much, or did so last; nil: none
	burstSeen time.Time
	looking   bool // for what is held, soon
}

// delivery is one recording on its way.
type delivery struct {
	session  brevet.SessionID
	dir      string
	leftover bool // of an earlier process: how many chunks there are, only reading tells

	// Guarded by Spool.mu.
	durable int    // chunks before this index may be delivered
	final   bool   // no more will come
	reason  string // why, if there is no last chunk
	active  bool   // in ready, being delivered, or waiting to be tried again
	backoff time.Duration
	waiting int64     // bytes not delivered
	since   time.Time // nothing was delivered since, though something waits
	next    int       // chunks before this index are delivered; set only by the one that delivers

	heldSince time.Time // it waits for a lull, or is late for having waited; zero: it does not

	// Used only by the one that delivers.
	segment *os.File
	first   int // chunk of the segment
	offset  int64
	whole   bool // the last chunk is delivered
	torn    bool // more is behind the end than a crash leaves
}

// Debt is what a Spool still has to deliver.
type Debt struct {
	Sessions int
	Bytes    int64
	Since    time.Time // the longest that something waits without any progress; zero: nothing waits
	Refused  int       // recordings set aside, since the control plane refuses them
}

// OpenSpool opens the directory, makes it if need be, and finds what an earlier process
// left. Run delivers.
func OpenSpool(dir string, to Uploader) (*Spool, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	s := &Spool{dir: dir, to: to, open: map[brevet.SessionID]*delivery{}}
	s.changed.L = &s.mu
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if err := s.recover(e.Name()); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// recover takes up what an earlier process left under the name.
func (s *Spool) recover(name string) error {
	path := filepath.Join(s.dir, name)
	switch filepath.Ext(name) {
	case doneSuffix:
		return os.RemoveAll(path)
	case refusedSuffix, damagedSuffix:
		s.refused++
		return nil
	}
	session, err := brevet.ParseSessionID(name)
	if err != nil {
		return nil // not ours
	}
	segments, size, err := segmentsIn(path)
	if err != nil {
		return err
	}
	if len(segments) == 0 {
		return os.Remove(path) // it stopped before the first chunk, so before the session
	}
	d := &delivery{
		session: session, dir: path, next: segments[0], leftover: true,
		durable: math.MaxInt, final: true, reason: reasonStopped, waiting: size, since: time.Now(),
	}
	s.open[session] = d
	s.wake(d)
	return nil
}

// Session begins the spool of a new recording, to be the Sink of its Writer.
func (s *Spool) Session(id brevet.SessionID) (Sink, error) {
	if _, err := brevet.ParseSessionID(string(id)); err != nil {
		return nil, err
	}
	d := &delivery{session: id, dir: filepath.Join(s.dir, string(id))}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, brevet.Errorf(brevet.Conflict, "%s is recorded already", id)
		}
		return nil, brevet.Errorf(brevet.Unavailable, "the recording cannot be written").Because(err)
	}
	if err := seal.SyncDir(s.dir); err != nil {
		return nil, brevet.Errorf(brevet.Unavailable, "the recording cannot be written").Because(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[id] = d
	return &spoolSink{spool: s, to: d}, nil
}

// Debt returns what is not delivered.
func (s *Spool) Debt() Debt {
	s.mu.Lock()
	defer s.mu.Unlock()
	debt := Debt{Refused: s.refused}
	for _, d := range s.open {
		if d.waiting == 0 {
			continue
		}
		debt.Sessions++
		debt.Bytes += d.waiting
		if debt.Since.IsZero() || d.since.Before(debt.Since) {
			debt.Since = d.since
		}
	}
	return debt
}

// Wait returns once every recording that is closed is delivered or set aside, or ctx ends.
func (s *Spool) Wait(ctx context.Context) error {
	defer context.AfterFunc(ctx, s.broadcast)()
	s.mu.Lock()
	defer s.mu.Unlock()
	for ctx.Err() == nil {
		left := 0
		for _, d := range s.open {
			if d.final {
				left++
			}
		}
		if left == 0 {
			return nil
		}
		s.changed.Wait()
	}
	return ctx.Err()
}

// Run delivers until ctx ends. What is not delivered then stays for the next process.
func (s *Spool) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stopped = true
		s.changed.Broadcast()
	})
	defer stop()
	var all sync.WaitGroup
	for range deliverers {
		all.Go(func() {
			for d := s.take(); d != nil; d = s.take() {
				s.serve(ctx, d)
			}
		})
	}
	all.Wait()
	return ctx.Err()
}

func (s *Spool) log() *slog.Logger {
	if s.Log == nil {
		return slog.Default()
	}
	return s.Log
}

// take returns the next delivery that there is something to do for, or nil in the end.
func (s *Spool) take() *delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.stopped {
		if i := slices.IndexFunc(s.ready, func(d *delivery) bool { return !s.held(d) }); i >= 0 {
			d := s.ready[i]
			s.ready = slices.Delete(s.ready, i, i+1)
			return d
		}
		if len(s.ready) > 0 {
			s.lookAgain()
		}
		s.changed.Wait()
	}
	return nil
}

// wake makes somebody deliver. The caller holds the lock, or nobody else has the Spool yet.
func (s *Spool) wake(d *delivery) {
	if !d.active {
		d.active = true
		s.ready = append(s.ready, d)
		s.changed.Broadcast()
	}
}

func (s *Spool) broadcast() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed.Broadcast()
}

// serve delivers what there is of one recording and decides how it goes on.
func (s *Spool) serve(ctx context.Context, d *delivery) {
	ended, err := s.deliver(ctx, d)
	switch {
	case err == nil && !ended:
		s.rest(d)
		return
	case err == nil && d.torn:
		s.log().ErrorContext(ctx, "recording is damaged in the spool", "session", d.session, "chunks", d.next, "kept", d.dir+damagedSuffix)
		s.discard(ctx, d, damagedSuffix)
	case err == nil:
		s.discard(ctx, d, doneSuffix)
	case brevet.KindOf(err) == brevet.Conflict || brevet.KindOf(err) == brevet.Invalid:
		s.log().ErrorContext(ctx, "recording is refused", "session", d.session, "chunk", d.next, "error", err, "kept", d.dir+refusedSuffix)
		s.discard(ctx, d, refusedSuffix)
	default:
		if ctx.Err() == nil {
			s.log().WarnContext(ctx, "recording waits", "session", d.session, "chunk", d.next, "error", err)
		}
		s.retryLater(d)
	}
}

// rest leaves a delivery until there is more, which may have come already.
func (s *Spool) rest(d *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.active = false
	if d.next < d.durable || d.final {
		s.wake(d)
		return
	}
	d.heldSince = time.Time{}
}

func (s *Spool) retryLater(d *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.backoff = min(max(2*d.backoff, firstBackoff), longestPause)
	time.AfterFunc(d.backoff, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		d.active = false
		s.wake(d)
	})
}

// discard ends a delivery. The directory gets its new name first, so that a crash while
// it is removed does not leave a recording without its end.
func (s *Spool) discard(ctx context.Context, d *delivery, suffix string) {
	if d.segment != nil {
		d.segment.Close()
	}
	err := os.Rename(d.dir, d.dir+suffix)
	if err == nil {
		err = seal.SyncDir(s.dir)
	}
	if err == nil && suffix == doneSuffix {
		err = os.RemoveAll(d.dir + suffix)
	}
	if err != nil {
		s.log().ErrorContext(ctx, "spool directory cannot be cleared", "session", d.session, "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, d.session)
	if suffix != doneSuffix {
		s.refused++
	}
	s.changed.Broadcast()
}

// deliver delivers all that may be, unless that must wait for a lull, and reports whether that was
// all that will ever come.
func (s *Spool) deliver(ctx context.Context, d *delivery) (ended bool, err error) {
	for {
		s.mu.Lock()
		until, final, reason, held := d.durable, d.final, d.reason, s.held(d)
		s.mu.Unlock()
		if held {
			return false, nil
		}
		chunks, err := d.read(until)
		if err != nil {
			return false, err
		}
		if len(chunks) > 0 {
			if err := s.to.Put(ctx, d.session, d.next, chunks); err != nil {
				d.rewind(chunks)
				return false, err
			}
			s.delivered(d, chunks)
			continue
		}
		if !d.leftover && d.next < until {
			if !final {
				return false, fmt.Errorf("chunk %d of %s is not in the spool", d.next, d.session)
			}
			d.torn = true
		}
		if !final {
			return false, nil
		}
		if !d.whole && d.next > 0 {
			return true, s.to.Cut(ctx, d.session, d.next, reason)
		}
		return true, nil
	}
}

func (s *Spool) delivered(d *delivery, chunks [][]byte) {
	size := int64(0)
	for _, c := range chunks {
		size += recordHeader + int64(len(c))
	}
	if h, _, err := parseHead(chunks[len(chunks)-1]); err == nil {
		d.whole = h.last
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.next += len(chunks)
	d.backoff = 0
	d.since = time.Now()
	d.waiting = max(0, d.waiting-size)
}

// read returns the chunks that come next, before the index, of one segment and at most
// a batch. None means that there are no more.
func (d *delivery) read(until int) (chunks [][]byte, err error) {
	size := 0
	for d.next+len(chunks) < until && len(chunks) < batchChunks && size < batchBytes {
		if d.segment == nil {
			if found, err := d.enter(); err != nil || !found {
				return chunks, err
			}
		}
		chunk, left, err := readRecord(d.segment, d.offset)
		if err != nil {
			return nil, err
		}
		if chunk == nil {
			// The end of this segment, or of everything.
			if len(chunks) > 0 {
				break
			}
			if more, err := d.leave(left); err != nil || !more {
				return nil, err
			}
			continue
		}
		chunks = append(chunks, chunk)
		d.offset += recordHeader + int64(len(chunk))
		size += len(chunk)
	}
	return chunks, nil
}

// enter opens the segment of the next chunk.
func (d *delivery) enter() (found bool, err error) {
	d.segment, err = os.Open(d.segmentPath(d.next))
	if errors.Is(err, fs.ErrNotExist) {
		d.segment = nil
		return false, nil
	}
	d.first, d.offset = d.next, 0
	return err == nil, err
}

// leave removes the segment, of which everything is delivered, if the next one follows.
// Where the recording ends instead, it tells from what is left over whether a crash can
// have torn it so.
func (d *delivery) leave(left int64) (more bool, err error) {
	segments, _, err := segmentsIn(d.dir)
	if err != nil {
		return false, err
	}
	later := slices.DeleteFunc(segments, func(first int) bool { return first <= d.first })
	if left > 0 || !slices.Contains(later, d.next) {
		d.torn = len(later) > 0 || left > recordHeader+int64(MaxChunk)
		return false, nil
	}
	old := d.segment.Name()
	d.segment.Close()
	d.segment = nil
	return true, os.Remove(old)
}

// rewind goes back before chunks that were read and not delivered.
func (d *delivery) rewind(chunks [][]byte) {
	for _, c := range chunks {
		d.offset -= recordHeader + int64(len(c))
	}
}

func (d *delivery) segmentPath(first int) string {
	return filepath.Join(d.dir, fmt.Sprintf("%08d%s", first, segmentSuffix))
}

// segmentsIn lists the segments of a directory by their first chunk, and their size in all.
func segmentsIn(dir string) (firsts []int, size int64, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		first, bad := strconv.Atoi(digits)
		if !ok || bad != nil || first < 0 {
			continue
		}
		if info, err := e.Info(); err == nil {
			size += info.Size()
		}
		firsts = append(firsts, first)
	}
	slices.Sort(firsts)
	return firsts, size, err
}

// readRecord returns the chunk at the offset, or nil and how many bytes are left there if
// they are not a record.
func readRecord(f *os.File, offset int64) (chunk []byte, left int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	left = info.Size() - offset
	var header [recordHeader]byte
	if left < recordHeader {
		return nil, left, nil
	}
	if _, err := f.ReadAt(header[:], offset); err != nil {
		return nil, left, notEOF(err)
	}
	n := int64(binary.BigEndian.Uint32(header[:]))
	if n == 0 || n > int64(MaxChunk) || n > left-recordHeader {
		return nil, left, nil
	}
	chunk = make([]byte, n)
	if _, err := f.ReadAt(chunk, offset+recordHeader); err != nil && !errors.Is(err, io.EOF) {
		return nil, left, err
	}
	if recordSum(header[:4], chunk) != binary.BigEndian.Uint32(header[4:]) {
		return nil, left, nil
	}
	return chunk, left, nil
}

func recordSum(length, chunk []byte) uint32 {
	return crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, chunk)
}

func (s *Spool) advance(d *delivery, durable int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.durable = durable
	s.wake(d)
}
