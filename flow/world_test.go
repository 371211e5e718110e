package flow_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/flow/watch"
	"github.com/brevet-pim/brevet/issuer"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/seal"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
	"github.com/brevet-pim/brevet/test/storetest"
)

// world is an organisation with its control plane: a real store, a real issuer, real signatures.
type world struct {
	*prooftest.Org
	t        testing.TB
	database string
	config   issuer.Config
	recorder *seal.Identity
	store    *store.Store
	issuer   *issuer.Issuer
	spine    *flow.Spine
	stop     func()
	keep     time.Duration // for how long events keep their bodies, from the next start on
	memory   prooftest.Running

	mu  sync.Mutex // guards now
	now time.Time
}

// each runs the test in a world on each kind of database.
func each(t *testing.T, test func(w *world)) {
	t.Helper()
	storetest.EachDatabase(t, func(t *testing.T, database string) { test(newWorld(t, database, nil)) })
}

// onSQLite makes a world on SQLite.
func onSQLite(t testing.TB) *world {
	t.Helper()
	return newWorld(t, filepath.Join(t.TempDir(), "brevet.db"), nil)
}

func newWorld(t testing.TB, database string, change func(*brevet.Catalog)) *world {
	t.Helper()
	raw := make([]byte, 32)
	rand.Read(raw)
	key, err := seal.NewKey(raw)
	must(t, err)
	dir := filepath.Join(t.TempDir(), "issuer")
	start := time.Now().Add(-time.Hour)
	keys, err := issuer.Create(dir, key, prooftest.IssuerName, start)
	must(t, err)
	recorder, err := seal.NewIdentity()
	must(t, err)
	w := &world{t: t, database: database, recorder: recorder}
	w.Org = prooftest.New(t, prooftest.Options{Start: start, Issuer: keys, Catalog: func(c *brevet.Catalog) {
		c.Policies = append(c.Policies, brevet.Policy{Name: "people.cedar", Text: administration})
		c.Groups = append(c.Groups, brevet.Group{Name: "admins", Members: []brevet.PersonID{"alice"}}, brevet.Group{Name: "auditors", Members: []brevet.PersonID{"frank"}})
		if change != nil {
			change(c)
		}
	}})
	w.now = w.Org.Now
	w.config = issuer.Config{Dir: dir, Key: key, Root: w.Root, Clock: w.clock}
	w.openStore()
	w.writeLog()
	w.run()
	t.Cleanup(w.close)
	return w
}

const administration = `@id("admins") permit (principal in Group::"admins", action in [Action::"administer", Action::"revoke"], resource);
@id("auditors") permit (principal in Group::"auditors", action in [Action::"audit", Action::"replay", Action::"join"], resource);
`

func (w *world) openStore() {
	w.t.Helper()
	must(w.t, w.tryOpenStore())
}

func (w *world) tryOpenStore() (err error) {
	w.store, err = store.Open(context.Background(), store.Config{Database: w.database, Log: w.Log.Signer().Telling(w.memory.Told)})
	return err
}

// writeLog takes what the organisation was founded with over into the store.
func (w *world) writeLog() {
	w.t.Helper()
	for _, e := range w.Entries {
		kind, err := e.Envelope.Kind()
		must(w.t, err)
		raw, err := e.Envelope.Marshal()
		must(w.t, err)
		_, err = w.store.Change(context.Background(), func(t *store.Tx) ([]brevet.Event, error) {
			for _, manifest := range w.Manifests {
				if _, err := t.PutManifest(manifest); err != nil {
					return nil, err
				}
			}
			at := w.clock()
			return []brevet.Event{{ID: brevet.NewEventID(at), Kind: string(kind), Subject: string(e.Envelope.ID()), At: at, Actor: person("alice"), Outcome: "success", Message: "founded", Statement: raw}}, nil
		})
		must(w.t, err)
	}
}

// run starts the control plane on what store and issuer hold.
func (w *world) run() {
	w.t.Helper()
	must(w.t, w.begin())
}

