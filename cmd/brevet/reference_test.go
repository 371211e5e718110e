package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write docs/reference/cli.md anew")

const page = "../../docs/reference/cli.md"

// TestReferenceIsCurrent compares the page with the commands that there are.
func TestReferenceIsCurrent(t *testing.T) {
	want := reference(root("VERSION"))
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/reference/cli.md is not current; run go test ./cmd/brevet -update\n(-want +got):\n%s", diff)
	}
}

// TestEveryCommandHelps: a person who asks for help of a command gets a sentence and an example that
// begins with the command, and every flag says what it is for.
func TestEveryCommandHelps(t *testing.T) {
	walk(root("VERSION"), func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: its short help is %q", c.CommandPath(), c.Short)
		}
		if !strings.Contains(c.Example, strings.TrimSuffix(c.CommandPath(), " list")) {
			t.Errorf("%s: no example of it:\n%s", c.CommandPath(), c.Example)
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s: --%s does not say what it is for", c.CommandPath(), f.Name)
			}
		})
	})
}

// walk visits each command but those that only the program itself runs.
func walk(c *cobra.Command, visit func(*cobra.Command)) {
	if c.Hidden || c.Name() == "help" {
		return
	}
	visit(c)
	for _, sub := range c.Commands() {
		walk(sub, visit)
	}
}

// surroundings is what commands read besides their flags.
const surroundings = `
They read these variables of the environment:

| variable | what for |
| --- | --- |
| BREVET_HOME | your folder (else brevet in XDG_CONFIG_HOME, else ~/.config/brevet) |
| BREVET_SERVER | the server to speak to, as --server |
| SSH_AUTH_SOCK | your ssh-agent, if your profile names none |
| NO_COLOR | if it is not empty, nothing is coloured; nor is it where TERM is dumb or the output is no terminal |

Your folder is for you alone (0700, its files 0600; what others may read is refused):

| file | holds |
| --- | --- |
| profile.yaml | server, pinned root and certificate authority, who you are, which key is yours |
| token, signin.json, client.key, client.crt | your sign-in: a short token that is good with this client certificate only, for curl too |
| roster, checkpoint | what this machine has verified, so that no server can show it less or otherwise |
| gateways.json, known_hosts, identity.pub, ssh_config | what ssh needs |

Results go to standard output, progress and questions to standard error. --output json and yaml print the API's message, or, for what is
worked out on this machine (verify, audit verify, policy, doctor), fields of their own; text of others is escaped in every format.
`

// reference is the page of all commands, in the order of help.
func reference(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("# The commands of brevet\n\n")
	b.WriteString("Made from the program's own help by `go test ./cmd/brevet -update`; a test compares it. Exit statuses are in\n[exit-codes.md](exit-codes.md).\n\n")
	b.WriteString("Every command takes these flags:\n\n" + flags(root.PersistentFlags()) + surroundings)
	walk(root, func(c *cobra.Command) {
		if !c.Runnable() || c == root {
			return
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", c.CommandPath(), said(c))
		fmt.Fprintf(&b, "```\n%s\n```\n\n", c.UseLine())
		fmt.Fprintf(&b, "```console\n%s\n```\n", strings.TrimRight(undent(c.Example), "\n"))
		if list := flags(c.LocalNonPersistentFlags()); list != "" {
			b.WriteString("\n" + list)
		}
	})
	return b.String()
}

func said(c *cobra.Command) string {
	if c.Long != "" {
		return c.Long
	}
	return c.Short + "."
}

func undent(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "  ")
	}
	return strings.Join(lines, "\n")
}

// flags is a list of flags with what they are for.
func flags(set *pflag.FlagSet) string {
	var b strings.Builder
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if kind, _ := pflag.UnquoteUsage(f); kind != "" {
			name += " " + kind
		}
		fmt.Fprintf(&b, "- `%s`: %s%s\n", name, f.Usage, usual(f))
	})
	return b.String()
}

// usual says what a flag is if nobody gives it, unless that is nothing.
func usual(f *pflag.Flag) string {
	switch f.DefValue {
	case "", "false", "0", "[]", "0s":
		return ""
	}
	return " (default `" + f.DefValue + "`)"
}
