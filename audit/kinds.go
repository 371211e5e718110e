package audit

import "slices"

// Schema is the version of what an event's body holds under unmapped.brevet. It grows when
// a field changes its meaning or goes; fields that are added do not change it.
const Schema = 1

// OCSF is the version of the Open Cybersecurity Schema Framework that events are shaped by.
const OCSF = "1.5.0"

// Class is a class of OCSF: what sort of thing an event tells of.
type Class int

// The classes that Brevet's events belong to.
const (
	DetectionFinding     Class = 2004
	Authentication       Class = 3002
	AuthorizeSession     Class = 3003
	EntityManagement     Class = 3004
	UserAccess           Class = 3005
	ApplicationLifecycle Class = 6002
	APIActivity          Class = 6003
)

func (c Class) String() string {
	switch c {
	case DetectionFinding:
		return "Detection Finding"
	case Authentication:
		return "Authentication"
	case AuthorizeSession:
		return "Authorize Session"
	case EntityManagement:
		return "Entity Management"
	case UserAccess:
		return "User Access Management"
	case ApplicationLifecycle:
		return "Application Lifecycle"
	case APIActivity:
		return "API Activity"
	}
	return "Base Event"
}

// Severity is OCSF's severity_id.
type Severity int

// The severities. High and above is for what somebody should look at today.
const (
	Informational Severity = 1
	Low           Severity = 2
	Medium        Severity = 3
	High          Severity = 4
	Critical      Severity = 5
)

// other is OCSF's activity for what its class has no number for; activity_name says it.
const other = 99

// Kind is one kind of event: how it is classed for a SIEM, and what it says to a person.
type Kind struct {
	Name     string
	Class    Class
	Activity int    // OCSF's activity_id within the class
	Doing    string // activity_name
	Severity Severity
	Subject  string // what the event's subject is
	Meaning  string // one sentence: this happened
	// Statement: the event is a signed statement, kept beside its body.
	Statement bool
	// Lasting statements are never erased: the issuer demands them to follow roster,
	// catalog and revocations from the root.
	Lasting bool
}

