package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/cli/show"
)

func (a *app) audit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "The log: follow it, search it, verify it, export it",
		Example: `  brevet audit tail
  brevet audit search --person bob --since 24h
  brevet audit verify
  brevet audit export --file log.jsonl`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.auditTail(), a.auditSearch(), a.auditVerify(), a.auditExport())
	return cmd
}

// search is what the command line says of a search.
type search struct {
	query        brevetv1.SearchEventsRequest
	since, until string
	most         int
}

func (a *app) auditSearch() *cobra.Command {
	var q search
	cmd := &cobra.Command{
		Use:   "search [TEXT]",
		Short: "Find events, newest first",
		Long: `Find events, newest first: those that have the text and fit all the flags. That you searched, and for
what, stands in the log.`,
		Example: `  brevet audit search nginx --since 7d
  brevet audit search --request req_7k2m
  brevet audit search --kind session.refused --since 2026-11-20T08:00:00Z --output json`,
		Args:              arguments(0, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				q.query.Text = args[0]
			}
			return a.searchEvents(cmd.Context(), &q)
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.query.Kind, "kind", "", "only events of this kind, as docs/reference/events.md lists them")
	f.StringVar(&q.query.Person, "person", "", "only those by or about this person")
	f.StringVar(&q.query.Request, "request", "", "only those of this request, or of the request of this grant")
	f.StringVar(&q.query.Session, "session", "", "only those of this session")
	f.StringVar(&q.since, "since", "", "not before, as in 24h (ago) or 2026-11-20T08:00:00Z")
	f.StringVar(&q.until, "until", "", "before, likewise")
	mostFlag(f, &q.most)
	_ = cmd.RegisterFlagCompletionFunc("kind", func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return kindNames(), cobra.ShellCompDirectiveNoFileComp
	})
	_ = cmd.RegisterFlagCompletionFunc("person", a.completePeople())
	_ = cmd.RegisterFlagCompletionFunc("request", a.completeRequests(&brevetv1.ListRequestsRequest{}))
	_ = cmd.RegisterFlagCompletionFunc("session", a.completeSessions())
	return cmd
}

func kindNames() []string {
	names := make([]string, len(audit.Kinds))
	for i, k := range audit.Kinds {
		names[i] = k.Name
	}
	return names
}

func (a *app) searchEvents(ctx context.Context, q *search) error {
	if k := q.query.GetKind(); k != "" && !slices.Contains(kindNames(), k) {
		return missing("kind of event", k, kindNames(), "brevet audit search --kind <Tab> completes them")
	}
	s, err := a.connect()
	if err != nil {
		return err
	}
	if err := q.complete(ctx, s, time.Now()); err != nil {
		return err
	}
	found := &brevetv1.SearchEventsResponse{}
	found.Events, found.NextPageToken, err = gather(q.most, func(size int32, token string) ([]*brevetv1.Event, string, error) {
		q.query.PageSize, q.query.PageToken = size, token
		page, err := s.audit.SearchEvents(ctx, &q.query)
		return page.GetEvents(), page.GetNextPageToken(), err
	})
	if err == nil && len(found.GetEvents()) == 0 {
		err = s.knownPerson(ctx, q.query.GetPerson())
	}
	if err != nil {
		return err
	}
	return a.print(found, func() error {
		return a.tableOf(a.eventsTable(found.GetEvents()), found.GetNextPageToken(), "No event fits.")
	})
}

// complete makes the query exact: whole ids, points in time.
func (q *search) complete(ctx context.Context, s *session, now time.Time) (err error) {
	if q.query.GetRequest() != "" {
		r, err := s.requestOf(ctx, q.query.GetRequest())
		if err != nil {
			return err
		}
		q.query.Request = r.GetId()
	}
	if q.query.GetSession() != "" {
		if q.query.Session, err = s.sessionOf(ctx, q.query.GetSession()); err != nil {
			return err
		}
	}
	if q.query.Since, err = pointInTime(q.since, now); err != nil {
		return err
	}
	if q.query.Until, err = pointInTime(q.until, now); err != nil {
		return err
	}
	if q.since != "" && q.until != "" && !when(q.query.GetUntil()).After(when(q.query.GetSince())) {
		return brevet.Errorf(brevet.Invalid, "--until %s is not after --since %s: the search ends before it begins", q.until, q.since).
			WithHint("the earlier time is --since, and 2m is two minutes ago: --since 2m --until 1m")
	}
	return nil
}

