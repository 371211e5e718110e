package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go"
	cedarast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/brevet-pim/brevet"
)

// Bounds on what is compiled. The parser and the evaluator recurse, and the validator's work
// grows faster than its input, so each is far above what a person writes and far below what hurts.
const (
	MaxText        = 256 << 10 // bytes of one file
	maxNesting     = 64        // brackets within brackets
	maxNodes       = 2000      // expressions in one policy
	maxDescription = 200       // bytes of a @description
)

// entry is one policy of a Set.
type entry struct {
	id          cedar.PolicyID // "<file>#<@id or number>"
	file        string
	at          ast.Position
	tree        *ast.Policy
	policy      *cedar.Policy
	description string                   // of its @description, or ""
	reads       claims                   // claimed values that it reads; of a permit none
	strict      map[claims]*cedar.Policy // of a forbid: the worst case for each set of missing values it reads
	clauses     func() []clause          // what stands in its conditions, made when first asked for
}

func (e *entry) permits() bool { return e.tree.Effect == ast.EffectPermit }

func (e *entry) problem(level Level, what, remedy string) Problem {
	return Problem{Level: level, File: e.file, Line: e.at.Line, Column: e.at.Column, What: what, Remedy: remedy}
}

// Check returns everything that is wrong with the texts of the policies, by themselves: syntax,
// schema, names, claimed values in permits. What they mean for a catalog is Lint's.
func Check(policies []brevet.Policy) Problems {
	_, problems := compileText(policies)
	return problems
}

// compileText parses and checks every file. The entries are complete only if there are no problems.
func compileText(policies []brevet.Policy) ([]*entry, Problems) {
	validator, err := newValidator()
	if err != nil {
		return nil, Problems{{Level: Error, What: err.Error()}}
	}
	var entries []*entry
	var problems Problems
	seen := map[cedar.PolicyID]bool{}
	for _, file := range policies {
		parsed, problem := parse(file)
		if problem != nil {
			problems = append(problems, *problem)
			continue
		}
		for _, e := range parsed {
			problems = append(problems, check(e, validator)...)
			if seen[e.id] {
				problems = append(problems, e.problem(Error, fmt.Sprintf("another policy is named %s too", e.id), "give each its own @id"))
			}
			seen[e.id] = true
		}
		entries = append(entries, parsed...)
	}
	problems.Sort()
	return entries, problems
}

// parse returns the policies of one file, in its order.
func parse(file brevet.Policy) ([]*entry, *Problem) {
	if problem := checkText(file); problem != nil {
		return nil, problem
	}
	list, err := cedar.NewPolicyListFromBytes(file.Name, []byte(file.Text))
	if err != nil {
		return nil, syntaxProblem(file, err)
	}
	var entries []*entry
	for i, p := range list {
		e := &entry{file: file.Name, policy: p, tree: (*ast.Policy)(p.AST())}
		e.at = e.tree.Position
		e.id = cedar.PolicyID(file.Name + "#" + strconv.Itoa(i+1))
		if id, ok := p.Annotations()["id"]; ok {
			e.id = cedar.PolicyID(file.Name + "#" + string(id))
		}
		e.description = string(p.Annotations()["description"])
		entries = append(entries, e)
	}
	return entries, nil
}

// checkText refuses text that would be read differently from how it looks, or that is too much
// for the parser.
func checkText(file brevet.Policy) *Problem {
	if len(file.Text) > MaxText {
		return &Problem{Level: Error, File: file.Name,
			What: fmt.Sprintf("the file has %d bytes, more than %d", len(file.Text), MaxText), Remedy: "divide it"}
	}
	line := 1
	for i, r := range file.Text {
		switch {
		case r == '\n':
			line++
		case r == utf8.RuneError && !utf8.ValidString(file.Text[i:min(len(file.Text), i+utf8.UTFMax)]) && !strings.HasPrefix(file.Text[i:], "\uFFFD"):
			return &Problem{Level: Error, File: file.Name, Line: line, What: "the text is not UTF-8", Remedy: "save the file as UTF-8"}
		case brevet.Misleading(r) && r != '\t' && !(r == '\r' && strings.HasPrefix(file.Text[i:], "\r\n")):
			return &Problem{Level: Error, File: file.Name, Line: line,
				What: fmt.Sprintf("the character %U cannot be seen, or changes how others look", r), Remedy: "remove it"}
		}
	}
	if line, deep := nestedTooDeep(file.Text); deep {
		return &Problem{Level: Error, File: file.Name, Line: line,
			What: fmt.Sprintf("brackets are nested more than %d deep", maxNesting), Remedy: "divide the policy"}
	}
	return nil
}

