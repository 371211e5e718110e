package proof

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/statement"
)

// Trust is what a checker believes before it looks at a bundle.
type Trust struct {
	Root   statement.ID // the pinned id of the first root
	State  *State       // what is held already; nil: the bundle must bring the chains from the root on
	Memory *Memory      // of what was verified; may be nil
}

// IntentFresh is how soon after its intent a grant must be made.
const IntentFresh = 5 * time.Minute

// Check says whether the bundle proves its grant: that people and policy agreed to it, that the
// issuer gave no more, and that it stands in the log. It makes the checks of TRUST §2, in their
// order. A grant that is over at now was given all the same: the report says so, and admits nobody. A
// bundle from the future is refused. Failures are Refused and say what is wrong.
func Check(b *Bundle, trust Trust, now time.Time) (*Report, error) {
	c := &checker{bundle: b, trust: trust, now: now, report: &Report{}}
	for _, check := range []func() error{
		c.chains,      // 1: from the pinned root to the heads
		c.checkpoint,  // 5: signed by the log and cosigned by the issuer
		c.places,      // 5: the statements stand in the log, where the bundle says
		c.intent,      // 5: the issuer's word, logged after all that it rests on
		c.judge,       // 2, 3, 4, 6: request, policy, approvals, ends
		c.grant,       // 6: no more than the intent
		c.certificate, // 6: no more than the grant
		c.over,        // whether it gives anything still
		c.recordings,
	} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	c.conclude()
	return c.report, nil
}

// checker is one check on its way.
type checker struct {
	bundle *Bundle
	trust  Trust
	now    time.Time
	state  *State
	signed audit.Checkpoint
	issuer statement.Machine
	report *Report
}

// chains extends the state that is held, or begins with the pinned root.
func (c *checker) chains() error {
	entries := slices.Concat(entriesOf(c.bundle.Roster), entriesOf(c.bundle.Catalog), entriesOf(c.bundle.Revocations))
	slices.SortStableFunc(entries, func(a, b Entry) int { return int(min(max(a.Index-b.Index, -1), 1)) })
	state := c.trust.State
	if state == nil {
		if len(entries) == 0 {
			return refuse("the proof does not begin with the root")
		}
		var err error
		if state, err = Found(entries[0], c.trust.Root); err != nil {
			return err
		}
		entries = entries[1:]
	} else if state.Roster.Org() != c.trust.Root {
		return refuse("the chains that are held do not begin with the pinned root")
	} else if len(c.bundle.Revocations) > 0 {
		state = state.apart() // what this bundle says to be over is its own word
	}
	manifests := map[string][]byte{digestOf(c.bundle.Manifest): c.bundle.Manifest}
	state, err := state.extendTo(manifests, entries)
	if err != nil {
		return err
	}
	c.state, c.report.State = state, state
	root := state.Roster.Root()
	c.report.add(Holds, "root", fmt.Sprintf("%s (%s)", groups(string(state.Roster.Org()), 4), foundersOf(root)))
	return nil
}

func foundersOf(root statement.Root) string {
	switch {
	case root.Threshold == 1 && len(root.Founders) == 1:
		return "1 founder: one administrator could have made this"
	case root.Threshold == 1:
		return fmt.Sprintf("%d founders, any of whom could have made this alone", len(root.Founders))
	}
	return fmt.Sprintf("%d founders, %d administrators together", len(root.Founders), root.Threshold)
}

// groups returns the first n groups of four characters of an id.
func groups(id string, n int) string {
	var parts []string
	for i := 0; i+4 <= len(id) && len(parts) < n; i += 4 {
		parts = append(parts, id[i:i+4])
	}
	return strings.Join(parts, " ")
}

func entriesOf(records []Record) []Entry {
	entries := make([]Entry, len(records))
	for i, r := range records {
		entries[i] = Entry{Index: r.Index, Envelope: r.Statement}
	}
	return entries
}

// checkpoint verifies the signatures of the log and of the issuer.
func (c *checker) checkpoint() error {
	signed, err := c.state.OpenCheckpoint([]byte(c.bundle.Checkpoint), never, nil)
	if err != nil {
		return err
	}
	c.signed, c.report.Size = signed, signed.Size
	_, _, err = c.state.Cosigned([]byte(c.bundle.Checkpoint), never)
	return err
}

