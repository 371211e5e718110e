// Package prooftest makes organisations for tests: a founder, people, machines, a catalog and a log
// in memory, all with real keys and signatures. What it makes holds; tests change one thing and
// see that it no longer does.
//
// alice is the founder. alice, carol and dave are sre-leads, bob and the workload ci (carol's)
// are sre, erin is a dba, frank is in no group. Of the roles, bob may ask for web-root (one of
// sre-leads must agree) and db-admin (one of sre-leads and one of dba), and has web-now at once.
// gw-1 is a gateway for all targets, gw-2 for those that are no databases.
package prooftest

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// Org is an organisation. Its log grows by its methods, each of which takes a second.
type Org struct {
	T    testing.TB
	Log  *Log
	Root statement.ID // id of the first root
	Now  time.Time
	Keys map[brevet.PersonID]statement.Signer
	// The machines: log-1, issuer-1, gw-1 and gw-2. The issuer's certificate keys are not here if
	// Options brought their public halves.
	LogStatements statement.Signer
	Issuer        Issuer
	Gateways      map[brevet.MachineID]*Gateway
	Catalog       brevet.Catalog // in force

	Entries   []proof.Entry     // of roster, catalog and revocations
	Manifests map[string][]byte // by digest
	roster    statement.Link    // of the next statement
	catalogs  statement.Link
}

// Issuer is the keys of issuer-1.
type Issuer struct {
	Statements  statement.Signer
	Users       ssh.Signer
	Checkpoints crypto.Signer
}

// Gateway is the keys of a gateway.
type Gateway struct {
	Statements statement.Signer
	Holder     ssh.Signer
	Host       ssh.Signer
	Machine    statement.Machine
}

// Options change an organisation before it is founded.
type Options struct {
	Start     time.Time // zero: now
	Threshold int64     // 0: 1; founders are as many, alice first, then carol, dave
	Issuer    []statement.MachineKey
	Addresses []string // of the gateways
	Catalog   func(*brevet.Catalog)
}

// LogName and IssuerName name two of the machines.
const (
	LogName    brevet.MachineID = "log-1"
	IssuerName brevet.MachineID = "issuer-1"
)

// New founds an organisation.
func New(t testing.TB, o Options) *Org {
	t.Helper()
	if o.Start.IsZero() {
		o.Start = time.Now()
	}
	org := &Org{
		T: t, Log: newLog(t, "brevet.test/log"), Now: o.Start.UTC().Truncate(time.Second),
		Keys: map[brevet.PersonID]statement.Signer{}, Gateways: map[brevet.MachineID]*Gateway{}, Manifests: map[string][]byte{},
		roster: statement.Link{Number: 1}, catalogs: statement.Link{Number: 1},
	}
	org.found(max(1, o.Threshold))
	org.EnrolPeople("bob", "carol", "dave", "erin", "frank")
	org.EnrolWorkload("ci", "carol")
	org.machines(o)
	org.Catalog = Catalog()
	if o.Catalog != nil {
		o.Catalog(&org.Catalog)
	}
	org.SetCatalog(org.Catalog)
	return org
}

// NewKey returns a new Ed25519 key for SSH, and what signs statements with it.
func NewKey(t testing.TB) (ssh.Signer, statement.Signer) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	key, err := ssh.NewSignerFromKey(private)
	must(t, err)
	signer, err := statement.SSHSigner(key)
	must(t, err)
	return key, signer
}

func newMachineKey(t testing.TB) (crypto.Signer, statement.Signer) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	signer, err := statement.MachineSigner(private)
	must(t, err)
	return private, signer
}

// Fingerprint returns the name of a key.
func Fingerprint(t testing.TB, k statement.Key) string {
	t.Helper()
	f, err := statement.Fingerprint(k)
	must(t, err)
	return f
}

// found writes the first root.
func (o *Org) found(threshold int64) {
	root := statement.Root{
		Header: o.Header(24 * time.Hour), Link: o.roster, Name: "Test", Threshold: threshold,
		Log: statement.Log{Origin: o.Log.signer.Origin()}, Origins: []string{},
	}
	root.Org = ""
	for _, person := range []brevet.PersonID{"alice", "carol", "dave"}[:threshold] {
		_, o.Keys[person] = NewKey(o.T)
		root.Founders = append(root.Founders, statement.Founder{Person: person, Keys: []statement.Key{o.Keys[person].Key()}})
	}
	e := o.Sign(root, o.founders(root)...)
	o.Root = e.ID()
	o.Append(e)
}

