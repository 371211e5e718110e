package cli

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/cli/home"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// hostSuffix is what makes a target's name one of Brevet's hosts.
const hostSuffix = ".brevet"

func (a *app) ssh() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ssh [LOGIN@]TARGET [SSH ARGUMENTS]",
		Short: "Run ssh to a target through its gateway",
		Long: `Run the ssh of this machine to a target, through the gateway that serves it. Without a grant you are
asked there why and for how long. What stands behind the target is for ssh: its options, a command.
After brevet ssh-config --install, plain ssh LOGIN@TARGET.brevet does the same.`,
		Example: `  brevet ssh root@web1
  brevet ssh root@web1 systemctl restart nginx
  brevet ssh web1                  as the login of your grant there`,
		Args:              arguments(1, -1),
		ValidArgsFunction: a.completeHost(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runSSH(cmd.Context(), args[0], args[1:])
		},
	}
	cmd.Flags().SetInterspersed(false) // what stands behind the target is ssh's
	return cmd
}

func (a *app) runSSH(ctx context.Context, destination string, more []string) error {
	program, err := exec.LookPath("ssh")
	if err != nil {
		return brevet.Errorf(brevet.Unavailable, "there is no ssh on this machine").WithHint("install an OpenSSH client")
	}
	login, target, found := strings.Cut(destination, "@")
	if !found {
		login, target = "", destination
	}
	target = strings.TrimSuffix(target, hostSuffix)
	if err := brevet.CheckName("target", target); err != nil {
		return err
	}
	s, err := a.connect()
	if err != nil {
		return err
	}
	if login == "" {
		if login, err = s.loginOn(ctx, target); err != nil {
			return err
		}
	}
	if err := s.writeTrust(ctx, a); err != nil {
		return err
	}
	options, err := a.sshOptions(s)
	if err != nil {
		return err
	}
	arguments := []string{"ssh"}
	for _, o := range options {
		arguments = append(arguments, "-o", o.name+"="+o.value)
	}
	arguments = append(arguments, "-l", login, target+hostSuffix)
	return syscall.Exec(program, append(arguments, more...), os.Environ())
}

// loginOn returns the login of the caller's one live grant on the target.
func (s *session) loginOn(ctx context.Context, target string) (string, error) {
	got, err := s.grants.ListGrants(ctx, &brevetv1.ListGrantsRequest{States: []string{string(brevet.Live)}, Person: string(s.profile.Person), PageSize: pageSize})
	if err != nil {
		return "", err
	}
	var logins []string
	for _, g := range got.GetGrants() {
		if slices.Contains(g.GetTargets(), target) {
			logins = append(logins, g.GetLogins()...)
		}
	}
	slices.Sort(logins)
	switch logins = slices.Compact(logins); len(logins) {
	case 1:
		return logins[0], nil
	case 0:
		return "", brevet.Errorf(brevet.Invalid, "say as whom: you hold no grant on %s that would tell", target).
			WithHint("brevet ssh LOGIN@%s; brevet roles shows the logins", target)
	}
	return "", brevet.Errorf(brevet.Invalid, "say as whom: your grants on %s give %s", target, strings.Join(logins, " and ")).
		WithHint("brevet ssh %s@%s", logins[0], target)
}

// option is one line of ssh's configuration.
type option struct{ name, value string }

// sshOptions are what ssh needs to reach a target: the way there, the authority that vouches for the
// host keys, and the one key to show.
func (a *app) sshOptions(s *session) ([]option, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, brevet.Errorf(brevet.Internal, "cannot tell where this program is").Because(err)
	}
	dir, err := filepath.Abs(s.home.Path(""))
	if err != nil {
		return nil, err
	}
	path := func(name string) string { return quoteSSH(filepath.Join(dir, name)) }
	proxy := "env BREVET_HOME=" + quoteShell(dir) + " " + quoteShell(self) + " ssh-proxy %h"
	if s.server != s.profile.Server {
		proxy += " --server " + quoteShell(s.server)
	}
	options := []option{
		{"ProxyCommand", proxy},
		{"UserKnownHostsFile", path(home.KnownHostsFile)},
		{"GlobalKnownHostsFile", "/dev/null"},
		{"StrictHostKeyChecking", "yes"}, // the authority vouches, or nobody does
		{"UpdateHostKeys", "no"},
		{"IdentitiesOnly", "yes"},
		{"PreferredAuthentications", "publickey,keyboard-interactive"},
		{"ForwardAgent", "no"},
	}
	if strings.HasPrefix(s.profile.Key, agentPrefix) {
		options = append(options, option{"IdentityFile", path(home.PublicKeyFile)})
	} else {
		options = append(options, option{"IdentityFile", quoteSSH(s.profile.Key)})
	}
	if s.profile.Agent != "" {
		options = append(options, option{"IdentityAgent", quoteSSH(s.profile.Agent)})
	}
	return options, nil
}

// quoteShell quotes a word for the shell that runs a ProxyCommand. ssh expands % before that.
func quoteShell(s string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(s, "'", `'\''`), "%", "%%") + "'"
}

// quoteSSH quotes a file name for ssh's configuration.
func quoteSSH(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%").Replace(s) + `"`
}

// writeTrust writes what ssh must know, from the verified roster: the authority of the gateways' host
// certificates, and the person's public key if it is in the agent.
func (s *session) writeTrust(ctx context.Context, a *app) error {
	state, err := s.roster(ctx)
	if err != nil {
		return err
	}
	hosts, err := knownHosts(state)
	if err != nil {
		return err
	}
	if err := s.home.Write(home.KnownHostsFile, hosts); err != nil {
		return err
	}
	if !strings.HasPrefix(s.profile.Key, agentPrefix) {
		return nil
	}
	signer, err := a.key(ctx)
	if err != nil {
		return err
	}
	return s.home.Write(home.PublicKeyFile, []byte(signer.Key().Public+"\n"))
}

// knownHosts are the lines that make ssh believe the organisation's host certificates, for Brevet's
// names only.
func knownHosts(state *proof.State) ([]byte, error) {
	var lines []byte
	for _, keys := range machineKeys(state, statement.MachineIssuer, statement.KeyHostCA) {
		for _, k := range keys {
			line, err := authorizedKey(k)
			if err != nil {
				return nil, err
			}
			lines = append(lines, "@cert-authority *"+hostSuffix+" "+line+"\n"...)
		}
	}
	if len(lines) == 0 {
		return nil, brevet.Errorf(brevet.Unavailable, "the roster names no authority for SSH host certificates")
	}
	return lines, nil
}

// authorizedKey returns a key as OpenSSH writes it.
func authorizedKey(k statement.Key) (string, error) {
	if k.Kind == statement.KindSSH {
		return k.Public, nil
	}
	public, err := k.Crypto()
	if err != nil {
		return "", err
	}
	converted, err := ssh.NewPublicKey(public)
	if err != nil {
		return "", brevet.Errorf(brevet.Invalid, "the key cannot be used with SSH").Because(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(converted))), nil
}
