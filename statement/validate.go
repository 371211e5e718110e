package statement

import (
	"cmp"
	"encoding/base64"
	"fmt"

	"github.com/brevet-pim/brevet"
)

// Sizes that no honest statement exceeds.
const (
	maxReason     = 1000 // characters; of comments and messages too
	maxTicket     = 100  // characters
	maxWord       = 200  // characters of a policy's id, a label, the log's origin
	maxEnrolments = 200
	maxFounders   = 50
	maxKeys       = 32 // of a founder or a machine
	maxTargets    = 100
	maxSelected   = 1000 // targets that a gateway's selector names
	maxLogins     = 20
	maxLabels     = 32
	maxRanges     = 100
	maxApprovals  = 50
	maxPolicies   = 1000
	maxStages     = 100
	maxPossession = 4 << 10 // bytes of base64
	maxDuration   = brevet.Seconds(366 * 24 * 60 * 60)
)

// check reads the header of a payload that belongs to an organisation.
func (h Header) check() error {
	return cmp.Or(
		checkDigest("org", h.Org),
		h.checkRest(),
	)
}

func (h Header) checkRest() error {
	return cmp.Or(
		checkHex("nonce", h.Nonce, 32, 32),
		checkPeriod("at", h.At, "until", h.Until),
	)
}

// checkPeriod wants two times in microseconds since 1970, the second after the first.
func checkPeriod(from string, start int64, to string, end int64) error {
	if err := cmp.Or(checkInteger(from, start, 1, maxInteger), checkInteger(to, end, 1, maxInteger)); err != nil {
		return err
	}
	if end <= start {
		return brevet.Errorf(brevet.Invalid, "%s is not after %s", to, from)
	}
	return nil
}

func (l Link) check(least int64) error {
	if err := checkInteger("number", l.Number, least, maxInteger); err != nil {
		return err
	}
	if l.Number > 1 {
		return checkDigest("previous", l.Previous)
	}
	if l.Previous != "" {
		return brevet.Errorf(brevet.Invalid, "previous must be empty in the first of a chain")
	}
	return nil
}

// StatementKind returns KindRoot.
func (Root) StatementKind() Kind { return KindRoot }

// Validate checks the shape of a root: see Payload. No key may stand in it twice, since two
// founders who share one would be one person with two voices.
func (r Root) Validate() error {
	return cmp.Or(
		r.checkOrg(),
		r.Header.checkRest(),
		r.Link.check(1),
		checkNeeded("name", r.Name, maxTicket),
		r.checkFounders(),
		checkInteger("threshold", r.Threshold, 1, int64(len(r.Founders))),
		checkOrigin(r.Log.Origin),
		checkInteger("log.epoch", r.Log.Epoch, 0, maxInteger),
		r.checkNoWebAuthn(),
	)
}

func (r Root) checkOrg() error {
	if r.Number > 1 {
		return checkDigest("org", r.Org)
	}
	if r.Org != "" {
		return brevet.Errorf(brevet.Invalid, "org must be empty in the first root, whose id it is")
	}
	return nil
}

func (r Root) checkFounders() error {
	if err := checkCount("founders", len(r.Founders), 1, maxFounders); err != nil {
		return err
	}
	people, keys := map[brevet.PersonID]bool{}, map[Key]bool{}
	for i, f := range r.Founders {
		field := fmt.Sprintf("founders[%d]", i)
		if err := cmp.Or(checkName(field+".person", f.Person), checkCount(field+".keys", len(f.Keys), 1, maxKeys)); err != nil {
			return err
		}
		if people[f.Person] {
			return brevet.Errorf(brevet.Invalid, "%s: %s stands in the list twice", field, f.Person)
		}
		people[f.Person] = true
		for _, k := range f.Keys {
			if err := k.checkKind(field+".keys", KindSSH); err != nil {
				return err
			}
			if keys[k] {
				return brevet.Errorf(brevet.Invalid, "%s.keys: a key stands in the root twice", field)
			}
			keys[k] = true
		}
	}
	return nil
}

// checkOrigin wants a name that can head a checkpoint (C2SP tlog-checkpoint): one word without "+".
func checkOrigin(origin string) error {
	if err := checkNeeded("log.origin", origin, maxWord); err != nil {
		return err
	}
	for _, r := range origin {
		if r == '+' || r <= ' ' || r > '~' {
			return brevet.Errorf(brevet.Invalid, "log.origin may hold printable ASCII without spaces and +")
		}
	}
	return nil
}

func (r Root) checkNoWebAuthn() error {
	if r.RelyingParty != "" || len(r.Origins) != 0 {
		return brevet.Errorf(brevet.Invalid, "relying_party and origins must be empty: this version enforces nothing about them")
	}
	return nil
}

