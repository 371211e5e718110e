package issuer

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/seal"
	"github.com/brevet-pim/brevet/statement"
)

// world is an organisation and its issuer, which has followed the log.
type world struct {
	*prooftest.Org
	issuer byBytes
	config Config
	raw    [32]byte // the sealing key
	alarms *lines
	mu     sync.Mutex // guards clock
	clock  time.Time  // the issuer's; zero: the organisation's
}

func newWorld(t testing.TB, o prooftest.Options) *world {
	t.Helper()
	w := begin(t, o)
	w.follow()
	return w
}

// newUnfollowed returns a world whose issuer has not followed the log yet.
func newUnfollowed(t testing.TB) *world { return begin(t, prooftest.Options{}) }

func begin(t testing.TB, o prooftest.Options) *world {
	t.Helper()
	var raw [32]byte
	rand.Read(raw[:])
	key, err := seal.NewKey(raw[:])
	if err != nil {
		t.Fatal(err)
	}
	if o.Start.IsZero() {
		o.Start = time.Now()
	}
	dir := filepath.Join(t.TempDir(), "issuer")
	if o.Issuer, err = Create(dir, key, prooftest.IssuerName, o.Start); err != nil {
		t.Fatal(err)
	}
	w := &world{Org: prooftest.New(t, o), alarms: &lines{}, raw: raw}
	w.config = Config{Dir: dir, Key: key, Root: w.Root, Clock: w.now, Log: slog.New(slog.NewTextHandler(w.alarms, nil))}
	w.open(t)
	t.Cleanup(func() { w.issuer.Close() })
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.clock.IsZero() {
		return w.clock
	}
	return w.Now
}

// byBytes is an issuer that gets bundles and intents as they come from afar.
type byBytes struct{ *Issuer }

func (i byBytes) Prepare(ctx context.Context, bundle []byte) (Signed[statement.Intent], error) {
	b, err := proof.Parse(bundle)
	if err != nil {
		return Signed[statement.Intent]{}, err
	}
	return i.Issuer.Prepare(ctx, b)
}

func (i byBytes) Issue(ctx context.Context, intent []byte, leaf IntentLeaf, bundle []byte) (Result, error) {
	e, err := statement.Parse(intent)
	if err != nil {
		return Result{}, err
	}
	b, err := proof.Parse(bundle)
	if err != nil {
		return Result{}, err
	}
	return i.Issuer.Issue(ctx, e, leaf, b)
}

func (w *world) open(t testing.TB) {
	t.Helper()
	i, err := Open(t.Context(), w.config)
	if err != nil {
		t.Fatal(err)
	}
	w.issuer = byBytes{i}
}

// reopen ends the issuer and starts it again from what it kept.
func (w *world) reopen() {
	w.T.Helper()
	if err := w.issuer.Close(); err != nil {
		w.T.Fatal(err)
	}
	w.open(w.T)
}

// feed returns what is new in the log.
func (w *world) feed() Feed {
	size, _ := w.issuer.Size(w.T.Context())
	f := Feed{From: size, Leaves: w.Log.Leaves(size), Checkpoint: w.Log.Checkpoint()}
	for _, e := range w.Entries {
		if e.Index >= size {
			f.Entries = append(f.Entries, e)
		}
	}
	if len(f.Entries) > 0 { // as the server does
		f.Manifests = w.Manifests
	}
	return f
}

func (w *world) follow() []byte {
	w.T.Helper()
	cosigned, err := w.issuer.Follow(w.T.Context(), w.feed())
	if err != nil {
		w.T.Fatalf("follow: %v", err)
	}
	return cosigned
}

// agreed is bob's request for web-root with carol's yes, followed.
func (w *world) agreed() (request, approval proof.Entry) {
	w.T.Helper()
	request = w.Ask("bob", "web-root", nil)
	approval = w.Approve("carol", request, 0, nil)
	w.follow()
	return request, approval
}

func (w *world) prepare(bundle []byte) []byte {
	w.T.Helper()
	intent, err := w.issuer.Prepare(w.T.Context(), bundle)
	if err != nil {
		w.T.Fatalf("prepare: %v", err)
	}
	return intent.Raw
}

