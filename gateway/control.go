package gateway

import (
	"context"
	"net/netip"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

// Control is the control plane as an enforcement point sees it. What it claims is never
// taken for a right: only a bundle that a Verifier accepts opens a session.
type Control interface {
	// Lookup tells what the holder of the key may have of the target, now or on asking.
	// An unknown key is no error: the answer names no person.
	Lookup(ctx context.Context, want Want) (Answer, error)

	// Ask hands in a request statement and returns its id.
	Ask(ctx context.Context, request statement.Envelope) (brevet.RequestID, error)

	// Follow calls tell at once with how the request stands and again at each change. It returns
	// nil once a Lookup will find the grant, and a Refused error with the sentence for the person
	// if there will be none. An error of tell ends it.
	Follow(ctx context.Context, id brevet.RequestID, tell func(Progress) error) error

	// Begin makes the beginning of a session durable. No byte flows before it has returned nil.
	Begin(ctx context.Context, session brevet.Session) error

	// End tells that a session is over. It may be called again for the same session.
	End(ctx context.Context, session brevet.Session) error

	// Refused tells of something that the enforcement point did not let through.
	Refused(ctx context.Context, refusal Refusal) error

	// HostCertificate returns a host certificate for the gateway's key, whose only principal is name.
	HostCertificate(ctx context.Context, name string, key gossh.PublicKey) (*gossh.Certificate, error)
}

// Verifier turns the proof of a grant into an Admission; nothing else makes one.
type Verifier interface {
	// Verify checks the whole bundle back to the pinned root and returns what its grant gives to
	// the one who wants this. A bundle that proves less is a Refused error.
	Verify(ctx context.Context, bundle []byte, want Want) (Admission, error)
}

// Want is what somebody who has proven possession of a key wants to use.
type Want struct {
	Target   brevet.TargetID
	Login    string
	Key      string          // fingerprint of the key, as OpenSSH prints it
	Presence brevet.Presence // what the proof showed of the person behind the key
	Source   netip.Addr      // where the connection comes from
}

// Answer is what the control plane says to a Want.
type Answer struct {
	Person  brevet.PersonID // whose key it is; empty if nobody's
	Bundles [][]byte        // proofs of live grants that fit
	Offers  []Offer         // roles that may be asked for here
	Pending brevet.RequestID
	Refusal string // when nothing can be had: why, and what to do
}

// Offer is a role that the person may ask for.
type Offer struct {
	Role          brevet.RoleName
	Terms         statement.Terms // all of it but the holder, which is the gateway's own; Duration is the longest
	Needs         string          // "one of sre-leads (alice, dan)" or "nobody"
	AtOnce        bool            // nobody need agree
	AsksReason    bool
	TicketPattern string         // RE2 that the whole ticket must match; empty: none is asked
	Wait          brevet.Seconds // how long an unanswered request stays open; 0: one hour
	Sensitivity   brevet.Sensitivity
	Recorded      bool
}

// Progress is how a request stands.
type Progress struct {
	State    brevet.RequestState
	Sentence string // for the person who waits
}

// Admission is a verified right to use one login of one target until a time. Certificate is for
// the gateway's holder key and ends no later than To.
type Admission struct {
	Grant       brevet.GrantID
	Person      brevet.PersonID
	Target      brevet.Target
	Login       string
	From, To    time.Time
	Role        brevet.Role
	Certificate *gossh.Certificate

	want   Want      // that it was verified for
	proven time.Time // when, with the monotonic reading
}

// Refusal is something that was not let through.
type Refusal struct {
	What    string // "login", "direct-tcpip", "host-key" …
	Why     string // the sentence that the person saw
	Person  brevet.PersonID
	Grant   brevet.GrantID
	Target  brevet.TargetID
	Login   string
	Key     string // fingerprint
	Source  netip.Addr
	Machine brevet.MachineID
	At      time.Time
	// Unreported is how many like it came before and were not reported one by one.
	Unreported int
}
