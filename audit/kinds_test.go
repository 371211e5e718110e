package audit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
)

func TestKindsAreWellFormed(t *testing.T) {
	name := regexp.MustCompile(`^[a-z]+(\.[a-z]+)?$`)
	seen := map[string]bool{}
	for _, k := range audit.Kinds {
		if !name.MatchString(k.Name) || len(k.Name) > audit.MaxKind || seen[k.Name] {
			t.Errorf("%q is no name of a kind, or comes twice", k.Name)
		}
		seen[k.Name] = true
		if got, ok := audit.KindOf(k.Name); !ok || got != k {
			t.Errorf("%s is not found by its name", k.Name)
		}
		if k.Class.String() == "Base Event" || k.Activity <= 0 || k.Doing == "" || k.Severity < audit.Informational || k.Severity > audit.Critical || k.Subject == "" || !strings.HasSuffix(k.Meaning, ".") {
			t.Errorf("%s is not described: %+v", k.Name, k)
		}
		if k.Lasting && !k.Statement {
			t.Errorf("%s lasts and is no statement", k.Name)
		}
	}
	if _, ok := audit.KindOf("nonsense"); ok {
		t.Error("nonsense is a kind")
	}
}

// fields describes every field that a body may have, in the order of the page. A star
// stands for whatever names a detail has.
var fields = []struct{ path, meaning string }{
	{"activity_id", "OCSF's number of what was done, within the class; 99 where it has none"},
	{"activity_name", "the same in words"},
	{"category_uid", "OCSF's category: the class divided by 1000"},
	{"class_uid", "OCSF's class"},
	{"class_name", "the same in words"},
	{"type_uid", "class × 100 + activity"},
	{"severity_id", "1 informational, 2 low, 3 medium, 4 high, 5 critical"},
	{"time", "milliseconds since 1970"},
	{"time_dt", "the same in RFC 3339, UTC, to the microsecond; never earlier than the event before it"},
	{"status_id", "1 success, 2 failure"},
	{"status", "the same in words"},
	{"message", "one sentence for a person"},
	{"metadata.version", "of OCSF"},
	{"metadata.profiles", "OCSF's profiles that are used"},
	{"metadata.product.name", "Brevet"},
	{"metadata.product.vendor_name", "Brevet"},
	{"metadata.uid", "id of the event"},
	{"metadata.correlation_uid", "the call or chain of work that it belongs to"},
	{"actor.user.name", "person or machine that did it"},
	{"actor.user.uid", "the same"},
	{"actor.user.type_id", "1 a person or workload, 3 a machine of Brevet"},
	{"actor.user.credential_uid", "fingerprint of the key that proved it"},
	{"actor.session.uid", "the session it happened in"},
	{"user.name", "whom it concerns; the actor, if nobody else"},
	{"user.uid", "the same"},
	{"user.type_id", "as above"},
	{"privileges", "the grant, or the request for one (User Access Management)"},
	{"entity.uid", "the subject (Entity Management)"},
	{"entity.type", "the kind (Entity Management)"},
	{"api.operation", "the kind (API Activity)"},
	{"app.name", "Brevet (Application Lifecycle)"},
	{"app.vendor_name", "Brevet (Application Lifecycle)"},
	{"finding_info.uid", "id of the event (Detection Finding)"},
	{"finding_info.title", "what the kind means (Detection Finding)"},
	{"src_endpoint.ip", "address that the actor came from"},
	{"unmapped.brevet.schema", "version of this page"},
	{"unmapped.brevet.kind", "one of the kinds below"},
	{"unmapped.brevet.subject", "what it happened to; stands in the leaf as well"},
	{"unmapped.brevet.via", "how the actor came: cli, api or ssh"},
	{"unmapped.brevet.request", "id of the request"},
	{"unmapped.brevet.grant", "id of the grant"},
	{"unmapped.brevet.session", "id of the session"},
	{"unmapped.brevet.envelope_sha256", "digest of the signed envelope as it is kept, if the event is a statement"},
	{"unmapped.brevet.detail.*", "what else there is to say, by kind"},
}

// TestReferenceIsCurrent writes docs/reference/events.md with -update, and otherwise
// compares: every kind has its section, with an example of just what Brevet writes.
func TestReferenceIsCurrent(t *testing.T) {
	golden(t, filepath.Join("..", "docs", "reference", "events.md"), reference(t))
}

