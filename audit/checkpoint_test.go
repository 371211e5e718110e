package audit_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
)

func key(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func signer(t testing.TB, origin string, seed byte) *audit.Signer {
	t.Helper()
	s, err := audit.NewSigner(origin, key(seed))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestCheckpointOfTheSpecification reads the example of https://c2sp.org/tlog-checkpoint.
func TestCheckpointOfTheSpecification(t *testing.T) {
	root, err := tlog.ParseHash("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
	if err != nil {
		t.Fatal(err)
	}
	c := audit.Checkpoint{Origin: "example.com/behind-the-sofa", Size: 20852163, Root: root}
	if got, want := c.Text(), "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestKeyIDOfTheSpecification checks the key id of the example of https://c2sp.org/signed-note,
// example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k.
func TestKeyIDOfTheSpecification(t *testing.T) {
	encoded, err := base64.StdEncoding.DecodeString("AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
	if err != nil {
		t.Fatal(err)
	}
	if got := audit.KeyHash("example.com/foo", encoded[0], encoded[1:]); got != 0x530d903a {
		t.Errorf("got %08x", got)
	}
}

// TestStockToolsReadCheckpoints: Go's own sumdb/note opens what we sign, and we what it signs.
func TestStockToolsReadCheckpoints(t *testing.T) {
	s := signer(t, "log.test", 1)
	head := grow(t, 5).heads[5]
	signed, err := s.Sign(head)
	if err != nil {
		t.Fatal(err)
	}
	stock, err := note.NewVerifier(s.Key())
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(signed, note.VerifierList(stock))
	if err != nil || len(n.Sigs) != 1 {
		t.Fatalf("stock note: %v", err)
	}
	if stockTree, err := tlog.ParseTree([]byte(strings.Replace(n.Text, "log.test", "go.sum database tree", 1))); err != nil || stockTree.N != 5 || stockTree.Hash != head.Root() {
		t.Errorf("stock tlog reads %v, %v", stockTree, err)
	}

	secret, public, err := note.GenerateKey(rand.Reader, "log.test")
	if err != nil {
		t.Fatal(err)
	}
	by, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := note.Sign(&note.Note{Text: n.Text}, by)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := base64.StdEncoding.DecodeString(strings.SplitN(public, "+", 3)[2])
	if err != nil {
		t.Fatal(err)
	}
	c, err := audit.Open(theirs, "log.test", ed25519.PublicKey(encoded[1:]))
	if err != nil || c.Size != 5 || c.Root != head.Root() {
		t.Errorf("we read %+v, %v", c, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	s := signer(t, "log.test", 1)
	head := grow(t, 5).heads[5]
	good, err := s.Sign(head)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(text string) []byte {
		signed, err := audit.SignText(s, text)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	root := head.Root().String()
	tests := []struct {
		name   string
		signed []byte
		want   brevet.Kind
	}{
		{"nothing", nil, brevet.Refused},
		{"no signature", []byte("log.test\n5\n" + root + "\n"), brevet.Refused},
		{"another size", bytes.Replace(good, []byte("\n5\n"), []byte("\n6\n"), 1), brevet.Refused},
		{"another key of that name", must(signer(t, "log.test", 2).Sign(head)), brevet.Refused},
		{"another log of that key", must(signer(t, "log.other", 1).Sign(head)), brevet.Refused},
		{"cut", good[:len(good)-2], brevet.Refused},
		{"longer than any", append(bytes.Clone(good), make([]byte, 1<<20)...), brevet.Invalid},
		{"another log's name in the text", sign("log.other\n5\n" + root + "\n"), brevet.Refused},
		{"a size that is negative", sign("log.test\n-5\n" + root + "\n"), brevet.Invalid},
		{"a size with a zero before it", sign("log.test\n05\n" + root + "\n"), brevet.Invalid},
		{"a size with a sign", sign("log.test\n+5\n" + root + "\n"), brevet.Invalid},
		{"a size of 2^63", sign("log.test\n9223372036854775808\n" + root + "\n"), brevet.Invalid},
		{"a root that is too short", sign("log.test\n5\nAAAA\n"), brevet.Invalid},
		{"a root in another spelling", sign("log.test\n5\n" + strings.TrimSuffix(root, "=") + "\n"), brevet.Invalid},
		{"two lines", sign("log.test\n5\n"), brevet.Invalid},
		{"a fourth line", sign("log.test\n5\n" + root + "\nmore\n"), brevet.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if c, err := audit.Open(tt.signed, "log.test", s.Public()); err == nil || brevet.KindOf(err) != tt.want {
				t.Errorf("got %+v, %v (%v)", c, err, brevet.KindOf(err))
			}
		})
	}
	if _, err := audit.Open(good, "log.test", s.Public()[:31]); brevet.KindOf(err) != brevet.Invalid {
		t.Errorf("with half a key: %v", err)
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func TestNewSignerRefuses(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		origin string
		key    crypto.Signer
	}{{"log.test", other}, {"", key(1)}, {"log+test", key(1)}, {"log test", key(1)}, {"log\ntest", key(1)}, {strings.Repeat("l", 129), key(1)}} {
		if _, err := audit.NewSigner(tt.origin, tt.key); brevet.KindOf(err) != brevet.Invalid {
			t.Errorf("%q with %T: %v", tt.origin, tt.key, err)
		}
	}
}

func TestCosign(t *testing.T) {
	s := signer(t, "log.test", 1)
	signed, err := s.Sign(grow(t, 5).heads[5])
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2023, 3, 20, 12, 25, 47, 0, time.UTC)
	cosigned, err := audit.Cosign(signed, "witness.example.com/w1", key(3), at)
	if err != nil {
		t.Fatal(err)
	}
	if cosigned, err = audit.Cosign(cosigned, "issuer", key(4), at.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(cosigned, signed) {
		t.Error("the log's own bytes were changed")
	}
	if _, err := audit.Open(cosigned, "log.test", s.Public()); err != nil {
		t.Errorf("the log's signature is lost: %v", err)
	}
	public := func(seed byte) ed25519.PublicKey { return key(seed).Public().(ed25519.PublicKey) }
	for _, tt := range []struct {
		name string
		by   audit.Witness
		want time.Time // zero: refused
	}{
		{"the first", audit.Witness{Name: "witness.example.com/w1", Key: public(3)}, at},
		{"the second", audit.Witness{Name: "issuer", Key: public(4)}, at.Add(time.Second)},
		{"a name with another's key", audit.Witness{Name: "issuer", Key: public(3)}, time.Time{}},
		{"one who did not", audit.Witness{Name: "w2", Key: public(5)}, time.Time{}},
		{"the log's key is no witness", audit.Witness{Name: "log.test", Key: public(1)}, time.Time{}},
	} {
		got, err := audit.Cosigned(cosigned, tt.by)
		if !got.Equal(tt.want) || (err == nil) == tt.want.IsZero() {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
	checkAgainstTheSpecification(t, cosigned, public(3))

	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"another kind of key": second(audit.Cosign(signed, "w", other, at)),
		"a bad name":          second(audit.Cosign(signed, "w+1", key(3), at)),
		"no checkpoint":       second(audit.Cosign([]byte("hello\n\n— x y\n"), "w", key(3), at)),
		"no signature":        second(audit.Cosign([]byte("log.test\n5\nx\n"), "w", key(3), at)),
	} {
		if brevet.KindOf(err) != brevet.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// checkAgainstTheSpecification builds by hand what https://c2sp.org/tlog-cosignature says
// that the witness signed, and how its line is written.
func checkAgainstTheSpecification(t *testing.T, cosigned []byte, public ed25519.PublicKey) {
	t.Helper()
	text, lines, _ := strings.Cut(string(cosigned), "\n\n")
	line := strings.Split(lines, "\n")[1]
	encoded, found := strings.CutPrefix(line, "— witness.example.com/w1 ")
	blob, err := base64.StdEncoding.DecodeString(encoded)
	if !found || err != nil || len(blob) != 4+8+ed25519.SignatureSize {
		t.Fatalf("the line is %q, %v", line, err)
	}
	if seconds := binary.BigEndian.Uint64(blob[4:]); seconds != 1679315147 {
		t.Errorf("its time is %d", seconds)
	}
	if !ed25519.Verify(public, []byte("cosignature/v1\ntime 1679315147\n"+text+"\n"), blob[12:]) {
		t.Error("the signature is of something else")
	}
}

func FuzzOpen(f *testing.F) {
	s := signer(f, "log.test", 1)
	good := must(s.Sign(audit.Head{}))
	f.Add(good)
	f.Add(must(audit.Cosign(good, "w", key(3), time.Unix(1, 0))))
	f.Add(must(audit.SignText(s, "log.test\n9\nAAAA\n")))
	f.Add([]byte("— log.test \n\n— log.test x\n"))
	f.Fuzz(func(t *testing.T, signed []byte) {
		if c, err := audit.Open(signed, "log.test", s.Public()); err == nil && (c.Size != 0 || c.Root != (audit.Head{}).Root()) {
			t.Errorf("opened what nobody signed: %+v", c)
		}
		audit.Cosigned(signed, audit.Witness{Name: "w", Key: key(3).Public().(ed25519.PublicKey)})
		if again, err := audit.Cosign(signed, "w", key(3), time.Unix(1, 0)); err == nil && !bytes.HasPrefix(again, signed) {
			t.Error("cosigning changed what was there")
		}
	})
}
