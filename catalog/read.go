package catalog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/policy"
)

// Bounds on a folder of files.
const (
	MaxFile  = 1 << 20  // bytes of one file
	MaxTotal = 16 << 20 // bytes of all files, and of a manifest
	maxFiles = 10_000
)

// caseFolder is where policy test cases stand; nothing in it is part of the catalog.
const caseFolder = "tests"

// Read reads a folder: *.yaml files with documents of kind Role, Target and Group, and *.cedar
// files with policies, in any arrangement. Folders named "tests" hold test cases, see
// ReadCases; files with other endings and hidden ones are left alone. Lists are sorted and
// defaults filled in. The catalog is good only if no problem is of level Error.
func Read(fsys fs.FS) (brevet.Catalog, Problems) {
	c, _, problems := ReadPlaced(fsys)
	return c, problems
}

// collectCatalog returns the files that are part of the catalog.
func collectCatalog(fsys fs.FS) ([]File, Problems) {
	files, problems := collect(fsys, func(name string) bool {
		return !underCases(name) && (isYAML(name) || path.Ext(name) == ".cedar")
	})
	if len(problems.Errors()) == 0 && len(files) == 0 {
		problems = append(problems, Problem{Level: Error, What: "there is no .yaml or .cedar file here", Remedy: "name the folder that has them"})
	}
	return files, problems
}

// readFiles reads files that were collected.
func readFiles(files []File) (*reader, Problems) {
	r := &reader{positions: map[string]place{}}
	for _, f := range files {
		if isYAML(f.Name) {
			r.readYAML(f)
		} else {
			r.readPolicy(f)
		}
	}
	normalise(&r.catalog)
	c := checker{catalog: r.catalog, locate: r.locate}
	r.problems = append(r.problems, c.check()...)
	r.problems = append(r.problems, r.checkPolicies()...)
	r.problems.Sort()
	return r, r.problems
}

func isYAML(name string) bool { return path.Ext(name) == ".yaml" || path.Ext(name) == ".yml" }

func underCases(name string) bool {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if path.Base(dir) == caseFolder {
			return true
		}
	}
	return false
}

// collect returns the wanted files below fsys in the order of their names.
func collect(fsys fs.FS, wanted func(string) bool) ([]File, Problems) {
	var files []File
	var problems Problems
	total := 0
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			problems = append(problems, Problem{Level: Error, File: name, What: "cannot be read: " + cause(err)})
			return fs.SkipDir
		case name != "." && strings.HasPrefix(path.Base(name), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case brevet.CheckText("the name", name, false) != nil:
			problems = append(problems, Problem{Level: Error, What: "the file " + brevet.Quote(shorten(name)) + " has a name that cannot be shown", Remedy: "rename it"})
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.Type()&fs.ModeSymlink != 0: // even of an unwanted name: it may be a folder's
			problems = append(problems, Problem{Level: Error, File: name, What: "is a symbolic link, which is not followed", Remedy: "put the file itself here"})
			return nil
		case d.IsDir() || !wanted(name):
			return nil
		case !d.Type().IsRegular():
			problems = append(problems, Problem{Level: Error, File: name, What: "is not a regular file", Remedy: "put the file itself here"})
			return nil
		}
		text, err := readFile(fsys, name)
		if err != nil {
			problems = append(problems, Problem{Level: Error, File: name, What: cause(err)})
			return nil
		}
		if total += len(text); total > MaxTotal || len(files) == maxFiles {
			problems = append(problems, Problem{Level: Error, What: fmt.Sprintf("the folder has more than %d files or %d MiB", maxFiles, MaxTotal>>20)})
			return fs.SkipAll
		}
		files = append(files, File{name, text})
		return nil
	})
	if err != nil {
		problems = append(problems, Problem{Level: Error, What: "cannot be read: " + cause(err)})
	}
	return files, problems
}

// readFile reads no more than it may, whatever size the file says that it has.
func readFile(fsys fs.FS, name string) (string, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return "", err
	}
	if len(b) > MaxFile {
		return "", fmt.Errorf("the file has more than %d MiB", MaxFile>>20)
	}
	return string(b), nil
}

func cause(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}

// place is where something stands.
type place struct {
	file         string
	line, column int
}

// reader turns documents into the nouns of a catalog and remembers where each field stood.
type reader struct {
	catalog   brevet.Catalog
	positions map[string]place // by "role web-root", "role web-root limits.duration"
	problems  Problems
	paths     map[string]string // of each policy, by its name
}

