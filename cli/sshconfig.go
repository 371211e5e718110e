package cli

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/cli/home"
)

func (a *app) sshConfig() *cobra.Command {
	var install bool
	cmd := &cobra.Command{
		Use:   "ssh-config",
		Short: "What plain ssh needs to reach targets as LOGIN@TARGET.brevet",
		Long: `Print the lines with which plain ssh, scp, rsync and git reach targets as LOGIN@TARGET.brevet, or with
--install write them to a file of Brevet's own and add one Include line to ~/.ssh/config.`,
		Example: `  brevet ssh-config --install
  ssh root@web1.brevet
  brevet ssh-config >> ~/.ssh/config`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.online(func(ctx context.Context, s *session, _ []string) error {
			block, err := a.sshBlock(ctx, s)
			if err != nil {
				return err
			}
			if !install {
				_, err := a.out.Write(block)
				return err
			}
			return a.installSSH(s, block)
		}),
	}
	cmd.Flags().BoolVar(&install, "install", false, "write the lines to a file of Brevet's own, and include it in ~/.ssh/config")
	return cmd
}

func (a *app) sshBlock(ctx context.Context, s *session) ([]byte, error) {
	if err := s.writeTrust(ctx, a); err != nil {
		return nil, err
	}
	options, err := a.sshOptions(s)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString("# Made by brevet ssh-config for " + string(s.profile.Person) + "; it is made anew, so change nothing here.\n")
	b.WriteString("Host *" + hostSuffix + "\n")
	for _, o := range options {
		b.WriteString("  " + o.name + " " + o.value + "\n")
	}
	return b.Bytes(), nil
}

// installSSH includes a file of Brevet's own in the person's ssh configuration. Include must stand before
// the first Host line, else it counts for that host only.
func (a *app) installSSH(s *session, block []byte) error {
	if err := s.home.Write(home.SSHConfigFile, block); err != nil {
		return err
	}
	own, err := filepath.Abs(s.home.Path(home.SSHConfigFile))
	if err != nil {
		return err
	}
	include := includeLine(own)
	dir := filepath.Join(a.getenv("HOME"), ".ssh")
	config := filepath.Join(dir, "config")
	if resolved, err := filepath.EvalSymlinks(config); err == nil {
		config = resolved // people keep it elsewhere and link to it
	}
	before, err := os.ReadFile(config)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return brevet.Errorf(brevet.Unavailable, "cannot read %s", brevet.Quote(config)).Because(err)
	}
	if !strings.Contains("\n"+string(before), "\n"+include) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return cannotWrite(dir, err)
		}
		if err := writeFile(config, append([]byte(include), before...)); err != nil {
			return err
		}
	}
	a.say("%s", own)
	a.tell("Included in %s. Try: ssh LOGIN@TARGET%s", config, hostSuffix)
	return nil
}

func includeLine(file string) string { return "Include " + quoteSSH(file) + "\n" }
