package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/cli/show"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// MachineFile is what a machine says of itself for an administrator to sign: a machine statement but
// for its place in the roster. brevet gateway init writes it.
type MachineFile struct {
	Name      brevet.MachineID       `json:"name"`
	Use       statement.MachineUse   `json:"use"`
	Keys      []statement.MachineKey `json:"keys"`
	Targets   brevet.Selector        `json:"targets"`
	Addresses []string               `json:"addresses"`
}

// Describe says in lines what would be signed of the machine: those that it shows itself can be compared with
// those that the administrator is shown.
func (m MachineFile) Describe() ([]string, error) {
	lines := []string{fmt.Sprintf("%s %s, for targets %s, connecting from %s, with the keys", m.Use, m.Name, describeTargets(m.Targets), strings.Join(m.Addresses, ", "))}
	for _, k := range m.Keys {
		fingerprint, err := statement.Fingerprint(k.Key)
		if err != nil {
			return nil, err
		}
		lines = append(lines, fmt.Sprintf("  %-10s %s", k.Use, fingerprint))
	}
	return lines, nil
}

func (a *app) machines() *cobra.Command {
	list := a.machinesList()
	cmd := &cobra.Command{
		Use:   "machines",
		Short: "Gateways and other machines of ours: list, add, remove",
		Example: `  brevet machines
  brevet machines add brevet-data/gw-2.machine.json
  brevet machines remove gw-2`,
		Args: noSuchCommand,
		RunE: list.RunE,
	}
	cmd.AddCommand(list, a.machinesAdd(), a.machinesRemove())
	return cmd
}

func (a *app) machinesList() *cobra.Command {
	return &cobra.Command{
		Use:               "list",
		Short:             "List machines, and what a new one must know",
		Example:           `  brevet machines list`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.online(func(ctx context.Context, s *session, _ []string) error {
			got, err := s.people.ListMachines(ctx, &brevetv1.ListMachinesRequest{})
			if err != nil {
				return err
			}
			state, err := s.roster(ctx)
			if err != nil {
				return err
			}
			return a.print(got, func() error {
				a.tell("A new gateway: brevet gateway init --name NAME --server-address %s --root %s --pin %s", s.profile.Server, s.profile.Root, s.profile.Pin)
				return a.table(machinesTable(got.GetMachines(), state))
			})
		}),
	}
}

// machinesTable has the host keys of gateways, by the roster: whoever comes with a plain ssh compares them.
func machinesTable(list []*brevetv1.Machine, by *proof.State) show.Table {
	t := show.Table{Head: []string{"MACHINE", "USE", "STATE", "SESSIONS", "HOST KEY"}}
	for _, m := range list {
		state := ""
		switch {
		case m.GetConnected():
			state = "connected"
		case m.GetUse() == string(statement.MachineGateway):
			state = "not connected"
		}
		sessions := ""
		if m.GetSessions() > 0 {
			sessions = strconv.Itoa(int(m.GetSessions()))
		}
		hostKey := ""
		signed, _ := by.Roster.Machine(brevet.MachineID(m.GetId()), latest)
		for _, k := range signed.Keys {
			if k.Use == statement.KeyHost {
				hostKey, _ = statement.Fingerprint(k.Key) // a key without one would not be in the roster
			}
		}
		t.Add(m.GetId(), m.GetUse(), state, sessions, hostKey)
	}
	return t
}

func (a *app) machinesAdd() *cobra.Command {
	var file string
	var yes bool
	cmd := &cobra.Command{
		Use:   "add FILE",
		Short: "Sign that a machine is ours, from the file that it wrote",
		Long: `Sign that a machine is ours. FILE is what brevet gateway init wrote on it: compare the fingerprints with
those shown there. Whoever has these keys can carry sessions to the targets that are shown.`,
		Example: `  brevet machines add brevet-data/gw-2.machine.json
  brevet machines add --statement machine-7f31c0a2.json      add your signature to another's`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (file != "") == (len(args) == 1) {
				return usage(cmd, "name the machine's file, or --statement")
			}
			if file != "" {
				return a.signFile(cmd.Context(), file, yes)
			}
			return a.addMachine(cmd.Context(), args[0], yes)
		},
	}
	cmd.Flags().StringVar(&file, "statement", "", "add a signature to the statement in this file")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// maxMachineFile bounds what is read of a machine.
const maxMachineFile = 64 << 10

