package statement_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

func wantKind(t *testing.T, err error, kind brevet.Kind) {
	t.Helper()
	if err == nil || brevet.KindOf(err) != kind {
		t.Errorf("got error %v of kind %v, want one of kind %v", err, brevet.KindOf(err), kind)
	}
}

func TestEveryKindComesBack(t *testing.T) {
	signer := must(statement.MachineSigner(newEd25519(t)))(t)
	for _, p := range samples(t) {
		t.Run(string(p.StatementKind()), func(t *testing.T) {
			e := must(statement.New(t.Context(), p, signer))(t)
			b := must(e.Marshal())(t)
			again := must(statement.Parse(b))(t)
			if again.ID() != e.ID() || !bytes.Equal(b, must(again.Marshal())(t)) {
				t.Error("the envelope changed when it was written and read")
			}
			if _, err := again.VerifiedBy(signer.Key()); err != nil {
				t.Error(err)
			}
			got := must(statement.OpenAny(again))(t)
			if diff := cmp.Diff(must(statement.Canonical(p))(t), must(statement.Canonical(got))(t)); diff != "" {
				t.Errorf("the payload changed: %s", diff)
			}
			if got.StatementKind() != p.StatementKind() || got.Head() != p.Head() {
				t.Errorf("got %s %+v", got.StatementKind(), got.Head())
			}
		})
	}
}

// TestPAE holds the encoding to the example of DSSE's protocol page and the ids to it.
func TestPAE(t *testing.T) {
	e := statement.Envelope{PayloadType: "http://example.com/HelloWorld", Payload: []byte("hello world")}
	want := "DSSEv1 29 http://example.com/HelloWorld 11 hello world"
	if got := string(e.PAE()); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := string(e.ID()); got != digestOf(want) {
		t.Errorf("id %s is not the SHA-256 of the PAE", got)
	}
}

func TestRequestID(t *testing.T) {
	r := request(t)
	e := must(statement.New(t.Context(), r))(t)
	id := e.RequestID(r)
	if _, err := brevet.ParseRequestID(string(id)); err != nil {
		t.Error(err)
	}
	r.Reason += "!"
	if other := must(statement.New(t.Context(), r))(t); other.RequestID(r) == id {
		t.Error("two requests have one id")
	}
}

// envelopeJSON returns a good envelope in its JSON form.
func envelopeJSON(t *testing.T) string {
	signer := must(statement.MachineSigner(newEd25519(t)))(t)
	return string(must(must(statement.New(t.Context(), request(t), signer))(t).Marshal())(t))
}

func TestParseRefuses(t *testing.T) {
	good := envelopeJSON(t)
	must(statement.Parse([]byte(good)))(t)
	var e statement.Envelope
	if err := json.Unmarshal([]byte(good), &e); err != nil {
		t.Fatal(err)
	}
	sig := string(must(statement.Canonical(e.Signatures[0]))(t))
	swap := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %s in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	payload := func(n int) string {
		return swap(base64.StdEncoding.EncodeToString(e.Payload), base64.StdEncoding.EncodeToString(make([]byte, n)))
	}
	var many []string
	for i := range 33 {
		many = append(many, strings.Replace(sig, e.Signatures[0].Key, digestOf(fmt.Sprint(i)), 1))
	}
	tests := []struct{ name, json string }{
		{"empty", ""},
		{"payload type doubled", swap(`"payloadType"`, `"payloadType":"","payloadType"`)},
		{"unknown field", swap(`"payloadType"`, `"payloadHash":"","payloadType"`)},
		{"unknown field of a signature", swap(`"kind"`, `"cert":"","kind"`)},
		{"white space", good + "\n"},
		{"unknown kind", swap("brevet.request.v1", "brevet.reqest.v1")},
		{"later version", swap("brevet.request.v1", "brevet.request.v2")},
		{"possession is no kind", swap("brevet.request.v1", "brevet.possession.v1")},
		{"foreign type", swap("application/vnd.brevet.request.v1+json", "application/vnd.in-toto+json")},
		{"no signature", swap(sig, "")},
		{"same key twice", swap(sig, sig+","+sig)},
		{"too many signatures", swap(sig, strings.Join(many, ","))},
		{"unknown scheme", swap(`"kind":"ed25519"`, `"kind":"none"`)},
		{"key id of another scheme", swap(`"kind":"ed25519"`, `"kind":"sshsig"`)},
		{"empty signature", swap(base64.StdEncoding.EncodeToString(e.Signatures[0].Sig), "")},
		{"huge signature", swap(base64.StdEncoding.EncodeToString(e.Signatures[0].Sig), base64.StdEncoding.EncodeToString(make([]byte, 5000)))},
		{"payload over 64 KiB", payload(64<<10 + 1)},
		{"envelope over 512 KiB", payload(512 << 10)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := statement.Parse([]byte(tt.json))
			wantKind(t, err, brevet.Invalid)
		})
	}
	must(statement.Parse([]byte(payload(64 << 10))))(t) // the limit itself is allowed
}

