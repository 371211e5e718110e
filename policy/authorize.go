package policy

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/cedar-policy/cedar-go"

	"github.com/brevet-pim/brevet"
)

// verdict is what the engine said of one action on one resource.
type verdict struct {
	allowed bool
	by      []cedar.PolicyID // the permits if allowed, else the forbids that matched; sorted
	errors  []string         // any of them means not allowed
}

// candidates are the policies of one question; a forbid that reads a claimed value that is
// missing stands in its worst case.
type candidates struct {
	entries []*entry
	missing claims
}

// All makes candidates a PolicyIterator.
func (c candidates) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, e := range c.entries {
			policy := e.policy
			if unknown := e.reads & c.missing; unknown != 0 {
				policy = e.strict[unknown]
			}
			if !yield(e.id, policy) {
				return
			}
		}
	}
}

// authorize is the one place that asks the engine. Cedar skips a policy whose evaluation errs,
// which for a forbid means letting through: here any error, a request that does not fit the
// schema, and a panic of the engine, all mean no.
func (v *view) authorize(policies cedar.PolicyIterator, action brevet.Action, resource cedar.EntityUID, context cedar.Record) (result verdict) {
	defer func() {
		if r := recover(); r != nil {
			result = verdict{errors: []string{oneLine(fmt.Sprintf("the policy engine failed: %v", r))}}
		}
	}()
	decision, diagnostic := cedar.Authorize(policies, v, cedar.Request{
		Principal: v.self.UID, Action: actionUID(action), Resource: resource, Context: context,
	})
	for _, e := range diagnostic.Errors {
		result.errors = append(result.errors, oneLine(fmt.Sprintf("policy %s: %s", e.PolicyID, e.Message)))
	}
	for _, reason := range diagnostic.Reasons {
		result.by = append(result.by, reason.PolicyID)
	}
	slices.Sort(result.by)
	slices.Sort(result.errors)
	result.allowed = decision == cedar.Allow && len(result.errors) == 0
	return result
}

// ask puts one action on one resource to the policies that concern it.
func (v *view) ask(action brevet.Action, resource cedar.EntityUID, context cedar.Record, missing claims) verdict {
	if err := v.fitsSchema(action, resource, context, missing); err != nil {
		return verdict{errors: []string{oneLine(err.Error())}}
	}
	return v.authorize(candidates{v.relevant(action, v.person, v.groups, resource), missing}, action, resource, context)
}

// fitsSchema validates a request as a policy is validated. Missing claimed values are the one
// thing that may be missing, since no policy that reads them is evaluated as written.
func (v *view) fitsSchema(action brevet.Action, resource cedar.EntityUID, context cedar.Record, missing claims) error {
	if missing != 0 && elevates(action) {
		whole := context.Map()
		whole[claimedName] = placeholderClaims
		context = cedar.NewRecord(whole)
	}
	return v.validator.Request(cedar.Request{
		Principal: v.self.UID, Action: actionUID(action), Resource: resource, Context: context,
	})
}

// placeholderClaims has a value for each claimed attribute, to check the rest of a context by.
var placeholderClaims = cedar.NewRecord(cedar.RecordMap{
	"risk": cedar.Long(0), "recentRequests": cedar.Long(0), "source": cedar.IPAddr{},
})

// clockFields are the attributes of clockContext: the instant, and what a clock on the wall of
// the zone shows then, whatever summer time does.
func clockFields(now time.Time, zone *time.Location, fields cedar.RecordMap) {
	local := now.In(zone)
	fields["now"] = cedar.NewDatetime(now)
	fields["hour"] = cedar.Long(local.Hour())
	fields["minute"] = cedar.Long(local.Minute())
	fields["weekday"] = cedar.String(weekdays[(int(local.Weekday())+6)%7])
}