// locate finds the place of a field, or of what it stands in.
func (r *reader) locate(noun, field string) place {
	for {
		if p, ok := r.positions[noun+" "+field]; ok {
			return p
		}
		cut := strings.LastIndexByte(field, '.')
		if cut < 0 {
			return r.positions[noun]
		}
		field = field[:cut]
	}
}

func (r *reader) readPolicy(f File) {
	name := path.Base(f.Name)
	if err := brevet.CheckName("policy file", strings.TrimSuffix(name, ".cedar")); err != nil {
		what, _ := sentence(err)
		r.problems = append(r.problems, Problem{Level: Error, File: f.Name, What: what})
		return
	}
	if r.paths == nil {
		r.paths = map[string]string{}
	}
	if other, ok := r.paths[name]; ok {
		r.problems = append(r.problems, Problem{Level: Error, File: f.Name, What: "has the same name as " + other, Remedy: "rename one: policies are known by file name"})
		return
	}
	r.paths[name] = f.Name
	r.catalog.Policies = append(r.catalog.Policies, brevet.Policy{Name: name, Text: f.Text})
}

// checkPolicies returns what package policy finds, under the paths that people know.
func (r *reader) checkPolicies() Problems {
	problems := policy.Check(r.catalog.Policies)
	for i := range problems {
		if p, ok := r.paths[problems[i].File]; ok {
			problems[i].File = p
		}
	}
	return problems
}

func (r *reader) readYAML(f File) {
	docs, problems := parseTree(f.Name, f.Text)
	r.problems = append(r.problems, problems...)
	for _, n := range docs {
		r.readDocument(f.Name, n)
	}
}

func (r *reader) readDocument(file string, n *node) {
	o := &object{reader: r, file: file, node: n, noun: "document"}
	if !o.isMapping() {
		return
	}
	switch kind := o.text("kind"); kind {
	case "Role":
		o.begin("role")
		r.catalog.Roles = append(r.catalog.Roles, o.role())
	case "Target":
		o.begin("target")
		r.catalog.Targets = append(r.catalog.Targets, o.target())
	case "Group":
		o.begin("group")
		r.catalog.Groups = append(r.catalog.Groups, o.group())
	case "":
		if !o.has("kind") {
			o.wrong("kind", "is missing", "begin the document with kind: Role, Target or Group")
		}
	default:
		remedy := "write Role, Target or Group"
		if near, ok := brevet.Nearest(kind, []string{"Role", "Target", "Group"}); ok {
			remedy = "did you mean " + near + "?"
		}
		o.wrong("kind", fmt.Sprintf("%s is none", brevet.Quote(shorten(kind))), remedy)
	}
}

func (o *object) role() brevet.Role {
	defer o.end()
	role := brevet.Role{
		Name:        brevet.RoleName(o.name),
		Description: o.text("description"),
		Owner:       o.text("owner"),
		Sensitivity: brevet.Sensitivity(o.text("sensitivity")),
		Recording:   brevet.Recording(o.textOr("recording", string(brevet.RecordingRequired))),
		Zone:        o.textOr("zone", "UTC"),
		Approval:    o.stages("approval"),
	}
	if targets := o.child("targets"); targets != nil {
		role.Targets = brevet.Selector{
			Kind:   brevet.TargetKind(targets.text("kind")),
			Labels: targets.labels("labels"),
			Names:  texts[brevet.TargetID](targets, "names"),
		}
		targets.end()
	}
	if gives := o.child("gives"); gives != nil {
		if ssh := gives.child("ssh"); ssh != nil {
			role.SSH = brevet.SSHGives{
				Logins:          texts[string](ssh, "logins"),
				Permit:          texts[string](ssh, "permit"),
				SourceAddresses: texts[string](ssh, "source_addresses"),
				Environment:     texts[string](ssh, "environment"),
			}
			ssh.end()
		}
		gives.end()
	}
	role.Limits = o.limits()
	role.Asks = o.asks(role.Sensitivity)
	return role
}

func (o *object) limits() brevet.Limits {
	limits := brevet.Limits{Idle: defaultIdle, Wait: defaultWait}
	l := o.child("limits")
	if l == nil {
		return limits
	}
	limits.Duration = l.duration("duration", 0)
	limits.Wait = l.duration("wait", defaultWait)
	if l.peek("idle") == noIdle {
		limits.Idle = 0
		l.text("idle")
	} else {
		limits.Idle = l.duration("idle", defaultIdle)
		if limits.Idle == 0 {
			l.wrong("idle", "is zero, which could be at once or never", "write none, or how long, like 15m")
		}
	}
	l.end()
	return limits
}