func TestOpenRefuses(t *testing.T) {
	payload := string(must(statement.Canonical(request(t)))(t))
	open := func(json string) error {
		e := statement.Envelope{PayloadType: statement.KindRequest.PayloadType(), Payload: []byte(json)}
		_, err := statement.Open[statement.Request](e)
		return err
	}
	if err := open(payload); err != nil {
		t.Fatal(err)
	}
	swap := func(old, new string) string {
		if !strings.Contains(payload, old) {
			t.Fatalf("no %s in %s", old, payload)
		}
		return strings.Replace(payload, old, new, 1)
	}
	tests := []struct{ name, json string }{
		{"doubled key", swap(`"duration":1800`, `"duration":1800,"duration":1800`)},
		{"doubled key in another case", swap(`"duration":1800`, `"Duration":60,"duration":1800`)},
		{"other order", swap(`"machine":"gw1"`, `"machine":"gw1"`) + " "},
		{"duration 1.8e3", swap(`1800`, `1.8e3`)},
		{"duration 1800.0", swap(`1800`, `1800.0`)},
		{"duration null", swap(`1800`, `null`)},
		{"duration 2^53", swap(`1800`, `9007199254740992`)},
		{"duration negative", swap(`1800`, `-1`)},
		{"targets null", swap(`["web1","web2"]`, `null`)},
		{"reason NFD", swap("März", "Ma\u0308rz")},
		{"reason bidirectional", swap("März", "\u202eMärz")},
		{"reason zero width", swap("März", "Mä\u200brz")},
		{"reason line break", swap("März", `M\nrz`)},
		{"reason terminal escape", swap("März", `\u001b]0;x\u0007`)},
		{"unknown field", swap(`"reason"`, `"queue":"fast","reason"`)},
		{"another kind's payload", string(must(statement.Canonical(approval(t)))(t))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { wantKind(t, open(tt.json), brevet.Invalid) })
	}

	e := statement.Envelope{PayloadType: statement.KindApproval.PayloadType(), Payload: []byte(payload)}
	_, err := statement.Open[statement.Request](e)
	wantKind(t, err, brevet.Invalid) // of another type
	_, err = statement.OpenAny(e)
	wantKind(t, err, brevet.Invalid) // not what its type says
	_, err = statement.OpenAny(statement.Envelope{PayloadType: "text/plain"})
	wantKind(t, err, brevet.Invalid)
}

func TestNewRefuses(t *testing.T) {
	bad := request(t)
	bad.Duration = 0
	_, err := statement.New(t.Context(), bad)
	wantKind(t, err, brevet.Invalid)

	long := gateway(t)
	for i := range 1000 {
		long.Targets.Names = append(long.Targets.Names, brevet.TargetID(fmt.Sprintf("%064d", i)))
	}
	_, err = statement.New(t.Context(), long)
	wantKind(t, err, brevet.Invalid)
}

// TestTwoHundredEnrolments shows that as many as TRUST.md promises do fit into one statement.
func TestTwoHundredEnrolments(t *testing.T) {
	e := enrol(t)
	one := e.Enrolments[0]
	e.Enrolments = nil
	for i := range 200 {
		signer := must(statement.SSHSigner(newFIDOEd25519(t, "ssh:", touched|verified)))(t)
		one.Person, one.Key = brevet.PersonID(strings.Repeat("x", 60)+fmt.Sprint(i)), signer.Key()
		one.Possession = must(statement.Possession{Org: e.Org, Person: one.Person, Key: one.Key, Code: one.Code}.Prove(t.Context(), signer))(t)
		e.Enrolments = append(e.Enrolments, one)
	}
	env := must(statement.New(t.Context(), e, must(statement.SSHSigner(newFIDOEd25519(t, "ssh:", touched)))(t)))(t)
	b := must(env.Marshal())(t)
	opened := must(statement.Open[statement.Enrol](must(statement.Parse(b))(t)))(t)
	if err := opened.CheckPossession(); err != nil {
		t.Error(err)
	}
	t.Logf("200 enrolments: payload %d bytes, envelope %d", len(env.Payload), len(b))
}

func TestCosign(t *testing.T) {
	a, b := newSSH(t, newEd25519(t)), must(statement.MachineSigner(newEd25519(t)))(t)
	e := must(statement.New(t.Context(), root(t), a))(t)
	id, copied := e.ID(), e
	if err := e.Add(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if e.ID() != id {
		t.Error("a second signature changed the id")
	}
	if len(copied.Signatures) != 1 {
		t.Error("a second signature shows in a copy made before")
	}
	for _, s := range []statement.Signer{a, b} {
		if _, err := e.VerifiedBy(s.Key()); err != nil {
			t.Error(err)
		}
	}
	wantKind(t, e.Add(t.Context(), a), brevet.Conflict)
	_, err := copied.VerifiedBy(b.Key())
	wantKind(t, err, brevet.Refused)
}
