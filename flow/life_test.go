package flow_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// TestLife goes the whole way: asked, agreed, issued, used, revoked, confirmed, proven.
func TestLife(t *testing.T) {
	each(t, func(w *world) {
		ctx := context.Background()
		r := w.ask("bob", "web-root")
		if r.State != brevet.Waiting || r.Sentence != "waiting for one of sre-leads (alice, carol, dave)" {
			w.t.Fatalf("asked: %s, %q", r.State, r.Sentence)
		}
		answer, err := w.spine.Lookup(ctx, gateway, w.bobsWant("root"))
		must(w.t, err)
		if len(answer.Bundles) != 0 || answer.Pending != r.ID || len(answer.Offers) != 1 || answer.Offers[0].Needs == "" {
			w.t.Fatalf("before the yes: %+v", answer)
		}
		r, err = w.approve("carol", r, 0)
		must(w.t, err)
		if !r.Live() {
			w.t.Fatalf("agreed: %s, grant %s: %s", r.State, r.GrantState, r.Sentence)
		}
		answer, err = w.spine.Lookup(ctx, gateway, w.bobsWant("root"))
		must(w.t, err)
		w.admitted(answer, "root")

		session := brevet.Session{ID: brevet.NewSessionID(w.clock()), Grant: r.Grant, Person: "bob", Target: "web1", Login: "root", Machine: "gw-1", Kind: "shell", Recorded: true, StartedAt: w.clock(), Source: "192.0.2.7"}
		must(w.t, w.spine.BeginSession(ctx, gateway, session))
		must(w.t, w.spine.BeginSession(ctx, gateway, session)) // told twice

		g, err := w.spine.Revoke(ctx, w.as("alice"), w.revocation("alice", statement.RevokeGrant, string(r.Grant)), 0)
		must(w.t, err)
		if g.State != brevet.Ending || g.EndReason != "alice revoked it: enough" {
			w.t.Fatalf("revoked: %s, %q", g.State, g.EndReason)
		}
		answer, err = w.spine.Lookup(ctx, gateway, w.bobsWant("root"))
		must(w.t, err)
		if len(answer.Bundles) != 0 {
			w.t.Fatal("a revoked grant is shown to the gateway")
		}
		session.EndedAt, session.EndReason = w.clock(), g.EndReason
		must(w.t, w.spine.EndSession(ctx, gateway, session))
		w.wait(time.Second)
		must(w.t, w.spine.Confirm(ctx, gateway, flow.Closed{Grant: r.Grant, Connections: 1, Took: time.Millisecond}))
		if got := w.grant(r); got.State != brevet.Ended || got.ClosedAt.Sub(got.EndedAt) != time.Second {
			w.t.Errorf("confirmed: %s, closed after %s", got.State, got.ClosedAt.Sub(got.EndedAt))
		}
		refused(w.t, w.spine.BeginSession(ctx, gateway, newSession(w, r)), brevet.Refused, "is ended: alice revoked it: ")

		_, bundle, err := w.spine.ExportGrant(ctx, w.as("bob"), string(r.Grant))
		must(w.t, err)
		b, err := proof.Parse(bundle)
		must(w.t, err)
		report, err := proof.Check(b, proof.Trust{Root: w.Root}, w.clock())
		must(w.t, err)
		if len(report.Revoked) != 1 {
			w.t.Errorf("the proof shows %d revocations, want one", len(report.Revoked))
		}
		verified, err := w.store.VerifyLog(ctx, store.Verification{})
		must(w.t, err)
		if verified.Problem != nil {
			w.t.Errorf("the log: %v", verified.Problem)
		}
		story, err := w.spine.Story(ctx, w.as("bob"), string(r.ID))
		must(w.t, err)
		var kinds []string
		for _, e := range story.Events {
			kinds = append(kinds, e.Kind)
		}
		want := []string{"request", "approval", "request.ready", "intent", "grant", "session.started", "revocation", "grant.ending", "session.ended", "grant.confirmed", "grant.ended", "audit.exported"}
		if !equal(kinds, want) {
			w.t.Errorf("the story is %v\nwant %v", kinds, want)
		}
	})
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func newSession(w *world, r flow.RequestView) brevet.Session {
	return brevet.Session{ID: brevet.NewSessionID(w.clock()), Grant: r.Grant, Person: "bob", Target: "web1", Login: "root", Machine: "gw-1", Kind: "exec", Command: "id", Recorded: true, StartedAt: w.clock()}
}

func TestAskTwiceIsOneRequest(t *testing.T) {
	w := onSQLite(t)
	raw := w.signed(w.Request("bob", "web-root"), w.Keys["bob"])
	first, err := w.spine.Ask(t.Context(), w.as("bob"), raw)
	must(t, err)
	second, err := w.spine.Ask(t.Context(), w.as("bob"), raw)
	must(t, err)
	if first.ID != second.ID || second.Version != first.Version {
		t.Errorf("asked twice: %s (%d) and %s (%d)", first.ID, first.Version, second.ID, second.Version)
	}
}

func TestAskRefuses(t *testing.T) {
	w := onSQLite(t)
	change := func(f func(*statement.Request)) []byte {
		r := w.Request("bob", "web-root")
		f(&r)
		return w.signed(r, w.Keys["bob"])
	}
	tests := []struct {
		name     string
		by       brevet.PersonID
		raw      []byte
		kind     brevet.Kind
		sentence string
	}{
		{"rubbish", "bob", []byte("{}"), brevet.Invalid, ""},
		{"for somebody else", "erin", change(func(*statement.Request) {}), brevet.Refused, "for bob, and you are erin"},
		{"as if by ssh", "bob", w.signed(bySSH(w), w.Gateways["gw-1"].Statements), brevet.Refused, "only a gateway"},
		{"signed by another", "bob", w.signed(w.Request("bob", "web-root"), w.Keys["erin"]), brevet.Refused, "is of erin"},
		{"no such role", "bob", change(func(r *statement.Request) { r.Role = "web-rot" }), brevet.Refused, "no role"},
		{"a role as it was", "bob", change(func(r *statement.Request) { r.RoleDigest = r.Nonce + r.Nonce }), brevet.Refused, "has changed"},
		{"for another organisation", "bob", change(func(r *statement.Request) { r.Org = statement.ID(r.Nonce + r.Nonce) }), brevet.Refused, "another organisation"},
		{"out of date", "bob", change(func(r *statement.Request) { r.At -= 7200e6; r.Until = r.At + 1 }), brevet.Refused, "out of date"},
		{"for a gateway that there is not", "bob", change(func(r *statement.Request) { r.Holder.Machine = "gw-9" }), brevet.Refused, "holder"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := w.spine.Ask(t.Context(), w.as(tt.by), tt.raw)
			refused(t, err, tt.kind, tt.sentence)
		})
	}
	refusedByPolicy := w.ask("frank", "web-root")
	if refusedByPolicy.State != brevet.Denied {
		t.Errorf("frank, who is in no group: %s", refusedByPolicy.State)
	}
}

