package statement_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

type inner struct {
	B string `json:"b"`
}

type document struct {
	inner2
	Text string            `json:"text"`
	N    int64             `json:"n"`
	Yes  bool              `json:"yes"`
	List []inner           `json:"list"`
	Map  map[string]string `json:"map"`
	Data []byte            `json:"data"`
}

type inner2 struct {
	Aa string `json:"aa"`
}

func TestCanonical(t *testing.T) {
	tests := []struct {
		name string
		v    any
		want string
	}{
		{"empty struct, no null", document{}, `{"aa":"","data":"","list":[],"map":{},"n":0,"text":"","yes":false}`},
		{"full", document{inner2{"x"}, "t", -7, true, []inner{{"1"}, {"2"}}, map[string]string{"z": "1", "a": "2"}, []byte{0xff}},
			`{"aa":"x","data":"/w==","list":[{"b":"1"},{"b":"2"}],"map":{"a":"2","z":"1"},"n":-7,"text":"t","yes":true}`},
		{"pointer", &inner{"x"}, `{"b":"x"}`},
		{"named types", []brevet.TargetID{"web1"}, `["web1"]`},
		{"greatest integers", []int64{1<<53 - 1, -(1<<53 - 1)}, `[9007199254740991,-9007199254740991]`},
		// RFC 8785 §3.2.2.2: what must be escaped, and nothing else.
		{"escapes", "\x00\b\t\n\f\r\x1f\"\\/\x7f<>&\u2028\u20ac\U0001F602", `"\u0000\b\t\n\f\r\u001f\"\\/` + "\x7f<>&\u2028\u20ac\U0001F602" + `"`},
		// The sorting example of RFC 8785 §3.2.3: U+1F600 comes before U+FB33, by UTF-16 code units.
		{"order", map[string]string{"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
			"\U0001F600": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"},
			`{"\r":"Carriage Return","1":"One",` + "\"\u0080\":\"Control\",\"\u00f6\":\"Latin Small Letter O With Diaeresis\",\"\u20ac\":\"Euro Sign\",\"\U0001F600\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := statement.Canonical(tt.v)
			if err != nil || string(got) != tt.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, tt.want)
			}
		})
	}
}

func TestCanonicalRefuses(t *testing.T) {
	tests := []struct {
		name string
		v    any
	}{
		{"nil", nil},
		{"nil pointer", struct {
			P *inner `json:"p"`
		}{}},
		{"nil interface", []any{nil}},
		{"float", 1.0},
		{"unsigned", uint64(1)},
		{"beyond 2^53", int64(1 << 53)},
		{"least integer", int64(math.MinInt64)},
		{"not UTF-8", "\xff"},
		{"key not UTF-8", map[string]string{"\xff": ""}},
		{"integer key", map[int]string{1: ""}},
		{"time", noon},
		{"secret", brevet.NewSecret([]byte("x"))},
		{"raw JSON", json.RawMessage(`{}`)},
		{"untagged field", struct{ A string }{}},
		{"omitempty", struct {
			A string `json:"a,omitempty"`
		}{}},
		{"left out", struct {
			A string `json:"-"`
		}{}},
		{"same name twice", struct {
			inner2
			A string `json:"aa"`
		}{}},
		{"array", [1]int{1}},
		{"channel", make(chan int)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := statement.Canonical(tt.v); brevet.KindOf(err) != brevet.Invalid || err == nil {
				t.Errorf("got %s, %v, want an Invalid error", got, err)
			}
		})
	}
}

