package ssh_test

import (
	"crypto/tls"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	sshgateway "github.com/brevet-pim/brevet/gateway/ssh"
	"github.com/brevet-pim/brevet/test/gatewaytest"
)

// TestStrangersWriteShortLines: whatever somebody sends who is nobody here, the log has a line of bounded length of it,
// and nothing in that acts on a terminal.
func TestStrangersWriteShortLines(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	_, stranger := gatewaytest.NewKey()
	long := strings.Repeat("\x01", 100_000)
	for name, change := range map[string]func(*gossh.ClientConfig){
		"user name":       func(c *gossh.ClientConfig) { c.User = long },
		"login":           func(c *gossh.ClientConfig) { c.User = long + "%web1" },
		"target":          func(c *gossh.ClientConfig) { c.User = "root%" + long },
		"hidden":          func(c *gossh.ClientConfig) { c.User = "root\u202e\x1b[2J%web1" },
		"host key":        func(c *gossh.ClientConfig) { c.HostKeyAlgorithms = []string{strings.Repeat("x", 20_000)} },
		"hidden host key": func(c *gossh.ClientConfig) { c.HostKeyAlgorithms = []string{"\x1b[2J\u202e"} },
	} {
		before := len(w.Log())
		c, err := logIn(w, func(c *gossh.ClientConfig) {
			c.Auth = []gossh.AuthMethod{gossh.PublicKeys(stranger)}
			change(c)
		})
		if err == nil {
			c.Close()
			t.Fatalf("%s: a stranger logs in", name)
		}
		line := ""
		eventually(t, name+" is logged", func() bool { line = w.Log()[before:]; return strings.HasSuffix(line, "\n") })
		if len(line) > 2000 || strings.ContainsAny(line, "\x01\x1b\u202e") {
			t.Errorf("%s: %d bytes were logged: %.300q", name, len(line), line)
		}
	}
	before := len(w.Log())
	c, err := tls.Dial("tcp", w.Addr, &tls.Config{
		ServerName: strings.Repeat("x", 10_000), InsecureSkipVerify: true, NextProtos: []string{sshgateway.Protocol},
	})
	if err == nil {
		defer c.Close()
	}
	eventually(t, "the server name is logged", func() bool { return len(w.Log()) > before })
	if line := w.Log()[before:]; len(line) > 2000 {
		t.Errorf("%d bytes of a server name were logged", len(line))
	}
}
