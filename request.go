package brevet

import (
	"slices"
	"time"
)

// RequestState is where a request is in its life.
type RequestState string

// The states of a request.
const (
	Asked     RequestState = "asked"     // taken in, not yet decided
	Waiting   RequestState = "waiting"   // people must agree
	Ready     RequestState = "ready"     // agreed; the issuer is next
	Granted   RequestState = "granted"   // spent: its intent stands in the log
	Denied    RequestState = "refused"   // policy, a person or the issuer said no
	Cancelled RequestState = "cancelled" // its requester took it back
	Lapsed    RequestState = "lapsed"    // nobody answered in time
)

// requestMoves is every way a request may go. What is not here cannot happen.
var requestMoves = map[RequestState][]RequestState{
	Asked:   {Waiting, Ready, Denied, Cancelled},
	Waiting: {Ready, Denied, Cancelled, Lapsed},
	Ready:   {Granted, Denied, Cancelled, Lapsed},
}

// May reports whether a request may go from s to next.
func (s RequestState) May(next RequestState) bool { return slices.Contains(requestMoves[s], next) }

// Final reports whether the request stays as it is.
func (s RequestState) Final() bool { return len(requestMoves[s]) == 0 }

// Claim is a value that nobody but the server vouches for, as a count of requests.
type Claim struct {
	Name  string `json:"name"` // risk, recentRequests or source
	Value string `json:"value"`
}

// RequestStates lists every state, in the order of a life.
func RequestStates() []RequestState {
	return []RequestState{Asked, Waiting, Ready, Granted, Denied, Cancelled, Lapsed}
}

// Request is an identity asking for a role on targets, for a time and a reason.
type Request struct {
	ID        RequestID
	Statement string // id of the request statement, hex
	State     RequestState
	Person    PersonID
	Role      RoleName
	Targets   []TargetID
	Logins    []string
	Duration  Seconds
	Reason    string
	Ticket    string
	Holder    MachineID // the gateway that the credential is for
	Via       Via
	Key       string // fingerprint of the key that signed, or that the gateway saw
	At        time.Time
	Deadline  time.Time // lapses then, unless answered
	Claimed   []Claim   // what the server said of it, for policy
	Decision  Decision
	Why       string // why it ended, in words for the person
	Version   int64
}
