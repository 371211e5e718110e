package ssh_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet/gateway"
	"github.com/brevet-pim/brevet/test/gatewaytest"
	"github.com/brevet-pim/brevet/test/testenv"
)

// refusal waits for one report of the sort.
func refusal(t *testing.T, w *gatewaytest.World, what string) gateway.Refusal {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	list, err := w.Plane.Refusals(ctx, what, 1)
	if err != nil {
		t.Fatalf("no refusal %q was reported: %v", what, err)
	}
	if len(list) != 1 {
		t.Errorf("%d refusals %q were reported, want one", len(list), what)
	}
	return list[0]
}

// connect logs in with a client of our own, which may do what stock ones do not.
func connect(t *testing.T, w *gatewaytest.World, change ...func(*gossh.ClientConfig)) *gossh.Client {
	t.Helper()
	c, err := logIn(w, change...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func logIn(w *gatewaytest.World, change ...func(*gossh.ClientConfig)) (*gossh.Client, error) {
	config := &gossh.ClientConfig{
		User: w.Login + "%web1", Auth: []gossh.AuthMethod{gossh.PublicKeys(w.Bob)},
		HostKeyCallback: gossh.FixedHostKey(w.Server.HostKey.PublicKey()),
	}
	for _, f := range change {
		f(config)
	}
	return gossh.Dial("tcp", w.Addr, config)
}

// Whatever a client can ask for besides sessions is refused, with one event each (Q8).
func TestWhatIsNotGiven(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	c := connect(t, w)
	for _, what := range []string{
		"direct-tcpip", "direct-streamlocal@openssh.com", "tun@openssh.com", "x11", "forwarded-tcpip",
		"auth-agent@openssh.com", "session@brevet",
	} {
		t.Run("channel "+what, func(t *testing.T) {
			if _, _, err := c.OpenChannel(what, nil); err == nil || !strings.Contains(err.Error(), "Brevet: ") {
				t.Errorf("got %v, want a refusal with a sentence", err)
			}
			if r := refusal(t, w, what); r.Person != "bob" || r.Target != "web1" || r.Grant == "" || r.Machine != "gw-1" {
				t.Errorf("reported %+v", r)
			}
		})
	}
	for _, what := range []string{"tcpip-forward", "streamlocal-forward@openssh.com", "unheard@of"} {
		t.Run("request "+what, func(t *testing.T) {
			if ok, _, err := c.SendRequest(what, true, nil); ok || err != nil {
				t.Errorf("got %v, %v", ok, err)
			}
			refusal(t, w, what)
		})
	}
	for _, what := range []string{"auth-agent-req@openssh.com", "x11-req", "unheard-of@session"} {
		t.Run("session request "+what, func(t *testing.T) {
			s, err := c.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if ok, err := s.SendRequest(what, true, nil); ok || err != nil {
				t.Errorf("got %v, %v", ok, err)
			}
			refusal(t, w, what)
		})
	}
	t.Run("subsystem", func(t *testing.T) {
		channel, requests, err := c.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		go gossh.DiscardRequests(requests)
		name := struct{ Name string }{"sftp"}
		if ok, err := channel.SendRequest("subsystem", true, gossh.Marshal(name)); !ok || err != nil {
			t.Errorf("got %v, %v: then stock clients do not print the sentence", ok, err)
		}
		said, err := io.ReadAll(channel.Stderr())
		if err != nil || !strings.Contains(string(said), "copy with scp -O or rsync") {
			t.Errorf("it says %q, %v", said, err)
		}
		if r := refusal(t, w, "subsystem"); !strings.Contains(r.Why, `"sftp"`) {
			t.Errorf("reported %+v", r)
		}
	})
	if begun := w.Plane.Begun(); len(begun) != 0 {
		t.Errorf("sessions began: %+v", begun)
	}
}

// The same, as people with stock programs see it.
func TestStockClientsReadWhyNot(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	if err := w.Client.UseAgent(testenv.SSHAgent(t).Socket); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tests := []struct {
		name, program string
		args          []string
		sees          string
		fails         bool
	}{
		{"-W", "ssh", []string{"-W", l.Addr().String(), "gw"}, "port forwarding is not given", true},
		{"-R", "ssh", []string{"-R", "0:127.0.0.1:22", "gw", "true"}, "remote port forwarding is not given", false},
		{"-A", "ssh", []string{"-A", "gw", "true"}, "agent forwarding is not given", false},
		{"sftp", "sftp", []string{"-b", "/dev/null", "gw"}, "copy with scp -O or rsync", true},
		{"scp", "scp", []string{"gw:/etc/hostname", "/dev/null"}, "copy with scp -O or rsync", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := run(t, w, tt.program, nil, append([]string{"-F", w.Client.Dir + "/config"}, tt.args...)...)
			if !strings.Contains(got.stderr, tt.sees) || (got.status != 0) != tt.fails {
				t.Errorf("got %+v, want %q", got, tt.sees)
			}
		})
	}
}

// A command that is too long to be recorded is refused with a sentence that stock clients print, and an event.
func TestTooLongACommand(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	got := ssh(t, w, nil, "gw", "true "+strings.Repeat("x", 70<<10))
	if got.status != 255 || !strings.Contains(got.stderr, "Brevet: the command is longer than 64 KiB, or cannot be read. Put it into a file") {
		t.Errorf("status %d, %.300q", got.status, got.stderr)
	}
	if r := refusal(t, w, "exec"); r.Person != "bob" || !strings.Contains(r.Why, "longer than 64 KiB") {
		t.Errorf("reported %+v", r)
	}
	if begun := w.Plane.Begun(); len(begun) != 0 {
		t.Errorf("sessions began: %+v", begun)
	}
}