// nestedTooDeep returns the line where brackets outside strings and comments are nested too deep
// for the recursive parser, whose stack overflow nothing could catch.
func nestedTooDeep(text string) (line int, deep bool) {
	line, depth := 1, 0
	inString, inComment := false, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\n':
			line++
			inComment = false
		case inComment:
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '/' && strings.HasPrefix(text[i:], "//"):
			inComment = true
		case strings.IndexByte("([{", c) >= 0:
			if depth++; depth > maxNesting {
				return line, true
			}
		case strings.IndexByte(")]}", c) >= 0:
			depth--
		}
	}
	return 0, false
}

var (
	syntaxPosition = regexp.MustCompile(`<input>:(\d+):(\d+)`)
	syntaxPrefix   = regexp.MustCompile(`^(parser error: |parse error at |<input>:\d+:\d+:? ?|"(\\.|[^"])*": )+`)
	syntaxExpected = regexp.MustCompile(`^exact got (.*) want (.*)$`)
)

// syntaxProblem takes the position out of the parser's message.
func syntaxProblem(file brevet.Policy, err error) *Problem {
	p := &Problem{Level: Error, File: file.Name, Remedy: "see https://docs.cedarpolicy.com/policies/syntax-policy.html"}
	if m := syntaxPosition.FindStringSubmatch(err.Error()); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		p.Column, _ = strconv.Atoi(m[2])
	}
	what := syntaxPrefix.ReplaceAllString(err.Error(), "")
	if m := syntaxExpected.FindStringSubmatch(what); m != nil {
		what = fmt.Sprintf("%s stands where %s must", brevet.Quote(m[1]), brevet.Quote(m[2]))
		if m[1] == "" {
			what = fmt.Sprintf("the file ends where %s must stand", brevet.Quote(m[2]))
		}
	}
	if strings.Contains(err.Error(), "parse error at ") {
		p.Line, p.Column = tokenBefore(file.Text, p.Line, p.Column)
	}
	p.What = "not Cedar: " + oneLine(what)
	return p
}

// tokenBefore returns where the token before the given place begins: the parser names the place
// of the token after the one that it could not use. At the end of the text there is no such.
func tokenBefore(text string, line, column int) (int, int) {
	rest := text
	for range line - 1 {
		_, rest, _ = strings.Cut(rest, "\n")
	}
	after := []rune(rest)
	before := strings.TrimRight(text[:len(text)-len(rest)]+string(after[:min(max(column-1, 0), len(after))]), " \t\r\n")
	if len(strings.TrimSpace(string(after[min(max(column-1, 0), len(after)):]))) == 0 {
		return line, column
	}
	start := strings.TrimRightFunc(before, func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) })
	if start == before && start != "" {
		start = start[:len(start)-1] // an operator, of which the last character must do
	}
	lineStart := strings.LastIndexByte(start, '\n') + 1
	return strings.Count(start, "\n") + 1, utf8.RuneCountInString(start[lineStart:]) + 1
}

// check returns what is wrong with one parsed policy, and completes it.
func check(e *entry, validator *validate.Validator) Problems {
	problems := checkAnnotations(e)
	if n := countNodes(e.tree); n > maxNodes {
		return append(problems, e.problem(Error, fmt.Sprintf("the policy has %d expressions, more than %d", n, maxNodes), "divide it"))
	}
	if err := validator.Policy("", e.tree); err != nil {
		for _, text := range findings(err.Error()) {
			problems = append(problems, e.problem(Error, oneLine(text), remedyFor(text)))
		}
	}
	problems = append(problems, checkLiterals(e)...)
	problems = append(problems, checkClaims(e)...)
	e.clauses = clausesOf(e.tree)
	return problems
}

