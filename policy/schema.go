package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/brevet-pim/brevet"
)

// The types of entity that policies speak of.
const (
	typePerson cedar.EntityType = "Person" // a person or a workload, as in PersonID
	typeGroup  cedar.EntityType = "Group"
	typeRole   cedar.EntityType = "Role"
	typeTarget cedar.EntityType = "Target"
	typeSystem cedar.EntityType = "System"
	typeAction cedar.EntityType = "Action"
)

// elevate is the action group of request and activate.
const elevate brevet.Action = "elevate"

// System is a part of Brevet itself, the resource of administer and audit.
type System string

// The parts of Brevet that policies can speak of.
const (
	SystemCatalog  System = "catalog"  // roles, targets, policies, groups
	SystemPeople   System = "people"   // enrolments, suspensions
	SystemMachines System = "machines" // gateways, issuer, log, recorder
	SystemAudit    System = "audit"    // the audit log
)

// Systems lists every part of Brevet that policies can speak of.
func Systems() []System {
	return []System{SystemAudit, SystemCatalog, SystemMachines, SystemPeople}
}

// attribute is a named, typed value of an entity or of a context. A name that ends in "?" is
// optional: the validator refuses a policy that reads it without `has`.
type attribute struct {
	name, typ string
	words     []string // if not nil, the only values; a policy that compares with another is refused
}

var (
	identityKinds = []string{string(brevet.Person), string(brevet.Workload)}
	targetKinds   = []string{string(brevet.SSHHost)}
	sensitivities = []string{string(brevet.Low), string(brevet.Medium), string(brevet.High), string(brevet.Critical)}
	recordings    = []string{string(brevet.RecordingOff), string(brevet.RecordingRequired)}
	presences     = []string{string(brevet.NoPresence), string(brevet.TouchPresence), string(brevet.VerifiedPresence)}
	vias          = []string{string(brevet.ViaCLI), string(brevet.ViaAPI), string(brevet.ViaSSH)}
	weekdays      = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
)

var (
	personAttributes = []attribute{{"kind", "String", identityKinds}}
	roleAttributes   = []attribute{
		{"sensitivity", "String", sensitivities},
		{"owner", "String", nil}, // person:NAME or group:NAME
		{"recording", "String", recordings},
		{"labels", "Set<String>", nil},   // those that its targets must have, each "key=value"
		{"logins", "Set<String>", nil},   // accounts that it gives
		{"approvers", "Set<Group>", nil}, // groups of its approval stages
	}
	targetAttributes = []attribute{
		{"kind", "String", targetKinds},
		{"sensitivity", "String", sensitivities},
		{"owner", "String", nil},
		{"labels", "Set<String>", nil}, // each "key=value"
	}
)

// entityAttributes are the attributes of each entity type that has any.
var entityAttributes = map[cedar.EntityType][]attribute{
	typePerson: personAttributes,
	typeRole:   roleAttributes,
	typeTarget: targetAttributes,
}

// The contexts, in pieces. The clock is that of the role's zone; of UTC for a System.
var (
	clockContext = []attribute{
		{"now", "datetime", nil},
		{"hour", "Long", nil},
		{"minute", "Long", nil},
		{"weekday", "String", weekdays},
	}
	callerContext = []attribute{
		{"via", "String", vias},
		{"presence", "String", presences}, // of the key that signed or authenticated
		{"keyAge", "duration", nil},       // since that key was enrolled
		{"source?", "ipaddr", nil},        // only where a gateway vouches for it
	}
	targetContext = []attribute{{"target", "Target", nil}}
	termsContext  = []attribute{
		{"duration", "duration", nil},
		{"logins", "Set<String>", nil},
		{"reason", "String", nil},
		{"ticket", "String", nil},
	}
	claimedContext = []attribute{{claimedName, "{" + attributeList(claimedAttributes) + "}", nil}}
	approveContext = []attribute{{"requester", "Person", nil}, {"group", "Group", nil}}
	holderContext  = []attribute{{"holder", "Person", nil}}
	loginContext   = []attribute{{"login", "String", nil}}
)

