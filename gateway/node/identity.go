package node

import (
	"context"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

const (
	checkAgain  = 5 * time.Second // while the control plane is away at the start
	flushWithin = 3 * time.Second // for the last recordings to be delivered at the end
)

// checkIdentity waits for the chains and looks whether the keys are those that the roster lists for
// this machine. A gateway with other keys would refuse everybody, with a sentence that helps none.
func (n *Node) checkIdentity(ctx context.Context) error {
	ready := sync.OnceFunc(func() {
		if n.config.Ready != nil {
			n.config.Ready()
		}
	})
	for {
		err := n.verifier.CatchUp(ctx)
		if err == nil {
			if err = n.config.checkKeys(n.verifier.State().Roster); err == nil {
				ready()
			}
			return err
		}
		switch brevet.KindOf(err) {
		case brevet.Refused, brevet.Invalid, brevet.Unauthenticated:
			return err
		}
		ready()
		n.config.Log.WarnContext(ctx, "the chains cannot be fetched yet, so nothing new can begin", "error", err)
		select {
		case <-time.After(checkAgain):
		case <-ctx.Done():
			return nil
		}
	}
}

func (c Config) checkKeys(roster *proof.Roster) error {
	for _, key := range []struct {
		use         statement.MachineUse
		fingerprint func() (string, error)
	}{
		{statement.KeyHost, sshFingerprint(c.Host)},
		{statement.KeyHolder, sshFingerprint(c.Holder)},
		{statement.KeyStatement, func() (string, error) { return statement.Fingerprint(c.Statement.Key()) }},
	} {
		fingerprint, err := key.fingerprint()
		if err != nil {
			return err
		}
		m, _, err := roster.MachineOf(fingerprint, key.use, never)
		if err == nil && m.Name == c.Machine && m.Use == statement.MachineGateway {
			continue
		}
		return brevet.Errorf(brevet.Refused, "the %s key %s is not one that the roster lists for the gateway %s", key.use, fingerprint, c.Machine).
			WithHint("an administrator signs this gateway's keys: brevet machines add FILE").Because(err)
	}
	return nil
}

func sshFingerprint(s gossh.Signer) func() (string, error) {
	return func() (string, error) { return gossh.FingerprintSHA256(s.PublicKey()), nil }
}

// flush gives the last recordings a moment to be delivered.
func (n *Node) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), flushWithin)
	defer cancel()
	if err := n.spool.Wait(ctx); err != nil {
		debt := n.spool.Debt()
		n.config.Log.WarnContext(ctx, "recordings wait for the next start", "sessions", debt.Sessions, "bytes", debt.Bytes)
	}
}
