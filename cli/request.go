package cli

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/cli/show"
	"github.com/brevet-pim/brevet/statement"
)

// usualDuration is asked for when a person names none and the role allows it.
const usualDuration = 30 * 60 // seconds

// requestLife is how long a request can be answered at all; the role's own limit is shorter.
const requestLife = 24 * time.Hour

// wish is what a person asks for.
type wish struct {
	role         string
	targets      []string
	logins       []string
	duration     string
	reason       string
	ticket       string
	wait, noWait bool
}

func (a *app) request() *cobra.Command {
	var w wish
	cmd := &cobra.Command{
		Use:   "request ROLE TARGET...",
		Short: "Ask for a role on targets",
		Long: `Ask for a role on targets, for a time and a reason. The request is signed with your key. If nobody
needs to agree you have it at once; otherwise the command waits in a terminal until somebody has.`,
		Example: `  brevet request web-root web1 --for 15m --reason "restart stuck nginx" --ticket OPS-4711
  brevet request web-shell web1 web2 --no-wait
  brevet request web-root web1 --login root --wait --output json`,
		Args:              arguments(2, -1),
		ValidArgsFunction: a.completeWish(),
		RunE: func(cmd *cobra.Command, args []string) error {
			w.role, w.targets = args[0], args[1:]
			return a.askFor(cmd.Context(), w)
		},
	}
	f := cmd.Flags()
	f.StringVar(&w.duration, "for", "", "how long, as in 15m (else 30m, or the role's longest if that is shorter)")
	f.StringVar(&w.reason, "reason", "", "why, for those who decide and for the log")
	f.StringVar(&w.ticket, "ticket", "", "ticket that it is for")
	f.StringSliceVar(&w.logins, "login", nil, "only this of the role's logins (may be repeated)")
	f.BoolVar(&w.wait, "wait", false, "wait until it is decided (the default in a terminal)")
	f.BoolVar(&w.noWait, "no-wait", false, "do not wait")
	_ = cmd.RegisterFlagCompletionFunc("login", a.completeLogins())
	cmd.MarkFlagsMutuallyExclusive("wait", "no-wait")
	return cmd
}

