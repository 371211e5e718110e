package server

import (
	"context"
	"crypto/tls"
	"net/http"
	"path/filepath"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/api/dial"
	"github.com/brevet-pim/brevet/gateway/node"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/seal"
	"github.com/brevet-pim/brevet/server/config"
	"github.com/brevet-pim/brevet/statement"
)

// runGateway runs the gateway of the server's process. It reaches the API as any other does, by
// its own key over mutual TLS, only without a network.
func (s *server) runGateway(ctx context.Context) error {
	keys, err := openNodeKeys(s.vault)
	if err != nil {
		return err
	}
	name := brevet.MachineID(s.config.Gateway.Name)
	mine, err := selfSigned(name, keys.tls)
	if err != nil {
		return err
	}
	shown := &certificate{authority: s.issuer, machine: name, names: []string{string(name)}, key: keys.tls, log: s.log}
	client := &http.Client{Transport: &http.Transport{
		DialContext:       s.memory.dial,
		TLSClientConfig:   dial.Config(dial.PinOf(s.issuer.CACertificate()), &mine, string(serverName)),
		ForceAttemptHTTP2: true, // a TLSClientConfig of one's own turns it off
		HTTP2:             &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
	}}
	defer client.CloseIdleConnections() // else the API would wait for them when it stops
	c, err := keys.config(name, statement.ID(s.config.Organisation.Root))
	if err != nil {
		return err
	}
	c.Dir = filepath.Join(s.Data, gatewayDir)
	c.Client = brevetv1connect.NewGatewayServiceClient(client, "https://"+string(serverName))
	c.Listener, c.Address = s.people, s.config.Gateway.Address
	c.TLS = &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: shown.get}
	c.Log = s.log
	n, err := node.Open(c)
	if err != nil {
		return err
	}
	err = n.Run(ctx)
	switch brevet.KindOf(err) {
	case brevet.Refused, brevet.Unauthenticated:
	default:
		return err
	}
	if ctx.Err() == nil {
		// It was taken out of the roster, or given other keys. Other gateways still need the control plane.
		s.log.ErrorContext(ctx, "the gateway in this process is off until the server starts again", "gateway", name, "error", err)
		<-ctx.Done()
	}
	return nil
}

// config returns the part of a gateway's configuration that its keys are.
func (k nodeKeys) config(name brevet.MachineID, root statement.ID) (node.Config, error) {
	host, err := gossh.NewSignerFromSigner(k.host)
	if err != nil {
		return node.Config{}, err
	}
	holder, err := gossh.NewSignerFromSigner(k.holder)
	if err != nil {
		return node.Config{}, err
	}
	signer, err := statement.MachineSigner(k.statement)
	if err != nil {
		return node.Config{}, err
	}
	return node.Config{Machine: name, Root: root, Host: host, Holder: holder, Statement: signer, Recorder: recorderFor}, nil
}

// recorderFor makes the recorder that seals to the recorders of the roster.
func recorderFor(seals []statement.Key, sink func(brevet.SessionID) (record.Sink, error)) (*record.Recorder, error) {
	r := &record.Recorder{Sink: sink}
	for _, k := range seals {
		recipient, err := seal.ParseRecipient(k.Public)
		if err != nil {
			return nil, err
		}
		r.Recipients = append(r.Recipients, recipient)
	}
	return r, nil
}

// RunGateway runs the gateway of a data folder as a process of its own, until ctx ends. Without
// the control plane it goes on: sessions last until their end, and nothing new begins.
func RunGateway(ctx context.Context, o Options) error {
	lock, err := lockFolder(o.Data)
	if err != nil {
		return err
	}
	defer lock.Close()
	c, err := config.ReadNode(o.Data)
	if err != nil {
		return err
	}
	log := newLogger(o.Log, c.Log)
	v, _, err := openVault(o.Data, config.Path(o.Data, c.SealKey))
	if err != nil {
		return err
	}
	keys, err := openNodeKeys(v)
	if err != nil {
		return err
	}
	n, err := openNode(o.Data, c, keys, func(n *node.Config) {
		n.Log = log
		n.Ready = func() {
			log.InfoContext(ctx, "ready", "version", o.Version, "gateway", c.Name, "ssh", c.Listen, "server", c.Server, "data", o.Data)
		}
	})
	if err != nil {
		return err
	}
	both := newParts(ctx)
	both.Go(n.Run)
	both.Go(tidyHeap)
	return both.Wait()
}

func openNode(dir string, c config.Node, keys nodeKeys, with func(*node.Config)) (*node.Node, error) {
	name := brevet.MachineID(c.Name)
	mine, err := selfSigned(name, keys.tls)
	if err != nil {
		return nil, err
	}
	pin, err := dial.ParsePin(c.Pin)
	if err != nil {
		return nil, err
	}
	client, err := dial.Client(c.Server, pin, &mine)
	if err != nil {
		return nil, err
	}
	n, err := keys.config(name, statement.ID(c.Root))
	if err != nil {
		return nil, err
	}
	n.Dir = filepath.Join(dir, gatewayDir)
	n.Client = brevetv1connect.NewGatewayServiceClient(client, "https://"+c.Server)
	if n.Listener, err = listenAt(c.Listen, "listen"); err != nil {
		return nil, err
	}
	n.Address = c.Address
	// No authority signs it: people's machines know the key from the roster.
	n.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{mine}}
	with(&n)
	return node.Open(n)
}
