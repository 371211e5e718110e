package crash_test

import (
	"context"
	"crypto/ed25519"
	"testing"

	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/statement"
)

// ledger is the whole log, verified, as anybody could who reads it.
type ledger struct {
	t      testing.TB
	leaves []*pb.Leaf
}

// readLog exports the log and verifies it: every leaf, its body, the newest checkpoint, and that the one
// which was kept before lies within it.
func (l *life) readLog() ledger {
	l.t.Helper()
	log := ledger{t: l.t}
	kept := l.saved // those that are kept from now on may be newer than what is read
	var newest []byte
	l.look("alice", func(ctx context.Context, v *visit) error {
		log.leaves, newest = nil, nil
		stream, err := v.audit.ExportLog(ctx, &pb.ExportLogRequest{})
		if err != nil {
			return err
		}
		defer stream.Close()
		for stream.Receive() {
			log.leaves = append(log.leaves, stream.Msg().GetLeaves()...)
			newest = stream.Msg().GetCheckpoint()
		}
		return stream.Err()
	})
	origin, key := log.signer()
	var walk audit.Walk
	if kept != nil {
		saved, err := audit.Open(kept, origin, key)
		must(l.t, err)
		walk.Saved = saved
	}
	for _, leaf := range log.leaves {
		problem := walk.Next(audit.Row{
			Index: leaf.GetIndex(), Leaf: audit.Leaf{Kind: leaf.GetKind(), Subject: leaf.GetSubject(), Body: [32]byte(leaf.GetBodyHash())},
			Salt: leaf.GetSalt(), Body: leaf.GetRecord(), Statement: leaf.GetStatement(),
		})
		if problem != nil {
			l.t.Fatalf("the log does not hold: %v", problem)
		}
	}
	checkpoint, err := audit.Open(newest, origin, key)
	must(l.t, err)
	if problem := walk.End(checkpoint); problem != nil {
		l.t.Fatalf("the log does not hold: %v", problem)
	}
	return log
}

// signer returns who signs checkpoints, as the founder said.
func (g ledger) signer() (origin string, key ed25519.PublicKey) {
	g.t.Helper()
	origin = open[statement.Root](g, g.of(string(statement.KindRoot))[0]).Log.Origin
	for _, leaf := range g.of(string(statement.KindMachine)) {
		for _, k := range open[statement.Machine](g, leaf).Keys {
			public, err := k.Key.Crypto()
			if ed, ok := public.(ed25519.PublicKey); err == nil && ok && k.Use == statement.KeyCheckpoint && open[statement.Machine](g, leaf).Use == statement.MachineLog {
				key = ed
			}
		}
	}
	return origin, key
}

// of returns the leaves of a kind.
func (g ledger) of(kind string) (found []*pb.Leaf) {
	for _, leaf := range g.leaves {
		if leaf.GetKind() == kind {
			found = append(found, leaf)
		}
	}
	return found
}

// about returns the places of the leaves of a kind that are about the subject.
func (g ledger) about(kind, subject string) (places []int64) {
	for _, leaf := range g.of(kind) {
		if leaf.GetSubject() == subject {
			places = append(places, leaf.GetIndex())
		}
	}
	return places
}

// once returns the place of the one leaf of the kind about the subject.
func (g ledger) once(kind, subject string) int64 {
	g.t.Helper()
	places := g.about(kind, subject)
	if len(places) != 1 {
		g.t.Fatalf("%s about %s stands %d times in the log", kind, subject, len(places))
	}
	return places[0]
}

// open returns what the statement of a leaf says.
func open[P statement.Payload](g ledger, leaf *pb.Leaf) P {
	g.t.Helper()
	e, err := statement.Parse(leaf.GetStatement())
	must(g.t, err)
	said, err := statement.Open[P](e)
	must(g.t, err)
	return said
}
