package brevet

import (
	"slices"
	"time"
)

// GrantState is where a grant is in its life.
type GrantState string

// The states of a grant.
const (
	Issuing GrantState = "issuing" // its intent is in the log, its credential is not made yet
	Live    GrantState = "live"
	Ending  GrantState = "ending" // over; not every enforcement point has confirmed
	Ended   GrantState = "ended"  // nothing is left of it
)

// grantMoves is every way a grant may go. What is not here cannot happen.
var grantMoves = map[GrantState][]GrantState{
	Issuing: {Live, Ending},
	Live:    {Ending},
	Ending:  {Ended},
}

// May reports whether a grant may go from s to next.
func (s GrantState) May(next GrantState) bool { return slices.Contains(grantMoves[s], next) }

// Final reports whether the grant stays as it is.
func (s GrantState) Final() bool { return len(grantMoves[s]) == 0 }

// GrantStates lists every state, in the order of a life.
func GrantStates() []GrantState { return []GrantState{Issuing, Live, Ending, Ended} }

// Grant is a privilege with a beginning and an end.
type Grant struct {
	ID        GrantID
	Request   RequestID
	Statement string // id of the grant statement, hex; empty while issuing
	Intent    string // id of the intent statement, hex
	State     GrantState
	Person    PersonID
	Role      RoleName
	Targets   []TargetID
	Logins    []string
	Holder    MachineID
	From, To  time.Time
	EndedAt   time.Time // when its end was asked for: expiry or revocation
	EndedBy   string    // person, machine or "expiry"
	EndReason string
	ClosedAt  time.Time // when the last enforcement point confirmed
	Version   int64
}
