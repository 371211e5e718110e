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
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// answerLife is how long a signed answer can be handed in: it is sent at once.
const answerLife = 10 * time.Minute

// answer is what the command line says of an approval.
type answer struct {
	yes      bool
	duration string
	targets  []string
	logins   []string
	comment  string
}

func (a *app) approve() *cobra.Command {
	var given answer
	cmd := &cobra.Command{
		Use:   "approve REQUEST...",
		Short: "Agree to a request, or to less than it asks",
		Long: `Agree to a request, or to less than it asks. What you see is read from the bytes that the requester
signed, verified back to the root that is pinned on this machine, and your yes is for exactly that.`,
		Example: `  brevet approve req_7k2m
  brevet approve req_7k2m --for 10m          agree to less
  brevet approve req_7k2m --yes              do not ask (scripts)`,
		Args:              arguments(1, -1),
		ValidArgsFunction: a.completeRequests(&brevetv1.ListRequestsRequest{ForMe: true}),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.forEach(args, func(id string) error { return a.approveOne(cmd.Context(), id, given) })
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&given.yes, "yes", "y", false, "do not ask")
	f.StringVar(&given.duration, "for", "", "agree to this long only")
	f.StringSliceVar(&given.targets, "target", nil, "agree to these targets only (may be repeated)")
	f.StringSliceVar(&given.logins, "login", nil, "agree to these logins only (may be repeated)")
	_ = cmd.RegisterFlagCompletionFunc("target", a.completeAsked((*brevetv1.Request).GetTargets))
	_ = cmd.RegisterFlagCompletionFunc("login", a.completeAsked((*brevetv1.Request).GetLogins))
	f.StringVar(&given.comment, "comment", "", "what to add, for the requester and the log")
	return cmd
}

func (a *app) approveOne(ctx context.Context, typed string, given answer) error {
	s, err := a.connect()
	if err != nil {
		return err
	}
	view, err := s.requestOf(ctx, typed)
	if err != nil {
		return err
	}
	if err := stillOpen(view); err != nil {
		return err
	}
	state, err := s.roster(ctx)
	if err != nil {
		return err
	}
	request, err := verifyRequest(state, view)
	if err != nil {
		return err
	}
	if request.Person == s.profile.Person {
		return ownRequest(view, request)
	}
	a.showRequest(request, s.context(ctx, state, request), view)
	for {
		approval, err := given.approval(request, view, s.profile.Person, statement.ID(s.profile.Root))
		if err != nil {
			return err
		}
		choice := "a"
		if !given.yes {
			if choice, err = a.choose(ctx, approval); err != nil {
				return err
			}
		}
		switch choice {
		case "a":
			return a.sendApproval(ctx, s, approval)
		case "n":
			if err := a.askAgain(ctx, "For how long? ", func(typed string) error {
				given.duration = typed
				_, err := given.approval(request, view, s.profile.Person, statement.ID(s.profile.Root))
				return err
			}); err != nil {
				return err
			}
		case "d":
			reason, err := a.ask(ctx, "Why not? ")
			if err != nil {
				return err
			}
			return a.refuse(ctx, s, view, reason)
		case "?":
			a.details(request)
		default:
			a.tell("Nothing was signed.")
			return nil
		}
	}
}

// stillOpen refuses before anything is shown or asked what nobody can answer any more.
func stillOpen(r *brevetv1.Request) error {
	if !brevet.RequestState(r.GetState()).Final() {
		return nil
	}
	e := brevet.Errorf(brevet.Conflict, "%s is over: it was %s%s", short(r.GetId()), stateWord(r.GetState()), quoted(r.GetWhy()))
	if r.GetState() == string(brevet.Granted) {
		return e.WithHint("brevet revoke %s ends the grant, if it is in force still", short(r.GetGrant()))
	}
	return e.WithHint("brevet story %s", short(r.GetId()))
}

