package policy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet"
)

func number(n int64) *int64 { return &n }

// TestClaimedValuesOnlyRestrict holds forbids that read claimed values against values that are
// there, and that are missing: whatever way the comparison goes, a missing one is the worst case.
func TestClaimedValuesOnlyRestrict(t *testing.T) {
	const atOnce = `permit (principal, action == Action::"activate", resource);`
	home, office := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("10.1.4.7")
	tests := []struct {
		name, condition string
		claimed         Claimed
		want            brevet.Outcome
	}{
		{"low risk", `when { context.claimed.risk >= 60 }`, Claimed{Risk: number(59)}, brevet.Allow},
		{"high risk", `when { context.claimed.risk >= 60 }`, Claimed{Risk: number(60)}, brevet.Refuse},
		{"no risk said", `when { context.claimed.risk >= 60 }`, Claimed{}, brevet.Refuse},
		{"no risk said, other values are", `when { context.claimed.risk >= 60 }`, Claimed{RecentRequests: number(0), Source: office}, brevet.Refuse},
		{"the comparison turned round", `when { !(context.claimed.risk < 60) }`, Claimed{}, brevet.Refuse},
		{"a low value is the bad one", `when { context.claimed.recentRequests < 3 }`, Claimed{}, brevet.Refuse},
		{"a low value is the bad one, and it is high", `when { context.claimed.recentRequests < 3 }`, Claimed{RecentRequests: number(3)}, brevet.Allow},
		{"equality", `when { context.claimed.risk == 100 }`, Claimed{}, brevet.Refuse},
		{"unless", `unless { context.claimed.risk < 60 }`, Claimed{}, brevet.Refuse},
		{"unless, said", `unless { context.claimed.risk < 60 }`, Claimed{Risk: number(1)}, brevet.Allow},
		{"by another spelling", `when { context["claimed"]["risk"] >= 60 }`, Claimed{}, brevet.Refuse},
		{"of two clauses the other holds", `when { context.via == "cli" } when { context.claimed.risk >= 60 }`, Claimed{}, brevet.Refuse},
		{"of two clauses the other does not", `when { context.via == "api" } when { context.claimed.risk >= 60 }`, Claimed{}, brevet.Allow},
		{"of a && b the other does not hold", `when { context.via == "api" && context.claimed.risk >= 60 }`, Claimed{}, brevet.Allow},
		{"of a && b the other holds", `when { context.claimed.risk >= 60 && context.via == "cli" }`, Claimed{}, brevet.Refuse},
		{"of a || b the whole clause counts", `when { context.via == "api" || context.claimed.risk >= 60 }`, Claimed{}, brevet.Refuse},
		{"inside an if", `when { if context.via == "api" then false else context.claimed.risk >= 60 }`, Claimed{}, brevet.Refuse},
		{"two values, one missing", `when { context.claimed.risk >= 60 && context.claimed.recentRequests > 5 }`, Claimed{Risk: number(70)}, brevet.Refuse},
		{"two values, the one that is there is good", `when { context.claimed.risk >= 60 && context.claimed.recentRequests > 5 }`, Claimed{Risk: number(10)}, brevet.Allow},
		{"address said, good", `unless { context.claimed.source.isInRange(ip("10.0.0.0/8")) }`, Claimed{Source: office}, brevet.Allow},
		{"address said, bad", `unless { context.claimed.source.isInRange(ip("10.0.0.0/8")) }`, Claimed{Source: home}, brevet.Refuse},
		{"address not said", `unless { context.claimed.source.isInRange(ip("10.0.0.0/8")) }`, Claimed{}, brevet.Refuse},
		{"an IPv4 address in IPv6 clothes", `unless { context.claimed.source.isInRange(ip("10.0.0.0/8")) }`, Claimed{Source: netip.MustParseAddr("::ffff:10.1.4.7")}, brevet.Allow},
		{"nested unless and not", `unless { !(context.claimed.risk >= 60) || context.via == "api" }`, Claimed{}, brevet.Refuse},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := compile(t, shop(atOnce, `@id("risky") forbid (principal, action in Action::"elevate", resource) `+tt.condition+`;`))
			d := s.Decide(asks(func(a *Ask) { a.Claimed = tt.claimed }))
			if d.Outcome != tt.want || len(d.Errors) > 0 {
				t.Errorf("got %+v, want %s", d, tt.want)
			}
		})
	}
}

