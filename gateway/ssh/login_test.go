package ssh_test

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet/test/gatewaytest"
)

// Who leaves while their request is open was refused nothing. A ProxyCommand ends what it says before it
// ends the connection, so the gateway meets this first inside TLS.
func TestHungUpWhileWaiting(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	conn, err := tls.Dial("tcp", w.Addr, &tls.Config{
		ServerName: "web1.brevet", NextProtos: []string{"brevet-ssh"}, InsecureSkipVerify: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer := func(_, instruction string, questions []string, _ []bool) ([]string, error) {
		if strings.HasPrefix(instruction, "Asked as ") {
			conn.CloseWrite()
		}
		answers := make([]string, len(questions))
		for i, q := range questions {
			if q == "Reason: " {
				answers[i] = "pager 4711"
			} else if strings.HasPrefix(q, "Role ") {
				answers[i] = "web-root"
			}
		}
		return answers, nil
	}
	go gossh.NewClientConn(conn, "web1.brevet", &gossh.ClientConfig{
		User: w.Login, HostKeyCallback: gossh.InsecureIgnoreHostKey(),
		Auth: []gossh.AuthMethod{gossh.PublicKeys(w.Bob), gossh.KeyboardInteractive(answer)},
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !strings.Contains(w.Log(), "hung up") {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("the gateway does not say that the client hung up:\n%s", w.Log())
		}
	}
	if _, err := logIn(w, func(c *gossh.ClientConfig) { c.User = w.Login + "%web9" }); err == nil {
		t.Error("somebody came in")
	}
	if r := refusal(t, w, "login"); r.Target != "web9" {
		t.Errorf("reported %+v", r)
	}
}