func (a *app) askFor(ctx context.Context, w wish) error {
	s, err := a.connect()
	if err != nil {
		return err
	}
	role, err := s.role(ctx, w.role)
	if err != nil {
		return err
	}
	if err := a.complete(ctx, &w, role); err != nil {
		return err
	}
	terms, err := w.terms(role, s.profile.Person)
	if err != nil {
		return err
	}
	signer, err := a.key(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	request := statement.Request{
		Header: statement.NewHeader(statement.ID(s.profile.Root), now, now.Add(requestLife)),
		Terms:  terms, Reason: w.reason, Ticket: w.ticket, Via: brevet.ViaCLI,
	}
	envelope, err := sign(ctx, request, signer)
	if err != nil {
		return err
	}
	made, err := s.requests.CreateRequest(ctx, &brevetv1.CreateRequestRequest{Statement: envelope.bytes})
	if err != nil {
		return err
	}
	if id := string(envelope.RequestID(request)); made.GetRequest().GetId() != id {
		return brevet.Errorf(brevet.Refused, "the server answered with another request than the one that was signed (%s)", id)
	}
	if w.noWait || !w.wait && !isTerminal(a.err) {
		return a.printRequest(made.GetRequest(), nil)
	}
	return a.awaitRequest(ctx, s, made.GetRequest())
}

// role returns the role of the name as the caller sees it.
func (s *session) role(ctx context.Context, name string) (*brevetv1.Role, error) {
	got, err := s.requests.ListRoles(ctx, &brevetv1.ListRolesRequest{})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, r := range got.GetRoles() {
		if r.GetName() == name {
			return r, nil
		}
		names = append(names, r.GetName())
	}
	return nil, missing("role", name, names, "brevet roles lists what you may ask for")
}

// complete asks for what the role wants and the command line did not give.
func (a *app) complete(ctx context.Context, w *wish, role *brevetv1.Role) (err error) {
	if w.reason == "" && role.GetAsksReason() {
		if w.reason, err = a.ask(ctx, "Reason: "); err != nil {
			return needed("reason", role, err)
		}
	}
	if w.ticket == "" && role.GetTicketPattern() != "" {
		if w.ticket, err = a.ask(ctx, "Ticket ("+show.Text(role.GetTicketPattern())+"): "); err != nil {
			return needed("ticket", role, err)
		}
	}
	return nil
}

func needed(what string, role *brevetv1.Role, err error) error {
	if brevet.KindOf(err) != brevet.Invalid {
		return err
	}
	return brevet.Errorf(brevet.Invalid, "%s needs a %s", role.GetName(), what).WithHint("add --%s", what)
}

// terms makes the wish exact.
func (w wish) terms(role *brevetv1.Role, person brevet.PersonID) (statement.Terms, error) {
	duration, err := w.length(role)
	if err != nil {
		return statement.Terms{}, err
	}
	if err := contains("target", w.targets, role.GetTargets(), role.GetName()); err != nil {
		return statement.Terms{}, err
	}
	logins := role.GetLogins()
	if len(w.logins) > 0 {
		if err := contains("login", w.logins, role.GetLogins(), role.GetName()); err != nil {
			return statement.Terms{}, err
		}
		logins = w.logins
	}
	holder, err := holderFor(role, w.targets)
	if err != nil {
		return statement.Terms{}, err
	}
	targets := make([]brevet.TargetID, len(w.targets))
	for i, t := range sorted(w.targets) {
		targets[i] = brevet.TargetID(t)
	}
	return statement.Terms{
		Person: person, Role: brevet.RoleName(role.GetName()), RoleDigest: role.GetRoleDigest(),
		Targets: slices.Compact(targets), Logins: slices.Compact(sorted(logins)), Duration: duration, Holder: holder,
	}, nil
}

func (w wish) length(role *brevetv1.Role) (brevet.Seconds, error) {
	longest := brevet.Seconds(role.GetLongestSeconds())
	if w.duration == "" {
		return min(usualDuration, longest), nil
	}
	d, err := show.ParseDuration(w.duration)
	if err != nil {
		return 0, err
	}
	if d > longest {
		return 0, brevet.Errorf(brevet.Invalid, "%s is longer than %s gives", show.ExactDuration(d), role.GetName()).
			WithHint("ask for %s or less: --for %s", show.ExactDuration(longest), show.ExactDuration(longest))
	}
	return d, nil
}

// contains checks that the role covers each of the names.
func contains(what string, names, have []string, role string) error {
	for _, n := range names {
		if !slices.Contains(have, n) {
			return missing(what, n, have, role+" covers: "+few(have, 8))
		}
	}
	return nil
}

// holderFor chooses a gateway that serves all the targets.
func holderFor(role *brevetv1.Role, targets []string) (statement.Holder, error) {
	for _, h := range role.GetHolders() {
		if !slices.ContainsFunc(targets, func(t string) bool { return !slices.Contains(h.GetTargets(), t) }) {
			return statement.Holder{Machine: brevet.MachineID(h.GetMachine()), Key: h.GetKey()}, nil
		}
	}
	if len(targets) > 1 {
		return statement.Holder{}, brevet.Errorf(brevet.Unavailable, "no gateway serves all of %s", strings.Join(targets, ", ")).
			WithHint("ask for them one by one")
	}
	return statement.Holder{}, brevet.Errorf(brevet.Unavailable, "no gateway serves %s", targets[0]).WithHint("brevet doctor")
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

func count(n int) string { return strconv.Itoa(n) }

// retryAfter is how long to wait before asking a server again that went away.
const retryAfter = 2 * time.Second

// awaitRequest follows a request until it is decided for good or its grant is live. A server that
// goes away meanwhile is asked again: the request stands in its store.
func (a *app) awaitRequest(ctx context.Context, s *session, r *brevetv1.Request) error {
	started, last := time.Now(), &brevetv1.WatchRequestResponse{Request: r}
	a.tell("%s", pending(r))
	for away := false; ; away = true {
		err := receive(ctx, s, func(ctx context.Context) (*connect.ServerStreamForClient[brevetv1.WatchRequestResponse], error) {
			return s.requests.WatchRequest(ctx, &brevetv1.WatchRequestRequest{Id: r.GetId()})
		}, func(m *brevetv1.WatchRequestResponse) error {
			a.tellProgress(last.GetRequest(), m.GetRequest())
			last, away = m, false
			return nil
		})
		switch {
		case err == nil && (brevet.RequestState(last.GetRequest().GetState()).Final()):
			return a.settled(last, time.Since(started))
		case err == nil || brevet.KindOf(err) == brevet.Unavailable:
			if !away && err != nil {
				a.tell("The server is away; waiting for it to come back. Your request stands.")
			}
		default:
			return a.leftOpen(ctx, r, err)
		}
		if err := pause(ctx, retryAfter); err != nil {
			return a.leftOpen(ctx, r, err)
		}
	}
}

// leftOpen tells whoever stopped waiting that their request goes on.
func (a *app) leftOpen(ctx context.Context, r *brevetv1.Request, err error) error {
	if ctx.Err() != nil {
		a.tell("")
		a.tell("%s stays open. Take it back with brevet cancel %s", short(r.GetId()), short(r.GetId()))
	}
	return err
}

// tellProgress tells of new answers.
func (a *app) tellProgress(before, now *brevetv1.Request) {
	for _, yes := range now.GetApprovals()[min(len(before.GetApprovals()), len(now.GetApprovals())):] {
		if yes.GetAgreed() { // a no ends the request, which is told of by its state
			a.tell("%s agreed%s%s", yes.GetBy(), narrowed(now, yes), quoted(yes.GetComment()))
		}
	}
	if before.GetState() != now.GetState() && now.GetState() == string(brevet.Waiting) {
		a.tell("%s", pending(now))
	}
}

func narrowed(r *brevetv1.Request, yes *brevetv1.Approval) string {
	if d := yes.GetDurationSeconds(); d > 0 && d < r.GetDurationSeconds() {
		return ", for " + seconds(d)
	}
	return ""
}

func quoted(comment string) string {
	if comment == "" {
		return ""
	}
	return ": " + comment
}

// settled prints how a request ended.
func (a *app) settled(last *brevetv1.WatchRequestResponse, took time.Duration) error {
	r := last.GetRequest()
	if names := approvers(r); names != "" && r.GetState() == string(brevet.Granted) {
		a.tell("%s approved, %s", names, show.Duration(took))
	}
	return a.printRequest(r, last.GetGrant())
}

// ended is a request that came to nothing.
func ended(r *brevetv1.Request) error {
	kind := brevet.Refused
	if s := r.GetState(); s == string(brevet.Lapsed) || s == string(brevet.Cancelled) {
		kind = brevet.Conflict
	}
	e := brevet.Errorf(kind, "%s was %s%s", short(r.GetId()), stateWord(r.GetState()), quoted(r.GetWhy()))
	if r.GetState() == string(brevet.Lapsed) {
		return e.WithHint("nobody answered in time; ask again, and tell them")
	}
	return e.WithHint("brevet story %s", short(r.GetId()))
}

func stateWord(state string) string {
	if state == string(brevet.Lapsed) {
		return "not answered"
	}
	return state
}

func approvers(r *brevetv1.Request) string {
	var names []string
	for _, yes := range r.GetApprovals() {
		if yes.GetAgreed() && !slices.Contains(names, yes.GetBy()) {
			names = append(names, yes.GetBy())
		}
	}
	return strings.Join(names, " and ")
}

// printRequest prints where a request stands. One that came to nothing is an error, in every format.
func (a *app) printRequest(r *brevetv1.Request, g *brevetv1.Grant) error {
	nothing := brevet.RequestState(r.GetState()).Final() && r.GetState() != string(brevet.Granted)
	err := a.print(r, func() error {
		switch {
		case nothing: // the error says it
		case g.GetTo().IsValid():
			a.say("%s  %s until %s (%s)  %s", short(g.GetId()), what(r), a.clock().At(when(g.GetTo())), a.clock().Left(when(g.GetTo())), useIt(r))
		case r.GetGrant() != "":
			a.say("%s  %s  %s", short(r.GetGrant()), what(r), useIt(r))
		default:
			a.say("%s", pending(r))
		}
		return nil
	})
	if err == nil && nothing {
		return ended(r)
	}
	return err
}

func what(r *brevetv1.Request) string { return r.GetRole() + " on " + few(r.GetTargets(), 4) }

func useIt(r *brevetv1.Request) string {
	if len(r.GetTargets()) == 0 || len(r.GetLogins()) == 0 {
		return ""
	}
	return "brevet ssh " + r.GetLogins()[0] + "@" + r.GetTargets()[0]
}

// pending says in one line what a request is and for whom it waits.
func pending(r *brevetv1.Request) string {
	line := short(r.GetId()) + "  " + what(r) + " for " + seconds(r.GetDurationSeconds())
	switch brevet.RequestState(r.GetState()) {
	case brevet.Waiting:
		return line + "  waiting for " + waitsFor(r.GetDecision().GetStages())
	case brevet.Asked, brevet.Ready:
		return line + "  being decided"
	}
	return line + "  " + r.GetState()
}

// waitsFor says who must still agree, as in "one of sre-leads (alice, dan), then one of security".
func waitsFor(stages []*brevetv1.Stage) string {
	var parts []string
	for _, s := range stages {
		left := int(s.GetCount()) - len(s.GetApprovedBy())
		if left <= 0 {
			continue
		}
		who := "nobody who could" // now: they have no key for it, are suspended, or policy says no
		if may := s.GetMayApprove(); len(may) > 0 {
			who = few(may, 5)
		}
		parts = append(parts, number(left)+" of "+s.GetGroup()+" ("+who+")")
	}
	if len(parts) == 0 {
		return "the issuer"
	}
	return strings.Join(parts, ", then ")
}

func number(n int) string {
	words := []string{"none", "one", "two", "three", "four", "five"}
	if n >= 0 && n < len(words) {
		return words[n]
	}
	return count(n)
}

func when(t *timestamppb.Timestamp) time.Time {
	if !t.IsValid() {
		return time.Time{}
	}
	return t.AsTime()
}