func checkAnnotations(e *entry) Problems {
	var problems Problems
	for _, a := range e.tree.Annotations {
		switch a.Key {
		case "id":
			if err := brevet.CheckName("policy", string(a.Value)); err != nil {
				problems = append(problems, e.problem(Error, message(err), ""))
			}
		case "description":
			if err := brevet.CheckText("@description", string(a.Value), false); err != nil {
				problems = append(problems, e.problem(Error, message(err), ""))
			}
			if len(a.Value) > maxDescription {
				problems = append(problems, e.problem(Error, fmt.Sprintf("@description has more than %d bytes", maxDescription), "shorten it"))
			}
		default:
			problems = append(problems, e.problem(Error, fmt.Sprintf("@%s is not enforced by this version", a.Key), "use @id and @description only"))
		}
	}
	return problems
}

// checkClaims refuses claimed values in a permit, and compiles the worst cases of a forbid.
func checkClaims(e *entry) Problems {
	for _, c := range e.tree.Conditions {
		e.reads |= claimsRead(c.Body)
	}
	if e.reads == 0 {
		return nil
	}
	if e.permits() {
		return Problems{e.problem(Error, "a permit rests on context.claimed, which is only what the control plane says",
			"move the condition into a forbid; write context.NAME, never context by itself")}
	}
	e.strict = map[claims]*cedar.Policy{}
	for missing := e.reads; missing > 0; missing = (missing - 1) & e.reads { // every non-empty subset
		e.strict[missing] = cedar.NewPolicyFromAST((*cedarast.Policy)(worstCase(e.tree, missing)))
	}
	return nil
}

// checkLiterals refuses what the validator lets through although it can never match, and so would
// switch a forbid off: words that an attribute never has, and `has` of what is no attribute.
func checkLiterals(e *entry) Problems {
	var problems Problems
	for _, c := range e.tree.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			for _, wrong := range wrongWords(n) {
				problems = append(problems, e.problem(Error, wrong.what, wrong.remedy))
			}
			if has, ok := n.(ast.NodeTypeHas); ok && !slices.Contains(attributeNames(), string(has.Value)) {
				problems = append(problems, e.problem(Error, fmt.Sprintf("nothing ever has %s, so this is always false", brevet.Quote(string(has.Value))),
					nearestAttribute(string(has.Value))))
			}
			return true
		})
	}
	return problems
}

type wrongWord struct{ what, remedy string }

// wrongWords returns the strings that n compares an attribute with and that it never has, as in
// `resource.sensitivity == "hihg"`: in a forbid that would let everything through.
func wrongWords(n ast.IsNode) []wrongWord {
	var left, right ast.IsNode
	switch n := n.(type) {
	case ast.NodeTypeEquals:
		left, right = n.Left, n.Right
	case ast.NodeTypeNotEquals:
		left, right = n.Left, n.Right
	case ast.NodeTypeContains:
		left, right = n.Left, n.Right
	}
	var wrong []wrongWord
	for _, pair := range [][2]ast.IsNode{{left, right}, {right, left}} {
		access, ok := pair[0].(ast.NodeTypeAccess)
		if !ok {
			continue
		}
		words := wordsOf(string(access.Value))
		for _, literal := range literalsOf(pair[1]) {
			if words != nil && !slices.Contains(words, literal) {
				wrong = append(wrong, wrongWord{
					fmt.Sprintf("%s is never %s", access.Value, brevet.Quote(literal)),
					"it is one of " + strings.Join(words, ", "),
				})
			}
		}
	}
	return wrong
}

