package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/flow/watch"
	"github.com/brevet-pim/brevet/issuer"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/seal"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// plane is a whole control plane behind its API: a real store, a real issuer, people and
// gateways with real keys.
type plane struct {
	*prooftest.Org
	*world
	spine    *flow.Spine
	gateways map[brevet.MachineID]visitor
}

const whoAdministers = `@id("admins") permit (principal in Group::"admins", action in [Action::"administer", Action::"revoke"], resource);
@id("auditors") permit (principal in Group::"auditors", action in [Action::"audit", Action::"replay", Action::"join"], resource);
`

// newPlane founds the organisation of prooftest, where alice administers and frank audits, and serves it.
func newPlane(t *testing.T) *plane {
	t.Helper()
	raw := make([]byte, 32)
	rand.Read(raw)
	key, err := seal.NewKey(raw)
	must(t, err)
	dir, start := t.TempDir(), time.Now().Add(-time.Hour)
	keys, err := issuer.Create(filepath.Join(dir, "issuer"), key, prooftest.IssuerName, start)
	must(t, err)
	org := prooftest.New(t, prooftest.Options{Start: start, Issuer: keys, Catalog: func(c *brevet.Catalog) {
		c.Policies = append(c.Policies, brevet.Policy{Name: "people.cedar", Text: whoAdministers})
		c.Groups = append(c.Groups, brevet.Group{Name: "admins", Members: []brevet.PersonID{"alice"}}, brevet.Group{Name: "auditors", Members: []brevet.PersonID{"frank"}})
	}})
	p := &plane{Org: org, gateways: map[brevet.MachineID]visitor{}, world: &world{t: t, log: &journal{}}}
	certificates := map[brevet.MachineID]tls.Certificate{}
	for id, g := range org.Gateways {
		certificates[id] = newCertificate(t, false)
		public, err := statement.MachineKeyOf(&certificates[id].PrivateKey.(*ecdsa.PrivateKey).PublicKey)
		must(t, err)
		g.Machine.Keys = append(g.Machine.Keys, statement.MachineKey{Use: statement.KeyTLS, Key: public})
		org.SetMachine(g.Machine)
	}
	p.run(dir, issuer.Config{Dir: filepath.Join(dir, "issuer"), Key: key, Root: org.Root})
	for id, certificate := range certificates {
		p.gateways[id] = p.visit(&certificate)
	}
	org.Now = time.Now().UTC()
	return p
}

func (p *plane) run(dir string, c issuer.Config) {
	p.t.Helper()
	log := slog.New(slog.NewTextHandler(p.log, nil))
	c.Memory = &proof.Memory{} // one for all, as in the server
	kept, err := store.Open(context.Background(), store.Config{Database: filepath.Join(dir, "brevet.db"), Log: p.Log.Signer().Telling(c.Memory.SignedCheckpoint)})
	must(p.t, err)
	p.found(kept)
	signs, err := issuer.Open(context.Background(), c)
	must(p.t, err)
	recorder, err := seal.NewIdentity()
	must(p.t, err)
	p.spine = &flow.Spine{
		Store: kept, Issuer: signs, Root: p.Root, Hub: &watch.Hub{}, Recordings: &record.Store{Dir: filepath.Join(dir, "recordings")},
		Recorder: recorder, Server: prooftest.LogName, Signer: p.LogStatements, Memory: c.Memory, Clock: time.Now, Log: log,
	}
	ctx, cancel := context.WithCancel(context.Background())
	must(p.t, p.spine.Begin(ctx))
	var running sync.WaitGroup
	running.Go(func() { must(p.t, p.spine.Run(ctx)) })
	p.t.Cleanup(func() {
		cancel()
		running.Wait()
		must(p.t, signs.Close())
		must(p.t, kept.Close())
	})
	p.pin[0] = 7 // of the codes; listen knows the true one only later
	p.listen(New(Config{Spine: p.spine, Version: "test", Address: "brevet.test:7443", Pin: p.pin, Log: log}), log)
}

// found takes the log of the organisation over into the store.
func (p *plane) found(kept *store.Store) {
	p.t.Helper()
	for _, e := range p.Entries {
		kind, err := e.Envelope.Kind()
		must(p.t, err)
		raw, err := e.Envelope.Marshal()
		must(p.t, err)
		_, err = kept.Change(context.Background(), func(t *store.Tx) ([]brevet.Event, error) {
			for _, manifest := range p.Manifests {
				if _, err := t.PutManifest(manifest); err != nil {
					return nil, err
				}
			}
			now := time.Now()
			return []brevet.Event{{
				ID: brevet.NewEventID(now), Kind: string(kind), Subject: string(e.Envelope.ID()), At: now, Actor: brevet.Caller{Person: "alice"},
				Outcome: "success", Message: "founded", Statement: raw,
			}}, nil
		})
		must(p.t, err)
	}
}

// signed signs a payload, as bytes.
func (p *plane) signed(payload statement.Payload, by ...statement.Signer) []byte {
	p.t.Helper()
	e, err := statement.New(p.t.Context(), payload, by...)
	must(p.t, err)
	raw, err := e.Marshal()
	must(p.t, err)
	return raw
}

// header is that of a statement of now, good for a minute.
func (p *plane) header() statement.Header {
	now := time.Now()
	return statement.NewHeader(p.Root, now, now.Add(time.Minute))
}

// answer signs what signs somebody in.
func (p *plane) answer(v visitor, certificate tls.Certificate, person brevet.PersonID, by statement.Signer, edit func(*statement.SignIn)) []byte {
	p.t.Helper()
	challenge, err := v.auth().GetChallenge(p.t.Context(), &pb.GetChallengeRequest{})
	must(p.t, err)
	thumbprint := sha256.Sum256(certificate.Leaf.RawSubjectPublicKeyInfo)
	s := statement.SignIn{Header: p.header(), Person: person, Challenge: challenge.GetChallenge(), Client: hex.EncodeToString(thumbprint[:])}
	if edit != nil {
		edit(&s)
	}
	return p.signed(s, by)
}

// login signs somebody in, as brevet login does.
func (p *plane) login(person brevet.PersonID) visitor {
	p.t.Helper()
	certificate := newCertificate(p.t, false)
	v := p.visit(&certificate)
	in, err := v.auth().SignIn(p.t.Context(), &pb.SignInRequest{Statement: p.answer(v, certificate, person, p.Keys[person], nil)})
	must(p.t, err)
	if in.GetPerson() != string(person) {
		p.t.Fatalf("%s is signed in as %s", person, in.GetPerson())
	}
	v.token = in.GetToken()
	return v
}

func (v visitor) url() string { return "https://" + v.world.address }

func (v visitor) auth() brevetv1connect.AuthServiceClient {
	return brevetv1connect.NewAuthServiceClient(v, v.url())
}

func (v visitor) people() brevetv1connect.PeopleServiceClient {
	return brevetv1connect.NewPeopleServiceClient(v, v.url())
}

func (v visitor) audit() brevetv1connect.AuditServiceClient {
	return brevetv1connect.NewAuditServiceClient(v, v.url())
}

func (v visitor) sessions() brevetv1connect.SessionServiceClient {
	return brevetv1connect.NewSessionServiceClient(v, v.url())
}

func (v visitor) gateway() brevetv1connect.GatewayServiceClient {
	return brevetv1connect.NewGatewayServiceClient(v, v.url())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
