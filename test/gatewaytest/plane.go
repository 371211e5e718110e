// Package gatewaytest gives gateways something to stand between, for tests and load tests: a
// control plane in memory, and a world of a gateway, a real sshd and a stock ssh client.
//
// The control plane is small but behaves: it knows keys, roles, requests and grants, checks the
// signature of what it is asked, follows requests, and can be away. Only proofs are not real
// here: a bundle is the id of a grant, and the plane that issued it is also the Verifier.
package gatewaytest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"slices"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/gateway"
	"github.com/brevet-pim/brevet/statement"
)

// Plane is the control plane. Its zero value knows nobody.
type Plane struct {
	UserCA  gossh.Signer
	HostCA  gossh.Signer
	Holder  gossh.PublicKey // the gateway's, that certificates are for
	Gateway statement.Key   // signs inline requests
	// Certify, if set, may change a certificate before it is signed.
	Certify func(*gossh.Certificate)

	mu       sync.Mutex // guards what follows
	changed  chan struct{}
	people   map[string]brevet.PersonID
	targets  map[brevet.TargetID]brevet.Target
	roles    []brevet.Role
	offers   map[brevet.RoleName]gateway.Offer
	requests map[brevet.RequestID]*request
	grants   map[brevet.GrantID]gateway.Admission
	serial   uint64
	down     bool
	begun    []brevet.Session
	ended    []brevet.Session
	refused  []gateway.Refusal
}

type request struct {
	statement statement.Request
	state     brevet.RequestState
	sentence  string
}

var errDown = brevet.Errorf(brevet.Unavailable, "the control plane is away")

// Enrol makes a key somebody's.
func (p *Plane) Enrol(person brevet.PersonID, key gossh.PublicKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.people == nil {
		p.people = map[string]brevet.PersonID{}
	}
	p.people[gossh.FingerprintSHA256(key)] = person
}

// AddTarget puts a target into the catalog.
func (p *Plane) AddTarget(t brevet.Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.targets == nil {
		p.targets = map[brevet.TargetID]brevet.Target{}
	}
	p.targets[t.ID] = t
}

// AddRole puts a role into the catalog. Whoever is enrolled may ask for it; needs says who must
// agree, or "nobody".
func (p *Plane) AddRole(r brevet.Role, needs string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.offers == nil {
		p.offers = map[brevet.RoleName]gateway.Offer{}
	}
	p.roles = append(p.roles, r)
	p.offers[r.Name] = gateway.Offer{
		Role: r.Name, Needs: needs, AtOnce: needs == "nobody", AsksReason: r.Asks.Reason, TicketPattern: r.Asks.Ticket, Wait: r.Limits.Wait,
		Sensitivity: r.Sensitivity, Recorded: r.Recording != brevet.RecordingOff,
		Terms: statement.Terms{
			Role: r.Name, RoleDigest: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
			Targets: r.Targets.Names, Logins: r.SSH.Logins, Duration: r.Limits.Duration,
		},
	}
}

// Grant gives a role at once, as if it had been asked for and approved.
func (p *Plane) Grant(person brevet.PersonID, role brevet.RoleName, d time.Duration) brevet.GrantID {
	var digest [32]byte
	rand.Read(digest[:])
	p.mu.Lock()
	defer p.mu.Unlock()
	id := brevet.RequestIDOf(time.Now(), digest).Grant()
	p.grant(id, person, role, d)
	return id
}