func bySSH(w *world) statement.Request {
	r := w.Request("bob", "web-root")
	r.Via = brevet.ViaSSH
	r.Seen = statement.Seen{Key: w.bobsWant("root").Key, Presence: brevet.NoPresence, Source: "192.0.2.7"}
	return r
}

func TestTooManyOpen(t *testing.T) {
	w := onSQLite(t)
	for range 20 {
		w.ask("bob", "web-root")
	}
	_, err := w.spine.Ask(t.Context(), w.as("bob"), w.signed(w.Request("bob", "web-root"), w.Keys["bob"]))
	refused(t, err, brevet.Limited, "20 requests open")
}

func TestApproveRefuses(t *testing.T) {
	w := onSQLite(t)
	r := w.ask("bob", "web-root")
	narrower := func(f func(*statement.Approval)) []byte {
		a := w.approval("carol", r, 0)
		f(&a)
		return w.signed(a, w.Keys["carol"])
	}
	tests := []struct {
		name     string
		by       brevet.PersonID
		raw      []byte
		kind     brevet.Kind
		sentence string
	}{
		{"in another's name", "dave", narrower(func(*statement.Approval) {}), brevet.Refused, "by carol, and you are dave"},
		{"not in the group", "erin", w.signed(w.approval("erin", r, 0), w.Keys["erin"]), brevet.NotFound, "no request"},
		{"longer than asked", "carol", narrower(func(a *statement.Approval) { a.Duration += 1 }), brevet.Refused, "longer than was asked"},
		{"another target", "carol", narrower(func(a *statement.Approval) { a.Targets = []brevet.TargetID{"web2"} }), brevet.Refused, "not asked for"},
		{"another holder", "carol", narrower(func(a *statement.Approval) { a.Holder.Machine = "gw-2" }), brevet.Refused, "another holder"},
		{"a stage that there is not", "carol", narrower(func(a *statement.Approval) { a.Stage = 1 }), brevet.Refused, "no stage"},
		{"with another's key", "carol", w.signed(w.approval("carol", r, 0), w.Keys["dave"]), brevet.Refused, "is of dave"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := w.spine.Approve(t.Context(), w.as(tt.by), tt.raw)
			refused(t, err, tt.kind, tt.sentence)
			if now := w.request(r); now.State != brevet.Waiting {
				t.Fatalf("the request is %s", now.State)
			}
		})
	}
}

