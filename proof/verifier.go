package proof

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

// Verifier is what a gateway believes: the pinned root, and the chains as far as it was shown them. It
// admits nobody whose grant it cannot prove. It is safe for use by many at once.
type Verifier struct {
	root   statement.ID
	memory Memory

	mu    sync.RWMutex
	state *State // guarded by mu; nil before the first chains
}

// NewVerifier returns a verifier that trusts the root with the id and nothing else.
func NewVerifier(root statement.ID) *Verifier { return &Verifier{root: root} }

// State returns what the chains that were shown add up to; nil before the first.
func (v *Verifier) State() *State {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state
}

// Heads returns the numbers of the last roster and catalog statements that the verifier has.
func (v *Verifier) Heads() (roster, catalog int64) {
	if s := v.State(); s != nil {
		_, roster = s.Roster.Head()
		_, catalog = s.Catalog.Head()
	}
	return roster, catalog
}

// Extend takes in what the bundle has of the chains; the rest of it may be empty. Each statement must be
// shown to stand in the log by the bundle's checkpoint.
func (v *Verifier) Extend(b *Bundle) error {
	c := &checker{bundle: b, trust: Trust{Root: v.root, State: v.State()}, report: &Report{}}
	if err := c.chains(); err != nil {
		return err
	}
	if err := c.checkpoint(); err != nil {
		return err
	}
	for _, r := range slices.Concat(c.unknown(b.Roster), c.unknown(b.Catalog), b.Revocations) {
		if err := c.place(r, r.Statement.ID()); err != nil {
			return err
		}
	}
	v.adopt(c.state)
	return nil
}

// adopt keeps the state unless it is behind the one that is there.
func (v *Verifier) adopt(next *State) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.state == nil || next.Roster.number >= v.state.Roster.number && next.Catalog.number >= v.state.Catalog.number {
		v.state = next
	}
}

// Want is the session that somebody at a gateway asks for.
type Want struct {
	Gateway  brevet.MachineID // whose it would be
	Target   brevet.TargetID
	Login    string
	Key      string          // fingerprint of the key that the person proved
	Presence brevet.Presence // that the proof showed
	Source   netip.Addr      // where the person comes from
	Now      time.Time
}

// Admission is a proven right to a session.
type Admission struct {
	Grant       statement.Grant
	Person      brevet.PersonID
	Target      brevet.Target // as the catalog has it that the grant rests on
	Login       string
	Role        brevet.Role
	From, To    time.Time
	Certificate *ssh.Certificate
	Report      *Report
}

// Verify checks that the bundle proves a grant that is in force and gives what is wanted, to the person
// whose key it is, through this gateway; and that the issuer, a minute ago at most, had not heard
// that it is over. A verifier that lacks chains that the issuer knows gives Unavailable: it must be
// shown them first. All else is Refused.
func (v *Verifier) Verify(bundle []byte, want Want) (*Admission, error) {
	b, err := Parse(bundle)
	if err != nil {
		return nil, within(err, "the proof of the grant")
	}
	r, err := Check(b, Trust{Root: v.root, State: v.State(), Memory: &v.memory}, want.Now)
	if err != nil {
		return nil, err
	}
	if err := r.fresh(b, want.Now); err != nil {
		return nil, err
	}
	v.adopt(r.State)
	return r.admit(want)
}

// fresh checks the issuer's status on the grant.
func (r *Report) fresh(b *Bundle, now time.Time) error {
	if len(b.Status) != 1 {
		return refuse("the issuer's word that the grant is still good is missing").WithHint("the control plane or the issuer does not answer; try again")
	}
	return r.State.CheckStatus(b.Status[0], r.Grant.ID, now)
}

// CheckStatus checks that the statement is an issuer's fresh word on the grant, and that it knows no
// chains that the state lacks.
func (s *State) CheckStatus(e statement.Envelope, grant brevet.GrantID, now time.Time) error {
	status, err := statement.Open[statement.Status](e)
	if err != nil {
		return within(err, "the issuer's status")
	}
	if !s.Roster.Knows(status.Roster) || !s.Catalog.Knows(status.Catalog) {
		return brevet.Errorf(brevet.Unavailable, "the issuer knows of changes to roster or catalog that were not shown here yet").
			WithHint("it is being caught up; try again")
	}
	if _, err := s.IssuedBy(e, never, nil); err != nil {
		return within(err, "the issuer's status")
	}
	switch {
	case status.Org != s.Roster.org:
		return refuse("the issuer's status is of another organisation")
	case status.Grant != grant:
		return refuse("the issuer's status is on another grant")
	case status.At > now.Add(clockSlack).UnixMicro():
		return refuse("the issuer's status is from the future")
	case now.UnixMicro() > status.Until:
		return refuse("the issuer's word that the grant is still good is too old").WithHint("the control plane or the issuer does not answer; try again")
	}
	return nil
}

// admit checks that the proven grant gives what is wanted.
func (r *Report) admit(want Want) (*Admission, error) {
	g := r.Grant
	switch {
	case len(r.Revoked) > 0:
		return nil, refuse("the grant is over: %s %s (%s)", r.Revoked[0].By, overWords[r.Revoked[0].What], brevet.Quote(r.Revoked[0].Reason))
	case want.Now.UnixMicro() < g.From-clockSlack.Microseconds():
		return nil, refuse("the grant has not begun")
	case want.Now.UnixMicro() >= g.To:
		return nil, refuse("the grant ended at %s", stamp(g.To)).WithHint("ask again")
	case g.Holder.Machine != want.Gateway:
		return nil, refuse("the grant is for the gateway %s, not for %s", g.Holder.Machine, want.Gateway)
	case !slices.Contains(g.Targets, want.Target):
		return nil, refuse("the grant gives nothing on %s", want.Target)
	case !slices.Contains(g.Logins, want.Login):
		return nil, refuse("the grant does not give the login %s", brevet.Quote(want.Login))
	case r.Certificate == nil:
		return nil, refuse("the proof of the grant has no certificate")
	}
	if err := r.State.holds(g.Holder); err != nil {
		return nil, err
	}
	k, err := r.State.KeyFor(want.Key, statement.UseRequest, never, want.Now.UnixMicro())
	if err != nil {
		return nil, err
	}
	if k.Person != g.Person {
		return nil, refuse("the grant is %s's, not %s's", g.Person, k.Person)
	}
	target := r.Verdict.Targets[slices.IndexFunc(r.Verdict.Targets, func(t brevet.Target) bool { return t.ID == want.Target })]
	return &Admission{
		Grant: g, Person: g.Person, Target: target, Login: want.Login, Role: r.Verdict.Role,
		From: time.UnixMicro(g.From), To: time.UnixMicro(g.To), Certificate: r.Certificate, Report: r,
	}, nil
}

// holds checks that the holder is still a machine of ours with that key.
func (s *State) holds(h statement.Holder) error {
	m, _, err := s.Roster.MachineOf(h.Key, statement.KeyHolder, never)
	if err == nil && m.Name != h.Machine {
		err = refuse("its key is of %s", m.Name)
	}
	if err != nil {
		return within(err, "the holder %s", h.Machine)
	}
	return nil
}
