package statement

import (
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/brevet-pim/brevet"
)

// Kind says what sort of statement a payload is.
type Kind string

// The kinds of statement. Root to KindMachine form the roster chain, KindCatalog another.
const (
	KindRoot       Kind = "root"
	KindEnrol      Kind = "enrol"
	KindRetire     Kind = "retire"
	KindReinstate  Kind = "reinstate"
	KindMachine    Kind = "machine"
	KindCatalog    Kind = "catalog"
	KindRequest    Kind = "request"
	KindApproval   Kind = "approval"
	KindRevocation Kind = "revocation"
	KindIntent     Kind = "intent"
	KindGrant      Kind = "grant"
	KindStatus     Kind = "status"
	KindReceipt    Kind = "receipt"
	KindSignIn     Kind = "signin"
)

// Kinds lists every kind.
func Kinds() []Kind {
	return []Kind{KindRoot, KindEnrol, KindRetire, KindReinstate, KindMachine, KindCatalog,
		KindRequest, KindApproval, KindRevocation, KindIntent, KindGrant, KindStatus, KindSignIn, KindReceipt}
}

// Payload is what a statement says: one of the structs of this file.
type Payload interface {
	// StatementKind returns the kind of statement that the payload is, whatever its fields hold.
	StatementKind() Kind
	// Head returns the header.
	Head() Header
	// Validate returns an Invalid error that names the first field whose value no statement
	// may have. Whether the statement is in place, in date and rightly signed is not its matter.
	Validate() error
}

// Chained is a payload of the roster or of the catalog chain.
type Chained interface {
	Payload
	// Place returns the statement's place in its chain.
	Place() Link
}

// Header stands at the head of every payload.
type Header struct {
	Org   ID     `json:"org"`   // id of the organisation's first root; empty only in that root
	Nonce string `json:"nonce"` // 128 random bits, hex, so that no two statements are alike
	At    int64  `json:"at"`    // when it was said, microseconds since 1970 UTC
	Until int64  `json:"until"` // after this it can no longer be used for the first time; for keys see Enrolment
}

// NewHeader returns a header with a fresh nonce for a statement made at the given time that
// can be used first until the given end.
func NewHeader(org ID, at, until time.Time) Header {
	var nonce [16]byte
	rand.Read(nonce[:]) // never fails (crypto/rand, Go 1.24)
	return Header{Org: org, Nonce: hex.EncodeToString(nonce[:]), At: at.UnixMicro(), Until: until.UnixMicro()}
}

// Head returns the header itself.
func (h Header) Head() Header { return h }

// Link places a statement in a chain: the roster or the catalog chain.
type Link struct {
	Number   int64 `json:"number"`   // 1 for the first of the chain, then without gaps
	Previous ID    `json:"previous"` // id of the one before; empty for the first
}

// Place returns the link itself.
func (l Link) Place() Link { return l }

// Use is what an enrolled key of a person may be used for.
type Use string

// The uses of a person's key.
const (
	UseRequest    Use = "request"    // sign in, ask
	UseApprove    Use = "approve"    // answer requests, revoke
	UseAdminister Use = "administer" // sign roster statements, by the root's threshold
	UseCatalog    Use = "catalog"    // sign catalog statements
)

// Root founds an organisation, or goes on from the root before by its threshold.
type Root struct {
	Header
	Link
	Name      string    `json:"name"`
	Founders  []Founder `json:"founders"`
	Threshold int64     `json:"threshold"` // persons who must sign roster statements
	Log       Log       `json:"log"`
	// RelyingParty and Origins will bind WebAuthn signatures. Nothing enforces them yet, so
	// a root that fills them is refused.
	RelyingParty string   `json:"relying_party"`
	Origins      []string `json:"origins"`
}

// Founder is a first administrator. A founder's keys have every use.
type Founder struct {
	Person brevet.PersonID `json:"person"`
	Keys   []Key           `json:"keys"`
}

// Log names the audit log: checkpoints carry Origin, and a new Epoch begins after a restore.
type Log struct {
	Origin string `json:"origin"`
	Epoch  int64  `json:"epoch"`
}

