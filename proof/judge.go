package proof

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/statement"
)

// Evidence is a request and what was said to it.
type Evidence struct {
	Request   Entry
	Approvals []Entry // in the order of the log
	Claimed   policy.Claimed
}

// Verdict is what may be given on the evidence, and why.
type Verdict struct {
	Statement statement.ID // of the request
	ID        brevet.RequestID
	Request   statement.Request
	Key       Key // of the requester: that signed, or that the gateway saw
	Presence  brevet.Presence
	Role      brevet.Role
	Targets   []brevet.Target // those of Terms
	Gateway   statement.Machine
	Decision  brevet.Decision
	Approvals []Approval // that counted, in the order of the log
	Terms     statement.Terms
	ask       policy.Ask
}

// Approval is a yes that counted.
type Approval struct {
	statement.Approval
	ID       statement.ID
	Index    int64
	Key      Key
	Presence brevet.Presence
}

// Judge says what may be given on the evidence, as things stand before the place at of the log and
// at the time now. It makes the checks of TRUST §2 that need no intent: 2 the request, 3 policy,
// 4 the approvals, 6 the ends. That the chains lead from the root (1) is what a State is.
// A failure is a Refused error that says what is wrong.
func (s *State) Judge(ev Evidence, at int64, now time.Time, memory *Memory) (*Verdict, error) {
	j := &judge{state: s, evidence: ev, at: at, now: now, memory: memory, verdict: &Verdict{}}
	for _, check := range []func() error{j.acceptable, j.policy, j.approvals, j.terms} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	return j.verdict, nil
}