// TestPermitMayNotReadClaims tries the ways around: a permit that rests on a claimed value would
// let the control plane give what it likes.
func TestPermitMayNotReadClaims(t *testing.T) {
	for _, condition := range []string{
		`when { context.claimed.risk < 10 }`,
		`when { context["claimed"].risk < 10 }`,
		`when { context.claimed["risk"] < 10 }`,
		`when { context["claimed"]["risk"] < 10 }`,
		`unless { context.claimed.risk >= 10 }`,
		`when { context has claimed && context.claimed.risk < 10 }`,
		`when { context.claimed has risk && context.claimed.risk < 10 }`,
		`when { context.claimed == context.claimed }`,
		`when { context == context }`,
		`when { {c: context}.c.claimed.risk < 10 }`,
		`when { (if true then context else context).claimed.risk < 10 }`,
		`when { {c: context.claimed}.c.risk < 10 }`,
		`when { [context].contains(context) }`,
		`when { true } when { context.claimed.source.isLoopback() }`,
		`when { context.via == "api" || context.claimed.recentRequests == 0 }`,
	} {
		problems := Check([]brevet.Policy{{Name: "p.cedar", Text: `permit (principal, action in Action::"elevate", resource) ` + condition + `;`}})
		if !strings.Contains(problems.Errors().Error(), "a permit rests on context.claimed") {
			t.Errorf("%s: got %v", condition, problems)
		}
	}
}

// TestForbidThatHidesItsClaims has forbids that reach a claimed value by a way around: each must
// be refused when it is compiled, or count as the worst case.
func TestForbidThatHidesItsClaims(t *testing.T) {
	for _, condition := range []string{
		`when { {c: context.claimed}.c.risk >= 60 }`,
		`when { (if context.via == "cli" then context else context).claimed.risk >= 60 }`,
		`when { context.claimed has risk && context.claimed.risk >= 60 }`,
		`when { context has claimed && context.claimed.risk >= 60 }`,
		`unless { context.claimed has risk && context.claimed.risk < 60 }`,
	} {
		s, err := Compile(shop(`permit (principal, action == Action::"activate", resource);`,
			`forbid (principal, action in Action::"elevate", resource) `+condition+`;`), staff)
		if err != nil {
			continue
		}
		if d := s.Decide(asks(nil)); d.Outcome != brevet.Refuse {
			t.Errorf("%s: nobody said a risk, and the answer is %+v", condition, d)
		}
	}
}

func TestClaimsAreOnlyThereToElevate(t *testing.T) {
	problems := Check([]brevet.Policy{{Name: "p.cedar", Text: `forbid (principal, action == Action::"connect", resource) when { context.claimed.risk > 50 };`}})
	if problems.Err() == nil {
		t.Error("connect has no claimed values, and a forbid reads one")
	}
}

func TestInputsNameTheirVouchers(t *testing.T) {
	a := asks(func(a *Ask) { a.Claimed, a.Source = Claimed{Risk: number(7)}, netip.MustParseAddr("10.1.4.7") })
	vouchers := map[string]string{}
	for _, in := range a.Inputs() {
		vouchers[in.Name] = in.Voucher
	}
	for name, want := range map[string]string{"person": BySigner, "duration": BySigner, "now": ByIssuer, "keyAge": ByIssuer, "source": ByGateway, "claimed.risk": ByClaim} {
		if vouchers[name] != want {
			t.Errorf("%s: voucher %q, want %q", name, vouchers[name], want)
		}
	}
	a.Via = brevet.ViaSSH
	for _, in := range a.Inputs() {
		if in.Voucher == BySigner {
			t.Errorf("by ssh, %s is %s", in.Name, in.Voucher)
		}
	}
}
