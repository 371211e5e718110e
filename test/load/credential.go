package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/statement"
)

// clients is how many ask at a time, each a person with a connection of their own.
const clients = 8

// memoryDisk is a file system on which to sync is free: what a run there saves is what the disk takes.
const memoryDisk = "/dev/shm"

// measureCredential takes the time from a signed request to a live grant with its certificate, when
// nobody need agree: over the API of a server process, and without API in this one.
func measureCredential(ctx context.Context, o options, r *report) error {
	syncs, err := fsyncs(o.dir, o.asking/4)
	if err != nil {
		return err
	}
	disk, err := askServer(ctx, o, o.dir)
	if err != nil {
		return err
	}
	inside, err := askSpine(ctx, o, o.dir)
	if err != nil {
		return err
	}
	p99 := disk.took.at(99)
	rows := []row{
		{"over the API, on disk", disk.String(), "a call that only reads who asks: " + disk.floor.String(), ratio(disk.rate(), disk.floor.rate()),
			"> 1,500/s", disk.rate() > 1500},
		{what: "its p99", figure: short(p99), goal: "p99 < 30ms", met: p99 < 30*time.Millisecond},
		{what: "server's CPU", figure: fmt.Sprintf("%.2f s per 1,000", disk.cpu.Seconds()/float64(len(disk.took))*1000)},
		{what: "in process (Spine.Ask), on disk", figure: inside.String(), beside: "over the API: " + disk.String(), ratio: ratio(inside.rate(), disk.rate())},
		{what: "one client, over the API", figure: disk.alone.String(), beside: "one fsync of this disk: " + syncs.String(), ratio: ratioOf(disk.alone.took.at(50), syncs.at(50))},
	}
	if _, err := os.Stat(memoryDisk); err == nil {
		memory, err := askServer(ctx, o, memoryDisk)
		if err != nil {
			return err
		}
		share := 1 - disk.rate()/memory.rate()
		rows = append(rows, row{what: "over the API, in memory (no fsync)", figure: memory.String(), beside: "on disk: " + disk.String(), ratio: ratio(memory.rate(), disk.rate())},
			row{what: "share of the time in fsync", figure: fmt.Sprintf("%.0f %%", 100*max(0, share)), beside: "what the disk costs against memory"})
	}
	r.section(fmt.Sprintf("Request to credential, nobody need agree, durable on SQLite, %d clients", clients), rows...)
	return nil
}

// asked is what so many calls came to.
type asked struct {
	took    times
	elapsed time.Duration
	cpu     time.Duration // of the server
	floor   *asked        // the same by calls that do next to nothing
	alone   *asked        // the same by one client
}

func (a *asked) rate() float64 {
	if a == nil || a.elapsed == 0 {
		return 0
	}
	return float64(len(a.took)) / a.elapsed.Seconds()
}

func (a *asked) String() string { return fmt.Sprintf("%.0f/s  %s", a.rate(), a.took) }

// askServer asks a server process whose data is below dir.
func askServer(ctx context.Context, o options, dir string) (*asked, error) {
	org, err := newOrganisation(ctx, o, dir, clients)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(org.dir)
	defer org.close()
	people := make([]*caller, clients)
	terms := make([]statement.Terms, clients)
	for i := range people {
		if people[i], err = org.caller(ctx, org.people[i]); err != nil {
			return nil, err
		}
		if terms[i], err = people[i].terms(ctx); err != nil {
			return nil, err
		}
	}
	changed := time.Now()
	// People sign on their own machines, so this one does it before. They ask in the order in which they
	// signed, as people do who ask as soon as they have.
	asks := make([][]byte, int(o.asking.Seconds()*6000)) // more than can be granted in the time
	for i := range asks {
		if asks[i], err = people[i%clients].signed(ctx, terms[i%clients]); err != nil {
			return nil, err
		}
	}
	// Each change of the roster has the server look at all grants once more, some seconds later (flow's
	// lead and idle). That is no part of what a request takes.
	time.Sleep(time.Until(changed.Add(o.settling)))
	var next atomic.Int64
	ask := func(int) error {
		n := int(next.Add(1) - 1)
		if n >= len(asks) {
			return errEnough
		}
		_, err := people[n%clients].ask(ctx, asks[n])
		return err
	}
	floor, err := together(clients, o.asking/2, func(client int) error {
		_, err := people[client].auth.WhoAmI(ctx, &brevetv1.WhoAmIRequest{})
		return err
	})
	if err != nil {
		return nil, err
	}
	if _, err := together(clients, o.asking/10, ask); err != nil { // warms up
		return nil, err
	}
	before, err := org.server.cpu()
	if err != nil {
		return nil, err
	}
	all, err := together(clients, o.asking, ask)
	if err != nil {
		return nil, err
	}
	after, err := org.server.cpu()
	if err != nil {
		return nil, err
	}
	all.floor, all.cpu = floor, after-before
	all.alone, err = together(1, o.asking/4, ask)
	return all, err
}

// askSpine asks a control plane in this process.
func askSpine(ctx context.Context, o options, dir string) (all *asked, err error) {
	b := newBench(ctx, dir)
	return all, errors.Join(err, b.run(func() error {
		s := newSpine(b)
		raws := s.signed(b, int(o.asking.Seconds()*6000)+100)
		if o.profile != "" {
			stop, err := startProfile(o.profile)
			if err != nil {
				return err
			}
			defer stop()
		}
		var next atomic.Int64
		all, err = together(clients, o.asking, func(int) error {
			n := next.Add(1) - 1
			if n >= int64(len(raws)) {
				return errEnough
			}
			got, err := s.Ask(ctx, brevet.Caller{Person: "bob", Via: brevet.ViaCLI}, raws[n])
			if err == nil && !got.Live() {
				err = fmt.Errorf("the request is %s: %s", got.State, got.Sentence)
			}
			return err
		})
		return err
	}))
}

// errEnough says that a client has nothing left to ask.
var errEnough = errors.New("enough")

// together has so many clients call do for so long, each one call after another.
func together(clients int, within time.Duration, do func(client int) error) (*asked, error) {
	took, errs := make([]times, clients), make([]error, clients)
	began := time.Now()
	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() {
			for time.Since(began) < within {
				start := time.Now()
				if err := do(client); err != nil {
					errs[client] = err
					return
				}
				took[client] = append(took[client], time.Since(start))
			}
		})
	}
	all.Wait()
	a := &asked{elapsed: time.Since(began)}
	for client := range clients {
		a.took = append(a.took, took[client]...)
		if errs[client] != nil && !errors.Is(errs[client], errEnough) {
			return nil, errs[client]
		}
	}
	return a, nil
}
