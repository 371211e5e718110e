package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// applying is what the command line says of a change of the catalog.
type applying struct {
	dir, message, statement string
	yes, dryRun, signOnly   bool
}

func (a *app) apply() *cobra.Command {
	var p applying
	cmd := &cobra.Command{
		Use:   "apply -f DIR",
		Short: "Put roles, targets, groups and policies from files in force",
		Long: `Read the *.yaml and *.cedar files of a folder, say what is wrong with them, show what they would change
in the catalog that is in force, and sign and send the new one. The difference is made on this machine, from
the very bytes that you sign. Where more than one person must sign, the statement is written to a file,
and the next one runs the same command on the same files with --statement. So can a pipeline: it carries
what people signed with --sign-only, and has no key of its own that may sign a catalog.`,
		Example: `  brevet apply -f org/
  brevet apply -f org/ --dry-run                     see what would change; exit status 3 if anything would
  brevet apply -f org/ --message "OPS-4711: web2"
  brevet apply -f org/ --statement catalog-7f31c0a2.json`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return a.applyFolder(cmd.Context(), p) },
	}
	f := cmd.Flags()
	f.StringVarP(&p.dir, "file", "f", "", "folder with the files")
	f.StringVarP(&p.message, "message", "m", "", "what changes and why, for people and the log")
	f.StringVar(&p.statement, "statement", "", "add a signature to the statement in this file")
	f.BoolVar(&p.signOnly, "sign-only", false, "sign, write the statement to a file, and leave it to others to hand it in")
	f.BoolVar(&p.dryRun, "dry-run", false, "only show what would change")
	f.BoolVarP(&p.yes, "yes", "y", false, "do not ask")
	_ = cmd.MarkFlagRequired("file")
	_ = cmd.MarkFlagDirname("file")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "statement")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "sign-only")
	return cmd
}

// written is a catalog as people wrote it in a folder.
type written struct {
	brevet.Catalog
	dir      string
	places   catalog.Places
	problems policy.Problems // found in reading it
}

// readFolder reads a catalog from files. No link in the folder leads out of it.
func readFolder(dir string) (written, error) {
	root, err := openFolder(dir)
	if err != nil {
		return written{}, err
	}
	defer root.Close()
	c, places, problems := catalog.ReadPlaced(root.FS())
	return written{c, dir, places, inFolder(dir, problems)}, nil
}

func openFolder(dir string) (*os.Root, error) {
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, brevet.Errorf(brevet.Invalid, "%s is a file, not a folder", brevet.Quote(dir)).WithHint("name the folder that it is in")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, brevet.Errorf(brevet.NotFound, "there is no folder %s", brevet.Quote(dir)).Because(err)
	}
	return root, nil
}

// locate gives problems of the catalog as a whole the files and lines that people know.
func (w written) locate(problems policy.Problems) policy.Problems {
	return inFolder(w.dir, w.places.Locate(problems))
}

// inFolder gives files the names under which whoever named the folder can open them.
func inFolder(dir string, problems policy.Problems) policy.Problems {
	for i, p := range problems {
		if p.File != "" {
			problems[i].File = filepath.Join(dir, p.File)
		}
	}
	return problems
}

// tellProblems tells all, and returns an Invalid error that counts them if one is an error.
func (a *app) tellProblems(problems policy.Problems) error {
	for _, p := range problems {
		a.tell("%s", p.String())
	}
	if len(problems.Errors()) == 0 {
		return nil
	}
	return brevet.Errorf(brevet.Invalid, "Nothing was changed. %s.", counted(problems))
}

// counted says how many of each level there are, as in "2 errors, 1 note".
func counted(problems policy.Problems) string {
	var parts []string
	for _, level := range []policy.Level{policy.Error, policy.Warning, policy.Note} {
		n := 0
		for _, p := range problems {
			if p.Level == level {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, plural(n, string(level)))
		}
	}
	if len(parts) == 0 {
		return "nothing wrong"
	}
	return strings.Join(parts, ", ")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}

