package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Which Brevet this is",
		Example: `  brevet version             or brevet --version
  brevet version --output json`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return a.printVersion() },
	}
}

func (a *app) printVersion() error {
	return a.printFields(map[string]any{
		"version": a.version, "commit": commit(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH,
	}, func() error {
		a.say("brevet %s (%s, %s/%s)", a.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return nil
	})
}

// commit returns the commit that the binary was built from, as far as the toolchain noted it.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}

// shells are those that completion knows, each with what writes its script.
var shells = map[string]func(root *cobra.Command, a *app) error{
	"bash":       func(root *cobra.Command, a *app) error { return root.GenBashCompletionV2(a.out, true) },
	"zsh":        func(root *cobra.Command, a *app) error { return root.GenZshCompletion(a.out) },
	"fish":       func(root *cobra.Command, a *app) error { return root.GenFishCompletion(a.out, true) },
	"powershell": func(root *cobra.Command, a *app) error { return root.GenPowerShellCompletionWithDesc(a.out) },
}

func (a *app) completion() *cobra.Command {
	names := []cobra.Completion{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "The script that lets a shell complete commands, names and ids",
		Long: `Print the script for bash, zsh, fish or powershell. Names and ids are completed from the server while you
are signed in; completing never signs in and never asks for anything. In bash it needs the package
bash-completion.`,
		Example: `  source <(brevet completion bash)
  brevet completion bash | sudo tee /etc/bash_completion.d/brevet >/dev/null
  brevet completion zsh > "${fpath[1]}/_brevet"
  brevet completion fish > ~/.config/fish/completions/brevet.fish`,
		Args:              arguments(1, 1),
		ValidArgsFunction: cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			write, ok := shells[args[0]]
			if !ok {
				message := "no completion for " + brevet.Quote(args[0])
				if near, ok := brevet.Nearest(args[0], names); ok {
					message += ". Did you mean " + near + "?"
				}
				return usage(cmd, message)
			}
			return write(cmd.Root(), a)
		},
	}
}
