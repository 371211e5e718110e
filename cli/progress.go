package cli

import (
	"fmt"
	"time"
)

// progressEvery is how often a line of progress changes.
const progressEvery = 200 * time.Millisecond

// progress shows on a terminal how far long work has come.
type progress struct {
	a    *app
	what string
	n    int64
	last time.Time
	live bool
}

func (a *app) progress(what string) *progress {
	return &progress{a: a, what: what, live: isTerminal(a.err), last: time.Now()}
}

func (p *progress) add(n int64) {
	if p.n += n; !p.live || p.n%256 != 0 || time.Since(p.last) < progressEvery {
		return
	}
	p.last = time.Now()
	fmt.Fprintf(p.a.err, "\r%d %s", p.n, p.what)
}

// end takes the line away again.
func (p *progress) end() {
	if p.live {
		fmt.Fprint(p.a.err, "\r\x1b[K")
	}
}
