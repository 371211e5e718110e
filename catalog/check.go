package catalog

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/statement"
)

// Bounds on what nouns hold, far above use and low enough for every reader.
const (
	maxNouns     = 10_000 // roles, targets, groups, policy files, each
	maxText      = 200
	maxTicket    = 200
	maxLogins    = 20
	maxLabels    = 32
	maxStages    = 10
	maxCount     = 10
	maxApprovers = 50 // approvals that a grant can rest on
	maxKeysOf    = 20
	maxRanges    = 100
	maxMembers   = 100_000
)

// normalise sorts every list, as the manifest wants it, and writes host keys in one way. What
// is doubled stays, for check to report.
func normalise(c *brevet.Catalog) {
	slices.SortStableFunc(c.Roles, func(a, b brevet.Role) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(c.Targets, func(a, b brevet.Target) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortStableFunc(c.Policies, func(a, b brevet.Policy) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(c.Groups, func(a, b brevet.Group) int { return cmp.Compare(a.Name, b.Name) })
	for i := range c.Roles {
		r := &c.Roles[i]
		slices.Sort(r.Targets.Names)
		for _, list := range []*[]string{&r.SSH.Logins, &r.SSH.Permit, &r.SSH.SourceAddresses, &r.SSH.Environment} {
			slices.Sort(*list)
		}
	}
	for i := range c.Targets {
		for _, list := range []*[]string{&c.Targets[i].HostKeys, &c.Targets[i].HostCAs} {
			for j, key := range *list {
				if plain, err := plainKey(key); err == nil {
					(*list)[j] = plain
				}
			}
			slices.Sort(*list)
		}
	}
	for i := range c.Groups {
		slices.Sort(c.Groups[i].Members)
	}
}

// clone copies what normalise changes.
func clone(c brevet.Catalog) brevet.Catalog {
	c.Roles, c.Targets = slices.Clone(c.Roles), slices.Clone(c.Targets)
	c.Policies, c.Groups = slices.Clone(c.Policies), slices.Clone(c.Groups)
	for i := range c.Roles {
		r := &c.Roles[i]
		r.Targets.Names = slices.Clone(r.Targets.Names)
		for _, list := range []*[]string{&r.SSH.Logins, &r.SSH.Permit, &r.SSH.SourceAddresses, &r.SSH.Environment} {
			*list = slices.Clone(*list)
		}
	}
	for i := range c.Targets {
		c.Targets[i].HostKeys = slices.Clone(c.Targets[i].HostKeys)
		c.Targets[i].HostCAs = slices.Clone(c.Targets[i].HostCAs)
	}
	for i := range c.Groups {
		c.Groups[i].Members = slices.Clone(c.Groups[i].Members)
	}
	return c
}

// checker holds a whole catalog against the rules, wherever it came from.
type checker struct {
	catalog  brevet.Catalog
	locate   func(noun, field string) place // nil: from a manifest, which has no lines
	problems Problems

	groups  map[brevet.GroupName]brevet.Group
	targets map[brevet.TargetID]bool
	noun    string // what is being checked: "role web-root"
}

func (c *checker) check() Problems {
	c.groups = map[brevet.GroupName]brevet.Group{}
	for _, g := range c.catalog.Groups {
		c.groups[g.Name] = g
	}
	c.targets = map[brevet.TargetID]bool{}
	for _, t := range c.catalog.Targets {
		c.targets[t.ID] = true
	}
	checkNouns(c, "role", c.catalog.Roles, func(r brevet.Role) string { return string(r.Name) }, c.role)
	checkNouns(c, "target", c.catalog.Targets, func(t brevet.Target) string { return string(t.ID) }, c.target)
	checkNouns(c, "group", c.catalog.Groups, func(g brevet.Group) string { return string(g.Name) }, c.group)
	checkNouns(c, "policy", c.catalog.Policies, func(p brevet.Policy) string { return p.Name }, c.policy)
	return c.problems
}

// checkNouns checks each of the list and that names are good, sorted and there once.
func checkNouns[T any](c *checker, kind string, list []T, name func(T) string, check func(T)) {
	if len(list) > maxNouns {
		c.noun = "catalog"
		c.wrong("", fmt.Sprintf("has %d of kind %s, more than %d", len(list), kind, maxNouns), "divide the organisation")
		return
	}
	for i, one := range list {
		c.noun = kind + " " + shorten(name(one))
		if kind != "policy" && name(one) != "" { // no name at all was reported by the reader, or is not sorted first
			c.no("name", brevet.CheckName(kind, name(one)))
		}
		if name(one) == "" && c.locate == nil {
			c.wrong("name", "is missing", "")
		}
		if i > 0 && name(list[i-1]) >= name(one) && c.locate == nil {
			c.wrong("", "is there twice or not in its place", "sort by name")
		}
		check(one)
	}
}

func (c *checker) add(level policy.Level, field, what, remedy string) {
	p := Problem{Level: level, What: c.noun + ": " + strings.TrimSpace(field+" "+what), Remedy: remedy}
	if c.locate != nil {
		at := c.locate(c.noun, field)
		p.File, p.Line, p.Column = at.file, at.line, at.column
	}
	c.problems = append(c.problems, p)
}

func (c *checker) wrong(field, what, remedy string) { c.add(Error, field, what, remedy) }
func (c *checker) odd(field, what, remedy string)   { c.add(Warning, field, what, remedy) }

// no reports err, if there is one. Its message says which field is meant.
func (c *checker) no(field string, err error) {
	if err == nil {
		return
	}
	what, remedy := sentence(err)
	p := Problem{Level: Error, What: c.noun + ": " + what, Remedy: remedy}
	if c.locate != nil {
		at := c.locate(c.noun, field)
		p.File, p.Line, p.Column = at.file, at.line, at.column
	}
	c.problems = append(c.problems, p)
}

func (c *checker) role(r brevet.Role) {
	c.no("description", statement.CheckText("description", r.Description, maxText))
	c.owner(r.Owner)
	c.sensitivity(r.Sensitivity)
	c.selector(r.Targets)
	c.gives(r.SSH)
	c.within("limits.duration", r.Limits.Duration, 1, maxDuration)
	c.within("limits.idle", r.Limits.Idle, 0, maxIdle)
	c.within("limits.wait", r.Limits.Wait, 1, maxWait)
	c.asks(r)
	c.stages(r.Approval)
	c.oneOf("recording", string(r.Recording), string(brevet.RecordingRequired), string(brevet.RecordingOff))
	if _, err := policy.Zone(r.Zone); err != nil {
		what, remedy := sentence(err)
		c.wrong("zone", what, remedy)
	}
}

func (c *checker) owner(owner string) {
	kind, name, _ := strings.Cut(owner, ":")
	switch {
	case owner == "":
		c.wrong("owner", "is missing", "write group:NAME or person:NAME")
	case kind != "group" && kind != "person":
		c.wrong("owner", fmt.Sprintf("%s is none", brevet.Quote(shorten(owner))), "write group:NAME or person:NAME")
	case brevet.CheckName(kind, name) != nil:
		c.no("owner", brevet.CheckName("owner "+kind, name))
	case kind == "group":
		c.knownGroup("owner", brevet.GroupName(name))
	}
}

func (c *checker) knownGroup(field string, name brevet.GroupName) {
	if _, ok := c.groups[name]; ok {
		return
	}
	remedy := "add a document kind: Group, or correct the name"
	var names []string
	for _, known := range slices.Sorted(maps.Keys(c.groups)) {
		names = append(names, string(known))
	}
	if near, ok := brevet.Nearest(string(name), names); ok {
		remedy = "did you mean " + near + "?"
	}
	c.wrong(field, fmt.Sprintf("names the group %s, which there is not", brevet.Quote(shorten(string(name)))), remedy)
}

func (c *checker) sensitivity(s brevet.Sensitivity) {
	c.oneOf("sensitivity", string(s), string(brevet.Low), string(brevet.Medium), string(brevet.High), string(brevet.Critical))
}

func (c *checker) oneOf(field, value string, words ...string) {
	if slices.Contains(words, value) {
		return
	}
	what, remedy := fmt.Sprintf("%s is none", brevet.Quote(shorten(value))), "write "+strings.Join(words, ", ")
	if value == "" {
		what = "is missing"
	}
	if near, ok := brevet.Nearest(value, words); ok {
		remedy = "did you mean " + near + "?"
	}
	c.wrong(field, what, remedy)
}

func (c *checker) within(field string, d, least, most brevet.Seconds) {
	switch {
	case d == 0 && least > 0:
		c.wrong(field, "is missing or zero", "write how long at most, like 1h or 45m")
	case d < least:
		c.wrong(field, "is negative", "write a number and a unit, like 1h or 45m")
	case d > most:
		c.wrong(field, fmt.Sprintf("%s is longer than %s", policy.FormatSeconds(d), policy.FormatSeconds(most)), "write less")
	}
}

func (c *checker) selector(s brevet.Selector) {
	c.targetKind("targets.kind", s.Kind)
	c.labels("targets.labels", s.Labels)
	c.sorted("targets.names", asStrings(s.Names), maxMembers, func(name string) error {
		if !c.targets[brevet.TargetID(name)] {
			return brevet.Errorf(brevet.Invalid, "targets.names: there is no target %s", brevet.Quote(shorten(name))).WithHint("correct or remove it")
		}
		return nil
	})
	if !slices.ContainsFunc(c.catalog.Targets, s.Matches) {
		c.odd("targets", "chooses no target", "give a target the labels, or correct them")
	}
	if len(s.Labels) == 0 && len(s.Names) == 0 {
		c.odd("targets", fmt.Sprintf("chooses every %s target", s.Kind), "say which by labels or names")
	}
}

func (c *checker) targetKind(field string, k brevet.TargetKind) {
	if k != "" && k != brevet.SSHHost {
		c.wrong(field, fmt.Sprintf("%s is not served by this version", brevet.Quote(shorten(string(k)))), "write ssh")
		return
	}
	c.oneOf(field, string(k), string(brevet.SSHHost))
}

var (
	labelKey    = regexp.MustCompile(`^[a-z0-9][a-z0-9_./-]{0,63}$`)
	environment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}\*?$`)
)

func (c *checker) labels(field string, labels map[string]string) {
	if len(labels) > maxLabels {
		c.wrong(field, fmt.Sprintf("has more than %d labels", maxLabels), "")
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if !labelKey.MatchString(key) {
			c.wrong(field, fmt.Sprintf("has the key %s", brevet.Quote(shorten(key))), "use a-z, 0-9 and _ . / -")
		}
		if labels[key] == "" {
			c.wrong(field, fmt.Sprintf("has nothing for %s", brevet.Quote(shorten(key))), "write a value or leave the label out")
		}
		c.no(field, statement.CheckText(field+"."+shorten(key), labels[key], maxText))
	}
}

func (c *checker) gives(s brevet.SSHGives) {
	if len(s.Logins) == 0 {
		c.wrong("gives.ssh.logins", "is missing", "name the accounts, as in logins: [deploy]")
	}
	c.sorted("gives.ssh.logins", s.Logins, maxLogins, func(v string) error { return statement.CheckLogin("gives.ssh.logins", v) })
	c.sorted("gives.ssh.permit", s.Permit, 1, func(v string) error {
		if v != "pty" {
			return brevet.Errorf(brevet.Invalid, "gives.ssh.permit: %s is not enforced by this version", brevet.Quote(shorten(v))).WithHint("only pty is")
		}
		return nil
	})
	c.sorted("gives.ssh.source_addresses", s.SourceAddresses, maxRanges, func(v string) error { return checkRange("gives.ssh.source_addresses", v) })
	c.sorted("gives.ssh.environment", s.Environment, maxRanges, func(v string) error {
		if !environment.MatchString(v) {
			return brevet.Errorf(brevet.Invalid, "gives.ssh.environment: %s is not a name", brevet.Quote(shorten(v))).WithHint("write names like LANG, or LC_* for all that begin so")
		}
		return nil
	})
}

// checkRange wants an address range in its one form, without host bits.
func checkRange(field, s string) error {
	if p, err := netip.ParsePrefix(s); err == nil {
		if p.Addr().Is4In6() {
			return brevet.Errorf(brevet.Invalid, "%s: %s hides an IPv4 range in IPv6", field, brevet.Quote(s)).WithHint("write the IPv4 range")
		}
		if p.Masked().String() == s {
			return nil
		}
		return brevet.Errorf(brevet.Invalid, "%s: %s names a host, not a range", field, brevet.Quote(s)).WithHint("write %s", p.Masked())
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return brevet.Errorf(brevet.Invalid, "%s: %s is not a range", field, brevet.Quote(s)).WithHint("write %s/%d for this one address", a, a.BitLen())
	}
	return brevet.Errorf(brevet.Invalid, "%s: %s is not an address range", field, brevet.Quote(shorten(s))).WithHint("write one like 10.0.0.0/8")
}

// sorted wants at most `most` entries, in order, each once and each good.
func (c *checker) sorted(field string, list []string, most int, good func(string) error) {
	if len(list) > most {
		c.wrong(field, fmt.Sprintf("has %d entries, more than %d", len(list), most), "")
		return
	}
	for i, v := range list {
		if i > 0 && list[i-1] == v {
			c.wrong(field, fmt.Sprintf("has %s twice", brevet.Quote(shorten(v))), "keep one")
			continue
		}
		if i > 0 && list[i-1] > v {
			c.wrong(field, "is not sorted", "")
		}
		c.no(field, good(v))
	}
}

func (c *checker) asks(r brevet.Role) {
	c.oneOf("asks.approver_presence", string(r.Asks.ApproverPresence),
		string(brevet.NoPresence), string(brevet.TouchPresence), string(brevet.VerifiedPresence))
	if r.Asks.ApproverPresence == brevet.NoPresence && r.Sensitivity.AtLeast(brevet.High) && len(r.Approval) > 0 {
		c.odd("asks.approver_presence", fmt.Sprintf("lets a key in a file approve what is %s", r.Sensitivity), "leave it out, which means touch")
	}
	if r.Asks.Ticket == "" {
		return
	}
	if len(r.Asks.Ticket) > maxTicket {
		c.wrong("asks.ticket", fmt.Sprintf("has more than %d characters", maxTicket), "shorten it")
		return
	}
	c.no("asks.ticket", statement.CheckText("asks.ticket", r.Asks.Ticket, maxTicket))
	expression, err := policy.Ticket(r.Asks.Ticket)
	if err != nil {
		what, remedy := sentence(err)
		c.wrong("asks.ticket", "is wrong, "+what, remedy)
		return
	}
	if expression.MatchString("") {
		c.wrong("asks.ticket", fmt.Sprintf("%s also matches no ticket at all", brevet.Quote(shorten(r.Asks.Ticket))), "write an expression that needs something")
	}
}

func (c *checker) stages(stages []brevet.Stage) {
	if len(stages) > maxStages {
		c.wrong("approval", fmt.Sprintf("has %d stages, more than %d", len(stages), maxStages), "")
	}
	people := 0
	for i, s := range stages {
		field := "approval." + strconv.Itoa(i+1)
		if s.Group == "" {
			c.wrong(field+".group", "is missing", "name the group that must agree")
			continue
		}
		c.knownGroup(field+".group", s.Group)
		if s.Count < 1 || s.Count > maxCount {
			c.wrong(field+".count", fmt.Sprintf("is %d", s.Count), fmt.Sprintf("write 1 to %d", maxCount))
			continue
		}
		people += s.Count
		if g, ok := c.groups[s.Group]; ok && len(g.Members) < s.Count {
			c.wrong(field, fmt.Sprintf("needs %d of group %s, which has %d", s.Count, s.Group, len(g.Members)), "add people to the group, or ask fewer")
		}
	}
	if people > maxApprovers {
		c.wrong("approval", fmt.Sprintf("needs %d people in all, more than %d", people, maxApprovers), "ask fewer")
	}
}

func (c *checker) target(t brevet.Target) {
	field := "type"
	if c.locate == nil {
		field = "kind"
	}
	c.targetKind(field, t.Kind)
	c.owner(t.Owner)
	c.sensitivity(t.Sensitivity)
	c.labels("labels", t.Labels)
	c.no("address", checkAddress(t.Address))
	if len(t.HostKeys)+len(t.HostCAs) == 0 {
		c.wrong("host_keys", "and host_cas are both missing, so nothing would prove that it is this host", "add what ssh-keyscan prints, or the host CA's key")
	}
	c.sorted("host_keys", t.HostKeys, maxKeysOf, func(v string) error { return checkKey("host_keys", v) })
	c.sorted("host_cas", t.HostCAs, maxKeysOf, func(v string) error { return checkKey("host_cas", v) })
}

var hostName = regexp.MustCompile(`^([a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?)(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?)*$`)

// checkAddress wants host:port as a gateway dials it.
func checkAddress(s string) error {
	if s == "" {
		return brevet.Errorf(brevet.Invalid, "address is missing").WithHint("write host:port, as in web1.internal:22")
	}
	wrong := brevet.Errorf(brevet.Invalid, "address %s is not host:port", brevet.Quote(shorten(s))).WithHint("write one like web1.internal:22 or [2001:db8::1]:22")
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return wrong
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return wrong
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Zone() == "" && a.String() == host && !a.Is4In6() && !a.IsUnspecified() && !a.IsMulticast() {
		return nil
	}
	// What looks like a number is an address to some resolvers and a name to others.
	if len(host) > 253 || !hostName.MatchString(host) || strings.Trim(host[strings.LastIndexByte(host, '.')+1:], "0123456789") == "" {
		return wrong
	}
	return nil
}

// plainKey returns the key of an authorized_keys line as "type base64", without comment.
func plainKey(line string) (string, error) {
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil || len(options) > 0 || len(rest) > 0 {
		return "", fmt.Errorf("not one key")
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))), nil
}

// hostKeyTypes are the keys that prove a host. DSA is broken; a certificate is no pin.
var hostKeyTypes = []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSA, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256}

// checkKey wants a public SSH key in its one form, of a kind that is still good.
func checkKey(field, line string) error {
	plain, err := plainKey(line)
	if err != nil {
		return brevet.Errorf(brevet.Invalid, "%s: %s is not a public SSH key", field, brevet.Quote(shorten(line))).WithHint("write it as in a .pub file: ssh-ed25519 AAAA…")
	}
	if plain != line {
		return brevet.Errorf(brevet.Invalid, "%s: %s has more than type and key", field, brevet.Quote(shorten(line))).WithHint("leave the comment out")
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil || !slices.Contains(hostKeyTypes, key.Type()) {
		return brevet.Errorf(brevet.Invalid, "%s: a key of type %s cannot prove a host", field, key.Type()).WithHint("use ssh-ed25519")
	}
	if key.Type() == ssh.KeyAlgoRSA && rsaBits(key) < 2048 {
		return brevet.Errorf(brevet.Invalid, "%s: the RSA key has only %d bits", field, rsaBits(key)).WithHint("use ssh-ed25519, or 3072 bits")
	}
	return nil
}

func (c *checker) group(g brevet.Group) {
	c.sorted("members", asStrings(g.Members), maxMembers, func(v string) error { return brevet.CheckName("member", v) })
	if len(g.Members) == 0 {
		c.add(Note, "members", "are none", "")
	}
}

// policy checks the name of a file; the text is package policy's.
func (c *checker) policy(p brevet.Policy) {
	base, ok := strings.CutSuffix(p.Name, ".cedar")
	if !ok || path.Base(p.Name) != p.Name {
		c.wrong("", "is not the name of a .cedar file", "")
		return
	}
	c.no("", brevet.CheckName("policy file", base))
}

func asStrings[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}
