package statement

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/brevet-pim/brevet"
)

// ID names a statement: the SHA-256, in lower-case hex, of what its signers sign (the PAE).
// Signatures are no part of it, so a statement keeps its id when another person signs it too.
type ID string

// Sizes in bytes of what is parsed at all.
const (
	// MaxEnvelope is the longest JSON form of an envelope.
	MaxEnvelope = 512 << 10
	// MaxPayload is the longest payload, but of an enrol statement, which may hold the keys
	// and signatures of two hundred people.
	MaxPayload      = 64 << 10
	maxEnrolPayload = 256 << 10

	maxSignatures = 32
)

// limit returns the longest payload of the kind, in bytes.
func (k Kind) limit() int {
	if k == KindEnrol {
		return maxEnrolPayload
	}
	return MaxPayload
}

const typePrefix, typeSuffix = "application/vnd.brevet.", ".v1+json"

// PayloadType returns the DSSE payload type of statements of the kind.
func (k Kind) PayloadType() string { return typePrefix + string(k) + typeSuffix }

// Envelope is a statement with the signatures on it, in the manner of DSSE. PayloadType and
// Payload are kept as they were signed.
type Envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     []byte      `json:"payload"`
	Signatures  []Signature `json:"signatures"`
}

// Scheme says how a signature was made.
type Scheme string

// The schemes.
const (
	SchemeSSHSIG  Scheme = "sshsig"     // Sig is the blob of OpenSSH's PROTOCOL.sshsig, namespace "brevet", SHA-512
	SchemeEd25519 Scheme = "ed25519"    // Sig is that of RFC 8032 over the PAE, 64 bytes
	SchemeECDSA   Scheme = "ecdsa-p256" // Sig is over the SHA-256 of the PAE, ASN.1 DER
)

// Signature is one signature on an envelope.
type Signature struct {
	Scheme Scheme `json:"kind"`
	Key    string `json:"keyid"` // fingerprint of the key that made it
	Sig    []byte `json:"sig"`   // as the scheme says
}

// New returns a payload as a statement, signed by each of the signers. A payload that is not
// well formed is refused (Invalid) before anybody is asked to sign.
func New(ctx context.Context, p Payload, signers ...Signer) (Envelope, error) {
	if err := p.Validate(); err != nil {
		return Envelope{}, err
	}
	payload, err := Canonical(p)
	if err != nil {
		return Envelope{}, err
	}
	kind := p.StatementKind()
	if len(payload) > kind.limit() {
		return Envelope{}, brevet.Errorf(brevet.Invalid, "this %s statement is %d bytes long; %d is the most", kind, len(payload), kind.limit()).
			WithHint("say it in two statements")
	}
	e := Envelope{PayloadType: kind.PayloadType(), Payload: payload, Signatures: []Signature{}}
	for _, s := range signers {
		if err := e.Add(ctx, s); err != nil {
			return Envelope{}, err
		}
	}
	return e, nil
}

// Add signs the statement by one more key. A key that has signed already is a Conflict.
// The signature is verified before it is added: an agent or a token may be wrong, and may lie. What
// this process computes itself with a key that it holds needs no second look.
func (e *Envelope) Add(ctx context.Context, s Signer) error {
	sig, err := s.Sign(ctx, e.PAE())
	if err != nil {
		return err
	}
	if m, machine := s.(machineSigner); !machine || !m.here() {
		if _, err := Verify(*e, sig, s.Key()); err != nil {
			return err
		}
	}
	return e.Attach(sig)
}

// Attach adds a signature that was made elsewhere, unverified. A second one of the same key is
// a Conflict, and so is one too many.
func (e *Envelope) Attach(sig Signature) error {
	if e.signedBy(sig.Key) {
		return brevet.Errorf(brevet.Conflict, "the key %s has signed this statement already", sig.Key)
	}
	if len(e.Signatures) >= maxSignatures {
		return brevet.Errorf(brevet.Conflict, "this statement has %d signatures; it takes no more", maxSignatures)
	}
	e.Signatures = append(slices.Clip(e.Signatures), sig) // copies of e do not share the addition
	return nil
}

func (e Envelope) signedBy(fingerprint string) bool {
	return slices.ContainsFunc(e.Signatures, func(s Signature) bool { return s.Key == fingerprint })
}

// Parse reads an envelope from its JSON form, which must be as Marshal writes it: canonical,
// of a kind that is known, with one to 32 signatures by different keys. It verifies none of
// them. Errors are Invalid.
func Parse(b []byte) (Envelope, error) {
	e, err := Decode[Envelope](b, MaxEnvelope)
	if err != nil {
		return Envelope{}, err
	}
	if err := e.check(); err != nil {
		return Envelope{}, err
	}
	return e, nil
}

