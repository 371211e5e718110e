package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet"
)

func key(t testing.TB, fill byte) Key {
	t.Helper()
	k, err := NewKey(bytes.Repeat([]byte{fill}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func keeper(t testing.TB, current Key, older ...Key) *Keeper {
	t.Helper()
	k, err := NewKeeper(current, older...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeeperRoundTrip(t *testing.T) {
	k := keeper(t, key(t, 1))
	for _, size := range []int{0, 1, 31, 4096, 1 << 20} {
		want := bytes.Repeat([]byte{7}, size)
		sealed, err := k.Seal("issuer/ca", want)
		if err != nil {
			t.Fatal(err)
		}
		if size > 16 && bytes.Contains(sealed, want[:16]) {
			t.Fatal("the plaintext shows in the sealed bytes")
		}
		got, err := k.Open("issuer/ca", sealed)
		if err != nil || !bytes.Equal(got.Reveal(), want) {
			t.Fatalf("%d bytes came back as %d: %v", size, len(got.Reveal()), err)
		}
	}
}

func TestKeeperRefuses(t *testing.T) {
	k := keeper(t, key(t, 1))
	sealed, _ := k.Seal("a", []byte("secret"))
	other, _ := k.Seal("a", []byte("other"))
	mix := append(bytes.Clone(other[:headerSize]), sealed[headerSize:]...)
	tests := []struct {
		name   string
		as     string
		sealed []byte
		want   brevet.Kind
	}{
		{"moved to another name", "b", sealed, brevet.Refused},
		{"no name", "", sealed, brevet.Invalid},
		{"a name of 1 MiB", strings.Repeat("n", 1<<20), sealed, brevet.Invalid},
		{"another object's data key", "a", mix, brevet.Refused},
		{"empty", "a", nil, brevet.Invalid},
		{"only the header", "a", sealed[:headerSize], brevet.Invalid},
		{"cut", "a", sealed[:len(sealed)-1], brevet.Refused},
		{"longer", "a", append(bytes.Clone(sealed), 0), brevet.Refused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := k.Open(tt.as, tt.sealed)
			if err == nil || brevet.KindOf(err) != tt.want {
				t.Errorf("got %q, %v; want an error of kind %v", got.Reveal(), err, tt.want)
			}
		})
	}
	t.Run("any bit flipped", func(t *testing.T) {
		for i := range len(sealed) * 8 {
			bad := bytes.Clone(sealed)
			bad[i/8] ^= 1 << (i % 8)
			if _, err := k.Open("a", bad); err == nil {
				t.Fatalf("bit %d of %d flipped, and it opened", i, len(sealed)*8)
			}
		}
	})
}

func TestKeeperRotation(t *testing.T) {
	old, fresh := key(t, 1), key(t, 2)
	sealed, _ := keeper(t, old).Seal("a", []byte("secret"))

	if _, err := keeper(t, fresh).Open("a", sealed); brevet.KindOf(err) != brevet.NotFound {
		t.Errorf("without the old key: %v", err)
	}
	both := keeper(t, fresh, old)
	if !both.Stale(sealed) {
		t.Error("an object under the old key is not stale")
	}
	again, err := both.Rewrap("a", sealed)
	if err != nil || both.Stale(again) {
		t.Fatalf("rewrapped: %v, stale %v", err, both.Stale(again))
	}
	got, err := keeper(t, fresh).Open("a", again)
	if err != nil || string(got.Reveal()) != "secret" {
		t.Errorf("rewrapped object opens as %q, %v", got.Reveal(), err)
	}
	if _, err := both.Rewrap("b", sealed); err == nil {
		t.Error("an object was rewrapped under another name")
	}
	if _, err := NewKeeper(Key{}); err == nil {
		t.Error("a keeper was made of an empty key")
	}
}

func TestReadKey(t *testing.T) {
	raw := bytes.Repeat([]byte{0xA5}, 32)
	asHex, asBase64 := hex.EncodeToString(raw), base64.StdEncoding.EncodeToString(raw)
	want := key(t, 0xA5).id
	tests := []struct {
		name, text string
		mode       fs.FileMode
		kind       brevet.Kind
	}{
		{"hexadecimal", asHex + "\n", 0o600, -1},
		{"base64", asBase64, 0o400, -1},
		{"group may read", asHex, 0o640, brevet.Refused},
		{"all may read", asHex, 0o604, brevet.Refused},
		{"others may write", asHex, 0o602, brevet.Refused},
		{"short", asHex[2:], 0o600, brevet.Invalid},
		{"not hexadecimal", "zz" + asHex[2:], 0o600, brevet.Invalid},
		{"empty", "", 0o600, brevet.Invalid},
		{"enormous", strings.Repeat("a", 1<<20), 0o600, brevet.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			os.WriteFile(path, []byte(tt.text), 0o600)
			os.Chmod(path, tt.mode)
			k, err := ReadKey(path)
			if tt.kind < 0 && (err != nil || k.id != want) {
				t.Errorf("got key %s, %v", k.id, err)
			}
			if tt.kind >= 0 && (err == nil || brevet.KindOf(err) != tt.kind) {
				t.Errorf("got %v, want kind %v", err, tt.kind)
			}
			if err != nil && len(tt.text) > 8 && strings.Contains(err.Error(), tt.text[4:8]) {
				t.Error("the error shows the key")
			}
		})
	}
	if _, err := ReadKey(filepath.Join(t.TempDir(), "none")); brevet.KindOf(err) != brevet.NotFound {
		t.Errorf("no file: %v", err)
	}
	if _, err := ReadKey(t.TempDir()); err == nil {
		t.Error("a directory was read as a key")
	}
}

func TestCreateKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	made, err := CreateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	read, err := ReadKey(path)
	if err != nil || read.id != made.id {
		t.Fatalf("made %s, read %s, %v", made.id, read.id, err)
	}
	if _, err := CreateKey(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second time: %v", err)
	}
	if again, _ := ReadKey(path); again.id != made.id {
		t.Error("the key was replaced")
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, text := range []string{"one", "two"} {
		if err := WriteFile(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); string(got) != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}

	victim, link := filepath.Join(dir, "victim"), filepath.Join(dir, "link")
	os.WriteFile(victim, []byte("keep"), 0o600)
	os.Symlink(victim, link)
	if err := WriteFile(link, []byte("x")); brevet.KindOf(err) != brevet.Refused {
		t.Errorf("through a link: %v", err)
	}
	if err := CreateFile(link, []byte("x")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("new file on a link: %v", err)
	}
	dangling := filepath.Join(dir, "dangling")
	os.Symlink(filepath.Join(dir, "nowhere"), dangling)
	if err := CreateFile(dangling, []byte("x")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("new file on a dangling link: %v", err)
	}
	if got, _ := os.ReadFile(victim); string(got) != "keep" {
		t.Error("the link was followed")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".new-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRecipient(t *testing.T) {
	id, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	other, _ := NewIdentity()
	r, err := ParseRecipient(id.Recipient().String())
	if err != nil || r.ID() != id.Recipient().ID() {
		t.Fatalf("recipient does not come back: %v", err)
	}
	secret := bytes.Repeat([]byte{9}, 32)
	wrapped, err := r.Wrap("session one", secret)
	if err != nil || len(wrapped) != len(secret)+WrapOverhead {
		t.Fatalf("%d bytes, %v", len(wrapped), err)
	}
	bytesOf, _ := id.Bytes()
	back, err := ParseIdentity(bytesOf)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := back.Unwrap("session one", wrapped); err != nil || !bytes.Equal(got.Reveal(), secret) {
		t.Errorf("got %x, %v", got.Reveal(), err)
	}
	if _, err := id.Unwrap("session two", wrapped); brevet.KindOf(err) != brevet.Refused {
		t.Errorf("in another context: %v", err)
	}
	if _, err := other.Unwrap("session one", wrapped); brevet.KindOf(err) != brevet.Refused {
		t.Errorf("for another identity: %v", err)
	}
	for _, i := range []int{0, EncapsulationSize - 1, EncapsulationSize, len(wrapped) - 1} {
		bad := bytes.Clone(wrapped)
		bad[i] ^= 1
		if _, err := id.Unwrap("session one", bad); err == nil {
			t.Errorf("byte %d altered, and it opened", i)
		}
	}
	for _, s := range []string{"", "AAAA", r.String()[4:], r.String() + "AAAA", "é"} {
		if _, err := ParseRecipient(s); brevet.KindOf(err) != brevet.Invalid || err == nil {
			t.Errorf("recipient of %d characters: %v", len(s), err)
		}
	}
	if _, err := (Recipient{}).Wrap("c", secret); err == nil {
		t.Error("the zero recipient sealed")
	}
	if _, err := ParseIdentity(brevet.NewSecret([]byte("short"))); err == nil {
		t.Error("a short identity was read")
	}
}

func FuzzOpen(f *testing.F) {
	k := keeper(f, key(f, 1))
	good, _ := k.Seal("a", []byte("secret"))
	f.Add("a", good)
	f.Add("b", good[:headerSize])
	f.Add("", []byte(magic))
	f.Fuzz(func(t *testing.T, name string, sealed []byte) {
		// Another process of the fuzzer may have sealed it, so its bytes are not known here.
		got, err := k.Open(name, sealed)
		if err == nil && !(name == "a" && string(got.Reveal()) == "secret") {
			t.Fatal("something opened that was not sealed")
		}
		k.Stale(sealed)
	})
}

func TestCreateFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	if err := CreateFile(path, []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := CreateFile(path, []byte("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("on top of it: %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "first" {
		t.Errorf("it holds %q, %v", got, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d files are left, want 1", len(entries))
	}
	if err := CreateFile(filepath.Join(dir, "none", "a"), nil); err == nil {
		t.Error("a file was made in a folder that there is not")
	}
}
