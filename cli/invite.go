package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/cli/show"
	"github.com/brevet-pim/brevet/statement"
)

// longestCode is how long a one-time code can be good; the server's limit is the same.
const longestCode = 30 * 24 * 60 * 60 // seconds

func (a *app) peopleInvite() *cobra.Command {
	var uses []string
	var workload bool
	var owner, valid string
	cmd := &cobra.Command{
		Use:   "invite NAME",
		Short: "Make a one-time code with which somebody enrols a key",
		Long: `Make a one-time code. Whoever gives it to brevet login shows a key, and then waits for your signature
(brevet people sign). The code pins the server and the root, so send it by a way that nobody else
writes to.`,
		Example: `  brevet people invite bob
  brevet people invite alice --use approve --use administer
  brevet people invite deploy-bot --workload --owner alice`,
		Args:              arguments(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			life, err := show.ParseDuration(valid)
			if err != nil {
				return err
			}
			if life > longestCode {
				return brevet.Errorf(brevet.Invalid, "--valid %s is too long: a code is good for at most 30d", show.ExactDuration(life)).
					WithHint("they can use it at once, and you can make another")
			}
			if err := brevet.CheckName("person", args[0]); err != nil {
				return err
			}
			if workload != (owner != "") {
				return usage(cmd, "a workload needs an --owner, and only a workload has one")
			}
			if workload && slices.ContainsFunc(uses, func(use string) bool { return use != string(statement.UseRequest) }) {
				return usage(cmd, "a workload's key is to request and for nothing else: --use is for people")
			}
			kind := brevet.Person
			if workload {
				kind = brevet.Workload
			}
			asked := &brevetv1.InviteRequest{
				Person: args[0], Kind: string(kind), Owner: owner, ValidSeconds: int64(life),
				Uses: slices.Compact(sorted(append(uses, string(statement.UseRequest)))),
			}
			return a.invite(cmd.Context(), asked)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&uses, "use", nil, "what else the key may be used for: approve, administer, catalog (may be repeated)")
	f.BoolVar(&workload, "workload", false, "it is for a pipeline or an agent, not a person")
	f.StringVar(&owner, "owner", "", "person who answers for the workload")
	f.StringVar(&valid, "valid", "24h", "how long the code is good, at most 30d")
	_ = cmd.RegisterFlagCompletionFunc("use", cobra.FixedCompletions([]cobra.Completion{"approve", "administer", "catalog"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("owner", a.completePeople())
	return cmd
}

func (a *app) invite(ctx context.Context, asked *brevetv1.InviteRequest) error {
	s, err := a.connect()
	if err != nil {
		return err
	}
	if asked.GetOwner() != "" {
		if err := s.checkOwner(ctx, asked); err != nil {
			return err
		}
	}
	got, err := s.people.Invite(ctx, asked)
	if err != nil {
		return err
	}
	return a.print(got, func() error {
		a.tell("For %s, good once, until %s:", asked.GetPerson(), a.clock().At(when(got.GetUntil())))
		a.say("%s", got.GetCode())
		a.tell("They run: brevet login CODE. Then you run: brevet people sign %s", asked.GetPerson())
		return nil
	})
}

// checkOwner refuses an owner whom the roster would refuse once the code is answered.
func (s *session) checkOwner(ctx context.Context, asked *brevetv1.InviteRequest) error {
	state, err := s.roster(ctx)
	if err != nil {
		return err
	}
	if asked.GetOwner() == asked.GetPerson() {
		return brevet.Errorf(brevet.Invalid, "a workload cannot own itself").WithHint("--owner names the person who answers for it")
	}
	if kind, _ := state.Roster.Identity(brevet.PersonID(asked.GetOwner())); kind != brevet.Person {
		return missing("person", asked.GetOwner(), words(state.Roster.People()), "brevet people lists who can be an owner; a workload cannot")
	}
	return nil
}

func (a *app) peopleUninvite() *cobra.Command {
	return &cobra.Command{
		Use:   "uninvite NAME|CODE...",
		Short: "Withdraw one-time codes, answered or not, that nobody has signed for",
		Long: `Withdraw the one-time codes of somebody, or one of them, by what brevet people sign shows as its CODE (a
unique beginning will do). Nobody can answer it or sign for it any more. A key that is signed already
is ended by brevet keys retire.`,
		Example: `  brevet people uninvite bob
  brevet people uninvite 3f2a91c4`,
		Args:              arguments(1, -1),
		ValidArgsFunction: a.completeInvitations(),
		RunE: a.online(func(ctx context.Context, s *session, args []string) error {
			return a.forEach(args, func(typed string) error { return a.uninvite(ctx, s, typed) })
		}),
	}
}

func (a *app) uninvite(ctx context.Context, s *session, typed string) error {
	got, err := s.people.ListInvitations(ctx, &brevetv1.ListInvitationsRequest{})
	if err != nil {
		return err
	}
	chosen, err := invitationsOf(got.GetInvitations(), typed)
	if err != nil {
		return err
	}
	for _, i := range chosen {
		got, err := s.people.WithdrawInvitation(ctx, &brevetv1.WithdrawInvitationRequest{Code: i.GetCode()})
		if err != nil {
			return err
		}
		if err := a.print(got, func() error {
			a.good("code %s of %s is withdrawn; it was %s", shortCode(i), i.GetPerson(), i.GetState())
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// invitationsOf returns all invitations of the name that was typed, or the one whose code begins so.
func invitationsOf(list []*brevetv1.Invitation, typed string) ([]*brevetv1.Invitation, error) {
	var ofName, ofCode []*brevetv1.Invitation
	var names []string
	for _, i := range list {
		names = append(names, i.GetPerson())
		if i.GetPerson() == typed {
			ofName = append(ofName, i)
		}
		if len(typed) >= leastTyped && strings.HasPrefix(i.GetCode(), typed) {
			ofCode = append(ofCode, i)
		}
	}
	switch {
	case len(ofName) > 0:
		return ofName, nil
	case len(ofCode) > 1:
		return nil, brevet.Errorf(brevet.Conflict, "%d codes begin with %s", len(ofCode), brevet.Quote(typed)).WithHint("type more of it, as brevet people sign shows it")
	case len(ofCode) == 0:
		return nil, missing("invitation of", typed, names, "brevet people sign lists them with their codes")
	}
	return ofCode, nil
}

// leastTyped is how much of a code or a key must be typed at least, so that a variable of a script that is
// empty chooses nothing.
const leastTyped = 4

// shortCode is a code as people see and type it: the beginning of its digest.
func shortCode(i *brevetv1.Invitation) string { return i.GetCode()[:min(8, len(i.GetCode()))] }

// completeInvitations completes the people who are invited.
func (a *app) completeInvitations() completer {
	return a.completing(func(ctx context.Context, s *session, _ []string) ([]cobra.Completion, error) {
		got, err := s.people.ListInvitations(ctx, &brevetv1.ListInvitationsRequest{})
		var choices []cobra.Completion
		for _, i := range got.GetInvitations() {
			choices = append(choices, i.GetPerson())
		}
		return choices, err
	})
}
