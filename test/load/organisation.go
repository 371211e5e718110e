package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet/test/testenv"
)

// organisation is one whole Brevet with people, made by the binary as an administrator would.
type organisation struct {
	binary string
	dir    string
	api    string // address
	ssh    string // of the gateway
	alice  person // founder
	people []person
	server *process
	target *testenv.Host // web1; admits the grants' certificates, and the people's own keys to compare with
	login  string        // the privileged one there
}

// person is somebody with a home, in which there is an SSH key and Brevet's folder.
type person struct {
	name, home string
}

func (p person) key() string { return filepath.Join(p.home, "id_ed25519") }

// newOrganisation founds one below dir, starts its server and its target, and has so many people join.
func newOrganisation(ctx context.Context, o options, dir string, people int) (_ *organisation, err error) {
	if dir, err = os.MkdirTemp(dir, "organisation"); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // sshd reads below it as whoever logs in
		return nil, err
	}
	org := &organisation{binary: o.brevet, dir: dir}
	defer func() {
		if err != nil {
			org.close()
		}
	}()
	if err := org.found(ctx); err != nil {
		return nil, err
	}
	if err := org.serve(ctx); err != nil {
		return nil, err
	}
	for i := range people {
		p, err := org.person(ctx, fmt.Sprintf("p%d", i))
		if err != nil {
			return nil, err
		}
		org.people = append(org.people, p)
	}
	if err := org.startTarget(ctx); err != nil {
		return nil, err
	}
	return org, org.join(ctx)
}

func (org *organisation) close() {
	if org.server != nil {
		org.server.stop()
	}
	if org.target != nil {
		org.target.Stop()
	}
}

func (org *organisation) data() string { return filepath.Join(org.dir, "server") }

// person gives somebody a home with a key, made by the stock ssh-keygen.
func (org *organisation) person(ctx context.Context, name string) (person, error) {
	p := person{name, filepath.Join(org.dir, name)}
	if err := os.Mkdir(p.home, 0o700); err != nil {
		return p, err
	}
	keygen, err := testenv.Program("ssh-keygen")
	if err != nil {
		return p, err
	}
	_, err = output(exec.CommandContext(ctx, keygen, "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", p.key()))
	return p, err
}

// as runs a command of Brevet's as the person, and returns what it prints as its result.
func (org *organisation) as(ctx context.Context, p person, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, org.binary, args...)
	cmd.Dir = p.home
	cmd.Env = []string{"HOME=" + p.home, "BREVET_HOME=" + p.home, "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"}
	return output(cmd)
}

func output(cmd *exec.Cmd) (string, error) {
	var out, besides bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &besides
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, out.String(), besides.String())
	}
	return out.String(), nil
}

func (org *organisation) found(ctx context.Context) (err error) {
	if org.alice, err = org.person(ctx, "alice"); err != nil {
		return err
	}
	ports, err := testenv.FreePorts(2)
	if err != nil {
		return err
	}
	org.api, org.ssh = ports[0], ports[1]
	_, err = org.as(ctx, org.alice, "init", "--data", org.data(), "--organisation", "load", "--founder", "alice", "--key", org.alice.key(),
		"--listen", org.api, "--ssh-listen", org.ssh)
	return err
}

// serve starts the server and waits until it is ready.
func (org *organisation) serve(ctx context.Context) (err error) {
	cmd := exec.Command(org.binary, "server", "--data", org.data())
	cmd.Env = []string{"HOME=" + org.alice.home, "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"}
	if org.server, err = startProcess(cmd, filepath.Join(org.dir, "server.log")); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return org.server.until(ctx, "msg=ready")
}

// startTarget starts the system's own OpenSSH server.
func (org *organisation) startTarget(ctx context.Context) error {
	line, err := org.as(ctx, org.alice, "ssh-ca")
	if err != nil {
		return err
	}
	ca, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return err
	}
	me, err := exec.CommandContext(ctx, "id", "-un").Output()
	if err != nil {
		return err
	}
	org.login = strings.TrimSpace(string(me))
	admitted := testenv.SSHDOptions{
		UserCA: ca, Principals: map[string][]string{org.login: {"web1/" + org.login}},
		Extra: []string{"MaxStartups 1000"},
	}
	for _, p := range org.people {
		public, err := os.ReadFile(p.key() + ".pub")
		if err != nil {
			return err
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey(public)
		if err != nil {
			return err
		}
		admitted.AuthorizedKeys = append(admitted.AuthorizedKeys, key)
	}
	dir := filepath.Join(org.dir, "web1")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	org.target, err = testenv.StartSSHD(ctx, dir, admitted)
	return err
}

// join puts the catalog in force and has the people enrol their keys.
func (org *organisation) join(ctx context.Context) error {
	if err := org.writeCatalog(filepath.Join(org.data(), "catalog")); err != nil {
		return err
	}
	if _, err := org.as(ctx, org.alice, "apply", "-f", filepath.Join(org.data(), "catalog"), "--yes", "--message", "web1, and who has root on it"); err != nil {
		return err
	}
	sign := []string{"people", "sign"}
	for _, p := range org.people {
		code, err := org.as(ctx, org.alice, "people", "invite", p.name)
		if err != nil {
			return err
		}
		if _, err := org.as(ctx, p, "login", strings.TrimSpace(code), "--key", p.key(), "--no-wait"); err != nil {
			return err
		}
		sign = append(sign, p.name)
	}
	if len(org.people) == 0 {
		return nil
	}
	_, err := org.as(ctx, org.alice, append(sign, "--yes")...)
	return err
}

const (
	rolesFile = `kind: Role
name: web-root
description: root on the web servers, for whoever is on duty
owner: group:admins
sensitivity: low
targets: {kind: ssh, labels: {app: web}}
gives:
  ssh: {logins: [LOGIN], permit: [pty]}
limits: {duration: 8h}
asks: {reason: true}
recording: required
zone: UTC
`
	targetsFile = `kind: Target
name: web1
type: ssh
address: ADDRESS
labels: {app: web}
sensitivity: low
owner: group:admins
host_keys:
  - HOSTKEY
`
	groupsFile = `kind: Group
name: admins
members: [alice]
---
kind: Group
name: auditors
members: [alice]
---
kind: Group
name: duty
members: [PEOPLE]
`
	policiesFile = `@id("duty-at-once")
@description("whoever is on duty has root on the web servers at once")
permit (principal in Group::"duty", action == Action::"activate", resource == Role::"web-root");
`
)

// writeCatalog writes the catalog's files, beside those of the policies that init began with.
func (org *organisation) writeCatalog(dir string) error {
	names := []string{"alice"} // the duty is hers where there is nobody else
	for _, p := range org.people {
		names = append(names, p.name)
	}
	key := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(org.target.HostKey)))
	fill := strings.NewReplacer("LOGIN", org.login, "ADDRESS", fmt.Sprintf("%q", org.target.Addr), "HOSTKEY", key, "PEOPLE", strings.Join(names, ", "))
	for name, text := range map[string]string{
		"roles.yaml": rolesFile, "targets.yaml": targetsFile, "groups.yaml": groupsFile, "policies/duty.cedar": policiesFile,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(fill.Replace(text)), 0o644); err != nil {
			return err
		}
	}
	return nil
}
