package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/brevet-pim/brevet"
)

// TestCheckNamesFileLineAndColumn holds whole lines, as people read them.
func TestCheckNamesFileLineAndColumn(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"good", sreMayAsk, nil},
		{"empty", "", nil},
		{"only a comment", "// nothing yet\n", nil},
		{"no semicolon", "permit (principal, action, resource)\n\npermit (principal, action, resource);",
			[]string{`a.cedar:3:1: not Cedar: "permit" stands where ";" must: see https://docs.cedarpolicy.com/policies/syntax-policy.html`}},
		{"an unknown effect", "// a comment\n  allow (principal, action, resource);",
			[]string{`a.cedar:2:3: not Cedar: unexpected effect: allow: see https://docs.cedarpolicy.com/policies/syntax-policy.html`}},
		{"an expression cut short", "permit (principal, action, resource)\nwhen { context.hour ~ 3 };",
			[]string{`a.cedar:2:21: not Cedar: "~" stands where "}" must: see https://docs.cedarpolicy.com/policies/syntax-policy.html`}},
		{"the end", "permit (principal, action, resource)",
			[]string{`a.cedar:1:37: not Cedar: the file ends where ";" must stand: see https://docs.cedarpolicy.com/policies/syntax-policy.html`}},
		{"an open string", `permit (principal == Person::"bob, action, resource);`,
			[]string{`a.cedar:1:30: not Cedar: literal not terminated: see https://docs.cedarpolicy.com/policies/syntax-policy.html`}},
		{"an action that is none", "permit (principal,\n  action == Action::\"conect\", resource);",
			[]string{"a.cedar:1:1: unrecognized action `Action::\"conect\"`: did you mean Action::\"connect\"?"}},
		{"a type that is none", `permit (principal in Team::"sre", action, resource);`,
			[]string{"a.cedar:1:1: unrecognized entity type `Team`: the types are Person, Group, Role, Target, System"}},
		{"an attribute that is none", "\n\npermit (principal, action in Action::\"elevate\", resource) when { context.hoor > 5 };",
			[]string{"a.cedar:3:1: attribute `hoor` in context is not there for activate, request: did you mean hour?"}},
		{"an attribute of other actions", `forbid (principal, action, resource is Role) when { context.ticket == "" };`,
			[]string{"a.cedar:1:1: attribute `ticket` in context is not there for connect, join, replay, revoke: name the actions that have it, as in action in Action::\"elevate\""}},
		{"an attribute that may be missing", `permit (principal, action, resource) when { context.source.isIpv4() };`,
			[]string{"a.cedar:1:1: attribute `source` in context may be missing for activate, administer, approve, audit, connect, join, replay, request, revoke: ask first: context has source && …"}},
		{"a word that never is", `forbid (principal, action, resource is Role) when { resource.sensitivity == "hihg" };`,
			[]string{`a.cedar:1:1: sensitivity is never "hihg": it is one of critical, high, low, medium`}},
		{"a word in a set that never is", `permit (principal, action, resource) when { ["monday", "tue"].contains(context.weekday) };`,
			[]string{`a.cedar:1:1: weekday is never "monday": it is one of fri, mon, sat, sun, thu, tue, wed`}},
		{"has of what never is", `forbid (principal, action, resource) when { context has incident };`,
			[]string{`a.cedar:1:1: nothing ever has "incident", so this is always false`}},
		{"two of one id", "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") permit (principal, action, resource);",
			[]string{"a.cedar:2:1: another policy is named a.cedar#a too: give each its own @id"}},
		{"an id that is no name", `@id("Nobody's") permit (principal, action, resource);`,
			[]string{`a.cedar:1:1: policy name "Nobody's": use lower-case letters a-z, digits and . _ - (first a letter or digit)`}},
		{"an annotation that nothing enforces", `@expires("2027") permit (principal, action, resource);`,
			[]string{"a.cedar:1:1: @expires is not enforced by this version: use @id and @description only"}},
		{"a claimed value in a permit", `permit (principal, action in Action::"elevate", resource) when { context.claimed.risk < 9 };`,
			[]string{"a.cedar:1:1: a permit rests on context.claimed, which is only what the control plane says: move the condition into a forbid; write context.NAME, never context by itself"}},
		{"a character that turns text around", "// ok\npermit (principal == Person::\"bob\u202e\", action, resource);",
			[]string{"a.cedar:2: the character U+202E cannot be seen, or changes how others look: remove it"}},
		{"a zero-width space", "permit (principal\u200b, action, resource);", []string{"a.cedar:1: the character U+200B cannot be seen, or changes how others look: remove it"}},
		{"a nul", "permit (principal, action, resource);\x00", []string{"a.cedar:1: the character U+0000 cannot be seen, or changes how others look: remove it"}},
		{"a lone carriage return hides a line", "// permit\rpermit (principal, action, resource);", []string{"a.cedar:1: the character U+000D cannot be seen, or changes how others look: remove it"}},
		{"lines of Windows", "// ok\r\npermit (principal, action, resource);\r\n", nil},
		{"not UTF-8", "// caf\xe9", []string{"a.cedar:1: the text is not UTF-8: save the file as UTF-8"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, p := range Check([]brevet.Policy{{Name: "a.cedar", Text: tt.text}}) {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// TestCheckIsTheSameEachTime holds the order of problems, which engines keep in maps.
func TestCheckIsTheSameEachTime(t *testing.T) {
	text := `forbid (principal, action, resource) when { context.ticket == "" && context.login == "x" && resource.owner == "y" && context.hoor > 1 };`
	first := Check([]brevet.Policy{{Name: "a.cedar", Text: text}}).Error()
	for range 50 {
		if again := Check([]brevet.Policy{{Name: "a.cedar", Text: text}}).Error(); again != first {
			t.Fatalf("got\n%s\nthen\n%s", first, again)
		}
	}
}

// TestCheckFindsEverythingAtOnce shows that one file's mistake does not hide another's.
func TestCheckFindsEverythingAtOnce(t *testing.T) {
	problems := Check([]brevet.Policy{
		{Name: "a.cedar", Text: "permit"},
		{Name: "b.cedar", Text: "permit (principal, action, resource) when { context.hoor > 1 };\nforbid (principal, action, resource is Role) when { resource.sensitivity == \"x\" };"},
		{Name: "c.cedar", Text: "@x(\"\") permit (principal, action, resource);"},
	})
	var at []string
	for _, p := range problems {
		at = append(at, p.File+":"+strings.Repeat("|", p.Line))
	}
	if diff := cmp.Diff([]string{"a.cedar:|", "b.cedar:|", "b.cedar:||", "c.cedar:|"}, at); diff != "" {
		t.Errorf("-want +got\n%s\n%v", diff, problems)
	}
}

// TestCheckIsBounded has texts that would keep a parser, a validator or an evaluator busy, or
// overflow its stack, which nothing could catch.
func TestCheckIsBounded(t *testing.T) {
	deep := func(open, shut string, n int) string {
		return "permit (principal, action, resource) when { " + strings.Repeat(open, n) + "true" + strings.Repeat(shut, n) + " };"
	}
	tests := []struct{ name, text, want string }{
		{"too large", "// " + strings.Repeat("x", MaxText), "the file has"},
		{"brackets", deep("(", ")", 100_000), "nested more than 64 deep"},
		{"sets", deep("[", "]", 100_000), "nested more than 64 deep"},
		{"records", deep("{a: ", "}", 40_000), "nested more than 64 deep"},
		{"ifs without brackets", "permit (principal, action, resource) when { " + strings.Repeat("if true then ", 15_000) + "true" + strings.Repeat(" else false", 15_000) + " };", ""},
		{"else ifs", "permit (principal, action, resource) when { " + strings.Repeat("if true then true else ", 10_000) + "true };", ""},
		{"nots", "permit (principal, action, resource) when { " + strings.Repeat("!", 200_000) + "true };", ""},
		{"minuses", "permit (principal, action, resource) when { " + strings.Repeat("-", 200_000) + "1 == 1 };", ""},
		{"ands", "permit (principal, action, resource) when { true" + strings.Repeat(" && true", 30_000) + " };", ""},
		{"sums", "permit (principal, action, resource) when { 1" + strings.Repeat(" + 1", 60_000) + " > 0 };", ""},
		{"conditions", "permit (principal, action, resource)" + strings.Repeat(" when { true }", 15_000) + ";", ""},
		{"members", "permit (principal, action, resource) when { context" + strings.Repeat(".a", 100_000) + " };", ""},
		{"policies", strings.Repeat("permit(principal,action,resource);\n", 7000), "-"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Check([]brevet.Policy{{Name: "a.cedar", Text: tt.text}})
			if tt.want == "-" {
				return // no more than an answer is asked for
			}
			if len(got.Errors()) == 0 || !strings.Contains(got.Error(), tt.want) {
				t.Errorf("got %.300s, want %q", got.Error(), tt.want)
			}
			if len(got.Error()) > 4000 {
				t.Errorf("%d bytes of problems", len(got.Error()))
			}
		})
	}
}

// TestPoliciesKeepTheirMeaning: what is stored is the text that was written, since engines have
// lost brackets and signs when they wrote policies anew (cedar-go before 1.6). The worst case and
// the clauses, which are made from trees, must mean what the text means too.
func TestPoliciesKeepTheirMeaning(t *testing.T) {
	tests := []struct {
		condition string
		want      bool
	}{
		{`!(context.hour == 10 && context.minute == 0)`, true},
		{`!(context.hour == 10) && context.minute == 0`, false},
		{`-(context.hour) == -10`, true},
		{`-context.hour + 20 == 10`, true},
		{`(1 - (2 - 3)) == 2`, true},
		{`(1 - 2 - 3) == -4`, true},
		{`(context.hour + 2) * 2 == 24`, true},
		{`(if context.hour == 10 then 1 else 2) == 1`, true},
		{`!(!(context.hour == 10))`, true},
		{`(context.hour == 9 || context.hour == 10) && context.minute == 30`, true},
		{`context.hour == 9 && context.minute == 30 || context.hour == 10`, true},
		{`context.reason like "restart\*"`, false},
		{`context.reason like "restart*"`, true},
		{`context.reason == "restart nginx\u{0}"`, false},
	}
	for _, tt := range tests {
		t.Run(tt.condition, func(t *testing.T) {
			s := compile(t, shop(`permit (principal, action == Action::"activate", resource) when { `+tt.condition+` };`))
			d := s.Decide(asks(nil))
			if (d.Outcome == brevet.Allow) != tt.want {
				t.Errorf("got %+v, want %t", d, tt.want)
			}
			// The clauses, taken apart, agree with the whole.
			v, _ := s.viewOf("bob")
			context := v.weighing(asks(nil), s.roles["web-root"]).answers[0].context
			if unmet := v.unmet(s.policies[0], brevet.ActActivate, roleUID("web-root"), context, 0); (len(unmet) == 0) != tt.want {
				t.Errorf("unmet clauses %q, want %t", unmet, tt.want)
			}
		})
	}
}

func TestCompileRefusesAmbiguousNouns(t *testing.T) {
	tests := []struct {
		name   string
		change func(*brevet.Catalog)
		want   string
	}{
		{"two roles", func(c *brevet.Catalog) { c.Roles = append(c.Roles, c.Roles[0]) }, "there are two roles web-root"},
		{"two targets", func(c *brevet.Catalog) { c.Targets = append(c.Targets, c.Targets[0]) }, "there are two targets web1"},
		{"two groups", func(c *brevet.Catalog) { c.Groups = append(c.Groups, brevet.Group{Name: "sre"}) }, "there are two groups sre"},
		{"a zone that is none", func(c *brevet.Catalog) { c.Roles[0].Zone = "Mars/Olympus" }, `there is no time zone "Mars/Olympus"`},
		{"a ticket that closes our bracket", func(c *brevet.Catalog) { c.Roles[0].Asks.Ticket = "x)|(?:.*" }, "is not an RE2 expression"},
		{"a policy that is none", func(c *brevet.Catalog) { c.Policies = []brevet.Policy{{Name: "p.cedar", Text: "permit"}} }, "p.cedar:1:"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := shop(sreMayAsk)
			tt.change(&c)
			_, err := Compile(c, staff)
			if brevet.KindOf(err) != brevet.Invalid || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