// OpenCheckpoint verifies that a log machine of the roster, as it stands before the place at,
// signed the checkpoint, and that it is of the organisation's log.
func (s *State) OpenCheckpoint(signed []byte, at int64, memory *Memory) (audit.Checkpoint, error) {
	origin := s.Roster.root.Log.Origin
	err := error(refuse("no log of ours has a key for checkpoints"))
	for _, key := range s.checkpointKeys(statement.MachineLog, at) {
		var checkpoint audit.Checkpoint
		if checkpoint, err = memory.openCheckpoint(signed, origin, key.public); err == nil {
			return checkpoint, nil
		}
	}
	return audit.Checkpoint{}, within(err, "the log's checkpoint")
}

// Cosigned verifies that an issuer of the roster cosigned the checkpoint, and returns which and when.
func (s *State) Cosigned(signed []byte, at int64) (brevet.MachineID, time.Time, error) {
	err := error(refuse("no issuer of ours has a key for checkpoints"))
	for _, key := range s.checkpointKeys(statement.MachineIssuer, at) {
		var when time.Time
		when, err = audit.Cosigned(signed, audit.Witness{Name: s.WitnessName(key.machine), Key: key.public})
		if err == nil {
			return key.machine, when, nil
		}
	}
	return "", time.Time{}, within(err, "the log's checkpoint")
}

// WitnessName is how a machine is named in its cosignatures of checkpoints: after the log, since the
// names of machines are unique only within the organisation.
func (s *State) WitnessName(machine brevet.MachineID) string {
	return s.Roster.root.Log.Origin + "/" + string(machine)
}

type checkpointKey struct {
	machine brevet.MachineID
	public  ed25519.PublicKey
}

func (s *State) checkpointKeys(use statement.MachineUse, at int64) []checkpointKey {
	var keys []checkpointKey
	for _, m := range s.Roster.Machines(use, at) {
		for _, k := range m.Keys {
			if k.Use != statement.KeyCheckpoint {
				continue
			}
			public, err := k.Key.Crypto()
			if ed, ok := public.(ed25519.PublicKey); ok && err == nil {
				keys = append(keys, checkpointKey{m.Name, ed})
			}
		}
	}
	return keys
}

// places checks that everything stands in the log where the bundle says. What the reader's own chains
// have need not be shown again; all else must be, since who moves a retirement in the log moves what
// it ends.
func (c *checker) places() error {
	b := c.bundle
	for _, r := range slices.Concat([]Record{b.Request}, b.Approvals, c.unknown(b.Roster), c.unknown(b.Catalog), b.Revocations) {
		if err := c.place(r, r.Statement.ID()); err != nil {
			return err
		}
	}
	return nil
}

// unknown returns the records that the state which is held does not have.
func (c *checker) unknown(chain []Record) []Record {
	return slices.DeleteFunc(slices.Clone(chain), func(r Record) bool {
		held := c.trust.State
		return held != nil && (held.Roster.Knows(r.Statement.ID()) || held.Catalog.Knows(r.Statement.ID()))
	})
}

func (c *checker) place(r Record, subject statement.ID) error {
	leaf, err := r.leaf(subject)
	if err != nil {
		return within(err, "the place of a statement in the log")
	}
	proof, err := hashes(r.Proof)
	if err != nil {
		return within(err, "the place of a %s in the log", leaf.Kind)
	}
	if err := audit.VerifyInclusion(c.signed, r.Index, leaf, proof); err != nil {
		return within(err, "the %s", leaf.Kind)
	}
	return nil
}

// intent checks the issuer's intent and its leaf, which names it in its body. That it is the first
// of its request is the issuer's word, given by the grant.
func (c *checker) intent() error {
	r := c.bundle.Intent
	intent, err := statement.Open[statement.Intent](r.Statement)
	if err != nil {
		return within(err, "the intent")
	}
	c.report.Intent = intent
	if err := c.place(r, intent.Request); err != nil {
		return err
	}
	if err := IntentLeaf(r); err != nil {
		return err
	}
	if c.issuer, err = c.state.IssuedBy(r.Statement, r.Index, c.trust.Memory); err != nil {
		return within(err, "the intent")
	}
	for _, e := range slices.Concat([]Record{c.bundle.Request}, c.bundle.Approvals) {
		if e.Index >= r.Index {
			return refuse("the intent stands in the log before what it rests on")
		}
	}
	ev, err := c.evidence()
	if err != nil {
		return err
	}
	return c.state.IntentRestsOn(intent, ev, r.Index)
}

