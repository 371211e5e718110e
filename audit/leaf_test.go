package audit_test

import (
	"strings"
	"testing"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
)

// leafOf returns a leaf with the subject and some body.
func leafOf(subject string) audit.Leaf {
	return audit.Leaf{Kind: "gateway.joined", Subject: subject, Body: audit.BodyHash([audit.SaltSize]byte{1}, []byte(subject))}
}

// TestLeafIsKeptForever holds the bytes of a leaf: another release must find the same hash.
func TestLeafIsKeptForever(t *testing.T) {
	l := audit.Leaf{Kind: "gateway.joined", Subject: "gw1", Body: audit.BodyHash([audit.SaltSize]byte{1}, []byte("{}"))}
	const bytes = "brevet.leaf.v1\ngateway.joined\ngw1\n77c312dd6be70095bd86746d8289ec9429e2d3d43d8ac512620d6ab9b7ffc0e9\n"
	const hash = "B8kga5HPltH4hdF24xHqYMUnkeW3r+kb2bYZ+iYO1JE="
	if got := string(l.Bytes()); got != bytes {
		t.Errorf("its bytes are %q, want %q", got, bytes)
	}
	if got := l.Hash().String(); got != hash {
		t.Errorf("its hash is %s, want %s", got, hash)
	}
}

func TestBodyHash(t *testing.T) {
	var one, two [audit.SaltSize]byte
	two[15] = 1
	a := audit.BodyHash(one, []byte("body"))
	if a == audit.BodyHash(two, []byte("body")) || a == audit.BodyHash(one, []byte("bodx")) || a == audit.BodyHash(one, []byte("\x00body")) {
		t.Error("two bodies or salts have one hash")
	}
}

func TestLeafCheck(t *testing.T) {
	tests := []struct {
		name, kind, subject string
		bad                 bool
	}{
		{name: "a machine", kind: "gateway.joined", subject: "gw1"},
		{name: "an id", kind: "request", subject: "req_01ARZ3NDEKTSV4RRFFQ69G5FAV"},
		{name: "a fingerprint", kind: "signin", subject: "SHA256:uNiVztksCsDhcc0u9e8BrQXVUn+pz/Y="},
		{name: "the longest", kind: strings.Repeat("k", audit.MaxKind), subject: strings.Repeat("s", audit.MaxSubject)},
		{name: "no kind", subject: "x", bad: true},
		{name: "no subject", kind: "x", bad: true},
		{name: "a kind that is too long", kind: strings.Repeat("k", audit.MaxKind+1), subject: "x", bad: true},
		{name: "a subject that is too long", kind: "x", subject: strings.Repeat("s", audit.MaxSubject+1), bad: true},
		{name: "a line end that would shift the fields", kind: "x", subject: "a\nb", bad: true},
		{name: "a line end in the kind", kind: "x\ny", subject: "a", bad: true},
		{name: "a blank", kind: "x", subject: "a b", bad: true},
		{name: "a NUL", kind: "x", subject: "a\x00", bad: true},
		{name: "a letter that looks alike", kind: "x", subject: "а", bad: true},
		{name: "an escape sequence", kind: "x", subject: "\x1b[2J", bad: true},
		{name: "not UTF-8", kind: "x", subject: "\xff", bad: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := audit.Leaf{Kind: tt.kind, Subject: tt.subject}.Check()
			if (err != nil) != tt.bad || err != nil && brevet.KindOf(err) != brevet.Invalid {
				t.Errorf("got %v, want bad %v", err, tt.bad)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\x00\x1b\n") {
				t.Errorf("the error acts on a terminal: %q", err)
			}
		})
	}
}

// FuzzLeaf: two leaves that pass Check have the same bytes only if they are the same.
func FuzzLeaf(f *testing.F) {
	f.Add("request", "a", "reques", "ta")
	f.Add("a", "b\nc", "a\nb", "c")
	f.Fuzz(func(t *testing.T, kind1, subject1, kind2, subject2 string) {
		a, b := audit.Leaf{Kind: kind1, Subject: subject1}, audit.Leaf{Kind: kind2, Subject: subject2}
		if a.Check() != nil || b.Check() != nil {
			return
		}
		if (a == b) != (string(a.Bytes()) == string(b.Bytes())) {
			t.Errorf("%q and %q are told apart by one of bytes and fields only", a.Bytes(), b.Bytes())
		}
	})
}
