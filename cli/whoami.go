package cli

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
)

func (a *app) whoami() *cobra.Command {
	return &cobra.Command{
		Use:               "whoami",
		Short:             "Who you are to the server, and where that stands on this machine",
		Example:           `  brevet whoami`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.online(func(ctx context.Context, s *session, _ []string) error {
			got, err := s.auth.WhoAmI(ctx, &brevetv1.WhoAmIRequest{})
			if err != nil {
				return err
			}
			return a.print(got, func() error {
				a.say("%s at %s, root %s …", got.GetPerson().GetId(), s.server, spaced(s.profile.Root, 4))
				a.say("  groups  %s", orNone(strings.Join(got.GetPerson().GetGroups(), ", ")))
				a.say("  key     %s", got.GetKey())
				a.say("  signed in for %s more; files in %s", a.clock().Left(when(got.GetUntil())), s.home.Path(""))
				return nil
			})
		}),
	}
}

func number64(n int64) string { return strconv.FormatInt(n, 10) }
