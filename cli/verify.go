package cli

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/cli/show"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

func (a *app) verify() *cobra.Command {
	var root string
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check offline that a grant was rightly given, from the root's fingerprint",
		Long: `Check the proof of a grant, as brevet grants export writes it, with nothing but the fingerprint of the
organisation's root: who asked, what policy said, who agreed, that the issuer gave no more, and that all
of it stands in the log. No server is asked. It ends with what the proof does not show, and with true;
if anything does not hold, it says what and the exit status is 4. A grant that is over was rightly given
all the same: a line with ! says what ended it. Times are in UTC.

Without --root the root that this machine's sign-in pinned is taken.`,
		Example: `  brevet verify grt_9qd3.brevet --root 5b9ce1f07d22a4c8…
  brevet grants export grt_9qd3 --file - | brevet verify -
  brevet verify grt_9qd3.brevet --output json`,
		Args: arguments(1, 1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return []cobra.Completion{"brevet"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			pinned, err := a.pinnedRoot(root)
			if err != nil {
				return err
			}
			b, err := a.readFile(args[0], proof.MaxBundle)
			if err != nil {
				return err
			}
			bundle, err := proof.Parse(b)
			if err != nil {
				return notProof(args[0], err)
			}
			report, err := proof.Check(bundle, proof.Trust{Root: pinned}, time.Now())
			if err != nil {
				return err
			}
			return a.printReport(report)
		},
	}
	a.rootFlag(cmd, &root)
	return cmd
}

func (a *app) rootFlag(cmd *cobra.Command, root *string) {
	cmd.Flags().StringVar(root, "root", "", "fingerprint of the root to trust, 64 hex digits (else the one of this machine's sign-in)")
}

// notProof says of a file that it is none, and of a proof what is wrong with it.
func notProof(file string, err error) error {
	message, _ := brevet.MessageOf(err)
	return brevet.Errorf(brevet.Invalid, "%s is not a proof as Brevet writes it: %s", brevet.Quote(file), message).
		Because(err).WithHint("brevet grants export GRANT writes one; any change to it shows here")
}

// pinnedRoot returns the root that was typed, or else the profile's.
func (a *app) pinnedRoot(typed string) (statement.ID, error) {
	if typed != "" {
		return parseRoot(typed)
	}
	h, err := a.folder()
	if err != nil {
		return "", err
	}
	profile, err := h.Profile()
	if brevet.KindOf(err) == brevet.NotFound {
		return "", brevet.Errorf(brevet.Invalid, "there is no root to trust: nobody is signed in here").
			WithHint("say which root: --root FINGERPRINT, as brevet init printed it and brevet whoami shows it")
	}
	return statement.ID(profile.Root), err
}

// parseRoot reads a fingerprint as people copy it: in either case, with blanks or colons. All of it
// must be there, since whoever forges a root can make the beginning fit.
func parseRoot(typed string) (statement.ID, error) {
	s := strings.ToLower(strings.NewReplacer(" ", "", ":", "", "\t", "").Replace(typed))
	if b, err := hex.DecodeString(s); err != nil || len(b) != 32 {
		return "", brevet.Errorf(brevet.Invalid, "%s is not a root's fingerprint", brevet.Quote(show.Cut(typed, 80))).
			WithHint("it has 64 hex digits, and all of them are needed")
	}
	return statement.ID(s), nil
}

func (a *app) printReport(r *proof.Report) error {
	lines := make([]any, len(r.Lines))
	for i, l := range r.Lines {
		lines[i] = map[string]any{"mark": string(l.Mark), "subject": l.Subject, "text": l.Text}
	}
	revoked := len(r.Revoked) > 0
	over := revoked || r.Expired
	fields := map[string]any{
		"proven": true, "revoked": revoked, "over": over, "grant": string(r.Grant.ID), "request": string(r.Verdict.ID),
		"person": string(r.Verdict.Request.Person), "root": string(r.State.Roster.Org()), "logSize": float64(r.Size), "lines": lines,
		"from": time.UnixMicro(r.Grant.From).UTC().Format(time.RFC3339), "until": time.UnixMicro(r.Grant.To).UTC().Format(time.RFC3339),
	}
	return a.printFields(fields, func() error {
		for _, l := range r.Lines {
			a.marked(a.out, string(l.Mark), "%s", reportLine(l))
		}
		if over {
			a.tell("It was rightly given and is over since: it gives nothing any more.")
		}
		a.say("true")
		return nil
	})
}

// reportLine puts the subject in a column of its own.
func reportLine(l proof.Line) string {
	if l.Subject == "" {
		return l.Text
	}
	return l.Subject + strings.Repeat(" ", max(1, 10-len(l.Subject))) + l.Text
}
