package catalog

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/policy"
)

// The files that Format writes.
const (
	rolesFile    = "roles.yaml"
	targetsFile  = "targets.yaml"
	groupsFile   = "groups.yaml"
	policyFolder = "policies/"
)

// Format returns the catalog as files that Read reads back to the same catalog: roles, targets
// and groups in a file each, in more where one would grow over MaxFile, and policies as they are.
// A catalog that breaks a rule is Invalid; a noun too large for any file is Limited.
func Format(c brevet.Catalog) ([]File, error) {
	if err := Check(c).Err(); err != nil {
		return nil, err
	}
	var files []File
	for _, kind := range []struct {
		name      string
		documents []string
	}{
		{rolesFile, mapped(c.Roles, formatRole)},
		{targetsFile, mapped(c.Targets, formatTarget)},
		{groupsFile, mapped(c.Groups, formatGroup)},
	} {
		divided, err := divide(kind.name, kind.documents)
		if err != nil {
			return nil, err
		}
		files = append(files, divided...)
	}
	for _, p := range c.Policies {
		files = append(files, File{Name: policyFolder + p.Name, Text: p.Text})
	}
	return files, nil
}

func mapped[T any](list []T, format func(T) string) []string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = format(v)
	}
	return texts
}

// divide puts the documents into as few files as their bounds allow: roles.yaml, roles-2.yaml …
func divide(name string, documents []string) ([]File, error) {
	var files []File
	for _, text := range documents {
		if len(text) > MaxFile {
			return nil, brevet.Errorf(brevet.Limited, "%s: one document has %d bytes, more than a file may have (%d)", name, len(text), MaxFile)
		}
		last := len(files) - 1
		if last >= 0 && len(files[last].Text)+len(separator)+len(text) <= MaxFile {
			files[last].Text += separator + text
			continue
		}
		numbered := name
		if last >= 0 {
			numbered = strings.TrimSuffix(name, ".yaml") + "-" + strconv.Itoa(len(files)+1) + ".yaml"
		}
		files = append(files, File{Name: numbered, Text: text})
	}
	return files, nil
}

const separator = "---\n"

func formatGroups(groups []brevet.Group) string {
	return strings.Join(mapped(groups, formatGroup), separator)
}

func formatGroup(g brevet.Group) string {
	w := writer{}
	w.field(0, "kind", "Group")
	w.field(0, "name", string(g.Name))
	w.list(0, "members", asStrings(g.Members))
	return w.String()
}

func formatTarget(t brevet.Target) string {
	w := writer{}
	w.field(0, "kind", "Target")
	w.field(0, "name", string(t.ID))
	w.field(0, "type", string(t.Kind))
	w.field(0, "address", t.Address)
	w.labels(0, "labels", t.Labels)
	w.field(0, "sensitivity", string(t.Sensitivity))
	w.field(0, "owner", t.Owner)
	w.list(0, "host_keys", t.HostKeys)
	w.list(0, "host_cas", t.HostCAs)
	return w.String()
}

func formatRole(r brevet.Role) string {
	w := writer{}
	w.field(0, "kind", "Role")
	w.field(0, "name", string(r.Name))
	if r.Description != "" {
		w.field(0, "description", r.Description)
	}
	w.field(0, "owner", r.Owner)
	w.field(0, "sensitivity", string(r.Sensitivity))
	w.begin(0, "targets")
	w.field(1, "kind", string(r.Targets.Kind))
	w.labels(1, "labels", r.Targets.Labels)
	w.list(1, "names", asStrings(r.Targets.Names))
	w.begin(0, "gives")
	w.begin(1, "ssh")
	w.list(2, "logins", r.SSH.Logins)
	w.list(2, "permit", r.SSH.Permit)
	w.list(2, "source_addresses", r.SSH.SourceAddresses)
	w.list(2, "environment", r.SSH.Environment)
	w.limits(r.Limits)
	w.asks(r.Asks)
	w.stages(r.Approval)
	w.field(0, "recording", string(r.Recording))
	w.field(0, "zone", r.Zone)
	return w.String()
}

// writer writes YAML of the few forms that a catalog needs. Text that could mean anything but
// itself is put in quotes. Empty lists and mappings are left out, which means the same.
type writer struct{ strings.Builder }

func (w *writer) begin(depth int, name string) {
	w.WriteString(strings.Repeat("  ", depth) + name + ":\n")
}

func (w *writer) field(depth int, name, value string) {
	w.WriteString(strings.Repeat("  ", depth) + name + ": " + scalar(value) + "\n")
}

func (w *writer) list(depth int, name string, values []string) {
	if len(values) == 0 {
		return
	}
	w.begin(depth, name)
	for _, v := range values {
		w.WriteString(strings.Repeat("  ", depth+1) + "- " + scalar(v) + "\n")
	}
}

func (w *writer) labels(depth int, name string, labels map[string]string) {
	if len(labels) == 0 {
		return
	}
	w.begin(depth, name)
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		w.field(depth+1, scalar(key), labels[key])
	}
}

func (w *writer) limits(l brevet.Limits) {
	w.begin(0, "limits")
	w.WriteString("  duration: " + policy.FormatSeconds(l.Duration) + "\n")
	idle := policy.FormatSeconds(l.Idle)
	if l.Idle == 0 {
		idle = noIdle
	}
	w.WriteString("  idle: " + idle + "\n")
	w.WriteString("  wait: " + policy.FormatSeconds(l.Wait) + "\n")
}

func (w *writer) asks(a brevet.Asks) {
	w.begin(0, "asks")
	fmt.Fprintf(w, "  reason: %t\n", a.Reason)
	if a.Ticket != "" {
		w.field(1, "ticket", a.Ticket)
	}
	w.field(1, "approver_presence", string(a.ApproverPresence))
}

func (w *writer) stages(stages []brevet.Stage) {
	if len(stages) == 0 {
		return
	}
	w.begin(0, "approval")
	for _, s := range stages {
		fmt.Fprintf(w, "  - group: %s\n    count: %d\n", scalar(string(s.Group)), s.Count)
	}
}

// plain is text that YAML takes for nothing but text, wherever it stands.
var plain = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./-]*(:[A-Za-z0-9_.-]+)?$`)

// notPlain are words that some version of YAML takes for something else.
var notPlain = []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}

func scalar(s string) string {
	if plain.MatchString(s) && !slices.Contains(notPlain, strings.ToLower(s)) {
		return s
	}
	// Text of a catalog has no control characters, so that these two are all there is to escape.
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
