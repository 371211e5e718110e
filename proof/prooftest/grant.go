package prooftest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// Terms returns terms for the role, on its first target, for half an hour, through the gateway.
func (o *Org) Terms(person brevet.PersonID, role brevet.RoleName, gateway brevet.MachineID) statement.Terms {
	o.T.Helper()
	i := slices.IndexFunc(o.Catalog.Roles, func(r brevet.Role) bool { return r.Name == role })
	r := catalog.Normalise(o.Catalog).Roles[i]
	digest, err := catalog.RoleDigest(r)
	must(o.T, err)
	t := statement.Terms{
		Person: person, Role: role, RoleDigest: digest, Logins: slices.Clone(r.SSH.Logins), Duration: 1800,
		Holder: statement.Holder{Machine: gateway, Key: ssh.FingerprintSHA256(o.Gateways[gateway].Holder.PublicKey())},
	}
	for _, target := range catalog.Normalise(o.Catalog).Targets {
		if r.Targets.Matches(target) && len(t.Targets) == 0 {
			t.Targets = []brevet.TargetID{target.ID}
		}
	}
	return t
}

// Ask makes, signs and logs a request through gw-1; change may be nil.
func (o *Org) Ask(person brevet.PersonID, role brevet.RoleName, change func(*statement.Request)) proof.Entry {
	o.T.Helper()
	r := o.Request(person, role)
	if change != nil {
		change(&r)
	}
	return o.Append(o.Sign(r, o.Keys[person]))
}

// Request returns a request that is neither signed nor logged.
func (o *Org) Request(person brevet.PersonID, role brevet.RoleName) statement.Request {
	o.T.Helper()
	return statement.Request{Header: o.Header(time.Hour), Terms: o.Terms(person, role, "gw-1"), Reason: "restart nginx", Via: brevet.ViaCLI}
}

// AskBySSH makes a request that gw-1 signs for the person whose key it saw, and logs it.
func (o *Org) AskBySSH(person brevet.PersonID, role brevet.RoleName, change func(*statement.Request)) proof.Entry {
	o.T.Helper()
	r := o.Request(person, role)
	r.Via = brevet.ViaSSH
	r.Seen = statement.Seen{Key: Fingerprint(o.T, o.Keys[person].Key()), Presence: brevet.NoPresence, Source: "192.0.2.7"}
	if change != nil {
		change(&r)
	}
	return o.Append(o.Sign(r, o.Gateways["gw-1"].Statements))
}

// Approval returns a yes to exactly the request that is neither signed nor logged.
func (o *Org) Approval(by brevet.PersonID, request proof.Entry, stage int64) statement.Approval {
	o.T.Helper()
	r, err := statement.Open[statement.Request](request.Envelope)
	must(o.T, err)
	return statement.Approval{Header: o.Header(time.Hour), Request: request.Envelope.ID(), By: by, Stage: stage, Terms: r.Terms}
}

// Approve makes, signs and logs a yes; change may be nil.
func (o *Org) Approve(by brevet.PersonID, request proof.Entry, stage int64, change func(*statement.Approval)) proof.Entry {
	o.T.Helper()
	a := o.Approval(by, request, stage)
	if change != nil {
		change(&a)
	}
	return o.Append(o.Sign(a, o.Keys[by]))
}

// Evidence returns the request and its approvals.
func Evidence(request proof.Entry, approvals ...proof.Entry) proof.Evidence {
	return proof.Evidence{Request: request, Approvals: approvals}
}

// Bundle returns the evidence alone, as the issuer wants it.
func (o *Org) Bundle(request proof.Entry, approvals ...proof.Entry) []byte {
	o.T.Helper()
	var envelopes []statement.Envelope
	for _, a := range approvals {
		envelopes = append(envelopes, a.Envelope)
	}
	b, err := proof.NewEvidence(request.Envelope, envelopes, policy.Claimed{}).Marshal()
	must(o.T, err)
	return b
}

// Intend judges the evidence as the issuer does, and signs and logs its intent; change may be nil.
func (o *Org) Intend(ev proof.Evidence, change func(*statement.Intent)) (proof.Entry, *proof.Verdict) {
	o.T.Helper()
	s := o.State()
	v, err := s.Judge(ev, o.Log.Size(), o.Now, nil)
	must(o.T, err)
	basis, err := ev.Basis()
	must(o.T, err)
	intent := statement.Intent{
		Header: o.Header(proof.IntentFresh), Request: v.Statement, Terms: v.Terms, Bundle: basis,
		Approvals: v.ApprovalIDs(), Policies: v.Policies(),
	}
	intent.Roster, _ = s.Roster.Head()
	intent.Catalog, _ = s.Catalog.Head()
	if change != nil {
		change(&intent)
	}
	return o.Append(o.Sign(intent, o.Issuer.Statements)), v
}

