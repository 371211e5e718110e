package proof

import (
	"encoding/hex"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/statement"
)

// Bundle is everything that one grant rests on, to be checked by whoever holds the root's id, or
// the chains already. Parts that the reader has may be left out. Its JSON form is canonical.
type Bundle struct {
	Version   int64          `json:"version"`  // BundleVersion
	Roster    []Record       `json:"roster"`   // the roster chain, from the first statement that the reader lacks
	Catalog   []Record       `json:"catalog"`  // the catalog chain, likewise
	Manifest  []byte         `json:"manifest"` // of the catalog that the grant rests on; empty if the reader has it
	Request   Record         `json:"request"`
	Approvals []Record       `json:"approvals"` // in the order of the log
	Claimed   []brevet.Claim `json:"claimed"`
	Intent    Record         `json:"intent"`
	Grant     Record         `json:"grant"`
	// Certificate is the SSH certificate in its wire form.
	Certificate []byte `json:"certificate"`
	// Revocations are those of the request, the grant, its person and keys, with their places.
	Revocations []Record `json:"revocations"`
	// Recordings are the events that close the recordings of the grant's sessions.
	Recordings []Happened `json:"recordings"`
	// Checkpoint is signed by the log and cosigned by the issuer; all proofs are for its size.
	Checkpoint string `json:"checkpoint"`
	// Status is the issuer's newest word on the grant; none in an export.
	Status []statement.Envelope `json:"status"`
}

// BundleVersion is the version of the form that this package reads and writes.
const BundleVersion = 1

// Record is a statement with the proof of its place in the log.
type Record struct {
	Index     int64              `json:"index"`
	Body      string             `json:"body"`  // hash of the leaf's body, hex (see audit.BodyHash)
	Proof     [][]byte           `json:"proof"` // inclusion in the checkpoint's log; empty where the place is not shown
	Statement statement.Envelope `json:"statement"`
	// Salt and Record are the leaf's body itself, of an intent only: its statement is named there.
	Salt   []byte `json:"salt"`
	Record []byte `json:"record"`
}

// Happened is an event of the log that is no statement, with its body and the proof of its place.
type Happened struct {
	Index   int64    `json:"index"`
	Kind    string   `json:"kind"`
	Subject string   `json:"subject"`
	Salt    []byte   `json:"salt"`
	Record  []byte   `json:"record"`
	Proof   [][]byte `json:"proof"`
}

// Sizes of what is parsed at all.
const (
	MaxBundle  = 32 << 20 // bytes
	maxRecords = 20000    // of a chain, or revocations, of which there is one for each reinstatement
	maxOthers  = 1000     // approvals, recordings
)

// Parse reads a bundle. It must be as Marshal writes it; whether what it says holds, Check
// says. Errors are Invalid.
func Parse(b []byte) (*Bundle, error) {
	bundle, err := statement.Decode[Bundle](b, MaxBundle)
	if err != nil {
		return nil, err
	}
	if bundle.Version != BundleVersion {
		return nil, brevet.Errorf(brevet.Invalid, "this proof has version %d; this program reads %d", bundle.Version, BundleVersion)
	}
	for _, list := range []struct {
		name      string
		have, max int
	}{
		{"roster", len(bundle.Roster), maxRecords},
		{"catalog", len(bundle.Catalog), maxRecords},
		{"approvals", len(bundle.Approvals), maxOthers},
		{"revocations", len(bundle.Revocations), maxRecords},
		{"recordings", len(bundle.Recordings), maxOthers},
		{"status", len(bundle.Status), 1},
	} {
		if list.have > list.max {
			return nil, brevet.Errorf(brevet.Invalid, "%s has %d entries; %d are the most", list.name, list.have, list.max)
		}
	}
	return &bundle, nil
}

// Marshal returns the canonical JSON of the bundle.
func (b *Bundle) Marshal() ([]byte, error) {
	b.Version = BundleVersion
	return statement.Canonical(*b)
}

// Evidence returns the request, the approvals and what was claimed, at the places that place tells.
func (b *Bundle) Evidence(place func(Record) int64) (Evidence, error) {
	claims, err := Claimed(b.Claimed)
	if err != nil {
		return Evidence{}, err
	}
	ev := Evidence{Request: Entry{Index: place(b.Request), Envelope: b.Request.Statement}, Claimed: claims}
	for _, a := range b.Approvals {
		ev.Approvals = append(ev.Approvals, Entry{Index: place(a), Envelope: a.Statement})
	}
	return ev, nil
}

// NewEvidence returns a bundle of the evidence alone, as the issuer wants it.
func NewEvidence(request statement.Envelope, approvals []statement.Envelope, claims policy.Claimed) *Bundle {
	b := &Bundle{Request: Record{Statement: request}, Claimed: ClaimsOf(claims)}
	for _, a := range approvals {
		b.Approvals = append(b.Approvals, Record{Statement: a})
	}
	return b
}

// there reports whether the record is in the bundle at all.
func (r Record) there() bool { return r.Statement.PayloadType != "" }

// shown reports whether the bundle shows the place of the record.
func (r Record) shown() bool { return r.Body != "" }

// leaf returns the record's leaf. An intent's subject is its request, so that a spent request
// shows without any body; that of all others is their id.
func (r Record) leaf(subject statement.ID) (audit.Leaf, error) {
	kind, err := r.Statement.Kind()
	if err != nil {
		return audit.Leaf{}, err
	}
	body, err := hex.DecodeString(r.Body)
	if err != nil || len(body) != 32 {
		return audit.Leaf{}, brevet.Errorf(brevet.Invalid, "the hash of a leaf's body is not 32 bytes in hex")
	}
	return audit.Leaf{Kind: string(kind), Subject: string(subject), Body: [32]byte(body)}, nil
}

func hashes(proof [][]byte) ([]tlog.Hash, error) {
	list := make([]tlog.Hash, len(proof))
	for i, h := range proof {
		if len(h) != tlog.HashSize {
			return nil, brevet.Errorf(brevet.Invalid, "a hash of a proof has %d bytes", len(h))
		}
		list[i] = tlog.Hash(h)
	}
	return list, nil
}