func (o *Org) founders(root statement.Root) []statement.Signer {
	var signers []statement.Signer
	for _, f := range root.Founders {
		signers = append(signers, o.Keys[f.Person])
	}
	return signers
}

// Admins returns the keys of the founders in force.
func (o *Org) Admins() []statement.Signer { return o.founders(o.State().Roster.Root()) }

// Header returns a header of now.
func (o *Org) Header(good time.Duration) statement.Header {
	return statement.NewHeader(o.Root, o.Now, o.Now.Add(good))
}

// Link returns the place of the next statement of the roster.
func (o *Org) Link() statement.Link { return o.roster }

// CatalogLink returns the place of the next statement of the catalog chain.
func (o *Org) CatalogLink() statement.Link { return o.catalogs }

// Sign signs a payload.
func (o *Org) Sign(p statement.Payload, by ...statement.Signer) statement.Envelope {
	o.T.Helper()
	e, err := statement.New(context.Background(), p, by...)
	must(o.T, err)
	return e
}

// Append appends the statement to the log. Chains grow by it; whether they rightly do is not looked at.
func (o *Org) Append(e statement.Envelope) proof.Entry {
	o.T.Helper()
	kind, err := e.Kind()
	must(o.T, err)
	b, err := e.Marshal()
	must(o.T, err)
	subject := string(e.ID())
	if kind == statement.KindIntent {
		intent, err := statement.Open[statement.Intent](e)
		must(o.T, err)
		subject = string(intent.Request)
	}
	index := o.Log.Append(brevet.Event{Kind: string(kind), Subject: subject, At: o.Now, Statement: b})
	o.Now = o.Now.Add(time.Second)
	entry := proof.Entry{Index: index, Envelope: e}
	switch kind {
	case statement.KindRoot, statement.KindEnrol, statement.KindRetire, statement.KindReinstate, statement.KindMachine:
		o.roster = statement.Link{Number: o.roster.Number + 1, Previous: e.ID()}
	case statement.KindCatalog:
		o.catalogs = statement.Link{Number: o.catalogs.Number + 1, Previous: e.ID()}
	case statement.KindRevocation:
	default:
		return entry
	}
	o.Entries = append(o.Entries, entry)
	return entry
}

// State replays the chains.
func (o *Org) State() *proof.State {
	o.T.Helper()
	s, err := proof.Found(o.Entries[0], o.Root)
	must(o.T, err)
	s, err = s.Extend(o.Manifests, o.Entries[1:]...)
	must(o.T, err)
	return s
}

// Enrolment returns the enrolment of a key, with proof of possession.
func (o *Org) Enrolment(person brevet.PersonID, owner brevet.PersonID, key statement.Signer, use ...statement.Use) statement.Enrolment {
	o.T.Helper()
	one := statement.Enrolment{
		Person: person, Kind: brevet.Person, Owner: owner, Key: key.Key(), Uses: use,
		From: o.Now.UnixMicro(), Until: o.Now.AddDate(1, 0, 0).UnixMicro(),
		Code: "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
	}
	if owner != "" {
		one.Kind = brevet.Workload
	}
	var err error
	one.Possession, err = statement.Possession{Org: o.Root, Person: person, Key: one.Key, Code: one.Code}.Prove(context.Background(), key)
	must(o.T, err)
	return one
}

// EnrolPeople enrols a key for each person who has none yet.
func (o *Org) EnrolPeople(people ...brevet.PersonID) {
	o.T.Helper()
	var list []statement.Enrolment
	for _, person := range people {
		if o.Keys[person] == nil {
			_, o.Keys[person] = NewKey(o.T)
			list = append(list, o.Enrolment(person, "", o.Keys[person], statement.UseApprove, statement.UseRequest))
		}
	}
	o.Enrol(list...)
}

// EnrolWorkload enrols a key for a workload.
func (o *Org) EnrolWorkload(name, owner brevet.PersonID) {
	o.T.Helper()
	_, o.Keys[name] = newMachineKey(o.T)
	o.Enrol(o.Enrolment(name, owner, o.Keys[name], statement.UseRequest))
}

// Enrol appends an enrol statement.
func (o *Org) Enrol(list ...statement.Enrolment) proof.Entry {
	o.T.Helper()
	return o.Append(o.Sign(statement.Enrol{Header: o.Header(time.Hour), Link: o.roster, Enrolments: list}, o.Admins()...))
}

// Retire retires the person's key; what it signed since is suspect.
func (o *Org) Retire(person brevet.PersonID, since time.Time) proof.Entry {
	o.T.Helper()
	return o.Append(o.Sign(statement.Retire{
		Header: o.Header(time.Hour), Link: o.roster, Person: person,
		Key: Fingerprint(o.T, o.Keys[person].Key()), Since: since.UnixMicro(), Reason: "lost",
	}, o.Admins()...))
}

