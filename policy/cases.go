package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/brevet-pim/brevet"
)

// Case is a policy test: a question, and the answer that it must have. Package catalog reads
// them from files.
type Case struct {
	Name string
	File string
	Line int

	Who      brevet.PersonID
	Kind     brevet.IdentityKind // empty: a person
	Groups   []brevet.GroupName  // nil: those of the catalog
	Action   brevet.Action       // empty, request or activate: a request for the role, decided whole
	Role     brevet.RoleName
	Targets  []brevet.TargetID // empty: the first that the role chooses
	Logins   []string          // empty: all of the role's
	Duration brevet.Seconds    // zero: the role's longest
	Reason   string            // of a request; empty where the role asks for one: a made-up one
	Ticket   string
	Via      brevet.Via      // empty: cli
	Presence brevet.Presence // empty: touch
	KeyAge   time.Duration
	Source   netip.Addr
	At       time.Time
	Claimed  Claimed
	Of       brevet.PersonID  // whose request, grant or session, for the other actions
	Group    brevet.GroupName // approve: the stage's
	System   System           // administer, audit

	Expect   brevet.Outcome
	Policies []string // ids, whole or from the # on, that must have decided; nil: any
}

// CaseResult is how a case came out.
type CaseResult struct {
	Case     Case
	Decision brevet.Decision
	Failure  string // what is not as expected, or ""
}

// Passed reports whether the answer was the expected one.
func (r CaseResult) Passed() bool { return r.Failure == "" }

// RunCases puts each case to the set. Everybody named in a case counts as being in force.
func (s *Set) RunCases(cases []Case) []CaseResult {
	results := make([]CaseResult, len(cases))
	for i, c := range cases {
		d := s.WithPeople(c.people).decideCase(c)
		results[i] = CaseResult{Case: c, Decision: d, Failure: c.compare(d)}
	}
	return results
}

// people takes everybody for a person but the one that the case is about.
func (c Case) people(id brevet.PersonID) (brevet.IdentityKind, bool) {
	if id == c.Who && c.Kind != "" {
		return c.Kind, true
	}
	return brevet.Person, true
}

func (s *Set) decideCase(c Case) brevet.Decision {
	groups := c.Groups
	if groups == nil {
		groups = s.groupsOf[c.Who]
	}
	c = s.complete(c)
	if c.Action != "" && !elevates(c.Action) {
		return s.may(Question{
			Person: c.Who, Action: c.Action, Via: c.Via, Presence: c.Presence, KeyAge: c.KeyAge, Source: c.Source, Now: c.At,
			System: c.System, Of: c.Of, Role: c.Role, Targets: c.Targets, Login: firstOf(c.Logins),
			Group: c.Group, Logins: c.Logins, Duration: c.Duration, Reason: c.Reason, Ticket: c.Ticket,
		}, groups)
	}
	return s.decide(Ask{
		Person: c.Who, Role: c.Role, Targets: c.Targets, Logins: c.Logins, Duration: c.Duration, Reason: c.Reason, Ticket: c.Ticket,
		Via: c.Via, Presence: c.Presence, KeyAge: c.KeyAge, Source: c.Source, Now: c.At, Claimed: c.Claimed,
	}, groups, (*view).unfit)
}

// complete fills in what a case left open, so that it needs to say only what matters to it.
func (s *Set) complete(c Case) Case {
	if c.Via == "" {
		c.Via = brevet.ViaCLI
	}
	if c.Presence == "" {
		c.Presence = brevet.TouchPresence
	}
	r := s.roles[c.Role]
	if r == nil {
		return c
	}
	if len(c.Targets) == 0 {
		if all := s.TargetsOf(c.Role); len(all) > 0 {
			c.Targets = all[:1]
		}
	}
	if len(c.Logins) == 0 {
		c.Logins = r.SSH.Logins
	}
	if c.Duration == 0 {
		c.Duration = r.Limits.Duration
	}
	if c.Reason == "" {
		c.Reason = "policy test"
	}
	return c
}

func firstOf(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// compare says what of the decision is not as the case expects, or returns "".
func (c Case) compare(d brevet.Decision) string {
	if d.Outcome != c.Expect {
		return fmt.Sprintf("expected %s, got %s: %s", c.Expect, d.Outcome, strings.Join(append(slices.Clone(d.Errors), d.Reasons...), "; "))
	}
	if c.Policies == nil {
		return ""
	}
	for _, id := range d.Policies {
		if !slices.ContainsFunc(c.Policies, func(want string) bool { return sameID(id, want) }) {
			return fmt.Sprintf("policy %s decided too", id)
		}
	}
	for _, want := range c.Policies {
		if !slices.ContainsFunc(d.Policies, func(id string) bool { return sameID(id, want) }) {
			return fmt.Sprintf("policy %s did not decide (%s did)", brevet.Quote(want), orNobody(d.Policies))
		}
	}
	return ""
}

// sameID reports whether want is the id, or the part of it after the file's name.
func sameID(id, want string) bool {
	return id == want || id[strings.IndexByte(id, '#')+1:] == want
}

func orNobody(ids []string) string {
	if len(ids) == 0 {
		return "none"
	}
	return strings.Join(ids, ", ")
}
