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
)

// watchEvery is how often a list that is watched is asked for anew.
const watchEvery = 2 * time.Second

func (a *app) requests() *cobra.Command {
	var forMe, mine, all, watch bool
	var most int
	cmd := &cobra.Command{
		Use:   "requests",
		Short: "Requests: those that wait, for you or for others",
		Example: `  brevet requests --for-me          those that you can answer
  brevet requests --mine --all      all that you ever asked
  brevet requests --watch           new ones as they come`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := &brevetv1.ListRequestsRequest{ForMe: forMe, Mine: mine}
			if !all {
				query.States = open()
			}
			s, err := a.connect()
			if err != nil {
				return err
			}
			if watch {
				query.PageSize = pageSize
				return a.watchRequests(cmd.Context(), s, query)
			}
			got := &brevetv1.ListRequestsResponse{}
			got.Requests, got.NextPageToken, err = gather(most, func(size int32, token string) ([]*brevetv1.Request, string, error) {
				query.PageSize, query.PageToken = size, token
				page, err := s.requests.ListRequests(cmd.Context(), query)
				return page.GetRequests(), page.GetNextPageToken(), err
			})
			if err != nil {
				return err
			}
			return a.print(got, func() error {
				return a.tableOf(a.requestsTable(got.GetRequests(), s.profile.Person), got.GetNextPageToken(), none(forMe, all))
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&forMe, "for-me", false, "only those that you can answer")
	f.BoolVar(&mine, "mine", false, "only your own")
	f.BoolVar(&all, "all", false, "also those that are decided")
	f.BoolVarP(&watch, "watch", "w", false, "show new ones as they come, until you stop it")
	mostFlag(f, &most)
	cmd.MarkFlagsMutuallyExclusive("watch", "most")
	cmd.MarkFlagsMutuallyExclusive("for-me", "mine") // nobody answers their own
	return cmd
}

// open are the states of requests that are not decided.
func open() []string {
	var states []string
	for _, s := range brevet.RequestStates() {
		if !s.Final() {
			states = append(states, string(s))
		}
	}
	return states
}

func none(forMe, all bool) string {
	if forMe {
		return "No request waits for you."
	}
	return noneOr(all, "There is no request.", "No request waits. brevet requests --all shows those that are decided.")
}

func (a *app) requestsTable(requests []*brevetv1.Request, me brevet.PersonID) show.Table {
	t := show.Table{Head: []string{"REQUEST", "WHO", "WHAT", "WHY", "AGE", "NEEDS"}}
	for _, r := range requests {
		t.Add(short(r.GetId()), r.GetPerson(), what(r)+" "+seconds(r.GetDurationSeconds()), why(r), a.clock().Ago(when(r.GetAt())), needs(r, me))
	}
	return t
}

func why(r *brevetv1.Request) string {
	if r.GetTicket() == "" {
		return r.GetReason()
	}
	return strings.TrimSpace(r.GetReason() + " (" + r.GetTicket() + ")")
}

// needs says what a request waits for, or how it ended.
func needs(r *brevetv1.Request, me brevet.PersonID) string {
	if r.GetState() != string(brevet.Waiting) {
		return stateWord(r.GetState())
	}
	for _, s := range r.GetDecision().GetStages() {
		if len(s.GetApprovedBy()) < int(s.GetCount()) && slices.Contains(s.GetMayApprove(), string(me)) {
			return "you"
		}
	}
	return waitsFor(r.GetDecision().GetStages())
}

// watchRequests prints each request once, when it is first seen.
func (a *app) watchRequests(ctx context.Context, s *session, query *brevetv1.ListRequestsRequest) error {
	seen := map[string]bool{}
	a.tell("Watching; end with Ctrl-C.")
	for {
		got, err := s.requests.ListRequests(ctx, query)
		if err != nil && brevet.KindOf(err) != brevet.Unavailable { // a server that is away comes back
			return err
		}
		for _, r := range slices.Backward(got.GetRequests()) {
			if seen[r.GetId()] {
				continue
			}
			seen[r.GetId()] = true
			if a.format != show.AsTable {
				if err := a.printNext(r); err != nil {
					return err
				}
				continue
			}
			a.say("%s  %s asks %s for %s: %s  needs %s", short(r.GetId()), r.GetPerson(), what(r), seconds(r.GetDurationSeconds()), why(r), needs(r, s.profile.Person))
		}
		if err := pause(ctx, watchEvery); err != nil {
			return err
		}
	}
}
