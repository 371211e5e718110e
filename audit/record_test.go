package audit_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
)

var update = flag.Bool("update", false, "write golden files and docs/reference/events.md anew")

// golden compares got with a file, or writes it with -update.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what is written now; look at the difference, then: go test ./audit -update\n%s", file, got)
	}
}

// full returns an event of the kind with all that an event can have.
func full(kind audit.Kind) brevet.Event {
	e := brevet.Event{
		ID: "evt_01kav7zq00000000000000000a", Kind: kind.Name, Subject: "example", Outcome: "success",
		At:      time.Date(2026, 11, 24, 9, 30, 0, 123456789, time.FixedZone("CET", 3600)),
		Actor:   brevet.Caller{Person: "alice", Key: "SHA256:uNiVztksCsDhcc0u9e8BrQXVUn+pz", Source: netip.MustParseAddr("192.0.2.7"), Via: brevet.ViaCLI},
		About:   "bob",
		Message: "Alice agreed that bob becomes web-root on web1 for 30 minutes.",
		Request: "req_01kav7zq00000000000000000b", Grant: "grt_01kav7zq00000000000000000b", Session: "ses_01kav7zq00000000000000000c",
		CorrelationID: "call-7",
		Detail:        map[string]any{"duration": "30m", "stage": 0},
	}
	if kind.Statement {
		e.Statement = []byte("the envelope")
	}
	return e
}

