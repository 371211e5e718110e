package api

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
)

// TestReferenceWorksWithCurl runs the commands of docs/reference/api.md in a folder as brevet login
// leaves it.
func TestReferenceWorksWithCurl(t *testing.T) {
	p := newPlane(t)
	page, err := os.ReadFile("../docs/reference/api.md")
	must(t, err)
	commands := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(commands) != 2 {
		t.Fatalf("the reference has %d blocks of commands", len(commands))
	}
	home := p.homeOf("bob")
	t.Setenv("HOME", filepath.Dir(filepath.Dir(home)))
	out, err := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", commands[0][1]+commands[1][1]).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{p.pin.String() + "  -", `"id":"bob"`} {
		if !strings.Contains(strings.ReplaceAll(string(out), `": "`, `":"`), want) {
			t.Errorf("the commands do not print %s:\n%s", want, out)
		}
	}
}

// homeOf signs somebody in and writes what curl needs.
func (p *plane) homeOf(person brevet.PersonID) string {
	p.t.Helper()
	certificate := newCertificate(p.t, false)
	v := p.visit(&certificate)
	in, err := v.auth().SignIn(p.t.Context(), &pb.SignInRequest{Statement: p.answer(v, certificate, person, p.Keys[person], nil)})
	must(p.t, err)
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	must(p.t, err)
	home := filepath.Join(p.t.TempDir(), ".config", "brevet")
	must(p.t, os.MkdirAll(home, 0o700))
	for name, content := range map[string][]byte{
		"client.key":   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		"client.crt":   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}),
		"token":        []byte(in.GetToken()),
		"profile.yaml": []byte("server: " + p.address + "\nperson: " + string(person) + "\n"),
	} {
		must(p.t, os.WriteFile(filepath.Join(home, name), content, 0o600))
	}
	return home
}
