package statement_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

func FuzzParse(f *testing.F) {
	signer, private := fixedKey(f, "alice")
	byPerson, byMachine := must(statement.SSHSigner(signer))(f), must(statement.MachineSigner(private))(f)
	for _, p := range samples(f) {
		f.Add(must(must(statement.New(f.Context(), p, byPerson, byMachine))(f).Marshal())(f))
	}
	f.Add([]byte(`{"payload":"","payloadType":"application/vnd.brevet.root.v1+json","signatures":[{"keyid":"","kind":"","sig":""}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := statement.Parse(b)
		if err != nil {
			wantKind(t, err, brevet.Invalid)
			return
		}
		if again := must(e.Marshal())(t); !bytes.Equal(again, b) {
			t.Errorf("read   %s\nwrites %s", b, again)
		}
		if p, err := statement.OpenAny(e); err == nil {
			if again := must(statement.Canonical(p))(t); !bytes.Equal(again, e.Payload) {
				t.Errorf("read   %s\nwrites %s", e.Payload, again)
			}
		}
	})
}

// FuzzOpen opens hostile payloads as every kind.
func FuzzOpen(f *testing.F) {
	for i, p := range append(samples(f), sshRequest(f)) {
		f.Add(uint8(i%len(statement.Kinds())), must(statement.Canonical(p))(f))
	}
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte) {
		kinds := statement.Kinds()
		k := kinds[int(kind)%len(kinds)]
		p, err := statement.OpenAny(statement.Envelope{PayloadType: k.PayloadType(), Payload: payload})
		if err != nil {
			wantKind(t, err, brevet.Invalid)
			return
		}
		if err := p.Validate(); err != nil || p.StatementKind() != k {
			t.Errorf("opened as %s, and yet: %v", p.StatementKind(), err)
		}
		if again := must(statement.Canonical(p))(t); !bytes.Equal(again, payload) {
			t.Errorf("read   %s\nwrites %s", payload, again)
		}
		e := must(statement.New(t.Context(), p))(t) // what opens can be made
		if !bytes.Equal(e.Payload, payload) {
			t.Errorf("read %s\nmade %s", payload, e.Payload)
		}
	})
}

// FuzzCanonical turns whatever JSON into the values that Canonical knows, and holds it to
// its promises: equal values give equal bytes, and what it writes reads back as the same.
func FuzzCanonical(f *testing.F) {
	f.Add([]byte(`{"b":[1,true,"x"],"a":{"\u20ac":"\r","\ud83d\ude00":"\ufb33"},"":{}}`))
	f.Add([]byte(`[9007199254740991,-1,[],{}]`))
	f.Add(must(statement.Canonical(manifest(2)))(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, ok := plain(b)
		if !ok {
			return
		}
		first, err := statement.Canonical(v)
		if err != nil {
			wantKind(t, err, brevet.Invalid)
			return
		}
		if !utf8.Valid(first) || !json.Valid(first) {
			t.Fatalf("%q is not JSON", first)
		}
		again, ok := plain(first)
		if !ok {
			t.Fatalf("%s cannot be read", first)
		}
		if second := must(statement.Canonical(again))(t); !bytes.Equal(first, second) {
			t.Errorf("first  %s\nsecond %s", first, second)
		}
	})
}

// plain decodes JSON with integers as int64; it gives up on null and other numbers.
func plain(b []byte) (any, bool) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil, false
	}
	return integers(v)
}

func integers(v any) (any, bool) {
	good := true
	switch v := v.(type) {
	case nil:
		return nil, false
	case json.Number:
		i, err := v.Int64()
		return i, err == nil
	case []any:
		for i := range v {
			var ok bool
			v[i], ok = integers(v[i])
			good = good && ok
		}
	case map[string]any:
		for k := range v {
			var ok bool
			v[k], ok = integers(v[k])
			good = good && ok
		}
	}
	return v, good
}

func FuzzSSHSIG(f *testing.F) {
	e := must(statement.New(f.Context(), request(f)))(f)
	for _, s := range []ssh.Signer{newFIDOEd25519(f, "ssh:", touched), newFIDOECDSA(f, "ssh:", touched|verified)} {
		sig := must(must(statement.SSHSigner(s))(f).Sign(f.Context(), e.PAE()))(f)
		f.Add(sig.Sig)
	}
	signer, _ := fixedKey(f, "alice")
	good := must(must(statement.SSHSigner(signer))(f).Sign(f.Context(), e.PAE()))(f)
	f.Add(good.Sig)
	key := sshKey(f, "alice")
	f.Fuzz(func(t *testing.T, blob []byte) {
		armored := must(statement.Signature{Scheme: statement.SchemeSSHSIG, Sig: blob}.Armored())(t)
		sig, err := statement.ParseArmored(armored)
		if err == nil && !bytes.Equal(sig.Sig, blob) {
			t.Errorf("read   %x\nwrites %x", blob, sig.Sig)
		}
		sig = statement.Signature{Scheme: statement.SchemeSSHSIG, Key: good.Key, Sig: blob}
		if _, err := statement.Verify(e, sig, key); err == nil && !bytes.Equal(blob, good.Sig) {
			t.Errorf("a second signature by an Ed25519 key: %x", blob)
		}
	})
}

func FuzzParseSSHKey(f *testing.F) {
	f.Add(sshKey(f, "alice").Public + " alice@laptop")
	f.Add(string(ssh.MarshalAuthorizedKey(newFIDOECDSA(f, "ssh:", 0).PublicKey())))
	f.Add(string(ssh.MarshalAuthorizedKey(newSSHPublic(f, must(rsa3072())(f).Public()))))
	f.Fuzz(func(t *testing.T, line string) {
		key, err := statement.ParseSSHKey(line)
		if err != nil {
			return
		}
		again, err := statement.ParseSSHKey(key.Public)
		if err != nil || again != key {
			t.Errorf("%+v reads as %+v, %v", key, again, err)
		}
		fingerprint(t, key)
	})
}

func FuzzCheckText(f *testing.F) {
	for _, s := range []string{"deploy März", "a\u202eb", "\x1b[0m", "\xff", "Ma\u0308rz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if statement.CheckText("reason", s, 1000) != nil {
			return
		}
		for _, r := range s {
			if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError && !utf8.ValidString(s) {
				t.Errorf("%q passes", s)
			}
		}
	})
}