func (w *world) begin() error {
	w.t.Helper()
	var err error
	w.config.Memory = &proof.Memory{} // one for all, as in the server
	w.memory.Store(w.config.Memory)
	w.issuer, err = issuer.Open(context.Background(), w.config)
	must(w.t, err)
	w.spine = &flow.Spine{
		Store: w.store, Issuer: w.issuer, Root: w.Root, Hub: &watch.Hub{}, Recordings: &record.Store{Dir: filepath.Join(filepath.Dir(w.config.Dir), "recordings")},
		Recorder: w.recorder, Server: prooftest.LogName, Signer: w.LogStatements, Memory: w.config.Memory, Clock: w.clock, KeepEvents: w.keep, Log: slog.New(slog.NewTextHandler(w.t.Output(), nil)),
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	w.stop = func() {
		cancel()
		running.Wait()
		must(w.t, w.issuer.Close())
	}
	if err := w.spine.Begin(ctx); err != nil {
		w.stop()
		w.stop = func() {}
		return err
	}
	running.Go(func() { must(w.t, w.spine.Run(ctx)) })
	return nil
}

// restart ends the control plane and starts it again. Between the two it may do something.
func (w *world) restart(between func()) {
	w.t.Helper()
	w.stop()
	must(w.t, w.store.Close())
	if between != nil {
		between()
	}
	w.openStore()
	w.run()
}

func (w *world) close() {
	w.stop()
	if w.store != nil { // nil, if it could not be opened again
		must(w.t, w.store.Close())
	}
}

// clock is the clock of store, issuer and spine.
func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// wait moves the clock.
func (w *world) wait(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
	w.Org.Now = w.now
}

func person(id brevet.PersonID) brevet.Caller { return brevet.Caller{Person: id, Via: brevet.ViaCLI} }

// as is a person with the key that signed them in.
func (w *world) as(id brevet.PersonID) brevet.Caller {
	c := person(id)
	c.Key = prooftest.Fingerprint(w.t, w.Keys[id].Key())
	return c
}

var gateway = brevet.Caller{Machine: "gw-1"}

// signed signs a payload, as bytes.
func (w *world) signed(p statement.Payload, by ...statement.Signer) []byte {
	w.t.Helper()
	e := w.Sign(p, by...)
	raw, err := e.Marshal()
	must(w.t, err)
	return raw
}

// ask asks for the role as the person.
func (w *world) ask(id brevet.PersonID, role brevet.RoleName) flow.RequestView {
	w.t.Helper()
	r, err := w.spine.Ask(context.Background(), w.as(id), w.signed(w.Request(id, role), w.Keys[id]))
	must(w.t, err)
	return r
}

// approval returns a yes to the request.
func (w *world) approval(by brevet.PersonID, r flow.RequestView, stage int64) statement.Approval {
	w.t.Helper()
	e, err := statement.Parse(r.Envelope)
	must(w.t, err)
	return w.Approval(by, proof.Entry{Envelope: e}, stage)
}

// approve agrees to the request.
func (w *world) approve(by brevet.PersonID, r flow.RequestView, stage int64) (flow.RequestView, error) {
	w.t.Helper()
	return w.spine.Approve(context.Background(), w.as(by), w.signed(w.approval(by, r, stage), w.Keys[by]))
}

// granted has bob given web-now, which nobody need agree to.
func (w *world) granted() flow.RequestView {
	w.t.Helper()
	r := w.ask("bob", "web-now")
	if !r.Live() {
		w.t.Fatalf("web-now is %s, grant %s: %s", r.State, r.GrantState, r.Sentence)
	}
	return r
}

// revocation returns a signed revocation.
func (w *world) revocation(by brevet.PersonID, what, subject string) []byte {
	w.t.Helper()
	raw, err := w.Revocation(by, what, subject).Marshal()
	must(w.t, err)
	return raw
}

// grant returns the grant of a request as it stands.
func (w *world) grant(r flow.RequestView) brevet.Grant {
	w.t.Helper()
	g, err := w.store.Query(context.Background()).Grant(r.ID.Grant())
	must(w.t, err)
	return g
}

// request returns the request as it stands.
func (w *world) request(r flow.RequestView) brevet.Request {
	w.t.Helper()
	now, err := w.store.Query(context.Background()).Request(r.ID)
	must(w.t, err)
	return now
}

// bobsWant is what bob's plain ssh wants.
func (w *world) bobsWant(login string) flow.Want {
	return flow.Want{Target: "web1", Login: login, Key: prooftest.Fingerprint(w.t, w.Keys["bob"].Key()), Presence: brevet.NoPresence}
}

// told reports whether the log has an event of the kind about the request, and its sentence.
func (w *world) told(kind string, r flow.RequestView) (string, bool) {
	w.t.Helper()
	events, err := w.store.Query(context.Background()).Search(store.Filter{Kind: kind, Request: r.ID, Limit: 1})
	must(w.t, err)
	if len(events) == 0 {
		return "", false
	}
	return string(events[0].Body), true
}

// admitted verifies a proof as the gateway does, and returns the certificate.
func (w *world) admitted(a flow.Answer, login string) *ssh.Certificate {
	w.t.Helper()
	v := proof.NewVerifier(w.Root)
	chains, err := w.spine.Chains(context.Background(), gateway, 0, 0)
	must(w.t, err)
	b, err := proof.Parse(chains)
	must(w.t, err)
	must(w.t, v.Extend(b))
	if len(a.Bundles) == 0 {
		w.t.Fatalf("nothing to admit by: %+v", a)
	}
	admission, err := v.Verify(a.Bundles[0], proof.Want{
		Gateway: "gw-1", Target: "web1", Login: login, Key: w.bobsWant(login).Key, Presence: brevet.NoPresence, Now: w.clock(),
	})
	must(w.t, err)
	return admission.Certificate
}

// refused checks the kind and a part of the sentence of an error.
func refused(t testing.TB, err error, kind brevet.Kind, sentence string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %q", sentence)
	}
	message, _ := brevet.MessageOf(err)
	if brevet.KindOf(err) != kind || !strings.Contains(message, sentence) {
		t.Errorf("got %v: %v\nwant %v … %q", brevet.KindOf(err), err, kind, sentence)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must1[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		must(t, err)
		return v
	}
}

// claimedOf returns what the server claimed of a request.
func claimedOf(t testing.TB, w *world, r flow.RequestView) policy.Claimed {
	t.Helper()
	row := must1(w.store.Query(context.Background()).Request(r.ID))(t)
	return must1(proof.Claimed(row.Claimed))(t)
}
