package policy

import (
	"net/netip"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Claimed is what only the control plane says of a request. A permit may not read it, so it
// can only make an answer stricter. Where a forbid reads a value that nobody gave, the clause
// that reads it counts as met: the worst case, whichever way the comparison goes.
type Claimed struct {
	Risk           *int64     `json:"risk,omitempty"`            // 0 to 100; nil: nobody said
	RecentRequests *int64     `json:"recent_requests,omitempty"` // by the person in the last day; nil: nobody said
	Source         netip.Addr `json:"source,omitzero"`           // as the server saw it; zero: nobody said
}

// claimedName is the record of the context that holds claimed values.
const claimedName = "claimed"

// claims is a set of claimed attributes, a bit for each in the order of claimedAttributes.
type claims uint8

var claimedAttributes = []attribute{
	{"risk", "Long", nil},
	{"recentRequests", "Long", nil},
	{"source", "ipaddr", nil},
}

// allClaims has every claimed attribute.
var allClaims = claims(1<<len(claimedAttributes) - 1)

// claimOf returns the set of the one named attribute, and every one for a name that is none.
func claimOf(name string) claims {
	for i, a := range claimedAttributes {
		if a.name == name {
			return 1 << i
		}
	}
	return allClaims
}

// ReadsRecentRequests reports whether a policy of the set reads context.claimed.recentRequests. If none
// does, nobody need count.
func (s *Set) ReadsRecentRequests() bool { return s.reads&claimOf("recentRequests") != 0 }

// record returns the claimed values that are there, and which are not.
func (c Claimed) record() (cedar.Record, claims) {
	missing := allClaims
	fields := cedar.RecordMap{}
	give := func(name cedar.String, value cedar.Value) {
		fields[name] = value
		missing &^= claimOf(string(name))
	}
	if c.Risk != nil {
		give("risk", cedar.Long(*c.Risk))
	}
	if c.RecentRequests != nil {
		give("recentRequests", cedar.Long(*c.RecentRequests))
	}
	if c.Source.IsValid() {
		give("source", ipOf(c.Source))
	}
	return cedar.NewRecord(fields), missing
}

// claimsRead returns the claimed attributes that the expression reads by whatever way. The
// variable context may stand only before a dot or `has`: where it is compared, put in a record
// or chosen by an if, all of it is read.
func claimsRead(expression ast.IsNode) claims {
	var read claims
	ast.Inspect(ast.NewNode(expression), func(n ast.IsNode) bool {
		of, name, ok := memberOf(n)
		switch {
		case isContext(n):
			read |= allClaims // reached without going through a member: see below
		case ok && isContext(of):
			if name == claimedName {
				read |= allClaims // the whole record
			}
			return false
		case ok && isClaimed(of):
			read |= claimOf(name)
			return false
		}
		return true
	})
	return read
}

// memberOf returns x and name of `x.name`, `x["name"]` and `x has name`.
func memberOf(n ast.IsNode) (of ast.IsNode, name string, ok bool) {
	switch n := n.(type) {
	case ast.NodeTypeAccess:
		return n.Arg, string(n.Value), true
	case ast.NodeTypeHas:
		return n.Arg, string(n.Value), true
	}
	return nil, "", false
}

func isContext(n ast.IsNode) bool {
	v, ok := n.(ast.NodeTypeVariable)
	return ok && v.Name == "context"
}

// isClaimed reports whether n is exactly `context.claimed`.
func isClaimed(n ast.IsNode) bool {
	access, ok := n.(ast.NodeTypeAccess)
	return ok && access.Value == claimedName && isContext(access.Arg)
}

// worstCase returns the forbid as it stands when the missing values count as the worst: without
// the clauses that read one of them. Of `a && b` only the part that reads one is left out.
func worstCase(forbid *ast.Policy, missing claims) *ast.Policy {
	strict := *forbid
	strict.Conditions = nil
	for _, c := range conjuncts(forbid.Conditions) {
		if claimsRead(c.Body)&missing == 0 {
			strict.Conditions = append(strict.Conditions, c)
		}
	}
	return &strict
}

// conjuncts returns the conditions with each `when {a && b}` taken apart into `when {a} when {b}`,
// which means the same.
func conjuncts(conditions []ast.ConditionType) []ast.ConditionType {
	var apart []ast.ConditionType
	for _, c := range conditions {
		and, ok := c.Body.(ast.NodeTypeAnd)
		if !ok || c.Condition == ast.ConditionUnless {
			apart = append(apart, c)
			continue
		}
		apart = append(apart, conjuncts([]ast.ConditionType{
			{Condition: c.Condition, Body: and.Left},
			{Condition: c.Condition, Body: and.Right},
		})...)
	}
	return apart
}

func ipOf(a netip.Addr) cedar.IPAddr {
	a = a.Unmap().WithZone("")
	return cedar.IPAddr(netip.PrefixFrom(a, a.BitLen()))
}
