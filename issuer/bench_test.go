package issuer

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/brevet-pim/brevet/issuer/ca"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
)

// BenchmarkPrepareAndIssue gives a grant an iteration, all fsyncs included. Callers wait for each
// other only where the log does: intents are appended and followed in the groups that come about.
func BenchmarkPrepareAndIssue(b *testing.B) {
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			w := newWorld(b, prooftest.Options{})
			bundles := w.manyAgreed(b.N)
			w.clock = w.Now // the organisation's moves while callers look at it
			log := newGroupLog(w)
			b.ResetTimer()
			var next atomic.Int64
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for n := next.Add(1) - 1; n < int64(b.N); n = next.Add(1) - 1 {
						log.give(b, bundles[n])
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			close(log.intents)
			<-log.done
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "grants/s")
		})
	}
}

// manyAgreed makes requests with an approval each.
func (w *world) manyAgreed(n int) [][]byte {
	type pair struct{ request, approval proof.Entry }
	var pairs []pair
	for range n {
		// All at one time, however many there are.
		at := w.Now
		request := w.Ask("bob", "web-root", nil)
		pairs = append(pairs, pair{request, w.Approve("carol", request, 0, nil)})
		w.Now = at
	}
	w.Now = w.Now.Add(time.Second)
	w.follow()
	var bundles [][]byte
	for _, p := range pairs {
		bundles = append(bundles, w.Bundle(p.request, p.approval))
	}
	return bundles
}

// groupLog appends intents in groups, as the store does.
type groupLog struct {
	w       *world
	intents chan *waiting
	done    chan struct{}
}

type waiting struct {
	intent []byte
	leaf   IntentLeaf
	logged chan struct{}
}

func newGroupLog(w *world) *groupLog {
	g := &groupLog{w: w, intents: make(chan *waiting), done: make(chan struct{})}
	go g.run()
	return g
}

func (g *groupLog) run() {
	defer close(g.done)
	for first := range g.intents {
		group := []*waiting{first}
		for more := true; more; {
			select {
			case x, ok := <-g.intents:
				if more = ok; ok {
					group = append(group, x)
				}
			default:
				more = false
			}
		}
		at := g.w.Now
		for _, x := range group {
			x.leaf = g.w.appendIntent(x.intent)
		}
		g.w.Now = at
		g.w.follow()
		for _, x := range group {
			close(x.logged)
		}
	}
}

func (g *groupLog) give(b *testing.B, bundle []byte) {
	prepared, err := g.w.issuer.Prepare(b.Context(), bundle)
	if err != nil {
		b.Error(err)
		return
	}
	intent := prepared.Raw
	x := &waiting{intent: intent, logged: make(chan struct{})}
	g.intents <- x
	<-x.logged
	if _, err := g.w.issuer.Issue(b.Context(), intent, x.leaf, bundle); err != nil {
		b.Error(err)
	}
}

// BenchmarkSign compares an SSH certificate with the bare signature in it.
func BenchmarkSign(b *testing.B) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	authority, err := ca.NewSSH(key)
	if err != nil {
		b.Fatal(err)
	}
	holder, _ := prooftest.NewKey(b)
	c := ca.Certificate{
		Key: holder.PublicKey(), Serial: 7, KeyID: "grt_0000000000000000000000000 bob", Principals: []string{"web1/root", "web2/root"},
		After: 1, Before: 2, Extensions: map[string]string{"permit-pty": ""},
	}
	b.Run("certificate", func(b *testing.B) {
		for b.Loop() {
			if _, err := authority.SignUser(c); err != nil {
				b.Fatal(err)
			}
		}
	})
	message := make([]byte, 400)
	b.Run("ed25519", func(b *testing.B) {
		for b.Loop() {
			ed25519.Sign(key, message)
		}
	})
}

func BenchmarkStatus(b *testing.B) {
	w := newWorld(b, prooftest.Options{})
	request, approval := w.agreed()
	w.give(w.Bundle(request, approval))
	id := request.Envelope
	r := mustOpen(b, id)
	grant := id.RequestID(r).Grant()
	b.Run("again", func(b *testing.B) {
		for b.Loop() {
			if _, err := w.issuer.Status(b.Context(), grant); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("signed", func(b *testing.B) {
		for b.Loop() {
			w.issuer.statuses.forget()
			if _, err := w.issuer.Status(b.Context(), grant); err != nil {
				b.Fatal(err)
			}
		}
	})
}
