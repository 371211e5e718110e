package brevet

import "testing"

func TestCheckText(t *testing.T) {
	tests := []struct {
		name, text string
		lines, ok  bool
	}{
		{"plain", "restart nginx", false, true},
		{"accents", "Größe ändern, 再起動", false, true},
		{"empty", "", false, true},
		{"line feed where lines are", "a\nb\tc", true, true},
		{"line feed where no lines are", "a\nb", false, false},
		{"carriage return hides what stood before", "evil\rgood", true, false},
		{"terminal escape", "\x1b[2J", true, false},
		{"C1 control", "a\u009bb", true, false},
		{"right-to-left override", "a\u202eb", true, false},
		{"isolate", "a\u2066b", true, false},
		{"zero width space", "a\u200bb", true, false},
		{"byte order mark", "\ufeffa", true, false},
		{"tag characters", "a\U000e0041", true, false},
		{"line separator", "a\u2028b", true, false},
		{"not UTF-8", "a\xffb", true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := CheckText("reason", tt.text, tt.lines); (err == nil) != tt.ok {
				t.Errorf("CheckText(%q) = %v, want ok %v", tt.text, err, tt.ok)
			}
		})
	}
}

func TestNearest(t *testing.T) {
	tests := []struct {
		word  string
		words []string
		want  string
	}{
		{"web-rot", []string{"db-admin", "web-root", "web-shell"}, "web-root"},
		{"reqest", []string{"request", "revoke"}, "request"},
		{"aprove", []string{"approve", "revoke"}, "approve"},
		{"duratoin", []string{"duration", "description"}, "duration"},
		{"xyz", []string{"web-root"}, ""},
		{"a", []string{"b"}, ""},
		{"", []string{"b"}, ""},
	}
	for _, tt := range tests {
		got, ok := Nearest(tt.word, tt.words)
		if !ok {
			got = ""
		}
		if got != tt.want {
			t.Errorf("Nearest(%q, %q) = %q, want %q", tt.word, tt.words, got, tt.want)
		}
	}
}
