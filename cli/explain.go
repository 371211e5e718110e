package cli

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/cli/show"
	"github.com/brevet-pim/brevet/policy"
)

// question is what explain puts to policy.
type question struct {
	dir, duration, reason, ticket string
	person, role                  string
	targets                       []string
	presence                      string
}

func (a *app) policyExplain() *cobra.Command {
	var q question
	cmd := &cobra.Command{
		Use:   "explain PERSON ROLE [TARGET...]",
		Short: "What policy says of somebody's wish, and why, without filing it",
		Long: `Tell what policy says of somebody's wish, which policies decided, and what would change the answer. With
-f the files of a folder are asked, offline, and every policy that concerns the role says its part; else
the server is. Without a target, it is the first that the role chooses. What the person's key shows stands
in no file, so it is assumed to be a key in a file, enrolled just now, unless --presence says otherwise.`,
		Example: `  brevet policy explain bob web-root web1
  brevet policy explain bob web-root web1 -f org/ --for 2h --presence touch`,
		Args:              arguments(2, -1),
		ValidArgsFunction: a.completeQuestion(),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.person, q.role, q.targets = args[0], args[1], args[2:]
			if wrong := q.wrongPresence(); wrong != "" {
				return usage(cmd, wrong)
			}
			if q.dir != "" {
				return a.explainFolder(cmd.Context(), q)
			}
			return a.explainServer(cmd.Context(), q)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&q.dir, "file", "f", "", "folder with the files to ask (else the server)")
	f.StringVar(&q.duration, "for", "", "how long (else 30m, or the role's longest if that is shorter)")
	f.StringVar(&q.reason, "reason", "to see what policy says", "the reason that would be given")
	f.StringVar(&q.ticket, "ticket", "", "the ticket that would be given")
	f.StringVar(&q.presence, "presence", "", "with -f, what the person's key shows: none, touch or verified (else none)")
	_ = cmd.MarkFlagDirname("file")
	_ = cmd.RegisterFlagCompletionFunc("presence", cobra.FixedCompletions([]cobra.Completion{"none", "touch", "verified"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// wrongPresence says what is wrong with --presence, or returns "".
func (q question) wrongPresence() string {
	switch brevet.Presence(q.presence) {
	case "":
	case brevet.NoPresence, brevet.TouchPresence, brevet.VerifiedPresence:
		if q.dir == "" {
			return "--presence goes with -f: the server knows their keys"
		}
	default:
		return "--presence is none, touch or verified"
	}
	return ""
}

func (a *app) explainFolder(ctx context.Context, q question) error {
	book, err := a.rulebook(ctx, q.dir)
	if err != nil {
		return err
	}
	if err := book.problems.Err(); err != nil {
		return err
	}
	ask, err := q.ask(book)
	if err != nil {
		return err
	}
	lines := book.set.Explain(ask, "presence", "keyAge")
	decision := book.set.Decide(ask)
	fields := map[string]any{"outcome": string(decision.Outcome), "policies": list(decision.Policies), "reasons": list(decision.Reasons), "lines": list(lines)}
	return a.printFields(fields, func() error {
		for _, line := range lines {
			a.say("%s", line)
		}
		return nil
	})
}

// list turns texts into what structpb takes.
func list(texts []string) []any {
	all := make([]any, len(texts))
	for i, s := range texts {
		all[i] = s
	}
	return all
}

// ask makes the question exact.
func (q question) ask(book rulebook) (policy.Ask, error) {
	role, err := book.role(q.role)
	if err != nil {
		return policy.Ask{}, err
	}
	duration := min(usualDuration, role.Limits.Duration)
	if q.duration != "" {
		if duration, err = show.ParseDuration(q.duration); err != nil {
			return policy.Ask{}, err
		}
	}
	targets := book.set.TargetsOf(role.Name)
	targets = targets[:min(1, len(targets))]
	if len(q.targets) > 0 {
		targets = nil
		for _, t := range sorted(q.targets) {
			targets = append(targets, brevet.TargetID(t))
		}
	}
	return policy.Ask{
		Person: brevet.PersonID(q.person), Role: role.Name, Targets: targets, Logins: role.SSH.Logins, Duration: duration,
		Reason: q.reason, Ticket: q.ticket, Via: brevet.ViaCLI, Presence: cmp.Or(brevet.Presence(q.presence), brevet.NoPresence), Now: time.Now(),
	}, nil
}

func (a *app) explainServer(ctx context.Context, q question) error {
	asked := &brevetv1.ExplainDecisionRequest{Person: q.person, Role: q.role, Targets: q.targets, Reason: q.reason, Ticket: q.ticket}
	if q.duration != "" {
		d, err := show.ParseDuration(q.duration)
		if err != nil {
			return err
		}
		asked.DurationSeconds = int64(d)
	}
	s, err := a.connect()
	if err != nil {
		return err
	}
	if err := s.canExplain(ctx, q); err != nil {
		return err
	}
	got, err := s.catalog.ExplainDecision(ctx, asked)
	if err != nil {
		return err
	}
	d := got.GetDecision()
	return a.print(d, func() error {
		a.say("answer: %s", d.GetOutcome())
		for _, reason := range d.GetReasons() {
			a.say("  %s", reason)
		}
		if len(d.GetStages()) > 0 {
			a.say("  needs %s", waitsFor(d.GetStages()))
		}
		if len(d.GetPolicies()) == 0 {
			a.say("no policy decided it")
			return nil
		}
		a.say("decided by %s", strings.Join(d.GetPolicies(), ", "))
		return nil
	})
}

// canExplain looks whether there is such a person and such a role: policy refuses those that it does not know,
// which would read like an answer.
func (s *session) canExplain(ctx context.Context, q question) error {
	state, err := s.roster(ctx)
	if err != nil {
		return err
	}
	if _, ok := state.Roster.Identity(brevet.PersonID(q.person)); !ok {
		return missing("person", q.person, words(state.Roster.People()), "brevet people lists them")
	}
	_, err = s.role(ctx, q.role)
	return err
}

func (r rulebook) role(name string) (brevet.Role, error) {
	var names []string
	for _, role := range r.Roles {
		if string(role.Name) == name {
			return role, nil
		}
		names = append(names, string(role.Name))
	}
	return brevet.Role{}, missing("role", name, names, "the files define: "+few(names, 8))
}
