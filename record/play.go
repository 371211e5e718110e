package record

import (
	"context"
	"io"
	"iter"
	"math"
	"time"

	"github.com/brevet-pim/brevet"
)

// PlayOptions say how a recording is played. The zero PlayOptions play at the speed
// of the session, harmlessly.
type PlayOptions struct {
	Speed   float64       // 2 is twice as fast; 0: as fast as it was
	MaxIdle time.Duration // the longest pause, in the session's time; 0: as long as it was
	NoWait  bool          // print everything at once
	// Raw passes the bytes on as they are, for a file or a pipe. On a terminal a session
	// could then do whatever its programs could do to the terminal of the one who ran them.
	Raw bool
	// Resized is called before what follows a change of the terminal's size; nil: nobody is told.
	Resized func(columns, rows int)
}

// Play writes the output of a recording to w at its own pace, until its end, an error of
// the recording or of w, or the end of ctx.
func Play(ctx context.Context, w io.Writer, events iter.Seq2[Event, error], o PlayOptions) error {
	if o.Speed == 0 {
		o.Speed = 1
	}
	if !(o.Speed >= 0.01 && o.Speed <= 1000) || o.MaxIdle < 0 { // NaN is not in there
		return brevet.Errorf(brevet.Invalid, "a recording plays at 0.01 to 1000 times its speed, and pauses are not negative")
	}
	if !o.Raw {
		safe := NewSafeTerminal(w)
		defer safe.Close()
		w = safe
	}
	pace := pace{options: o, began: time.Now()}
	for e, err := range events {
		if err != nil {
			return err
		}
		if err := pace.wait(ctx, e.At); err != nil {
			return err
		}
		if err := show(w, e, o); err != nil {
			return err
		}
	}
	return nil
}

func show(w io.Writer, e Event, o PlayOptions) (err error) {
	switch e.Kind {
	case KindStdout, KindStderr:
		_, err = w.Write(e.Data)
	case KindStart:
		start, err := e.Start()
		if err == nil && start.Columns > 0 && o.Resized != nil {
			o.Resized(start.Columns, start.Rows)
		}
		return err
	case KindResize:
		columns, rows, err := e.Size()
		if err == nil && o.Resized != nil {
			o.Resized(columns, rows)
		}
		return err
	}
	return err
}

// pace keeps to the times of the events, from one beginning, so that waiting a little too
// long each time does not add up.
type pace struct {
	options PlayOptions
	began   time.Time
	last    time.Duration // time of the event before, in the recording
	passed  time.Duration // the same as played
}

func (p *pace) wait(ctx context.Context, at time.Duration) error {
	idle := at - p.last
	p.last = at
	if p.options.MaxIdle > 0 {
		idle = min(idle, p.options.MaxIdle)
	}
	if p.options.NoWait {
		return context.Cause(ctx)
	}
	const centuries = math.MaxInt64 / 2 // twice as much is the most that a Duration holds
	p.passed += time.Duration(min(float64(idle)/p.options.Speed, centuries))
	p.passed = min(p.passed, centuries)
	timer := time.NewTimer(time.Until(p.began.Add(p.passed)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
