package home

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/identity/enrol"
)

func open(t testing.TB) *Home {
	t.Helper()
	h, err := Open(filepath.Join(t.TempDir(), "brevet"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func TestDir(t *testing.T) {
	tests := []struct {
		name string
		env  map[string]string
		want string
	}{
		{"said", map[string]string{"BREVET_HOME": "demo/bob", "HOME": "/home/bob"}, "demo/bob"},
		{"XDG", map[string]string{"XDG_CONFIG_HOME": "/cfg", "HOME": "/home/bob"}, "/cfg/brevet"},
		{"XDG that is not whole", map[string]string{"XDG_CONFIG_HOME": "cfg", "HOME": "/home/bob"}, "/home/bob/.config/brevet"},
		{"usual", map[string]string{"HOME": "/home/bob"}, "/home/bob/.config/brevet"},
		{"nowhere", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Dir(func(k string) string { return tt.env[k] })
			if got != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestOpenClosesToOthers(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v, %v", info.Mode(), err)
	}
}

// TestOthersFoldersStayOpen: a folder that was named by mistake is not shut to those who use it.
func TestOthersFoldersStayOpen(t *testing.T) {
	for _, tt := range []struct {
		name string
		mode fs.FileMode
		file string
	}{
		{"like /tmp", 0o777 | fs.ModeSticky, ""},
		{"like /tmp, where somebody has put a profile", 0o777 | fs.ModeSticky, profileFile},
		{"like a home folder", 0o755, ".bashrc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.file != "" {
				if err := os.WriteFile(filepath.Join(dir, tt.file), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(dir, tt.mode); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir); brevet.KindOf(err) != brevet.Refused {
				t.Errorf("opened with %v", err)
			}
			if info, err := os.Stat(dir); err != nil || info.Mode()&^fs.ModeDir != tt.mode {
				t.Errorf("it has mode %v now, %v", info.Mode(), err)
			}
		})
	}
}

func TestWriteIsPrivateAndWhole(t *testing.T) {
	h := open(t)
	for _, want := range []string{"first", "second"} {
		if err := h.Write("x", []byte(want)); err != nil {
			t.Fatal(err)
		}
		got, err := h.Read("x")
		if err != nil || string(got) != want {
			t.Errorf("got %q, %v", got, err)
		}
	}
	info, err := os.Stat(h.Path("x"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(h.Path(""))
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// TestLinksAreNotFollowed: somebody who can plant a link gains neither a read nor a write elsewhere.
func TestLinksAreNotFollowed(t *testing.T) {
	h := open(t)
	outside := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(outside, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, h.Path("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Read("x"); brevet.KindOf(err) != brevet.Refused {
		t.Errorf("a link was read: %v", err)
	}
	if err := h.Write("x", []byte("mine")); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(outside); string(b) != "precious" {
		t.Errorf("a link was followed: %q", b)
	}
	for _, name := range []string{"../y", "/etc/passwd", "sub/../../y"} {
		if err := h.Write(name, nil); err == nil {
			t.Errorf("%s was written", name)
		}
		if _, err := h.Read(name); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

func TestReadRefusesWhatOthersMayTouch(t *testing.T) {
	h := open(t)
	for _, mode := range []os.FileMode{0o640, 0o602, 0o644} {
		if err := h.Write("x", []byte("secret")); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(h.Path("x"), mode); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Read("x"); brevet.KindOf(err) != brevet.Refused {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if _, err := h.Read("nothing"); brevet.KindOf(err) != brevet.NotFound {
		t.Errorf("no file: %v", err)
	}
}

func profile() Profile {
	return Profile{Server: "pim.example.org:7443", Root: strings.Repeat("ab", 32), Pin: strings.Repeat("0c", 32), Person: "bob", Key: "/home/bob/.ssh/id_ed25519"}
}

func TestProfile(t *testing.T) {
	h := open(t)
	if _, err := h.Profile(); brevet.KindOf(err) != brevet.NotFound {
		t.Errorf("no profile: %v", err)
	}
	if err := h.SetProfile(profile()); err != nil {
		t.Fatal(err)
	}
	got, err := h.Profile()
	if diff := cmp.Diff(profile(), got); err != nil || diff != "" {
		t.Errorf("%v, differs (-want +got):\n%s", err, diff)
	}
	if err := h.Forget(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Profile(); brevet.KindOf(err) != brevet.NotFound {
		t.Errorf("forgotten: %v", err)
	}
}

func TestBadProfiles(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Profile)
	}{
		{"no port", func(p *Profile) { p.Server = "pim.example.org" }},
		{"a URL", func(p *Profile) { p.Server = "https://pim.example.org:7443" }},
		{"a root cut short", func(p *Profile) { p.Root = p.Root[:62] }},
		{"a root in capitals", func(p *Profile) { p.Root = strings.ToUpper(p.Root) }},
		{"no pin", func(p *Profile) { p.Pin = "" }},
		{"a person with a control", func(p *Profile) { p.Person = "bob\x1b" }},
		{"no key", func(p *Profile) { p.Key = "" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := profile()
			tt.change(&p)
			if err := open(t).SetProfile(p); brevet.KindOf(err) != brevet.Invalid {
				t.Errorf("got %v", err)
			}
		})
	}
}

// FuzzProfile: a profile that somebody else wrote is read as one that could have been written, or
// refused.
func FuzzProfile(f *testing.F) {
	h := open(f)
	if err := h.SetProfile(profile()); err != nil {
		f.Fatal(err)
	}
	good, err := h.Read(profileFile)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(append(good, "extra: 1\n"...))
	f.Add(bytes.ToUpper(good))
	f.Add([]byte("server: [a]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := h.Write(profileFile, b); err != nil {
			t.Fatal(err)
		}
		p, err := h.Profile()
		if err != nil {
			if brevet.KindOf(err) != brevet.Invalid {
				t.Errorf("%q: %v", b, err)
			}
			return
		}
		if err := h.SetProfile(p); err != nil {
			t.Errorf("%q was read but cannot be written: %v", b, err)
		}
	})
}

func signIn(t *testing.T) SignIn {
	t.Helper()
	certificate, err := NewCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return SignIn{Token: enrol.NewToken(), Certificate: certificate, Server: "127.0.0.1:7443", Until: time.Now().Add(time.Hour).UTC()}
}

func TestSignIn(t *testing.T) {
	h := open(t)
	if _, err := h.SignIn(); brevet.KindOf(err) != brevet.NotFound {
		t.Errorf("none: %v", err)
	}
	want := signIn(t)
	if err := h.SetSignIn(want); err != nil {
		t.Fatal(err)
	}
	got, err := h.SignIn()
	if err != nil {
		t.Fatal(err)
	}
	if got.Token != want.Token || got.Server != want.Server || !got.Until.Equal(want.Until) || Thumbprint(got.Certificate) != Thumbprint(want.Certificate) {
		t.Errorf("got %+v", got)
	}
	if err := h.ForgetSignIn(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.SignIn(); brevet.KindOf(err) != brevet.NotFound {
		t.Errorf("forgotten: %v", err)
	}
}

// TestHalfASignIn: a token is never used with the certificate of another sign-in.
func TestHalfASignIn(t *testing.T) {
	h := open(t)
	if err := h.SetSignIn(signIn(t)); err != nil {
		t.Fatal(err)
	}
	kept := map[string][]byte{}
	for _, name := range []string{ClientKeyFile, ClientCertificateFile} {
		b, err := h.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		kept[name] = b
	}
	if err := h.SetSignIn(signIn(t)); err != nil {
		t.Fatal(err)
	}
	for name, b := range kept {
		if err := h.Write(name, b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.SignIn(); brevet.KindOf(err) != brevet.NotFound {
		t.Errorf("got %v", err)
	}
}
