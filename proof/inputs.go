package proof

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/statement"
)

// Voucher is who stands behind an input of a decision (TRUST §3).
type Voucher string

// The vouchers.
const (
	ByPerson  Voucher = "signed by the requester"
	ByGateway Voucher = "signed by the gateway"
	ByIssuer  Voucher = "computed by the issuer"
	ByClaim   Voucher = "claimed by the control plane"
)

// Input is one thing that policy saw.
type Input struct {
	Name    string
	Value   string
	Voucher Voucher
}

// inputsOf lists what policy saw, and who vouches for it.
func inputsOf(ask policy.Ask, v *Verdict) []Input {
	said := ByPerson
	if ask.Via == brevet.ViaSSH {
		said = ByGateway
	}
	inputs := []Input{
		{"person", string(ask.Person), said},
		{"role", string(ask.Role), said},
		{"targets", join(ask.Targets), said},
		{"logins", join(ask.Logins), said},
		{"duration", ask.Duration.Duration().String(), said},
		{"reason", ask.Reason, said},
		{"ticket", ask.Ticket, said},
		{"via", string(ask.Via), said},
		{"presence", string(ask.Presence), said},
		{"now", ask.Now.UTC().Format(time.RFC3339), ByIssuer},
		{"key", v.Key.Fingerprint, ByIssuer},
		{"keyAge", ask.KeyAge.Truncate(time.Second).String(), ByIssuer},
	}
	if ask.Source.IsValid() {
		inputs = append(inputs, Input{"source", ask.Source.String(), ByGateway})
	}
	for _, c := range ClaimsOf(ask.Claimed) {
		inputs = append(inputs, Input{"claimed." + c.Name, c.Value, ByClaim})
	}
	return inputs
}

// ClaimsOf returns the claimed values that are there, sorted by name.
func ClaimsOf(c policy.Claimed) []brevet.Claim {
	claims := []brevet.Claim{}
	if c.RecentRequests != nil {
		claims = append(claims, brevet.Claim{Name: "recentRequests", Value: strconv.FormatInt(*c.RecentRequests, 10)})
	}
	if c.Risk != nil {
		claims = append(claims, brevet.Claim{Name: "risk", Value: strconv.FormatInt(*c.Risk, 10)})
	}
	if c.Source.IsValid() {
		claims = append(claims, brevet.Claim{Name: "source", Value: c.Source.String()})
	}
	return claims
}

// Claimed reads what ClaimsOf wrote, and nothing else.
func Claimed(claims []brevet.Claim) (policy.Claimed, error) {
	var c policy.Claimed
	for _, claim := range claims {
		var err error
		switch claim.Name {
		case "recentRequests":
			c.RecentRequests, err = number(claim.Value)
		case "risk":
			c.Risk, err = number(claim.Value)
		case "source":
			c.Source, err = netip.ParseAddr(claim.Value)
		}
		if err != nil {
			return policy.Claimed{}, brevet.Errorf(brevet.Invalid, "the claimed %s cannot be read", claim.Name).Because(err)
		}
	}
	if !slices.Equal(ClaimsOf(c), claims) {
		return policy.Claimed{}, brevet.Errorf(brevet.Invalid, "the claimed values are not known, doubled, or not written in the usual way")
	}
	return c, nil
}

func number(s string) (*int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	return &n, err
}

// basis is all that a judgement rests on besides the chains.
type basis struct {
	Request   statement.ID   `json:"request"`
	Approvals []statement.ID `json:"approvals"`
	Claimed   []brevet.Claim `json:"claimed"`
}

// Basis returns the digest, in hex, of all that the evidence holds: an intent names it, so that
// what was claimed then is what is looked at later.
func (ev Evidence) Basis() (string, error) {
	b := basis{Request: ev.Request.Envelope.ID(), Claimed: ClaimsOf(ev.Claimed)}
	for _, a := range ev.Approvals {
		b.Approvals = append(b.Approvals, a.Envelope.ID())
	}
	canonical, err := statement.Canonical(b)
	if err != nil {
		return "", err
	}
	return digestOf(canonical), nil
}

func idOf(digest [32]byte) statement.ID { return statement.ID(hex.EncodeToString(digest[:])) }

func join[T ~string](list []T) string {
	words := make([]string, len(list))
	for i, w := range list {
		words[i] = string(w)
	}
	return strings.Join(words, ", ")
}

func ordinal(i int) string { return strconv.Itoa(i + 1) }

// stamp returns a time in microseconds with its date and zone: a proof is read years later, anywhere.
func stamp(microseconds int64) string {
	return time.UnixMicro(microseconds).UTC().Format(time.RFC3339)
}
