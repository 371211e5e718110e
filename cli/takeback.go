package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/cli/show"
	"github.com/brevet-pim/brevet/statement"
)

// What takes away: a no to a request, the cancelling of one's own, the end of a grant. Each is a
// signed revocation.

func (a *app) deny() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:               "deny REQUEST...",
		Short:             "Say no to a request, for good",
		Example:           `  brevet deny req_7k2m --reason "use web-shell for that"`,
		Args:              arguments(1, -1),
		ValidArgsFunction: a.completeRequests(&brevetv1.ListRequestsRequest{ForMe: true}),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.forEach(args, func(id string) error { return a.refuseTyped(cmd.Context(), id, reason, "") })
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the requester and the log (asked for if it is not given)")
	return cmd
}

func (a *app) cancel() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:               "cancel REQUEST...",
		Short:             "Take back a request of your own",
		Example:           `  brevet cancel req_7k2m`,
		Args:              arguments(1, -1),
		ValidArgsFunction: a.completeRequests(&brevetv1.ListRequestsRequest{Mine: true}),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.forEach(args, func(id string) error {
				return a.refuseTyped(cmd.Context(), id, reason, "cancelled by its requester")
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the log")
	return cmd
}

// refuseTyped refuses the request that was typed. A usual reason makes it a cancelling.
func (a *app) refuseTyped(ctx context.Context, typed, reason, usual string) error {
	s, err := a.connect()
	if err != nil {
		return err
	}
	r, err := s.requestOf(ctx, typed)
	if err != nil {
		return err
	}
	if err := stillOpen(r); err != nil {
		return err
	}
	own := r.GetPerson() == string(s.profile.Person)
	if usual != "" && !own {
		return brevet.Errorf(brevet.Refused, "%s is a request of %s", short(r.GetId()), r.GetPerson()).
			WithHint("brevet deny %s says no to it", short(r.GetId()))
	}
	if reason == "" {
		reason = usual
	}
	if reason, err = a.reason(ctx, reason, "Why not? ", "a no"); err != nil {
		return err
	}
	return a.refuse(ctx, s, r, reason)
}

// reason returns the reason that was given, or else asks for it.
func (a *app) reason(ctx context.Context, given, question, what string) (string, error) {
	if given != "" {
		return given, nil
	}
	got, err := a.ask(ctx, question)
	if brevet.KindOf(err) == brevet.Invalid { // nobody is there
		return "", brevet.Errorf(brevet.Invalid, "%s needs a reason", what).WithHint("add --reason")
	}
	return got, err
}

func (a *app) refuse(ctx context.Context, s *session, r *brevetv1.Request, reason string) error {
	envelope, err := a.revocation(ctx, s, statement.RevokeRequest, r.GetStatementId(), reason)
	if err != nil {
		return err
	}
	got, err := s.requests.Refuse(ctx, &brevetv1.RefuseRequest{Statement: envelope.bytes})
	if err != nil {
		return err
	}
	return a.print(got.GetRequest(), func() error {
		a.good("%s is %s", short(got.GetRequest().GetId()), got.GetRequest().GetState())
		return nil
	})
}

func (a *app) revoke() *cobra.Command {
	var reason, person string
	var noWait bool
	cmd := &cobra.Command{
		Use:   "revoke GRANT...",
		Short: "End a grant now: its sessions close and its credential is erased",
		Long: `End a grant now, yours or another's. Its sessions are closed with the reason shown in them, and each
gateway confirms that nothing of it is left; the command says how long that took. If one has not
confirmed after ten seconds the exit status is 3: it will end, and brevet doctor shows which gateway is away.`,
		Example: `  brevet revoke grt_9qd3 --reason "drill"
  brevet revoke grt_9qd3 --reason "done" --no-wait
  brevet revoke --person bob --reason "left the team"      all that bob holds`,
		Args:              arguments(0, -1),
		ValidArgsFunction: a.completeGrants(string(brevet.Issuing), string(brevet.Live)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (person != "") == (len(args) > 0) {
				return usage(cmd, "name grants, or --person for all that somebody holds")
			}
			grants, err := args, error(nil)
			if person != "" {
				if grants, err = a.grantsOf(cmd.Context(), person); err != nil {
					return err
				}
			}
			return a.forEach(grants, func(id string) error { return a.revokeGrant(cmd.Context(), id, reason, !noWait) })
		},
	}
	cmd.Flags().StringVar(&person, "person", "", "all grants of this person that are not over; they may ask again (brevet people suspend: they may not)")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who are cut off and for the log (asked for if it is not given)")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until every gateway has confirmed")
	return cmd
}

// grantsOf returns the ids of the person's grants that are not over.
func (a *app) grantsOf(ctx context.Context, person string) ([]string, error) {
	s, err := a.connect()
	if err != nil {
		return nil, err
	}
	if _, err := s.person(ctx, person); err != nil {
		return nil, err
	}
	ids, err := s.grantIDs(ctx, &brevetv1.ListGrantsRequest{Person: person, States: []string{string(brevet.Issuing), string(brevet.Live)}})
	if err == nil && len(ids) == 0 {
		return nil, brevet.Errorf(brevet.NotFound, "%s holds no grant", show.Text(person)).WithHint("brevet grants list --all --person %s", show.Text(person))
	}
	return ids, err
}

func (a *app) revokeGrant(ctx context.Context, typed, reason string, wait bool) error {
	s, err := a.connect()
	if err != nil {
		return err
	}
	id, err := s.grantOf(ctx, typed)
	if err != nil {
		return err
	}
	if reason, err = a.reason(ctx, reason, "Why? ", "a revocation"); err != nil {
		return err
	}
	envelope, err := a.revocation(ctx, s, statement.RevokeGrant, id, reason)
	if err != nil {
		return err
	}
	got, err := s.grants.RevokeGrant(ctx, &brevetv1.RevokeGrantRequest{Statement: envelope.bytes, Wait: wait})
	if err != nil {
		return err
	}
	err = a.print(got.GetGrant(), func() error {
		a.sayRevoked(got.GetGrant(), wait)
		return nil
	})
	if err == nil && wait && got.GetGrant().GetState() != string(brevet.Ended) {
		return exit(statusNeedsYou)
	}
	return err
}

func (a *app) sayRevoked(g *brevetv1.Grant, waited bool) {
	for _, c := range g.GetConfirmations() {
		a.good("%s closed %s after %s", c.GetMachine(), short(g.GetId()), milliseconds(c.GetTookMicroseconds()))
	}
	switch {
	case g.GetState() == string(brevet.Ended):
		a.good("%s ended; nothing of it is left", short(g.GetId()))
	case waited:
		a.caution("%s is ending, but not every gateway has confirmed yet: brevet grants shows when, brevet doctor which gateway is away", short(g.GetId()))
	default:
		a.say("%s is ending", short(g.GetId()))
	}
}

func milliseconds(us int64) string {
	return (time.Duration(us) * time.Microsecond).Round(100 * time.Microsecond).String()
}

// revocation signs that something is over.
func (a *app) revocation(ctx context.Context, s *session, what, subject, reason string) (signed, error) {
	signer, err := a.key(ctx)
	if err != nil {
		return signed{}, err
	}
	now := time.Now()
	return sign(ctx, statement.Revocation{
		Header: statement.NewHeader(statement.ID(s.profile.Root), now, now.Add(answerLife)),
		By:     string(s.profile.Person), What: what, Subject: subject, Reason: reason,
	}, signer)
}
