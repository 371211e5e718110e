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
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

func (a *app) people() *cobra.Command {
	list := a.peopleList()
	cmd := &cobra.Command{
		Use:   "people",
		Short: "Who is there: invite, sign, suspend",
		Example: `  brevet people
  brevet people invite bob
  brevet people sign bob
  brevet people uninvite bob
  brevet people suspend bob --reason "laptop stolen"`,
		Args: noSuchCommand,
		RunE: list.RunE,
	}
	cmd.AddCommand(list, a.peopleInvite(), a.peopleUninvite(), a.peopleSign(), a.peopleSuspend(), a.peopleReinstate())
	return cmd
}

func (a *app) peopleList() *cobra.Command {
	return &cobra.Command{
		Use:               "list",
		Short:             "List people and workloads",
		Example:           `  brevet people list`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.online(func(ctx context.Context, s *session, _ []string) error {
			got, err := s.people.ListPeople(ctx, &brevetv1.ListPeopleRequest{})
			if err != nil {
				return err
			}
			return a.print(got, func() error { return a.table(peopleTable(got.GetPeople())) })
		}),
	}
}

func peopleTable(people []*brevetv1.Person) show.Table {
	t := show.Table{Head: []string{"WHO", "KIND", "GROUPS", "MAY", "KEYS", "STATE"}}
	for _, p := range people {
		kind := p.GetKind()
		if p.GetOwner() != "" {
			kind += " of " + p.GetOwner()
		}
		state := "active"
		if p.GetSuspended() {
			state = "suspended"
		}
		keys, uses := inForce(p.GetKeys())
		t.Add(p.GetId(), kind, strings.Join(p.GetGroups(), ", "), strings.Join(uses, ", "), count(keys), state)
	}
	return t
}

// inForce counts the keys that are not retired and returns what they may be used for together.
func inForce(keys []*brevetv1.Key) (n int, uses []string) {
	for _, k := range keys {
		if k.GetRetired() {
			continue
		}
		n++
		uses = append(uses, k.GetUses()...)
	}
	slices.Sort(uses)
	return n, slices.Compact(uses)
}

func (a *app) peopleSuspend() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "suspend NAME",
		Short: "End every grant and session of somebody now, and give them nothing until reinstated",
		Long: `End every grant and session of somebody now, and give them nothing until they are reinstated. The command
waits until each gateway has confirmed that nothing is left. If one has not after ten seconds the exit
status is 3: it will end, and brevet doctor shows which gateway is away.`,
		Example:           `  brevet people suspend bob --reason "laptop stolen"`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completePeople(),
		RunE: a.online(func(ctx context.Context, s *session, args []string) error {
			if _, err := s.person(ctx, args[0]); err != nil {
				return err
			}
			reason, err := a.reason(ctx, reason, "Why? ", "a suspension")
			if err != nil {
				return err
			}
			envelope, err := a.revocation(ctx, s, statement.RevokePerson, args[0], reason)
			if err != nil {
				return err
			}
			got, err := s.people.Suspend(ctx, &brevetv1.SuspendRequest{Statement: envelope.bytes, Wait: true})
			if err != nil {
				return err
			}
			return a.saySuspended(got)
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who are cut off and for the log (asked for if it is not given)")
	return cmd
}

func (a *app) saySuspended(got *brevetv1.SuspendResponse) error {
	name := got.GetPerson().GetId()
	err := a.print(got, func() error {
		a.good("%s is suspended; %s ended with it", name, plural(int(got.GetGrantsEnded()-got.GetGrantsLeft()), "grant"))
		if got.GetGrantsLeft() > 0 {
			a.caution("%s of theirs: not every gateway has confirmed the end yet; brevet grants --person %s shows when, brevet doctor which gateway is away",
				plural(int(got.GetGrantsLeft()), "grant"), name)
		}
		return nil
	})
	if err == nil && got.GetGrantsLeft() > 0 {
		return exit(statusNeedsYou)
	}
	return err
}

// person returns somebody of the roster as the server knows them.
func (s *session) person(ctx context.Context, name string) (*brevetv1.Person, error) {
	got, err := s.people.ListPeople(ctx, &brevetv1.ListPeopleRequest{})
	if err != nil {
		return nil, err
	}
	for _, p := range got.GetPeople() {
		if p.GetId() == name {
			return p, nil
		}
	}
	return nil, missing("person", name, idsOf(got.GetPeople()), "brevet people lists those that you may see")
}

// knownPerson refuses a name that nobody has who may be seen, if there is a name: a list that has nothing for
// it would say that there is nothing.
func (s *session) knownPerson(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	_, err := s.person(ctx, name)
	return err
}

// suspension returns the revocation that suspended the person: by the roster, or else by the word of the
// server. A reinstatement of another one lifts nothing, so that a wrong word does no harm.
func (s *session) suspension(ctx context.Context, state *proof.State, name string) (statement.ID, error) {
	if id, ok := state.Suspended(brevet.PersonID(name), latest); ok {
		return id, nil
	}
	p, err := s.person(ctx, name)
	if err != nil {
		return "", err
	}
	if p.GetSuspension() == "" {
		return "", brevet.Errorf(brevet.Conflict, "%s is not suspended", p.GetId()).WithHint("brevet people shows who is")
	}
	return statement.ID(p.GetSuspension()), nil
}

func (a *app) peopleReinstate() *cobra.Command {
	var reason string
	var yes bool
	cmd := &cobra.Command{
		Use:               "reinstate NAME",
		Short:             "Lift a suspension",
		Example:           `  brevet people reinstate bob --reason "laptop found, disk was encrypted"`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completePeople(),
		RunE: a.online(func(ctx context.Context, s *session, args []string) error {
			state, err := s.roster(ctx)
			if err != nil {
				return err
			}
			person := brevet.PersonID(args[0])
			suspension, err := s.suspension(ctx, state, args[0])
			if err != nil {
				return err
			}
			if reason, err = a.reason(ctx, reason, "Why? ", "a reinstatement"); err != nil {
				return err
			}
			now := time.Now()
			a.tell("reinstate %s: %s", person, reason)
			return a.signRoster(ctx, s, state, statement.Reinstate{
				Header: statement.NewHeader(state.Roster.Org(), now, now.Add(signingLife)), Link: next(state),
				Person: person, Revocation: suspension, Reason: reason,
			}, yes)
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the log (asked for if it is not given)")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}
