package testenv_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/brevet-pim/brevet/test/testenv"
)

func TestSSHDAdmitsOnlyTheRightPrincipal(t *testing.T) {
	ca := newKey(t)
	caSigner := signer(t, ca)
	login := testenv.Login(t)
	host := testenv.SSHD(t, testenv.SSHDOptions{
		UserCA:     caSigner.PublicKey(),
		Principals: map[string][]string{login: {"web1/" + login}},
	})
	tests := []struct {
		name      string
		principal string
		by        ssh.Signer
		admitted  bool
	}{
		{name: "target and login", principal: "web1/" + login, by: caSigner, admitted: true},
		{name: "another target", principal: "web2/" + login, by: caSigner},
		{name: "bare login", principal: login, by: caSigner},
		{name: "another authority", principal: "web1/" + login, by: signer(t, newKey(t))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client := testenv.SSHClient(t)
			key := newKey(t)
			must(t, client.Trust(host.KnownHost()))
			_, err := client.AddKey("id", key, certificate(t, key, tt.by, tt.principal))
			must(t, err)
			out, err := client.Command(t.Context(), "-p", host.Port(), host.Login+"@127.0.0.1", "echo in; exit 7").CombinedOutput()
			code := exitCode(err)
			if admitted := code == 7 && string(out) == "in\n"; admitted != tt.admitted {
				t.Errorf("admitted: %v, want %v; status %d, output %q", admitted, tt.admitted, code, out)
			}
		})
	}
}

func TestSSHDShowsACertificateOfItsAuthority(t *testing.T) {
	key := newKey(t)
	host := testenv.SSHD(t, testenv.SSHDOptions{
		AuthorizedKeys: []ssh.PublicKey{signer(t, key).PublicKey()},
		HostNames:      []string{"web1.brevet"},
	})
	client := testenv.SSHClient(t)
	must(t, client.Trust("@cert-authority *.brevet "+string(ssh.MarshalAuthorizedKey(host.HostCA))))
	must(t, client.Configure("Host web1.brevet", "HostName 127.0.0.1", "HostKeyAlias web1.brevet", "Port "+host.Port()))
	_, err := client.AddKey("id", key, nil)
	must(t, err)
	out, err := client.Command(t.Context(), host.Login+"@web1.brevet", "echo in").CombinedOutput()
	if err != nil || string(out) != "in\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestTerminalSeesWhatAPersonWould(t *testing.T) {
	must(t, testenv.CanGiveTerminals())
	key := newKey(t)
	host := testenv.SSHD(t, testenv.SSHDOptions{AuthorizedKeys: []ssh.PublicKey{signer(t, key).PublicKey()}})
	held := testenv.SSHAgent(t, agent.AddedKey{PrivateKey: key, Comment: "bob"})
	client := testenv.SSHClient(t)
	must(t, client.Trust(host.KnownHost()))
	must(t, client.UseAgent(held.Socket))

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	terminal, err := client.Terminal(ctx, "-tt", "-p", host.Port(), host.Login+"@127.0.0.1", "stty size; cat")
	must(t, err)
	_, err = terminal.Expect(ctx, "24 80")
	must(t, err)
	must(t, terminal.Type("a=1 b=22\n"))
	m, err := terminal.ExpectMatch(ctx, regexp.MustCompile(`a=(\d) b=(\d+)`))
	must(t, err)
	if m.Groups[1] != "1" || m.Groups[2] != "22" {
		t.Errorf("groups are %q", m.Groups)
	}
	must(t, terminal.Type("\x04\x04"))
	must(t, terminal.Wait(ctx))
	if _, err := terminal.Expect(ctx, "never printed"); err == nil {
		t.Error("found what was never printed")
	}
	must(t, terminal.Close())
}

func TestStopEndsSessionsToo(t *testing.T) {
	key := newKey(t)
	host := testenv.SSHD(t, testenv.SSHDOptions{AuthorizedKeys: []ssh.PublicKey{signer(t, key).PublicKey()}})
	client := testenv.SSHClient(t)
	must(t, client.Trust(host.KnownHost()))
	_, err := client.AddKey("id", key, nil)
	must(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	terminal, err := client.Terminal(ctx, "-p", host.Port(), host.Login+"@127.0.0.1", "echo in; exec sleep 3600")
	must(t, err)
	defer terminal.Close()
	_, err = terminal.Expect(ctx, "in\r\n")
	must(t, err)
	host.Stop()
	if err := terminal.Wait(ctx); exitCode(err) != 255 {
		t.Errorf("the session ended with %v, want status 255", err)
	}
	if !strings.Contains(host.Log(), "Accepted publickey for "+host.Login) {
		t.Errorf("the log does not show the login:\n%s", host.Log())
	}
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return key
}

func signer(t *testing.T, key ed25519.PrivateKey) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(key)
	must(t, err)
	return s
}

func certificate(t *testing.T, key ed25519.PrivateKey, by ssh.Signer, principal string) *ssh.Certificate {
	t.Helper()
	cert := &ssh.Certificate{
		Key:             signer(t, key).PublicKey(),
		CertType:        ssh.UserCert,
		ValidPrincipals: []string{principal},
		ValidAfter:      uint64(time.Now().Add(-time.Minute).Unix()),
		ValidBefore:     uint64(time.Now().Add(time.Hour).Unix()),
	}
	must(t, cert.SignCert(rand.Reader, by))
	return cert
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := err.(*exec.ExitError); ok {
		return e.ExitCode()
	}
	return -1
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
