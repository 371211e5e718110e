package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/brevet-pim/brevet"
)

// parseCast holds text against the format's definition (https://docs.asciinema.org/manual/asciicast/v2/)
// with a JSON reader of its own, and returns its events as "code data".
func parseCast(t testing.TB, text string) (header map[string]any, lines []string) {
	t.Helper()
	if !utf8.ValidString(text) || !strings.HasSuffix(text, "\n") {
		t.Fatalf("not lines of UTF-8: %q", text)
	}
	last := 0.0
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if i == 0 {
			if err := json.Unmarshal([]byte(line), &header); err != nil {
				t.Fatalf("header: %v", err)
			}
			if header["version"] != 2.0 || header["width"].(float64) < 1 || header["height"].(float64) < 1 {
				t.Fatalf("header %s", line)
			}
			if at, ok := header["timestamp"]; ok && at.(float64) != math.Trunc(at.(float64)) {
				t.Fatalf("timestamp %v", at)
			}
			continue
		}
		var event []any
		if err := json.Unmarshal([]byte(line), &event); err != nil || len(event) != 3 {
			t.Fatalf("line %d: %v: %s", i+1, err, line)
		}
		at, isNumber := event[0].(float64)
		code, isCode := event[1].(string)
		data, isData := event[2].(string)
		if !isNumber || !isCode || !isData || at < last || !strings.Contains("oirm", code) {
			t.Fatalf("line %d: %s", i+1, line)
		}
		if columns, rows := 0, 0; code == "r" {
			if n, _ := fmt.Sscanf(data, "%dx%d", &columns, &rows); n != 2 || columns < 1 || rows < 1 {
				t.Fatalf("line %d: size %q", i+1, data)
			}
		}
		last = at
		lines = append(lines, fmt.Sprintf("%.6f %s %s", at, code, data))
	}
	return header, lines
}

