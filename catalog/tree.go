package catalog

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/brevet-pim/brevet"
)

// Bounds on one YAML file. The parser's time grows with the square of a document's keys and of
// its nesting, so that both are bounded before it runs.
const (
	maxLine     = 8 << 10 // bytes in a line: an RSA key of 16384 bits has 2800
	maxNesting  = 32      // flow brackets within each other, and levels of a document
	maxKeys     = 4000    // keys in one document
	maxDocument = 20_000  // documents in one file
)

// node is a value of a YAML file, of the few kinds that a catalog needs, and where it stands.
type node struct {
	kind         kind
	line, column int
	text         string  // of a scalar: its value
	pairs        []pair  // of a mapping, in the order of the file
	items        []*node // of a list
}

type pair struct {
	key          string
	line, column int
	value        *node
}

type kind string

const (
	isMapping kind = "a mapping"
	isList    kind = "a list"
	isText    kind = "text"
	isNumber  kind = "a number"
	isBool    kind = "true or false"
	isNull    kind = "nothing"
)

// parseTree returns the documents of one YAML file. Anchors, aliases, tags, merge keys and
// directives are refused: no file may mean more than it shows.
func parseTree(file, text string) ([]*node, Problems) {
	if p := checkShape(file, text); p != nil {
		return nil, Problems{*p}
	}
	tree, err := parser.ParseBytes([]byte(text), 0, parser.AllowDuplicateMapKey()) // doubled keys are reported by convert, all of them
	if err != nil {
		return nil, Problems{syntaxProblem(file, err)}
	}
	c := converter{file: file}
	var docs []*node
	for _, doc := range tree.Docs {
		if doc.Body == nil {
			continue
		}
		if n := c.convert(doc.Body, 0); n != nil && n.kind != isNull {
			docs = append(docs, n)
		}
	}
	return docs, c.problems
}

// checkShape refuses, by the tokens alone, what would keep the parser busy.
func checkShape(file, text string) *Problem {
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if len(line) > maxLine {
			return &Problem{Level: Error, File: file, Line: i + 1, What: fmt.Sprintf("the line has more than %d bytes", maxLine), Remedy: "divide it"}
		}
		if err := brevet.CheckText("the line", line, true); err != nil {
			return &Problem{Level: Error, File: file, Line: i + 1, What: message(err)}
		}
	}
	depth, keys, documents := 0, 0, 1
	for _, t := range lexer.Tokenize(text) {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.MappingValueType:
			keys++
		case token.DocumentHeaderType:
			depth, keys = 0, 0
			documents++
		}
		if depth > maxNesting || keys > maxKeys || documents > maxDocument {
			return &Problem{Level: Error, File: file, Line: t.Position.Line,
				What: "the file is nested too deep or has too many keys in a document", Remedy: "divide it by lines of ---"}
		}
	}
	return nil
}

// syntaxProblem takes position and message out of the parser's error.
func syntaxProblem(file string, err error) Problem {
	p := Problem{Level: Error, File: file, What: "not YAML"}
	var syntax yaml.Error
	if errors.As(err, &syntax) {
		p.What = "not YAML: " + shorten(visible(syntax.GetMessage()))
		if t := syntax.GetToken(); t != nil && t.Position != nil {
			p.Line, p.Column = t.Position.Line, t.Position.Column
		}
	}
	return p
}

type converter struct {
	file     string
	problems Problems
}

func (c *converter) wrong(n ast.Node, what, remedy string) *node {
	line, column := position(n)
	c.problems = append(c.problems, Problem{Level: Error, File: c.file, Line: line, Column: column, What: what, Remedy: remedy})
	return nil
}

func position(n ast.Node) (line, column int) {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line, t.Position.Column
	}
	return 0, 0
}

// convert returns n as a node, or nil after having reported why not.
func (c *converter) convert(n ast.Node, depth int) *node {
	if depth > maxNesting {
		return c.wrong(n, "the file is nested too deep", "")
	}
	out := &node{}
	out.line, out.column = position(n)
	switch n := n.(type) {
	case *ast.MappingNode:
		out.kind = isMapping
		if !n.IsFlowStyle && len(n.Values) > 0 { // its token is the first colon, and it begins with the first key
			out.line, out.column = position(n.Values[0].Key)
		}
		return c.convertPairs(out, n.Values, depth)
	case *ast.MappingValueNode:
		out.kind = isMapping
		out.line, out.column = position(n.Key)
		return c.convertPairs(out, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		out.kind = isList
		for _, v := range n.Values {
			if item := c.convert(v, depth+1); item != nil {
				out.items = append(out.items, item)
			}
		}
	case *ast.StringNode:
		out.kind, out.text = isText, n.Value
	case *ast.LiteralNode:
		out.kind, out.text = isText, n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		out.kind, out.text = isNumber, n.GetToken().Value
	case *ast.BoolNode:
		out.kind, out.text = isBool, n.GetToken().Value
	case *ast.NullNode:
		out.kind = isNull
	case *ast.AnchorNode, *ast.AliasNode:
		return c.wrong(n, "anchors and aliases are not read here", "write the value out")
	case *ast.TagNode:
		return c.wrong(n, "tags are not read here", "leave the tag out")
	default:
		return c.wrong(n, fmt.Sprintf("%s is not read here", strings.ToLower(n.Type().String())), "write plain keys, lists and text")
	}
	return out
}

func (c *converter) convertPairs(out *node, values []*ast.MappingValueNode, depth int) *node {
	seen := map[string]int{}
	for _, v := range values {
		key, ok := v.Key.(*ast.StringNode)
		if !ok {
			c.wrong(v, fmt.Sprintf("%s is not a plain key", brevet.Quote(shorten(v.Key.String()))), "write a name, in quotes if it is a number")
			continue
		}
		line, column := position(key)
		if first, again := seen[key.Value]; again {
			c.wrong(key, fmt.Sprintf("%s is given twice", brevet.Quote(shorten(key.Value))), fmt.Sprintf("it stands in line %d too; keep one", first))
			continue
		}
		seen[key.Value] = line
		if value := c.convert(v.Value, depth+1); value != nil {
			out.pairs = append(out.pairs, pair{key: key.Value, line: line, column: column, value: value})
		}
	}
	return out
}

// visible writes out the characters that could not be seen, or would act on a terminal.
func visible(s string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "?") {
		if brevet.Misleading(r) {
			fmt.Fprintf(&b, "%U", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// shorten cuts hostile text to what fits in a message.
func shorten(s string) string {
	if len(s) <= 60 {
		return s
	}
	return strings.ToValidUTF8(s[:60], "") + "…"
}

func message(err error) string {
	text, _ := brevet.MessageOf(err)
	return text
}

// sentence returns message and hint of the error as what and remedy of a problem.
func sentence(err error) (what, remedy string) { return brevet.MessageOf(err) }