// Reinstate lifts a suspension.
func (o *Org) Reinstate(person brevet.PersonID, suspension proof.Entry) proof.Entry {
	o.T.Helper()
	return o.Append(o.Sign(statement.Reinstate{
		Header: o.Header(time.Hour), Link: o.roster, Person: person, Revocation: suspension.Envelope.ID(), Reason: "back",
	}, o.Admins()...))
}

// Revocation signs a revocation; Append logs it.
func (o *Org) Revocation(by brevet.PersonID, what, subject string) statement.Envelope {
	o.T.Helper()
	return o.Sign(statement.Revocation{Header: o.Header(time.Hour), By: string(by), What: what, Subject: subject, Reason: "enough"}, o.Keys[by])
}

// SetMachine appends a machine statement, with the header and link of now.
func (o *Org) SetMachine(m statement.Machine) proof.Entry {
	o.T.Helper()
	m.Header, m.Link = o.Header(time.Hour), o.roster
	if m.Addresses == nil {
		m.Addresses = []string{}
	}
	if m.Targets.Labels == nil {
		m.Targets.Labels = map[string]string{}
	}
	if m.Targets.Names == nil {
		m.Targets.Names = []brevet.TargetID{}
	}
	return o.Append(o.Sign(m, o.Admins()...))
}

// SetCatalog puts a catalog in force.
func (o *Org) SetCatalog(c brevet.Catalog) proof.Entry {
	o.T.Helper()
	manifest, digest, err := catalog.Manifest(catalog.Normalise(c))
	must(o.T, err)
	o.Catalog = c
	o.Manifests[digest] = manifest
	return o.Append(o.Sign(statement.Catalog{Header: o.Header(time.Hour), Link: o.catalogs, Manifest: digest, Message: "test"}, o.Admins()...))
}

// machines enrols the log, the issuer and the gateways.
func (o *Org) machines(opt Options) {
	o.T.Helper()
	_, o.LogStatements = newMachineKey(o.T)
	logKey, err := statement.MachineKeyOf(o.Log.key.Public())
	must(o.T, err)
	o.SetMachine(statement.Machine{Name: LogName, Use: statement.MachineLog, Keys: []statement.MachineKey{
		{Use: statement.KeyStatement, Key: o.LogStatements.Key()}, {Use: statement.KeyCheckpoint, Key: logKey},
	}})
	keys := opt.Issuer
	if keys == nil {
		keys = o.newIssuer()
	}
	o.SetMachine(statement.Machine{Name: IssuerName, Use: statement.MachineIssuer, Keys: keys})
	o.AddGateway("gw-1", brevet.Selector{Kind: brevet.SSHHost}, opt.Addresses)
	o.AddGateway("gw-2", brevet.Selector{Kind: brevet.SSHHost, Labels: map[string]string{"app": "web"}}, opt.Addresses)
}

func (o *Org) newIssuer() []statement.MachineKey {
	var checkpoints statement.Signer
	_, o.Issuer.Statements = newMachineKey(o.T)
	users, usersKey := NewKey(o.T)
	_, hostsKey := NewKey(o.T)
	o.Issuer.Users = users
	o.Issuer.Checkpoints, checkpoints = newMachineKey(o.T)
	return []statement.MachineKey{
		{Use: statement.KeyStatement, Key: o.Issuer.Statements.Key()}, {Use: statement.KeyUserCA, Key: usersKey.Key()},
		{Use: statement.KeyHostCA, Key: hostsKey.Key()}, {Use: statement.KeyCheckpoint, Key: checkpoints.Key()},
	}
}

// AddGateway makes the keys of a gateway and enrols it.
func (o *Org) AddGateway(name brevet.MachineID, targets brevet.Selector, addresses []string) *Gateway {
	o.T.Helper()
	g := &Gateway{}
	var holder, host statement.Signer
	_, g.Statements = newMachineKey(o.T)
	g.Holder, holder = NewKey(o.T)
	g.Host, host = NewKey(o.T)
	g.Machine = statement.Machine{Name: name, Use: statement.MachineGateway, Targets: targets, Addresses: addresses, Keys: []statement.MachineKey{
		{Use: statement.KeyStatement, Key: g.Statements.Key()}, {Use: statement.KeyHolder, Key: holder.Key()}, {Use: statement.KeyHost, Key: host.Key()},
	}}
	o.Gateways[name] = g
	o.SetMachine(g.Machine)
	return g
}
