package cli

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/statement"
)

// offer is an answered invitation with a fresh key; digit makes the code.
func (w *world) offer(person brevet.PersonID, digit string, uses ...string) *brevetv1.Invitation {
	signer, code := signerOf(w.t, writeKey(w.t, filepath.Join(w.t.TempDir(), "id"))), strings.Repeat(digit, 64)
	shown := must(statement.Possession{Org: w.root, Person: person, Key: signer.Key(), Code: code}.Prove(w.t.Context(), signer))(w.t)
	return &brevetv1.Invitation{
		Person: string(person), Kind: "person", Uses: uses, State: answered, PublicKey: signer.Key().Public, Code: code, Possession: shown,
		Fingerprint: "SHA256:theserverlies",
	}
}

// TestSignGoesOnBesideFailures: one for whom nobody can sign is told by name and stops nobody else, and of several
// keys that wait for one person none is signed before somebody says which.
func TestSignGoesOnBesideFailures(t *testing.T) {
	w := newWorld(t)
	boty := w.offer("boty", "b", "approve", "request")
	boty.Kind, boty.Owner = "workload", "alice"
	stray := w.offer("stray", "c", "request")
	stray.Kind, stray.Owner = "workload", "nosuch"
	first, second := w.offer("dan", "d", "request"), w.offer("dan", "e", "request")
	carol := w.offer("carol", "a", "request")
	w.lie = func(m any) {
		if m, ok := m.(*brevetv1.ListInvitationsResponse); ok {
			m.Invitations = []*brevetv1.Invitation{boty, carol, first, second, stray}
		}
	}
	fingerprint := func(i *brevetv1.Invitation) string {
		return must(statement.Fingerprint(must(statement.ParseSSHKey(i.GetPublicKey()))(t)))(t)
	}
	signed := func() []string {
		t.Helper()
		if len(w.appended) == 0 {
			return nil
		}
		e := must(statement.Open[statement.Enrol](must(statement.Parse(w.appended[len(w.appended)-1]))(t)))(t)
		w.appended = nil
		var list []string
		for _, one := range e.Enrolments {
			list = append(list, must(statement.Fingerprint(one.Key))(t))
		}
		return list
	}
	tests := []struct {
		name   string
		args   []string
		status int
		texts  []string
		signed []*brevetv1.Invitation
	}{
		{"all who can be", []string{"--all"}, statusRefused, []string{
			"boty cannot be signed for: uses has 2 entries", "brevet people uninvite bbbbbbbb", "2 keys wait for dan", "code dddddddd", "code eeeeeeee",
			"stray cannot be signed for: its owner nosuch is no person of the roster"}, []*brevetv1.Invitation{carol}},
		{"one of them cannot", []string{"boty", "carol"}, statusUsage, []string{"boty cannot be signed for"}, []*brevetv1.Invitation{carol}},
		{"neither of two keys", []string{"dan"}, statusConflict, []string{"2 keys wait for dan", fingerprint(first), fingerprint(second)}, nil},
		{"the key that was said", []string{"dan", "--key", fingerprint(second)[:16]}, 0, nil, []*brevetv1.Invitation{second}},
		{"the key alone", []string{"--key", fingerprint(first)}, 0, nil, []*brevetv1.Invitation{first}},
		{"both, expressly", []string{"dan", "--key", fingerprint(first), "--key", fingerprint(second)}, 0, nil, []*brevetv1.Invitation{first, second}},
		{"another's key", []string{"dan", "--key", fingerprint(carol)}, statusNotFound, []string{"no key that waits"}, nil},
		{"a key by the server's word", []string{"--key", "SHA256:theserverlies"}, statusNotFound, []string{"no key that waits"}, nil},
		{"no key at all", []string{"dan", "--key", ""}, statusUsage, []string{"too short"}, nil},
		{"nobody of the name", []string{"dam"}, statusNotFound, []string{"Did you mean dan"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, "", append([]string{"people", "sign", "-y"}, tt.args...)...).want(t, tt.status, tt.texts...)
			var want []string
			for _, i := range tt.signed {
				want = append(want, fingerprint(i))
			}
			if got := signed(); strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("signed %q, want %q", got, want)
			}
		})
	}
}

func TestUninviteByCode(t *testing.T) {
	list := []*brevetv1.Invitation{{Person: "bob", Code: "aaaa1"}, {Person: "bob", Code: "aaaa2"}, {Person: "cafe", Code: "dddd"}, {Person: "eve", Code: "cafe"}}
	for typed, want := range map[string]int{"bob": 2, "aaaa1": 1, "cafe": 1} {
		if got, err := invitationsOf(list, typed); err != nil || len(got) != want || typed == "cafe" && got[0].GetPerson() != "cafe" {
			t.Errorf("%s: %v, %v, want %d", typed, got, err, want)
		}
	}
	for typed, want := range map[string]brevet.Kind{"aaaa": brevet.Conflict, "aaa": brevet.NotFound, "": brevet.NotFound, "bobb": brevet.NotFound} {
		if got, err := invitationsOf(list, typed); brevet.KindOf(err) != want {
			t.Errorf("%q: %v, %v", typed, got, err)
		}
	}
}