// pointInTime reads a time, or how long ago it was; nothing is no time.
func pointInTime(typed string, now time.Time) (*timestamppb.Timestamp, error) {
	if typed == "" {
		return nil, nil
	}
	if t, err := time.Parse(time.RFC3339, typed); err == nil {
		return timestamppb.New(t), nil
	}
	d, err := show.ParseDuration(typed)
	if err != nil {
		return nil, brevet.Errorf(brevet.Invalid, "%s is neither a time nor a duration", brevet.Quote(show.Cut(typed, 80))).
			WithHint("write one like 2026-11-20T08:00:00Z, or 24h for a day ago")
	}
	return timestamppb.New(now.Add(-d.Duration())), nil
}

func (a *app) eventsTable(events []*brevetv1.Event) show.Table {
	t := show.Table{Head: []string{"LOG", "WHEN", "KIND", "WHO", "WHAT"}}
	for _, e := range events {
		t.Add(number64(e.GetIndex()), a.clock().Moment(when(e.GetAt())), e.GetKind(), e.GetActor(), eventText(e))
	}
	return t
}

func eventText(e *brevetv1.Event) string {
	if e.GetMessage() == "" {
		return strings.TrimSpace(e.GetSubject() + " (body erased)")
	}
	return e.GetMessage()
}

// onlyNew asks a tail for what is logged from now on.
const onlyNew = -1

func (a *app) auditTail() *cobra.Command {
	var from int64
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show events as they are logged, until you stop",
		Example: `  brevet audit tail
  brevet audit tail --from 0 --output json`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.online(func(ctx context.Context, s *session, _ []string) error {
			return a.tailEvents(ctx, s, from)
		}),
	}
	cmd.Flags().Int64Var(&from, "from", onlyNew, "place in the log to begin with (else only new events)")
	return cmd
}

// tailEvents follows the log. A server that goes away is asked again, from the event after the last one.
func (a *app) tailEvents(ctx context.Context, s *session, from int64) error {
	a.tell("Following the log; end with Ctrl-C.")
	return a.persist(ctx, func(came func()) error {
		return receive(ctx, s, func(ctx context.Context) (*connect.ServerStreamForClient[brevetv1.TailEventsResponse], error) {
			return s.audit.TailEvents(ctx, &brevetv1.TailEventsRequest{From: from})
		}, func(m *brevetv1.TailEventsResponse) error {
			came()
			for _, e := range m.GetEvents() {
				from = e.GetIndex() + 1
				if err := a.sayEvent(e); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func (a *app) sayEvent(e *brevetv1.Event) error {
	if a.format != show.AsTable {
		return a.printNext(e)
	}
	a.say("%s  %s  %s  %s", a.clock().Moment(when(e.GetAt())), e.GetKind(), orNone(e.GetActor()), eventText(e))
	return nil
}

// persist follows a stream for as long as the person wants: one that breaks because the server is away
// is opened again, and so is one that ends. Open calls came when something arrives.
func (a *app) persist(ctx context.Context, open func(came func()) error) error {
	told := false
	for {
		err := open(func() { told = false })
		if err != nil && brevet.KindOf(err) != brevet.Unavailable {
			return err
		}
		if err != nil && !told {
			a.tell("The server is away; waiting for it to come back.")
			told = true
		}
		if err := pause(ctx, retryAfter); err != nil {
			return err
		}
	}
}

// pause waits, and returns early with an error if ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
