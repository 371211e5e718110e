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
  brevet people suspend bob --reason "laptop stolen"`,
		Args: noSuchCommand,
		RunE: list.RunE,
	}
	cmd.AddCommand(list, a.peopleInvite(), a.peopleSign(), a.peopleSuspend(), a.peopleReinstate())
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

func (a *app) peopleSign() *cobra.Command {
	var all, yes bool
	var keyLife, file string
	cmd := &cobra.Command{
		Use:   "sign [NAME...]",
		Short: "Sign that keys belong to people, many at once if need be",
		Long: `Sign that keys belong to the people who showed them. Compare each fingerprint with what its owner sees.
Where more than one administrator must sign, the statement is written to a file for the next one.`,
		Example: `  brevet people sign                       who waits
  brevet people sign bob carol
  brevet people sign --all
  brevet people sign --statement enrol-7.json   add your signature to another's`,
		ValidArgsFunction: a.completePeople(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if file != "" {
				return a.signFile(cmd.Context(), file, yes)
			}
			life, err := show.ParseDuration(keyLife)
			if err != nil {
				return err
			}
			return a.signPeople(cmd.Context(), args, all, yes, life)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&all, "all", false, "everybody who waits")
	f.BoolVarP(&yes, "yes", "y", false, "do not ask")
	f.StringVar(&keyLife, "key-life", "365d", "how long the keys are good")
	f.StringVar(&file, "statement", "", "add a signature to the statement in this file")
	return cmd
}

const answered = "answered"

func (a *app) signPeople(ctx context.Context, names []string, all, yes bool, life brevet.Seconds) error {
	s, err := a.connect()
	if err != nil {
		return err
	}
	got, err := s.people.ListInvitations(ctx, &brevetv1.ListInvitationsRequest{})
	if err != nil {
		return err
	}
	if len(names) == 0 && !all {
		return a.print(got, func() error {
			return a.tableOf(a.invitationsTable(got.GetInvitations()), "", "Nobody waits for a signature. brevet people invite NAME makes a code.")
		})
	}
	chosen, err := choose(got.GetInvitations(), names, all)
	if err != nil {
		return err
	}
	state, err := s.roster(ctx)
	if err != nil {
		return err
	}
	statement, err := enrolment(state, chosen, life)
	if err != nil {
		return err
	}
	a.showEnrolments(statement)
	return a.signRoster(ctx, s, state, statement, yes)
}

func (a *app) invitationsTable(list []*brevetv1.Invitation) show.Table {
	t := show.Table{Head: []string{"WHO", "KIND", "MAY", "KEY", "STATE", "UNTIL"}}
	for _, i := range list {
		t.Add(i.GetPerson(), i.GetKind(), strings.Join(i.GetUses(), ", "), i.GetFingerprint(), i.GetState(), a.clock().At(when(i.GetUntil())))
	}
	return t
}

// choose returns the answered invitations of the names, or all.
func choose(list []*brevetv1.Invitation, names []string, all bool) ([]*brevetv1.Invitation, error) {
	var waiting []string
	var chosen []*brevetv1.Invitation
	for _, i := range list {
		if i.GetState() != answered {
			continue
		}
		waiting = append(waiting, i.GetPerson())
		if all || slices.Contains(names, i.GetPerson()) {
			chosen = append(chosen, i)
		}
	}
	for _, n := range names {
		if !slices.Contains(waiting, n) {
			return nil, missing("answered invitation of", n, waiting, "brevet people sign lists who waits; they must run brevet login CODE first")
		}
	}
	if len(chosen) == 0 {
		return nil, brevet.Errorf(brevet.NotFound, "nobody waits for a signature").WithHint("brevet people invite NAME")
	}
	return chosen, nil
}

// keySlack lets a key be used at once by a machine whose clock is a little behind.
const keySlack = time.Minute

// enrolment makes one statement of the invitations. Each key's possession is verified here: the server's
// word is not enough to sign upon.
func enrolment(state *proof.State, chosen []*brevetv1.Invitation, life brevet.Seconds) (statement.Enrol, error) {
	now := time.Now()
	e := statement.Enrol{Header: statement.NewHeader(state.Roster.Org(), now, now.Add(signingLife)), Link: next(state)}
	for _, i := range chosen {
		key, err := statement.ParseSSHKey(i.GetPublicKey())
		if err != nil {
			return e, err
		}
		uses := make([]statement.Use, 0, len(i.GetUses()))
		for _, u := range slices.Compact(sorted(i.GetUses())) {
			uses = append(uses, statement.Use(u))
		}
		one := statement.Enrolment{
			Person: brevet.PersonID(i.GetPerson()), Kind: brevet.IdentityKind(i.GetKind()), Owner: brevet.PersonID(i.GetOwner()),
			Key: key, Uses: uses, From: now.Add(-keySlack).UnixMicro(), Until: now.Add(life.Duration()).UnixMicro(),
			Code: i.GetCode(), Possession: i.GetPossession(),
		}
		if _, err := one.CheckPossession(state.Roster.Org()); err != nil {
			return e, err
		}
		e.Enrolments = append(e.Enrolments, one)
	}
	return e, nil
}

func (a *app) showEnrolments(e statement.Enrol) {
	for _, one := range e.Enrolments {
		fingerprint, err := statement.Fingerprint(one.Key)
		if err != nil {
			fingerprint = "a key that cannot be read"
		}
		who := string(one.Person)
		if one.Owner != "" {
			who += " (workload of " + string(one.Owner) + ")"
		}
		a.tell("%s  may %s  with %s  until %s", who, strings.Join(words(one.Uses), ", "), fingerprint, a.clock().At(time.UnixMicro(one.Until)))
	}
}

func words[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = string(w)
	}
	return out
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
