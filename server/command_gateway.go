package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/cli"
	"github.com/brevet-pim/brevet/cli/home"
	"github.com/brevet-pim/brevet/seal"
	"github.com/brevet-pim/brevet/server/config"
	"github.com/brevet-pim/brevet/statement"
)

// nodeFlags are what brevet gateway init can be told.
type nodeFlags struct {
	data, name, server, root, pin string
	listen, address               string
	ranges, targets               []string
	labels                        map[string]string
}

func gatewayInitCommand() *cobra.Command {
	var f nodeFlags
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Prepare a gateway of its own: its keys, and what an administrator signs",
		Long: `Make the keys and the configuration of a gateway that runs by itself, and a file NAME.machine.json that says
which keys they are. The private keys stay here. An administrator signs the file with brevet machines add;
from then on the gateway may serve. Server, root and pin are taken from your own sign-in if you have one.`,
		Example: `  brevet gateway init --name gw-2 --listen 0.0.0.0:7022 --address gw2.example.org:7022
  brevet gateway init --name gw-2 --server-address brevet.example.org:7443 --root 5b9c… --pin 07d2… --data /var/lib/brevet
  brevet gateway init --name gw-eu --target-label region=eu`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	dataFlag(cmd, &f.data)
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "name of the gateway")
	flags.StringVar(&f.server, "server-address", "", "the control plane, host:port (else that of your sign-in)")
	flags.StringVar(&f.root, "root", "", "the organisation's root, 64 hexadecimal digits (else that of your sign-in)")
	flags.StringVar(&f.pin, "pin", "", "pin of the server's authority, 64 hexadecimal digits (else that of your sign-in)")
	flags.StringVar(&f.listen, "listen", "", "where the gateway listens (else "+config.DefaultGatewayListen+")")
	flags.StringVar(&f.address, "address", "", "where people's machines reach it, host:port (else --listen)")
	flags.StringSliceVar(&f.ranges, "addresses", nil, "ranges that targets see it connect from (else this machine's addresses)")
	flags.StringSliceVar(&f.targets, "target", nil, "targets that it serves (else all)")
	flags.StringToStringVar(&f.labels, "target-label", nil, "labels that targets it serves must have, as in region=eu")
	_ = cmd.MarkFlagRequired("name")
	return cmd
}

func (f *nodeFlags) run(_ context.Context, out io.Writer) error {
	c, err := f.config()
	if err != nil {
		return err
	}
	text, err := c.Text()
	if err != nil {
		return err
	}
	if _, err := config.ParseNode(text); err != nil {
		return err
	}
	if err := f.claim(); err != nil {
		return err
	}
	machine, err := f.make(c)
	if err != nil {
		return err
	}
	file, lines, err := f.write(machine)
	if err != nil {
		return err
	}
	// Last: it is what says that the folder is whole.
	if err := seal.CreateFile(filepath.Join(f.data, config.NodeName), text); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s is ready in %s\n\n%s\n\nNext:\n", f.name, f.data, strings.Join(lines, "\n"))
	fmt.Fprintf(out, "  %-45s an administrator signs that it is ours\n", "brevet machines add "+file)
	fmt.Fprintf(out, "  %-45s run it\n", "brevet gateway --data "+f.data)
	return nil
}

func (f *nodeFlags) config() (config.Node, error) {
	c := config.Node{Name: f.name, Server: f.server, Root: f.root, Pin: f.pin, Listen: f.listen, Address: f.address}
	if c.Server != "" && c.Root != "" && c.Pin != "" {
		return c, nil
	}
	dir, err := home.Dir(os.Getenv)
	if err != nil {
		return c, err
	}
	h, err := home.Open(dir)
	if err != nil {
		return c, err
	}
	defer h.Close()
	p, err := h.Profile()
	if err != nil {
		return c, brevet.Errorf(brevet.Invalid, "the gateway must know its server, and nobody is signed in here to take it from").Because(err).
			WithHint("give --server-address, --root and --pin, as brevet machines shows them to an administrator")
	}
	if c.Root != "" && c.Root != p.Root {
		return c, brevet.Errorf(brevet.Invalid, "--root is of another organisation than the one that you are signed in to").WithHint("give --server-address and --pin too")
	}
	c.Server, c.Root, c.Pin = or(c.Server, p.Server), p.Root, or(c.Pin, p.Pin)
	return c, nil
}

func or(first, second string) string {
	if first != "" {
		return first
	}
	return second
}

// claim makes the folder, or takes an empty one.
func (f *nodeFlags) claim() error {
	entries, err := os.ReadDir(f.data)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at the data folder: %w", err)
	}
	if len(entries) > 0 {
		return brevet.Errorf(brevet.Conflict, "%s is not empty", f.data).WithHint("name a folder that is not there yet: --data DIR; or remove this one")
	}
	if err := os.MkdirAll(f.data, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	return os.Chmod(f.data, 0o700)
}

// make makes the keys, and what the machine says of itself.
func (f *nodeFlags) make(c config.Node) (cli.MachineFile, error) {
	key := filepath.Join(f.data, config.DefaultSealKey)
	if _, err := seal.CreateKey(key); err != nil {
		return cli.MachineFile{}, err
	}
	v, _, err := openVault(f.data, key)
	if err != nil {
		return cli.MachineFile{}, err
	}
	keys, err := newNodeKeys(v)
	if err != nil {
		return cli.MachineFile{}, err
	}
	machine := cli.MachineFile{
		Name: brevet.MachineID(c.Name), Use: statement.MachineGateway,
		Targets: brevet.Selector{Kind: brevet.SSHHost, Labels: f.labels}, Addresses: f.ranges,
	}
	for _, t := range f.targets {
		machine.Targets.Names = append(machine.Targets.Names, brevet.TargetID(t))
	}
	if machine.Keys, err = keys.roster(); err != nil {
		return cli.MachineFile{}, err
	}
	if machine.Addresses == nil {
		machine.Addresses, err = ownRanges()
	}
	return machine, err
}

// write writes the file that an administrator signs, and says in lines what they will see of it.
func (f *nodeFlags) write(machine cli.MachineFile) (file string, lines []string, err error) {
	if lines, err = machine.Describe(); err != nil {
		return "", nil, err
	}
	b, err := json.MarshalIndent(machine, "", "  ")
	if err != nil {
		return "", nil, fmt.Errorf("write what an administrator signs: %w", err)
	}
	file = filepath.Join(f.data, f.name+".machine.json")
	return file, lines, seal.CreateFile(file, append(b, '\n'))
}