// StatementKind returns KindEnrol.
func (Enrol) StatementKind() Kind { return KindEnrol }

// Validate checks the shape of an enrol statement: see Payload. A key may stand in it only
// once. It does not check possession, which costs a signature check for each (see CheckPossession).
func (e Enrol) Validate() error {
	if err := cmp.Or(e.Header.check(), e.Link.check(2), checkCount("enrolments", len(e.Enrolments), 1, maxEnrolments)); err != nil {
		return err
	}
	keys := map[Key]bool{}
	for i, one := range e.Enrolments {
		field := fmt.Sprintf("enrolments[%d]", i)
		if err := one.check(field); err != nil {
			return err
		}
		if keys[one.Key] {
			return brevet.Errorf(brevet.Invalid, "%s.key: the key stands in the list twice", field)
		}
		keys[one.Key] = true
	}
	return nil
}

func (e Enrolment) check(field string) error {
	return cmp.Or(
		checkName(field+".person", e.Person),
		e.checkIdentity(field),
		checkPeriod(field+".from", e.From, field+".until", e.Until),
		checkDigest(field+".code", e.Code),
		checkBase64(field+".possession", e.Possession, maxPossession),
	)
}

// checkIdentity holds people to keys and uses of people, and workloads to those of workloads:
// a workload has an owner, asks, and never answers or administers.
func (e Enrolment) checkIdentity(field string) error {
	uses := []Use{UseRequest}
	keys := []KeyKind{KindSSH, KindEd25519, KindECDSA}
	switch e.Kind {
	case brevet.Person:
		if e.Owner != "" {
			return brevet.Errorf(brevet.Invalid, "%s.owner must be empty: people own themselves", field)
		}
		uses = []Use{UseRequest, UseApprove, UseAdminister, UseCatalog}
		keys = keys[:1]
	case brevet.Workload:
		if err := checkName(field+".owner", e.Owner); err != nil {
			return err
		}
		if e.Owner == e.Person {
			return brevet.Errorf(brevet.Invalid, "%s.owner: a workload cannot own itself", field)
		}
	default:
		return checkOneOf(field+".kind", e.Kind, brevet.Person, brevet.Workload)
	}
	known := func(field string, u Use) error { return checkOneOf(field, u, uses...) }
	return cmp.Or(
		e.Key.checkKind(field+".key", keys...),
		checkList(field+".uses", e.Uses, 1, len(uses), known),
	)
}

func checkBase64(field, s string, most int) error {
	if s == "" || len(s) > most {
		return brevet.Errorf(brevet.Invalid, "%s is empty or longer than %d characters", field, most)
	}
	if _, err := decodeBase64(s); err != nil {
		return brevet.Errorf(brevet.Invalid, "%s is not base64", field).Because(err)
	}
	return nil
}

// decodeBase64 decodes standard base64 in its one spelling: padded, no line breaks, no stray bits.
func decodeBase64(s string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err == nil && base64.StdEncoding.EncodedLen(len(b)) != len(s) {
		return nil, base64.CorruptInputError(0) // the decoder skips line breaks
	}
	return b, err
}

// StatementKind returns KindRetire.
func (Retire) StatementKind() Kind { return KindRetire }

// Validate checks the shape of a retire statement: see Payload.
func (r Retire) Validate() error {
	return cmp.Or(
		r.Header.check(),
		r.Link.check(2),
		checkName("person", r.Person),
		checkFingerprint("key", r.Key),
		checkInteger("since", r.Since, 0, maxInteger),
		checkNeeded("reason", r.Reason, maxReason),
	)
}

// StatementKind returns KindReinstate.
func (Reinstate) StatementKind() Kind { return KindReinstate }

// Validate checks the shape of a reinstate statement: see Payload.
func (r Reinstate) Validate() error {
	return cmp.Or(
		r.Header.check(),
		r.Link.check(2),
		checkName("person", r.Person),
		checkDigest("revocation", r.Revocation),
		checkNeeded("reason", r.Reason, maxReason),
	)
}

// machineKeys says which machines may have keys for which uses, beside KeyStatement and
// KeyTLS, which all may have. What is not here cannot be: a gateway whose statement slipped
// in an authority's key would be an authority.
var machineKeys = map[MachineUse][]MachineUse{
	MachineGateway:  {KeyHolder, KeyHost},
	MachineIssuer:   {KeyUserCA, KeyHostCA, KeyX509CA, KeyCheckpoint},
	MachineLog:      {KeyCheckpoint},
	MachineRecorder: {KeySeal},
}

