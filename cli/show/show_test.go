package show

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
)

func TestText(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain", "restart stuck nginx", "restart stuck nginx"},
		{"other scripts", "Grüße, 日本", "Grüße, 日本"},
		{"colour", "\x1b[31mred", `\x1b[31mred`},
		{"title of the window", "\x1b]0;x\a", `\x1b]0;x\x07`},
		{"C1 controls", "\u009b31m", `\x9b31m`},
		{"lines", "a\nb\tc\rd", `a\nb\tc\rd`},
		{"right to left", "txt\u202egpj", `txt\u202egpj`},
		{"zero width", "ad\u200bmin", `ad\u200bmin`},
		{"no UTF-8", "a\xffb", `a\xffb`},
		{"blank that is no space", "a\u00a0b", `a\xa0b`},
		{"tags", "a\U000e0041b", `a\U000e0041b`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Text(tt.in); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLinesKeepsLines(t *testing.T) {
	if got := Lines("a\n\tb\x1b"); got != "a\n\tb\\x1b" {
		t.Errorf("got %q", got)
	}
}

// FuzzText: nothing that a terminal acts on comes through, on one line or on several, in tables and
// in both machine-readable forms.
func FuzzText(f *testing.F) {
	for _, s := range []string{"plain", "\x1b[2J", "\u202e", "a\xff", "日本\n", "\u009b", strings.Repeat("x", 300)} {
		f.Add(s, 20)
	}
	f.Fuzz(func(t *testing.T, s string, columns int) {
		harmless(t, Text(s), "")
		harmless(t, Lines(s), "\n\t")
		if cut := Cut(Text(s), 10); Width(cut) > 10 {
			t.Errorf("%q is wider than 10", cut)
		}
		var b bytes.Buffer
		table := Table{Head: []string{"A", "B"}}
		table.Add(s, "x")
		if err := table.Write(&b, max(0, columns%200)); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(b.String(), "\n"); n != 2 {
			t.Errorf("a table of one row has %d lines", n)
		}
		harmless(t, b.String(), "\n")
		if !utf8.ValidString(s) {
			return
		}
		for _, format := range []Format{AsJSON, AsYAML} {
			b.Reset()
			if err := Message(&b, format, structpb.NewStringValue(s)); err != nil {
				t.Fatal(err)
			}
			harmless(t, b.String(), "\n\t")
		}
		b.Reset()
		if err := MessageLine(&b, structpb.NewStringValue(s)); err != nil {
			t.Fatal(err)
		}
		var back string
		if err := json.Unmarshal(b.Bytes(), &back); err != nil || back != s {
			t.Errorf("%q came back as %q, %v", s, back, err)
		}
	})
}

func harmless(t *testing.T, s, allowed string) {
	t.Helper()
	for _, r := range s {
		if odd(r) && !strings.ContainsRune(allowed, r) {
			t.Errorf("%q holds %U", s, r)
		}
	}
	if !utf8.ValidString(s) {
		t.Errorf("%q is no UTF-8", s)
	}
}

func TestTable(t *testing.T) {
	table := Table{Head: []string{"REQUEST", "WHY"}}
	table.Add("req_7k2m", "restart \x1b[31mnginx, which is stuck since the morning")
	table.Add("req_9", "")
	tests := []struct {
		name    string
		columns int
		want    string
	}{
		{"not a terminal", 0, "REQUEST   WHY\nreq_7k2m  restart \\x1b[31mnginx, which is stuck since the morning\nreq_9     –\n"},
		{"narrow", 30, "REQUEST   WHY\nreq_7k2m  restart \\x1b[31mngi…\nreq_9     –\n"},
		{"too narrow to be of use", 5, "REQUEST   WHY\nreq_7k2m  restart \\x1…\nreq_9     –\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := table.Write(&b, tt.columns); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, b.String()); diff != "" {
				t.Errorf("differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDurations(t *testing.T) {
	tests := []struct {
		typed string
		want  brevet.Seconds
	}{
		{"90s", 90}, {"15m", 900}, {"1h30m", 5400}, {"2d", 172800}, {"1d12h", 129600},
		{"0s", 0}, {"", 0}, {"-5m", 0}, {"1.5s", 0}, {"15", 0}, {"forever", 0}, {"99999999d", 0}, {"9999999h", 0}, {"-1d", 0}, {"1d-1h", 0},
	}
	for _, tt := range tests {
		got, err := ParseDuration(tt.typed)
		if got != tt.want || (err != nil) != (tt.want == 0) {
			t.Errorf("ParseDuration(%q) = %d, %v; want %d", tt.typed, got, err, tt.want)
		}
		if err == nil {
			if back, err := ParseDuration(ExactDuration(got)); err != nil || back != got {
				t.Errorf("%q shows as %s, which is %d", tt.typed, ExactDuration(got), back)
			}
		}
	}
}

func TestShownDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", 90 * time.Second: "1m30s", time.Hour + time.Second: "1h", 75 * time.Hour: "3d3h",
		time.Minute: "1m",
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %s, want %s", d, got, want)
		}
	}
}

func TestClock(t *testing.T) {
	now := time.Date(2026, 6, 1, 14, 30, 0, 0, time.UTC)
	c := Clock{Now: now, UTC: true}
	tests := []struct{ name, got, want string }{
		{"ago", c.Ago(now.Add(-20 * time.Second)), "20s"},
		{"ago, by a clock ahead", c.Ago(now.Add(time.Minute)), "0s"},
		{"left", c.Left(now.Add(11 * time.Minute)), "11m"},
		{"over", c.Left(now), "over"},
		{"never", c.Left(time.Time{}), ""},
		{"today", c.At(now.Add(time.Minute)), "14:31"},
		{"tomorrow", c.At(now.Add(24 * time.Hour)), "2026-06-02 14:30"},
		{"exact", Clock{Now: now, UTC: true, Exact: true}.Ago(now), "2026-06-01T14:30:00.000Z"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, tt.got, tt.want)
		}
	}
}

func TestFormats(t *testing.T) {
	for _, f := range Formats() {
		if got, err := ParseFormat(string(f)); err != nil || got != f {
			t.Errorf("%s: %s, %v", f, got, err)
		}
	}
	if _, err := ParseFormat("xml"); brevet.KindOf(err) != brevet.Invalid {
		t.Errorf("xml: %v", err)
	}
}

// TestAListThatIsEmptyIsThere, so that jq '.requests[]' says nothing instead of failing.
func TestAListThatIsEmptyIsThere(t *testing.T) {
	for _, tt := range []struct {
		m    proto.Message
		want string
	}{
		{&brevetv1.ListRequestsResponse{}, `{"requests":[]}`},
		{&brevetv1.ListRequestsResponse{NextPageToken: "x"}, `{"nextPageToken":"x","requests":[]}`},
		{&brevetv1.ListRequestsResponse{Requests: []*brevetv1.Request{{Id: "req_1"}}}, `{"requests":[{"id":"req_1"}]}`},
		{&structpb.Struct{}, `{}`},
	} {
		var out, compact bytes.Buffer
		if err := Message(&out, AsJSON, tt.m); err != nil {
			t.Fatal(err)
		}
		if err := json.Compact(&compact, out.Bytes()); err != nil || compact.String() != tt.want {
			t.Errorf("got %s, %v, want %s", compact.String(), err, tt.want)
		}
	}
	var out bytes.Buffer
	if err := Message(&out, AsYAML, &brevetv1.ListRequestsResponse{}); err != nil || out.String() != "---\nrequests: []\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}
