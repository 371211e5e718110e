package server

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/cli/home"
	"github.com/brevet-pim/brevet/server/config"
	"github.com/brevet-pim/brevet/statement"
)

// initFlags are what brevet init can be told.
type initFlags struct {
	data, organisation, founder, key, home, catalog string
	listen, address, sshListen, sshAddress          string
	database, sealKey                               string
	gatewayRanges                                   []string
}

func initCommand() *cobra.Command {
	var f initFlags
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Found an organisation: keys, root, first catalog",
		Long: `Found an organisation. The founder, its first administrator, signs its root, its machines and its first
catalog with an SSH or FIDO key of theirs; without --key, one is made in their folder, and at a terminal its
passphrase is asked for. Everything that the server needs is put into the data folder, and the founder's own
folder learns where the server is.

Compare the root that is printed with whoever joins later: it is what everything is verified from.`,
		Example: `  brevet init --organisation "Example Ltd" --founder alice
  brevet init --founder alice --key ~/.ssh/id_ed25519_sk
  brevet init --founder alice --key agent --address brevet.example.org:7443 --listen 0.0.0.0:7443
  brevet init --founder alice --database env:DATABASE_URL --data /var/lib/brevet`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	dataFlag(cmd, &f.data)
	flags := cmd.Flags()
	flags.StringVar(&f.organisation, "organisation", "", "name of the organisation (else this machine's)")
	flags.StringVar(&f.founder, "founder", "", "name of the founder (else your account's)")
	flags.StringVar(&f.key, "key", "", "the founder's key: a private key file, agent, or SHA256:… of one in the agent (else a new one)")
	flags.StringVar(&f.home, "home", "", "the founder's folder (else $BREVET_HOME, else ~/.config/brevet)")
	flags.StringVar(&f.catalog, "catalog", "", "folder with the first catalog (else a small one to begin with)")
	flags.StringVar(&f.listen, "listen", "", "where the API listens (else "+config.DefaultListen+")")
	flags.StringVar(&f.address, "address", "", "where people's machines reach the API, host:port (else --listen)")
	flags.StringVar(&f.sshListen, "ssh-listen", "", "where the gateway listens (else "+config.DefaultGatewayListen+")")
	flags.StringVar(&f.sshAddress, "ssh-address", "", "where people's machines reach the gateway, host:port (else --ssh-listen)")
	flags.StringVar(&f.database, "database", "", "where the URL of a PostgreSQL database stands: file:PATH or env:NAME (else SQLite in the data folder)")
	flags.StringVar(&f.sealKey, "seal-key", "", "file of the key that seals what is kept at rest (else a new one in the data folder)")
	flags.StringSliceVar(&f.gatewayRanges, "gateway-addresses", nil, "ranges that targets see the gateway connect from (else this machine's addresses)")
	// The errors can only be of flags that are not there.
	_ = cmd.MarkFlagDirname("home")
	_ = cmd.MarkFlagDirname("catalog")
	return cmd
}

// run founds the organisation, and tells the founder's folder of it.
func (f *initFlags) run(ctx context.Context, out io.Writer) error {
	if err := f.fill(); err != nil {
		return err
	}
	if err := f.checkFounder(); err != nil { // before the first catalog, which would name a file that nobody wrote
		return err
	}
	founding, err := f.founding()
	if err != nil {
		return err
	}
	if err := founding.check(); err != nil { // before a key is made for nothing
		return err
	}
	dir := f.home
	if dir == "" {
		if dir, err = home.Dir(os.Getenv); err != nil {
			return err
		}
	}
	h, err := home.Open(dir)
	if err != nil {
		return err
	}
	defer h.Close()
	if p, err := h.Profile(); err == nil && !f.mine(p) {
		return brevet.Errorf(brevet.Conflict, "%s is signed in as %s at %s", dir, p.Person, p.Server).
			WithHint("give the founder another folder: --home DIR; or forget that one: brevet logout --forget")
	}
	var key string
	if founding.Signer, key, err = founderKey(ctx, h, f.key, founding.Founder); err != nil {
		return err
	}
	founding.Tell = func(done Founded) error { return introduce(h, founding.Signer, key, done) }
	done, err := Found(ctx, founding)
	if err != nil {
		return err
	}
	f.report(out, done, dir, key)
	return nil
}