func TestDecode(t *testing.T) {
	good := `{"aa":"x","data":"/w==","list":[{"b":"1"}],"map":{"k":"v"},"n":1,"text":"t","yes":true}`
	if _, err := statement.Decode[document]([]byte(good), len(good)); err != nil {
		t.Fatal(err)
	}
	swap := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	limit := len(good) + 60
	tests := []struct{ name, json string }{
		{"empty", ``},
		{"null", `null`},
		{"too long", swap(`"t"`, `"`+strings.Repeat("t", 61)+`1"`)},
		{"field missing", swap(`,"n":1`, ``)},
		{"field unknown", swap(`"n":1`, `"m":0,"n":1`)},
		{"field doubled", swap(`"n":1`, `"n":1,"n":1`)},
		{"field doubled, other value", swap(`"n":1`, `"n":2,"n":1`)},
		{"map key doubled", swap(`{"k":"v"}`, `{"k":"v","k":"v"}`)},
		{"map doubled and merged", swap(`"map":{"k":"v"}`, `"map":{"j":"v"},"map":{"k":"v"}`)},
		{"other case", swap(`"n":1`, `"N":1`)},
		{"other order", swap(`"text":"t","yes":true`, `"yes":true,"text":"t"`)},
		{"null list", swap(`[{"b":"1"}]`, `null`)},
		{"null text", swap(`"t"`, `null`)},
		{"white space", swap(`"n":1`, `"n": 1`)},
		{"leading space", " " + swap(`"t"`, `""`)},
		{"trailing bytes", swap(`"t"`, `""`) + "}"},
		{"second document", `{}{}`},
		{"number 1.0", swap(`"n":1`, `"n":1.0`)},
		{"number 1e0", swap(`"n":1`, `"n":1e0`)},
		{"number -0", swap(`"n":1`, `"n":-0`)},
		{"number 01", swap(`"n":1`, `"n":01`)},
		{"number too great", swap(`"n":1`, `"n":9007199254740992`)},
		{"number beyond int64", swap(`"n":1`, `"n":9223372036854775808`)},
		{"number as text", swap(`"n":1`, `"n":"1"`)},
		{"needless escape", swap(`"t"`, `"\u0074"`)},
		{"escaped slash", swap(`"t"`, `"\/"`)},
		{"upper-case escape", swap(`"t"`, `"\u001F"`)},
		{"lone surrogate", swap(`"t"`, `"\ud800"`)},
		{"bytes not UTF-8", swap(`"t"`, "\"\xff\"")},
		{"base64 unpadded", swap(`"/w=="`, `"/w"`)},
		{"base64 stray bits", swap(`"/w=="`, `"/x=="`)},
		{"base64 line break", swap(`"/w=="`, `"/w==\n"`)},
		{"base64 for URLs", swap(`"/w=="`, `"_w=="`)},
		{"byte order mark", "\ufeff" + swap(`"t"`, `""`)},
		{"deep nesting", strings.Repeat("[", 40)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := statement.Decode[document]([]byte(tt.json), limit); err == nil || brevet.KindOf(err) != brevet.Invalid {
				t.Errorf("got %+v, %v, want an Invalid error", got, err)
			}
		})
	}
}

// TestManifest writes a catalog, the largest thing that is hashed, and reads it again.
func TestManifest(t *testing.T) {
	c := manifest(3)
	b := must(statement.Canonical(c))(t)
	again := must(statement.Decode[brevet.Catalog](b, 1<<20))(t)
	if !bytes.Equal(b, must(statement.Canonical(again))(t)) {
		t.Error("a catalog changes when it is read and written again")
	}
	if bytes.Contains(b, []byte("null")) {
		t.Errorf("null in %s", b)
	}
}

// manifest returns a catalog of n roles.
func manifest(n int) brevet.Catalog {
	c := brevet.Catalog{
		Targets:  []brevet.Target{{ID: "web1", Kind: brevet.SSHHost, Address: "web1:22", Labels: map[string]string{"app": "web", "ort": "Köln"}}},
		Policies: []brevet.Policy{{Name: "sre.cedar", Text: "permit (principal, action, resource)\nwhen { context.x < 1 };\n"}},
		Groups:   []brevet.Group{{Name: "sre", Members: []brevet.PersonID{"bob"}}},
	}
	for range n {
		c.Roles = append(c.Roles, brevet.Role{
			Name: "web-root", Description: "root on web servers", Owner: "group:sre", Sensitivity: brevet.Medium,
			Targets: brevet.Selector{Kind: brevet.SSHHost, Labels: map[string]string{"app": "web"}},
			SSH:     brevet.SSHGives{Logins: []string{"root"}, Permit: []string{"pty"}},
			Limits:  brevet.Limits{Duration: 3600, Wait: 600}, Approval: []brevet.Stage{{Group: "sre-leads", Count: 1}},
			Recording: brevet.RecordingRequired, Zone: "Europe/Berlin",
		})
	}
	return c
}

func TestNewHeader(t *testing.T) {
	a := statement.NewHeader(idOf("org"), noon, noon.Add(time.Minute))
	b := statement.NewHeader(idOf("org"), noon, noon.Add(time.Minute))
	if a.Nonce == b.Nonce || len(a.Nonce) != 32 {
		t.Errorf("nonces %q and %q, want two of 128 bits", a.Nonce, b.Nonce)
	}
	if a.At != noon.UnixMicro() || a.Until-a.At != time.Minute.Microseconds() {
		t.Errorf("header %+v: times are wrong", a)
	}
}