// IntentLeaf checks that the leaf of an intent is about its statement: the leaf's hash is that of
// salt and body, and the body names the envelope.
func IntentLeaf(r Record) error {
	if len(r.Salt) != audit.SaltSize {
		return refuse("the salt of the intent's leaf is missing")
	}
	body := audit.BodyHash([audit.SaltSize]byte(r.Salt), r.Record)
	if fmt.Sprintf("%x", body) != r.Body {
		return refuse("the body of the intent's leaf is not the one in the log")
	}
	envelope, err := r.Statement.Marshal()
	if err != nil {
		return err
	}
	if audit.EnvelopeHashOf(r.Record) != audit.EnvelopeHash(envelope) {
		return refuse("the intent's leaf is about another intent")
	}
	return nil
}

// IssuedBy checks that an issuer of the roster, as it stands before the place at, signed the
// statement, and returns it.
func (s *State) IssuedBy(e statement.Envelope, at int64, memory *Memory) (statement.Machine, error) {
	err := error(refuse("no issuer has signed it"))
	for _, sig := range e.Signatures {
		m, key, problem := s.Roster.MachineOf(sig.Key, statement.KeyStatement, at)
		if problem == nil && m.Use != statement.MachineIssuer {
			problem = refuse("%s is a %s, not an issuer", m.Name, m.Use)
		}
		if problem == nil {
			_, problem = memory.verify(e, e.Digest(), sig, key)
		}
		if problem == nil {
			return m, nil
		}
		err = problem
	}
	return statement.Machine{}, err
}

// IntentRestsOn checks that the intent names what it was judged on: the evidence, and chains
// that were there before its leaf.
func (s *State) IntentRestsOn(intent statement.Intent, ev Evidence, index int64) error {
	digest, err := ev.Basis()
	switch {
	case err != nil:
		return err
	case intent.Org != s.Roster.org:
		return refuse("the intent is of another organisation")
	case intent.Request != ev.Request.Envelope.ID():
		return refuse("the intent is for another request")
	case intent.Bundle != digest:
		return refuse("the intent rests on other evidence")
	case ev.Request.Index >= index || slices.ContainsFunc(ev.Approvals, func(a Entry) bool { return a.Index >= index }):
		return refuse("the intent stands in the log before what it rests on")
	case !s.Roster.knewBefore(intent.Roster, index):
		return refuse("the intent rests on a roster that is not ours")
	case !s.Catalog.knewBefore(intent.Catalog, index):
		return refuse("the intent rests on a catalog that is not ours")
	}
	return nil
}

func (c *checker) evidence() (Evidence, error) {
	return c.bundle.Evidence(func(r Record) int64 { return r.Index })
}

// judge makes the judgement again, as things stood when the intent came into the log.
func (c *checker) judge() error {
	ev, err := c.evidence()
	if err != nil {
		return err
	}
	intent := c.report.Intent
	if intent.At > c.now.Add(clockSlack).UnixMicro() {
		return refuse("the intent is from the future")
	}
	v, err := c.state.Judge(ev, c.bundle.Intent.Index, time.UnixMicro(intent.At), c.trust.Memory)
	if err != nil {
		return err
	}
	if err := MatchIntent(intent, v); err != nil {
		return err
	}
	c.report.Verdict = v
	c.reportVerdict(v)
	return nil
}

// MatchIntent checks that the intent is for exactly what the verdict gives.
func MatchIntent(intent statement.Intent, v *Verdict) error {
	switch {
	case !sameTerms(intent.Terms, v.Terms):
		return refuse("the intent is for other terms than were agreed to")
	case !slices.Equal(intent.Approvals, v.ApprovalIDs()):
		return refuse("the intent counts other approvals")
	case !slices.Equal(intent.Policies, v.Policies()):
		return refuse("the intent names other policies than decide")
	}
	return nil
}

// ApprovalIDs returns the ids of the approvals that counted, sorted.
func (v *Verdict) ApprovalIDs() []statement.ID {
	ids := make([]statement.ID, len(v.Approvals))
	for i, a := range v.Approvals {
		ids[i] = a.ID
	}
	slices.Sort(ids)
	return ids
}

// Policies returns the ids of the policies that decided, sorted.
func (v *Verdict) Policies() []string {
	return slices.Compact(slices.Sorted(slices.Values(v.Decision.Policies)))
}

