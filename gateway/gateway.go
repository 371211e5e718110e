// Package gateway is the one enforcement point that stands between people and targets.
//
// Each protocol has a folder below it and comes here for everything that decides: who may
// have what (Lookup, Admit), when it begins (Begin), and when it is over. A session ends at
// its grant's end, by whichever clock comes first, when it idles too long, when it is revoked
// or killed, and when a required recording cannot be written; the protocol sees one thing, the
// end of the session's context, and its cause is the sentence for the person.
//
// The gateway asks the control plane (Control) and believes only proofs (Verifier). Sessions
// that live go on without the control plane until their end; nothing new begins without it.
package gateway

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/statement"
)

// Gateway holds what is live at one enforcement point. Fill in the fields, then keep Run running.
type Gateway struct {
	Machine  brevet.MachineID
	Org      statement.ID     // of the organisation's first root
	Control  Control          // the control plane
	Verifier Verifier         // what makes an Admission of a proof
	Holder   gossh.Signer     // the key that credentials are issued to
	Signer   statement.Signer // signs requests for people who ask inline
	// Recorder begins recordings. Without it, roles that must be recorded cannot be used.
	Recorder Recorder
	Log      *slog.Logger

	mu       sync.Mutex // guards what follows
	grants   map[brevet.GrantID]*grant
	sessions map[brevet.SessionID]*Session
	closing  bool // no session begins any more
	reports  reports
}

// Recorder begins the recordings of sessions. A *record.Recorder is one.
type Recorder interface {
	// Begin returns once the beginning of the recording is durable.
	Begin(ctx context.Context, session brevet.Session, terminal record.Terminal) (*record.Writer, error)
}

// Standing is what a person may have of a target: admissions at once, or offers to ask for.
type Standing struct {
	Person     brevet.PersonID
	Admissions []Admission // the one that lasts longest first
	Offers     []Offer
	Pending    brevet.RequestID
	Refusal    string
}

// Lookup asks the control plane and keeps what holds: the bundles that prove a grant for
// exactly this, and the offers that can lead to one. An empty Person means that the key is nobody's.
func (g *Gateway) Lookup(ctx context.Context, want Want) (Standing, error) {
	want.Source = want.Source.Unmap()
	answer, err := g.Control.Lookup(ctx, want)
	if err != nil {
		return Standing{}, err
	}
	if answer.Person == "" {
		return Standing{}, nil
	}
	s := Standing{Person: answer.Person, Pending: answer.Pending, Refusal: answer.Refusal}
	for _, bundle := range answer.Bundles {
		a, err := g.verify(ctx, bundle, want, answer.Person)
		if err != nil {
			g.Log.WarnContext(ctx, "grant not accepted", "target", want.Target, "person", answer.Person, "error", err)
			if s.Refusal == "" {
				s.Refusal, _ = brevet.MessageOf(err)
			}
			continue
		}
		s.Admissions = append(s.Admissions, a)
	}
	slices.SortFunc(s.Admissions, func(a, b Admission) int { return b.To.Compare(a.To) })
	for _, o := range answer.Offers {
		if slices.Contains(o.Terms.Targets, want.Target) && slices.Contains(o.Terms.Logins, want.Login) {
			s.Offers = append(s.Offers, o)
		}
	}
	return s, nil
}

// verify has the bundle checked, then checks what is this gateway's to enforce. Some of it the
// verifier has seen too: two that would have to fail at once are better than one.
func (g *Gateway) verify(ctx context.Context, bundle []byte, want Want, person brevet.PersonID) (Admission, error) {
	a, err := g.Verifier.Verify(ctx, bundle, want)
	if err != nil {
		return Admission{}, err
	}
	if a.Person != person || a.Target.ID != want.Target || a.Login != want.Login {
		return Admission{}, brevet.Errorf(brevet.Refused, "grant %s is for %s as %s on %s", a.Grant, a.Person, a.Login, a.Target.ID)
	}
	if err := checkCertificate(a, g.Holder.PublicKey()); err != nil {
		return Admission{}, err
	}
	if err := checkSource(a.Role, want.Source); err != nil {
		return Admission{}, err
	}
	a.want, a.proven = want, time.Now()
	return a, g.admit(a, a.proven)
}

// provenFor is how long a proof opens new sessions. The issuer's word in it was a minute old at
// most, so what it says of revocations is never older than five minutes.
const provenFor = 4 * time.Minute

// renew proves an old admission anew, for those who keep a connection open and begin one session
// after another on it. Without the control plane and the issuer that is over after provenFor.
func (g *Gateway) renew(ctx context.Context, a Admission, now time.Time) (Admission, error) {
	if now.Sub(a.proven) < provenFor {
		return a, nil
	}
	standing, err := g.Lookup(ctx, a.want)
	if err != nil {
		return Admission{}, away(err)
	}
	i := slices.IndexFunc(standing.Admissions, func(b Admission) bool { return b.Grant == a.Grant })
	if i < 0 {
		return Admission{}, brevet.Errorf(brevet.Refused, "your grant is over, or can no longer be proven").
			WithHint("connect again")
	}
	return standing.Admissions[i], nil
}

// checkCertificate refuses a certificate that is not for this gateway's key and exactly this
// use. The only critical option that it may carry is the one that sshd enforces for us.
func checkCertificate(a Admission, holder gossh.PublicKey) error {
	c := a.Certificate
	wrong := func(what string) error {
		return brevet.Errorf(brevet.Refused, "the certificate of grant %s %s", a.Grant, what)
	}
	switch {
	case c == nil:
		return wrong("is missing")
	case c.CertType != gossh.UserCert:
		return wrong("is not a user certificate")
	case !bytes.Equal(c.Key.Marshal(), holder.Marshal()):
		return wrong("is for another key")
	case !slices.Contains(c.ValidPrincipals, Principal(a.Target.ID, a.Login)):
		return wrong("is for another target or login")
	case c.ValidBefore > uint64(a.To.Unix())+1: // whole seconds, rounded up
		return wrong("outlives the grant")
	}
	for option := range c.CriticalOptions {
		if option != "source-address" {
			return wrong("carries the critical option " + brevet.Quote(option) + ", which nothing here enforces")
		}
	}
	return nil
}

// Principal is the name in a certificate that opens login on target. With a bare login, one
// target's certificate would open all.
func Principal(target brevet.TargetID, login string) string { return string(target) + "/" + login }

// checkSource enforces the role's source addresses on the person. The certificate's own
// source-address names the gateway, so this is the only place that can.
func checkSource(role brevet.Role, source netip.Addr) error {
	if len(role.SSH.SourceAddresses) == 0 {
		return nil
	}
	for _, text := range role.SSH.SourceAddresses {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return brevet.Errorf(brevet.Refused, "role %s has a source address that is not a range: %s", role.Name, brevet.Quote(text))
		}
		if prefix.Contains(source.Unmap()) {
			return nil
		}
	}
	return brevet.Errorf(brevet.Refused, "role %s may not be used from %s", role.Name, source).
		WithHint("it may be used from %s", strings.Join(role.SSH.SourceAddresses, ", "))
}
