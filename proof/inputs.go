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

// Inputs returns what policy saw, by who vouches for it.
func (v *Verdict) Inputs() map[Voucher]map[string]string {
	ask, said := v.ask, ByPerson
	if ask.Via == brevet.ViaSSH {
		said = ByGateway
	}
	inputs := map[Voucher]map[string]string{
		said: {
			"person": string(ask.Person), "role": string(ask.Role), "targets": join(ask.Targets), "logins": join(ask.Logins),
			"duration": ask.Duration.Duration().String(), "reason": ask.Reason, "ticket": ask.Ticket,
			"via": string(ask.Via), "presence": string(ask.Presence),
		},
		ByIssuer: {
			"now": ask.Now.UTC().Format(time.RFC3339), "key": v.Key.Fingerprint, "keyAge": ask.KeyAge.Truncate(time.Second).String(),
		},
	}
	if ask.Source.IsValid() { // of a request that a gateway signed, which alone sees it
		inputs[said]["source"] = ask.Source.String()
	}
	claimed := map[string]string{}
	for _, c := range ClaimsOf(ask.Claimed) {
		claimed[c.Name] = c.Value
	}
	if len(claimed) > 0 {
		inputs[ByClaim] = claimed
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