func (a *app) addMachine(ctx context.Context, path string, yes bool) error {
	b, err := a.readFile(path, maxMachineFile)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.DisallowUnknownFields()
	var m MachineFile
	if err := decoder.Decode(&m); err != nil {
		return brevet.Errorf(brevet.Invalid, "%s is not what a machine writes of itself: %v", brevet.Quote(path), err).WithHint("brevet gateway init writes it")
	}
	if m.Use != statement.MachineGateway {
		return brevet.Errorf(brevet.Invalid, "only gateways are added: %s would be %s", m.Name, brevet.Quote(string(m.Use)))
	}
	s, err := a.connect()
	if err != nil {
		return err
	}
	state, err := s.roster(ctx)
	if err != nil {
		return err
	}
	lines, err := m.Describe()
	if err != nil {
		return err
	}
	for _, line := range lines {
		a.tell("%s", line)
	}
	wanted := m.next(state)
	if there, ok := state.Roster.Machine(m.Name, latest); ok && sameMachine(there, wanted) {
		a.tell("%s is in the roster already, with these keys and targets: nothing was signed.", m.Name)
		return nil
	}
	return a.signRoster(ctx, s, state, wanted, yes)
}

// sameMachine reports whether two statements say the same of a machine.
func sameMachine(a, b statement.Machine) bool {
	return a.Use == b.Use && slices.Equal(a.Keys, b.Keys) && a.Targets.Kind == b.Targets.Kind && maps.Equal(a.Targets.Labels, b.Targets.Labels) &&
		slices.Equal(a.Targets.Names, b.Targets.Names) && slices.Equal(a.Addresses, b.Addresses)
}

func describeTargets(s brevet.Selector) string {
	var words []string
	for k, v := range s.Labels {
		words = append(words, k+"="+v)
	}
	slices.Sort(words)
	for _, name := range s.Names {
		words = append(words, string(name))
	}
	if len(words) == 0 {
		return "of kind " + string(s.Kind) + ", all of them"
	}
	return "of kind " + string(s.Kind) + ": " + strings.Join(words, ", ")
}

// next is the machine's statement in the next place of the roster.
func (m MachineFile) next(state *proof.State) statement.Machine {
	now := time.Now()
	if m.Targets.Labels == nil {
		m.Targets.Labels = map[string]string{}
	}
	if m.Targets.Names == nil {
		m.Targets.Names = []brevet.TargetID{}
	}
	if m.Keys == nil {
		m.Keys = []statement.MachineKey{}
	}
	if m.Addresses == nil {
		m.Addresses = []string{}
	}
	slices.Sort(m.Targets.Names)
	slices.Sort(m.Addresses)
	return statement.Machine{
		Header: statement.NewHeader(state.Roster.Org(), now, now.Add(signingLife)), Link: next(state),
		Name: m.Name, Use: m.Use, Keys: m.Keys, Targets: m.Targets, Addresses: m.Addresses,
	}
}

func (a *app) machinesRemove() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               "remove NAME",
		Short:             "Sign that a gateway is no longer ours: nothing is given through it any more",
		Example:           `  brevet machines remove gw-2`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeGateways(),
		RunE: a.online(func(ctx context.Context, s *session, args []string) error {
			state, err := s.roster(ctx)
			if err != nil {
				return err
			}
			m, ok := state.Roster.Machine(brevet.MachineID(args[0]), latest)
			if !ok {
				return missing("machine", args[0], machineNames(state), "brevet machines lists them")
			}
			if m.Use != statement.MachineGateway {
				return brevet.Errorf(brevet.Refused, "%s is the %s: without it nothing works", m.Name, m.Use)
			}
			a.tell("gateway %s is no longer ours: grants through it are over, and nothing new is given", m.Name)
			return a.signRoster(ctx, s, state, MachineFile{Name: m.Name, Use: m.Use}.next(state), yes)
		}),
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func machineNames(state *proof.State) []string {
	var names []string
	for _, m := range state.Roster.Machines(statement.MachineGateway, latest) {
		names = append(names, string(m.Name))
	}
	return names
}

func (a *app) sshCA() *cobra.Command {
	return &cobra.Command{
		Use:   "ssh-ca",
		Short: "What the sshd of a target must trust",
		Long: `Print the key of the issuer's authority for SSH user certificates, from the verified roster. On each
target, put it in a file that TrustedUserCAKeys of sshd_config names, and let AuthorizedPrincipalsFile
name, for each login, a file with the one line TARGET/LOGIN. Then Brevet's certificates open that
login on that target, and nothing else.`,
		Example: `  brevet ssh-ca > /etc/ssh/brevet_ca.pub
  echo 'TrustedUserCAKeys /etc/ssh/brevet_ca.pub'                       >> /etc/ssh/sshd_config
  echo 'AuthorizedPrincipalsFile /etc/ssh/brevet_principals/%u'         >> /etc/ssh/sshd_config
  echo web1/root > /etc/ssh/brevet_principals/root`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.online(func(ctx context.Context, s *session, _ []string) error {
			state, err := s.roster(ctx)
			if err != nil {
				return err
			}
			for name, keys := range machineKeys(state, statement.MachineIssuer, statement.KeyUserCA) {
				for _, k := range keys {
					a.say("%s brevet-%s", k.Public, name)
				}
			}
			return nil
		}),
	}
}
