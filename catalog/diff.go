package catalog

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/policy"
)

// Diff returns what changes from one catalog to the next, a line each, in the order roles,
// targets, groups, policies. A noun that comes or goes begins with + or -, one that changes with ~
// and is followed by its fields; a policy, by its lines. It looks at everything that the manifest
// holds, so that no change can hide from whoever signs it; equal catalogs give no line. What
// people wrote is in the lines as it is: whoever shows them escapes it.
func Diff(before, after brevet.Catalog) []string {
	return slices.Concat(
		diffNouns("role", before.Roles, after.Roles, func(r brevet.Role) string { return string(r.Name) }, describeRole),
		diffNouns("target", before.Targets, after.Targets, func(t brevet.Target) string { return string(t.ID) }, describeTarget),
		diffNouns("group", before.Groups, after.Groups, func(g brevet.Group) string { return string(g.Name) }, describeGroup),
		diffPolicies(before.Policies, after.Policies),
	)
}

func describeRole(r brevet.Role) string {
	needs := "nobody has to agree"
	if len(r.Approval) > 0 {
		needs = "asks " + stagesInWords(r.Approval)
	}
	return fmt.Sprintf("%s for up to %s, %s, recording %s", strings.Join(r.SSH.Logins, ", "), policy.FormatSeconds(r.Limits.Duration), needs, r.Recording)
}

func stagesInWords(stages []brevet.Stage) string {
	parts := make([]string, len(stages))
	for i, s := range stages {
		parts[i] = fmt.Sprintf("%d of %s", s.Count, s.Group)
	}
	return strings.Join(parts, ", then ")
}

func describeTarget(t brevet.Target) string { return fmt.Sprintf("%s, %s", t.Address, t.Sensitivity) }

func describeGroup(g brevet.Group) string { return orNobody(strings.Join(asStrings(g.Members), ", ")) }

func orNobody(s string) string {
	if s == "" {
		return "nobody"
	}
	return s
}

// diffNouns compares two lists by name.
func diffNouns[T any](kind string, before, after []T, name func(T) string, describe func(T) string) []string {
	old, now := byName(before, name), byName(after, name)
	var lines []string
	for _, n := range namesOf(old, now) {
		a, was := old[n]
		b, is := now[n]
		switch {
		case !was:
			lines = append(lines, fmt.Sprintf("+ %s %s: %s", kind, n, describe(b)))
		case !is:
			lines = append(lines, fmt.Sprintf("- %s %s: %s", kind, n, describe(a)))
		default:
			if fields := diffFields("", valueOf(a), valueOf(b)); len(fields) > 0 {
				lines = append(lines, fmt.Sprintf("~ %s %s", kind, n))
				lines = append(lines, fields...)
			}
		}
	}
	return lines
}

func byName[T any](list []T, name func(T) string) map[string]T {
	named := make(map[string]T, len(list))
	for _, one := range list {
		named[name(one)] = one
	}
	return named
}

// namesOf returns the keys of both maps, each once, sorted.
func namesOf[T any](a, b map[string]T) []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(names)
	return slices.Compact(names)
}

// valueOf returns a noun as JSON has it, so that a field that is added to the vocabulary later is
// compared too.
func valueOf(noun any) any {
	b, err := json.Marshal(noun)
	if err != nil {
		return err.Error() // cannot be: nouns are text, numbers and lists of them
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err.Error()
	}
	return v
}

// diffFields returns a line for each field below path that differs.
func diffFields(path string, before, after any) []string {
	a, aIsMap := before.(map[string]any)
	b, bIsMap := after.(map[string]any)
	if aIsMap && bIsMap {
		var lines []string
		for _, key := range namesOf(a, b) {
			lines = append(lines, diffFields(strings.TrimPrefix(path+"."+key, "."), a[key], b[key])...)
		}
		return lines
	}
	if sameJSON(before, after) {
		return nil
	}
	if came, went, ok := diffLists(before, after); ok && len(came)+len(went) == 0 {
		return nil // no list and an empty one are the same
	} else if ok {
		return []string{fmt.Sprintf("    %s%s%s", path, listed(" +", came), listed(" -", went))}
	}
	return []string{fmt.Sprintf("    %s %s → %s", path, inWords(path, before), inWords(path, after))}
}

func sameJSON(a, b any) bool { return inJSON(a) == inJSON(b) }

func inJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// diffLists compares two lists of text, which in a manifest are sets.
func diffLists(before, after any) (came, went []string, ok bool) {
	a, aOK := textList(before)
	b, bOK := textList(after)
	if !aOK || !bOK {
		return nil, nil, false
	}
	without := func(list, other []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(other, s) })
	}
	came, went = without(b, a), without(a, b)
	return came, went, true
}

// textList returns v as a list of text; nothing is an empty list.
func textList(v any) ([]string, bool) {
	if v == nil {
		return nil, true
	}
	items, ok := v.([]any)
	if !ok {
		return nil, false
	}
	list := make([]string, len(items))
	for i, item := range items {
		if list[i], ok = item.(string); !ok {
			return nil, false
		}
	}
	return list, true
}

func listed(sign string, list []string) string {
	if len(list) == 0 {
		return ""
	}
	return sign + " " + strings.Join(list, ", ")
}

// inWords shows the value of a field. Limits are durations in seconds.
func inWords(path string, v any) string {
	switch n, isNumber := v.(float64); {
	case v == nil || v == "":
		return "nothing"
	case isNumber && strings.HasPrefix(path, "limits."):
		return policy.FormatSeconds(brevet.Seconds(n))
	}
	return inJSON(v)
}

func diffPolicies(before, after []brevet.Policy) []string {
	name := func(p brevet.Policy) string { return p.Name }
	old, now := byName(before, name), byName(after, name)
	var lines []string
	for _, n := range namesOf(old, now) {
		a, was := old[n]
		b, is := now[n]
		if a.Text == b.Text && was == is {
			continue
		}
		sign := "~"
		switch {
		case !was:
			sign = "+"
		case !is:
			sign = "-"
		}
		lines = append(lines, fmt.Sprintf("%s policy file %s", sign, n))
		lines = append(lines, diffText(a.Text, b.Text)...)
	}
	return lines
}

// maxTable bounds the table of diffText; beyond it all lines that are not at either end show as changed.
const maxTable = 4 << 20

// diffText returns the lines that went and came, in order, with their signs.
func diffText(before, after string) []string {
	a, b := textLines(before), textLines(after)
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	var lines []string
	went := func(s string) { lines = append(lines, "    - "+s) }
	came := func(s string) { lines = append(lines, "    + "+s) }
	i, j := 0, 0
	if len(a)*len(b) <= maxTable {
		common := commonSuffixes(a, b)
		for i < len(a) && j < len(b) {
			switch {
			case a[i] == b[j]:
				i, j = i+1, j+1
			case common[i+1][j] >= common[i][j+1]:
				went(a[i])
				i++
			default:
				came(b[j])
				j++
			}
		}
	}
	for ; i < len(a); i++ {
		went(a[i])
	}
	for ; j < len(b); j++ {
		came(b[j])
	}
	return lines
}

func textLines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

// commonSuffixes returns, for each pair of positions, how long the longest common subsequence
// of what follows is.
func commonSuffixes(a, b []string) [][]int32 {
	table := make([][]int32, len(a)+1)
	for i := range table {
		table[i] = make([]int32, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				table[i][j] = table[i+1][j+1] + 1
			} else {
				table[i][j] = max(table[i+1][j], table[i][j+1])
			}
		}
	}
	return table
}
