package store_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/store"
	"github.com/brevet-pim/brevet/test/storetest"
	"github.com/brevet-pim/brevet/test/testenv"
)

// BenchmarkChange makes changes as small as those of a request (one row, one job, one
// event) with so many callers at once. Besides the rate it reports how many changes shared a
// commit, the time that 99 of 100 changes took, and the share of the time that so many
// fsyncs of a page take on this disk by themselves, which is an estimate.
func BenchmarkChange(b *testing.B) {
	for _, kind := range []string{"sqlite", "postgres"} {
		for _, callers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", kind, callers), func(b *testing.B) {
				database := filepath.Join(b.TempDir(), "brevet.db")
				if kind == "postgres" {
					database = testenv.Postgres(b)
				}
				benchmarkChange(b, storetest.Open(b, database), callers)
			})
		}
	}
}

func benchmarkChange(b *testing.B, s *store.Store, callers int) {
	fsync := fsyncTime(b)
	var next atomic.Int64
	var mu sync.Mutex
	commits := map[int64]bool{} // by the size of the log
	took := make([]time.Duration, 0, b.N)
	b.ResetTimer()
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(b.N) {
					return
				}
				began := time.Now()
				c, err := s.Change(b.Context(), func(tx *store.Tx) ([]brevet.Event, error) {
					name := fmt.Sprint(n)
					if err := tx.AddToken(token(name)); err != nil {
						return nil, err
					}
					return []brevet.Event{happened(name)}, tx.Enqueue("advance", name, day)
				})
				if err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				commits[c.Size] = true
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	all.Wait()
	b.StopTimer()
	elapsed := b.Elapsed()
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/elapsed.Seconds(), "changes/s")
	b.ReportMetric(float64(b.N)/float64(len(commits)), "changes/commit")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(100*float64(fsync)*float64(len(commits))/float64(elapsed), "%fsync")
}

// fsyncTime returns the median time of writing and syncing a page on the disk of the
// temporary folder.
func fsyncTime(b *testing.B) time.Duration {
	f, err := os.Create(filepath.Join(b.TempDir(), "fsync"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	times := make([]time.Duration, 101)
	for i := range times {
		began := time.Now()
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		times[i] = time.Since(began)
	}
	slices.Sort(times)
	return times[len(times)/2]
}

var benchmarkEvents = flag.Int64("events", 100_000, "how many events the log of BenchmarkLog has")

// BenchmarkLog measures a log of -events: appending by batches of 500, verifying all of it,
// and proofs. A million (-events 1000000 -benchtime 1x) is what docs/reference/performance.md reports.
func BenchmarkLog(b *testing.B) {
	for _, kind := range []string{"sqlite", "postgres"} {
		b.Run(kind, func(b *testing.B) {
			database := filepath.Join(b.TempDir(), "brevet.db")
			if kind == "postgres" {
				database = testenv.Postgres(b)
			}
			s := storetest.Open(b, database)
			began := time.Now()
			for s.Size() < *benchmarkEvents {
				batch := make([]brevet.Event, 500)
				for i := range batch {
					batch[i] = happened("m")
					batch[i].At = day.Add(time.Duration(s.Size()+int64(i)) * time.Millisecond) // ids sort by time
				}
				add(b, s, batch...)
			}
			appended := time.Since(began)
			b.Run("verify", func(b *testing.B) {
				for b.Loop() {
					holds(b, s, nil)
				}
				b.ReportMetric(float64(s.Size())/appended.Seconds(), "appended/s")
				b.ReportMetric(float64(s.Size())*float64(b.N)/b.Elapsed().Seconds(), "verified/s")
			})
			b.Run("prove", func(b *testing.B) {
				q, size := s.Query(b.Context()), s.Size()
				c, err := audit.Open(newest(b, s), storetest.Origin, storetest.Signer(b).Public())
				if err != nil {
					b.Fatal(err)
				}
				hashes := 0
				for n := int64(0); b.Loop(); n = (n + 7919) % size {
					proof, err := q.Inclusion(size, n)
					if err != nil {
						b.Fatal(err)
					}
					e, err := q.Entry(n)
					if err != nil {
						b.Fatal(err)
					}
					if err := audit.VerifyInclusion(c, n, e.Leaf(), proof); err != nil {
						b.Fatal(err)
					}
					hashes = max(hashes, len(proof))
				}
				b.ReportMetric(float64(hashes*32), "proof-bytes")
			})
		})
	}
}

func newest(b *testing.B, s *store.Store) []byte {
	b.Helper()
	signed, _, err := s.Query(b.Context()).Checkpoint()
	if err != nil {
		b.Fatal(err)
	}
	return signed
}
