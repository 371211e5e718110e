package record

import (
	"context"
	"encoding/binary"
	"os"
	"sync"
	"time"

	"github.com/brevet-pim/brevet/seal"
)

// spoolSink writes one recording into the spool.
type spoolSink struct {
	spool *Spool
	to    *delivery

	mu   sync.Mutex // guards what follows
	file *os.File   // nil between two segments
	size int64
	next int // index of the next chunk
	grew growth
}

// Put appends the chunk to the session's segment.
func (k *spoolSink) Put(_ context.Context, index uint32, chunk []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file == nil {
		if err := k.begin(int(index)); err != nil {
			return err
		}
	}
	var header [recordHeader]byte
	binary.BigEndian.PutUint32(header[:], uint32(len(chunk)))
	binary.BigEndian.PutUint32(header[4:], recordSum(header[:4], chunk))
	if _, err := k.file.Write(header[:]); err != nil {
		return err
	}
	if _, err := k.file.Write(chunk); err != nil {
		return err
	}
	size := recordHeader + int64(len(chunk))
	k.size += size
	k.next = int(index) + 1

	k.spool.mu.Lock()
	defer k.spool.mu.Unlock()
	if k.to.waiting == 0 {
		k.to.since = time.Now()
	}
	k.to.waiting += size
	if now := time.Now(); k.grew.chunk(now) {
		k.spool.burst(k.to, now)
	}
	return nil
}

// begin starts a segment at the chunk.
func (k *spoolSink) begin(first int) error {
	f, err := os.OpenFile(k.to.segmentPath(first), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	k.file, k.size = f, 0
	return seal.SyncDir(k.to.dir)
}

// Sync makes durable what was put and lets it be delivered.
func (k *spoolSink) Sync(context.Context) error {
	k.mu.Lock()
	file, size, next := k.file, k.size, k.next
	k.mu.Unlock()
	if file == nil {
		return nil
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if size > segmentSize {
		var err error
		if next, err = k.finish(); err != nil {
			return err
		}
	}
	k.spool.advance(k.to, next)
	return nil
}

// finish ends the segment, with what was put since the Sync before.
func (k *spoolSink) finish() (next int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.file.Sync(); err != nil {
		return 0, err
	}
	err = k.file.Close()
	k.file = nil
	return k.next, err
}

// Close lets the rest be delivered.
func (k *spoolSink) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var err error
	if k.file != nil {
		err = k.file.Close()
		k.file = nil
	}
	k.spool.mu.Lock()
	defer k.spool.mu.Unlock()
	k.to.durable, k.to.final, k.to.reason = k.next, true, reasonFailed
	if k.spool.bursting == k.to {
		k.spool.bursting = nil
		k.spool.changed.Broadcast()
	}
	k.spool.wake(k.to)
	return err
}
