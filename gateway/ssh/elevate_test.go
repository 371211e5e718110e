package ssh_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/test/gatewaytest"
)

// approve grants the next request.
func approve(t *testing.T, w *gatewaytest.World) statement.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	asked, err := w.Plane.Approve(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	return asked
}

func TestInlineElevation(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{
		Role: func(r *brevet.Role) { r.Asks.Ticket = "OPS-[0-9]+" },
	})
	term := open(t, w, "gw", "echo in as $USER")
	term.sees("Brevet: you hold no grant for " + w.Login + " on web1 through this gateway.")
	term.sees("web-root gives " + w.Login + " for up to 1h; needs one of sre-leads (alice, dan); recorded.")
	term.sees("Role [web-root]: ")
	term.types("web-rot")
	term.sees(`no role "web-rot" is offered here`)
	term.sees("Role [web-root]: ")
	term.types("")
	term.sees("Reason: ")
	term.types("restart stuck nginx")
	term.sees("Ticket (OPS-[0-9]+): ")
	term.types("none")
	term.sees("a ticket looks like OPS-[0-9]+")
	term.sees("Ticket (OPS-[0-9]+): ")
	term.types("OPS-4711")
	term.sees("How long [30m]: ")
	term.types("2h")
	term.sees("the longest is 1h")
	term.sees("How long [30m]: ")
	term.types("15m")
	term.sees("Asked as req_")
	term.sees("Waiting for one of sre-leads (alice, dan)")
	asked := approve(t, w)
	term.sees("Approved by alice for 15m")
	term.sees("this session is recorded")
	term.sees("in as " + w.Login)
	if status := term.ends(); status != 0 {
		t.Errorf("ssh ended with %d", status)
	}
	if asked.Person != "bob" || asked.Role != "web-root" || asked.Reason != "restart stuck nginx" || asked.Ticket != "OPS-4711" ||
		asked.Duration != 900 || asked.Via != brevet.ViaSSH || !slices.Equal(asked.Targets, []brevet.TargetID{"web1"}) {
		t.Errorf("asked for %+v", asked)
	}
	key := gossh.FingerprintSHA256(w.Bob.PublicKey())
	if asked.Seen != (statement.Seen{Key: key, Presence: brevet.NoPresence, Source: "127.0.0.1"}) {
		t.Errorf("the gateway says that it saw %+v", asked.Seen)
	}
	holder := gossh.FingerprintSHA256(w.Gateway.Holder.PublicKey())
	if asked.Holder != (statement.Holder{Machine: "gw-1", Key: holder}) {
		t.Errorf("the holder is %+v", asked.Holder)
	}
}

func TestRoleThatNeedsNobodyIsGivenAtOnce(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	term := open(t, w, "gw", "echo in")
	term.sees("Role [web-root]: ")
	term.types("web-now")
	term.sees("Reason: ")
	term.types("looking around")
	term.sees("How long [30m]: ")
	term.types("")
	term.sees("this session is recorded")
	term.sees("\nin\r\n")
	if status := term.ends(); status != 0 {
		t.Errorf("ssh ended with %d", status)
	}
}

func TestDenialIsExplained(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	term := open(t, w, "gw", "true")
	ask(term)
	if _, err := w.Plane.Deny(t.Context(), "alice", "not during the freeze"); err != nil {
		t.Fatal(err)
	}
	term.sees("alice said no (not during the freeze)")
	if status := term.ends(); status != 255 {
		t.Errorf("ssh ended with %d, want 255", status)
	}
	if n := strings.Count(term.Screen(), "alice said no"); n != 1 { // though the client asks three times
		t.Errorf("it is said %d times:\n%s", n, term.Screen())
	}
	if strings.Contains(term.Screen(), `\342`) {
		t.Errorf("the client shows numbers for letters:\n%s", term.Screen())
	}
	refusal(t, w, "login")
	if begun := w.Plane.Begun(); len(begun) != 0 {
		t.Errorf("sessions began: %+v", begun)
	}
}

// ask answers the questions for the default role, until the request waits.
func ask(term *terminal) {
	term.Helper()
	term.sees("Role [web-root]: ")
	term.types("")
	term.sees("Reason: ")
	term.types("a test")
	term.sees("How long [30m]: ")
	term.types("")
	term.sees("Waiting for one of sre-leads")
}

// A client gives up its wait with Ctrl-C; the request stays, and the next connection goes on with it.
func TestInterruptedWaitIsTakenUpAgain(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	term := open(t, w, "gw", "echo in")
	ask(term)
	if err := term.Type("\x03"); err != nil {
		t.Fatal(err)
	}
	if status := term.ends(); status == 0 {
		t.Error("ssh ended with 0 after Ctrl-C")
	}
	again := open(t, w, "gw", "echo in")
	again.sees(" is open; brevet cancel req_")
	again.sees(" takes it back.")
	again.sees("web-now gives " + w.Login + " at once: brevet request web-now web1 --for 30m --reason")
	again.sees("Waiting for one of sre-leads")
	approve(t, w)
	again.sees("\nin\r\n")
	if status := again.ends(); status != 0 {
		t.Errorf("ssh ended with %d", status)
	}
}

// BatchMode cannot answer: its user is told what to type instead, and a wait works without a terminal.
func TestClientsWithoutQuestions(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	got := ssh(t, w, nil, "-o", "BatchMode=yes", "gw", "true")
	if got.status != 255 || !strings.Contains(got.stderr, "Without a terminal: brevet request web-root web1 --for 30m --reason") {
		t.Errorf("got %+v", got)
	}
	term := open(t, w, "gw", "true")
	ask(term)
	done := make(chan result, 1)
	go func() { done <- ssh(t, w, nil, "-o", "BatchMode=yes", "-o", "ServerAliveInterval=2", "gw", "echo in") }()
	term.sees("\r\n") // another sign of life: the other client waits as well
	approve(t, w)
	if got := <-done; got.status != 0 || got.stdout != "in\n" {
		t.Errorf("the waiting client got %+v", got)
	}
	if status := term.ends(); status != 0 {
		t.Errorf("the asking client ended with %d", status)
	}
}

// A reason that is a terminal's escape sequence is no text.
func TestReasonWithControlCharactersIsAskedAgain(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	term := open(t, w, "gw", "true")
	term.sees("Role [web-root]: ")
	term.types("")
	term.sees("Reason: ")
	term.types("\x1b]0;owned\x07")
	if shown := term.sees("Reason: "); strings.Contains(shown, "\x1b]0;owned\a\x1b") {
		t.Errorf("the gateway shows %q", shown)
	}
	term.types(strings.Repeat("x", 1500))
	term.sees("Reason: ")
	term.types("")
	term.sees("nothing was asked")
	if status := term.ends(); status != 255 {
		t.Errorf("ssh ended with %d", status)
	}
}

func TestKeyThatIsNobodysIsExplained(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	key, signer := gatewaytest.NewKey()
	path, err := w.Client.AddKey("stranger", key, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := ssh(t, w, nil, "-o", "IdentitiesOnly=yes", "-o", "IdentityFile=none", "-i", path, "-o", "IdentityAgent=none",
		"-F", "none", "-o", "UserKnownHostsFile="+w.Client.Dir+"/known_hosts", "-o", "HostKeyAlias=gw", "-p", w.Port, w.Login+"%web1@127.0.0.1", "true")
	if got.status != 255 || !strings.Contains(got.stderr, "nobody is enrolled with "+gossh.FingerprintSHA256(signer.PublicKey())) {
		t.Errorf("got %+v", got)
	}
}
