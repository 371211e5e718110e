package flow

import (
	"context"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// revoked is a revocation that was verified, by a key that may still act for the caller.
type revoked struct {
	proof.Heard
	key      string
	presence brevet.Presence
}

// revocation reads a revocation that the caller signed. Only what verifies may get into the log,
// where it is in force for ever.
func (s *Spine) revocation(v view, by brevet.Caller, raw []byte, what string) (revoked, error) {
	envelope, said, err := parse[statement.Revocation](raw)
	switch {
	case err != nil:
		return revoked{}, err
	case said.What != what:
		return revoked{}, brevet.Errorf(brevet.Invalid, "what: this ends a %s, and a %s was to end", said.What, what)
	case said.By != string(by.Person):
		return revoked{}, brevet.Errorf(brevet.Refused, "the revocation is by %s, and you are %s", said.By, by.Person)
	case v.now.Before(time.UnixMicro(said.At).Add(-clockSlack)):
		return revoked{}, brevet.Errorf(brevet.Refused, "the revocation is from the future").WithHint("set the clock of the computer that signed it")
	case v.now.After(time.UnixMicro(said.Until)):
		return revoked{}, brevet.Errorf(brevet.Refused, "the revocation is out of date").WithHint("sign it again")
	}
	heard, err := v.VerifyRevocation(proof.Pending(envelope, v.size))
	if err != nil {
		return revoked{}, err
	}
	for _, sig := range envelope.Signatures {
		key, ok := v.Roster.Key(sig.Key, v.size+1)
		if ok && key.Person == by.Person {
			return revoked{heard, sig.Key, presenceOf(key)}, nil
		}
	}
	return revoked{}, brevet.Errorf(brevet.Refused, "the revocation is not signed by a key of %s", by.Person)
}

// clockSlack is how far ahead the clock of a signer may be.
const clockSlack = 5 * time.Minute

// revocationEvent is the event of a revocation that goes into the log.
func (s *Spine) revocationEvent(rev revoked, by brevet.Caller, raw []byte, message string) brevet.Event {
	e := s.event(string(statement.KindRevocation), string(rev.ID), by, message)
	e.Statement = raw
	e.Detail = map[string]any{"what": rev.What, "subject": rev.Subject, "reason": rev.Reason}
	return e
}

// takeBack tells the issuer directly of a revocation that is in the log, so that it counts from
// now on and not only once the log was followed. An issuer that does not answer cannot sign
// either, and hears of it by the log before it does again.
func (s *Spine) takeBack(ctx context.Context, raw []byte) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), telling)
	defer cancel()
	if _, err := s.Issuer.TakeBack(ctx, raw); err != nil {
		s.Log.WarnContext(ctx, "the issuer will hear of a revocation by the log only", "error", err)
	}
}