func record(t testing.TB, e brevet.Event) []byte {
	t.Helper()
	body, err := audit.Record(e)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// TestRecordOfEachClass holds what a SIEM gets: one event of each class of OCSF, in full,
// and one with as little as an event can have.
func TestRecordOfEachClass(t *testing.T) {
	seen := map[audit.Class]bool{}
	var got bytes.Buffer
	for _, kind := range audit.Kinds {
		if seen[kind.Class] {
			continue
		}
		seen[kind.Class] = true
		if err := json.Indent(&got, record(t, full(kind)), "", "  "); err != nil {
			t.Fatal(err)
		}
		got.WriteString("\n\n")
	}
	least := brevet.Event{ID: "evt_1", Kind: "gateway.left", Subject: "gw1", At: time.UnixMicro(1), Outcome: "failure", Actor: brevet.Caller{Machine: "gw1"}}
	if err := json.Indent(&got, record(t, least), "", "  "); err != nil {
		t.Fatal(err)
	}
	got.WriteString("\n")
	golden(t, filepath.Join("testdata", "record.golden"), got.Bytes())
}

func TestRecordIsOneLine(t *testing.T) {
	for _, kind := range audit.Kinds {
		e := full(kind)
		e.Message = "two\nlines\r\n"
		body := record(t, e)
		if bytes.ContainsAny(body, "\n\r") || !json.Valid(body) {
			t.Errorf("%s: %q", kind.Name, body)
		}
		if again := record(t, e); !bytes.Equal(again, body) {
			t.Errorf("%s: two runs differ", kind.Name)
		}
	}
}

func TestRecordRefuses(t *testing.T) {
	approval, _ := audit.KindOf("approval")
	tests := []struct {
		name string
		edit func(*brevet.Event)
	}{
		{"an unknown kind", func(e *brevet.Event) { e.Kind = "approval2" }},
		{"a kind that acts on a terminal", func(e *brevet.Event) { e.Kind = "\x1b[2J" }},
		{"no id", func(e *brevet.Event) { e.ID = "" }},
		{"no time", func(e *brevet.Event) { e.At = time.Time{} }},
		{"a time before 1970", func(e *brevet.Event) { e.At = time.UnixMicro(-1) }},
		{"a time after all", func(e *brevet.Event) { e.At = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }},
		{"no outcome", func(e *brevet.Event) { e.Outcome = "" }},
		{"another outcome", func(e *brevet.Event) { e.Outcome = "maybe" }},
		{"no statement", func(e *brevet.Event) { e.Statement = nil }},
		{"a statement where there is none", func(e *brevet.Event) { e.Kind = "gateway.joined" }},
		{"a secret", func(e *brevet.Event) { e.Detail = map[string]any{"token": brevet.Secret{}} }},
		{"what is no data", func(e *brevet.Event) { e.Detail = make(chan int) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := full(approval)
			tt.edit(&e)
			_, err := audit.Record(e)
			if brevet.KindOf(err) != brevet.Invalid {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(err.Error(), "\x1b") {
				t.Errorf("the error acts on a terminal: %q", err)
			}
		})
	}
}

// hostile are texts that people may put into a reason, a name or a ticket.
var hostile = []string{
	"\x1b]52;c;cm0gLXJmIH4=\x07 \x1b[2J\x9b31m", // OSC 52, clear, a C1 control
	"user\u202egnp.exe \u2066isolated\u2069",    // bidirectional marks
	"a\u200bb\u200dc\ufeffd\u00ad",              // zero width, byte order mark, soft hyphen
	"line\u2028separator\u2029",                 // line ends in JavaScript
	"\xff\xfe broken \xc3",                      // not UTF-8
	"\x00 nul",                                  //
	"</script><img src=x>",                      //
	`","kind":"root","x":"`,                     // an attack on the JSON
	"\U000e0041\U000e0001 tags",                 // tag characters
	"\ufe0f\U000e0100 variation selectors",      //
	"\ud7ff\ue000\uf8ff private",                //
	"Ünïcödé stays, 漢字 too, 🔑 as well",          //
	strings.Repeat("long ", 1<<16),              //
}

func TestRecordIsInert(t *testing.T) {
	approval, _ := audit.KindOf("approval")
	for _, text := range hostile {
		e := full(approval)
		e.Message, e.CorrelationID, e.Actor.Key, e.Actor.Via = text, text, text, brevet.Via(text)
		e.Detail = map[string]any{text: text}
		checkInert(t, record(t, e))
	}
	e := full(approval)
	e.Message = "Ünïcödé stays, 漢字 too"
	if body := record(t, e); !bytes.Contains(body, []byte("Ünïcödé stays, 漢字 too")) {
		t.Errorf("readable text was escaped: %s", body)
	}
}

func checkInert(t *testing.T, body []byte) {
	t.Helper()
	if !json.Valid(body) || !utf8.Valid(body) || len(body) > audit.MaxBody {
		t.Fatalf("a body of %d bytes is not JSON, not UTF-8 or too long: %.100q", len(body), body)
	}
	for _, r := range string(body) {
		if r != ' ' && !unicode.IsGraphic(r) || r > 0x7e && (!unicode.IsPrint(r) || unicode.Is(unicode.Variation_Selector, r)) {
			t.Fatalf("%U stands in %q", r, body)
		}
	}
}

func TestRecordCutsWhatIsLong(t *testing.T) {
	approval, _ := audit.KindOf("approval")
	e := full(approval)
	e.Detail = map[string]string{"reason": strings.Repeat("ä", audit.MaxBody)}
	var got struct {
		Unmapped struct {
			Brevet struct {
				Detail struct {
					Cut    bool
					Bytes  int
					SHA256 string
					Begins string
				}
			}
		}
	}
	if err := json.Unmarshal(record(t, e), &got); err != nil {
		t.Fatal(err)
	}
	d := got.Unmapped.Brevet.Detail
	if !d.Cut || d.Bytes != 2*audit.MaxBody+len(`{"reason":""}`) || len(d.SHA256) != 64 || !strings.HasPrefix(d.Begins, `{"reason":"ä`) || !strings.HasSuffix(d.Begins, "ä…") {
		t.Errorf("got %+v", d)
	}
}

func TestSearchTextStandsInBodies(t *testing.T) {
	approval, _ := audit.KindOf("approval")
	for _, text := range hostile[:len(hostile)-1] {
		e := full(approval)
		e.Detail = map[string]any{"text": text}
		if body := record(t, e); !bytes.Contains(body, []byte(audit.SearchText(text))) {
			t.Errorf("%q, searched as %q, is not found in %s", text, audit.SearchText(text), body)
		}
	}
}

func TestEnvelopeHash(t *testing.T) {
	approval, _ := audit.KindOf("approval")
	body := record(t, full(approval))
	if got := audit.EnvelopeHashOf(body); got != audit.EnvelopeHash([]byte("the envelope")) || len(got) != 64 {
		t.Errorf("got %q", got)
	}
	joined, _ := audit.KindOf("gateway.joined")
	for name, body := range map[string][]byte{"none": record(t, full(joined)), "no JSON": []byte("x"), "nothing": nil} {
		if got := audit.EnvelopeHashOf(body); got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// FuzzRecord: whatever people write, the body is inert JSON, and what is kept beside it to
// search by is what it says.
func FuzzRecord(f *testing.F) {
	for i, text := range hostile[:len(hostile)-1] {
		f.Add(uint8(i), text, "alice", "bob", false, int64(1764000000123456))
	}
	f.Add(uint8(7), "x", "gw1", "gw1", true, int64(1))
	f.Add(uint8(0), `"time":1764000000123,"time_dt":"2025-11-24T16:00:00.123456Z"`, `"time":1764000000123`, "bob", false, int64(1764000000123456))
	f.Fuzz(func(t *testing.T, kind uint8, text, actor, about string, machine bool, at int64) {
		e := full(audit.Kinds[int(kind)%len(audit.Kinds)])
		e.Message, e.Detail, e.At = text, []string{text}, time.UnixMicro(at)
		if e.Actor.Person, e.About = brevet.PersonID(actor), brevet.PersonID(about); machine {
			e.Actor.Machine = brevet.MachineID(actor)
		}
		body, err := audit.Record(e)
		if err != nil {
			if at > 0 && e.At.UTC().Year() < 10000 {
				t.Fatal(err)
			}
			return
		}
		checkInert(t, body)
		checkLater(t, e)
		leaf := audit.Leaf{Kind: e.Kind, Subject: e.Subject, Body: audit.BodyHash([audit.SaltSize]byte{}, body)}
		fields := audit.FieldsOf(e)
		var walk audit.Walk
		if p := walk.Next(audit.Row{Leaf: leaf, Salt: make([]byte, audit.SaltSize), Body: body, Statement: e.Statement, Fields: &fields}); p != nil {
			t.Errorf("%v: %+v in %s", p, fields, body)
		}
	})
}

// checkLater: an event that is told to be later is recorded as if it had been so from the beginning.
func checkLater(t *testing.T, e brevet.Event) {
	t.Helper()
	draft, err := audit.NewDraft(e)
	if err != nil {
		t.Fatal(err)
	}
	for _, later := range []time.Duration{0, time.Microsecond, time.Hour, 1000 * 24 * time.Hour} {
		moved := e
		moved.At = e.At.Add(later)
		want, err := audit.Record(moved)
		got, problem := draft.At(moved.At)
		if string(got) != string(want) || (err == nil) != (problem == nil) {
			t.Errorf("%v later: %s (%v)\nwant %s (%v)", later, got, problem, want, err)
		}
	}
	if _, err := draft.At(e.At.Add(-time.Microsecond)); err == nil {
		t.Error("an event was moved back in time")
	}
}

func BenchmarkRecord(b *testing.B) {
	approval, _ := audit.KindOf("approval")
	e := full(approval)
	for b.Loop() {
		if _, err := audit.Record(e); err != nil {
			b.Fatal(err)
		}
	}
}
