package main

import (
	"context"
	"crypto/rand"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/flow/watch"
	"github.com/brevet-pim/brevet/issuer"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/seal"
	"github.com/brevet-pim/brevet/store"
)

// spine is a control plane in this process, without API and gateway, to see where the time goes.
type spine struct {
	org *prooftest.Org
	*flow.Spine
}

// newSpine makes an organisation and its control plane: SQLite, an issuer, real keys.
func newSpine(b *bench) *spine {
	dir := filepath.Join(b.TempDir(), "issuer")
	raw := make([]byte, 32)
	rand.Read(raw)
	key, err := seal.NewKey(raw)
	b.must(err)
	keys, err := issuer.Create(dir, key, prooftest.IssuerName, time.Now().Add(-time.Minute))
	b.must(err)
	recorder, err := seal.NewIdentity()
	b.must(err)
	org := prooftest.New(b, prooftest.Options{Start: time.Now().Add(-time.Minute), Issuer: keys})
	checked := &proof.Memory{}
	log, err := store.Open(b.ctx, store.Config{Database: filepath.Join(filepath.Dir(dir), "brevet.db"), Log: org.Log.Signer().Telling(checked.SignedCheckpoint)})
	b.must(err)
	b.Cleanup(func() { log.Close() })
	writeLog(b, org, log)
	opened, err := issuer.Open(b.ctx, issuer.Config{Dir: dir, Key: key, Root: org.Root, Memory: checked})
	b.must(err)
	b.Cleanup(func() { opened.Close() })
	s := &flow.Spine{
		Store: log, Issuer: opened, Root: org.Root, Hub: &watch.Hub{}, Recordings: &record.Store{Dir: filepath.Join(filepath.Dir(dir), "recordings")},
		Recorder: recorder, Server: prooftest.LogName, Signer: org.LogStatements, Memory: checked, Clock: time.Now, Log: slog.New(slog.DiscardHandler),
	}
	b.must(s.Begin(b.ctx))
	ctx, cancel := context.WithCancel(b.ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) }) // ends when it is told to
	b.Cleanup(func() { cancel(); running.Wait() })
	return &spine{org, s}
}

// writeLog takes what the organisation was founded with over into the store.
func writeLog(b *bench, org *prooftest.Org, log *store.Store) {
	for _, e := range org.Entries {
		kind, err := e.Envelope.Kind()
		b.must(err)
		raw, err := e.Envelope.Marshal()
		b.must(err)
		now := time.Now()
		_, err = log.Change(b.ctx, func(t *store.Tx) ([]brevet.Event, error) {
			for _, manifest := range org.Manifests {
				if _, err := t.PutManifest(manifest); err != nil {
					return nil, err
				}
			}
			return []brevet.Event{{
				ID: brevet.NewEventID(now), Kind: string(kind), Subject: string(e.Envelope.ID()), At: now,
				Actor: brevet.Caller{Person: "alice"}, Outcome: "success", Message: "founded", Statement: raw,
			}}, nil
		})
		b.must(err)
	}
}

// signed returns n requests of bob's for a role that nobody need agree to, each signed.
func (s *spine) signed(b *bench, n int) [][]byte {
	s.org.Now = time.Now().UTC()
	list := make([][]byte, n)
	for i := range list {
		e := s.org.Sign(s.org.Request("bob", "web-now"), s.org.Keys["bob"])
		raw, err := e.Marshal()
		b.must(err)
		list[i] = raw
	}
	return list
}

func (b *bench) must(err error) {
	if err != nil {
		b.Fatal(err)
	}
}