func (e Envelope) check() error {
	kind, err := e.Kind()
	if err != nil {
		return err
	}
	if len(e.Payload) > kind.limit() {
		return brevet.Errorf(brevet.Invalid, "the payload is %d bytes long; %d is the most", len(e.Payload), kind.limit())
	}
	if err := checkCount("signatures", len(e.Signatures), 1, maxSignatures); err != nil {
		return err
	}
	for i, s := range e.Signatures {
		if err := s.check(); err != nil {
			return err
		}
		if (Envelope{Signatures: e.Signatures[:i]}).signedBy(s.Key) {
			return brevet.Errorf(brevet.Invalid, "the key %s has two signatures on one statement", s.Key)
		}
	}
	return nil
}

func (s Signature) check() error {
	if len(s.Sig) == 0 || len(s.Sig) > maxSignature {
		return brevet.Errorf(brevet.Invalid, "a signature is empty or longer than %d bytes", maxSignature)
	}
	switch s.Scheme {
	case SchemeSSHSIG:
		return checkSSHFingerprint("signatures.keyid", s.Key)
	case SchemeEd25519, SchemeECDSA:
		return checkDigest("signatures.keyid", s.Key)
	}
	return checkOneOf("signatures.kind", s.Scheme, SchemeSSHSIG, SchemeEd25519, SchemeECDSA)
}

// Marshal returns the JSON form of the envelope, which is canonical.
func (e Envelope) Marshal() ([]byte, error) { return Canonical(e) }

// Kind returns the kind of statement that the payload type names, or an Invalid error.
func (e Envelope) Kind() (Kind, error) {
	name, found := strings.CutPrefix(e.PayloadType, typePrefix)
	name, ends := strings.CutSuffix(name, typeSuffix)
	if kind := Kind(name); found && ends && slices.Contains(Kinds(), kind) {
		return kind, nil
	}
	return "", brevet.Errorf(brevet.Invalid, "%s is not a kind of statement that this version knows", quoteShort(e.PayloadType))
}

// PAE returns what the signers sign: DSSE's pre-authentication encoding of the payload type
// and the payload.
func (e Envelope) PAE() []byte { return pae(e.PayloadType, e.Payload) }

// pae joins type and payload with their lengths, so that no two pairs give the same bytes
// (DSSE protocol, "Signature Definition").
func pae(payloadType string, payload []byte) []byte {
	b := make([]byte, 0, len(payloadType)+len(payload)+40)
	b = append(b, "DSSEv1 "...)
	b = strconv.AppendInt(b, int64(len(payloadType)), 10)
	b = append(b, ' ')
	b = append(b, payloadType...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(payload)), 10)
	b = append(b, ' ')
	return append(b, payload...)
}

// Digest returns the SHA-256 of the PAE.
func (e Envelope) Digest() [32]byte { return sha256.Sum256(e.PAE()) }

// ID returns the statement's id.
func (e Envelope) ID() ID {
	digest := e.Digest()
	return ID(hex.EncodeToString(digest[:]))
}

// RequestID returns the id of the request that the statement makes, given its opened payload.
// It is made of the statement, so that nobody can choose it.
func (e Envelope) RequestID(r Request) brevet.RequestID {
	return brevet.RequestIDOf(time.UnixMicro(r.At), e.Digest())
}

// Open returns the payload, which must be of type T, canonical and well formed. It verifies
// no signature. Errors are Invalid.
func Open[T Payload](e Envelope) (T, error) {
	var none T
	kind := none.StatementKind()
	if e.PayloadType != kind.PayloadType() {
		return none, brevet.Errorf(brevet.Invalid, "%s is not the type of a %s statement", quoteShort(e.PayloadType), kind)
	}
	p, err := Decode[T](e.Payload, kind.limit())
	if err != nil {
		return none, err
	}
	if err := p.Validate(); err != nil {
		return none, err
	}
	return p, nil
}

// OpenAny returns the payload of whatever kind the statement is: Open for those who take all.
func OpenAny(e Envelope) (Payload, error) {
	kind, err := e.Kind()
	if err != nil {
		return nil, err
	}
	return openers[kind](e)
}

var openers = map[Kind]func(Envelope) (Payload, error){
	KindRoot:       open[Root],
	KindEnrol:      open[Enrol],
	KindRetire:     open[Retire],
	KindReinstate:  open[Reinstate],
	KindMachine:    open[Machine],
	KindCatalog:    open[Catalog],
	KindRequest:    open[Request],
	KindApproval:   open[Approval],
	KindRevocation: open[Revocation],
	KindIntent:     open[Intent],
	KindGrant:      open[Grant],
	KindStatus:     open[Status],
	KindReceipt:    open[Receipt],
	KindSignIn:     open[SignIn],
}

func open[T Payload](e Envelope) (Payload, error) {
	p, err := Open[T](e)
	if err != nil {
		return nil, err // not p, which would be a Payload with nothing in it
	}
	return p, nil
}
