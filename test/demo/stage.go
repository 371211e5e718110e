package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// stage tells the reader what happens, a line a step, each with the time since the beginning.
type stage struct {
	out   io.Writer
	began time.Time
}

func newStage(out io.Writer) *stage { return &stage{out: out, began: time.Now()} }

// say prints a step that is done.
func (s *stage) say(format string, args ...any) {
	fmt.Fprintf(s.out, "%5.1f s  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// show prints what a person sees at a terminal, indented.
func (s *stage) show(text string) {
	text = escapes.ReplaceAllString(strings.ReplaceAll(text, "\r", ""), "")
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimRight(line, " "); line != "" {
			fmt.Fprintf(s.out, "         │ %s\n", line)
		}
	}
}

// escapes are what a shell tells a terminal beside its text.
var escapes = regexp.MustCompile("\x1b(\\[[?0-9;]*[a-zA-Z]|\\][^\x07]*\x07|[()=>][0-9A-B]?)")

func (s *stage) finish(stay bool) {
	fmt.Fprintf(s.out, "Done in %.1f s.", time.Since(s.began).Seconds())
	if !stay {
		fmt.Fprintln(s.out)
	}
}