// Kinds is every kind of event there is, in the order of docs/reference/events.md. An event of
// another kind is refused.
var Kinds = []Kind{
	// What people and machines signed.
	{Name: "root", Class: EntityManagement, Activity: 1, Doing: "Create", Severity: High, Subject: "statement", Statement: true, Lasting: true,
		Meaning: "Founders began the organisation, or its administrators replaced the root."},
	{Name: "enrol", Class: EntityManagement, Activity: 6, Doing: "Enroll", Severity: Medium, Subject: "statement", Statement: true, Lasting: true,
		Meaning: "Keys may act for people or workloads from now on."},
	{Name: "retire", Class: EntityManagement, Activity: 7, Doing: "Unenroll", Severity: Medium, Subject: "statement", Statement: true, Lasting: true,
		Meaning: "A key may no longer act for its person."},
	{Name: "reinstate", Class: EntityManagement, Activity: 13, Doing: "Resume", Severity: Medium, Subject: "statement", Statement: true, Lasting: true,
		Meaning: "A person's suspension was lifted."},
	{Name: "machine", Class: EntityManagement, Activity: 3, Doing: "Update", Severity: High, Subject: "statement", Statement: true, Lasting: true,
		Meaning: "A gateway, issuer, log or recorder is ours from now on, has other keys, or is no longer ours."},
	{Name: "catalog", Class: EntityManagement, Activity: 3, Doing: "Update", Severity: High, Subject: "statement", Statement: true, Lasting: true,
		Meaning: "Other roles, targets, policies or groups are in force; the detail has what changed."},
	{Name: "request", Class: UserAccess, Activity: other, Doing: "Request", Severity: Informational, Subject: "statement", Statement: true,
		Meaning: "Somebody asked for a role; the detail has policy's decision and why."},
	{Name: "approval", Class: UserAccess, Activity: other, Doing: "Approve", Severity: Informational, Subject: "statement", Statement: true,
		Meaning: "A person agreed to one exact request, or to a narrower one."},
	{Name: "revocation", Class: UserAccess, Activity: 2, Doing: "Revoke Privileges", Severity: Medium, Subject: "statement", Statement: true, Lasting: true,
		Meaning: "A request, grant, credential, person or key is over, by somebody's signature."},
	{Name: "intent", Class: UserAccess, Activity: other, Doing: "Intend", Severity: Informational, Subject: "statement of the request", Statement: true,
		Meaning: "The issuer will issue exactly this; from here on the request is spent."},
	{Name: "grant", Class: UserAccess, Activity: 1, Doing: "Assign Privileges", Severity: Informational, Subject: "statement", Statement: true,
		Meaning: "The issuer gave a privilege, with its beginning and end."},

	// The life of a request and of a grant.
	{Name: "request.ready", Class: UserAccess, Activity: other, Doing: "Agree", Severity: Informational, Subject: "request",
		Meaning: "Everybody who had to agree did; the issuer is next."},
	{Name: "approval.refused", Class: UserAccess, Activity: other, Doing: "Refuse", Severity: Medium, Subject: "request",
		Meaning: "Somebody signed a yes that does not count: to their own request, in another's name, or where they may not agree."},
	{Name: "request.refused", Class: UserAccess, Activity: other, Doing: "Refuse", Severity: Low, Subject: "request",
		Meaning: "Policy, a person or the issuer said no, for good."},
	{Name: "request.cancelled", Class: UserAccess, Activity: other, Doing: "Cancel", Severity: Informational, Subject: "request",
		Meaning: "Its requester took a request back."},
	{Name: "request.lapsed", Class: UserAccess, Activity: other, Doing: "Lapse", Severity: Informational, Subject: "request",
		Meaning: "Nobody answered a request in time."},
	{Name: "grant.ending", Class: UserAccess, Activity: 2, Doing: "Revoke Privileges", Severity: Informational, Subject: "grant",
		Meaning: "A grant is over, by expiry or revocation; its gateways are being told."},
	{Name: "grant.confirmed", Class: UserAccess, Activity: 2, Doing: "Revoke Privileges", Severity: Informational, Subject: "grant",
		Meaning: "One enforcement point confirmed that nothing of a grant is left with it."},
	{Name: "grant.ended", Class: UserAccess, Activity: 2, Doing: "Revoke Privileges", Severity: Informational, Subject: "grant",
		Meaning: "Nothing is left of a grant: every enforcement point confirmed."},

	// Sessions and recordings.
	{Name: "session.started", Class: AuthorizeSession, Activity: 1, Doing: "Assign Privileges", Severity: Informational, Subject: "session",
		Meaning: "A session through a gateway began under a grant."},
	{Name: "session.ended", Class: AuthorizeSession, Activity: other, Doing: "End", Severity: Informational, Subject: "session",
		Meaning: "A session ended; the detail has why."},
	{Name: "session.refused", Class: AuthorizeSession, Activity: other, Doing: "Refuse", Severity: Low, Subject: "session, or the event",
		Meaning: "A gateway refused an attempt: no grant, a forwarding, a subsystem, a wrong key."},
	{Name: "session.watched", Class: APIActivity, Activity: 2, Doing: "Read", Severity: Low, Subject: "session",
		Meaning: "Somebody watched a session while it went on."},
	{Name: "session.killed", Class: AuthorizeSession, Activity: other, Doing: "Kill", Severity: Medium, Subject: "session",
		Meaning: "Somebody ended another's session."},
	{Name: "recording.sealed", Class: AuthorizeSession, Activity: other, Doing: "Seal", Severity: Informational, Subject: "session",
		Meaning: "A recording is complete; the detail has its root and counts."},
	{Name: "recording.gap", Class: DetectionFinding, Activity: 1, Doing: "Create", Severity: High, Subject: "session",
		Meaning: "A recording is cut, or a part of it is missing or was changed."},
	{Name: "recording.played", Class: APIActivity, Activity: 2, Doing: "Read", Severity: Low, Subject: "session",
		Meaning: "Somebody played or exported a recording."},

	// Signing in.
	{Name: "signin", Class: Authentication, Activity: 1, Doing: "Logon", Severity: Informational, Subject: "statement", Statement: true,
		Meaning: "A person proved who they are with an enrolled key and got a token."},
	{Name: "signin.refused", Class: Authentication, Activity: 1, Doing: "Logon", Severity: Low, Subject: "event",
		Meaning: "A sign-in failed, or was not tried because of too many before it."},
	{Name: "token.revoked", Class: Authentication, Activity: 2, Doing: "Logoff", Severity: Informational, Subject: "person",
		Meaning: "Sign-in tokens of a person were ended before their time."},
	{Name: "invitation.created", Class: EntityManagement, Activity: 1, Doing: "Create", Severity: Low, Subject: "person",
		Meaning: "Somebody made a one-time code by which a person may offer a key."},
	{Name: "invitation.answered", Class: EntityManagement, Activity: 3, Doing: "Update", Severity: Low, Subject: "person",
		Meaning: "A key was offered with a one-time code; an administrator has yet to sign."},
	{Name: "invitation.withdrawn", Class: EntityManagement, Activity: 4, Doing: "Delete", Severity: Low, Subject: "person",
		Meaning: "Somebody withdrew a one-time code that no signature had made use of: it opens nothing any more."},
	{Name: "invitation.refused", Class: EntityManagement, Activity: other, Doing: "Refuse", Severity: Medium, Subject: "event",
		Meaning: "A one-time code was wrong, used or too old, or the key's possession was not shown."},

	// Reading the log.
	{Name: "audit.searched", Class: APIActivity, Activity: 2, Doing: "Read", Severity: Informational, Subject: "event",
		Meaning: "Somebody searched or followed the audit log; the detail has what for."},
	{Name: "audit.exported", Class: APIActivity, Activity: 2, Doing: "Read", Severity: Low, Subject: "event",
		Meaning: "Somebody exported events, grants or proofs."},
	{Name: KindErased, Class: APIActivity, Activity: 4, Doing: "Delete", Severity: Medium, Subject: "index of the event, or first-last of several",
		Meaning: "Retention erased the bodies of these events; their leaves stay, and the log still verifies."},

	// What somebody should look at.
	{Name: "issuer.refused", Class: DetectionFinding, Activity: 1, Doing: "Create", Severity: Critical, Subject: "request, or the event",
		Meaning: "The issuer saw a proof that does not hold: rows were changed, or somebody tries to get what nobody agreed to."},
	{Name: "log.mismatch", Class: DetectionFinding, Activity: 1, Doing: "Create", Severity: Critical, Subject: "event",
		Meaning: "The log's rows do not agree with a checkpoint of it."},
	{Name: "clock.jumped", Class: DetectionFinding, Activity: 1, Doing: "Create", Severity: High, Subject: "machine",
		Meaning: "A machine's clock moved by more than it should."},
	{Name: "job.failed", Class: DetectionFinding, Activity: 1, Doing: "Create", Severity: High, Subject: "what the job is for",
		Meaning: "Background work failed repeatedly; it goes on being tried."},

	// The parts of Brevet.
	{Name: "server.started", Class: ApplicationLifecycle, Activity: 3, Doing: "Start", Severity: Informational, Subject: "machine",
		Meaning: "A control plane came up."},
	{Name: "server.stopped", Class: ApplicationLifecycle, Activity: 4, Doing: "Stop", Severity: Informational, Subject: "machine",
		Meaning: "A control plane was asked to stop."},
	{Name: "gateway.joined", Class: ApplicationLifecycle, Activity: 3, Doing: "Start", Severity: Informational, Subject: "machine",
		Meaning: "A gateway connected to the control plane."},
	{Name: "gateway.left", Class: ApplicationLifecycle, Activity: 4, Doing: "Stop", Severity: Low, Subject: "machine",
		Meaning: "A gateway is no longer heard."},
}

// KindOf returns the kind of the given name, and whether there is one.
func KindOf(name string) (Kind, bool) {
	i := slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return Kind{}, false
	}
	return Kinds[i], true
}
