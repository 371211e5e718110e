// Package cli is every command that a person gives: brevet login, request, approve and
// so on. It speaks to the server through the generated API client only, signs with the
// person's own key, and shows what it signs from the very bytes that are signed.
//
// A command is one function that returns a *cobra.Command; what all of them share (the
// person's folder, the connection, the key, how results are printed) is type app. The
// server's own commands (init, server, gateway, demo) are handed to New by cmd/brevet.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/cli/show"
)

// The groups under which help lists the commands.
const (
	groupDaily = "daily"
	groupLook  = "look"
	groupAdmin = "admin"
	groupServe = "serve"
	groupSelf  = "self"
)

// New returns the command brevet of the version with all its subcommands: those of this package,
// and extra ones, which help lists under "Running Brevet".
func New(version string, extra ...*cobra.Command) *cobra.Command {
	a := &app{version: version, getenv: os.Getenv}
	askedVersion := false
	root := &cobra.Command{
		Use:   "brevet",
		Short: "Privilege for as long as it is needed, on proof",
		Long: `Brevet gives people, pipelines and agents exactly the privilege that they need, for as long
as they need it, on proof that they may have it, and takes it back.`,
		Example: `  brevet roles                                         what you may have or ask for
  brevet request web-root web1 --for 15m --reason "restart nginx"
  brevet ssh root@web1                                 use it
  brevet requests --for-me                             who waits for you`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if askedVersion {
				return a.printVersion()
			}
			return cmd.Help()
		},
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.begin(cmd) },
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true}, // ours says more
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, err.Error()) })
	a.flags(root)
	root.Flags().BoolVar(&askedVersion, "version", false, "which Brevet this is, as brevet version says it")
	root.AddGroup(
		&cobra.Group{ID: groupDaily, Title: "Asking and deciding:"},
		&cobra.Group{ID: groupLook, Title: "Looking:"},
		&cobra.Group{ID: groupAdmin, Title: "Administering:"},
		&cobra.Group{ID: groupSelf, Title: "This machine:"},
	)
	root.SetHelpCommand(helpCommand())
	root.SetHelpCommandGroupID(groupSelf)
	add(root, groupDaily, a.login(), a.logout(), a.roles(), a.request(), a.requests(), a.approve(), a.deny(), a.cancel(), a.ssh(), a.revoke())
	add(root, groupLook, a.story(), a.sessions(), a.grants(), a.audit(), a.verify())
	add(root, groupAdmin, a.apply(), a.policy(), a.people(), a.keys(), a.machines())
	if len(extra) > 0 {
		root.AddGroup(&cobra.Group{ID: groupServe, Title: "Running Brevet:"})
		add(root, groupServe, extra...)
	}
	add(root, groupSelf, a.whoami(), a.doctor(), a.sshConfig(), a.sshCA(), a.completion(), a.versionCommand())
	root.AddCommand(a.sshProxy())
	return root
}

func add(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
		root.AddCommand(c)
	}
}

// Run runs the command with the arguments of the process and returns its exit status, having
// told of an error. The first interrupt ends what goes on in an orderly way, the second at once.
func Run(root *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal does what signals do
	err := root.ExecuteContext(ctx)
	if err != nil && ctx.Err() != nil {
		err = interrupted{}
	}
	Report(root.ErrOrStderr(), err)
	return Status(err)
}

// Report tells a person of an error: what happened, and on a line of its own what to do next.
func Report(w io.Writer, err error) {
	if quiet, ok := errors.AsType[silent](err); err == nil || ok && quiet.said() {
		return
	}
	message, hint := err.Error(), ""
	if e, ok := errors.AsType[*brevet.Error](err); ok {
		hint = e.Hint
		if e.Kind != brevet.Internal {
			message = e.Message
		}
	}
	fmt.Fprintln(w, show.Lines(strings.TrimSpace(message)))
	if hint != "" {
		fmt.Fprintln(w, "  "+show.Lines(hint))
	}
}

// noSuchCommand refuses arguments where a subcommand is meant.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, append(c.Aliases, c.Name())...)
		}
	}
	message := fmt.Sprintf("no command %s", brevet.Quote(cmd.CommandPath()+" "+args[0]))
	if near, ok := brevet.Nearest(args[0], names); ok {
		message += fmt.Sprintf(". Did you mean %s?", near)
	}
	return brevet.Errorf(brevet.Invalid, "%s", message).WithHint("%s --help lists what there is", cmd.CommandPath())
}

// helpCommand shows the help of a command. Unlike cobra's own it refuses to explain what there is not.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Help about a command",
		Example: `  brevet help sessions watch`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []cobra.Completion
			for _, c := range about.Commands() {
				if c.IsAvailableCommand() {
					names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return noSuchCommand(about, rest)
			}
			return about.Help()
		},
	}
}

// usage is a mistake in the command line.
func usage(cmd *cobra.Command, message string) error {
	return brevet.Errorf(brevet.Invalid, "%s", message).WithHint("%s --help", cmd.CommandPath())
}

// arguments checks that there are at least and at most so many; most < 0 is no limit.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usage(cmd, "something is missing: "+cmd.UseLine())
		case most >= 0 && len(args) > most:
			return usage(cmd, fmt.Sprintf("%s is too much: %s", brevet.Quote(args[most]), cmd.UseLine()))
		}
		return nil
	}
}
