package api

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"

	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/identity/enrol"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// TestWhatIsSentIsNotLogged sends a canary to every procedure in every place where a client may put a
// secret: fields, broken JSON, headers, the URL; as somebody, as nobody, as a gateway. The server's log
// has none of it, and no event has what was refused before anybody looked at it.
func TestWhatIsSentIsNotLogged(t *testing.T) {
	p := newPlane(t)
	canary := "canary" + strings.Repeat("0f", 16)
	bodies := []string{
		canary, `{"` + canary + `": 1}`, `{"statement": "` + canary, `{"id": "` + canary + `", "code": "` + canary + `"} trailing`, `["` + canary + `"]`,
		"\x00\x00\x00\x00\x20" + canary, `{"reason": {"` + canary + `": []}}`,
	}
	visitors := []visitor{p.visit(nil), p.login("bob"), p.gateways["gw-1"]}
	for procedure := range procedures(t) {
		for i, v := range visitors {
			for j, body := range bodies {
				if (i+j)%2 == 0 && j > 3 {
					continue // enough of it
				}
				knock(t, v, procedure+"?token="+canary, body, canary)
			}
		}
	}
	if strings.Contains(p.log.String(), canary) {
		t.Errorf("the log has it:\n%s", p.log.String())
	}
	events, err := p.spine.Store.Query(t.Context()).Search(store.Filter{Limit: store.MaxPage})
	must(t, err)
	for _, e := range events {
		if bytes.Contains(e.Body, []byte(canary)) || bytes.Contains(e.Statement, []byte(canary)) {
			t.Errorf("an event has it: %s", e.Body)
		}
	}
}

// knock posts a body, and fails the test if the server breaks over it.
func knock(t *testing.T, v visitor, path, body, canary string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, v.url()+path, strings.NewReader(body))
	must(t, err)
	r.Header.Set("Content-Type", asJSON)
	r.Header.Set("Cookie", "session="+canary)
	r.Header.Set("X-Request-Id", canary)
	if v.token == "" {
		r.Header.Set("Authorization", "Bearer "+enrol.TokenPrefix+canary)
	}
	answer, err := v.Do(r)
	must(t, err)
	defer answer.Body.Close()
	if answer.StatusCode >= http.StatusInternalServerError {
		t.Errorf("%s: %s for %q", path, answer.Status, body)
	}
}

// TestCodesCannotBeGuessed: a one-time code has 128 random bits; one that was answered five times without
// showing possession of a key is of no use any more, even to whom it was given; and a code that was used
// does not take another key.
func TestCodesCannotBeGuessed(t *testing.T) {
	p := newPlane(t)
	alice, stranger := p.login("alice"), p.visit(nil)
	for name, misses := range map[string]int{"grace": mostTries - 1, "heidi": mostTries} {
		invited, err := alice.people().Invite(t.Context(), &pb.InviteRequest{Person: name, Kind: "person", Uses: []string{"request"}, ValidSeconds: 3600})
		must(t, err)
		given, err := enrol.ParseCode(invited.GetCode())
		must(t, err)
		_, key := prooftest.NewKey(t)
		answer := func(shownFor string, by statement.Signer) error {
			possession, err := statement.Possession{Org: p.Root, Person: given.Person, Key: by.Key(), Code: shownFor}.Prove(t.Context(), by)
			must(t, err)
			_, err = stranger.auth().AnswerInvitation(t.Context(), &pb.AnswerInvitationRequest{
				Code: given.Secret.Reveal(), Person: name, PublicKey: by.Key().Public, Possession: possession,
			})
			return err
		}
		for range misses {
			code(t, name+" without possession", answer(enrol.NewSecret().Digest(), key), connect.CodePermissionDenied)
		}
		err = answer(given.Secret.Digest(), key)
		if locked := misses >= mostTries; (err != nil) != locked {
			t.Errorf("%s, after %d misses: %v", name, misses, err)
		}
		_, second := prooftest.NewKey(t)
		code(t, name+" with another key", answer(given.Secret.Digest(), second), connect.CodePermissionDenied)
	}
	for i := range 64 { // guesses, as many as the budget of strangers lets through, are all answered alike
		_, err := stranger.auth().AnswerInvitation(t.Context(), &pb.AnswerInvitationRequest{
			Code: fmt.Sprintf("%032x", i), Person: "grace", PublicKey: p.Keys["bob"].Key().Public, Possession: "x",
		})
		if c := connect.CodeOf(err); err == nil || c == connect.CodeNotFound || c == connect.CodeInternal {
			t.Fatalf("a guess is answered %v", err)
		}
	}
}

// mostTries is how often a code may be answered wrongly (flow).
const mostTries = 5