// TestReferenceDescribesEveryField holds the table of fields against what is written.
func TestReferenceDescribesEveryField(t *testing.T) {
	written := map[string]bool{}
	for _, kind := range audit.Kinds {
		var body map[string]any
		if err := json.Unmarshal(record(t, full(kind)), &body); err != nil {
			t.Fatal(err)
		}
		addPaths(written, "", body)
	}
	for _, f := range fields {
		if !written[f.path] {
			t.Errorf("%s is described and never written", f.path)
		}
		delete(written, f.path)
	}
	if len(written) > 0 {
		t.Errorf("not described: %v", slices.Sorted(maps.Keys(written)))
	}
}

func addPaths(paths map[string]bool, prefix string, value map[string]any) {
	for name, v := range value {
		path := prefix + name
		if below, ok := v.(map[string]any); ok && path != "unmapped.brevet.detail" {
			addPaths(paths, path+".", below)
		} else if ok {
			paths[path+".*"] = true
		} else {
			paths[path] = true
		}
	}
}

func reference(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, `# Events

<!-- Written from audit.Kinds by: go test ./audit -update -->

Schema %d, in the shape of OCSF %s. The schema's number grows when a field changes its meaning or
goes; fields and kinds that are added do not change it, so readers skip what they do not know.

An event is one line of JSON, the body, with at most %d KiB. Control characters, bidirectional
marks and whatever else could act on a terminal are escaped. What the log's tree commits to is the
leaf: the kind, the subject and SHA-256(salt ‖ body). Retention erases bodies, with their salts,
statements and the names of people; leaves stay, so that the log still verifies. Statements that
are marked lasting are never erased, since what is in force rests on them.

## Fields

| field | meaning |
| --- | --- |
`, audit.Schema, audit.OCSF, audit.MaxBody>>10)
	for _, f := range fields {
		fmt.Fprintf(&b, "| `%s` | %s |\n", f.path, f.meaning)
	}
	b.WriteString("\nFields that have nothing to say are left out.\n\n## Kinds\n")
	for _, kind := range audit.Kinds {
		section(t, &b, kind)
	}
	return b.Bytes()
}

func section(t *testing.T, b *bytes.Buffer, kind audit.Kind) {
	t.Helper()
	fmt.Fprintf(b, "\n### %s\n\n%s\n\n", kind.Name, kind.Meaning)
	fmt.Fprintf(b, "%s (%d), %s (%d), severity %d. Subject: %s.", kind.Class, kind.Class, kind.Doing, kind.Activity, kind.Severity, kind.Subject)
	switch {
	case kind.Lasting:
		b.WriteString(" A signed statement, lasting.")
	case kind.Statement:
		b.WriteString(" A signed statement.")
	}
	fmt.Fprintf(b, "\n\n```json\n%s\n```\n", record(t, example(kind)))
}

// example returns an event of the kind as it may happen.
func example(kind audit.Kind) (e brevet.Event) {
	e = full(kind)
	e.About, e.Request, e.Grant, e.Session, e.CorrelationID = "", "", "", "", ""
	e.Message, e.Detail = kind.Meaning, nil
	e.Subject = exampleSubject(kind, e)
	switch strings.Split(kind.Name, ".")[0] {
	case "request", "approval", "intent":
		e.Request = "req_01kav7zq00000000000000000b"
	case "grant", "revocation":
		e.Request, e.Grant = "req_01kav7zq00000000000000000b", "grt_01kav7zq00000000000000000b"
	case "session", "recording":
		e.Request, e.Grant, e.Session = "req_01kav7zq00000000000000000b", "grt_01kav7zq00000000000000000b", "ses_01kav7zq00000000000000000c"
	case "gateway", "server", "clock", "job", "log", "issuer":
		e.Actor = brevet.Caller{Machine: "gw1"}
	}
	if strings.HasSuffix(kind.Name, "refused") || kind.Class == audit.DetectionFinding {
		e.Outcome = "failure"
	}
	return e
}

func exampleSubject(kind audit.Kind, e brevet.Event) string {
	switch {
	case kind.Name == audit.KindErased:
		return audit.ErasedSubject(120, 180)
	case strings.HasPrefix(kind.Subject, "statement"):
		return audit.EnvelopeHash([]byte("a statement"))
	case strings.HasPrefix(kind.Subject, "request"):
		return "req_01kav7zq00000000000000000b"
	case kind.Subject == "grant":
		return "grt_01kav7zq00000000000000000b"
	case strings.HasPrefix(kind.Subject, "session"):
		return "ses_01kav7zq00000000000000000c"
	case kind.Subject == "machine":
		return "gw1"
	case kind.Subject == "person":
		return "bob"
	}
	return string(e.ID)
}
