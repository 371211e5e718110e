package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/cli/home"
	"github.com/brevet-pim/brevet/cli/show"
	"github.com/brevet-pim/brevet/statement"
)

// app is what the commands share in one run.
type app struct {
	version string
	getenv  func(string) string

	// Flags that every command has.
	serverFlag string
	output     string
	utc, exact bool

	in      io.Reader
	out     io.Writer // results
	err     io.Writer // progress, questions
	format  show.Format
	lines   *bufio.Reader // of in
	home    *home.Home    // opened at the first need
	session *session      // opened at the first need
	signer  statement.Signer
}

func (a *app) flags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&a.serverFlag, "server", "", "server to speak to, host:port (else $BREVET_SERVER, else the one signed in to)")
	f.StringVarP(&a.output, "output", "o", string(show.AsTable), "how to print results: table, json or yaml")
	f.BoolVar(&a.utc, "utc", false, "show times in UTC")
	f.BoolVar(&a.exact, "exact", false, "show exact times instead of relative ones")
	// The error can only be a flag that is not there.
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]cobra.Completion{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	_ = root.RegisterFlagCompletionFunc("server", cobra.NoFileCompletions)
}

func (a *app) begin(cmd *cobra.Command) error {
	a.in, a.out, a.err = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	a.lines = bufio.NewReader(a.in)
	format, err := show.ParseFormat(a.output)
	if err != nil {
		return err
	}
	a.format = format
	return checkFlags(cmd)
}

// checkFlags makes what cobra checks later, in words of its own, a mistake in the command line like others.
func checkFlags(cmd *cobra.Command) error {
	var missing []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if len(f.Annotations[cobra.BashCompOneRequiredFlag]) > 0 && !f.Changed {
			missing = append(missing, "--"+f.Name)
		}
	})
	switch err := cmd.ValidateFlagGroups(); {
	case len(missing) > 0:
		return usage(cmd, strings.Join(missing, " and ")+" must be given")
	case err != nil && len(excluded(cmd)) > 0:
		return usage(cmd, strings.Join(excluded(cmd), " and ")+" exclude each other")
	case err != nil:
		return usage(cmd, err.Error())
	}
	return nil
}

// excluded returns flags that were given though one of them excludes the others. The annotation is cobra's.
func excluded(cmd *cobra.Command) []string {
	groups := map[string][]string{}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		for _, group := range f.Annotations["cobra_annotation_mutually_exclusive"] {
			groups[group] = append(groups[group], "--"+f.Name)
		}
	})
	for _, given := range groups {
		if len(given) > 1 {
			return given
		}
	}
	return nil
}

// folder opens the person's folder.
func (a *app) folder() (*home.Home, error) {
	if a.home != nil {
		return a.home, nil
	}
	dir, err := home.Dir(a.getenv)
	if err != nil {
		return nil, err
	}
	a.home, err = home.Open(dir)
	return a.home, err
}

func (a *app) clock() show.Clock { return show.Clock{Now: time.Now(), UTC: a.utc, Exact: a.exact} }

// print prints a result: the message as it is, or the table that people gets to write.
func (a *app) print(m proto.Message, people func() error) error {
	if a.format != show.AsTable {
		return show.Message(a.out, a.format, m)
	}
	return people()
}

// printNext prints one message of a stream: a line of JSON, or a document of YAML.
func (a *app) printNext(m proto.Message) error {
	if a.format == show.AsYAML {
		return show.Message(a.out, a.format, m)
	}
	return show.MessageLine(a.out, m)
}

// printFields prints a result that is no message of the API.
func (a *app) printFields(fields map[string]any, people func() error) error {
	if a.format == show.AsTable {
		return people()
	}
	m, err := structpb.NewStruct(fields)
	if err != nil {
		return brevet.Errorf(brevet.Internal, "cannot print the result").Because(err)
	}
	return show.Message(a.out, a.format, m)
}

func (a *app) table(t show.Table) error { return t.Write(a.out, columns(a.out)) }

// say prints a line of a result, escaped.
func (a *app) say(format string, args ...any) {
	fmt.Fprintln(a.out, show.Text(fmt.Sprintf(format, args...)))
}

// tell prints a line of progress, escaped.
func (a *app) tell(format string, args ...any) {
	fmt.Fprintln(a.err, show.Text(fmt.Sprintf(format, args...)))
}

// Marks stand before lines that say whether something is well. They are the only coloured thing.
const (
	markGood = "✓"
	markBad  = "✗"
	markNote = "!"
)

var markColours = map[string]string{markGood: "32", markBad: "31", markNote: "33"}

// mark returns the mark, in colour if w is a terminal and nobody forbids it (https://no-color.org).
func (a *app) mark(w io.Writer, mark string) string {
	if a.getenv("NO_COLOR") != "" || a.getenv("TERM") == "dumb" || !isTerminal(w) {
		return mark
	}
	return "\x1b[" + markColours[mark] + "m" + mark + "\x1b[0m"
}

// good prints a result that is well.
func (a *app) good(format string, args ...any) { a.marked(a.out, markGood, format, args...) }

// caution prints a line of progress that somebody should read.
func (a *app) caution(format string, args ...any) { a.marked(a.err, markNote, format, args...) }

func (a *app) marked(w io.Writer, mark, format string, args ...any) {
	fmt.Fprintln(w, a.mark(w, mark), show.Text(fmt.Sprintf(format, args...)))
}

// forEach runs do for every argument, also after one failed, and returns the last error, having
// told of those before.
func (a *app) forEach(args []string, do func(string) error) error {
	var last error
	for _, arg := range args {
		if err := do(arg); err != nil {
			Report(a.err, last)
			last = err
			if errors.Is(err, context.Canceled) { // whoever ends one ends all
				break
			}
		}
	}
	return last
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func columns(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	n, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return n
}