// Give plays the issuer to the end: it judges the evidence, logs intent and grant, and returns the
// whole bundle. The changes, which may be nil, are made before each is signed.
func (o *Org) Give(ev proof.Evidence, onIntent func(*statement.Intent), onCertificate func(*ssh.Certificate), onGrant func(*statement.Grant)) *proof.Bundle {
	o.T.Helper()
	intent, v := o.Intend(ev, onIntent)
	said, err := statement.Open[statement.Intent](intent.Envelope)
	must(o.T, err)
	g := statement.Grant{
		Header: o.Header(time.Hour), ID: v.ID.Grant(), Request: v.Statement, Terms: v.Terms,
		From: o.Now.UnixMicro(), To: o.Now.Add(v.Terms.Duration.Duration()).UnixMicro(),
		Approvals: said.Approvals, Roster: said.Roster, Catalog: said.Catalog, Intent: intent.Envelope.ID(), Index: intent.Index,
		Serial: strconv.FormatInt(1000+intent.Index, 10),
	}
	certificate := o.Certificate(g, v, onCertificate)
	digest := sha256.Sum256(certificate)
	g.Cert = hex.EncodeToString(digest[:])
	if onGrant != nil {
		onGrant(&g)
	}
	grant := o.Append(o.Sign(g, o.Issuer.Statements))
	b := o.Chains()
	b.Request, b.Intent, b.Grant, b.Certificate = o.Log.Record(ev.Request.Index), o.Log.Record(intent.Index), o.Log.Record(grant.Index), certificate
	for _, a := range ev.Approvals {
		b.Approvals = append(b.Approvals, o.Log.Record(a.Index))
	}
	b.Claimed = proof.ClaimsOf(ev.Claimed)
	return b
}

// Certificate signs the certificate for a grant.
func (o *Org) Certificate(g statement.Grant, v *proof.Verdict, change func(*ssh.Certificate)) []byte {
	o.T.Helper()
	terms, err := proof.CertificateFor(g, v.Role, v.Gateway)
	must(o.T, err)
	serial, err := strconv.ParseUint(g.Serial, 10, 64)
	must(o.T, err)
	c := &ssh.Certificate{
		Key: o.Gateways[g.Holder.Machine].Holder.PublicKey(), Serial: serial, CertType: ssh.UserCert, KeyId: terms.KeyID,
		ValidPrincipals: terms.Principals, ValidAfter: terms.After, ValidBefore: terms.Before,
		Permissions: ssh.Permissions{CriticalOptions: terms.Options, Extensions: terms.Extensions},
	}
	if change != nil {
		change(c)
	}
	must(o.T, c.SignCert(rand.Reader, o.Issuer.Users))
	return c.Marshal()
}

// Chains returns a bundle of the chains and the cosigned checkpoint alone.
func (o *Org) Chains() *proof.Bundle {
	o.T.Helper()
	b := &proof.Bundle{}
	for _, e := range o.Entries {
		kind, err := e.Envelope.Kind()
		must(o.T, err)
		list := &b.Roster
		switch kind {
		case statement.KindCatalog:
			list = &b.Catalog
			c, err := statement.Open[statement.Catalog](e.Envelope)
			must(o.T, err)
			b.Manifest = o.Manifests[c.Manifest]
		case statement.KindRevocation:
			list = &b.Revocations
		}
		*list = append(*list, o.Log.Record(e.Index))
	}
	cosigned, err := audit.Cosign(o.Log.Checkpoint(), o.State().WitnessName(IssuerName), o.Issuer.Checkpoints, o.Now)
	must(o.T, err)
	b.Checkpoint = string(cosigned)
	return b
}

// Status returns the issuer's word that the grant is good now.
func (o *Org) Status(grant brevet.GrantID) statement.Envelope {
	o.T.Helper()
	s := o.State()
	status := statement.Status{Header: o.Header(time.Minute), Grant: grant, Size: o.Log.Size()}
	status.Roster, _ = s.Roster.Head()
	status.Catalog, _ = s.Catalog.Head()
	return o.Sign(status, o.Issuer.Statements)
}
