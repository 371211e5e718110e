package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// Invite keeps an invitation, whose code the caller has made: here is only its digest.
func (s *Spine) Invite(ctx context.Context, by brevet.Caller, i store.Invitation) error {
	v := s.view()
	if err := v.administers(by, policy.SystemPeople); err != nil {
		return err
	}
	if err := brevet.CheckName("person", string(i.Person)); err != nil {
		return err
	}
	switch kind, there := v.Roster.Identity(i.Person); {
	case there && kind != i.Kind:
		return brevet.Errorf(brevet.Conflict, "%s is a %s", i.Person, kind)
	case i.Kind != brevet.Person && i.Kind != brevet.Workload:
		return brevet.Errorf(brevet.Invalid, "kind: %s is neither person nor workload", brevet.Quote(string(i.Kind)))
	case (i.Kind == brevet.Workload) != (i.Owner != ""):
		return brevet.Errorf(brevet.Invalid, "owner: a workload has a person as its owner, and a person has none")
	case len(i.Uses) == 0:
		return brevet.Errorf(brevet.Invalid, "uses: say what the key is for: request, approve, administer, catalog")
	}
	if err := v.checkWorkload(i); err != nil {
		return err
	}
	for _, use := range i.Uses {
		if !strings.Contains(" request approve administer catalog ", " "+use+" ") {
			return brevet.Errorf(brevet.Invalid, "uses: there is no use %s", brevet.Quote(use)).WithHint("request, approve, administer, catalog")
		}
	}
	i.CreatedBy, i.CreatedAt = by.Person, v.now
	event := s.event("invitation.created", string(i.Person), by, fmt.Sprintf("%s invited %s", by.Person, i.Person))
	event.About, event.Detail = i.Person, map[string]any{"before": nil, "after": toldInvitation(i, invitationOpen)}
	_, err := s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		return []brevet.Event{event}, t.AddInvitation(i)
	})
	return err
}

// checkWorkload refuses what the roster would not take once the code is answered: a code that cannot
// lead to an enrolment stands in the way of whoever signs.
func (v view) checkWorkload(i store.Invitation) error {
	if i.Kind != brevet.Workload {
		return nil
	}
	kind, there := v.Roster.Identity(i.Owner)
	switch {
	case i.Owner == i.Person:
		return brevet.Errorf(brevet.Invalid, "owner: a workload cannot own itself").WithHint("name the person who answers for it")
	case !there || kind != brevet.Person:
		return brevet.Errorf(brevet.Invalid, "owner: %s is no person of the roster", i.Owner).WithHint("brevet people lists them")
	case slices.ContainsFunc(i.Uses, func(use string) bool { return use != string(statement.UseRequest) }):
		return brevet.Errorf(brevet.Invalid, "uses: a workload's key is to request and for nothing else").
			WithHint("people approve and administer: invite its owner with these uses")
	}
	return nil
}

// WithdrawInvitation ends a code that led to no enrolment, answered or not, and returns what it was.
func (s *Spine) WithdrawInvitation(ctx context.Context, by brevet.Caller, code string) (store.Invitation, error) {
	v := s.view()
	if err := v.administers(by, policy.SystemPeople); err != nil {
		return store.Invitation{}, err
	}
	var was store.Invitation
	_, err := s.Store.Change(ctx, func(t *store.Tx) (_ []brevet.Event, err error) {
		if was, err = t.Invitation(code); brevet.KindOf(err) == brevet.NotFound {
			return nil, hidden("invitation with the code", code)
		}
		switch {
		case err != nil:
			return nil, err
		case was.Statement != "":
			return nil, brevet.Errorf(brevet.Conflict, "the key that %s showed with this code is signed", was.Person).
				WithHint("brevet keys retire FINGERPRINT ends a key")
		case !was.ClosedAt.IsZero():
			return nil, errWithdrawn(was)
		}
		event := s.eventAt(v.now, "invitation.withdrawn", string(was.Person), by, fmt.Sprintf("%s withdrew the invitation of %s", by.Person, was.Person))
		event.About = was.Person
		event.Detail = map[string]any{"before": toldInvitation(was, stateOf(was)), "after": toldInvitation(was, invitationWithdrawn)}
		return []brevet.Event{event}, t.CloseInvitation(code, "", v.now)
	})
	return was, err
}

func errWithdrawn(i store.Invitation) error {
	return brevet.Errorf(brevet.Conflict, "the code %.8s of %s was withdrawn", i.Code, i.Person).WithHint("make another: brevet people invite %s", i.Person)
}

// closeInvitation writes that the code led to the statement. One that was withdrawn leads to nothing more,
// even where signatures were collected before. A code that is not ours is the signers' own matter.
func closeInvitation(t *store.Tx, code string, id statement.ID, at time.Time) error {
	err := t.CloseInvitation(code, string(id), at)
	if brevet.KindOf(err) != brevet.Conflict {
		return err
	}
	i, err := t.Invitation(code)
	switch {
	case brevet.KindOf(err) == brevet.NotFound:
		return nil
	case err == nil && i.Statement == "":
		return errWithdrawn(i)
	}
	return err
}

