package enrol

import (
	"fmt"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet"
)

func example() Code {
	c := Code{Secret: NewSecret(), Address: "127.0.0.1:7443", Person: "bob"}
	c.Pin[0], c.Root[31] = 7, 9
	return c
}

func TestCodeSurvivesPeople(t *testing.T) {
	want := example()
	text, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, typed := range map[string]string{
		"as printed":   text,
		"upper case":   strings.ToUpper(text),
		"blanks":       "  " + text[:30] + " " + text[30:60] + "\t" + text[60:] + "\r\n",
		"broken lines": text[:72] + "\n" + text[72:],
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseCode(typed)
			if err != nil || got != want {
				t.Errorf("ParseCode(%q) = %v, %v, want the code that was printed", typed, got, err)
			}
		})
	}
}

// other returns the letter after b in the alphabet: another one that a code could have.
func other(b byte) string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567a"
	return alphabet[strings.IndexByte(alphabet, b)+1:][:1]
}

func TestCodeWithAMistakeIsRefused(t *testing.T) {
	text, _ := example().Encode()
	wrong := text[:20] + other(text[20]) + text[21:]
	for name, typed := range map[string]string{
		"nothing":         "",
		"prefix only":     codePrefix,
		"other version":   "brevet2-" + text[len(codePrefix):],
		"one letter":      wrong,
		"cut off":         text[:len(text)-3],
		"something after": text + "aa",
		"no letter":       text[:40] + "1" + text[41:],
		"enormous":        text + strings.Repeat(" ", maxCode),
		"a url":           "https://example.org/" + text,
	} {
		t.Run(name, func(t *testing.T) {
			if c, err := ParseCode(typed); brevet.KindOf(err) != brevet.Invalid {
				t.Errorf("ParseCode = %v, %v, want an Invalid error", c, err)
			}
		})
	}
}

func TestCodeRefusesWhatCannotBeTrusted(t *testing.T) {
	for _, address := range []string{"", "host", "host:", ":7443", "host:0", "host:70000", "host:ssh", "ho st:1", "h\x1b[2J:1", "hoﬆ:1", "user@host:1", "host/path:1", strings.Repeat("a", 300) + ":1"} {
		c := example()
		c.Address = address
		if _, err := c.Encode(); brevet.KindOf(err) != brevet.Invalid {
			t.Errorf("address %q: %v, want an Invalid error", address, err)
		}
	}
	c := example()
	c.Person = "Bob "
	if _, err := c.Encode(); brevet.KindOf(err) != brevet.Invalid {
		t.Errorf("person: %v, want an Invalid error", err)
	}
}

func TestSecretsDoNotShow(t *testing.T) {
	c, token := example(), NewToken()
	shown := fmt.Sprintf("%v %+v %#v %s %v %+v %#v", c, c, c, c.Secret, token, token, token)
	if strings.Contains(shown, c.Secret.Reveal()) || strings.Contains(shown, token.Reveal()) {
		t.Errorf("a secret shows in %s", shown)
	}
}

func TestSecretRoundTrip(t *testing.T) {
	s := NewSecret()
	got, err := ParseSecret(s.Reveal())
	if err != nil || got != s || len(s.Digest()) != 64 || s.Digest() == s.Reveal() {
		t.Errorf("ParseSecret(Reveal()) = %v, %v", got, err)
	}
	for _, bad := range []string{"", "00", strings.ToUpper("ab" + s.Reveal()[2:]), s.Reveal() + "00"} {
		if _, err := ParseSecret(bad); brevet.KindOf(err) != brevet.Invalid {
			t.Errorf("ParseSecret(%q): %v, want an Invalid error", bad, err)
		}
	}
}

func TestToken(t *testing.T) {
	token := NewToken()
	text := token.Reveal()
	if !strings.HasPrefix(text, TokenPrefix) || NewToken() == token {
		t.Fatalf("token %q: want the prefix, and another each time", text)
	}
	if got, err := ParseToken(text); err != nil || got != token || got.Digest() != token.Digest() {
		t.Errorf("ParseToken(%q) = %v, %v", text, got, err)
	}
	for name, bad := range map[string]string{
		"nothing": "", "prefix": TokenPrefix, "no prefix": text[len(TokenPrefix):], "longer": text + "a", "shorter": text[:len(text)-1],
		"upper case": strings.ToUpper(text), "other ending": text[:len(text)-1] + other(text[len(text)-1]), "blank": text + " ", "one letter": TokenPrefix + other(text[len(TokenPrefix)]) + text[len(TokenPrefix)+1:],
	} {
		if _, err := ParseToken(bad); brevet.KindOf(err) != brevet.Unauthenticated {
			t.Errorf("%s: %v, want an Unauthenticated error", name, err)
		} else if bad != "" && strings.Contains(err.Error(), bad) && len(bad) > len(TokenPrefix) {
			t.Errorf("%s: the error repeats the token", name)
		}
	}
}

func FuzzParseCode(f *testing.F) {
	text, _ := example().Encode()
	f.Add(text)
	f.Add(strings.ToUpper(text[:80]) + " " + text[80:])
	f.Add(codePrefix + "aaaa")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCode(s)
		if err != nil {
			return
		}
		again, err := c.Encode()
		if err != nil || again != strings.ToLower(withoutBlanks(s)) {
			t.Errorf("ParseCode(%q) encodes to %q, %v", s, again, err)
		}
	})
}

func FuzzParseToken(f *testing.F) {
	f.Add(NewToken().Reveal())
	f.Add(TokenPrefix)
	f.Fuzz(func(t *testing.T, s string) {
		if token, err := ParseToken(s); err == nil && token.Reveal() != s {
			t.Errorf("ParseToken(%q) became %q", s, token.Reveal())
		}
	})
}