// Enrol says that keys may act for people and workloads.
type Enrol struct {
	Header
	Link
	Enrolments []Enrolment `json:"enrolments"`
}

// Enrolment is one key for one identity. Possession is the new key's own signature,
// base64, over the Possession made of the same fields.
type Enrolment struct {
	Person     brevet.PersonID     `json:"person"`
	Kind       brevet.IdentityKind `json:"kind"`
	Owner      brevet.PersonID     `json:"owner"` // of a workload; empty for a person
	Key        Key                 `json:"key"`
	Uses       []Use               `json:"uses"`  // sorted
	From       int64               `json:"from"`  // microseconds
	Until      int64               `json:"until"` // microseconds
	Code       string              `json:"code"`  // SHA-256, hex, of the one-time code it answers
	Possession string              `json:"possession"`
}

// Possession is what a new key signs to show that its holder has it and wants this enrolment.
type Possession struct {
	Org    ID              `json:"org"`
	Person brevet.PersonID `json:"person"`
	Key    Key             `json:"key"`
	Code   string          `json:"code"`
}

// Retire says that a key may no longer act for a person. What it signed since Since is suspect.
type Retire struct {
	Header
	Link
	Person brevet.PersonID `json:"person"`
	Key    string          `json:"key"` // fingerprint
	Since  int64           `json:"since"`
	Reason string          `json:"reason"`
}

// Reinstate lifts the suspension of a person that the named revocation began.
type Reinstate struct {
	Header
	Link
	Person     brevet.PersonID `json:"person"`
	Revocation ID              `json:"revocation"` // id of the suspension
	Reason     string          `json:"reason"`
}

// MachineUse is what a machine does, or what one of its keys is for.
type MachineUse string

// The uses of machines and of their keys.
const (
	MachineGateway  MachineUse = "gateway"
	MachineIssuer   MachineUse = "issuer"
	MachineLog      MachineUse = "log"
	MachineRecorder MachineUse = "recorder"

	KeyStatement  MachineUse = "statement"   // signs statements
	KeyHolder     MachineUse = "holder"      // SSH key that credentials are issued to
	KeyHost       MachineUse = "host"        // SSH host key shown to people
	KeyTLS        MachineUse = "tls"         // the machine's own connections
	KeyUserCA     MachineUse = "ssh-user-ca" // signs SSH user certificates
	KeyHostCA     MachineUse = "ssh-host-ca" // signs SSH host certificates
	KeyX509CA     MachineUse = "x509-ca"     // signs TLS certificates
	KeyCheckpoint MachineUse = "checkpoint"  // signs or cosigns checkpoints of the log
	KeySeal       MachineUse = "seal"        // recordings are sealed to it (X-Wing)
)

// Machine says that a gateway, issuer, log or recorder is the organisation's own. A later
// one of the same name replaces it; with no keys it is no longer ours.
type Machine struct {
	Header
	Link
	Name      brevet.MachineID `json:"name"`
	Use       MachineUse       `json:"use"`
	Keys      []MachineKey     `json:"keys"`
	Targets   brevet.Selector  `json:"targets"`   // of a gateway: which targets it serves
	Addresses []string         `json:"addresses"` // of a gateway: CIDR ranges that it connects from
}

// MachineKey is one key of a machine and what it is for.
type MachineKey struct {
	Use MachineUse `json:"use"`
	Key Key        `json:"key"`
}

// Catalog puts a manifest in force: the canonical bytes of a brevet.Catalog.
type Catalog struct {
	Header
	Link
	Manifest string `json:"manifest"` // SHA-256, hex
	Message  string `json:"message"`  // what changed, for people
}

// Terms are what a request asks for, an approval agrees to and a grant gives.
type Terms struct {
	Person     brevet.PersonID   `json:"person"`
	Role       brevet.RoleName   `json:"role"`
	RoleDigest string            `json:"role_digest"` // SHA-256, hex, of the role's canonical JSON
	Targets    []brevet.TargetID `json:"targets"`     // sorted
	Logins     []string          `json:"logins"`      // sorted
	Duration   brevet.Seconds    `json:"duration"`
	Holder     Holder            `json:"holder"`
}