func (a *app) applyFolder(ctx context.Context, p applying) error {
	next, err := readFolder(p.dir)
	if err != nil {
		return err
	}
	if err := a.tellProblems(next.problems); err != nil {
		return err
	}
	manifest, sum, err := catalog.Manifest(next.Catalog)
	if err != nil {
		return err
	}
	s, err := a.connect()
	if err != nil {
		return err
	}
	state, err := s.roster(ctx)
	if err != nil {
		return err
	}
	current, err := s.verifiedCatalog(ctx, state)
	if err != nil {
		return err
	}
	if err := a.lintTogether(next, state); err != nil {
		return err
	}
	changes := catalog.Diff(current.Compiled.Catalog, next.Catalog)
	if len(changes) == 0 {
		a.tell("Nothing changes: this is catalog %d, which is in force.", current.Number)
		return nil
	}
	for _, line := range changes {
		a.say("%s", line)
	}
	a.tell("Live grants that it does not support any more end with it.")
	if p.dryRun {
		return exit(statusNeedsYou)
	}
	envelope, err := a.catalogStatement(ctx, p, current, sum)
	if err != nil {
		return err
	}
	how := signing{use: statement.UseCatalog, yes: p.yes}
	if !p.signOnly {
		how.send = func(b []byte) error { return a.sendCatalog(ctx, s, b, manifest) }
	}
	return a.signChain(ctx, state, envelope, how)
}

// lintTogether tells what the catalog means together with the people that there are.
func (a *app) lintTogether(next written, state *proof.State) error {
	set, err := policy.Compile(next.Catalog, state.InForce(latest))
	if err != nil {
		return err
	}
	return a.tellProblems(next.locate(set.Lint(canApprove(state))))
}

// canApprove tells who has a key that may sign approvals now and may show that much of them.
func canApprove(state *proof.State) func(brevet.PersonID, brevet.Presence) bool {
	now := time.Now().UnixMicro()
	return func(person brevet.PersonID, shows brevet.Presence) bool {
		return state.CanApprove(person, shows, latest, now)
	}
}

// catalogStatement returns the statement to sign: a new one, or the one in the file that somebody else
// has signed, if it is of the same files and still next.
func (a *app) catalogStatement(ctx context.Context, p applying, current catalogInForce, sum string) (statement.Envelope, error) {
	if p.statement == "" {
		now := time.Now()
		return statement.New(ctx, statement.Catalog{
			Header: statement.NewHeader(current.Org, now, now.Add(signingLife)), Link: current.after(), Manifest: sum, Message: p.message,
		})
	}
	b, err := a.readFile(p.statement, statement.MaxEnvelope)
	if err != nil {
		return statement.Envelope{}, err
	}
	envelope, err := statement.Parse(b)
	if err != nil {
		return statement.Envelope{}, err
	}
	other, err := statement.Open[statement.Catalog](envelope)
	switch {
	case err != nil:
		return statement.Envelope{}, err
	case other.Org != current.Org:
		return statement.Envelope{}, brevet.Errorf(brevet.Refused, "the statement is of another organisation")
	case other.Link != current.after():
		return statement.Envelope{}, brevet.Errorf(brevet.Conflict, "the catalog has moved on since the statement was made").WithHint("make it again, without --statement")
	case other.Manifest != sum:
		return statement.Envelope{}, brevet.Errorf(brevet.Refused, "the statement is for other files than those in %s", brevet.Quote(p.dir)).
			WithHint("get the very files that the others signed")
	}
	if other.Message != "" {
		a.tell("Its message: %s", other.Message)
	}
	return envelope, nil
}

func (a *app) sendCatalog(ctx context.Context, s *session, signed, manifest []byte) error {
	got, err := s.catalog.ApplyCatalog(ctx, &brevetv1.ApplyCatalogRequest{Statement: signed, Manifest: manifest})
	if err != nil {
		return err
	}
	return a.print(got, func() error {
		a.good("signed; catalog %d is in force", got.GetNumber())
		return nil
	})
}