func (o *object) asks(s brevet.Sensitivity) brevet.Asks {
	asks := brevet.Asks{Reason: true, ApproverPresence: defaultPresence(s)}
	a := o.child("asks")
	if a == nil {
		return asks
	}
	asks.Reason = a.boolean("reason", true)
	asks.Ticket = a.text("ticket")
	asks.ApproverPresence = brevet.Presence(a.textOr("approver_presence", string(asks.ApproverPresence)))
	a.end()
	return asks
}

func (o *object) stages(field string) []brevet.Stage {
	var stages []brevet.Stage
	for i, item := range o.list(field) {
		s := o.inside(fmt.Sprintf("%s.%d", field, i+1), item)
		if !s.isMapping() {
			continue
		}
		stages = append(stages, brevet.Stage{Group: brevet.GroupName(s.text("group")), Count: s.integer("count", 1)})
		s.end()
	}
	return stages
}

func (o *object) target() brevet.Target {
	defer o.end()
	return brevet.Target{
		ID:          brevet.TargetID(o.name),
		Kind:        brevet.TargetKind(o.text("type")),
		Address:     o.text("address"),
		Labels:      o.labels("labels"),
		Sensitivity: brevet.Sensitivity(o.text("sensitivity")),
		Owner:       o.text("owner"),
		HostKeys:    texts[string](o, "host_keys"),
		HostCAs:     texts[string](o, "host_cas"),
	}
}

func (o *object) group() brevet.Group {
	defer o.end()
	return brevet.Group{Name: brevet.GroupName(o.name), Members: texts[brevet.PersonID](o, "members")}
}

// object reads the fields of one mapping, and says what is wrong with each.
type object struct {
	reader *reader
	file   string
	node   *node
	noun   string // "role web-root"
	name   string // "web-root"
	within string // "limits", or "" at the top
	asked  []string
}

// begin takes the name of a noun and remembers where it stands.
func (o *object) begin(noun string) {
	o.name = o.text("name")
	o.noun = noun + " " + shorten(o.name)
	if !o.has("name") {
		o.wrong("", "has no name", "add name: …")
	}
	if first, ok := o.reader.positions[o.noun]; ok && o.name != "" {
		o.wrong("", "is there twice", fmt.Sprintf("it stands in %s:%d too; keep one", first.file, first.line))
	}
	o.reader.positions[o.noun] = place{o.file, o.node.line, 0}
	for _, p := range o.node.pairs {
		o.reader.positions[o.noun+" "+p.key] = place{o.file, p.line, p.column}
	}
}

func (o *object) path(field string) string {
	return strings.Trim(o.within+"."+field, ".")
}

// wrong reports a problem of the field, at its place.
func (o *object) wrong(field, what, remedy string) {
	line, column := o.node.line, o.node.column
	if p := o.find(field); p != nil {
		line, column = p.line, p.column
	}
	o.wrongAt(line, column, field, what, remedy)
}

func (o *object) wrongAt(line, column int, field, what, remedy string) {
	text := what
	if name := o.path(field); name != "" {
		text = name + " " + what
	}
	o.reader.problems = append(o.reader.problems, Problem{Level: Error, File: o.file, Line: line, Column: column,
		What: o.noun + ": " + text, Remedy: remedy})
}

func (o *object) find(field string) *pair {
	for i := range o.node.pairs {
		if o.node.pairs[i].key == field {
			return &o.node.pairs[i]
		}
	}
	return nil
}

func (o *object) has(field string) bool { return o.find(field) != nil }

// value returns the field's value, or nil if it is not there. An empty field is a mistake.
func (o *object) value(field string, want ...kind) *node {
	o.asked = append(o.asked, field)
	p := o.find(field)
	if p == nil {
		return nil
	}
	for _, k := range want {
		if p.value.kind == k {
			return p.value
		}
	}
	remedy := "write " + string(want[0])
	if want[0] == isText && (p.value.kind == isNumber || p.value.kind == isBool) {
		remedy = "put it in quotes"
	}
	o.wrong(field, fmt.Sprintf("is %s", p.value.kind), remedy)
	return nil
}

func (o *object) isMapping() bool {
	if o.node.kind == isMapping {
		return true
	}
	o.wrong("", fmt.Sprintf("is %s", o.node.kind), "write keys and values, as in kind: Role")
	return false
}

