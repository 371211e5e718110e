package cli

import (
	"context"
	"fmt"
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

func (a *app) peopleSign() *cobra.Command {
	var which signWhich
	var yes bool
	var keyLife, file string
	cmd := &cobra.Command{
		Use:   "sign [NAME...]",
		Short: "Sign that keys belong to people, many at once if need be",
		Long: `Sign that keys belong to the people who showed them. Compare each fingerprint with what its owner sees.
If several keys wait for one person, say which by --key: a code may have been intercepted. Somebody for
whom nobody can sign is told, and the others are signed for.
Where more than one administrator must sign, the statement is written to a file for the next one.`,
		Example: `  brevet people sign                       who waits
  brevet people sign bob carol
  brevet people sign bob --key SHA256:u7Qx
  brevet people sign --all
  brevet people sign --statement enrol-7.json   add your signature to another's`,
		ValidArgsFunction: a.completePeople(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if file != "" {
				return a.signFile(cmd.Context(), file, yes)
			}
			life, err := show.ParseDuration(keyLife)
			if err != nil {
				return err
			}
			which.names = args
			return a.signPeople(cmd.Context(), which, yes, life)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&which.all, "all", false, "everybody who waits")
	f.StringArrayVar(&which.keys, "key", nil, "the key to sign, as SHA256:… or a unique beginning of that, where several wait for one person (may be repeated)")
	f.BoolVarP(&yes, "yes", "y", false, "do not ask")
	f.StringVar(&keyLife, "key-life", "365d", "how long the keys are good")
	f.StringVar(&file, "statement", "", "add a signature to the statement in this file")
	return cmd
}

// signWhich is whom and what somebody wants to sign for.
type signWhich struct {
	names []string
	keys  []string // fingerprints, or their beginnings
	all   bool
}

func (a *app) signPeople(ctx context.Context, which signWhich, yes bool, life brevet.Seconds) error {
	s, err := a.connect()
	if err != nil {
		return err
	}
	got, err := s.people.ListInvitations(ctx, &brevetv1.ListInvitationsRequest{})
	if err != nil {
		return err
	}
	if len(which.names)+len(which.keys) == 0 && !which.all {
		return a.print(got, func() error {
			return a.tableOf(a.invitationsTable(got.GetInvitations()), "", "Nobody waits for a signature. brevet people invite NAME makes a code.")
		})
	}
	waiting := offersIn(got.GetInvitations())
	if len(waiting) == 0 && len(which.names) == 0 {
		return brevet.Errorf(brevet.NotFound, "nobody waits for a signature").WithHint("brevet people invite NAME")
	}
	chosen, names, err := which.choose(waiting)
	if err != nil {
		return err
	}
	state, err := s.roster(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	e := statement.Enrol{Header: statement.NewHeader(state.Roster.Org(), now, now.Add(signingLife)), Link: next(state)}
	failed := a.forEach(names, func(name string) error {
		theirs, err := offersOf(waiting, chosen, name)
		if err != nil {
			return err
		}
		more, err := enrolments(state, e, theirs, now, now.Add(life.Duration()))
		e.Enrolments = append(e.Enrolments, more...)
		return err
	})
	if len(e.Enrolments) == 0 {
		return failed
	}
	Report(a.err, failed) // before the question: who is asked should know for whom it is not
	a.showEnrolments(e)
	if err := a.signRoster(ctx, s, state, e, yes); err != nil || failed == nil {
		return err
	}
	return exit(Status(failed))
}

func (a *app) invitationsTable(list []*brevetv1.Invitation) show.Table {
	t := show.Table{Head: []string{"WHO", "KIND", "MAY", "KEY", "STATE", "UNTIL", "CODE"}}
	for _, i := range list {
		t.Add(i.GetPerson(), i.GetKind(), strings.Join(i.GetUses(), ", "), i.GetFingerprint(), i.GetState(), a.clock().At(when(i.GetUntil())), shortCode(i))
	}
	return t
}

const answered = "answered"

// offer is a key that waits for a signature. Its fingerprint is made here: the server's word is not enough
// to choose by.
type offer struct {
	*brevetv1.Invitation
	key         statement.Key
	fingerprint string // "" if the key cannot be read
}

func offersIn(list []*brevetv1.Invitation) []offer {
	var offers []offer
	for _, i := range list {
		if i.GetState() != answered {
			continue
		}
		o := offer{Invitation: i}
		if key, err := statement.ParseSSHKey(i.GetPublicKey()); err == nil { // else enrolments refuses it by name
			o.key = key
			o.fingerprint, _ = statement.Fingerprint(key)
		}
		offers = append(offers, o)
	}
	return offers
}

// choose returns the offers that --key names, and the people to sign for.
func (w signWhich) choose(waiting []offer) (chosen []offer, names []string, err error) {
	var candidates []offer
	for _, o := range waiting {
		if len(w.names) == 0 || w.all || slices.Contains(w.names, o.GetPerson()) {
			candidates = append(candidates, o)
		}
	}
	names = slices.Clone(w.names)
	for _, typed := range w.keys {
		o, err := offerOf(candidates, typed)
		if err != nil {
			return nil, nil, err
		}
		chosen = append(chosen, o)
		if len(w.names) == 0 {
			names = append(names, o.GetPerson())
		}
	}
	if w.all {
		for _, o := range waiting {
			names = append(names, o.GetPerson())
		}
	}
	return chosen, slices.Compact(sorted(names)), nil
}

// offerOf returns the one offer whose key begins so.
func offerOf(candidates []offer, typed string) (offer, error) {
	begin := agentPrefix + strings.TrimPrefix(typed, agentPrefix)
	if len(begin) < len(agentPrefix)+leastTyped {
		return offer{}, brevet.Errorf(brevet.Invalid, "--key %s is too short", brevet.Quote(typed)).
			WithHint("type SHA256: and %d or more characters, as brevet people sign shows them", leastTyped)
	}
	fit := slices.DeleteFunc(slices.Clone(candidates), func(o offer) bool { return !strings.HasPrefix(o.fingerprint, begin) })
	switch len(fit) {
	case 0:
		return offer{}, brevet.Errorf(brevet.NotFound, "no key that waits begins with %s", brevet.Quote(begin)).WithHint("brevet people sign lists those that wait")
	case 1:
		return fit[0], nil
	}
	return offer{}, brevet.Errorf(brevet.Conflict, "%d keys that wait begin with %s:%s", len(fit), brevet.Quote(begin), keysIn(fit)).
		WithHint("type more of it, or withdraw what is not right: brevet people uninvite CODE")
}

// offersOf returns what to sign for the person. Where several keys wait somebody must have said which: one of
// them may be that of whoever read the code on its way.
func offersOf(waiting, chosen []offer, name string) ([]offer, error) {
	others := func(o offer) bool { return o.GetPerson() != name }
	if theirs := slices.DeleteFunc(slices.Clone(chosen), others); len(theirs) > 0 {
		return theirs, nil
	}
	theirs := slices.DeleteFunc(slices.Clone(waiting), others)
	switch len(theirs) {
	case 0:
		var names []string
		for _, o := range waiting {
			names = append(names, o.GetPerson())
		}
		return nil, missing("answered invitation of", name, names, "brevet people sign lists who waits; they must run brevet login CODE first")
	case 1:
		return theirs, nil
	}
	return nil, brevet.Errorf(brevet.Conflict, "%d keys wait for %s, and one may be of somebody who read the code:%s", len(theirs), name, keysIn(theirs)).
		WithHint("ask %s for the fingerprint and sign that one: brevet people sign %s --key SHA256:…; withdraw the other: brevet people uninvite CODE", name, name)
}

func keysIn(offers []offer) string {
	var b strings.Builder
	for _, o := range offers {
		fmt.Fprintf(&b, "\n  %s  code %s  of %s", o.fingerprint, shortCode(o.Invitation), o.GetPerson())
	}
	return b.String()
}

// keySlack lets a key be used at once by a machine whose clock is a little behind.
const keySlack = time.Minute

// enrolments makes what e is to say of the offers, and refuses what the roster would not take: one such would
// spoil the whole statement. Each key's possession is verified here: the server's word is not enough to sign upon.
func enrolments(state *proof.State, e statement.Enrol, offers []offer, now, until time.Time) ([]statement.Enrolment, error) {
	var list []statement.Enrolment
	for _, o := range offers {
		one := statement.Enrolment{
			Person: brevet.PersonID(o.GetPerson()), Kind: brevet.IdentityKind(o.GetKind()), Owner: brevet.PersonID(o.GetOwner()),
			Key: o.key, Uses: []statement.Use{}, From: now.Add(-keySlack).UnixMicro(), Until: until.UnixMicro(),
			Code: o.GetCode(), Possession: o.GetPossession(),
		}
		for _, u := range slices.Compact(sorted(o.GetUses())) {
			one.Uses = append(one.Uses, statement.Use(u))
		}
		all := append(slices.Clone(e.Enrolments), list...)
		if err := enrollable(state, e, all, one); err != nil {
			message, _ := brevet.MessageOf(err)
			return list, brevet.Errorf(brevet.KindOf(err), "%s cannot be signed for: %s", one.Person, strings.TrimPrefix(message, "enrolments[0].")).
				WithHint("withdraw the code and make another: brevet people uninvite %s", shortCode(o.Invitation))
		}
		list = append(list, one)
	}
	return list, nil
}

// enrollable returns why one cannot stand in e beside the others.
func enrollable(state *proof.State, e statement.Enrol, others []statement.Enrolment, one statement.Enrolment) error {
	e.Enrolments = []statement.Enrolment{one}
	if err := e.Validate(); err != nil {
		return err
	}
	if _, err := one.CheckPossession(state.Roster.Org()); err != nil {
		return err
	}
	fingerprint, err := statement.Fingerprint(one.Key)
	if err != nil {
		return err
	}
	kind, known := state.Roster.Identity(one.Person)
	ownerKind, owned := state.Roster.Identity(one.Owner)
	key, enrolled := state.Roster.Key(fingerprint, latest)
	switch {
	case known && kind != one.Kind:
		return brevet.Errorf(brevet.Refused, "it is a %s by the roster, not a %s", kind, one.Kind)
	case one.Kind == brevet.Workload && (!owned || ownerKind != brevet.Person):
		return brevet.Errorf(brevet.Refused, "its owner %s is no person of the roster", one.Owner)
	case enrolled && key.Person != one.Person:
		return brevet.Errorf(brevet.Refused, "the key %s is of %s", fingerprint, key.Person)
	case slices.ContainsFunc(state.Roster.Root().Founders, func(f statement.Founder) bool { return slices.Contains(f.Keys, one.Key) }):
		return brevet.Errorf(brevet.Refused, "the key %s is a founder's, which the root gives", fingerprint)
	case enrolled && key.Retired < latest:
		return brevet.Errorf(brevet.Refused, "the key %s is retired", fingerprint)
	case slices.ContainsFunc(others, func(o statement.Enrolment) bool { return o.Key == one.Key }):
		return brevet.Errorf(brevet.Refused, "the key %s stands in this statement already", fingerprint)
	}
	return nil
}

func (a *app) showEnrolments(e statement.Enrol) {
	for _, one := range e.Enrolments {
		fingerprint, err := statement.Fingerprint(one.Key)
		if err != nil {
			fingerprint = "a key that cannot be read"
		}
		who := string(one.Person)
		if one.Owner != "" {
			who += " (workload of " + string(one.Owner) + ")"
		}
		a.tell("%s  may %s  with %s  until %s", who, strings.Join(words(one.Uses), ", "), fingerprint, a.clock().At(time.UnixMicro(one.Until)))
	}
}

func words[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = string(w)
	}
	return out
}
