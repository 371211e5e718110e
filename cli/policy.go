package cli

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/cli/show"
	"github.com/brevet-pim/brevet/policy"
)

func (a *app) policy() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Policies: look for mistakes, test, ask why",
		Example: `  brevet policy lint org/
  brevet policy test org/
  brevet policy explain bob web-root web1`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.policyLint(), a.policyTest(), a.policyExplain())
	return cmd
}

// rulebook is a catalog to ask, from a folder or from the server.
type rulebook struct {
	catalog    brevet.Catalog
	set        *policy.Set
	canApprove func(brevet.PersonID) bool
	problems   policy.Problems // found in reading it
}

// rulebook reads the folder, or gets the catalog in force if none is named. In a folder everybody who is
// named counts as a person with a key that may approve: the roster is not in it.
func (a *app) rulebook(ctx context.Context, dir string) (rulebook, error) {
	if dir == "" {
		return a.rulebookInForce(ctx)
	}
	c, problems, err := readFolder(dir)
	if err != nil {
		return rulebook{}, err
	}
	r := rulebook{catalog: c, problems: problems, canApprove: func(brevet.PersonID) bool { return true }}
	if len(r.problems.Errors()) > 0 {
		return r, nil
	}
	r.set, err = policy.Compile(c, policy.Everybody)
	return r, err
}

func (a *app) rulebookInForce(ctx context.Context) (rulebook, error) {
	s, err := a.connect()
	if err != nil {
		return rulebook{}, err
	}
	state, err := s.roster(ctx)
	if err != nil {
		return rulebook{}, err
	}
	current, err := s.verifiedCatalog(ctx, state)
	if err != nil {
		return rulebook{}, err
	}
	return rulebook{catalog: current.Compiled.Catalog, set: current.Policy.WithPeople(state.InForce(latest)), canApprove: canApprove(state)}, nil
}

func (r rulebook) role(name string) (brevet.Role, error) {
	var names []string
	for _, role := range r.catalog.Roles {
		if string(role.Name) == name {
			return role, nil
		}
		names = append(names, string(role.Name))
	}
	return brevet.Role{}, missing("role", name, names, "the files define: "+few(names, 8))
}

func (a *app) policyLint() *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use:   "lint [DIR]",
		Short: "Look for what is wrong or odd in files, or in the catalog in force",
		Long: `Look for what is wrong or odd: what would not be taken in, roles that nobody or everybody can get,
approvals that nobody can give, policies that match nothing. A folder is looked at offline; without one,
the catalog in force is, with the people that there are. Errors end with exit status 2.`,
		Example: `  brevet policy lint org/
  brevet policy lint org/ --strict         warnings fail too (for pipelines)
  brevet policy lint                       the catalog in force`,
		Args:              arguments(0, 1),
		ValidArgsFunction: completeFolder,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.lint(cmd.Context(), strings.Join(args, ""), strict)
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "fail on warnings too")
	return cmd
}

func completeFolder(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

func (a *app) lint(ctx context.Context, dir string, strict bool) error {
	book, err := a.rulebook(ctx, dir)
	if err != nil {
		return err
	}
	found := book.problems
	if book.set != nil {
		found = append(found, book.set.Lint(book.canApprove)...)
		found.Sort()
	}
	if err := a.printProblems(found); err != nil {
		return err
	}
	failing := len(found.Errors())
	if strict {
		failing = len(slices.DeleteFunc(slices.Clone(found), func(p policy.Problem) bool { return p.Level == policy.Note }))
	}
	if failing > 0 {
		return brevet.Errorf(brevet.Invalid, "%s", counted(found))
	}
	a.tell("%s", counted(found))
	return nil
}

func (a *app) printProblems(problems policy.Problems) error {
	list := make([]any, len(problems))
	for i, p := range problems {
		list[i] = map[string]any{"level": string(p.Level), "file": p.File, "line": float64(p.Line), "column": float64(p.Column),
			"about": p.About, "what": p.What, "remedy": p.Remedy}
	}
	return a.printFields(map[string]any{"problems": list}, func() error {
		for _, p := range problems {
			a.say("%s", p.String())
		}
		return nil
	})
}

func (a *app) policyTest() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "test [DIR]",
		Short: "Put the test cases of files to their policies, or to the catalog in force",
		Long: `Put test cases to policies. Cases stand in the *.yaml files of folders named tests: who asks for what,
and what the answer must be. With DIR, its own policies are asked, offline; without, the catalog in force,
and --cases names the folder with the cases. A case that fails ends with exit status 1.`,
		Example: `  brevet policy test org/
  brevet policy test --cases org/          the cases of org/, on the catalog in force`,
		Args:              arguments(0, 1),
		ValidArgsFunction: completeFolder,
		RunE: func(cmd *cobra.Command, args []string) error {
			folder := strings.Join(args, "")
			if dir == "" {
				dir = folder
			}
			if dir == "" {
				return usage(cmd, "where are the cases? name a folder, or give --cases")
			}
			return a.runCases(cmd.Context(), folder, dir)
		},
	}
	cmd.Flags().StringVar(&dir, "cases", "", "folder with the cases (else DIR)")
	_ = cmd.MarkFlagDirname("cases")
	return cmd
}

