package brevet

import "net/netip"

// Group is a named set of people and workloads, from the catalog.
type Group struct {
	Name    GroupName  `json:"name"`
	Members []PersonID `json:"members"`
}

// IdentityKind tells people from workloads.
type IdentityKind string

// The kinds of identity. A workload always has a person as its owner.
const (
	Person   IdentityKind = "person"
	Workload IdentityKind = "workload"
)

// Presence is what a signature shows of the person behind the key.
type Presence string

// The degrees of presence, from a key in a file to a verified person (PIN or biometry).
const (
	NoPresence       Presence = "none"
	TouchPresence    Presence = "touch"
	VerifiedPresence Presence = "verified"
)

// AtLeast reports whether p shows as much as q. An unknown presence shows nothing.
func (p Presence) AtLeast(q Presence) bool { return p.rank() >= q.rank() }

func (p Presence) rank() int {
	switch p {
	case TouchPresence:
		return 1
	case VerifiedPresence:
		return 2
	}
	return 0
}

// Via is the way by which somebody came.
type Via string

// The ways in.
const (
	ViaCLI Via = "cli"
	ViaAPI Via = "api"
	ViaSSH Via = "ssh"
)

// Caller is who is asking: a parameter of everything that authorises, never a value in a
// context, so that it cannot be forgotten. Exactly one of Person and Machine is set.
type Caller struct {
	Person  PersonID
	Machine MachineID
	Key     string     // fingerprint of the key that proved it, as OpenSSH prints it
	Source  netip.Addr // the peer's address, or the zero Addr in one process
	Via     Via
}

func (c Caller) String() string {
	if c.Machine != "" {
		return string(c.Machine)
	}
	return string(c.Person)
}
