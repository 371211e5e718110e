package cli

import (
	"strings"
	"testing"

	"github.com/brevet-pim/brevet"
)

func TestShortIDs(t *testing.T) {
	for id, want := range map[string]string{
		"req_01k8yqkz7m9v3c5t2n4b6d7k2m": "req_6d7k2m",
		"req_7k2m":                       "req_7k2m",
		"no-prefix":                      "no-prefix",
		"":                               "",
	} {
		if got := short(id); got != want {
			t.Errorf("short(%q) = %q, want %q", id, got, want)
		}
	}
}

func TestEnding(t *testing.T) {
	tests := []struct{ typed, want string }{
		{"req_7k2m", "7k2m"},
		{"7k2m", "7k2m"},
		{"REQ_7K2M", "7k2m"},
		{"7k", ""}, // too little to be sure of
		{"req_", ""},
		{"req_7k2m; rm -rf /", ""},
		{"grt_7k2m", ""}, // of another noun
		{"７k2m", ""},     // full width
		{"", ""},
	}
	for _, tt := range tests {
		got, err := ending(tt.typed, "req_")
		if got != tt.want || (err != nil) != (tt.want == "") || err != nil && brevet.KindOf(err) != brevet.Invalid {
			t.Errorf("ending(%q) = %q, %v; want %q", tt.typed, got, err, tt.want)
		}
	}
}

func TestOnly(t *testing.T) {
	ids := []string{"ses_aaa111", "ses_bbb111", "ses_ccc222", "ses_ccc222"}
	tests := []struct {
		end, want string
		kind      brevet.Kind
	}{
		{"222", "ses_ccc222", 0}, // listed twice is one
		{"aaa111", "ses_aaa111", 0},
		{"111", "", brevet.Conflict},
		{"333", "", brevet.NotFound},
	}
	for _, tt := range tests {
		got, err := only(ids, tt.end, tt.end, "session", "brevet sessions lists them")
		if got != tt.want || tt.want == "" && brevet.KindOf(err) != tt.kind {
			t.Errorf("only(%q) = %q, %v", tt.end, got, err)
		}
	}
}

func TestPagesEnd(t *testing.T) {
	asked := 0
	ids, err := pages(func(string) ([]string, string, error) {
		asked++
		return []string{"x"}, "there is always more", nil
	})
	if err != nil || asked != listed || len(ids) != listed {
		t.Errorf("asked %d times, got %d ids, %v", asked, len(ids), err)
	}
}

// FuzzEnding: whatever is typed, an ending is plain enough to be compared and shown.
func FuzzEnding(f *testing.F) {
	for _, s := range []string{"req_7k2m", "7K2", "req_req_7k2m", "\x1b[31m", "req_\u202e7k2m"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		end, err := ending(typed, "req_")
		if err != nil {
			if brevet.KindOf(err) != brevet.Invalid {
				t.Errorf("%q: %v", typed, err)
			}
			return
		}
		if len(end) < 3 || strings.Trim(end, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			t.Errorf("%q ends with %q", typed, end)
		}
		if again, err := ending(end, "req_"); err != nil || again != end {
			t.Errorf("%q then %q, %v", end, again, err)
		}
	})
}
