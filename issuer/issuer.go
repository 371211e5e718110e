// Package issuer is the only holder of certificate keys. It believes nobody: not the database,
// not the server that it runs beside. With the pinned root, what it has followed of the log and
// its own clock it judges every request itself before it signs (TRUST §2).
//
// It has a folder of its own with its keys, sealed, and its state: the head of the log, the
// statements of roster, catalog and revocation, where requests, approvals and intents stand, and
// what it has signed. The server (package flow) feeds it the log (Follow), asks for an intent
// (Prepare), logs that, and asks for the grant (Issue). What takes away comes to it directly
// (TakeBack) as well as by the log.
package issuer

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"log/slog"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/seal"
	"github.com/brevet-pim/brevet/statement"
)

// Config says which issuer to open.
type Config struct {
	Dir   string           // its folder, that Create made
	Key   seal.Key         // opens its keys
	Older []seal.Key       // sealing keys of before, that may still be needed
	Root  statement.ID     // pinned id of the organisation's first root
	Clock func() time.Time // nil: time.Now
	Log   *slog.Logger     // hears of refusals that need a person; nil: nobody does
}

// Feed is what is new in the log.
type Feed struct {
	From   int64        // index of the first leaf; what Size returned
	Leaves []audit.Leaf // all up to the checkpoint
	// Entries are the bodies of all roster, catalog and revocation statements among the leaves.
	Entries   []proof.Entry
	Manifests map[string][]byte // by hex of their SHA-256: of the last catalog among the entries
	// Checkpoint is signed by the log, for exactly From and the leaves.
	Checkpoint []byte
}

// IntentLeaf is the body of an intent's leaf, which the issuer compares with the leaf itself.
type IntentLeaf struct {
	Index int64
	Salt  []byte
	Body  []byte
}

// Result is what was given.
type Result struct {
	Grant       []byte // the grant statement's envelope
	Certificate []byte // SSH, in its wire form
}

// ErrMismatch is the cause of a refusal that is more than a mistake: the log is not the one that
// the issuer followed. It was changed, cut, or put back. See also proof.ErrFork.
var ErrMismatch = errors.New("the log is not the one that was followed")

// Issuer gives certificates. It is safe for use by many at once.
type Issuer struct{}

// Create makes the issuer's folder, its keys sealed under key, and its empty state, and returns the
// public keys for its machine statement. The folder must not exist. now begins the X.509
// authority's certificate.
func Create(dir string, key seal.Key, name brevet.MachineID, now time.Time) ([]statement.MachineKey, error) {
	return nil, errNotYet
}

var errNotYet = errors.New("not yet")

// Open reads the issuer's folder, which no other process may have open.
func Open(ctx context.Context, c Config) (*Issuer, error) { return nil, errNotYet }

// Close ends what is on its way and releases the folder.
func (i *Issuer) Close() error { return errNotYet }

// Size returns how many leaves of the log were followed.
func (i *Issuer) Size(ctx context.Context) (int64, error) { return 0, errNotYet }

// Follow takes in what is new in the log and returns its checkpoint with the issuer's cosignature.
// A feed that does not begin where the last ended is a Conflict.
func (i *Issuer) Follow(ctx context.Context, feed Feed) (cosigned []byte, err error) {
	return nil, errNotYet
}

// Prepare judges the evidence in the bundle (see proof.NewEvidence) and returns the intent to give
// what it gives. Asked again it returns the same intent, as long as that is not used and still fits.
func (i *Issuer) Prepare(ctx context.Context, bundle []byte) (intent []byte, err error) {
	return nil, errNotYet
}

// Issue gives what the intent says, once that stands in the log. It judges again; whatever changed
// since voids it. Asked again for the same intent it returns the same bytes.
func (i *Issuer) Issue(ctx context.Context, intent []byte, leaf IntentLeaf, bundle []byte) (Result, error) {
	return Result{}, errNotYet
}

// TakeBack hears a revocation, durably, and returns the receipt: from then on nothing is signed
// that it forbids.
func (i *Issuer) TakeBack(ctx context.Context, revocation []byte) (receipt []byte, err error) {
	return nil, errNotYet
}

// Status returns the word that the grant is good for another minute. It is Refused for a grant
// that is over, and NotFound for one that this issuer has not given.
func (i *Issuer) Status(ctx context.Context, grant brevet.GrantID) (status []byte, err error) {
	return nil, errNotYet
}

// HostCertificate returns an SSH host certificate, in its wire form, for a gateway of the roster
// and its host key (in SSH's wire form). name is what people dial.
func (i *Issuer) HostCertificate(ctx context.Context, machine brevet.MachineID, name string, key []byte) (certificate []byte, err error) {
	return nil, errNotYet
}

// TLSCertificate returns a certificate, in DER, for Brevet's own connections: of a machine of the
// roster and its TLS key. Names are DNS names and addresses, as they will be dialled.
func (i *Issuer) TLSCertificate(ctx context.Context, machine brevet.MachineID, names []string, key crypto.PublicKey) (certificate []byte, err error) {
	return nil, errNotYet
}

// CACertificate returns the authority's own certificate, for clients to pin.
func (i *Issuer) CACertificate() *x509.Certificate { return nil }
