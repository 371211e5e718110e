package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// report prints what was measured, a section at a time.
type report struct {
	out    io.Writer
	began  time.Time
	goals  int
	missed []string
}

// row is one figure.
type row struct {
	what   string
	figure string
	beside string // what it is compared with
	ratio  string // the figure's to that
	goal   string // or ""
	met    bool
}

func newReport(out io.Writer) *report { return &report{out: out, began: time.Now()} }

// section prints the rows of a section.
func (r *report) section(title string, rows ...row) {
	fmt.Fprintf(r.out, "\n%s\n", title)
	w := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	for _, line := range rows {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\n", line.what, line.figure, orDash(line.beside), orDash(line.ratio), r.judge(line))
	}
	w.Flush()
}

// judge says whether the goal is met, and counts it.
func (r *report) judge(line row) string {
	if line.goal == "" {
		return ""
	}
	r.goals++
	if line.met {
		return line.goal + ": met"
	}
	r.missed = append(r.missed, line.what)
	return line.goal + ": NOT MET"
}

// verdict prints how many goals were met.
func (r *report) verdict() {
	fmt.Fprintf(r.out, "\n%d of %d goals met, in %s.\n", r.goals-len(r.missed), r.goals, time.Since(r.began).Round(time.Second))
	for _, what := range r.missed {
		fmt.Fprintf(r.out, "  not met: %s\n", what)
	}
}

// machine prints where and when the run takes place.
func (r *report) machine(ctx context.Context, o options) {
	version, err := exec.CommandContext(ctx, o.brevet, "version").Output()
	if err != nil {
		version = []byte(err.Error()) // the sections will say more
	}
	fmt.Fprintf(r.out, "%s, %d × %s, %s, %s, load %s\n", time.Now().UTC().Format("2006-01-02 15:04"),
		runtime.NumCPU(), field("/proc/cpuinfo", "model name"), runtime.Version(), strings.TrimSpace(string(version)), loadAverage())
	fmt.Fprintf(r.out, "columns: what · Brevet · beside it, in the same run · ratio · goal\n")
}

// field returns the value of the first line "name: value" of a file of /proc, or "?".
func field(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return "?"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, found := strings.Cut(lines.Text(), ":")
		if found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "?"
}

// loadAverage is how busy the machine was before, of the last minute.
func loadAverage() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	one, _, _ := strings.Cut(string(raw), " ")
	return one
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
