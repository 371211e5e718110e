package attack_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/test/testenv"
)

// TestOwnRequestByEveryDoor: dan leads, and is asked about the requests of others. His own he gets
// agreed to by no door, and each try that reaches the server is told of (Q26).
func TestOwnRequestByEveryDoor(t *testing.T) {
	w := found(t)
	w.join("dan=request,approve")
	id := w.ask("dan", "web-root", "web1", "--for", "15m", "--reason", "nginx hangs")

	if got := w.as("dan", "approve", id, "--yes"); got.status == 0 || !strings.Contains(got.err, "own request") {
		t.Errorf("the command line: %+v", got)
	}
	dan := w.visit("dan")
	says(t, dan.approve(dan.signed(dan.approval("dan", id))), "own request")
	says(t, dan.approve(dan.signed(dan.approval("alice", id))), "by alice, and you are dan")
	raw, err := statement.New(t.Context(), dan.approval("alice", id), w.signer("alice"))
	must(t, err)
	alices, err := raw.Marshal() // agreed to by alice, and brought by dan before she could think again
	must(t, err)
	says(t, dan.approve(alices), "by alice, and you are dan")

	// At the gateway his own request is open, and nothing that he types agrees to it.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client, err := testenv.StartTerminal(w.command(ctx, "dan", "ssh", append(w.config("dan"), w.web1(), "echo", "in")...))
	must(t, err)
	defer client.Close()
	if _, err := client.Expect(ctx, "is open"); err != nil {
		t.Fatal(err)
	}
	must(t, client.Type("yes\napprove\ny\n"))

	told := w.events("approval.refused")
	if n := strings.Count(told, `"actor": "dan"`); n != 3 || strings.Count(told, id) < 3 {
		t.Errorf("%d of the three tries are events:\n%s", n, told)
	}
	if now := dan.request(id); now.GetState() != "waiting" || len(now.GetApprovals()) != 0 {
		t.Fatalf("it is %s, with %v", now.GetState(), now.GetApprovals())
	}
	if strings.Contains(w.events("grant"), id) {
		t.Error("a grant was made")
	}
	w.as("alice", "approve", id, "--yes").ok(t)
	if _, err := client.Expect(ctx, "in\r\n"); err != nil { // so it was waiting for alice alone
		t.Fatal(err)
	}
}

// TestAYesIsGoodOnce: an approval works for its own request, while that is open, when its signer
// brings it. Fetching, repeating or keeping it for later does nothing (Q30).
func TestAYesIsGoodOnce(t *testing.T) {
	w := found(t)
	w.join("bob", "dan=request,approve")
	ask := func() string { return w.ask("bob", "web-root", "web1", "--for", "15m", "--reason", "nginx hangs") }
	alice, dan := w.visit("alice"), w.visit("dan")
	first := ask()
	yes := alice.signed(alice.approval("alice", first))

	const procedure = brevetv1connect.RequestServiceApproveProcedure
	message := `{"statement":"` + base64.StdEncoding.EncodeToString(yes) + `"}`
	link := procedure + "?connect=v1&encoding=json&message=" + url.QueryEscape(message)
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if status, answer := alice.call(method, link, "application/json", []byte(message)); status != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d %s", method, status, answer)
		}
	}
	for _, contentType := range []string{"application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", ""} {
		if status, answer := alice.call(http.MethodPost, procedure, contentType, []byte(message)); status != http.StatusUnsupportedMediaType {
			t.Errorf("POST as %q, which a page of another site may send: %d %s", contentType, status, answer)
		}
	}
	if now := alice.request(first); now.GetState() != "waiting" {
		t.Fatalf("after fetching it is %s", now.GetState())
	}

	says(t, dan.approve(yes), "by alice, and you are dan")
	must(t, alice.approve(yes))
	must(t, alice.approve(yes)) // its answer was lost: the same answer again
	if n := strings.Count(w.events("approval"), `"kind": "approval"`); n != 1 {
		t.Errorf("%d approvals are in the log", n)
	}
	second := ask()
	must(t, alice.approve(yes)) // it is of the first request, and was
	if now := alice.request(second); now.GetState() != "waiting" || len(now.GetApprovals()) != 0 {
		t.Errorf("another request is %s by the first one's approval", now.GetState())
	}

	kept := alice.signed(alice.approval("alice", second))
	w.as("alice", "deny", second, "--reason", "not today").ok(t)
	says(t, alice.approve(kept), "already")
	if now := alice.request(second); now.GetState() != "refused" {
		t.Errorf("after a no and the kept yes it is %s", now.GetState())
	}
	third := ask()
	kept = alice.signed(alice.approval("alice", third))
	w.as("bob", "cancel", third).ok(t)
	says(t, alice.approve(kept), "already")
	if n := strings.Count(w.events("grant"), `"kind": "grant"`); n != 1 {
		t.Errorf("%d grants", n)
	}

	// The old grant is taken back: its approval gives nothing anew.
	w.as("alice", "revoke", alice.request(first).GetGrant(), "--reason", "enough").ok(t)
	must(t, alice.approve(yes))
	if got := w.ssh("bob", w.web1(), "true"); got.status == 0 {
		t.Error("the revoked grant opens the target again")
	}
	got, err := alice.requests.GetRequest(t.Context(), &pb.GetRequestRequest{Id: first})
	must(t, err)
	if n := len(got.GetRequest().GetApprovals()); n != 1 {
		t.Errorf("%d approvals", n)
	}
}