func (a *app) runCases(ctx context.Context, dir, cases string) error {
	book, err := a.rulebook(ctx, dir)
	if err != nil {
		return err
	}
	if err := book.problems.Err(); err != nil {
		return err
	}
	list, problems := catalog.ReadCases(os.DirFS(cases))
	if err := inFolder(cases, problems).Err(); err != nil {
		return err
	}
	if len(list) == 0 {
		return brevet.Errorf(brevet.NotFound, "there is no test case in %s", brevet.Quote(cases)).WithHint("cases stand in *.yaml files below a folder named tests")
	}
	return a.printCases(cases, book.set.RunCases(list))
}

func (a *app) printCases(dir string, results []policy.CaseResult) error {
	failed := 0
	list := make([]any, len(results))
	for i, r := range results {
		if !r.Passed() {
			failed++
		}
		list[i] = map[string]any{"name": r.Case.Name, "file": r.Case.File, "line": float64(r.Case.Line), "passed": r.Passed(), "failure": r.Failure}
	}
	err := a.printFields(map[string]any{"cases": list}, func() error {
		for _, r := range results {
			if r.Passed() {
				a.good("%s", caseName(r.Case))
			} else {
				a.marked(a.out, markBad, "%s", caseName(r.Case))
				a.say("    %s:%d: %s", filepath.Join(dir, r.Case.File), r.Case.Line, r.Failure)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if failed > 0 {
		a.tell("%d of %s failed", failed, plural(len(results), "case"))
		return exit(statusFailure)
	}
	a.tell("%s passed", plural(len(results), "case"))
	return nil
}

func caseName(c policy.Case) string {
	if c.Name != "" {
		return c.Name
	}
	return string(c.Who) + ", " + string(c.Role)
}

// question is what explain puts to policy.
type question struct {
	dir, duration, reason, ticket string
	person, role                  string
	targets                       []string
}

func (a *app) policyExplain() *cobra.Command {
	var q question
	cmd := &cobra.Command{
		Use:   "explain PERSON ROLE [TARGET...]",
		Short: "What policy says of somebody's wish, and why, without filing it",
		Long: `Tell what policy says of somebody's wish, which policies decided, and what would change the answer. With
-f the files of a folder are asked, offline, and every policy that concerns the role says its part; else
the server is. Without a target, it is the first that the role chooses.`,
		Example: `  brevet policy explain bob web-root web1
  brevet policy explain bob web-root web1 -f org/ --for 2h`,
		Args:              arguments(2, -1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			q.person, q.role, q.targets = args[0], args[1], args[2:]
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
	_ = cmd.MarkFlagDirname("file")
	return cmd
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
	lines := book.set.Explain(ask)
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
		Reason: q.reason, Ticket: q.ticket, Via: brevet.ViaCLI, Presence: brevet.TouchPresence, Now: time.Now(),
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
		a.say("decided by %s", orNone(strings.Join(d.GetPolicies(), ", ")))
		return nil
	})
}