// form says what an action applies to and what its context has.
type form struct {
	action   brevet.Action
	resource cedar.EntityType
	context  []attribute
}

// forms is the whole authorisation model: every action that Brevet asks policy about.
var forms = []form{
	{brevet.ActRequest, typeRole, slices.Concat(clockContext, callerContext, targetContext, termsContext, claimedContext)},
	{brevet.ActActivate, typeRole, slices.Concat(clockContext, callerContext, targetContext, termsContext, claimedContext)},
	{brevet.ActApprove, typeRole, slices.Concat(clockContext, callerContext, targetContext, termsContext, approveContext)},
	{brevet.ActConnect, typeRole, slices.Concat(clockContext, callerContext, targetContext, holderContext, loginContext)},
	{brevet.ActJoin, typeRole, slices.Concat(clockContext, callerContext, targetContext, holderContext)},
	{brevet.ActReplay, typeRole, slices.Concat(clockContext, callerContext, targetContext, holderContext)},
	{brevet.ActRevoke, typeRole, slices.Concat(clockContext, callerContext, targetContext, holderContext)},
	{brevet.ActAudit, typeSystem, slices.Concat(clockContext, callerContext)},
	{brevet.ActAdminister, typeSystem, slices.Concat(clockContext, callerContext)},
}

// formOf returns the form of the action, and false for an action that policy is not asked about.
func formOf(action brevet.Action) (form, bool) {
	for _, f := range forms {
		if f.action == action {
			return f, true
		}
	}
	return form{}, false
}

// elevates reports whether the action gives privilege, and so belongs to the group "elevate".
func elevates(action brevet.Action) bool {
	return action == brevet.ActRequest || action == brevet.ActActivate
}

// Schema returns the Cedar schema that every policy is validated against, for people to read
// and for editors.
func Schema() string {
	var b strings.Builder
	fmt.Fprintf(&b, "entity %s;\n", typeGroup)
	fmt.Fprintf(&b, "entity %s in [%s] {%s};\n", typePerson, typeGroup, attributeList(personAttributes))
	fmt.Fprintf(&b, "entity %s {%s};\n", typeTarget, attributeList(targetAttributes))
	fmt.Fprintf(&b, "entity %s {%s};\n", typeRole, attributeList(roleAttributes))
	fmt.Fprintf(&b, "entity %s enum [%s];\n\n", typeSystem, quoted(Systems()))
	fmt.Fprintf(&b, "action %s;\n", quoted([]brevet.Action{elevate}))
	for _, f := range forms {
		group := ""
		if elevates(f.action) {
			group = " in [" + quoted([]brevet.Action{elevate}) + "]"
		}
		fmt.Fprintf(&b, "action %s%s appliesTo {\n  principal: [%s],\n  resource: [%s],\n  context: {%s}\n};\n",
			quoted([]brevet.Action{f.action}), group, typePerson, f.resource, attributeList(f.context))
	}
	return b.String()
}

func attributeList(list []attribute) string {
	var parts []string
	for _, a := range list {
		parts = append(parts, fmt.Sprintf("%s: %s", a.name, a.typ))
	}
	return strings.Join(parts, ", ")
}

func quoted[T ~string](words []T) string {
	var parts []string
	for _, w := range words {
		parts = append(parts, `"`+string(w)+`"`)
	}
	return strings.Join(parts, ", ")
}

// newValidator returns the validator for Schema, in strict mode.
func newValidator() (*validate.Validator, error) {
	var s schema.Schema
	if err := s.UnmarshalCedar([]byte(Schema())); err != nil {
		return nil, fmt.Errorf("parse the policy schema: %w", err)
	}
	resolved, err := s.Resolve()
	if err != nil {
		return nil, fmt.Errorf("resolve the policy schema: %w", err)
	}
	return validate.New(resolved, validate.WithStrict()), nil
}