// ownRequest refuses before anything is signed what policy and the issuer would refuse after.
func ownRequest(view *brevetv1.Request, r verifiedRequest) error {
	e := brevet.Errorf(brevet.Refused, "%s may not approve their own request", r.Person)
	if stages := view.GetDecision().GetStages(); len(stages) > 0 {
		return e.WithHint("%s can", waitsFor(stages))
	}
	return e.WithHint("brevet cancel %s takes it back", short(view.GetId()))
}

func (a *app) choose(ctx context.Context, approval statement.Approval) (string, error) {
	got, err := a.ask(ctx, "Approve for "+show.ExactDuration(approval.Duration)+", narrow, deny, look closer, leave it? [a/n/d/?/l] ")
	return strings.ToLower(got), err
}

// approval makes the answer exact: the terms asked for, or narrower ones.
func (given answer) approval(r verifiedRequest, view *brevetv1.Request, by brevet.PersonID, org statement.ID) (statement.Approval, error) {
	terms := r.Terms
	if given.duration != "" {
		d, err := show.ParseDuration(given.duration)
		if err != nil {
			return statement.Approval{}, err
		}
		if d > terms.Duration {
			return statement.Approval{}, brevet.Errorf(brevet.Invalid, "%s is more than was asked for (%s)", show.ExactDuration(d), show.ExactDuration(terms.Duration)).
				WithHint("a longer time is a new request")
		}
		terms.Duration = d
	}
	var err error
	if terms.Targets, err = narrow("target", terms.Targets, given.targets); err != nil {
		return statement.Approval{}, err
	}
	if terms.Logins, err = narrow("login", terms.Logins, given.logins); err != nil {
		return statement.Approval{}, err
	}
	now := time.Now()
	return statement.Approval{
		Header:  statement.NewHeader(org, now, now.Add(answerLife)),
		Request: r.envelope.ID(), By: by, Stage: stageFor(view, by), Terms: terms, Comment: given.comment,
	}, nil
}

// narrow returns the chosen of what was asked for; all of it if none is chosen.
func narrow[T ~string](what string, asked []T, chosen []string) ([]T, error) {
	if len(chosen) == 0 {
		return asked, nil
	}
	var left []T
	for _, c := range sorted(chosen) {
		if !slices.Contains(asked, T(c)) {
			return nil, brevet.Errorf(brevet.Invalid, "%s %s was not asked for", what, brevet.Quote(c)).WithHint("an approval can only be narrower")
		}
		left = append(left, T(c))
	}
	return slices.Compact(left), nil
}

// stageFor returns the first stage that still needs somebody and where this person may answer.
func stageFor(view *brevetv1.Request, by brevet.PersonID) int64 {
	open := int64(0)
	for i, s := range slices.Backward(view.GetDecision().GetStages()) {
		if len(s.GetApprovedBy()) >= int(s.GetCount()) {
			continue
		}
		if slices.Contains(s.GetMayApprove(), string(by)) {
			open = int64(i)
		}
	}
	return open
}

func (a *app) sendApproval(ctx context.Context, s *session, approval statement.Approval) error {
	signer, err := a.key(ctx)
	if err != nil {
		return err
	}
	envelope, err := a.signShown(ctx, approval, signer)
	if err != nil {
		return err
	}
	got, err := s.requests.Approve(ctx, &brevetv1.ApproveRequest{Statement: envelope.bytes})
	if err != nil {
		return err
	}
	r := got.GetRequest()
	return a.print(r, func() error {
		switch brevet.RequestState(r.GetState()) {
		case brevet.Granted, brevet.Ready:
			a.good("signed; %s is in", r.GetPerson())
		case brevet.Waiting:
			a.good("signed; it waits for %s", waitsFor(r.GetDecision().GetStages()))
		default:
			return ended(r)
		}
		return nil
	})
}

