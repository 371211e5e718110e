package cli

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/policy"
)

func (a *app) policy() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Policies: look for mistakes, test, ask why, get those in force",
		Example: `  brevet policy lint org/
  brevet policy test org/
  brevet policy explain bob web-root web1
  brevet policy export org/`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.policyLint(), a.policyTest(), a.policyExplain(), a.policyExport())
	return cmd
}

// rulebook is a catalog to ask, from a folder or from the server.
type rulebook struct {
	written
	set        *policy.Set // nil if the files are too wrong to be asked
	canApprove func(brevet.PersonID, brevet.Presence) bool
}

// rulebook reads the folder, or gets the catalog in force if none is named. In a folder everybody who is
// named counts as a person with a security key that may approve: the roster is not in it.
func (a *app) rulebook(ctx context.Context, dir string) (rulebook, error) {
	if dir == "" {
		return a.rulebookInForce(ctx)
	}
	w, err := readFolder(dir)
	if err != nil {
		return rulebook{}, err
	}
	r := rulebook{written: w, canApprove: func(brevet.PersonID, brevet.Presence) bool { return true }}
	if len(w.problems.Errors()) > 0 {
		return r, nil
	}
	r.set, err = policy.Compile(w.Catalog, policy.Everybody)
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
	return rulebook{
		written:    written{Catalog: current.Compiled.Catalog, problems: catalog.Check(current.Compiled.Catalog)},
		set:        current.Policy.WithPeople(state.InForce(latest)),
		canApprove: canApprove(state),
	}, nil
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
		found = append(found, book.locate(book.set.Lint(book.canApprove))...)
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
	root, err := openFolder(cases)
	if err != nil {
		return err
	}
	defer root.Close()
	list, problems := catalog.ReadCases(root.FS())
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

func (a *app) policyExport() *cobra.Command {
	return &cobra.Command{
		Use:   "export DIR",
		Short: "Write the catalog in force to files, to change and apply",
		Long: `Write the catalog in force to files: roles, targets, groups and policies. It is verified before. What
people wrote beside it, as comments in YAML and test cases, is no part of a catalog and not in the files.
No file is replaced.`,
		Example: `  brevet policy export org/
  brevet apply -f org/        says that nothing changes, until you change something`,
		Args: arguments(1, 1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: a.online(func(ctx context.Context, s *session, args []string) error {
			state, err := s.roster(ctx)
			if err != nil {
				return err
			}
			current, err := s.verifiedCatalog(ctx, state)
			if err != nil {
				return err
			}
			files, err := catalog.Format(current.Compiled.Catalog)
			if err != nil {
				return err
			}
			if err := catalog.Write(args[0], files); err != nil {
				return err
			}
			return a.printFields(map[string]any{"catalog": float64(current.Number), "folder": args[0], "files": float64(len(files))}, func() error {
				a.good("catalog %d is in %s, in %s", current.Number, brevet.Quote(args[0]), plural(len(files), "file"))
				return nil
			})
		}),
	}
}