// keyKinds says which kinds of key a use is good with.
var keyKinds = map[MachineUse][]KeyKind{
	KeyStatement:  {KindEd25519, KindECDSA},
	KeyTLS:        {KindEd25519, KindECDSA},
	KeyHolder:     {KindSSH},
	KeyHost:       {KindSSH},
	KeyUserCA:     {KindSSH},
	KeyHostCA:     {KindSSH},
	KeyX509CA:     {KindEd25519, KindECDSA},
	KeyCheckpoint: {KindEd25519}, // what signed notes know
	KeySeal:       {KindXWing},
}

// StatementKind returns KindMachine.
func (Machine) StatementKind() Kind { return KindMachine }

// Validate checks the shape of a machine statement: see Payload. A key has one use, and only
// uses that its machine may have; only gateways have targets and addresses.
func (m Machine) Validate() error {
	return cmp.Or(
		m.Header.check(),
		m.Link.check(2),
		checkName("name", m.Name),
		checkOneOf("use", m.Use, MachineGateway, MachineIssuer, MachineLog, MachineRecorder),
		m.checkKeys(),
		m.checkReach(),
	)
}

func (m Machine) checkKeys() error {
	if err := checkCount("keys", len(m.Keys), 0, maxKeys); err != nil {
		return err
	}
	uses := append([]MachineUse{KeyStatement, KeyTLS}, machineKeys[m.Use]...)
	seen := map[Key]bool{}
	for i, k := range m.Keys {
		field := fmt.Sprintf("keys[%d]", i)
		if err := cmp.Or(checkOneOf(field+".use", k.Use, uses...), k.Key.checkKind(field+".key", keyKinds[k.Use]...)); err != nil {
			return err
		}
		if seen[k.Key] {
			return brevet.Errorf(brevet.Invalid, "%s: a key has one use, and this one stands in the list twice", field)
		}
		seen[k.Key] = true
	}
	return nil
}

func (m Machine) checkReach() error {
	s := m.Targets
	if m.Use != MachineGateway || len(m.Keys) == 0 {
		if s.Kind != "" || len(s.Labels) != 0 || len(s.Names) != 0 || len(m.Addresses) != 0 {
			return brevet.Errorf(brevet.Invalid, "targets and addresses must be empty: only a gateway with keys has them")
		}
		return nil
	}
	return cmp.Or(
		checkOneOf("targets.kind", s.Kind, brevet.SSHHost),
		checkLabels("targets.labels", s.Labels),
		checkList("targets.names", s.Names, 0, maxSelected, checkName),
		checkList("addresses", m.Addresses, 0, maxRanges, checkRange),
	)
}

func checkLabels(field string, labels map[string]string) error {
	if err := checkCount(field, len(labels), 0, maxLabels); err != nil {
		return err
	}
	for k, v := range labels {
		if err := cmp.Or(checkWord(field, k), CheckText(field, v, maxWord)); err != nil {
			return err
		}
	}
	return nil
}

// StatementKind returns KindCatalog.
func (Catalog) StatementKind() Kind { return KindCatalog }

// Validate checks the shape of a catalog statement: see Payload.
func (c Catalog) Validate() error {
	return cmp.Or(
		c.Header.check(),
		c.Link.check(1),
		checkDigest("manifest", c.Manifest),
		CheckText("message", c.Message, maxReason),
	)
}

func (t Terms) check() error {
	return cmp.Or(
		checkName("person", t.Person),
		checkName("role", t.Role),
		checkDigest("role_digest", t.RoleDigest),
		checkList("targets", t.Targets, 1, maxTargets, checkName),
		checkList("logins", t.Logins, 1, maxLogins, CheckLogin),
		checkInteger("duration", int64(t.Duration), 1, int64(maxDuration)),
		checkName("holder.machine", t.Holder.Machine),
		checkSSHFingerprint("holder.key", t.Holder.Key),
	)
}

// StatementKind returns KindRequest.
func (Request) StatementKind() Kind { return KindRequest }

// Validate checks the shape of a request: see Payload. Seen is full if it came by way of
// ssh and empty otherwise.
func (r Request) Validate() error {
	return cmp.Or(
		r.Header.check(),
		r.Terms.check(),
		CheckText("reason", r.Reason, maxReason),
		CheckText("ticket", r.Ticket, maxTicket),
		checkOneOf("via", r.Via, brevet.ViaCLI, brevet.ViaAPI, brevet.ViaSSH),
		r.checkSeen(),
	)
}

func (r Request) checkSeen() error {
	if r.Via != brevet.ViaSSH {
		if r.Seen != (Seen{}) {
			return brevet.Errorf(brevet.Invalid, "seen must be empty: the person signs this request")
		}
		return nil
	}
	return cmp.Or(
		checkSSHFingerprint("seen.key", r.Seen.Key),
		checkOneOf("seen.presence", r.Seen.Presence, brevet.NoPresence, brevet.TouchPresence, brevet.VerifiedPresence),
		checkAddress("seen.source", r.Seen.Source),
	)
}