func TestAsciicast(t *testing.T) {
	start := Start{Session: testSession, Person: "bob", Target: "web1", Login: "root", Term: "xterm-256color", Columns: 132, Rows: 43,
		At: time.Date(2026, 5, 1, 12, 30, 0, 987654000, time.UTC).UnixMicro()}
	var out bytes.Buffer
	err := Asciicast(&out, events(
		startEvent(t, start),
		Event{Kind: KindEnv, At: 1, Data: []byte("LANG=C")},
		output(1500*time.Microsecond, "hello\r\n\xe2\x82"), // a character split over two events
		output(2*time.Millisecond, "\xac\x1b]52;c;eA==\x07\"quoted\"\\"),
		Event{Kind: KindStderr, At: 3 * time.Millisecond, Data: []byte("err\xff")},
		Event{Kind: KindStdin, At: 4 * time.Millisecond, Data: []byte("secret")},
		sizeEvent(time.Second, 80, 24),
		sizeEvent(time.Second, 0, 24),
		Event{Kind: KindMark, At: 2 * time.Second, Data: []byte("stdin beyond 10 bytes is not recorded")},
		output(100*time.Hour+time.Nanosecond, "late\xe2"),
		Event{Kind: KindExit, At: 100 * time.Hour, Data: []byte{0}},
	), false)
	if err != nil {
		t.Fatal(err)
	}
	header, lines := parseCast(t, out.String())
	wantHeader := map[string]any{"version": 2.0, "width": 132.0, "height": 43.0, "timestamp": 1777638600.0,
		"title": "ses_01h00000000000000000000001: bob on web1 as root", "env": map[string]any{"TERM": "xterm-256color"}}
	if diff := cmp.Diff(wantHeader, header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	want := []string{
		"0.001500 o hello\r\n",
		"0.002000 o €\"quoted\"\\",
		"0.003000 o err\ufffd",
		"1.000000 r 80x24",
		"2.000000 m stdin beyond 10 bytes is not recorded",
		"360000.000000 o late",
		"360000.000000 o \ufffd",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestAsciicastRawKeepsEscapes(t *testing.T) {
	var out bytes.Buffer
	if err := Asciicast(&out, events(startEvent(t, Start{}), output(0, "\x1b]0;title\x07x\xff\xe2\x82")), true); err != nil {
		t.Fatal(err)
	}
	header, lines := parseCast(t, out.String())
	if header["width"] != 80.0 || header["height"] != 24.0 {
		t.Errorf("an exec without a terminal is %vx%v", header["width"], header["height"])
	}
	if diff := cmp.Diff([]string{"0.000000 o \x1b]0;title\x07x\ufffd", "0.000000 o \ufffd\ufffd"}, lines); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestAsciicastWithoutStart(t *testing.T) {
	if err := Asciicast(new(bytes.Buffer), events(output(0, "x")), false); brevet.KindOf(err) != brevet.Invalid {
		t.Errorf("got %v", err)
	}
	if err := Asciicast(new(bytes.Buffer), events(), false); brevet.KindOf(err) != brevet.Invalid {
		t.Errorf("got %v", err)
	}
}

// TestAsciicastOfACutRecording is good as far as it goes.
func TestAsciicastOfACutRecording(t *testing.T) {
	var out bytes.Buffer
	problem := &Problem{Session: testSession, Fault: Cut, Chunk: 1}
	err := Asciicast(&out, func(yield func(Event, error) bool) {
		_ = yield(startEvent(t, Start{}), nil) && yield(output(1, "x"), nil) && yield(Event{}, problem)
	}, false)
	if err != problem {
		t.Errorf("got %v", err)
	}
	if _, lines := parseCast(t, out.String()); len(lines) != 1 {
		t.Errorf("got %q", lines)
	}
}

func TestReadAsciicastReadsWhatIsWritten(t *testing.T) {
	var out bytes.Buffer
	whole := []Event{startEvent(t, Start{Term: "vt100", Columns: 10, Rows: 5, At: 7e6}), output(time.Second, "x\x1b[31my"), sizeEvent(2*time.Second, 20, 10),
		{Kind: KindMark, At: 3 * time.Second, Data: []byte("m")}}
	if err := Asciicast(&out, events(whole...), true); err != nil {
		t.Fatal(err)
	}
	var got []Event
	for e, err := range ReadAsciicast(&out) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	if diff := cmp.Diff(whole[1:], got[1:]); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if s, err := got[0].Start(); err != nil || s.Columns != 10 || s.Rows != 5 || s.Term != "vt100" || s.At != 7e6 {
		t.Errorf("start %+v, %v", s, err)
	}
}

// TestPlayerBombs has files that a player must refuse before they cost anything (GAUNTLET Q50).
func TestPlayerBombs(t *testing.T) {
	const head = `{"version": 2, "width": 80, "height": 24}` + "\n"
	tests := []struct{ name, text string }{
		{"nothing", ""},
		{"blank lines", "\n \n"},
		{"a blank line for a header", "\n[1, \"o\", \"x\"]"},
		{"not JSON", "hello"},
		{"another version", `{"version": 3, "width": 80, "height": 24}`},
		{"version 1", `{"version": 1, "width": 80, "height": 24, "stdout": []}`},
		{"a billion columns", `{"version": 2, "width": 1000000000, "height": 24}`},
		{"no rows", `{"version": 2, "width": 80, "height": 0}`},
		{"negative rows", `{"version": 2, "width": 80, "height": -24}`},
		{"columns of floats", `{"version": 2, "width": 8e1, "height": 2.5}`},
		{"began in the far future", `{"version": 2, "width": 80, "height": 24, "timestamp": 9223372036854775807}`},
		{"NaN", head + `[NaN, "o", "x"]`},
		{"time as text", head + `["NaN", "o", "x"]`},
		{"negative time", head + `[-1, "o", "x"]`},
		{"enormous time", head + `[1e300, "o", "x"]`},
		{"infinite time", head + `[1e999, "o", "x"]`},
		{"time goes back", head + `[2, "o", "x"]` + "\n" + `[1, "o", "x"]`},
		{"two values", head + `[1, "o"]`},
		{"four values", head + `[1, "o", "x", "y"]`},
		{"an object", head + `{"o": 1}`},
		{"data that is none", head + `[1, "o", 7]`},
		{"a size that is none", head + `[1, "r", "80"]`},
		{"an enormous size", head + `[1, "r", "999999999x1"]`},
		{"a negative size", head + `[1, "r", "-1x1"]`},
		{"a gzip", "\x1f\x8b\x08\x00"},
		{"a line without end", head + `[1, "o", "` + strings.Repeat("x", maxCastLine+1)},
		{"a list of millions", head + "[" + strings.Repeat("1,", maxCastLine) + "1]"},
		{"lists in lists", head + strings.Repeat("[", 1_000_000)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var err error
			for _, err = range ReadAsciicast(strings.NewReader(tt.text)) {
				if err != nil {
					break
				}
			}
			if brevet.KindOf(err) != brevet.Invalid || err == nil {
				t.Errorf("got %v, want Invalid", err)
			}
		})
	}
}

// FuzzAsciicast reads hostile files and writes what was read: that must be well-formed.
func FuzzAsciicast(f *testing.F) {
	f.Add(`{"version": 2, "width": 80, "height": 24, "env": {"TERM": "x"}}` + "\n" + `[0.5, "o", "\u001b[31mx"]` + "\n" + `[1, "r", "10x10"]` + "\n" + `[1, "m", ""]` + "\n" + `[2, "x", "?"]`)
	f.Add("{}\n[]")
	f.Add(`{"version":2,"width":1,"height":1}` + "\n\n" + `[1e-9,"o","\ud800"]`)
	f.Fuzz(func(t *testing.T, text string) {
		var all []Event
		for e, err := range ReadAsciicast(strings.NewReader(text)) {
			if err != nil {
				return
			}
			if err := e.check(); err != nil {
				t.Fatal(err)
			}
			e.Data = bytes.Clone(e.Data)
			all = append(all, e)
		}
		for _, raw := range []bool{true, false} {
			var out bytes.Buffer
			if err := Asciicast(&out, events(all...), raw); err != nil {
				t.Fatal(err)
			}
			parseCast(t, out.String())
		}
	})
}