// Holder is whom a credential is for: a machine of the roster and the key it will use.
type Holder struct {
	Machine brevet.MachineID `json:"machine"`
	Key     string           `json:"key"` // fingerprint
}

// Request asks for a role. It is signed by the requester's key; with Via ssh by the gateway's
// statement key, and then Seen says what the gateway saw.
type Request struct {
	Header
	Terms
	Reason string     `json:"reason"`
	Ticket string     `json:"ticket"`
	Via    brevet.Via `json:"via"`
	Seen   Seen       `json:"seen"`
}

// Seen is what a gateway saw of the person on whose behalf it asks. Empty when the person signs.
type Seen struct {
	Key      string          `json:"key"` // fingerprint of the key that authenticated
	Presence brevet.Presence `json:"presence"`
	Source   string          `json:"source"` // address
}

// Approval is a yes to one exact request. Its terms are the whole of what is agreed to: those
// asked for, or narrower in duration, targets or logins.
type Approval struct {
	Header
	Request ID              `json:"request"` // statement id
	By      brevet.PersonID `json:"by"`
	Stage   int64           `json:"stage"` // index of the stage it counts for
	Terms
	Comment string `json:"comment"`
}

// What a revocation ends.
const (
	RevokeRequest    = "request" // a no by an approver, or the requester's cancelling
	RevokeGrant      = "grant"
	RevokeCredential = "credential"
	RevokePerson     = "person" // a suspension
	RevokeKey        = "key"
)

// Revocation says that something is over, and why.
type Revocation struct {
	Header
	By      string `json:"by"`      // person or machine that signs
	What    string `json:"what"`    // one of the Revoke kinds
	Subject string `json:"subject"` // request: statement id; grant: grt_ id; person: name; key: fingerprint; credential: serial
	Reason  string `json:"reason"`
}

// Intent is the issuer's word that it will issue exactly this; the first intent in the log
// spends its request.
type Intent struct {
	Header
	Request ID `json:"request"` // statement id
	Terms
	Bundle    string   `json:"bundle"`    // SHA-256, hex, of what it rests on
	Roster    ID       `json:"roster"`    // id of the roster's head
	Catalog   ID       `json:"catalog"`   // id of the catalog's head
	Approvals []ID     `json:"approvals"` // statement ids, sorted
	Policies  []string `json:"policies"`  // that decided, sorted
}

// Grant is the issuer's word on what was given.
type Grant struct {
	Header
	ID      brevet.GrantID `json:"id"`
	Request ID             `json:"request"` // statement id
	Terms
	From      int64  `json:"from"` // microseconds
	To        int64  `json:"to"`   // microseconds; every credential ends by then
	Approvals []ID   `json:"approvals"`
	Roster    ID     `json:"roster"`
	Catalog   ID     `json:"catalog"`
	Intent    ID     `json:"intent"`       // statement id
	Index     int64  `json:"intent_index"` // its place in the log
	Serial    string `json:"serial"`       // of the certificate, decimal
	Cert      string `json:"certificate"`  // SHA-256, hex, of the certificate's wire form
}

// Status is the issuer's word that at At, having followed the log up to Size, it had heard of no
// revocation of the grant, of its person, of the person's key or of the holder. It is good
// until Until, a minute later.
type Status struct {
	Header
	Grant   brevet.GrantID `json:"grant"`
	Size    int64          `json:"size"`
	Roster  ID             `json:"roster"`  // id of the roster's head
	Catalog ID             `json:"catalog"` // id of the catalog's head
}

// Receipt is the issuer's word that it has heard a revocation, durably: from At on it signs nothing
// that the revocation forbids.
type Receipt struct {
	Header
	Revocation ID    `json:"revocation"` // statement id
	Size       int64 `json:"size"`       // of the log that it had followed
}

// SignIn proves to a server who is at the other end of a TLS connection. It gives no privilege.
type SignIn struct {
	Header
	Person    brevet.PersonID `json:"person"`
	Challenge string          `json:"challenge"` // the server's, hex
	Client    string          `json:"client"`    // SHA-256, hex, of the TLS client certificate's public key
}