// logIntent appends the intent to the log, lets the issuer follow and returns the leaf.
func (w *world) logIntent(intent []byte) IntentLeaf {
	w.T.Helper()
	leaf := w.appendIntent(intent)
	w.follow()
	return leaf
}

func (w *world) appendIntent(intent []byte) IntentLeaf {
	w.T.Helper()
	e, err := statement.Parse(intent)
	if err != nil {
		w.T.Fatal(err)
	}
	entry := w.Append(e)
	salt, body := w.Log.Body(entry.Index)
	return IntentLeaf{entry.Index, salt, body}
}

func (w *world) issue(intent []byte, leaf IntentLeaf, bundle []byte) Result {
	w.T.Helper()
	r, err := w.issuer.Issue(w.T.Context(), intent, leaf, bundle)
	if err != nil {
		w.T.Fatalf("issue: %v", err)
	}
	return r
}

// give goes the whole way.
func (w *world) give(bundle []byte) (Result, IntentLeaf) {
	w.T.Helper()
	intent := w.prepare(bundle)
	leaf := w.logIntent(intent)
	return w.issue(intent, leaf, bundle), leaf
}

// takeBack tells the issuer directly, and not the log.
func (w *world) takeBack(revocation statement.Envelope) statement.Receipt {
	w.T.Helper()
	b, err := revocation.Marshal()
	if err != nil {
		w.T.Fatal(err)
	}
	receipt, err := w.issuer.TakeBack(w.T.Context(), b)
	if err != nil {
		w.T.Fatalf("take back: %v", err)
	}
	return open[statement.Receipt](w.T, receipt)
}

// proof returns the whole bundle of what was given.
func (w *world) proof(r Result, leaf IntentLeaf, request proof.Entry, approvals ...proof.Entry) *proof.Bundle {
	w.T.Helper()
	e, err := statement.Parse(r.Grant.Raw)
	if err != nil {
		w.T.Fatal(err)
	}
	grant := w.Append(e)
	cosigned := w.follow()
	b := &proof.Bundle{Checkpoint: string(cosigned), Certificate: r.Certificate}
	for _, e := range w.Entries {
		kind, _ := e.Envelope.Kind()
		switch kind {
		case statement.KindCatalog:
			b.Catalog = append(b.Catalog, w.Log.Record(e.Index))
			c, _ := statement.Open[statement.Catalog](e.Envelope)
			b.Manifest = w.Manifests[c.Manifest]
		case statement.KindRevocation:
			b.Revocations = append(b.Revocations, w.Log.Record(e.Index))
		default:
			b.Roster = append(b.Roster, w.Log.Record(e.Index))
		}
	}
	b.Request, b.Intent, b.Grant = w.Log.Record(request.Index), w.Log.Record(leaf.Index), w.Log.Record(grant.Index)
	for _, a := range approvals {
		b.Approvals = append(b.Approvals, w.Log.Record(a.Index))
	}
	return b
}

func open[T statement.Payload](t testing.TB, envelope []byte) T {
	t.Helper()
	e, err := statement.Parse(envelope)
	if err != nil {
		t.Fatal(err)
	}
	p, err := statement.Open[T](e)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func certificate(t testing.TB, wire []byte) *ssh.Certificate {
	t.Helper()
	k, err := ssh.ParsePublicKey(wire)
	if err != nil {
		t.Fatal(err)
	}
	return k.(*ssh.Certificate)
}

// refused checks the kind and a part of the sentence of an error.
func refused(t *testing.T, err error, kind brevet.Kind, sentence string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %q", sentence)
	}
	message, _ := brevet.MessageOf(err)
	if brevet.KindOf(err) != kind || !strings.Contains(message, sentence) {
		t.Errorf("got %v %q (%v)\nwant %v … %q", brevet.KindOf(err), message, errors.Unwrap(err), kind, sentence)
	}
}

// lines is a log that tests read.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func mustOpen(t testing.TB, e statement.Envelope) statement.Request {
	t.Helper()
	r, err := statement.Open[statement.Request](e)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
