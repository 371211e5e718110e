package brevet

import "time"

// Role is a named privilege on the targets that its selector chooses.
type Role struct {
	Name        RoleName    `json:"name"`
	Description string      `json:"description"`
	Owner       string      `json:"owner"` // person:NAME or group:NAME
	Sensitivity Sensitivity `json:"sensitivity"`
	Targets     Selector    `json:"targets"`
	SSH         SSHGives    `json:"ssh"` // what it gives on SSH hosts
	Limits      Limits      `json:"limits"`
	Asks        Asks        `json:"asks"`
	Approval    []Stage     `json:"approval"` // in order; empty: only who may activate gets it
	Recording   Recording   `json:"recording"`
	Zone        string      `json:"zone"` // IANA time zone that policies read the clock in
}

// SSHGives is what a role gives on an SSH host.
type SSHGives struct {
	Logins          []string `json:"logins"`           // accounts on the host
	Permit          []string `json:"permit"`           // certificate extensions without "permit-": pty
	SourceAddresses []string `json:"source_addresses"` // CIDR ranges the person must come from; empty: anywhere
	Environment     []string `json:"environment"`      // names that the client may set; "LC_*" style endings allowed
}

// Limits bound a grant. Durations are whole seconds in the catalog.
type Limits struct {
	Duration Seconds `json:"duration"` // the longest grant
	Idle     Seconds `json:"idle"`     // a session without traffic for so long ends; 0: none
	Wait     Seconds `json:"wait"`     // a request that nobody answers lapses after this
}

// Asks is what a requester must give, and what an approver's key must show.
type Asks struct {
	Reason           bool     `json:"reason"`
	Ticket           string   `json:"ticket"` // RE2 expression that the whole ticket must match; empty: none asked
	ApproverPresence Presence `json:"approver_presence"`
}

// Stage is one step of approval: so many distinct people of the group.
type Stage struct {
	Group GroupName `json:"group"`
	Count int       `json:"count"`
}

// Recording says whether sessions are recorded.
type Recording string

// The choices of recording. With RecordingRequired a session that cannot be recorded ends.
const (
	RecordingRequired Recording = "required"
	RecordingOff      Recording = "off"
)

// Seconds is a duration in whole seconds, an integer in JSON.
type Seconds int64

// Duration returns s as a time.Duration.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// Policy is one file of Cedar policies.
type Policy struct {
	Name string `json:"name"` // the file's name, as in "sre.cedar"
	Text string `json:"text"`
}

// Catalog is everything in force that people wrote: roles, targets, policies and groups,
// each list sorted by name. Its canonical bytes are the manifest that a catalog statement signs.
type Catalog struct {
	Roles    []Role   `json:"roles"`
	Targets  []Target `json:"targets"`
	Policies []Policy `json:"policies"`
	Groups   []Group  `json:"groups"`
}
