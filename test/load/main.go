// Command load measures Brevet on this machine against its goals, each figure beside what it is to be
// compared with, taken in the same run: the direct path, or the bare peer of the same work. It drives
// the built binary over TLS and SSH where a person would, and asserts nothing but that the work was
// done: a request that was not granted, or a recording that lacks a byte, is a failure.
//
// make load runs all of it; docs/reference/performance.md quotes a run. It writes to standard output
// and to a temporary folder, which it removes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are how a run is to be.
type options struct {
	brevet  string // the binary
	dir     string // for everything that the run makes, on the disk that is to be measured
	only    []string
	profile string // file for a CPU profile of the control plane in this process
	size
}

// size is how much of each is done.
type size struct {
	decisions int
	asking    time.Duration // for each way to ask
	settling  time.Duration // until a server has looked at everything after the last change of its roster
	signing   time.Duration
	bulk      int64 // bytes of zeros; half as many of random data
	rounds    int   // of each way, in turn
	logins    int
	keys      int
	sessions  int
	events    int64
	starts    int
	rest      time.Duration // before the memory of a server is read
}

var (
	whole = size{
		decisions: 200_000, asking: 5 * time.Second, settling: 8 * time.Second, signing: time.Second, bulk: 1 << 30, rounds: 5, logins: 15,
		keys: 2000, sessions: 500, events: 1_000_000, starts: 5, rest: 15 * time.Second,
	}
	quick = size{
		decisions: 5000, asking: 300 * time.Millisecond, signing: 100 * time.Millisecond, bulk: 16 << 20, rounds: 1, logins: 2,
		keys: 50, sessions: 20, events: 5000, starts: 1, rest: time.Second,
	}
)

// gcPercent is that of the server (package server), for what runs in this process instead.
const gcPercent = 400

// section is one part of a run.
type section struct {
	name string
	run  func(context.Context, options, *report) error
}

var sections = []section{
	{"policy", measurePolicy},
	{"signing", measureSigning},
	{"credential", measureCredential},
	{"start", measureStart},
	{"ssh", measureSSH},
	{"log", measureLog},
}

func main() {
	o := options{size: whole}
	only := flag.String("only", "", "these sections alone, as in policy,ssh: "+strings.Join(names(), ", "))
	small := flag.Bool("quick", false, "a little of each, to see that it works; the figures mean nothing")
	flag.StringVar(&o.brevet, "brevet", "bin/brevet", "the binary to measure")
	flag.StringVar(&o.dir, "dir", "", "make the run's folder in this one, whose disk is measured (default: the system's)")
	flag.StringVar(&o.profile, "profile", "", "write a CPU profile of the requests that are decided in this process to this file")
	flag.Parse()
	if *small {
		o.size = quick
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func names() []string {
	var list []string
	for _, s := range sections {
		list = append(list, s.name)
	}
	return list
}

// run measures the sections that are wanted, in order.
func run(ctx context.Context, o options, out io.Writer) (err error) {
	for _, name := range o.only {
		if !slices.Contains(names(), name) {
			return fmt.Errorf("there is no section %q; there are %s", name, strings.Join(names(), ", "))
		}
	}
	if o.brevet, err = filepath.Abs(o.brevet); err != nil {
		return err
	}
	if o.dir, err = os.MkdirTemp(o.dir, "brevet-load-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	if err := os.Chmod(o.dir, 0o755); err != nil { // sshd reads below it as whoever logs in
		return err
	}
	debug.SetGCPercent(gcPercent)
	r := newReport(out)
	r.machine(ctx, o)
	for _, s := range sections {
		if len(o.only) > 0 && !slices.Contains(o.only, s.name) {
			continue
		}
		if err := s.run(ctx, o, r); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	r.verdict()
	return nil
}

func startProfile(file string) (stop func(), err error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}, nil
}
