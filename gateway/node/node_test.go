package node_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/gateway"
	"github.com/brevet-pim/brevet/gateway/node"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/seal"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/test/orgplane"
	"github.com/brevet-pim/brevet/test/testenv"
)

// world is a whole gateway: real proofs over the API on one side, a real sshd on the other, and a
// stock client with bob's key in front.
type world struct {
	*orgplane.Plane
	t      *testing.T
	org    *prooftest.Org
	client brevetv1connect.GatewayServiceClient
	dir    string
	opens  *seal.Identity
	bob    *testenv.Client
	port   string
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "gateway")}
	login := testenv.Login(t)
	var err error
	w.opens, err = seal.NewIdentity()
	must(t, err)
	w.org = prooftest.New(t, prooftest.Options{Start: time.Now().Add(-time.Hour)})
	sshd := testenv.SSHD(t, testenv.SSHDOptions{
		UserCA:     w.org.Issuer.Users.PublicKey(),
		Principals: map[string][]string{login: {gateway.Principal("web1", login)}},
	})
	catalog := w.org.Catalog
	for i := range catalog.Targets {
		catalog.Targets[i].Address, catalog.Targets[i].HostCAs = sshd.Addr, []string{strings.TrimSpace(string(gossh.MarshalAuthorizedKey(sshd.HostCA)))}
	}
	for i := range catalog.Roles {
		catalog.Roles[i].SSH.Logins = []string{login}
	}
	w.org.SetCatalog(catalog)
	w.org.Catalog = catalog
	w.org.SetMachine(statement.Machine{
		Name: "recorder-1", Use: statement.MachineRecorder,
		Keys: []statement.MachineKey{{Use: statement.KeySeal, Key: statement.Key{Kind: statement.KindXWing, Public: w.opens.Recipient().String()}}},
	})
	w.bob = testenv.SSHClient(t)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	_, err = w.bob.AddKey("bob", key, nil)
	must(t, err)
	sshKey, err := gossh.NewSignerFromKey(key)
	must(t, err)
	signer, err := statement.SSHSigner(sshKey)
	must(t, err)
	w.org.Enrol(w.org.Enrolment("bob", "", signer, statement.UseRequest))
	w.Plane = orgplane.New(w.org, t.TempDir())
	w.client = w.Serve(t)
	return w
}

// config is that of gw-1.
func (w *world) config() node.Config {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(w.t, err)
	_, w.port, _ = net.SplitHostPort(l.Addr().String())
	keys := w.org.Gateways["gw-1"]
	must(w.t, w.bob.Trust("gw "+string(gossh.MarshalAuthorizedKey(keys.Host.PublicKey()))))
	return node.Config{
		Dir: w.dir, Machine: "gw-1", Root: w.org.Root, Client: w.client, Listener: l, Address: l.Addr().String(),
		Host: keys.Host, Holder: keys.Holder, Statement: keys.Statements,
		Recorder: func(seals []statement.Key, sink func(brevet.SessionID) (record.Sink, error)) (*record.Recorder, error) {
			r := &record.Recorder{Sink: sink}
			for _, k := range seals {
				recipient, err := seal.ParseRecipient(k.Public)
				if err != nil {
					return nil, err
				}
				r.Recipients = append(r.Recipients, recipient)
			}
			return r, nil
		},
		Log: slog.New(slog.DiscardHandler),
	}
}

// start runs a gateway; stop ends it and returns how.
func (w *world) start(c node.Config) (n *node.Node, stop func() error) {
	w.t.Helper()
	n, err := node.Open(c)
	must(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	ended := false
	stop = func() error {
		if ended {
			return nil
		}
		ended = true
		cancel()
		return <-done
	}
	w.t.Cleanup(func() { stop() })
	return n, stop
}

// ssh runs the stock client.
func (w *world) ssh(command string) (stdout, stderr string, status int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	cmd := w.command(ctx, command)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		status = exit.ExitCode()
	} else {
		must(w.t, err)
	}
	return out.String(), errs.String(), status
}

func (w *world) command(ctx context.Context, command string) *exec.Cmd {
	return w.bob.Command(ctx, "-p", w.port, "-o", "HostKeyAlias=gw", "-o", "BatchMode=yes", "-l", testenv.Login(w.t)+"%web1", "127.0.0.1", command)
}

