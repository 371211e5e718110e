package brevet

// Action is what somebody wants to do. Actions are the whole authorisation model, the
// administration of Brevet included.
type Action string

// The actions.
const (
	ActRequest    Action = "request"    // ask for a role, and wait for people
	ActActivate   Action = "activate"   // have a role at once
	ActApprove    Action = "approve"    // answer a request
	ActConnect    Action = "connect"    // use a grant
	ActJoin       Action = "join"       // watch a live session
	ActReplay     Action = "replay"     // play a recording
	ActRevoke     Action = "revoke"     // end a grant, a session
	ActAudit      Action = "audit"      // read the audit log
	ActAdminister Action = "administer" // change catalog, people, machines
)

// Outcome is the answer to a request.
type Outcome string

// The outcomes: at once, after people agreed, or not at all.
const (
	Allow  Outcome = "allow"
	Ask    Outcome = "ask"
	Refuse Outcome = "refuse"
)

// Decision is what policy says of a request, and why.
type Decision struct {
	Outcome  Outcome  `json:"outcome"`
	Policies []string `json:"policies"` // ids of the policies that decided, as in "sre.cedar#sre-may-ask"
	Reasons  []string `json:"reasons"`  // sentences: why, and what would change the answer
	Errors   []string `json:"errors"`   // evaluation errors; any of them makes the outcome Refuse
	Stages   []Stage  `json:"stages"`   // who must agree, when the outcome is Ask
}
