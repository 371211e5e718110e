package cli

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/cli/home"
	"github.com/brevet-pim/brevet/statement"
)

// TestStockSSHReadsTheConfiguration: the lines mean to ssh what they are meant to, wherever the folder is.
func TestStockSSHReadsTheConfiguration(t *testing.T) {
	w := newWorld(t)
	w.addHostCA()
	odd := filepath.Join(t.TempDir(), `it's 100% "odd"`)
	if err := os.Rename(os.Getenv("BREVET_HOME"), odd); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BREVET_HOME", odd)
	got := run(t, "", "ssh-config")
	got.want(t, 0, "Host *.brevet\n")
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(got.out), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ssh", "-G", "-F", file, "root@web1.brevet").CombinedOutput()
	if err != nil {
		t.Fatalf("ssh -G: %v\n%s", err, out)
	}
	for _, want := range []string{
		"user root\n", "stricthostkeychecking true\n", "identitiesonly yes\n", "forwardagent no\n", "updatehostkeys false\n",
		"identityfile " + w.key + "\n", "ssh-proxy %h\n",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("ssh does not read %q", want)
		}
	}
	elsewhere, err := exec.Command("ssh", "-G", "-F", file, "root@example.org").CombinedOutput()
	if err != nil || strings.Contains(string(elsewhere), "ssh-proxy") {
		t.Errorf("other hosts are touched: %v\n%s", err, elsewhere)
	}
	known, err := os.ReadFile(filepath.Join(odd, home.KnownHostsFile))
	if err != nil || !strings.HasPrefix(string(known), "@cert-authority *.brevet ssh-ed25519 ") && !strings.HasPrefix(string(known), "@cert-authority *.brevet ecdsa-") {
		t.Errorf("known_hosts: %q, %v", known, err)
	}
}

func TestInstallIsDoneOnce(t *testing.T) {
	w := newWorld(t)
	w.addHostCA()
	dir := filepath.Join(os.Getenv("HOME"), ".ssh")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, []byte("Host *\n  Compression no\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "", "ssh-config", "--install").want(t, 0, "Included in")
	run(t, "", "ssh-config", "--install").want(t, 0)
	b := string(must(os.ReadFile(config))(t))
	if strings.Count(b, "Include") != 1 || !strings.HasPrefix(b, "Include ") || !strings.HasSuffix(b, "Host *\n  Compression no\n") {
		t.Errorf("the configuration is now\n%s", b)
	}
	run(t, "", "doctor").want(t, 0, "✓ ssh: LOGIN@TARGET.brevet goes through Brevet")
}

// gatewayAt serves TLS as a gateway that runs on its own: by a certificate of its own key. It says which
// name and protocol it was asked for, and sends back what comes.
func gatewayAt(t *testing.T, certificate tls.Certificate) (address string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{sshProtocol}, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			echo(c.(*tls.Conn))
		}
	}()
	return l.Addr().String()
}

func echo(c *tls.Conn) {
	defer c.Close()
	if c.Handshake() != nil {
		return
	}
	s := c.ConnectionState()
	io.WriteString(c, s.ServerName+" "+s.NegotiatedProtocol+" ")
	io.Copy(c, c)
}

func machineCertificate(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))(t)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestProxy(t *testing.T) {
	w := newWorld(t)
	certificate := machineCertificate(t, "gw-1")
	w.addMachine("gw-1", statement.MachineGateway, statement.KeyTLS, must(statement.MachineKeyOf(certificate.PrivateKey.(*ecdsa.PrivateKey).Public()))(t))
	address := gatewayAt(t, certificate)
	w.roles = []*brevetv1.Role{{Name: "web-root", Targets: []string{"web1", "web2"}, Holders: []*brevetv1.Holder{{Machine: "gw-1", Address: address, Targets: []string{"web1"}}}}}
	run(t, "", "audit", "verify").want(t, 0) // and so the roster is known here

	got := run(t, "hello", "ssh-proxy", "WEB1.brevet")
	if got.status != 0 || got.out != "web1.brevet "+sshProtocol+" hello" {
		t.Errorf("ended with %d: %q %q", got.status, got.out, got.err)
	}
	run(t, "", "ssh-proxy", "web2.brevet").want(t, statusUnavailable, "no gateway serves web2 now")
	run(t, "", "ssh-proxy", "web3.brevet").want(t, statusNotFound, `no target "web3". Did you mean web`)
	run(t, "", "ssh-proxy", "web1.example.org").want(t, statusUsage, "is not one of Brevet's hosts")

	// Somebody else at the gateway's address is told nothing.
	w.roles[0].Holders[0].Address = gatewayAt(t, machineCertificate(t, "gw-1"))
	if err := os.Remove(filepath.Join(os.Getenv("BREVET_HOME"), home.GatewaysFile)); err != nil {
		t.Fatal(err)
	}
	got = run(t, "secret", "ssh-proxy", "web1.brevet")
	if got.status != statusRefused || strings.Contains(got.out, "secret") {
		t.Errorf("ended with %d: %q %q", got.status, got.out, got.err)
	}
}

// TestCarryEndsWithItsContext: an interrupted ssh leaves no connection behind.
func TestCarryEndsWithItsContext(t *testing.T) {
	server := gatewayAt(t, machineCertificate(t, "gw-1"))
	conn := must(tls.Dial("tcp", server, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{sshProtocol}}))(t)
	defer conn.Close()
	in, hold := net.Pipe()
	defer in.Close()
	defer hold.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := carry(ctx, conn, in, io.Discard); Status(err) != statusInterrupted {
		t.Errorf("got %v", err)
	}
}

func TestQuoting(t *testing.T) {
	for _, s := range []string{"plain", "it's", `"`, `\`, "a b", "$(x)", "`x`", "50%"} {
		script := "printf %s " + strings.ReplaceAll(quoteShell(s), "%%", "%")
		out, err := exec.Command("sh", "-c", script).Output()
		if err != nil || string(out) != s {
			t.Errorf("the shell reads %q as %q, %v", s, out, err)
		}
	}
}

func TestNoHostAuthority(t *testing.T) {
	newWorld(t)
	got := run(t, "", "ssh-config")
	if got.want(t, statusUnavailable, "names no authority for SSH host certificates"); got.out != "" {
		t.Errorf("lines were written: %s", got.out)
	}
}