func TestGatewayFromProofToRecording(t *testing.T) {
	w := newWorld(t)
	n, stop := w.start(w.config())
	if _, stderr, status := w.ssh("true"); status != 255 || !strings.Contains(stderr, "nothing was given") {
		t.Errorf("without a grant: %d, %q", status, stderr)
	}
	id := w.Give("bob", "web-now")
	out, stderr, status := w.ssh("echo in; exit 3")
	if out != "in\n" || status != 3 || !strings.Contains(stderr, "this session is recorded") {
		t.Errorf("got %q, %q, %d", out, stderr, status)
	}
	h := w.Until(t, func(h orgplane.Heard) bool { return len(h.Ended) == 1 })
	s := h.Ended[0]
	if s.GetGrant() != string(id) || s.GetPerson() != "bob" || s.GetMachine() != "gw-1" || s.GetEndReason() != "exit 3" || !s.GetRecording().GetComplete() {
		t.Errorf("reported %+v", s)
	}
	must(t, stop()) // delivers the recording
	if debt := n.Debt(); debt != (record.Debt{}) {
		t.Errorf("left behind: %+v", debt)
	}
	r, err := w.Store.Open(brevet.SessionID(s.GetId()))
	must(t, err)
	report := record.Verify(r, brevet.SessionID(s.GetId()), record.Known{}, w.opens)
	if !report.Complete || report.Start.Person != "bob" || report.End.Stdout.Recorded != 3 {
		t.Errorf("recorded %+v", report)
	}
}

// Without the control plane a session goes on and is recorded, nothing new begins, and what was
// recorded outlives a restart.
func TestGatewayOutlivesTheControlPlane(t *testing.T) {
	w := newWorld(t)
	_, stop := w.start(w.config())
	w.Give("bob", "web-now")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := w.command(ctx, "cat")
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	echo := func(text string) {
		t.Helper()
		_, err := stdin.Write([]byte(text))
		must(t, err)
		got := make([]byte, len(text))
		if _, err := stdout.Read(got); err != nil || string(got) != text {
			t.Fatalf("%q came back, %v", got, err)
		}
	}
	echo("before ")
	w.Away(true)
	echo("meanwhile ")
	if _, stderr, status := w.ssh("true"); status != 255 || !strings.Contains(stderr, "the control plane does not answer, so nothing new can begin") {
		t.Errorf("a new session: %d, %q", status, stderr)
	}
	must(t, stdin.Close())
	must(t, cmd.Wait())
	must(t, stop()) // the recording stays in the folder
	id := brevet.SessionID(w.Until(t, func(h orgplane.Heard) bool { return len(h.Begun) == 1 }).Begun[0].GetId())
	w.Away(false)
	n, stop := w.start(w.config())
	must(t, stop())
	if debt := n.Debt(); debt != (record.Debt{}) {
		t.Errorf("left behind: %+v", debt)
	}
	r, err := w.Store.Open(id)
	must(t, err)
	if report := record.Verify(r, id, record.Known{}, w.opens); !report.Complete || report.End.Stdout.Recorded != int64(len("before meanwhile ")) {
		t.Errorf("recorded %+v", report)
	}
}

// A gateway that would refuse everybody says so at its start, and ends.
func TestGatewayKnowsItsKeys(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*node.Config){
		"another holder key":     func(c *node.Config) { c.Holder, _ = prooftest.NewKey(t) },
		"another host key":       func(c *node.Config) { c.Host, _ = prooftest.NewKey(t) },
		"another statement key":  func(c *node.Config) { _, c.Statement = prooftest.NewKey(t) },
		"another gateway's name": func(c *node.Config) { c.Machine = "gw-2" },
		"another root":           func(c *node.Config) { c.Root = statement.ID(strings.Repeat("a", 64)); c.Dir = t.TempDir() + "/other" },
	} {
		t.Run(name, func(t *testing.T) {
			c := w.config()
			change(&c)
			n, err := node.Open(c)
			must(t, err)
			if err := n.Run(t.Context()); brevet.KindOf(err) != brevet.Refused {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

func TestFolderOfTheGateway(t *testing.T) {
	w := newWorld(t)
	must(t, os.MkdirAll(w.dir, 0o700))
	must(t, os.Chmod(w.dir, 0o750))
	if _, err := node.Open(w.config()); brevet.KindOf(err) != brevet.Refused || !strings.Contains(err.Error(), "0750") {
		t.Errorf("a folder that others can look into: %v", err)
	}
}

// Without anybody who could open a recording, a role that must be recorded cannot be used.
func TestRosterWithoutRecorder(t *testing.T) {
	w := newWorld(t)
	w.Change(func(o *prooftest.Org) {
		o.SetMachine(statement.Machine{Name: "recorder-1", Use: statement.MachineRecorder})
	})
	w.start(w.config())
	w.Give("bob", "web-now")
	if out, stderr, status := w.ssh("echo in"); out != "" || status != 255 || !strings.Contains(stderr, "the recording could not begin") {
		t.Errorf("got %q, %q, %d", out, stderr, status)
	}
}
