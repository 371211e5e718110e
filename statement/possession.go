package statement

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/brevet-pim/brevet"
)

// possessionType is not a kind of statement: a signature that shows possession can never be
// one on a statement, nor the other way round.
const possessionType = typePrefix + "possession" + typeSuffix

func (p Possession) pae() ([]byte, error) {
	payload, err := Canonical(p)
	if err != nil {
		return nil, err
	}
	return pae(possessionType, payload), nil
}

// Prove signs p with the key that it names and returns what goes into Enrolment.Possession.
func (p Possession) Prove(ctx context.Context, s Signer) (string, error) {
	if s.Key() != p.Key {
		return "", brevet.Errorf(brevet.Invalid, "possession of a key is shown with that key itself")
	}
	message, err := p.pae()
	if err != nil {
		return "", err
	}
	sig, err := s.Sign(ctx, message)
	if err != nil {
		return "", err
	}
	if _, err := verify(message, sig, p.Key); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(sig.Sig), nil
}

// CheckPossession checks that the key of e itself signed that it is to be enrolled in the
// organisation org for this person in answer to this code, and returns what that signature
// shows of the person's presence. Failures are Refused.
func (e Enrolment) CheckPossession(org ID) (brevet.Presence, error) {
	message, err := Possession{Org: org, Person: e.Person, Key: e.Key, Code: e.Code}.pae()
	if err != nil {
		return brevet.NoPresence, err
	}
	sig, err := e.possession()
	if err != nil {
		return brevet.NoPresence, err
	}
	return verify(message, sig, e.Key)
}

func (e Enrolment) possession() (Signature, error) {
	blob, err := decodeBase64(e.Possession)
	if err != nil {
		return Signature{}, brevet.Errorf(brevet.Refused, "the proof of possession is not base64").Because(err)
	}
	k, err := e.Key.parse()
	if err != nil {
		return Signature{}, err
	}
	return Signature{Scheme: e.Key.Kind.scheme(), Key: k.fingerprint(), Sig: blob}, nil
}

// CheckPossession checks the possession of every key in the statement: see Enrolment.
func (e Enrol) CheckPossession() error {
	for i, one := range e.Enrolments {
		if _, err := one.CheckPossession(e.Org); err != nil {
			return fmt.Errorf("enrolments[%d], %s: %w", i, one.Person, err)
		}
	}
	return nil
}