// signShown signs a payload, having told the id that is signed and the key.
func (a *app) signShown(ctx context.Context, p statement.Payload, signer statement.Signer) (signed, error) {
	unsigned, err := statement.New(ctx, p)
	if err != nil {
		return signed{}, err
	}
	if err := a.announce(unsigned.ID(), signer); err != nil {
		return signed{}, err
	}
	return sign(ctx, p, signer)
}

// requestContext is what an approver should know beside the request's own words.
type requestContext struct {
	role brevet.Role
	tags map[brevet.TargetID]string // sensitivity of each target
	note string                     // what keeps the rest from being known, or ""
}

// context looks the role up in the signed catalog. Without it the request still shows, with a note why.
func (s *session) context(ctx context.Context, state *proof.State, r verifiedRequest) requestContext {
	current, err := s.verifiedCatalog(ctx, state)
	if err != nil {
		message, _ := brevet.MessageOf(err)
		return requestContext{note: "the catalog could not be verified: " + message}
	}
	role, digest, ok := current.Role(r.Role)
	if !ok || digest != r.RoleDigest {
		return requestContext{note: "the role changed since this was asked; it will be refused"}
	}
	c := requestContext{role: role, tags: map[brevet.TargetID]string{}}
	for _, id := range r.Targets {
		if t, ok := current.Target(id); ok {
			c.tags[id] = string(t.Sensitivity)
		}
	}
	return c
}

// showRequest shows what is asked, from the signed bytes; only the last line is the server's word.
func (a *app) showRequest(r verifiedRequest, c requestContext, view *brevetv1.Request) {
	targets := make([]string, len(r.Targets))
	for i, t := range r.Targets {
		targets[i] = string(t)
		if tag := c.tags[t]; tag != "" {
			targets[i] += " (" + tag + ")"
		}
	}
	role := string(r.Role)
	if tag := c.role.Sensitivity; tag != "" {
		role += " (" + string(tag) + ")"
	}
	a.tell("%s asks %s on %s: %s by ssh%s", r.Person, role, strings.Join(targets, ", "), strings.Join(r.Logins, ", "), recorded(c.role))
	line := "  for " + show.ExactDuration(r.Duration) + ", once it is agreed      why  " + orNone(r.Reason)
	if r.Ticket != "" {
		line += "      ticket  " + r.Ticket
	}
	a.tell("%s", line)
	a.tell("  asked %s ago by %s", a.clock().Ago(time.UnixMicro(r.At)), r.signedBy())
	if c.note != "" {
		a.caution("%s", c.note)
	}
	if policies := view.GetDecision().GetPolicies(); len(policies) > 0 {
		a.tell("  policy %s (says the server)", strings.Join(policies, ", "))
	}
}

func recorded(role brevet.Role) string {
	switch role.Recording {
	case brevet.RecordingRequired:
		return ", recorded"
	case brevet.RecordingOff:
		return ", not recorded"
	}
	return ""
}

func orNone(s string) string {
	if s == "" {
		return "(none given)"
	}
	return s
}

// signedBy says whose signature stands under the request.
func (v verifiedRequest) signedBy() string {
	if v.Via == brevet.ViaSSH {
		return "ssh from " + v.Seen.Source + ", with key " + shortKey(v.Seen.Key) + ", seen by gateway " + v.by
	}
	return "key " + shortKey(v.envelope.Signatures[0].Key) + ", presence " + string(v.presence)
}

// details shows everything that the requester signed.
func (a *app) details(r verifiedRequest) {
	a.tell("  request    %s", r.id)
	a.tell("  statement  %s", r.envelope.ID())
	a.tell("  role       %s, digest %s", r.Role, r.RoleDigest)
	a.tell("  holder     %s, key %s", r.Holder.Machine, r.Holder.Key)
	a.tell("  said at    %s", show.Clock{UTC: a.utc, Exact: true}.At(time.UnixMicro(r.At)))
	a.tell("  good until %s", show.Clock{UTC: a.utc, Exact: true}.At(time.UnixMicro(r.Until)))
	a.tell("  payload    %s", r.envelope.Payload)
}