// grant makes the admission, without its login and target, which Verify chooses. The caller holds mu.
func (p *Plane) grant(id brevet.GrantID, person brevet.PersonID, role brevet.RoleName, d time.Duration) {
	if p.grants == nil {
		p.grants = map[brevet.GrantID]gateway.Admission{}
	}
	i := slices.IndexFunc(p.roles, func(r brevet.Role) bool { return r.Name == role })
	now := time.Now()
	a := gateway.Admission{Grant: id, Person: person, Role: p.roles[i], From: now, To: now.Add(d)}
	p.serial++
	cert := &gossh.Certificate{
		Key: p.Holder, CertType: gossh.UserCert, KeyId: string(id), Serial: p.serial,
		ValidAfter: uint64(now.Add(-time.Minute).Unix()), ValidBefore: uint64(a.To.Unix()),
		Permissions: gossh.Permissions{Extensions: map[string]string{"permit-pty": ""}},
	}
	for _, t := range a.Role.Targets.Names {
		for _, login := range a.Role.SSH.Logins {
			cert.ValidPrincipals = append(cert.ValidPrincipals, gateway.Principal(t, login))
		}
	}
	if p.Certify != nil {
		p.Certify(cert)
	}
	if err := cert.SignCert(rand.Reader, p.UserCA); err != nil {
		panic(err) // a test asked for a certificate that x/crypto does not sign
	}
	a.Certificate = cert
	p.grants[id] = a
	p.signal()
}

// Away takes the control plane away, or brings it back.
func (p *Plane) Away(away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = away
	p.signal()
}

// Approve grants the oldest open request, and returns what it asked for.
func (p *Plane) Approve(ctx context.Context, by string) (statement.Request, error) {
	return p.decide(ctx, func(id brevet.RequestID, r *request) {
		r.state, r.sentence = brevet.Granted, "Approved by "+by+" for "+r.statement.Duration.Duration().String()+"."
		p.grant(id.Grant(), r.statement.Person, r.statement.Role, r.statement.Duration.Duration())
	})
}

// Deny refuses the oldest open request, and returns what it asked for.
func (p *Plane) Deny(ctx context.Context, by, why string) (statement.Request, error) {
	return p.decide(ctx, func(_ brevet.RequestID, r *request) {
		r.state, r.sentence = brevet.Denied, by+" said no ("+why+")"
	})
}

func (p *Plane) decide(ctx context.Context, how func(brevet.RequestID, *request)) (asked statement.Request, err error) {
	err = p.until(ctx, func() bool {
		for id, r := range p.requests {
			if r.state == brevet.Waiting {
				how(id, r)
				asked = r.statement
				return true
			}
		}
		return false
	})
	return asked, err
}

// until waits until ok, which is called with mu held, is true.
func (p *Plane) until(ctx context.Context, ok func() bool) error {
	for {
		p.mu.Lock()
		if ok() {
			p.signal()
			p.mu.Unlock()
			return nil
		}
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// signal wakes whoever waits. The caller holds mu.
func (p *Plane) signal() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// Ended waits until n sessions have been reported to be over, and returns them.
func (p *Plane) Ended(ctx context.Context, n int) ([]brevet.Session, error) {
	var got []brevet.Session
	err := p.until(ctx, func() bool { got = slices.Clone(p.ended); return len(got) >= n })
	return got, err
}

// Begun returns the sessions that were reported to begin.
func (p *Plane) Begun() []brevet.Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.begun)
}

// Refusals waits until n refusals of the sort were reported, and returns them.
func (p *Plane) Refusals(ctx context.Context, what string, n int) ([]gateway.Refusal, error) {
	var got []gateway.Refusal
	err := p.until(ctx, func() bool {
		got = slices.DeleteFunc(slices.Clone(p.refused), func(r gateway.Refusal) bool { return r.What != what })
		return len(got) >= n
	})
	return got, err
}

// Lookup implements gateway.Control.
func (p *Plane) Lookup(_ context.Context, want gateway.Want) (gateway.Answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return gateway.Answer{}, errDown
	}
	a := gateway.Answer{Person: p.people[want.Key]}
	if a.Person == "" {
		return a, nil
	}
	if _, ok := p.targets[want.Target]; !ok {
		a.Refusal = "there is no target " + string(want.Target)
		return a, nil
	}
	for id, g := range p.grants {
		if g.Person == a.Person && fits(g.Role, want) && time.Now().Before(g.To) {
			a.Bundles = append(a.Bundles, []byte(id))
		}
	}
	for id, r := range p.requests {
		if r.statement.Person == a.Person && r.state == brevet.Waiting && slices.Contains(r.statement.Targets, want.Target) {
			a.Pending = id
		}
	}
	for _, r := range p.roles {
		if fits(r, want) {
			a.Offers = append(a.Offers, p.offers[r.Name])
		}
	}
	return a, nil
}

