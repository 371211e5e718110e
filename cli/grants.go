package cli

import (
	"cmp"
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/cli/show"
)

func (a *app) grants() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "grants",
		Short: "Grants: what was given, and the proof of it",
		Example: `  brevet grants                      those that are not over
  brevet grants list --all --person bob
  brevet grants export grt_9qd3      the proof, for brevet verify`,
		Args: noSuchCommand,
	}
	list := a.grantsList()
	cmd.RunE = list.RunE
	cmd.Flags().AddFlagSet(list.Flags())
	cmd.AddCommand(list, a.grantsExport())
	return cmd
}

func (a *app) grantsList() *cobra.Command {
	var all bool
	var person string
	var most int
	cmd := &cobra.Command{
		Use:               "list",
		Short:             "List grants, newest first",
		Example:           `  brevet grants list --all --person bob`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := &brevetv1.ListGrantsRequest{Person: person}
			if !all {
				for _, s := range brevet.GrantStates() {
					if !s.Final() {
						query.States = append(query.States, string(s))
					}
				}
			}
			s, err := a.connect()
			if err != nil {
				return err
			}
			got := &brevetv1.ListGrantsResponse{}
			got.Grants, got.NextPageToken, err = gather(most, func(size int32, token string) ([]*brevetv1.Grant, string, error) {
				query.PageSize, query.PageToken = size, token
				page, err := s.grants.ListGrants(cmd.Context(), query)
				return page.GetGrants(), page.GetNextPageToken(), err
			})
			if err == nil && len(got.GetGrants()) == 0 {
				err = s.knownPerson(cmd.Context(), person)
			}
			if err != nil {
				return err
			}
			return a.print(got, func() error {
				return a.tableOf(a.grantsTable(got.GetGrants()), got.GetNextPageToken(), noneOr(all, "There is no grant.", "No grant is in force. brevet grants --all shows those that are over."))
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also those that are over")
	cmd.Flags().StringVar(&person, "person", "", "only those of this person")
	mostFlag(cmd.Flags(), &most)
	return cmd
}

func (a *app) grantsTable(grants []*brevetv1.Grant) show.Table {
	t := show.Table{Head: []string{"GRANT", "WHO", "ROLE", "WHERE", "AS", "STATE", "LEFT", "ENDED"}}
	for _, g := range grants {
		left := a.clock().Left(when(g.GetTo()))
		if s := brevet.GrantState(g.GetState()); s != brevet.Live && s != brevet.Issuing {
			left = ""
		}
		t.Add(short(g.GetId()), g.GetPerson(), g.GetRole(), few(g.GetTargets(), 3), strings.Join(g.GetLogins(), ", "),
			g.GetState(), left, cmp.Or(g.GetEndReason(), g.GetEndedBy()))
	}
	return t
}

func (a *app) grantsExport() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "export GRANT",
		Short: "Write the proof of a grant to a file, for brevet verify",
		Example: `  brevet grants export grt_9qd3
  brevet grants export grt_9qd3 --file - | brevet verify - --root 5b9ce1f0…`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeGrants(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.exportGrant(cmd.Context(), args[0], file)
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "file to write; it must not be there yet (else the grant's short id and .brevet, - for standard output)")
	return cmd
}

func (a *app) exportGrant(ctx context.Context, typed, file string) error {
	s, err := a.connect()
	if err != nil {
		return err
	}
	id, err := s.grantOf(ctx, typed)
	if err != nil {
		return err
	}
	got, err := s.grants.ExportGrant(ctx, &brevetv1.ExportGrantRequest{Id: id})
	if err != nil {
		return err
	}
	if file == "" {
		file = short(id) + ".brevet"
	}
	if file == "-" {
		_, err := a.out.Write(got.GetBundle())
		return err
	}
	if err := createFile(file, func(w io.Writer) error { _, err := w.Write(got.GetBundle()); return err }); err != nil {
		return err
	}
	a.say("%s", file)
	a.tell("Check it anywhere: brevet verify %s --root %s", file, s.profile.Root)
	return nil
}