// StatementKind returns KindApproval.
func (Approval) StatementKind() Kind { return KindApproval }

// Validate checks the shape of an approval: see Payload. Nobody agrees to their own request.
func (a Approval) Validate() error {
	return cmp.Or(
		a.Header.check(),
		checkDigest("request", a.Request),
		checkName("by", a.By),
		checkInteger("stage", a.Stage, 0, maxStages),
		a.Terms.check(),
		a.checkOther(),
		CheckText("comment", a.Comment, maxReason),
	)
}

func (a Approval) checkOther() error {
	if a.By == a.Person {
		return brevet.Errorf(brevet.Invalid, "by: nobody approves their own request")
	}
	return nil
}

// StatementKind returns KindRevocation.
func (Revocation) StatementKind() Kind { return KindRevocation }

// Validate checks the shape of a revocation: see Payload. The form of the subject follows from what is revoked.
func (r Revocation) Validate() error {
	return cmp.Or(
		r.Header.check(),
		checkName("by", r.By),
		r.checkSubject(),
		checkNeeded("reason", r.Reason, maxReason),
	)
}

func (r Revocation) checkSubject() error {
	switch r.What {
	case RevokeRequest:
		return checkDigest("subject", r.Subject)
	case RevokeGrant:
		return checkGrantID("subject", r.Subject)
	case RevokeCredential:
		return checkSerial("subject", r.Subject)
	case RevokePerson:
		return checkName("subject", r.Subject)
	case RevokeKey:
		return checkFingerprint("subject", r.Subject)
	}
	return checkOneOf("what", r.What, RevokeRequest, RevokeGrant, RevokeCredential, RevokePerson, RevokeKey)
}

// StatementKind returns KindIntent.
func (Intent) StatementKind() Kind { return KindIntent }

// Validate checks the shape of an intent: see Payload.
func (i Intent) Validate() error {
	return cmp.Or(
		i.Header.check(),
		checkDigest("request", i.Request),
		i.Terms.check(),
		checkDigest("bundle", i.Bundle),
		checkDigest("roster", i.Roster),
		checkDigest("catalog", i.Catalog),
		checkList("approvals", i.Approvals, 0, maxApprovals, checkDigest),
		checkList("policies", i.Policies, 0, maxPolicies, checkWord),
	)
}

func checkWord(field, s string) error { return checkNeeded(field, s, maxWord) }

// StatementKind returns KindGrant.
func (Grant) StatementKind() Kind { return KindGrant }

// Validate checks the shape of a grant: see Payload. It may not last longer than its terms say.
func (g Grant) Validate() error {
	return cmp.Or(
		g.Header.check(),
		checkGrantID("id", string(g.ID)),
		checkDigest("request", g.Request),
		g.Terms.check(),
		g.checkLength(),
		checkList("approvals", g.Approvals, 0, maxApprovals, checkDigest),
		checkDigest("roster", g.Roster),
		checkDigest("catalog", g.Catalog),
		checkDigest("intent", g.Intent),
		checkInteger("intent_index", g.Index, 0, maxInteger),
		checkSerial("serial", g.Serial),
		checkDigest("certificate", g.Cert),
	)
}

func (g Grant) checkLength() error {
	if err := checkPeriod("from", g.From, "to", g.To); err != nil {
		return err
	}
	if g.To-g.From > g.Duration.Duration().Microseconds() {
		return brevet.Errorf(brevet.Invalid, "to lies after the end of the duration")
	}
	return nil
}

// StatementKind returns KindStatus.
func (Status) StatementKind() Kind { return KindStatus }

// Validate checks the shape of a status: see Payload.
func (s Status) Validate() error {
	return cmp.Or(
		s.Header.check(),
		checkGrantID("grant", string(s.Grant)),
		checkInteger("size", s.Size, 1, maxInteger),
		checkDigest("roster", s.Roster),
		checkDigest("catalog", s.Catalog),
	)
}

// StatementKind returns KindReceipt.
func (Receipt) StatementKind() Kind { return KindReceipt }

// Validate checks the shape of a receipt: see Payload.
func (r Receipt) Validate() error {
	return cmp.Or(
		r.Header.check(),
		checkDigest("revocation", r.Revocation),
		checkInteger("size", r.Size, 1, maxInteger),
	)
}

// StatementKind returns KindSignIn.
func (SignIn) StatementKind() Kind { return KindSignIn }

// Validate checks the shape of a sign-in: see Payload.
func (s SignIn) Validate() error {
	return cmp.Or(
		s.Header.check(),
		checkName("person", s.Person),
		checkHex("challenge", s.Challenge, 32, 128),
		checkDigest("client", s.Client),
	)
}