func sameTerms(a, b statement.Terms) bool {
	return a.Person == b.Person && a.Role == b.Role && a.RoleDigest == b.RoleDigest && a.Duration == b.Duration &&
		a.Holder == b.Holder && slices.Equal(a.Targets, b.Targets) && slices.Equal(a.Logins, b.Logins)
}

func (c *checker) reportVerdict(v *Verdict) {
	signer := v.Key.Fingerprint
	if v.Request.Via == brevet.ViaSSH {
		signer += " as seen by " + string(v.Gateway.Name)
	}
	c.report.add(Holds, "request", fmt.Sprintf("%s, %s, %s, never used before", v.Request.Person, signer, stamp(v.Request.At)))
	_, number := c.state.Catalog.headBefore(c.bundle.Intent.Index)
	c.report.add(Holds, "policy", fmt.Sprintf("catalog %d, %s; evaluated again: same answer", number, strings.Join(v.Policies(), ", ")))
	for _, a := range v.Approvals {
		extent := "for exactly this request"
		if !sameTerms(a.Terms, v.Request.Terms) {
			extent = "for this request, narrowed to " + describe(a.Terms)
		}
		c.report.add(Holds, "approval", fmt.Sprintf("%s, %s, %s, %s", a.By, a.Key.Fingerprint, shownBy(a.Presence), extent))
	}
	for _, k := range append([]Key{v.Key}, keysOf(v.Approvals)...) {
		last, _ := c.state.Roster.Key(k.Fingerprint, never)
		if last.Retired != never && v.signedAt(k.Fingerprint) >= last.Since {
			c.report.add(Notice, "key", fmt.Sprintf("%s of %s was retired later; what it signed since %s is suspect", k.Fingerprint, k.Person, stamp(last.Since)))
		}
	}
}

// shownBy says what a signature shows of whoever made it.
func shownBy(p brevet.Presence) string {
	switch p {
	case brevet.NoPresence:
		return "no touch shown"
	case brevet.VerifiedPresence:
		return "touch and PIN or biometry"
	}
	return string(p)
}

func keysOf(approvals []Approval) []Key {
	keys := make([]Key, len(approvals))
	for i, a := range approvals {
		keys[i] = a.Key
	}
	return keys
}

// signedAt returns when the key signed what the verdict rests on.
func (v *Verdict) signedAt(fingerprint string) int64 {
	for _, a := range v.Approvals {
		if a.Key.Fingerprint == fingerprint {
			return a.At
		}
	}
	return v.Request.At
}

func describe(t statement.Terms) string {
	return fmt.Sprintf("%s on %s for %s", join(t.Logins), join(t.Targets), policy.FormatSeconds(t.Duration))
}

// grant checks that the issuer gave no more than it intended, and for no longer.
func (c *checker) grant() error {
	r, intent := c.bundle.Grant, c.report.Intent
	if !r.there() {
		return refuse("the proof has no grant")
	}
	g, err := statement.Open[statement.Grant](r.Statement)
	if err != nil {
		return within(err, "the grant")
	}
	m, err := c.state.IssuedBy(r.Statement, c.bundle.Intent.Index+1, c.trust.Memory)
	if err != nil {
		return within(err, "the grant")
	}
	switch {
	case g.Org != c.state.Roster.Org():
		return refuse("the grant is of another organisation")
	case m.Name != c.issuer.Name:
		return refuse("the grant is signed by %s, the intent by %s", m.Name, c.issuer.Name)
	case g.ID != c.report.Verdict.ID.Grant() || g.Request != intent.Request:
		return refuse("the grant is for another request")
	case !sameTerms(g.Terms, intent.Terms):
		return refuse("the grant gives other terms than were intended")
	case g.Intent != c.bundle.Intent.Statement.ID() || g.Index != c.bundle.Intent.Index:
		return refuse("the grant rests on another intent")
	case g.Roster != intent.Roster || g.Catalog != intent.Catalog || !slices.Equal(g.Approvals, intent.Approvals):
		return refuse("the grant rests on something else than its intent")
	case g.From < intent.At || g.From > intent.At+IntentFresh.Microseconds():
		return refuse("the grant does not begin soon after its intent")
	case g.To > g.From+intent.Duration.Duration().Microseconds():
		return refuse("the grant lasts longer than was agreed to")
	}
	c.report.Grant = g
	c.report.add(Holds, "grant", fmt.Sprintf("%s on %s until %s, held by gateway %s", join(g.Logins), join(g.Targets), stamp(g.To), g.Holder.Machine))
	if r.shown() {
		if err := c.place(r, r.Statement.ID()); err != nil {
			return err
		}
	} else {
		c.report.add(NotShown, "log", "not shown: that the grant itself stands in the log; its intent does")
	}
	c.report.add(Holds, "log", fmt.Sprintf("leaf %d of %d, checkpoint signed by the log and by %s", c.bundle.Intent.Index, c.signed.Size, c.issuer.Name))
	return nil
}