// acceptable makes the checks that need neither policy nor people.
func (j *judge) acceptable() error {
	for _, check := range []func() error{j.catalog, j.request, j.holder, j.role} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// judge is one judgement on its way.
type judge struct {
	state    *State
	evidence Evidence
	at       int64
	now      time.Time
	memory   *Memory
	compiled *Compiled
	verdict  *Verdict
	// What the approvals come to.
	counted    []int // by stage
	passedOver []PassedOver
}

// catalog finds what was in force.
func (j *judge) catalog() error {
	id, _ := j.state.Catalog.headBefore(j.at)
	if id == "" {
		return refuse("no catalog is in force")
	}
	var err error
	j.compiled, err = j.state.Catalog.Of(id)
	return err
}

// request checks that the request is in the log, in date, not taken back, and signed by a key that
// may ask for its person (check 2).
func (j *judge) request() error {
	e := j.evidence.Request
	digest := e.Envelope.Digest()
	req, err := open[statement.Request](j.memory, e.Envelope, digest)
	if err != nil {
		return within(err, "the request")
	}
	v := j.verdict
	v.Statement, v.ID, v.Request = idOf(digest), brevet.RequestIDOf(time.UnixMicro(req.At), digest), req
	if err := j.inTime("the request", req.Header, e.Index); err != nil {
		return err
	}
	// A grant may be revoked before it is there: its id is that of the request.
	over := slices.Concat(
		j.state.Revoked.Of(statement.RevokeRequest, string(v.Statement), j.at),
		j.state.Revoked.Of(statement.RevokeGrant, string(v.ID.Grant()), j.at),
	)
	if len(over) > 0 {
		return refuse("the request is over: %s said %s", over[0].By, brevet.Quote(over[0].Reason))
	}
	if req.Via == brevet.ViaSSH {
		err = j.seenByGateway(digest, req)
	} else {
		v.Key, v.Presence, err = j.signedBy(e, digest, req.Header, req.Person, statement.UseRequest)
	}
	if err != nil {
		return within(err, "the request")
	}
	return nil
}

// inTime checks what requests and approvals have in common: organisation, times and place.
func (j *judge) inTime(what string, h statement.Header, index int64) error {
	now := j.now.UnixMicro()
	switch {
	case h.Org != j.state.Roster.org:
		return refuse("%s is of another organisation", what)
	case index < 0 || index >= j.at:
		return refuse("%s does not stand in the log", what)
	case h.At > now+clockSlack.Microseconds():
		return refuse("%s is from the future", what).WithHint("set the clock of the computer that signed it")
	case now > h.Until:
		return refuse("%s is out of date since %s", what, stamp(h.Until))
	}
	return nil
}

// signedBy finds the signature of the person by a key with the use. The key must have been enrolled
// and in date when the statement was made and came into the log, and still be so now.
func (j *judge) signedBy(e Entry, digest [32]byte, h statement.Header, person brevet.PersonID, use statement.Use) (Key, brevet.Presence, error) {
	err := error(refuse("%s has not signed it", person))
	for _, sig := range e.Envelope.Signatures {
		k, problem := j.usable(sig.Key, e.Index, h.At, use)
		if problem == nil && k.Person != person {
			problem = refuse("key %s is of %s, not of %s", sig.Key, k.Person, person)
		}
		var presence brevet.Presence
		if problem == nil {
			presence, problem = j.memory.verify(e.Envelope, digest, sig, k.Public)
		}
		if problem == nil {
			return k, presence, nil
		}
		err = problem
	}
	return Key{}, brevet.NoPresence, err
}

// usable returns the key if it could be used in the log before index and at the time signed, and
// still can.
func (j *judge) usable(fingerprint string, index, signed int64, use statement.Use) (Key, error) {
	if _, err := j.state.Roster.KeyFor(fingerprint, use, index, signed); err != nil {
		return Key{}, err
	}
	return j.state.KeyFor(fingerprint, use, j.at, j.now.UnixMicro())
}

// seenByGateway checks a request that a gateway signed for a person whose key it saw. Its word is
// good for sessions through itself only, and shows no more presence than such a key can.
func (j *judge) seenByGateway(digest [32]byte, req statement.Request) error {
	e := j.evidence.Request
	err := error(refuse("the gateway %s has not signed it", req.Holder.Machine))
	for _, sig := range e.Envelope.Signatures {
		m, key, problem := j.machineOf(sig.Key, statement.KeyStatement, e.Index)
		switch {
		case problem != nil:
		case m.Use != statement.MachineGateway:
			problem = refuse("%s is a %s, not a gateway", m.Name, m.Use)
		case m.Name != req.Holder.Machine:
			problem = refuse("the gateway %s asks for a credential of %s: it may ask only for its own", m.Name, req.Holder.Machine)
		default:
			_, problem = j.memory.verify(e.Envelope, digest, sig, key)
		}
		if err = problem; err == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	k, err := j.usable(req.Seen.Key, e.Index, req.At, statement.UseRequest)
	switch {
	case err != nil:
		return err
	case k.Person != req.Person:
		return refuse("the gateway saw the key of %s, not of %s", k.Person, req.Person)
	case !presenceOfType(k.Public).AtLeast(req.Seen.Presence):
		return refuse("the gateway says %s of a key that cannot show it", req.Seen.Presence)
	}
	j.verdict.Key, j.verdict.Presence = k, req.Seen.Presence
	return nil
}

// presenceOfType returns the most that a gateway can see of a person behind the key: x/crypto
// demands touch of FIDO keys, and tells nothing of a PIN.
func presenceOfType(k statement.Key) brevet.Presence {
	if strings.HasPrefix(k.Public, ssh.KeyAlgoSKED25519+" ") || strings.HasPrefix(k.Public, ssh.KeyAlgoSKECDSA256+" ") {
		return brevet.TouchPresence
	}
	return brevet.NoPresence
}

// machineOf returns the machine that had the key for the use before index, and has it still.
func (j *judge) machineOf(fingerprint string, use statement.MachineUse, index int64) (statement.Machine, statement.Key, error) {
	if _, _, err := j.state.Roster.MachineOf(fingerprint, use, index); err != nil {
		return statement.Machine{}, statement.Key{}, err
	}
	if len(j.state.Revoked.Of(statement.RevokeKey, fingerprint, j.at)) > 0 {
		return statement.Machine{}, statement.Key{}, refuse("key %s is revoked", fingerprint)
	}
	return j.state.Roster.MachineOf(fingerprint, use, j.at)
}

// holder checks that the credential is for a gateway that serves the targets.
func (j *judge) holder() error {
	h := j.verdict.Request.Holder
	m, _, err := j.machineOf(h.Key, statement.KeyHolder, j.evidence.Request.Index)
	switch {
	case err != nil:
		return within(err, "the holder")
	case m.Name != h.Machine:
		return refuse("the holder's key is of %s, not of %s", m.Name, h.Machine)
	case m.Use != statement.MachineGateway:
		return refuse("the holder %s is a %s, not a gateway", m.Name, m.Use)
	}
	for _, id := range j.verdict.Request.Targets {
		target, ok := j.compiled.Target(id)
		if !ok {
			return refuse("there is no target %s", id)
		}
		if !m.Targets.Matches(target) {
			return refuse("the gateway %s does not serve %s", m.Name, id)
		}
	}
	j.verdict.Gateway = m
	return nil
}

// role checks that the role is the one that was asked for, to the letter, and still waits for answers.
func (j *judge) role() error {
	v := j.verdict
	role, digest, ok := j.compiled.Role(v.Request.Role)
	if !ok {
		return refuse("there is no role %s", v.Request.Role)
	}
	if digest != v.Request.RoleDigest {
		return refuse("the role %s has changed since it was asked for", role.Name).WithHint("ask again")
	}
	v.Role = role
	if wait := role.Limits.Wait.Duration(); wait > 0 && j.now.After(time.UnixMicro(v.Request.At).Add(wait+clockSlack)) {
		return refuse("nobody answered the request within %s", wait)
	}
	return nil
}

// policy evaluates the policies on the catalog and the inputs (check 3).
func (j *judge) policy() error {
	j.decide()
	return j.refusal()
}

// decide asks policy and keeps what it says.
func (j *judge) decide() {
	v := j.verdict
	v.ask = j.ask()
	v.Decision = j.set().Decide(v.ask)
}

// refusal returns policy's no as an error, or nil.
func (j *judge) refusal() error {
	d := j.verdict.Decision
	switch {
	case len(d.Errors) > 0:
		return refuse("policy cannot be evaluated: %s", d.Errors[0])
	case d.Outcome != brevet.Allow && d.Outcome != brevet.Ask:
		return refuse("policy refuses: %s", strings.Join(d.Reasons, "; "))
	}
	return nil
}

func (j *judge) set() *policy.Set { return j.compiled.Policy.WithPeople(j.state.InForce(j.at)) }

func (j *judge) ask() policy.Ask {
	v := j.verdict
	ask := policy.Ask{
		Person: v.Request.Person, Role: v.Request.Role, Targets: v.Request.Targets, Logins: v.Request.Logins,
		Duration: v.Request.Duration, Reason: v.Request.Reason, Ticket: v.Request.Ticket, Via: v.Request.Via,
		Presence: v.Presence, KeyAge: age(v.Key, j.now), Now: j.now, Claimed: j.evidence.Claimed,
	}
	if v.Request.Via == brevet.ViaSSH {
		ask.Source, _ = netip.ParseAddr(v.Request.Seen.Source) // statement.Open checked it
	}
	return ask
}

// age returns how long ago the key was enrolled.
func age(k Key, now time.Time) time.Duration { return max(0, now.Sub(time.UnixMicro(k.At))) }

// approvals checks that the people whom policy asks for have agreed (check 4): each stage has its
// number of yeses by distinct persons. A yes that does not count is passed over, and the reason is
// given if one too few is left.
func (j *judge) approvals() error {
	if err := j.count(); err != nil {
		return err
	}
	return j.enough()
}

// count finds the approvals that count. An error is a failure inside Brevet.
func (j *judge) count() error {
	v := j.verdict
	if v.Decision.Outcome == brevet.Allow {
		return nil
	}
	j.counted = make([]int, len(v.Decision.Stages))
	for _, e := range j.evidence.Approvals {
		a, err := j.approval(e)
		if err == nil {
			err = j.first(a.By)
		}
		if err != nil {
			if brevet.KindOf(err) == brevet.Internal {
				return err
			}
			message, _ := brevet.MessageOf(err)
			j.passedOver = append(j.passedOver, PassedOver{e.Envelope.ID(), message})
			continue
		}
		j.counted[a.Stage]++
		v.Approvals = append(v.Approvals, a)
	}
	return nil
}

// first refuses a person whose yes was counted already.
func (j *judge) first(by brevet.PersonID) error {
	for _, a := range j.verdict.Approvals {
		if a.By == by {
			return refuse("%s has agreed already, and counts once", by)
		}
	}
	return nil
}

// enough says which stage lacks an approval, or nil.
func (j *judge) enough() error {
	v := j.verdict
	if v.Decision.Outcome == brevet.Allow {
		return j.wordAlone()
	}
	if len(v.Decision.Stages) == 0 {
		return refuse("policy asks for approval, and the role %s says by nobody", v.Role.Name)
	}
	for i, stage := range v.Decision.Stages {
		if missing := stage.Count - j.counted[i]; missing > 0 || stage.Count < 1 {
			sentence := "stage " + ordinal(i) + " (" + string(stage.Group) + ") lacks an approval"
			return refuse("%s%s", sentence, j.whyPassedOver())
		}
	}
	return nil
}

func (j *judge) whyPassedOver() string {
	var b strings.Builder
	for i, p := range j.passedOver {
		b.WriteString([]string{": ", "; "}[min(i, 1)] + p.Why)
	}
	return b.String()
}

// wordAlone refuses what nobody but a gateway vouches for, above medium.
func (j *judge) wordAlone() error {
	v := j.verdict
	if v.Request.Via == brevet.ViaSSH && j.sensitivity().AtLeast(brevet.High) {
		return refuse("a gateway's word alone gives nothing above medium: a person must agree")
	}
	return nil
}

// sensitivity is the highest of the role and its targets.
func (j *judge) sensitivity() brevet.Sensitivity {
	highest := j.verdict.Role.Sensitivity
	for _, id := range j.verdict.Request.Targets {
		if target, _ := j.compiled.Target(id); target.Sensitivity.AtLeast(highest) {
			highest = target.Sensitivity
		}
	}
	return highest
}

// approval checks one yes. The error says why it does not count.
func (j *judge) approval(e Entry) (Approval, error) {
	digest := e.Envelope.Digest()
	said, err := open[statement.Approval](j.memory, e.Envelope, digest)
	if err != nil {
		return Approval{}, within(err, "an approval")
	}
	a := Approval{Approval: said, ID: idOf(digest), Index: e.Index}
	what := "the approval by " + string(a.By)
	for _, check := range []func() error{
		func() error { return j.inTime(what, a.Header, e.Index) },
		func() error { return j.answers(a, e.Index) },
		func() error { return j.mayAnswer(a) },
		func() error {
			a.Key, a.Presence, err = j.signedBy(e, digest, a.Header, a.By, statement.UseApprove)
			return err
		},
		func() error { return j.shows(a) },
		func() error { return j.permitted(a) },
	} {
		if err := check(); err != nil {
			return Approval{}, within(err, "%s", what)
		}
	}
	return a, nil
}

// answers checks that the approval is for exactly this request and no wider.
func (j *judge) answers(a Approval, index int64) error {
	req := j.verdict.Request
	switch {
	case a.Request != j.verdict.Statement:
		return refuse("it is for another request")
	case index < j.evidence.Request.Index:
		return refuse("it stands in the log before the request")
	case a.Person != req.Person:
		return refuse("it is for %s, not for %s", a.Person, req.Person)
	case a.Role != req.Role || a.RoleDigest != req.RoleDigest:
		return refuse("it is for another role than %s as it was asked for", req.Role)
	case a.Holder != req.Holder:
		return refuse("it is for another holder than %s", req.Holder.Machine)
	case a.Duration > req.Duration:
		return refuse("it is for %s, longer than was asked for", a.Duration.Duration())
	case a.Duration <= 0:
		return refuse("it is for no time at all")
	}
	for _, id := range a.Targets {
		if !slices.Contains(req.Targets, id) {
			return refuse("it is for %s, which was not asked for", id)
		}
	}
	for _, login := range a.Logins {
		if !slices.Contains(req.Logins, login) {
			return refuse("it is for the login %s, which was not asked for", login)
		}
	}
	return nil
}

// mayAnswer checks that the approver is somebody else, a person, and in the stage's group.
func (j *judge) mayAnswer(a Approval) error {
	req, roster := j.verdict.Request, j.state.Roster
	switch kind, ok := roster.Identity(a.By); {
	case a.By == req.Person:
		return refuse("nobody approves their own request")
	case a.By == roster.Owner(req.Person, j.at):
		return refuse("%s owns the workload %s", a.By, req.Person)
	case !ok:
		return refuse("there is nobody named %s", a.By)
	case kind != brevet.Person:
		return refuse("a workload approves nothing")
	case a.Stage < 0 || a.Stage >= int64(len(j.verdict.Decision.Stages)):
		return refuse("there is no stage %d", a.Stage+1)
	}
	if group := j.verdict.Decision.Stages[a.Stage].Group; !j.compiled.Member(group, a.By) {
		return refuse("%s is not in the group %s", a.By, group)
	}
	return nil
}

// shows checks what the approver's signature must show of the person. Unless the role says so
// itself, nothing of high sensitivity or above is approved with a key that shows nobody.
func (j *judge) shows(a Approval) error {
	need := j.verdict.Role.Asks.ApproverPresence
	if need == "" && j.sensitivity().AtLeast(brevet.High) {
		need = brevet.TouchPresence
	}
	if !a.Presence.AtLeast(need) {
		return showsTooLittle(a.By, need)
	}
	return nil
}

// showsTooLittle says what is missing, and how an approver comes to a key that shows it.
func showsTooLittle(by brevet.PersonID, need brevet.Presence) error {
	what, option := "touch", ""
	if need == brevet.VerifiedPresence {
		what, option = "PIN or biometry", " -O verify-required"
	}
	return refuse("the signature shows no %s, which the role asks for", what).
		WithHint("approve with a security key: ssh-keygen -t ed25519-sk%s makes one, and a code from brevet people invite %s --use approve enrols it", option, by)
}

// permitted asks policy whether the approver may answer. The time is that of the approval, since
// hours of answering are about when somebody answered.
func (j *judge) permitted(a Approval) error {
	req := j.verdict.Request
	signed := time.UnixMicro(a.At)
	may, decision := j.set().May(policy.Question{
		Person: a.By, Action: brevet.ActApprove, Via: ViaOfApprovals, Presence: a.Presence, KeyAge: age(a.Key, signed),
		Now: signed, Of: req.Person, Role: req.Role, Targets: req.Targets,
		Group:  j.verdict.Decision.Stages[a.Stage].Group,
		Logins: req.Logins, Duration: req.Duration, Reason: req.Reason, Ticket: req.Ticket,
	})
	if len(decision.Errors) > 0 {
		return refuse("policy cannot be evaluated: %s", decision.Errors[0])
	}
	if !may {
		return refuse("policy refuses: %s", strings.Join(decision.Reasons, "; "))
	}
	return nil
}

// ViaOfApprovals is the way that policy sees an approval come by, whichever it came: an approval
// is its own proof and does not say.
const ViaOfApprovals = brevet.ViaCLI

// terms finds what may be given: the narrowest of what was asked and of all yeses that counted,
// within what the role gives (check 6).
func (j *judge) terms() error {
	v := j.verdict
	t := v.Request.Terms
	t.Targets, t.Logins = slices.Clone(t.Targets), slices.Clone(t.Logins)
	for _, a := range v.Approvals {
		t.Duration = min(t.Duration, a.Duration)
		t.Targets = slices.DeleteFunc(t.Targets, func(id brevet.TargetID) bool { return !slices.Contains(a.Targets, id) })
		t.Logins = slices.DeleteFunc(t.Logins, func(login string) bool { return !slices.Contains(a.Logins, login) })
	}
	if len(t.Targets) == 0 || len(t.Logins) == 0 {
		return refuse("the approvals have no target and login in common")
	}
	if t.Duration <= 0 || t.Duration > v.Role.Limits.Duration {
		return refuse("%s lasts longer than the role %s gives", t.Duration.Duration(), v.Role.Name)
	}
	for _, login := range t.Logins {
		if !slices.Contains(v.Role.SSH.Logins, login) {
			return refuse("the role %s does not give the login %s", v.Role.Name, login)
		}
	}
	for _, id := range t.Targets {
		target, ok := j.compiled.Target(id)
		if !ok || !v.Role.Targets.Matches(target) {
			return refuse("the role %s gives nothing on %s", v.Role.Name, id)
		}
		v.Targets = append(v.Targets, target)
	}
	v.Terms = t
	return nil
}
