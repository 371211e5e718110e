package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/cli/show"
)

// ask puts a question and returns the answer without the blanks around it. It is an Invalid error
// if nobody can answer.
func (a *app) ask(ctx context.Context, question string) (string, error) {
	fmt.Fprint(a.err, show.Lines(question))
	type answer struct {
		line string
		err  error
	}
	answers := make(chan answer, 1) // the reader may stay blocked; the process ends soon after
	go func() {
		line, err := a.lines.ReadString('\n')
		answers <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case got := <-answers:
		if got.err != nil && (got.line == "" || !errors.Is(got.err, io.EOF)) {
			fmt.Fprintln(a.err)
			return "", brevet.Errorf(brevet.Invalid, "there is nobody to answer").WithHint("run it in a terminal, or give the answer by flags (see --help)")
		}
		return strings.TrimSpace(got.line), nil
	}
}

// tries is how often a question is put to somebody who answers it wrongly.
const tries = 3

// askAgain puts a question until take has no objection to the answer, so that a slip does not end the command.
func (a *app) askAgain(ctx context.Context, question string, take func(answer string) error) error {
	var wrong error
	for range tries {
		Report(a.err, wrong)
		answer, err := a.ask(ctx, question)
		if err != nil {
			return err
		}
		if wrong = take(answer); wrong == nil {
			return nil
		}
	}
	return wrong
}

// confirm asks a yes or no; no is the default.
func (a *app) confirm(ctx context.Context, question string) (bool, error) {
	got, err := a.ask(ctx, question+" [y/N] ")
	return strings.EqualFold(got, "y") || strings.EqualFold(got, "yes"), err
}

// AskSecret asks at a terminal for something that must not be seen. Whoever interrupts it finds the
// terminal as it was.
func AskSecret(ctx context.Context, in io.Reader, out io.Writer, question string) (brevet.Secret, error) {
	f, ok := in.(*os.File)
	if !ok || !isTerminal(f) {
		return brevet.Secret{}, brevet.Errorf(brevet.Invalid, "there is no terminal to ask for a passphrase on").
			WithHint("load the key into your agent with ssh-add")
	}
	showTyping, err := hideTyping(int(f.Fd()))
	if err != nil {
		return brevet.Secret{}, fmt.Errorf("hide what is typed: %w", err)
	}
	fmt.Fprint(out, show.Text(question)) // now that nothing is shown: some type at once
	defer fmt.Fprintln(out)
	type answer struct {
		typed []byte
		err   error
	}
	answers := make(chan answer, 1) // the reader may stay blocked; the process ends soon after
	go func() {
		typed, err := readTyped(f)
		answers <- answer{typed, err}
	}()
	select {
	case <-ctx.Done():
		return brevet.Secret{}, errors.Join(ctx.Err(), showTyping(true))
	case got := <-answers:
		if err := errors.Join(got.err, showTyping(false)); err != nil {
			return brevet.Secret{}, fmt.Errorf("read the passphrase: %w", err)
		}
		return brevet.NewSecret(got.typed), nil
	}
}

// maxTyped is more than a terminal lets one type into a line.
const maxTyped = 4096

// readTyped reads one line: a terminal hands over one at a time.
func readTyped(f *os.File) ([]byte, error) {
	line := make([]byte, maxTyped)
	n, err := f.Read(line)
	return bytes.TrimSuffix(line[:n], []byte("\n")), err
}

// hideTyping keeps the terminal from showing what is typed, until what it returns is called. With
// drop, what was typed and not read is then forgotten: the shell would take it for a command.
func hideTyping(terminal int) (showAgain func(drop bool) error, err error) {
	before, err := unix.IoctlGetTermios(terminal, getTermios)
	if err != nil {
		return nil, err
	}
	hidden := *before
	hidden.Lflag &^= unix.ECHO
	hidden.Lflag |= unix.ICANON | unix.ISIG // lines, and Ctrl-C
	hidden.Iflag |= unix.ICRNL
	return func(drop bool) error {
		if drop {
			return unix.IoctlSetTermios(terminal, setTermiosDropping, before)
		}
		return unix.IoctlSetTermios(terminal, setTermios, before)
	}, unix.IoctlSetTermios(terminal, setTermios, &hidden)
}
