// Command demo plays Brevet's main job before the reader's eyes: a person uses stock ssh to a
// stock sshd without privilege, is asked why, somebody agrees, the same ssh goes on, it is watched,
// taken back, played and proven. Everything is done by the built binary and by the system's own
// ssh; the demo only types, reads and measures.
//
// It ends with status 1 if a step does not show what it should. make demo and make run call it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// patience bounds the whole scene: a step that waits for what does not come fails then.
const patience = 2 * time.Minute

// options say what to show.
type options struct {
	binary string // to show
	data   string // folder for all that is made
	stay   bool   // up afterwards
}

func main() {
	var o options
	flag.StringVar(&o.binary, "brevet", "bin/brevet", "the binary to show")
	flag.StringVar(&o.data, "data", "demo-data", "folder for everything that the demo makes; an earlier demo's is made anew")
	flag.BoolVar(&o.stay, "stay", false, "stay up afterwards, for the reader to try things")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, o); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, o options) error {
	binary, err := filepath.Abs(o.binary)
	if err != nil {
		return err
	}
	folder, err := claim(o.data)
	if err != nil {
		return err
	}
	defer folder.release()
	s := &scene{stage: newStage(out), binary: binary, dir: folder.path}
	defer s.clear()
	playing, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.play(playing); err != nil {
		return fmt.Errorf("the demo failed: %w\n%s", err, s.logs())
	}
	s.stage.finish(o.stay)
	if !o.stay {
		return nil
	}
	s.invite()
	select {
	case <-ctx.Done():
		return nil
	case <-s.server.done:
		return fmt.Errorf("the server ended: %w\n%s", s.server.err, s.logs())
	}
}
