package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"sync"

	"github.com/creack/pty"
)

// Terminal is a program on a pseudo-terminal, with somebody at it who reads
// and types.
type Terminal struct {
	cmd  *exec.Cmd
	pty  *os.File
	done chan struct{} // closed once the program has ended and all was read
	err  error         // how it ended; read only after done

	mu     sync.Mutex // guards what follows
	screen []byte     // everything printed
	seen   int        // how much of screen was expected already
	news   chan struct{}
}

// StartTerminal starts cmd on a terminal of 24 rows and 80 columns.
func StartTerminal(cmd *exec.Cmd) (*Terminal, error) {
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		return nil, fmt.Errorf("start %s on a terminal: %w", cmd.Path, err)
	}
	t := &Terminal{cmd: cmd, pty: f, done: make(chan struct{}), news: make(chan struct{})}
	go t.read()
	return t, nil
}

// read collects what the program prints until it hangs up.
func (t *Terminal) read() {
	buf := make([]byte, 32<<10)
	for {
		n, err := t.pty.Read(buf)
		t.mu.Lock()
		t.screen = append(t.screen, buf[:n]...)
		close(t.news)
		t.news = make(chan struct{})
		t.mu.Unlock()
		if err != nil { // Linux says EIO, not EOF, when the last process has closed it
			break
		}
	}
	t.err = t.cmd.Wait()
	close(t.done)
}

// Expect waits until the program has printed text, and returns all that it
// printed since the last Expect, up to and with text.
func (t *Terminal) Expect(ctx context.Context, text string) (string, error) {
	found, err := t.ExpectMatch(ctx, regexp.MustCompile(regexp.QuoteMeta(text)))
	if err != nil {
		return "", err
	}
	return found.Before + text, nil
}

// Match is what ExpectMatch found.
type Match struct {
	Before string   // what was printed before it, since the last match
	Groups []string // the match, and its submatches
}

// ExpectMatch waits until the program has printed what pattern matches.
func (t *Terminal) ExpectMatch(ctx context.Context, pattern *regexp.Regexp) (Match, error) {
	for {
		m, ok, news := t.match(pattern)
		if ok {
			return m, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return Match{}, fmt.Errorf("waited for %q: %w; the terminal shows:\n%s", pattern, ctx.Err(), t.Screen())
		case <-t.done:
			if m, ok, _ := t.match(pattern); ok {
				return m, nil
			}
			return Match{}, fmt.Errorf("waited for %q, but the program ended (%v); the terminal shows:\n%s", pattern, t.err, t.Screen())
		}
	}
}

// match looks at what nobody has expected yet. If pattern is not there, news
// closes when there is more to look at.
func (t *Terminal) match(pattern *regexp.Regexp) (m Match, ok bool, news <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	rest := t.screen[t.seen:]
	at := pattern.FindSubmatchIndex(rest)
	if at == nil {
		return Match{}, false, t.news
	}
	m.Before = string(rest[:at[0]])
	for _, group := range pattern.FindSubmatch(rest) {
		m.Groups = append(m.Groups, string(group))
	}
	t.seen += at[1]
	return m, true, nil
}

// Type types s as it is; a line ends with "\n", Ctrl-C is "\x03".
func (t *Terminal) Type(s string) error {
	_, err := io.WriteString(t.pty, s)
	return err
}

// Resize changes the size of the terminal, which the program is told of.
func (t *Terminal) Resize(rows, cols uint16) error {
	return pty.Setsize(t.pty, &pty.Winsize{Rows: rows, Cols: cols})
}

// Screen returns everything that the program has printed.
func (t *Terminal) Screen() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.screen)
}

// Wait waits until the program has ended, and returns how, as exec.Cmd.Wait does.
func (t *Terminal) Wait(ctx context.Context) error {
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		return fmt.Errorf("%s still runs: %w; the terminal shows:\n%s", t.cmd.Path, ctx.Err(), t.Screen())
	}
}

// Close hangs up, as closing a window does, and ends the program if it goes on.
func (t *Terminal) Close() error {
	// Hanging up first: a helper of the program's may hold the terminal open.
	err := t.pty.Close()
	if killed := t.cmd.Process.Kill(); !errors.Is(killed, os.ErrProcessDone) {
		err = errors.Join(err, killed)
	}
	<-t.done
	return err
}
