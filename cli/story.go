package cli

import (
	"context"

	"github.com/spf13/cobra"

	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/cli/show"
)

func (a *app) story() *cobra.Command {
	return &cobra.Command{
		Use:   "story REQUEST",
		Short: "What happened to a request, from the asking to the last confirmation",
		Example: `  brevet story req_7k2m
  brevet story grt_9qd3 --exact --utc`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeRequests(&brevetv1.ListRequestsRequest{}),
		RunE: a.online(func(ctx context.Context, s *session, args []string) error {
			r, err := s.requestOf(ctx, args[0])
			if err != nil {
				return err
			}
			got, err := s.requests.GetStory(ctx, &brevetv1.GetStoryRequest{Id: r.GetId()})
			if err != nil {
				return err
			}
			return a.print(got, func() error { return a.tellStory(got) })
		}),
	}
}

func (a *app) tellStory(story *brevetv1.GetStoryResponse) error {
	t := show.Table{Head: []string{"WHEN", "WHAT", "LOG"}}
	for _, e := range story.GetEvents() {
		t.Add(a.clock().Moment(when(e.GetAt())), e.GetMessage(), number64(e.GetIndex()))
	}
	if err := a.table(t); err != nil {
		return err
	}
	r := story.GetRequest()
	for _, one := range story.GetSessions() {
		if one.GetRecorded() {
			a.tell("brevet sessions play %s  plays what was done as %s on %s", short(one.GetId()), one.GetLogin(), one.GetTarget())
		}
	}
	if r.GetGrant() != "" {
		a.tell("brevet grants export %s  writes the proof of it", short(r.GetGrant()))
	}
	return nil
}
