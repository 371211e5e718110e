package catalog

import (
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/policy"
)

// maxCases bounds the cases of a folder.
const maxCases = 10_000

// ReadCases reads the policy test cases of a folder: the *.yaml files in its folders named
// "tests", each a list like
//
//   - name: an SRE may ask for root, and needs a lead
//     who: bob
//     role: web-root
//     expect: ask
//     policies: [sre-may-ask]
//
// What a case leaves open is filled in by policy.Set.RunCases, but for the time: a case that names
// none is about a Wednesday at noon, UTC, so that its answer is the same on every day.
func ReadCases(fsys fs.FS) ([]policy.Case, []Problem) {
	files, problems := collect(fsys, func(name string) bool { return underCases(name) && isYAML(name) })
	r := &reader{positions: map[string]place{}, problems: problems}
	var cases []policy.Case
	for _, f := range files {
		docs, problems := parseTree(f.Name, f.Text)
		r.problems = append(r.problems, problems...)
		for _, doc := range docs {
			cases = append(cases, r.cases(f.Name, doc)...)
		}
	}
	if len(cases) > maxCases {
		r.problems = append(r.problems, Problem{Level: Error, What: fmt.Sprintf("there are more than %d cases", maxCases)})
	}
	r.problems.Sort()
	return cases, r.problems
}

func (r *reader) cases(file string, doc *node) []policy.Case {
	if doc.kind != isList {
		r.problems = append(r.problems, Problem{Level: Error, File: file, Line: doc.line, What: "test cases are a list, and this is " + string(doc.kind), Remedy: "begin each case with a dash"})
		return nil
	}
	var cases []policy.Case
	for i, item := range doc.items {
		o := &object{reader: r, file: file, node: item, noun: fmt.Sprintf("case %d", i+1)}
		if o.isMapping() {
			cases = append(cases, o.testCase())
		}
	}
	return cases
}

func (o *object) testCase() policy.Case {
	defer o.end()
	if name := o.text("name"); name != "" {
		o.name, o.noun = name, "case "+brevet.Quote(shorten(name))
	}
	c := policy.Case{
		Name: o.name, File: o.file, Line: o.node.line,
		Who:      brevet.PersonID(o.needed("who")),
		Kind:     word(o, "kind", brevet.Person, brevet.Workload),
		Groups:   texts[brevet.GroupName](o, "groups"),
		Action:   word(o, "action", brevet.ActRequest, brevet.ActActivate, brevet.ActApprove, brevet.ActConnect, brevet.ActJoin, brevet.ActReplay, brevet.ActRevoke, brevet.ActAudit, brevet.ActAdminister),
		Role:     brevet.RoleName(o.text("role")),
		Targets:  texts[brevet.TargetID](o, "targets"),
		Logins:   texts[string](o, "logins"),
		Duration: o.duration("duration", 0),
		Reason:   o.text("reason"),
		Ticket:   o.text("ticket"),
		Via:      word(o, "via", brevet.ViaCLI, brevet.ViaAPI, brevet.ViaSSH),
		Presence: word(o, "presence", brevet.NoPresence, brevet.TouchPresence, brevet.VerifiedPresence),
		KeyAge:   o.duration("key_age", 0).Duration(),
		Source:   o.address("source"),
		At:       o.time("at", time.Date(2026, time.January, 7, 12, 0, 0, 0, time.UTC)),
		Claimed:  o.claimed("claimed"),
		Of:       brevet.PersonID(o.text("of")),
		Group:    brevet.GroupName(o.text("group")),
		System:   word(o, "system", policy.Systems()...),
		Policies: texts[string](o, "policies"),
	}
	o.needed("expect")
	c.Expect = word(o, "expect", brevet.Allow, brevet.Ask, brevet.Refuse)
	if o.has("groups") && c.Groups == nil {
		c.Groups = []brevet.GroupName{} // none at all, not those of the catalog
	}
	if o.has("policies") && c.Policies == nil {
		c.Policies = []string{} // none may have decided
	}
	return c
}

// needed reads a text that must be there.
func (o *object) needed(field string) string {
	if !o.has(field) {
		o.wrong("", "has no "+field, "add "+field+": …")
	}
	return o.text(field)
}

// word reads a text that is one of a few words.
func word[T ~string](o *object, field string, words ...T) T {
	v := T(o.text(field))
	if v == "" {
		return v
	}
	c := checker{noun: o.noun}
	c.oneOf(field, string(v), asStrings(words)...)
	for _, p := range c.problems {
		p.File, p.Line, p.Column = o.file, o.find(field).line, o.find(field).column
		o.reader.problems = append(o.reader.problems, p)
	}
	return v
}

func (o *object) address(field string) netip.Addr {
	text := o.text(field)
	if text == "" {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		o.wrong(field, brevet.Quote(shorten(text))+" is not an address", "write one like 10.1.4.7")
		return netip.Addr{}
	}
	return a
}

func (o *object) time(field string, otherwise time.Time) time.Time {
	text := o.text(field)
	if text == "" {
		return otherwise
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		o.wrong(field, brevet.Quote(shorten(text))+" is not a time", "write one like 2026-06-01T10:30:00+02:00")
		return otherwise
	}
	return t
}

func (o *object) claimed(field string) policy.Claimed {
	c := o.child(field)
	if c == nil {
		return policy.Claimed{}
	}
	defer c.end()
	return policy.Claimed{Risk: c.number("risk"), RecentRequests: c.number("recent_requests"), Source: c.address("source")}
}

// number returns a whole number, or nil if the field is not there.
func (o *object) number(field string) *int64 {
	if !o.has(field) {
		o.asked = append(o.asked, field)
		return nil
	}
	n := int64(o.integer(field, 0))
	return &n
}
