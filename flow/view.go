package flow

import (
	"time"

	"github.com/brevet-pim/brevet"
)

// RequestView is a request with what people ask about it.
type RequestView struct {
	brevet.Request
	Approvals   []brevet.Approval
	Stages      []StageView // who must agree, and who did; empty unless people must
	Grant       brevet.GrantID
	GrantState  brevet.GrantState // empty while there is no grant
	Envelope    []byte            // the statement as it was signed
	Sensitivity brevet.Sensitivity
	Recorded    bool
	Sentence    string // how it stands, for whoever waits
}

// Live reports whether the grant that the request led to can be used.
func (v RequestView) Live() bool { return v.GrantState == brevet.Live }

// Settled reports whether nothing more will come of the request by itself.
func (v RequestView) Settled() bool {
	return v.State.Final() && (v.State != brevet.Granted || v.GrantState != brevet.Issuing && v.GrantState != "")
}

// StageView is a stage of approval as it stands.
type StageView struct {
	brevet.Stage
	ApprovedBy []brevet.PersonID
	MayApprove []brevet.PersonID // who could agree now; never the requester
}

// GrantView is a grant with the confirmations of its end.
type GrantView struct {
	brevet.Grant
	Confirmations []Confirmation
}

// Confirmation is an enforcement point's word that nothing of a grant is left there.
type Confirmation struct {
	Machine brevet.MachineID
	At      time.Time
	Took    time.Duration // since the end was asked for
}

// SessionView is a session with who watches it, and when its grant ends.
type SessionView struct {
	brevet.Session
	GrantTo  time.Time
	Watchers []brevet.PersonID
}

// RoleView is a role as one person could have it.
type RoleView struct {
	Role     brevet.Role
	Digest   string
	Targets  []brevet.TargetID
	Decision brevet.Decision // what asking for all of it now would lead to
	Needs    string          // "nobody", or who must agree
	Holders  []HolderView
}

// HolderView is a gateway that a credential can be for.
type HolderView struct {
	Machine brevet.MachineID
	Key     string // fingerprint of the key that the certificate is for
	Address string // where people reach it; empty if it is not connected
	Targets []brevet.TargetID
}

// PersonView is somebody of the roster.
type PersonView struct {
	ID         brevet.PersonID
	Kind       brevet.IdentityKind
	Owner      brevet.PersonID
	Groups     []brevet.GroupName
	Suspension string // id of the revocation that suspended them, or ""
	Keys       []KeyView
	Founder    bool
}

// KeyView is an enrolled key.
type KeyView struct {
	Fingerprint string
	Public      string
	Uses        []string
	From, Until time.Time
	Retired     bool
}

// MachineView is a machine of the roster, and how it is.
type MachineView struct {
	ID        brevet.MachineID
	Use       string
	Connected bool
	SeenAt    time.Time
	Sessions  int
}

// EventView is an event of the log.
type EventView struct {
	Index   int64
	ID      brevet.EventID
	Kind    string
	Subject string
	At      time.Time
	Actor   string
	Request brevet.RequestID
	Grant   brevet.GrantID
	Session brevet.SessionID
	Message string
	Record  []byte // the OCSF record; empty once erased
}

// Story is what happened to a request, in order.
type Story struct {
	Request  RequestView
	Grant    GrantView // its ID is empty if there is none
	Sessions []SessionView
	Events   []EventView
}

// Finding is something to look at.
type Finding struct {
	Level   string // error, warning or note
	Place   string // file:line, or the noun
	Message string
}