func fits(r brevet.Role, want gateway.Want) bool {
	return slices.Contains(r.Targets.Names, want.Target) && slices.Contains(r.SSH.Logins, want.Login)
}

// Verify implements gateway.Verifier.
func (p *Plane) Verify(_ context.Context, bundle []byte, want gateway.Want) (gateway.Admission, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.grants[brevet.GrantID(bundle)]
	if !ok {
		return gateway.Admission{}, brevet.Errorf(brevet.Refused, "the proof of the grant does not hold")
	}
	a.Target, a.Login = p.targets[want.Target], want.Login
	return a, nil
}

// Ask implements gateway.Control.
func (p *Plane) Ask(_ context.Context, signed statement.Envelope) (brevet.RequestID, error) {
	r, err := statement.Open[statement.Request](signed)
	if err != nil {
		return "", err
	}
	if len(signed.Signatures) != 1 {
		return "", brevet.Errorf(brevet.Refused, "the gateway signs alone")
	}
	if _, err := statement.Verify(signed, signed.Signatures[0], p.Gateway); err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return "", errDown
	}
	id := signed.RequestID(r)
	if p.requests == nil {
		p.requests = map[brevet.RequestID]*request{}
	}
	needs := p.offers[r.Role].Needs
	p.requests[id] = &request{statement: r, state: brevet.Waiting, sentence: "Waiting for " + needs + " …"}
	if needs == "nobody" {
		p.requests[id].state, p.requests[id].sentence = brevet.Granted, "You have it."
		p.grant(id.Grant(), r.Person, r.Role, r.Duration.Duration())
	}
	p.signal()
	return id, nil
}

// Follow implements gateway.Control.
func (p *Plane) Follow(ctx context.Context, id brevet.RequestID, tell func(gateway.Progress) error) error {
	var told brevet.RequestState
	for {
		var now request
		err := p.until(ctx, func() bool {
			r, ok := p.requests[id]
			if ok {
				now = *r
			}
			return !ok || now.state != told
		})
		if err != nil {
			return err
		}
		told = now.state
		if now.state == "" {
			return brevet.Errorf(brevet.NotFound, "there is no request %s", id)
		}
		if now.state == brevet.Denied {
			return brevet.Errorf(brevet.Refused, "%s", now.sentence)
		}
		if err := tell(gateway.Progress{State: now.state, Sentence: now.sentence}); err != nil {
			return err
		}
		if now.state == brevet.Granted {
			return nil
		}
	}
}

// Begin implements gateway.Control.
func (p *Plane) Begin(_ context.Context, s brevet.Session) error { return p.note(&p.begun, s) }

// End implements gateway.Control.
func (p *Plane) End(_ context.Context, s brevet.Session) error { return p.note(&p.ended, s) }

func (p *Plane) note(list *[]brevet.Session, s brevet.Session) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return errDown
	}
	*list = append(*list, s)
	p.signal()
	return nil
}

// Refused implements gateway.Control.
func (p *Plane) Refused(_ context.Context, r gateway.Refusal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return errDown
	}
	p.refused = append(p.refused, r)
	p.signal()
	return nil
}

// HostCertificate implements gateway.Control.
func (p *Plane) HostCertificate(_ context.Context, name string, key gossh.PublicKey) (*gossh.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return nil, errDown
	}
	now := time.Now()
	cert := &gossh.Certificate{
		Key: key, CertType: gossh.HostCert, KeyId: name, ValidPrincipals: []string{name},
		ValidAfter: uint64(now.Add(-time.Minute).Unix()), ValidBefore: uint64(now.Add(time.Hour).Unix()),
	}
	return cert, cert.SignCert(rand.Reader, p.HostCA)
}

// NewKey returns a fresh Ed25519 key for SSH.
func NewKey() (ed25519.PrivateKey, gossh.Signer) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	signer, err := gossh.NewSignerFromKey(key)
	if err != nil {
		panic(err)
	}
	return key, signer
}
