package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/cli/show"
	"github.com/brevet-pim/brevet/statement"
)

func (a *app) keys() *cobra.Command {
	list := a.keysList()
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Enrolled keys: list, retire",
		Example: `  brevet keys
  brevet keys list bob
  brevet keys retire SHA256:u7Qx… --reason "replaced"`,
		Args: noSuchCommand,
		RunE: list.RunE,
	}
	cmd.AddCommand(list, a.keysRetire())
	return cmd
}

func (a *app) keysList() *cobra.Command {
	return &cobra.Command{
		Use:               "list [PERSON]",
		Short:             "List enrolled keys",
		Example:           `  brevet keys list bob`,
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completePeople(),
		RunE: a.online(func(ctx context.Context, s *session, args []string) error {
			got, err := s.people.ListPeople(ctx, &brevetv1.ListPeopleRequest{})
			if err != nil {
				return err
			}
			if len(args) == 1 {
				got.People = slices.DeleteFunc(got.People, func(p *brevetv1.Person) bool { return p.GetId() != args[0] })
				if len(got.GetPeople()) == 0 {
					return missing("person", args[0], nil, "brevet people lists those that you may see")
				}
			}
			return a.print(got, func() error { return a.table(a.keysTable(got.GetPeople())) })
		}),
	}
}

func (a *app) keysTable(people []*brevetv1.Person) show.Table {
	t := show.Table{Head: []string{"WHO", "KEY", "MAY", "UNTIL", "STATE"}}
	for _, p := range people {
		for _, k := range p.GetKeys() {
			state := "in force"
			switch {
			case k.GetRetired():
				state = "retired"
			case p.GetSuspended():
				state = "suspended"
			}
			t.Add(p.GetId(), k.GetFingerprint(), strings.Join(k.GetUses(), ", "), a.clock().At(when(k.GetUntil())), state)
		}
	}
	return t
}

func (a *app) keysRetire() *cobra.Command {
	var reason, since string
	var yes bool
	cmd := &cobra.Command{
		Use:   "retire FINGERPRINT",
		Short: "End a key for good; what it signed since a given time becomes suspect",
		Example: `  brevet keys retire SHA256:u7Qx… --reason "replaced"
  brevet keys retire SHA256:u7Qx… --reason "stolen" --since 2026-11-20T08:00:00Z`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeKeys(),
		RunE: a.online(func(ctx context.Context, s *session, args []string) error {
			return a.retireKey(ctx, s, args[0], reason, since, yes)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&reason, "reason", "", "why, for the log")
	f.StringVar(&since, "since", "", "since when what it signed is suspect, as in 24h (ago) or 2026-11-20T08:00:00Z (else from now on)")
	f.BoolVarP(&yes, "yes", "y", false, "do not ask")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}

func (a *app) retireKey(ctx context.Context, s *session, fingerprint, reason, since string, yes bool) error {
	now := time.Now()
	suspect := now
	if from, err := pointInTime(since, now); err != nil {
		return err
	} else if from != nil {
		suspect = from.AsTime()
	}
	state, err := s.roster(ctx)
	if err != nil {
		return err
	}
	key, ok := state.Roster.Key(fingerprint, latest)
	if !ok {
		return brevet.Errorf(brevet.NotFound, "no key %s is enrolled", brevet.Quote(fingerprint)).WithHint("brevet keys lists them")
	}
	a.tell("retire %s of %s, what it signed since %s is suspect: %s", key.Fingerprint, key.Person, a.clock().Moment(suspect), reason)
	return a.signRoster(ctx, s, state, statement.Retire{
		Header: statement.NewHeader(state.Roster.Org(), now, now.Add(signingLife)), Link: next(state),
		Person: key.Person, Key: key.Fingerprint, Since: suspect.UnixMicro(), Reason: reason,
	}, yes)
}
