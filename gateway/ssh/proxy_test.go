package ssh_test

import (
	"crypto/tls"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet/api/dial"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/test/gatewaytest"
)

// TestMain lets this program be the ProxyCommand of stock clients, as brevet ssh-proxy is, and many
// idle clients.
func TestMain(m *testing.M) {
	if len(os.Args) != 5 || os.Args[1] != "proxy" && os.Args[1] != "idle" {
		os.Exit(m.Run())
	}
	var err error
	if os.Args[1] == "proxy" {
		err = proxy(os.Args[2], os.Args[3], os.Args[4])
	} else {
		var sessions int
		if sessions, err = strconv.Atoi(os.Args[4]); err == nil {
			err = idle(os.Args[2], os.Args[3], sessions)
		}
	}
	if err != nil {
		io.WriteString(os.Stderr, err.Error()+"\n")
		os.Exit(1)
	}
}

// proxy carries its standard streams to the gateway in TLS that names the target.
func proxy(addr, pin, host string) error {
	p, err := dial.ParsePin(pin)
	if err != nil {
		return err
	}
	config := dial.Config(p, nil, host, "gw-1")
	config.NextProtos = []string{"brevet-ssh"}
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() {
		io.Copy(conn, os.Stdin)
		conn.CloseWrite()
	}()
	_, err = io.Copy(os.Stdout, conn)
	return err
}

// typed lets a client type ssh root@web1.brevet.
func typed(t *testing.T, w *gatewaytest.World) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Client.Configure("Host *.brevet", "ProxyCommand "+program+" proxy "+w.Addr+" "+w.Pin.String()+" %h", "User "+w.Login); err != nil {
		t.Fatal(err)
	}
}

// The name that the person types reaches the gateway in TLS, and its host key is certified for it.
func TestTypedName(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	typed(t, w)
	w.Plane.Grant("bob", "web-root", time.Hour)
	got := ssh(t, w, []byte("in\n"), "WEB1.brevet", "cat; echo err >&2; exit 3")
	got.stderr = withoutBanner(got.stderr)
	if got != (result{"in\n", "err\n", 3}) {
		t.Errorf("got %+v", got)
	}
	if rec := played(t, w, ended(t, w, 1)); rec[record.KindStdout] != "in\n" {
		t.Errorf("recorded %q", rec)
	}
}

func TestTypedNameOfNothing(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	typed(t, w)
	got := ssh(t, w, nil, "web9.brevet", "true")
	if got.status != 255 || !strings.Contains(got.stderr, "there is no target web9") {
		t.Errorf("got %+v", got)
	}
}

// A host key that is certified by another authority, or not at all, stops a client before it says who it is.
func TestTypedNameIsCertified(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	typed(t, w)
	w.Plane.Grant("bob", "web-root", time.Hour)
	_, other := gatewaytest.NewKey()
	if err := os.WriteFile(w.Client.Dir+"/known_hosts", []byte("@cert-authority *.brevet "+line(other.PublicKey())), 0o600); err != nil {
		t.Fatal(err)
	}
	got := ssh(t, w, nil, "web1.brevet", "true")
	if got.status != 255 || !strings.Contains(got.stderr, "Host key verification failed") || len(w.Plane.Begun()) != 0 {
		t.Errorf("got %+v", got)
	}
}

// What begins with TLS and does not name a target is served nothing.
func TestPreambles(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	tests := []struct {
		name, server string
		protocols    []string
		version      uint16
		served       bool
	}{
		{name: "a target", server: "web1.brevet", protocols: []string{"brevet-ssh"}, served: true},
		{name: "in capitals", server: "WEB1.BREVET", protocols: []string{"h2", "brevet-ssh"}, served: true},
		{name: "no protocol", server: "web1.brevet"},
		{name: "another protocol", server: "web1.brevet", protocols: []string{"h2", "http/1.1"}},
		{name: "no name", protocols: []string{"brevet-ssh"}},
		{name: "another suffix", server: "web1.example", protocols: []string{"brevet-ssh"}},
		{name: "only the suffix", server: ".brevet", protocols: []string{"brevet-ssh"}},
		{name: "a path", server: "web1/../x.brevet", protocols: []string{"brevet-ssh"}},
		{name: "two targets", server: "web1,web2.brevet", protocols: []string{"brevet-ssh"}},
		{name: "a long one", server: strings.Repeat("a", 200) + ".brevet", protocols: []string{"brevet-ssh"}},
		{name: "old TLS", server: "web1.brevet", protocols: []string{"brevet-ssh"}, version: tls.VersionTLS12},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := tls.Dial("tcp", w.Addr, &tls.Config{
				ServerName: tt.server, NextProtos: tt.protocols, InsecureSkipVerify: true, MaxVersion: tt.version,
			})
			var greeting [8]byte
			if err == nil {
				defer conn.Close()
				_, err = io.ReadFull(conn, greeting[:])
			}
			if served := err == nil && string(greeting[:]) == "SSH-2.0-"; served != tt.served {
				t.Errorf("served: %v (%q, %v), want %v", served, greeting, err, tt.served)
			}
		})
	}
}

func TestUserNamesThatNameNoTarget(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	for user, says := range map[string]string{
		"root":         "names no target",
		"root%":        "target",
		"%web1":        "login",
		"root%web1%":   "target",
		"a b%web1":     "login",
		"root%../web1": "target",
		"root%web9":    "there is no target web9",
		"nobody%web1":  "you hold no grant for nobody on web1 through this gateway, and may not ask for it",
		"-oProxy%web1": "login",
		"root\nx%web1": "login",
		"root%web1 ":   "target",
		"root%*":       "target",
		"root,x%web1":  "login",
	} {
		var said string
		_, err := logIn(w, func(c *gossh.ClientConfig) { // stock clients refuse some of them by themselves
			c.User, c.BannerCallback = user, func(text string) error { said += text; return nil }
		})
		if err == nil || !strings.Contains(said, says) {
			t.Errorf("%q: got %v, %q, want %q", user, err, said, says)
		}
	}
	if len(w.Plane.Begun()) != 0 {
		t.Error("a session began")
	}
}
