package remote_test

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/gateway"
	"github.com/brevet-pim/brevet/gateway/remote"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/test/orgplane"
)

// world is an organisation whose control plane is reached over the API.
type world struct {
	*orgplane.Plane
	t      *testing.T
	org    *prooftest.Org
	client brevetv1connect.GatewayServiceClient
	heads  string // path
	log    bytes.Buffer
	want   gateway.Want
}

func newWorld(t *testing.T) *world {
	t.Helper()
	org := prooftest.New(t, prooftest.Options{Start: time.Now().Add(-time.Hour)})
	w := &world{Plane: orgplane.New(org, t.TempDir()), t: t, org: org, heads: filepath.Join(t.TempDir(), "heads.json")}
	w.client = w.Serve(t)
	w.want = gateway.Want{
		Target: "web1", Login: "deploy", Presence: brevet.NoPresence, Source: netip.MustParseAddr("192.0.2.7"),
		Key: prooftest.Fingerprint(t, org.Keys["bob"].Key()),
	}
	return w
}

// open starts the verifier of a gateway, as a process does that begins.
func (w *world) open() *remote.Verifier {
	w.t.Helper()
	v, err := remote.OpenVerifier(w.client, "gw-1", w.org.Root, w.heads, slog.New(slog.NewTextHandler(&w.log, nil)))
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// shows returns the chains as they stand, for the control plane to show later.
func (w *world) shows() (chains []byte) {
	w.t.Helper()
	w.Change(func(o *prooftest.Org) {
		var err error
		if chains, err = o.Chains().Marshal(); err != nil {
			w.t.Fatal(err)
		}
	})
	return chains
}

func (w *world) checks(v *remote.Verifier, bundle []byte, want brevet.Kind, says string) {
	w.t.Helper()
	a, err := v.Verify(w.t.Context(), bundle, w.want)
	if err == nil || brevet.KindOf(err) != want || !strings.Contains(err.Error(), says) {
		w.t.Errorf("got %+v, %v, want %v: %q", a, err, want, says)
	}
}

func TestVerifierFetchesTheChainsThatItLacks(t *testing.T) {
	w := newWorld(t)
	v := w.open()
	id := w.Give("bob", "web-now")
	a, err := v.Verify(t.Context(), w.Bundle(id, false), w.want)
	if err != nil {
		t.Fatal(err)
	}
	if a.Grant != id || a.Person != "bob" || a.Target.ID != "web1" || a.Login != "deploy" || a.Role.Name != "web-now" || a.Certificate == nil || a.To.Sub(a.From) != 30*time.Minute {
		t.Errorf("admitted %+v", a)
	}
	if _, err := v.Verify(t.Context(), w.Bundle(id, false), w.want); err != nil || len(w.Asked()) != 1 {
		t.Errorf("again: %v, after chains were fetched after %v", err, w.Asked())
	}
	w.Change(func(o *prooftest.Org) { // the issuer knows of it, so the status does
		o.EnrolPeople("zoe")
		c := o.Catalog
		c.Policies = append(c.Policies, brevet.Policy{Name: "more.cedar", Text: `forbid (principal == Person::"zoe", action, resource);`})
		o.SetCatalog(c)
	})
	roster, catalog := v.State().Roster, v.State().Catalog
	_, rosterNumber := roster.Head()
	_, catalogNumber := catalog.Head()
	if _, err := v.Verify(t.Context(), w.Bundle(id, false), w.want); err != nil {
		t.Errorf("after a change of roster and catalog: %v", err)
	}
	if asked := w.Asked(); len(asked) != 2 || asked[0] != [2]int64{} || asked[1] != [2]int64{rosterNumber, catalogNumber} {
		t.Errorf("chains were fetched after %v", asked)
	}
	second := w.Give("bob", "web-now")
	if _, err := v.Verify(t.Context(), w.Bundle(second, true), w.want); err != nil {
		t.Errorf("with the chains in the proof: %v", err)
	}
}

func TestVerifierWithoutTheControlPlane(t *testing.T) {
	w := newWorld(t)
	v := w.open()
	bundle := w.Bundle(w.Give("bob", "web-now"), true)
	w.Away(true)
	w.checks(v, bundle, brevet.Unavailable, "away")
	w.Away(false)
	if _, err := v.Verify(t.Context(), bundle, w.want); err != nil {
		t.Errorf("once it is back: %v", err)
	}
}

func TestVerifierWantsTheIssuersFreshWord(t *testing.T) {
	w := newWorld(t)
	v := w.open()
	id := w.Give("bob", "web-now")
	raw := w.Bundle(id, false)
	b, err := proof.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	status := b.Status
	change := func(list []statement.Envelope) []byte {
		b.Status = list
		raw, err := b.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	w.checks(v, change(nil), brevet.Refused, "still good is missing")
	var old statement.Envelope
	w.Change(func(o *prooftest.Org) {
		now := o.Now
		o.Now = time.Now().Add(-6 * time.Minute)
		old = o.Status(id)
		o.Now = now
	})
	w.checks(v, change([]statement.Envelope{old}), brevet.Refused, "too old")
	if _, err := v.Verify(t.Context(), change(status), w.want); err != nil {
		t.Error(err)
	}
}

func TestChainsCannotBeRolledBack(t *testing.T) {
	w := newWorld(t)
	before := w.shows()
	w.Change(func(o *prooftest.Org) { o.EnrolPeople("zoe") })
	id := w.Give("bob", "web-now")
	if _, err := w.open().Verify(t.Context(), w.Bundle(id, false), w.want); err != nil {
		t.Fatal(err)
	}
	w.Show(before)
	w.checks(w.open(), w.Bundle(id, false), brevet.Refused, "does not lead through number")
	if !strings.Contains(w.log.String(), "level=ERROR") {
		t.Errorf("there is no alarm in the log:\n%s", w.log.String())
	}
	w.Show(nil)
	if _, err := w.open().Verify(t.Context(), w.Bundle(id, false), w.want); err != nil {
		t.Errorf("once the chains are whole again: %v", err)
	}
}

// Administrators who signed two statements with one number, or a control plane that shows each to
// some, are found out after a restart too.
func TestForkedChainsAreRefused(t *testing.T) {
	w := newWorld(t)
	var fork []byte
	w.Change(func(o *prooftest.Org) {
		link, before, witness := o.Link(), o.Chains(), o.State().WitnessName(prooftest.IssuerName)
		o.EnrolPeople("zoe")
		// The same number again, with another statement, which only the fork shows.
		_, key := prooftest.NewKey(t)
		enrol := statement.Enrol{Header: o.Header(time.Hour), Link: link, Enrolments: []statement.Enrolment{o.Enrolment("mallory", "", key, statement.UseRequest)}}
		signed := o.Sign(enrol, o.Admins()...)
		raw, err := signed.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		index := o.Log.Append(brevet.Event{Kind: "enrol", Subject: string(signed.ID()), At: o.Now, Statement: raw})
		for i, r := range before.Roster {
			before.Roster[i] = o.Log.Record(r.Index)
		}
		for i, r := range before.Catalog {
			before.Catalog[i] = o.Log.Record(r.Index)
		}
		before.Roster = append(before.Roster, o.Log.Record(index))
		cosigned, err := audit.Cosign(o.Log.Checkpoint(), witness, o.Issuer.Checkpoints, o.Now)
		if err != nil {
			t.Fatal(err)
		}
		before.Checkpoint = string(cosigned)
		if fork, err = before.Marshal(); err != nil {
			t.Fatal(err)
		}
	})
	id := w.Give("bob", "web-now")
	v := w.open()
	if _, err := v.Verify(t.Context(), w.Bundle(id, false), w.want); err != nil {
		t.Fatal(err)
	}
	w.Show(fork)
	w.Change(func(o *prooftest.Org) { o.EnrolPeople("yan") }) // so that the verifier asks again
	w.checks(v, w.Bundle(id, false), brevet.Refused, "is taken by another statement")
	w.checks(w.open(), w.Bundle(id, false), brevet.Refused, "does not lead through number")
	if n := strings.Count(w.log.String(), "contradict what was seen before"); n != 2 {
		t.Errorf("%d alarms:\n%s", n, w.log.String())
	}
}

func TestHeadsFile(t *testing.T) {
	w := newWorld(t)
	id := w.Give("bob", "web-now")
	bundle := w.Bundle(id, false)
	if _, err := w.open().Verify(t.Context(), bundle, w.want); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(w.heads)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"cut": string(good[:len(good)/2]), "empty": "", "more": string(good) + "{}", "unknown": `{"root":"","x":1}`, "other": "null\n[",
	} {
		if err := os.WriteFile(w.heads, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := remote.OpenVerifier(w.client, "gw-1", w.org.Root, w.heads, slog.Default()); brevet.KindOf(err) != brevet.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(w.heads, good, 0o600); err != nil {
		t.Fatal(err)
	}
	other := statement.ID(strings.Repeat("a", 64))
	if _, err := remote.OpenVerifier(w.client, "gw-1", other, w.heads, slog.Default()); brevet.KindOf(err) != brevet.Refused {
		t.Errorf("another organisation's: %v", err)
	}
	w.heads = filepath.Join(t.TempDir(), "missing", "heads.json")
	w.checks(w.open(), bundle, brevet.Unavailable, "cannot write down")
}

func TestACrowdFetchesTheChainsOnce(t *testing.T) {
	w := newWorld(t)
	v := w.open()
	bundle := w.Bundle(w.Give("bob", "web-now"), false)
	var crowd sync.WaitGroup
	for range 20 {
		crowd.Go(func() {
			if _, err := v.Verify(t.Context(), bundle, w.want); err != nil {
				t.Error(err)
			}
		})
	}
	crowd.Wait()
	if n := len(w.Asked()); n != 1 {
		t.Errorf("chains were fetched %d times", n)
	}
}
