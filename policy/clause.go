package policy

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cedar-policy/cedar-go"
	cedarast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/brevet-pim/brevet"
)

// clause is one thing that a policy demands, to tell people which one they do not meet.
type clause struct {
	text   string        // as people read it: "context.hour < 17", "unless …"
	policy *cedar.Policy // permits where the clause holds
	reads  []string      // attributes of the context in it, sorted; claimed ones as "claimed.risk"
	claims claims        // claimed values in it
}

// clausesOf returns a function that takes the conditions apart, once, when somebody needs to know.
func clausesOf(tree *ast.Policy) func() []clause {
	return sync.OnceValue(func() []clause {
		var list []clause
		for _, c := range conjuncts(tree.Conditions) {
			alone := ast.Permit()
			alone.Conditions = []ast.ConditionType{c}
			policy := cedar.NewPolicyFromAST((*cedarast.Policy)(alone))
			list = append(list, clause{text: clauseText(policy, c), policy: policy, reads: contextReads(c.Body), claims: claimsRead(c.Body)})
		}
		return list
	})
}

// clauseText returns what stands between the braces. Text made from a policy is for people only:
// policies are kept and signed as they were written.
func clauseText(p *cedar.Policy, c ast.ConditionType) string {
	text := string(p.MarshalCedar())
	start, end := strings.IndexByte(text, '{'), strings.LastIndexByte(text, '}')
	if start < 0 || end < start {
		return "its condition"
	}
	text = oneLine(strings.Join(strings.Fields(text[start+1:end]), " "))
	if c.Condition == ast.ConditionUnless {
		return "unless " + text
	}
	return text
}

func contextReads(body ast.IsNode) []string {
	var names []string
	ast.Inspect(ast.NewNode(body), func(n ast.IsNode) bool {
		access, ok := n.(ast.NodeTypeAccess)
		switch {
		case ok && isClaimed(access.Arg):
			names = append(names, claimedName+"."+string(access.Value))
		case ok && isContext(access.Arg) && access.Value != claimedName:
			names = append(names, string(access.Value))
		}
		return true
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// clauseList makes clauses a PolicyIterator, so that all are tried in one question.
type clauseList []clause

func (l clauseList) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for i, c := range l {
			if !yield(clauseID(i), c.policy) {
				return
			}
		}
	}
}

func clauseID(i int) cedar.PolicyID { return cedar.PolicyID(fmt.Sprint(i)) }

// unmet returns the clauses of the policy that do not hold, each with the values that it read. One
// that reads a missing claimed value counts as met, as in worstCase.
func (v *view) unmet(e *entry, action brevet.Action, resource cedar.EntityUID, context cedar.Record, missing claims) []string {
	list := e.clauses()
	held := v.authorize(clauseList(list), action, resource, context).by
	var unmet []string
	for i, c := range list {
		if c.claims&missing == 0 && !slices.Contains(held, clauseID(i)) {
			unmet = append(unmet, c.text+valuesRead(c, context))
		}
	}
	return unmet
}

// valuesRead returns " (hour is 18)" for a clause that reads context.hour.
func valuesRead(c clause, context cedar.Record) string {
	var parts []string
	for _, name := range c.reads {
		record, attribute := context, name
		if claim, ok := strings.CutPrefix(name, claimedName+"."); ok {
			claimed, _ := context.Get(claimedName)
			record, _ = claimed.(cedar.Record)
			attribute = claim
		}
		if value, ok := record.Get(cedar.String(attribute)); ok {
			if text := formatValue(value); text != "" {
				parts = append(parts, fmt.Sprintf("%s is %s", name, text))
			}
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// formatValue writes a value for a sentence, or returns "" if it would be too long for one.
func formatValue(value cedar.Value) string {
	switch value := value.(type) {
	case cedar.String:
		if len(value) > 60 {
			return "long"
		}
		return brevet.Quote(string(value))
	case cedar.Duration:
		return FormatSeconds(brevet.Seconds(value.ToMilliseconds() / 1000))
	case cedar.Datetime:
		return value.Time().UTC().Format(time.RFC3339)
	case cedar.EntityUID:
		return string(value.ID)
	case cedar.Long, cedar.Boolean, cedar.IPAddr:
		return value.String()
	}
	return ""
}