func TestTwoStagesNeedTwoPeople(t *testing.T) {
	w := onSQLite(t)
	r := w.ask("bob", "db-admin")
	r, err := w.approve("carol", r, 0)
	must(t, err)
	if r.State != brevet.Waiting || r.Sentence != "waiting for one of dba (erin)" {
		t.Fatalf("after the first: %s, %q", r.State, r.Sentence)
	}
	if _, err := w.approve("carol", r, 1); err == nil {
		t.Fatal("carol counts twice")
	}
	r, err = w.approve("erin", r, 1)
	must(t, err)
	if !r.Live() {
		t.Errorf("after both: %s, %s", r.State, r.GrantState)
	}
}

func TestNarrowerYesGivesLess(t *testing.T) {
	w := onSQLite(t)
	r := w.ask("bob", "web-root")
	a := w.approval("carol", r, 0)
	a.Duration, a.Logins, a.Comment = 300, []string{"deploy"}, "no need for root"
	r, err := w.spine.Approve(t.Context(), w.as("carol"), w.signed(a, w.Keys["carol"]))
	must(t, err)
	g := w.grant(r)
	if got := g.To.Sub(g.From); got != 5*time.Minute || len(g.Logins) != 1 || g.Logins[0] != "deploy" {
		t.Errorf("given %v for %s", g.Logins, got)
	}
	story, err := w.spine.Story(t.Context(), w.as("bob"), string(r.ID))
	must(t, err)
	var told []string
	for _, e := range story.Events {
		told = append(told, e.Message)
	}
	for _, want := range []string{
		"bob asks for web-root on web1 for 30m: restart nginx",
		"carol agreed to " + string(r.ID) + " for 5m of 30m, only as deploy, presence none: no need for root",
	} {
		if !slices.Contains(told, want) {
			t.Errorf("the story tells\n%s\nand not %s", strings.Join(told, "\n"), want)
		}
	}
}

func TestANoEndsTheRequest(t *testing.T) {
	tests := []struct {
		by    brevet.PersonID
		state brevet.RequestState
		why   string
	}{
		{"carol", brevet.Denied, "carol said no: enough"},
		{"bob", brevet.Cancelled, "bob took it back: enough"},
	}
	for _, tt := range tests {
		t.Run(string(tt.by), func(t *testing.T) {
			w := onSQLite(t)
			r := w.ask("bob", "web-root")
			got, err := w.spine.Refuse(t.Context(), w.as(tt.by), w.revocation(tt.by, statement.RevokeRequest, r.Request.Statement))
			must(t, err)
			if got.State != tt.state || got.Why != tt.why {
				t.Errorf("got %s, %q", got.State, got.Why)
			}
			_, err = w.approve("dave", r, 0)
			refused(t, err, brevet.Conflict, "already")
			if may := got.Stages[0].MayApprove; len(may) > 0 {
				t.Errorf("%v could still agree, as it says", may)
			}
		})
	}
	w := onSQLite(t)
	r := w.ask("bob", "web-root")
	_, err := w.spine.Refuse(t.Context(), w.as("erin"), w.revocation("erin", statement.RevokeRequest, r.Request.Statement))
	refused(t, err, brevet.NotFound, "no request")
}