// How an invitation stands, in events.
const (
	invitationOpen      = "open"
	invitationAnswered  = "answered"
	invitationWithdrawn = "withdrawn"
)

func stateOf(i store.Invitation) string {
	if i.AnsweredAt.IsZero() {
		return invitationOpen
	}
	return invitationAnswered
}

// toldInvitation is an invitation as events tell of it. The code's digest is what its enrolment names too.
func toldInvitation(i store.Invitation, state string) map[string]any {
	told := map[string]any{"state": state, "code": i.Code, "person": i.Person, "kind": i.Kind, "uses": i.Uses, "until": i.ExpiresAt}
	if i.Owner != "" {
		told["owner"] = i.Owner
	}
	if key, err := statement.ParseSSHKey(i.Key); err == nil { // else none was shown
		told["key"], _ = statement.Fingerprint(key) // "" if it has none
	}
	return told
}

// Invitations lists the invitations that are open or wait for an administrator's signature.
func (s *Spine) Invitations(ctx context.Context, by brevet.Caller) ([]store.Invitation, error) {
	v := s.view()
	if err := v.administers(by, policy.SystemPeople); err != nil {
		return nil, err
	}
	return s.Store.Query(ctx).OpenInvitations(store.MaxPage)
}

// mostMisses is how often a code may be answered without showing possession.
const mostMisses = 5

// AnswerInvitation offers a key with a one-time code, whose digest is given. The caller has not
// signed in. Every flaw has one answer, a Refused error, so that codes cannot be told apart by guessing.
func (s *Spine) AnswerInvitation(ctx context.Context, by brevet.Caller, digest string, person brevet.PersonID, publicKey, possession string) (string, error) {
	state, err := s.answerInvitation(ctx, by, digest, person, publicKey, possession)
	if err == nil {
		return state, nil
	}
	switch brevet.KindOf(err) {
	case brevet.Refused, brevet.NotFound, brevet.Conflict:
		return "", brevet.Errorf(brevet.Refused, "this code was not accepted").Because(err).
			WithHint("it may be mistyped, used, or too old: ask whoever invited you for a new one")
	}
	return "", err
}

// InvitationRefused tells of a one-time code that was not accepted. person is whom it was to be for.
func (s *Spine) InvitationRefused(ctx context.Context, by brevet.Caller, person brevet.PersonID, why error) {
	event := s.failure("invitation.refused", "", by, "a one-time code was not accepted")
	event.Subject = string(event.ID)
	event.Detail = map[string]any{"source": by.Source.String(), "person": person, "error": why.Error()}
	s.tell(ctx, event)
}

// How an answered invitation stands.
const (
	invitationWaits  = "waiting"  // for an administrator
	invitationSigned = "enrolled" // the key may be used
)

func (s *Spine) answerInvitation(ctx context.Context, by brevet.Caller, digest string, person brevet.PersonID, publicKey, possession string) (string, error) {
	key, err := statement.ParseSSHKey(publicKey)
	if err != nil {
		return "", err // whether or not there is such a code
	}
	i, err := s.Store.Query(ctx).Invitation(digest)
	if err != nil {
		return "", err
	}
	v := s.view()
	enrolment := statement.Enrolment{Person: i.Person, Key: key, Code: digest, Possession: possession}
	_, err = enrolment.CheckPossession(s.Root)
	switch {
	case i.Attempts >= mostMisses:
		return "", brevet.Errorf(brevet.Refused, "it was tried too often")
	case i.Person != person || err != nil:
		miss := s.Store.Work(ctx, func(w *store.Work) error {
			_, err := w.MissInvitation(digest)
			return err
		})
		return "", brevet.Errorf(brevet.Refused, "possession of the key was not shown").Because(errors.Join(err, miss))
	}
	fingerprint, err := statement.Fingerprint(key)
	if err != nil {
		return "", err
	}
	known, there := v.Roster.Key(fingerprint, v.size)
	switch {
	case there && known.Person != i.Person:
		return "", brevet.Errorf(brevet.Refused, "the key is somebody else's")
	case i.Key == key.Public && i.Statement != "" && there: // asked again by the same key: how does it stand?
		return invitationSigned, nil
	case there && known.Retired < v.size: // nobody could sign for it
		return "", brevet.Errorf(brevet.Refused, "the key is retired")
	case i.Key == key.Public && i.ClosedAt.IsZero():
		return invitationWaits, nil
	}
	event := s.event("invitation.answered", string(i.Person), by, fmt.Sprintf("a key was offered for %s", i.Person))
	answered := i
	answered.Key = key.Public
	event.About = i.Person
	event.Detail = map[string]any{
		"source": by.Source.String(), "before": toldInvitation(i, invitationOpen), "after": toldInvitation(answered, invitationAnswered),
	}
	_, err = s.Store.Change(ctx, func(t *store.Tx) ([]brevet.Event, error) {
		return []brevet.Event{event}, t.AnswerInvitation(digest, key.Public, possession, v.now)
	})
	return invitationWaits, err
}
