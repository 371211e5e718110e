package server

import (
	"runtime"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

// TestMemoryIsGivenBack looks at the heap after a busy time.
func TestMemoryIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer debug.SetGCPercent(debug.SetGCPercent(100))
		go tidyHeap(t.Context())
		var busy [][]byte
		for range 64 {
			busy = append(busy, make([]byte, 1<<20))
		}
		runtime.KeepAlive(busy)
		busy = nil
		before := held()
		time.Sleep(3 * tidyEvery)
		synctest.Wait()
		if after := held(); after+32<<20 > before {
			t.Errorf("%d MB are held, %d MB before", after>>20, before>>20)
		}
	})
}

func TestGCPercent(t *testing.T) {
	for _, tt := range []struct {
		name             string
		alive, allocated uint64
		want             int
	}{
		{"nothing yet", 0, 0, 1000},
		{"idle", 8 << 20, 0, 400},
		{"one who moves much", 8 << 20, 300 << 20, 1000},
		{"a crowd logs in", 32 << 20, 10 << 20, 50},
		{"one of a crowd moves much", 32 << 20, 300 << 20, 600},
		{"very much is alive", 1 << 30, 1 << 20, 50},
	} {
		if got := gcPercent(tt.alive, tt.allocated); got != tt.want {
			t.Errorf("%s: %d %%, want %d %%", tt.name, got, tt.want)
		}
	}
}

// held is the heap that the system has given and not been given back.
func held() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapSys - m.HeapReleased
}
