package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// measureStart takes the time from exec to "ready" of a server whose organisation is founded, its
// memory when nobody does anything, and the size of the binary.
func measureStart(ctx context.Context, o options, r *report) error {
	org, err := newOrganisation(ctx, o, o.dir, 1)
	if err != nil {
		return err
	}
	defer org.close()
	org.server.stop()
	var starts, bare times
	for range o.starts {
		began := time.Now()
		if err := org.serve(ctx); err != nil {
			return err
		}
		starts = append(starts, time.Since(began))
		org.server.stop()
		began = time.Now()
		if err := exec.CommandContext(ctx, o.brevet, "version").Run(); err != nil {
			return err
		}
		bare = append(bare, time.Since(began))
	}
	if err := org.serve(ctx); err != nil {
		return err
	}
	time.Sleep(o.rest)
	idle, err := org.server.resident()
	if err != nil {
		return err
	}
	binary, err := os.Stat(o.brevet)
	if err != nil {
		return err
	}
	slowest := starts.at(99)
	r.section("Start and size",
		row{"start to ready", starts.String(), "brevet version, the same binary: " + bare.String(), ratioOf(starts.at(50), bare.at(50)), "< 200ms", slowest < 200*time.Millisecond},
		row{what: "memory when idle (VmRSS)", figure: megabytes(idle), goal: "< 60 MB", met: idle < 60e6},
		row{what: "binary", figure: megabytes(binary.Size()), goal: "< 60 MB", met: binary.Size() < 60e6})
	return nil
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