// mine reports whether the profile is of a founding that was cut off: then it may be written again.
func (f *initFlags) mine(p home.Profile) bool {
	begun, unfinished, err := readFounding(f.data)
	if err != nil || !unfinished {
		return false
	}
	first, err := statement.Parse(begun.Statements[0])
	return err == nil && string(first.ID()) == p.Root
}

// introduce writes the founder's profile.
func introduce(h *home.Home, signer statement.Signer, key string, done Founded) error {
	mine, err := statement.Fingerprint(signer.Key())
	if err != nil {
		return err
	}
	if mine != done.Key {
		return brevet.Errorf(brevet.Conflict, "%s has begun this organisation with the key %s, and this is %s", done.Founder, done.Key, mine).
			WithHint("give that key: --key …; or begin anew, having removed the data folder")
	}
	return h.SetProfile(done.Profile(key))
}

// fill says what the flags left open.
func (f *initFlags) fill() error {
	if f.organisation == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("find this machine's name: %w", err)
		}
		f.organisation = name
	}
	if f.founder == "" {
		me, err := user.Current()
		if err != nil {
			return fmt.Errorf("find your account's name: %w", err)
		}
		f.founder = strings.ToLower(me.Username)
	}
	if f.sealKey == "" {
		return nil
	}
	var err error
	f.sealKey, err = filepath.Abs(f.sealKey)
	return err
}

func (f *initFlags) checkFounder() error {
	err := brevet.CheckName("person", f.founder)
	if err == nil {
		return nil
	}
	message, _ := brevet.MessageOf(err)
	return brevet.Errorf(brevet.Invalid, "the founder: %s", message).WithHint("name them: --founder alice")
}

func (f *initFlags) founding() (Founding, error) {
	founding := Founding{
		Data: f.data, Organisation: f.organisation, Founder: brevet.PersonID(f.founder), Addresses: f.gatewayRanges,
		Config: config.Config{
			Listen: f.listen, Address: f.address, Database: f.database, SealKey: f.sealKey,
			Gateway: config.Gateway{Listen: f.sshListen, Address: f.sshAddress},
		},
	}
	var err error
	if f.catalog == "" {
		founding.Catalog, founding.Files, err = catalog.Starter(catalog.Start{Admins: []brevet.PersonID{founding.Founder}})
		return founding, err
	}
	c, problems, err := catalog.ReadDir(f.catalog)
	if err == nil {
		err = problems.Err()
	}
	founding.Catalog = c
	return founding, err
}

// report prints what there is now, and what to do next.
func (f *initFlags) report(out io.Writer, done Founded, dir, key string) {
	line := func(what, format string, args ...any) {
		fmt.Fprintf(out, "%-14s%s\n", what, fmt.Sprintf(format, args...))
	}
	line("organisation", "%s, founded by %s", brevet.Quote(done.Organisation), done.Founder)
	line("root", "%s", done.Root)
	line("pin", "%s", done.Pin)
	line("key", "%s  %s", done.Key, key)
	line("data folder", "%s", f.data)
	line("your folder", "%s", dir)
	fmt.Fprintf(out, "\nKeep the root where nobody can change it: everything is verified from it.\n\nNext:\n")
	next := func(command, what string) { fmt.Fprintf(out, "  %-45s %s\n", command, what) }
	next("brevet server --data "+f.data, "run it")
	next("brevet whoami", "in another terminal: you, as the server sees you")
	if f.catalog == "" {
		next("brevet apply -f "+filepath.Join(f.data, catalogDir), "roles and targets, once you have written yours there")
	}
	next("brevet people invite bob", "a code for somebody to join with")
}