// wordsOf returns the only values of the attributes of that name, or nil if any will do.
func wordsOf(name string) []string {
	var words []string
	look := func(list []attribute) {
		for _, a := range list {
			if strings.TrimSuffix(a.name, "?") == name {
				words = append(words, a.words...)
			}
		}
	}
	for _, t := range []cedar.EntityType{typePerson, typeRole, typeTarget} {
		look(entityAttributes[t])
	}
	for _, f := range forms {
		look(f.context)
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// literalsOf returns the strings of a string literal or of a set of them.
func literalsOf(n ast.IsNode) []string {
	switch n := n.(type) {
	case ast.NodeValue:
		if s, ok := n.Value.(cedar.String); ok {
			return []string{string(s)}
		}
	case ast.NodeTypeSet:
		var all []string
		for _, element := range n.Elements {
			all = append(all, literalsOf(element)...)
		}
		return all
	}
	return nil
}

func countNodes(p *ast.Policy) int {
	n := 0
	for _, c := range p.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(ast.IsNode) bool { n++; return true })
	}
	return n
}

// remedyFor suggests the attribute or action that was meant, where the validator's message has
// the one that was written between backquotes.
func remedyFor(text string) string {
	m := regexp.MustCompile("`([^`]*)`").FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	switch {
	case strings.HasPrefix(text, "unrecognized action"):
		var names []string
		for _, f := range forms {
			names = append(names, string(f.action))
		}
		name := strings.Trim(strings.TrimPrefix(m[1], "Action::"), `"`)
		if near, ok := brevet.Nearest(name, names); ok {
			return fmt.Sprintf("did you mean Action::%q?", near)
		}
		return "the actions are " + strings.Join(names, ", ")
	case strings.Contains(text, mayBeMissing):
		return fmt.Sprintf("ask first: context has %s && …", m[1])
	case strings.Contains(text, notThere) && slices.Contains(attributeNames(), m[1]):
		return "name the actions that have it, as in action in Action::\"elevate\""
	case strings.HasPrefix(text, "attribute"):
		return nearestAttribute(m[1][strings.LastIndexByte(m[1], '.')+1:])
	case strings.Contains(text, "entity type"):
		return "the types are Person, Group, Role, Target, System"
	}
	return ""
}

func nearestAttribute(name string) string {
	if near, ok := brevet.Nearest(name, attributeNames()); ok && near != name {
		return "did you mean " + near + "?"
	}
	return ""
}

func attributeNames() []string {
	var names []string
	for _, a := range claimedAttributes {
		names = append(names, a.name)
	}
	for _, list := range entityAttributes {
		for _, a := range list {
			names = append(names, a.name)
		}
	}
	for _, f := range forms {
		for _, a := range f.context {
			names = append(names, strings.TrimSuffix(a.name, "?"))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Findings of the validator that it has for one action at a time.
var (
	missingFor  = regexp.MustCompile(`^(attribute .*) for Action::"([A-Za-z]+)" not found$`)
	optionalFor = regexp.MustCompile("^unable to guarantee safety of access to optional (attribute .*) for Action::\"([A-Za-z]+)\"$")
)

// notApplicable says no more than a finding beside it.
const notApplicable = "unable to find an applicable action given the policy scope constraints"

// findings returns what the validator found, sorted, each thing once: it repeats itself for every
// action that a policy may meet, in no order.
func findings(text string) []string {
	actions := map[string][]string{} // of each finding that is for some actions only
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if m := missingFor.FindStringSubmatch(line); m != nil {
			what := m[1] + notThere
			actions[what] = append(actions[what], m[2])
		} else if m := optionalFor.FindStringSubmatch(line); m != nil {
			what := m[1] + mayBeMissing
			actions[what] = append(actions[what], m[2])
		} else if line != "" {
			actions[line] = nil
		}
	}
	if len(actions) > 1 {
		delete(actions, notApplicable)
	}
	var found []string
	for _, what := range slices.Sorted(maps.Keys(actions)) {
		found = append(found, what+strings.Join(sorted(actions[what]), ", "))
	}
	return found
}

const (
	notThere     = " is not there for "
	mayBeMissing = " may be missing for "
)

// oneLine makes foreign text fit for one line of a terminal.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if brevet.Misleading(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + "…"
	}
	return text
}

func message(err error) string {
	text, _ := brevet.MessageOf(err)
	return text
}
