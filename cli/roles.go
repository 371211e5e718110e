package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/cli/show"
)

func (a *app) roles() *cobra.Command {
	return &cobra.Command{
		Use:   "roles",
		Short: "What you may have, or ask for, and why not the rest",
		Example: `  brevet roles
  brevet roles --output json`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.online(func(ctx context.Context, s *session, _ []string) error {
			got, err := s.requests.ListRoles(ctx, &brevetv1.ListRolesRequest{})
			if err != nil {
				return err
			}
			return a.print(got, func() error { return a.table(rolesTable(got.GetRoles())) })
		}),
	}
}

func rolesTable(roles []*brevetv1.Role) show.Table {
	t := show.Table{Head: []string{"ROLE", "TARGETS", "GIVES", "LONGEST", "NEEDS", "YOU"}}
	for _, r := range roles {
		needs := r.GetNeeds()
		if r.GetOutcome() == "refuse" {
			needs = ""
		}
		t.Add(r.GetName(), few(r.GetTargets(), 3), strings.Join(r.GetLogins(), ", "), seconds(r.GetLongestSeconds()), needs, standing(r))
	}
	return t
}

// standing says in words what a caller would get.
func standing(r *brevetv1.Role) string {
	switch r.GetOutcome() {
	case "allow":
		return "can have it now"
	case "ask":
		return "can ask"
	}
	if reasons := r.GetReasons(); len(reasons) > 0 {
		return "no: " + reasons[0]
	}
	return "no"
}

// few shows the first n of a list and how many more there are.
func few(list []string, n int) string {
	if len(list) <= n {
		return strings.Join(list, ", ")
	}
	return strings.Join(list[:n], ", ") + " +" + count(len(list)-n)
}

func seconds(n int64) string {
	if n <= 0 {
		return ""
	}
	return show.Duration(time.Duration(min(n, maxSeconds)) * time.Second)
}

// maxSeconds keeps a hostile number from overflowing a time.Duration.
const maxSeconds = 1 << 33
