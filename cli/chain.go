package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// signingLife is how long administrators have to sign one statement of the roster or the catalog.
const signingLife = 7 * 24 * time.Hour

// next is the place after the roster's head.
func next(state *proof.State) statement.Link {
	head, number := state.Roster.Head()
	return statement.Link{Number: number + 1, Previous: head}
}

// signRoster signs a roster statement and hands it in, or writes it to a file if more administrators must
// sign.
func (a *app) signRoster(ctx context.Context, s *session, state *proof.State, p statement.Payload, yes bool) error {
	envelope, err := statement.New(ctx, p)
	if err != nil {
		return err
	}
	return a.signChain(ctx, state, envelope, signing{statement.UseAdminister, yes, a.toRoster(ctx, s)})
}

// toRoster sends a statement that enough have signed.
func (a *app) toRoster(ctx context.Context, s *session) func([]byte) error {
	return func(b []byte) error {
		got, err := s.people.AppendRoster(ctx, &brevetv1.AppendRosterRequest{Statement: b})
		if err != nil {
			return err
		}
		return a.print(got, func() error {
			a.good("signed; the roster stands at %d", got.GetNumber())
			return nil
		})
	}
}

// signing is how a statement of a chain is to be signed.
type signing struct {
	use  statement.Use
	yes  bool               // do not ask
	send func([]byte) error // hands it in; nil: only sign
}

// signChain adds the person's signature to a statement of a chain and sends it once as many persons as
// the root demands have signed; until then it is written to a file for the next one. One that has all its
// signatures is only carried: a pipeline can hand in what it could not sign.
func (a *app) signChain(ctx context.Context, state *proof.State, envelope statement.Envelope, how signing) error {
	threshold := state.Roster.Root().Threshold
	if int64(persons(state, envelope, how.use)) < threshold {
		signed, err := a.addSignature(ctx, state, &envelope, how)
		if err != nil || !signed {
			return err
		}
	}
	b, err := envelope.Marshal()
	if err != nil {
		return err
	}
	signed := int64(persons(state, envelope, how.use))
	if signed >= threshold && how.send != nil {
		return how.send(b)
	}
	return a.passOn(envelope, b, signed, threshold)
}

// addSignature signs by the person's key, unless they say no.
func (a *app) addSignature(ctx context.Context, state *proof.State, envelope *statement.Envelope, how signing) (bool, error) {
	signer, err := a.key(ctx)
	if err != nil {
		return false, err
	}
	if err := maySign(state, signer, how.use); err != nil {
		return false, err
	}
	if err := a.announce(envelope.ID(), signer); err != nil {
		return false, err
	}
	if !how.yes {
		if sure, err := a.confirm(ctx, "Sign?"); err != nil || !sure {
			a.tell("Nothing was signed.")
			return false, err
		}
	}
	return true, envelope.Add(ctx, signer)
}

// maySign refuses a signature that would not count: nobody need ask around with it.
func maySign(state *proof.State, signer statement.Signer, use statement.Use) error {
	fingerprint, err := statement.Fingerprint(signer.Key())
	if err != nil {
		return err
	}
	_, err = state.KeyFor(fingerprint, use, latest, time.Now().UnixMicro())
	return err
}

// passOn writes a statement to a file for whoever signs it next or hands it in.
func (a *app) passOn(envelope statement.Envelope, b []byte, signed, threshold int64) error {
	kind, err := envelope.Kind()
	if err != nil {
		return err
	}
	file := fmt.Sprintf("%s-%s.json", kind, envelope.ID()[:8])
	if a.losesSignatures(file, envelope) {
		return brevet.Errorf(brevet.Conflict, "%s has signatures that would be lost", brevet.Quote(file)).
			WithHint("add yours to them: the same command with --statement %s", file)
	}
	if err := writeFile(file, b); err != nil {
		return err
	}
	a.say("%s", file)
	if signed < threshold {
		a.tell("%d of %d have signed. Give the file to another administrator, who runs the same command with --statement %s", signed, threshold, file)
	} else {
		a.tell("It has all its signatures. Hand it in with the same command and --statement %s", file)
	}
	return nil
}

// losesSignatures reports whether a statement in the file has a signature that the one to write there has not:
// two people may have signed copies.
func (a *app) losesSignatures(file string, envelope statement.Envelope) bool {
	b, err := a.readFile(file, statement.MaxEnvelope)
	if err != nil {
		return false // it is not there, most likely
	}
	there, err := statement.Parse(b)
	return err == nil && slices.ContainsFunc(there.Signatures, func(old statement.Signature) bool {
		return !slices.ContainsFunc(envelope.Signatures, func(s statement.Signature) bool { return s.Key == old.Key })
	})
}

// persons counts the people whose good signature with the use stands on the statement.
func persons(state *proof.State, envelope statement.Envelope, use statement.Use) int {
	people := map[brevet.PersonID]bool{}
	for _, sig := range envelope.Signatures {
		key, err := state.KeyFor(sig.Key, use, latest, time.Now().UnixMicro())
		if err != nil {
			continue
		}
		if _, err := statement.Verify(envelope, sig, key.Public); err == nil {
			people[key.Person] = true
		}
	}
	return len(people)
}

// signFile adds a signature to the roster statement in a file, having shown what it says.
func (a *app) signFile(ctx context.Context, file string, yes bool) error {
	s, err := a.connect()
	if err != nil {
		return err
	}
	b, err := a.readFile(file, statement.MaxEnvelope)
	if err != nil {
		return err
	}
	envelope, err := statement.Parse(b)
	if err != nil {
		return err
	}
	state, err := s.roster(ctx)
	if err != nil {
		return err
	}
	if err := a.showChainStatement(state, envelope); err != nil {
		return err
	}
	return a.signChain(ctx, state, envelope, signing{statement.UseAdminister, yes, a.toRoster(ctx, s)})
}

// showChainStatement shows what a statement says, and refuses those that are not of the roster, not
// of this organisation or not next.
func (a *app) showChainStatement(state *proof.State, envelope statement.Envelope) error {
	p, err := statement.OpenAny(envelope)
	if err != nil {
		return err
	}
	placed, ok := p.(interface{ Place() statement.Link })
	if _, isCatalog := p.(statement.Catalog); !ok || isCatalog {
		return brevet.Errorf(brevet.Invalid, "a %s statement is not signed here", p.StatementKind())
	}
	if p.Head().Org != state.Roster.Org() {
		return brevet.Errorf(brevet.Refused, "the statement is of another organisation")
	}
	if placed.Place() != next(state) {
		return brevet.Errorf(brevet.Conflict, "the roster has moved on since the statement was made").WithHint("make it again")
	}
	switch p := p.(type) {
	case statement.Enrol:
		a.showEnrolments(p)
	case statement.Retire:
		a.tell("retire %s of %s, what it signed since %s is suspect: %s", p.Key, p.Person, a.clock().Moment(time.UnixMicro(p.Since)), p.Reason)
	case statement.Reinstate:
		a.tell("reinstate %s: %s", p.Person, p.Reason)
	default:
		a.tell("%s statement: %s", p.StatementKind(), envelope.Payload)
	}
	return nil
}