// certificate checks that the credential gives exactly what the grant does.
func (c *checker) certificate() error {
	if len(c.bundle.Certificate) == 0 {
		c.report.add(NotShown, "cert", "not shown: that the certificate gave no more than the grant; the proof has none, as when it was exported after the grant's end")
		return nil
	}
	want, err := CertificateFor(c.report.Grant, c.report.Verdict.Role, c.report.Verdict.Gateway)
	if err != nil {
		return err
	}
	cert, err := c.state.Roster.checkCertificate(c.bundle.Certificate, c.report.Grant, want, c.bundle.Intent.Index+1)
	if err != nil {
		return err
	}
	c.report.Certificate = cert
	c.report.add(Holds, "cert", fmt.Sprintf("serial %s, for %s, gives nothing else", c.report.Grant.Serial, strings.Join(want.Principals, ", ")))
	return nil
}

// over says what ended the grant, before its time or by it.
func (c *checker) over() error {
	c.report.Revoked = c.state.Over(c.report.Grant, c.report.Verdict.Key.Fingerprint)
	for _, h := range c.report.Revoked {
		c.report.add(Notice, "over", fmt.Sprintf("%s %s at %s: %s", h.By, overWords[h.What], stamp(h.At), brevet.Quote(h.Reason)))
	}
	if c.report.Expired = c.now.UnixMicro() >= c.report.Grant.To; c.report.Expired {
		c.report.add(Notice, "over", "its time ended at "+stamp(c.report.Grant.To))
	}
	return nil
}

var overWords = map[string]string{
	statement.RevokeRequest:    "ended the request",
	statement.RevokeGrant:      "ended the grant",
	statement.RevokeCredential: "ended the certificate",
	statement.RevokePerson:     "suspended the person",
	statement.RevokeKey:        "revoked the key",
}

// Over returns what was heard that ends the grant: of itself, its request, its certificate, its
// person, and the key that its person asked with.
func (s *State) Over(g statement.Grant, key string) []Heard {
	over := slices.Concat(
		s.Revoked.Of(statement.RevokeRequest, string(g.Request), never),
		s.Revoked.Of(statement.RevokeGrant, string(g.ID), never),
		s.Revoked.Of(statement.RevokeCredential, g.Serial, never),
		s.Revoked.Of(statement.RevokeKey, key, never),
		s.Revoked.Of(statement.RevokeKey, g.Holder.Key, never),
	)
	for _, h := range s.Revoked.Of(statement.RevokePerson, string(g.Person), never) {
		// A suspension ends the grants that there are, for good; lifting it brings none back.
		if lifted, ok := s.Roster.lifted[h.ID]; !ok || lifted > g.Index {
			over = append(over, h)
		}
	}
	return over
}

// recordings checks the events that close the recordings.
func (c *checker) recordings() error {
	for _, r := range c.bundle.Recordings {
		if r.Kind != "recording.sealed" || len(r.Salt) != audit.SaltSize {
			return refuse("an event of a recording is not one")
		}
		proof, err := hashes(r.Proof)
		if err != nil {
			return within(err, "the recording %s", brevet.Quote(r.Subject))
		}
		leaf := audit.Leaf{Kind: r.Kind, Subject: r.Subject, Body: audit.BodyHash([audit.SaltSize]byte(r.Salt), r.Record)}
		if err := audit.VerifyInclusion(c.signed, r.Index, leaf, proof); err != nil {
			return within(err, "the recording %s", brevet.Quote(r.Subject))
		}
		c.report.add(Holds, "recording", fmt.Sprintf("%s complete, root in leaf %d", r.Subject, r.Index))
	}
	return nil
}

// conclude says what the bundle cannot show.
func (c *checker) conclude() {
	if len(c.report.Revoked) == 0 && !c.report.Expired {
		c.report.add(NotShown, "", fmt.Sprintf("not shown: a revocation after the first %d events of the log, where this proof ends; a new export shows it", c.report.Size))
	}
	c.report.add(NotShown, "", "not shown: whether the issuer ran apart from the server; no other witness of the log")
}
