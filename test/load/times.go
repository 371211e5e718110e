package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// times are how long each of many took.
type times []time.Duration

// at returns the percentile, of 100.
func (t times) at(percent int) time.Duration {
	if len(t) == 0 {
		return 0
	}
	slices.Sort(t)
	return t[min(len(t)-1, len(t)*percent/100)]
}

func (t times) String() string {
	return fmt.Sprintf("p50 %s  p99 %s", short(t.at(50)), short(t.at(99)))
}

// short shows three digits or so.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Microsecond:
		return d.Round(10 * time.Nanosecond).String()
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

func ratio(a, b float64) string {
	if b == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", a/b)
}

func ratioOf(a, b time.Duration) string { return ratio(float64(a), float64(b)) }

// measured calls do again and again for so long, and returns how long each call took.
func measured(within time.Duration, do func() error) (times, error) {
	var all times
	for began := time.Now(); time.Since(began) < within; {
		start := time.Now()
		if err := do(); err != nil {
			return nil, err
		}
		all = append(all, time.Since(start))
	}
	return all, nil
}

// fsyncs times writing and syncing a page on the disk of dir.
func fsyncs(dir string, within time.Duration) (times, error) {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	page := make([]byte, 4096)
	return measured(within, func() error {
		if _, err := f.Write(page); err != nil {
			return err
		}
		return f.Sync()
	})
}
