package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/cli/show"
	"github.com/brevet-pim/brevet/record"
)

func (a *app) sessions() *cobra.Command {
	list := a.sessionsList()
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "Sessions: see them, watch, end, play back",
		Example: `  brevet sessions                 those that go on now
  brevet sessions watch ses_p41x
  brevet sessions play ses_p41x --speed 4`,
		Args: noSuchCommand,
		RunE: list.RunE,
	}
	cmd.Flags().AddFlagSet(list.Flags())
	cmd.AddCommand(list, a.sessionsWatch(), a.sessionsKill(), a.sessionsPlay())
	return cmd
}

func (a *app) sessionsList() *cobra.Command {
	var all bool
	var most int
	query := &brevetv1.ListSessionsRequest{}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List sessions, newest first",
		Example: `  brevet sessions list --all --person bob
  brevet sessions list --target web1`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.online(func(ctx context.Context, s *session, _ []string) error {
			query.Live = !all
			if query.GetGrant() != "" {
				id, err := s.grantOf(ctx, query.GetGrant())
				if err != nil {
					return err
				}
				query.Grant = id
			}
			got := &brevetv1.ListSessionsResponse{}
			var err error
			got.Sessions, got.NextPageToken, err = gather(most, func(size int32, token string) ([]*brevetv1.Session, string, error) {
				query.PageSize, query.PageToken = size, token
				page, err := s.sessions.ListSessions(ctx, query)
				return page.GetSessions(), page.GetNextPageToken(), err
			})
			if err == nil && len(got.GetSessions()) == 0 {
				err = s.knownPerson(ctx, query.GetPerson())
			}
			if err != nil {
				return err
			}
			return a.print(got, func() error {
				return a.tableOf(a.sessionsTable(got.GetSessions()), got.GetNextPageToken(), noneOr(all, "There is no session.", "No session goes on. brevet sessions --all shows those that ended."))
			})
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&all, "all", false, "also those that ended")
	f.StringVar(&query.Person, "person", "", "only those of this person")
	f.StringVar(&query.Target, "target", "", "only those on this target")
	f.StringVar(&query.Grant, "grant", "", "only those of this grant")
	mostFlag(f, &most)
	_ = cmd.RegisterFlagCompletionFunc("person", a.completePeople())
	_ = cmd.RegisterFlagCompletionFunc("target", a.completeTargets())
	_ = cmd.RegisterFlagCompletionFunc("grant", a.completeGrants())
	return cmd
}

func (a *app) sessionsTable(sessions []*brevetv1.Session) show.Table {
	t := show.Table{Head: []string{"SESSION", "WHO", "WHERE", "AS", "GRANT", "WHAT", "BEGAN", "LEFT", "WATCHING", "ENDED"}}
	for _, s := range sessions {
		left, ended := a.clock().Left(when(s.GetGrantTo())), ""
		if s.GetEndedAt().IsValid() {
			left, ended = "", a.clock().Ago(when(s.GetEndedAt()))+" ago"+quoted(s.GetEndReason())
		}
		t.Add(short(s.GetId()), s.GetPerson(), s.GetTarget(), s.GetLogin(), short(s.GetGrant()), doing(s),
			a.clock().Ago(when(s.GetStartedAt()))+" ago", left, few(s.GetWatchers(), 3), ended)
	}
	return t
}

func doing(s *brevetv1.Session) string {
	if s.GetCommand() != "" {
		return s.GetCommand()
	}
	return s.GetKind()
}

func (a *app) sessionsKill() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "kill SESSION...",
		Short: "End one session; its grant stays",
		Long: `End one session; its grant stays, so the person could begin another. The command waits until the
gateway says that it ended. If that does not come within ten seconds the exit status is 3: it was told,
and brevet doctor shows whether the gateway is away.`,
		Example:           `  brevet sessions kill ses_p41x --reason "wrong host"`,
		Args:              arguments(1, -1),
		ValidArgsFunction: a.completeSessions(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.forEach(args, func(typed string) error {
				s, err := a.connect()
				if err != nil {
					return err
				}
				id, err := s.sessionOf(cmd.Context(), typed)
				if err != nil {
					return err
				}
				if reason, err = a.reason(cmd.Context(), reason, "Why? It is shown in the session: ", "the end of a session"); err != nil {
					return err
				}
				return a.killSession(cmd.Context(), s, id, reason)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; it is shown in the session (asked for if it is not given)")
	return cmd
}

func (a *app) killSession(ctx context.Context, s *session, id, reason string) error {
	got, err := s.sessions.KillSession(ctx, &brevetv1.KillSessionRequest{Id: id, Reason: reason, Wait: true})
	if err != nil {
		return err
	}
	one := got.GetSession()
	err = a.print(one, func() error {
		if one.GetEndedAt().IsValid() {
			a.good("%s of %s on %s is ended; %s could begin another (brevet revoke %s)", short(id), one.GetPerson(), one.GetTarget(), one.GetPerson(), short(one.GetGrant()))
		} else {
			a.caution("%s of %s on %s is to end, but its gateway has not confirmed yet: brevet sessions shows when, brevet doctor whether it is away", short(id), one.GetPerson(), one.GetTarget())
		}
		return nil
	})
	if err == nil && !one.GetEndedAt().IsValid() {
		return exit(statusNeedsYou)
	}
	return err
}

func (a *app) sessionsWatch() *cobra.Command {
	return &cobra.Command{
		Use:   "watch SESSION",
		Short: "See what a live session shows, until it ends or you stop",
		Long: `See what a live session shows. Whatever in it could act on your terminal is taken out. That you
watched stands in the log.`,
		Example:           `  brevet sessions watch ses_p41x`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeSessions(),
		RunE: a.online(func(ctx context.Context, s *session, args []string) error {
			id, err := s.sessionOf(ctx, args[0])
			if err != nil {
				return err
			}
			return a.watchSession(ctx, s, id)
		}),
	}
}

func (a *app) watchSession(ctx context.Context, s *session, id string) error {
	a.tell("Watching %s; end with Ctrl-C.", short(id))
	reason := ""
	err := record.Play(ctx, a.out, s.liveEvents(ctx, id, &reason), record.PlayOptions{NoWait: true})
	if err == nil {
		a.tell("")
		a.tell("%s ended%s", short(id), quoted(reason))
	}
	return err
}

// liveEvents reads what a live session shows, and why it ended. Each message is a stream of events
// by itself: one that was left out, for somebody slow, does not spoil the next.
func (s *session) liveEvents(ctx context.Context, id string, reason *string) iter.Seq2[record.Event, error] {
	return func(yield func(record.Event, error) bool) {
		err := receive(ctx, s, func(ctx context.Context) (*connect.ServerStreamForClient[brevetv1.WatchSessionResponse], error) {
			return s.sessions.WatchSession(ctx, &brevetv1.WatchSessionRequest{Id: id})
		}, func(m *brevetv1.WatchSessionResponse) error {
			*reason = m.GetEndReason()
			if len(m.GetFrames()) == 0 {
				return nil
			}
			for e, err := range record.ReadEvents(bytes.NewReader(m.GetFrames())) {
				if !yield(e, err) {
					return errEnough
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(record.Event{}, err)
		}
	}
}

// errEnough ends a stream whose reader wants no more.
var errEnough = errors.New("enough")

// eventsOf reads the events of a recording out of a stream of messages. Errors come as they are
// met, and the stream is let go when the reader has enough.
func eventsOf[M any](ctx context.Context, s *session, open func(context.Context) (*connect.ServerStreamForClient[M], error), frames func(*M) []byte) iter.Seq2[record.Event, error] {
	return func(yield func(record.Event, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		read, write := io.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			write.CloseWithError(receive(ctx, s, open, func(m *M) error {
				_, err := write.Write(frames(m))
				return err
			}))
		}()
		defer func() { <-done }()
		defer stop()
		defer read.Close()
		for e, err := range record.ReadEvents(read) {
			if !yield(e, err) {
				return
			}
		}
	}
}

// playing is how a recording is to be shown.
type playing struct {
	speed  float64
	idle   time.Duration
	noWait bool
	cast   string
	raw    bool
}

func (p playing) options() record.PlayOptions {
	return record.PlayOptions{Speed: p.speed, MaxIdle: p.idle, NoWait: p.noWait, Raw: p.raw}
}

func (a *app) sessionsPlay() *cobra.Command {
	var p playing
	cmd := &cobra.Command{
		Use:   "play SESSION|FILE.cast",
		Short: "Play a recording back, or write it as an asciicast",
		Long: `Play a recording back. It is verified chunk by chunk, and the command ends with a failure if it is not
whole. Whatever in it could act on your terminal is taken out. That you played it stands in the log.

An asciicast that was written before is played from its file, and no server is asked: nothing shows then
that nobody changed it.`,
		Example: `  brevet sessions play ses_p41x
  brevet sessions play ses_p41x --speed 4 --idle 2s
  brevet sessions play ses_p41x --no-wait
  brevet sessions play ses_p41x --cast web1.cast
  brevet sessions play web1.cast`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeSessions(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if p.speed == 0 { // to package record it is the usual speed
				return brevet.Errorf(brevet.Invalid, "at --speed 0 nothing would be shown").WithHint("the least is 0.01")
			}
			if strings.HasSuffix(args[0], ".cast") {
				return a.playCast(cmd.Context(), args[0], p)
			}
			s, err := a.connect()
			if err != nil {
				return err
			}
			id, err := s.sessionOf(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.playSession(cmd.Context(), s, id, p)
		},
	}
	f := cmd.Flags()
	f.Float64Var(&p.speed, "speed", 1, "times as fast as it was")
	f.DurationVar(&p.idle, "idle", 0, "longest pause, as in 2s (0: as long as it was)")
	f.BoolVar(&p.noWait, "no-wait", false, "print all of it at once")
	f.StringVar(&p.cast, "cast", "", "write an asciicast v2 to this file instead (- for standard output)")
	f.BoolVar(&p.raw, "raw", false, "pass on what could act on a terminal (only to a file or a pipe)")
	cmd.MarkFlagsMutuallyExclusive("speed", "no-wait", "cast")
	return cmd
}

// playCast plays an asciicast from a file.
func (a *app) playCast(ctx context.Context, file string, p playing) error {
	if p.cast != "" {
		return brevet.Errorf(brevet.Invalid, "%s is an asciicast already", brevet.Quote(file)).WithHint("--cast is for a session")
	}
	if err := a.mayBeRaw(p); err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return brevet.Errorf(brevet.NotFound, "cannot open %s", brevet.Quote(file)).Because(err)
	}
	defer f.Close()
	return record.Play(ctx, a.out, record.ReadAsciicast(f), p.options())
}

// mayBeRaw refuses to play raw where that acts.
func (a *app) mayBeRaw(p playing) error {
	if p.raw && p.cast == "" && isTerminal(a.out) {
		return brevet.Errorf(brevet.Refused, "a recording is not played raw to a terminal: it could do to yours what it could do to theirs").
			WithHint("write it to a file, or leave out --raw")
	}
	return nil
}

func (a *app) playSession(ctx context.Context, s *session, id string, p playing) error {
	if err := a.mayBeRaw(p); err != nil {
		return err
	}
	var report *brevetv1.RecordingReport
	events := eventsOf(ctx, s, func(ctx context.Context) (*connect.ServerStreamForClient[brevetv1.PlaySessionResponse], error) {
		return s.sessions.PlaySession(ctx, &brevetv1.PlaySessionRequest{Id: id})
	}, func(m *brevetv1.PlaySessionResponse) []byte {
		if m.GetReport() != nil {
			report = m.GetReport()
		}
		return m.GetFrames()
	})
	var err error
	if p.cast != "" {
		err = a.writeOut(p.cast, func(w io.Writer) error { return record.Asciicast(w, events, p.raw) })
	} else {
		err = record.Play(ctx, a.out, events, p.options())
	}
	if err != nil && report.GetProblem() == "" { // else that says what is wrong
		return err
	}
	return a.verdict(id, report)
}

// verdict tells whether the recording is whole; one that is not is a failure.
func (a *app) verdict(id string, r *brevetv1.RecordingReport) error {
	if r == nil {
		return brevet.Errorf(brevet.Unavailable, "the server did not say whether the recording of %s is whole", short(id))
	}
	a.tell("")
	if !r.GetComplete() || r.GetProblem() != "" {
		return brevet.Errorf(brevet.Refused, "the recording of %s is not whole: %s", short(id), orNone(r.GetProblem())).
			WithHint("trust what was shown only as far as that goes; what else is known: brevet audit search --session %s", id)
	}
	a.tell("%s: %d frames, %d chunks, sealed, complete", short(id), r.GetFrames(), r.GetChunks())
	return nil
}