// peek returns a text without counting it as read.
func (o *object) peek(field string) string {
	if p := o.find(field); p != nil && p.value.kind == isText {
		return p.value.text
	}
	return ""
}

func (o *object) text(field string) string { return o.textOr(field, "") }

func (o *object) textOr(field, otherwise string) string {
	if !o.has(field) {
		o.asked = append(o.asked, field)
		return otherwise
	}
	v := o.value(field, isText)
	if v == nil {
		return otherwise
	}
	if v.text == "" {
		o.wrong(field, "is empty", "write something or leave it out")
	}
	return v.text
}

func (o *object) boolean(field string, otherwise bool) bool {
	v := o.value(field, isBool)
	if v == nil {
		return otherwise
	}
	return v.text == "true"
}

func (o *object) integer(field string, otherwise int) int {
	v := o.value(field, isNumber)
	if v == nil {
		return otherwise
	}
	n, err := strconv.Atoi(v.text)
	if err != nil || strconv.Itoa(n) != v.text {
		o.wrong(field, fmt.Sprintf("%s is not a whole number", brevet.Quote(shorten(v.text))), "write digits only")
		return otherwise
	}
	return n
}

func (o *object) duration(field string, otherwise brevet.Seconds) brevet.Seconds {
	if !o.has(field) {
		o.asked = append(o.asked, field)
		return otherwise
	}
	v := o.value(field, isText, isNumber)
	if v == nil {
		return otherwise
	}
	d, err := ParseDuration(v.text)
	if err != nil {
		what, remedy := sentence(err)
		o.wrong(field, what, remedy)
		return otherwise
	}
	return d
}

func (o *object) list(field string) []*node {
	if v := o.value(field, isList); v != nil {
		return v.items
	}
	return nil
}

// texts reads a list of texts.
func texts[T ~string](o *object, field string) []T {
	var all []T
	for _, item := range o.list(field) {
		if item.kind != isText {
			remedy := "write text"
			if item.kind == isNumber || item.kind == isBool {
				remedy = "put it in quotes"
			}
			o.wrongAt(item.line, item.column, field, fmt.Sprintf("has an entry that is %s", item.kind), remedy)
			continue
		}
		all = append(all, T(item.text))
	}
	return all
}

func (o *object) labels(field string) map[string]string {
	labels := map[string]string{}
	v := o.value(field, isMapping)
	if v == nil {
		return labels
	}
	for _, p := range v.pairs {
		if p.value.kind != isText {
			o.wrongAt(p.line, p.column, field+"."+p.key, fmt.Sprintf("is %s", p.value.kind), "write text, in quotes if it looks like a number")
			continue
		}
		labels[p.key] = p.value.text
	}
	return labels
}

// child returns the mapping in a field, or nil.
func (o *object) child(field string) *object {
	v := o.value(field, isMapping)
	if v == nil {
		return nil
	}
	return o.inside(field, v)
}

func (o *object) inside(field string, n *node) *object {
	c := &object{reader: o.reader, file: o.file, node: n, noun: o.noun, name: o.name, within: o.path(field)}
	o.reader.positions[o.noun+" "+c.within] = place{o.file, n.line, n.column}
	for _, p := range n.pairs {
		o.reader.positions[o.noun+" "+c.path(p.key)] = place{o.file, p.line, p.column}
	}
	return c
}

// notYet are fields of the design that this version does not enforce. They are refused, since a
// catalog that says more than is done would be believed.
var notYet = []string{"renewals", "escalate", "mfa_within", "incident", "after", "to", "directory",
	"postgres", "mysql", "redis", "kubernetes", "cloud", "console", "vault", "sudo", "device", "windows", "extensions", "options"}

// end reports the fields that nobody asked for.
func (o *object) end() {
	for _, p := range o.node.pairs {
		known := false
		for _, name := range o.asked {
			known = known || name == p.key
		}
		if known {
			continue
		}
		remedy := "the fields here are " + strings.Join(o.asked, ", ")
		if near, ok := brevet.Nearest(p.key, o.asked); ok {
			remedy = "did you mean " + near + "?"
		}
		what := "is not a field"
		for _, name := range notYet {
			if name == p.key {
				what, remedy = "is not enforced by this version", "leave it out"
			}
		}
		o.wrongAt(p.line, p.column, shorten(p.key), what, remedy)
	}
}
