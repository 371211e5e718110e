package server

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The collector is given room by what is going on. A relayed SSH packet is an allocation of 32 KiB,
// so who moves much must not collect for each few of them, which costs a fifth of the throughput;
// about once a second is enough. A crowd that logs in allocates slowly and stays: memory that was
// once used in all places for it would be hard to give back.
const (
	smallHeap    = 40 << 20  // bytes that need not be collected below
	leastRoom    = 16 << 20  // bytes between two collections
	mostRoom     = 192 << 20 // the same, of a busy server
	leastPercent = 50        // of what is alive
	mostPercent  = 1000
)

// gcPercent is the collector's percentage when so many bytes are alive and so many were allocated
// in the last second.
func gcPercent(alive, allocated uint64) int {
	room := max(min(allocated, mostRoom), leastRoom, smallHeap-min(alive, smallHeap))
	return int(min(max(room*100/max(alive, 1), leastPercent), mostPercent))
}

const (
	tidyEvery = time.Second
	// quietBytes is what is allocated between two looks when nothing much happens. Sessions that
	// wait for their next keystroke allocate less.
	quietBytes = 1 << 20
	// worthBytes is how much must have been allocated since the last time, to be worth a collection.
	worthBytes = 16 << 20
)

// tidyHeap gives the collector room as it is needed, and returns memory to the system once a busy
// time is over, until ctx ends. Whoever sets GOGC wants it otherwise.
func tidyHeap(ctx context.Context) error {
	if os.Getenv("GOGC") != "" {
		<-ctx.Done() // a part that returns ends the others
		return nil
	}
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	var before, tidied uint64
	for {
		now, alive := heap()
		debug.SetGCPercent(gcPercent(alive, now-before))
		if now-before < quietBytes && now-tidied > worthBytes {
			debug.FreeOSMemory()
			tidied = now
		}
		before = now
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// heap returns how many bytes were ever allocated, and how many the last collection found alive.
func heap() (allocated, alive uint64) {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64(), sample[1].Value.Uint64()
}