func TestLapse(t *testing.T) {
	w := onSQLite(t)
	r := w.ask("bob", "web-root")
	w.wait(2 * time.Hour)
	waitUntil(t, w, r, func(v flow.RequestView) bool { return v.State == brevet.Lapsed })
	_, err := w.approve("carol", r, 0)
	refused(t, err, brevet.Conflict, "lapsed")
}

// TestLapseOfWhatWasAgreedTo: whoever waits for the issuer is not told that nobody answered.
func TestLapseOfWhatWasAgreedTo(t *testing.T) {
	w := onSQLite(t)
	r := w.ask("bob", "web-root")
	must(t, w.issuer.Close()) // which would say no at once
	event := brevet.Event{Kind: "request.ready", Subject: string(r.ID), At: w.clock(), Actor: gateway, Outcome: "success", Message: "agreed"}
	_, err := w.store.Change(t.Context(), func(t *store.Tx) ([]brevet.Event, error) {
		now, err := t.Request(r.ID)
		if err != nil {
			return nil, err
		}
		now.State = brevet.Ready
		_, err = t.UpdateRequest(now)
		return []brevet.Event{event}, err
	})
	must(t, err)
	w.wait(2 * time.Hour)
	waitUntil(t, w, r, func(v flow.RequestView) bool { return v.State == brevet.Lapsed })
	if why := w.request(r).Why; !strings.Contains(why, "the issuer had not given it") {
		t.Errorf("it lapsed: %s", why)
	}
}

func TestExpiry(t *testing.T) {
	each(t, func(w *world) {
		r := w.granted()
		w.wait(31 * time.Minute)
		waitUntil(w.t, w, r, func(v flow.RequestView) bool { return v.GrantState == brevet.Ending })
		if g := w.grant(r); g.EndedBy != "expiry" {
			w.t.Errorf("ended by %s", g.EndedBy)
		}
		if _, err := w.store.Query(context.Background()).Credential(r.Grant); brevet.KindOf(err) != brevet.NotFound {
			w.t.Errorf("the certificate is kept: %v", err)
		}
	})
}

// waitUntil follows the request until it is as wanted. There is no time limit but the test's own.
func waitUntil(t testing.TB, w *world, r flow.RequestView, good func(flow.RequestView) bool) {
	t.Helper()
	for {
		size := w.store.Size()
		v, err := w.spine.Request(context.Background(), w.as("alice"), string(r.ID))
		must(t, err)
		if good(v) {
			return
		}
		if v.State.Final() && v.State != brevet.Granted {
			t.Fatalf("the request is %s: %s", v.State, v.Why)
		}
		if _, err := w.store.Wait(context.Background(), size); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWhatWasNotIssuedIsOwed: an issuer that is away costs nobody their request.
func TestWhatWasNotIssuedIsOwed(t *testing.T) {
	w := onSQLite(t)
	must(t, w.issuer.Close())
	r := w.ask("bob", "web-now")
	if r.State != brevet.Ready {
		t.Fatalf("the request is %s: %s", r.State, r.Why)
	}
	jobs := must1(w.store.Query(t.Context()).Jobs(store.MaxPage))(t)
	if !slices.ContainsFunc(jobs, func(j store.Job) bool { return j.Kind == "issue" && j.Subject == string(r.ID) }) {
		t.Errorf("nobody owes it: %v", jobs)
	}
	w.restart(nil)
	waitUntil(t, w, r, func(v flow.RequestView) bool { return v.GrantState == brevet.Live })
}
