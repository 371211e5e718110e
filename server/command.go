package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/server/config"
)

// Commands returns what runs Brevet: init, server, gateway and config, for the root command.
func Commands(version string) []*cobra.Command {
	return []*cobra.Command{initCommand(), serverCommand(version), gatewayCommand(version), configCommand()}
}

func serverCommand(version string) *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run the control plane, with its issuer and a gateway",
		Long: `Run the control plane of a data folder that brevet init made: the API, the issuer, and a gateway for
ssh, in one process. It goes on until it is interrupted, and then tells whoever has a session.
What it tells of itself goes to standard error. GET /healthz at the API's address says ok while it works.`,
		Example: `  brevet server
  brevet server --data /var/lib/brevet`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			outliveReaders()
			return orderly(cmd.Context(), Run(cmd.Context(), Options{Data: data, Version: version, Log: cmd.ErrOrStderr()}))
		},
	}
	dataFlag(cmd, &data)
	return cmd
}

func gatewayCommand(version string) *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Run a gateway as a process of its own",
		Long: `Run the gateway of a data folder that brevet gateway init made. It reaches the control plane over the
network, and goes on when that is away: sessions last until their grant's end, and nothing new begins.`,
		Example: `  brevet gateway init --name gw-2 --server-address brevet.example.org:7443 --root 5b9c… --pin 07d2…
  brevet machines add brevet-data/gw-2.machine.json    an administrator signs that it is ours
  brevet gateway --data brevet-data`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			outliveReaders()
			return orderly(cmd.Context(), RunGateway(cmd.Context(), Options{Data: data, Version: version, Log: cmd.ErrOrStderr()}))
		},
	}
	dataFlag(cmd, &data)
	cmd.AddCommand(gatewayInitCommand())
	return cmd
}

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Look at the configuration of a server or a gateway",
		Example: `  brevet config check --data /var/lib/brevet`,
		Args:    noArguments,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var data string
	check := &cobra.Command{
		Use:     "check",
		Short:   "Say everything that is wrong with the configuration",
		Example: `  brevet config check --data /var/lib/brevet`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := checkConfig(data)
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "%s can be used\n", path)
			}
			return err
		},
	}
	dataFlag(check, &data)
	cmd.AddCommand(check)
	return cmd
}

// checkConfig checks whichever configuration the folder has, and that the sealing key it names is the folder's.
func checkConfig(dir string) (path string, err error) {
	path = filepath.Join(dir, config.NodeName)
	if _, err := os.Stat(path); err == nil {
		c, err := config.ReadNode(dir)
		if err != nil {
			return path, err
		}
		return path, checkSealKey(dir, c.SealKey)
	}
	path = filepath.Join(dir, config.Name)
	c, err := config.Read(dir)
	if err != nil {
		return path, err
	}
	if _, err := c.DatabaseURL(dir); err != nil {
		return path, err
	}
	return path, checkSealKey(dir, c.SealKey)
}

func checkSealKey(dir, sealKey string) error {
	v, _, err := openVault(dir, config.Path(dir, sealKey))
	if err != nil {
		return err
	}
	_, err = openNodeKeys(v) // the server's folder has those of its own gateway
	return err
}

func dataFlag(cmd *cobra.Command, data *string) {
	cmd.Flags().StringVar(data, "data", DefaultData, "data folder")
	// The error can only be a flag that is not there.
	_ = cmd.MarkFlagDirname("data")
}

// noArguments refuses what a command has no use for.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return brevet.Errorf(brevet.Invalid, "%s is too much: %s", brevet.Quote(args[0]), cmd.UseLine()).WithHint("%s --help", cmd.CommandPath())
}

// outliveReaders keeps the process alive when whoever reads its standard error has gone. Go would end it
// by SIGPIPE at the next line of its log, and every session with it; so the line is lost, and nothing else.
func outliveReaders() { signal.Ignore(syscall.SIGPIPE) }

// orderly is the outcome of a process that was asked to end: that it did is no failure.
func orderly(ctx context.Context, err error) error {
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return nil
	}
	return err
}
