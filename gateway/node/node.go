// Package node runs one gateway: it puts the enforcement point, its protocols, its recordings and
// its line to the control plane together, in the server's process and in one of its own alike.
//
// What it owns is its folder: how far it saw the roster and catalog chains (heads.json), and the
// recordings that are not delivered yet (spool/). Keys and connections are its caller's.
package node

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/gateway"
	"github.com/brevet-pim/brevet/gateway/remote"
	"github.com/brevet-pim/brevet/gateway/ssh"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/statement"
)

// Config is what a gateway is made of.
type Config struct {
	Dir     string           // the gateway's folder, 0700; made if it is not there
	Machine brevet.MachineID // its name in the roster
	Root    statement.ID     // the pinned id of the organisation's first root
	// Client reaches the control plane as this machine. It must speak HTTP/2.
	Client brevetv1connect.GatewayServiceClient
	// Listener takes both spellings of ssh on one port: see package gateway/ssh.
	Listener net.Listener
	Address  string // host:port where people reach the Listener
	// TLS holds the certificate for the machine's name, with that of the pinned authority in its
	// chain. Without it only ssh LOGIN%TARGET@gateway works.
	TLS *tls.Config

	// The keys that the roster lists for the machine.
	Host      gossh.Signer     // statement.KeyHost: shown to people
	Holder    gossh.Signer     // statement.KeyHolder: credentials are issued to it
	Statement statement.Signer // statement.KeyStatement: signs what people ask inline

	// Recorder makes the recorder for the seal keys of the roster's recorders. The sink is the
	// gateway's spool. It is called anew when the roster changes.
	Recorder func(seals []statement.Key, sink func(brevet.SessionID) (record.Sink, error)) (*record.Recorder, error)
	// Ready, if not nil, is called once when the gateway serves: the control plane knows it, or is away.
	Ready func()
	Log   *slog.Logger
}

// Node is one gateway.
type Node struct {
	config   Config
	gateway  *gateway.Gateway
	server   *ssh.Server
	listener *remote.Listener
	verifier *remote.Verifier
	spool    *record.Spool
}

// Open makes a gateway, and takes up what an earlier process left in its folder.
func Open(c Config) (*Node, error) {
	if err := openFolder(c.Dir); err != nil {
		return nil, err
	}
	verifier, err := remote.OpenVerifier(c.Client, c.Machine, c.Root, filepath.Join(c.Dir, "heads.json"), c.Log)
	if err != nil {
		return nil, err
	}
	spool, err := record.OpenSpool(filepath.Join(c.Dir, "spool"), remote.Recordings{Client: c.Client})
	if err != nil {
		return nil, err
	}
	g := &gateway.Gateway{
		Machine: c.Machine, Org: c.Root,
		Control: remote.Control{Client: c.Client}, Verifier: verifier,
		Holder: c.Holder, Signer: c.Statement,
		Recorder: &recorder{state: verifier.State, sink: spool.Session, make: c.Recorder},
		Log:      c.Log,
	}
	return &Node{
		config: c, gateway: g, verifier: verifier, spool: spool,
		server:   &ssh.Server{Gateway: g, HostKey: c.Host, TLS: c.TLS},
		listener: &remote.Listener{Client: c.Client, Gateway: g, Address: c.Address, Log: c.Log},
	}, nil
}

// openFolder makes the folder, or refuses one that others can look into.
func openFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return brevet.Errorf(brevet.Refused, "the gateway's folder %s can be reached by others than its owner (mode %04o)", dir, mode).
			WithHint("chmod 700 %s", dir)
	}
	return nil
}

// Debt returns what is recorded and not yet delivered.
func (n *Node) Debt() record.Debt { return n.spool.Debt() }

// Run serves until ctx ends or a part of the gateway cannot go on. Then sessions are told and closed,
// and what was reported and recorded goes out as far as it can; the rest of the recordings stays
// in the folder for the next process.
func (n *Node) Run(ctx context.Context) error {
	// Deliveries outlive the sessions, whose ends they carry.
	delivering, stopDelivering := context.WithCancel(context.WithoutCancel(ctx))
	serving, stop := context.WithCancelCause(ctx)
	var sessions, deliveries sync.WaitGroup
	part := func(group *sync.WaitGroup, ctx context.Context, run func(context.Context) error) {
		group.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				stop(err)
			}
		})
	}
	part(&deliveries, delivering, n.spool.Run)
	part(&sessions, serving, n.gateway.Run)
	part(&sessions, serving, n.listener.Run)
	part(&sessions, serving, n.checkIdentity)
	part(&sessions, serving, func(ctx context.Context) error { return n.server.Serve(ctx, n.config.Listener) })
	sessions.Wait()
	n.flush()
	stopDelivering()
	deliveries.Wait()
	if cause := context.Cause(serving); ctx.Err() == nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}
