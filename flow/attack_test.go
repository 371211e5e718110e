package flow_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// at once runs all of them at one moment.
func atOnce(all ...func()) {
	var start, done sync.WaitGroup
	start.Add(1)
	for _, one := range all {
		done.Go(func() {
			start.Wait()
			one()
		})
	}
	start.Done()
	done.Wait()
}

// count returns how many events of the kind tell of the request.
func (w *world) count(kind string, r flow.RequestView) int {
	w.t.Helper()
	events, err := w.store.Query(context.Background()).Search(store.Filter{Kind: kind, Request: r.ID, Limit: store.MaxPage})
	must(w.t, err)
	return len(events)
}

func TestTwoApproversAtOneInstant(t *testing.T) {
	each(t, func(w *world) {
		for range 10 {
			r := w.ask("bob", "web-root")
			yes := map[brevet.PersonID][]byte{}
			for _, id := range []brevet.PersonID{"alice", "carol", "dave"} {
				yes[id] = w.signed(w.approval(id, r, 0), w.Keys[id])
			}
			var acts []func()
			for id, raw := range yes {
				acts = append(acts,
					func() { _, _ = w.spine.Approve(context.Background(), w.as(id), raw) },
					func() { _, _ = w.spine.Approve(context.Background(), w.as(id), raw) }) // a double vote
			}
			atOnce(acts...)
			waitUntil(w.t, w, r, flow.RequestView.Live)
			if grants, intents, ready := w.count("grant", r), w.count("intent", r), w.count("request.ready", r); grants != 1 || intents != 1 || ready != 1 {
				w.t.Fatalf("%d grants, %d intents, %d times ready", grants, intents, ready)
			}
		}
	})
}

// TestTwiceAtOnceIsOnce: whoever hands in the same statement again, as a client whose connection broke
// does, is told how it stands.
func TestTwiceAtOnceIsOnce(t *testing.T) {
	each(t, func(w *world) {
		for range 5 {
			raw := w.signed(w.Request("bob", "web-root"), w.Keys["bob"])
			views, errs := make([]flow.RequestView, 4), make([]error, 4)
			together := func(do func() (flow.RequestView, error)) {
				var acts []func()
				for i := range views {
					acts = append(acts, func() { views[i], errs[i] = do() })
				}
				atOnce(acts...)
				for i, err := range errs {
					must(w.t, err)
					if views[i].ID != views[0].ID {
						w.t.Fatalf("it became %s and %s", views[0].ID, views[i].ID)
					}
				}
			}
			together(func() (flow.RequestView, error) { return w.spine.Ask(context.Background(), w.as("bob"), raw) })
			yes := w.signed(w.approval("carol", views[0], 0), w.Keys["carol"])
			together(func() (flow.RequestView, error) { return w.spine.Approve(context.Background(), w.as("carol"), yes) })
		}
	})
}

func TestApproveWhileCancelling(t *testing.T) {
	each(t, func(w *world) {
		for range 10 {
			r := w.ask("bob", "web-root")
			yes, no := w.signed(w.approval("carol", r, 0), w.Keys["carol"]), w.revocation("bob", statement.RevokeRequest, r.Request.Statement)
			var cancelled error
			atOnce(
				func() { _, _ = w.spine.Approve(context.Background(), w.as("carol"), yes) },
				func() { _, cancelled = w.spine.Refuse(context.Background(), w.as("bob"), no) },
			)
			w.settled(r)
			now := w.request(r)
			switch {
			case cancelled == nil && now.State != brevet.Cancelled:
				w.t.Fatalf("cancelled, and it is %s", now.State)
			case cancelled == nil && w.count("intent", r) != 0:
				w.t.Fatal("cancelled, and the issuer intends to give it")
			case cancelled != nil && now.State != brevet.Granted:
				w.t.Fatalf("not cancelled (%v), and it is %s", cancelled, now.State)
			}
		}
	})
}

// TestRevokeWhileIssuing has bob suspended and his grant revoked while it is being made. Whatever
// comes first, nothing is left that opens a door.
func TestRevokeWhileIssuing(t *testing.T) {
	for range 5 {
		w := onSQLite(t)
		raw := w.signed(w.Request("bob", "web-now"), w.Keys["bob"])
		suspension := w.revocation("alice", statement.RevokePerson, "bob")
		atOnce(
			func() { _, _ = w.spine.Ask(context.Background(), w.as("bob"), raw) },
			func() {
				_, err := w.spine.Suspend(context.Background(), w.as("alice"), suspension, 0)
				must(t, err)
			},
		)
		w.settled(flow.RequestView{})
		answer, err := w.spine.Lookup(t.Context(), gateway, w.bobsWant("deploy"))
		must(t, err)
		if len(answer.Bundles) != 0 || answer.Refusal == "" {
			t.Fatalf("bob is suspended, and is shown in: %+v", answer)
		}
		live, err := w.store.Query(t.Context()).Grants(store.GrantFilter{State: brevet.Live})
		must(t, err)
		for _, g := range live {
			if _, err := w.issuer.Status(t.Context(), g.ID); err == nil {
				t.Fatalf("%s of bob is live, and the issuer stands for it", g.ID)
			}
		}
	}
}

func TestSuspendEndsEverything(t *testing.T) {
	each(t, func(w *world) {
		ctx := context.Background()
		given, waiting := w.granted(), w.ask("bob", "web-root")
		client := sha256.Sum256([]byte("the client's key"))
		token := w.signIn("bob", client)
		if _, _, _, err := w.spine.Token(ctx, token, client, w.clock()); err != nil {
			w.t.Fatal(err)
		}
		done, err := w.spine.Suspend(ctx, w.as("alice"), w.revocation("alice", statement.RevokePerson, "bob"), 0)
		must(w.t, err)
		if done.Ended != 1 || done.Left != 1 || done.Person.Suspension == "" {
			w.t.Errorf("%d grants ended, suspension %q", done.Ended, done.Person.Suspension)
		}
		if g := w.grant(given); g.State != brevet.Ending {
			w.t.Errorf("the grant is %s", g.State)
		}
		if r := w.request(waiting); r.State != brevet.Denied {
			w.t.Errorf("the request is %s", r.State)
		}
		_, _, _, err = w.spine.Token(ctx, token, client, w.clock())
		refused(w.t, err, brevet.Unauthenticated, "over")
		_, err = w.spine.Ask(ctx, w.as("bob"), w.signed(w.Request("bob", "web-now"), w.Keys["bob"]))
		refused(w.t, err, brevet.Refused, "suspended")
		refused(w.t, w.spine.BeginSession(ctx, gateway, newSession(w, given)), brevet.Refused, "")

		// and its way back
		_, head := w.spine.State().Roster.Head()
		previous, _ := w.spine.State().Roster.Head()
		reinstate := w.signed(statement.Reinstate{
			Header: w.Header(time.Hour), Link: statement.Link{Number: head + 1, Previous: previous}, Person: "bob", Revocation: statement.ID(done.Person.Suspension), Reason: "a mistake",
		}, w.Keys["alice"])
		_, _, err = w.spine.AppendRoster(ctx, w.as("alice"), reinstate)
		must(w.t, err)
		w.granted()
		if g := w.grant(given); g.State != brevet.Ending {
			w.t.Errorf("a grant from before the suspension is %s again", g.State)
		}
	})
}

// signIn keeps a token for the person, as the API does once it has checked the answer.
func (w *world) signIn(id brevet.PersonID, client [sha256.Size]byte) (hash string) {
	w.t.Helper()
	hash = prooftest.Fingerprint(w.t, w.Keys[id].Key()) + hex.EncodeToString(client[:4])
	raw := w.signed(statement.SignIn{Header: w.Header(time.Minute), Person: id, Challenge: strings.Repeat("00", 56), Client: hex.EncodeToString(client[:])}, w.Keys[id])
	_, err := w.spine.SignIn(context.Background(), person(id), raw, store.Token{
		Hash: hash, Person: id, Key: prooftest.Fingerprint(w.t, w.Keys[id].Key()), Client: hex.EncodeToString(client[:]),
		IssuedAt: w.clock(), ExpiresAt: w.clock().Add(time.Hour),
	})
	must(w.t, err)
	return hash
}

func TestTokensAreBoundAndEnd(t *testing.T) {
	w := onSQLite(t)
	client, other := sha256.Sum256([]byte("one")), sha256.Sum256([]byte("two"))
	token := w.signIn("bob", client)
	_, _, _, err := w.spine.Token(t.Context(), token, other, w.clock())
	refused(t, err, brevet.Unauthenticated, "over")
	must(t, w.spine.SignOut(t.Context(), w.as("bob"), token))
	_, _, _, err = w.spine.Token(t.Context(), token, client, w.clock())
	refused(t, err, brevet.Unauthenticated, "over")
	token = w.signIn("erin", client)
	w.wait(2 * time.Hour)
	_, _, _, err = w.spine.Token(t.Context(), token, client, w.clock())
	refused(t, err, brevet.Unauthenticated, "over")
}

// apply puts a changed catalog in force.
func (w *world) apply(change func(*brevet.Catalog)) error {
	w.t.Helper()
	c := w.Catalog
	c.Roles, c.Groups, c.Policies = slices.Clone(c.Roles), slices.Clone(c.Groups), slices.Clone(c.Policies)
	change(&c)
	manifest, digest, err := catalog.Manifest(catalog.Normalise(c))
	must(w.t, err)
	head, number := w.spine.State().Catalog.Head()
	raw := w.signed(statement.Catalog{
		Header: w.Header(time.Hour), Link: statement.Link{Number: number + 1, Previous: head}, Manifest: digest, Message: "changed",
	}, w.Keys["alice"])
	_, err = w.spine.ApplyCatalog(context.Background(), w.as("alice"), raw, manifest)
	return err
}

// TestTakingAwayEndsGrants has what a grant rests on taken away: it ends at once.
func TestTakingAwayEndsGrants(t *testing.T) {
	tests := []struct {
		name string
		take func(w *world) error
	}{
		{"out of the group", func(w *world) error {
			return w.apply(func(c *brevet.Catalog) {
				i := slices.IndexFunc(c.Groups, func(g brevet.Group) bool { return g.Name == "sre" })
				c.Groups[i].Members = []brevet.PersonID{"ci"}
			})
		}},
		{"the role is gone", func(w *world) error {
			return w.apply(func(c *brevet.Catalog) {
				c.Roles = slices.DeleteFunc(c.Roles, func(r brevet.Role) bool { return r.Name == "web-now" })
				c.Policies[0].Text = `@id("none") forbid (principal, action == Action::"request", resource == Role::"db-admin");`
			})
		}},
		{"forbidden", func(w *world) error {
			return w.apply(func(c *brevet.Catalog) {
				c.Policies = append(c.Policies, brevet.Policy{Name: "stop.cedar", Text: `@id("stop") forbid (principal, action in Action::"elevate", resource);`})
			})
		}},
		{"the key is retired", func(w *world) error {
			head, number := w.spine.State().Roster.Head()
			_, _, err := w.spine.AppendRoster(context.Background(), w.as("alice"), w.signed(statement.Retire{
				Header: w.Header(time.Hour), Link: statement.Link{Number: number + 1, Previous: head}, Person: "bob", Key: w.bobsWant("").Key, Since: w.clock().UnixMicro(), Reason: "lost",
			}, w.Keys["alice"]))
			return err
		}},
		{"the gateway is no longer ours", func(w *world) error {
			head, number := w.spine.State().Roster.Head()
			m := w.Gateways["gw-1"].Machine
			m.Header, m.Link, m.Keys, m.Addresses = w.Header(time.Hour), statement.Link{Number: number + 1, Previous: head}, []statement.MachineKey{}, []string{}
			m.Targets = brevet.Selector{Labels: map[string]string{}, Names: []brevet.TargetID{}}
			_, _, err := w.spine.AppendRoster(context.Background(), w.as("alice"), w.signed(m, w.Keys["alice"]))
			return err
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := onSQLite(t)
			r := w.granted()
			must(t, tt.take(w))
			if g := w.grant(r); g.State != brevet.Ending {
				t.Errorf("the grant is %s", g.State)
			} else if g.EndReason == "" {
				t.Error("nobody is told why it ended")
			}
			if _, err := w.issuer.Status(t.Context(), r.Grant); err == nil {
				t.Error("the issuer still stands for it, so an edited row would open the target")
			}
		})
	}
}

// TestAChangedRoleEndsWhatWaitsForIt: no yes could lead to a grant any more, so nobody waits in vain.
func TestAChangedRoleEndsWhatWaitsForIt(t *testing.T) {
	w := onSQLite(t)
	waiting, other := w.ask("bob", "web-root"), w.ask("bob", "db-admin")
	must(t, w.apply(func(c *brevet.Catalog) {
		i := slices.IndexFunc(c.Roles, func(r brevet.Role) bool { return r.Name == "web-root" })
		c.Roles[i].Limits.Duration = 1200
	}))
	if r := w.request(waiting); r.State != brevet.Denied || !strings.Contains(r.Why, "has changed") {
		t.Errorf("it is %s: %q", r.State, r.Why)
	}
	if r := w.request(other); r.State != brevet.Waiting {
		t.Errorf("a request for another role is %s: %q", r.State, r.Why)
	}
}

// TestAChainThatForksIsRefused: a second statement with a number that is taken, or signed by too few.
func TestAChainThatForksIsRefused(t *testing.T) {
	w := onSQLite(t)
	retire := func(by brevet.PersonID, link statement.Link) error {
		_, _, err := w.spine.AppendRoster(t.Context(), w.as("alice"), w.signed(statement.Retire{
			Header: w.Header(time.Hour), Link: link, Person: "frank", Key: prooftest.Fingerprint(t, w.Keys["frank"].Key()), Since: w.clock().UnixMicro(), Reason: "x",
		}, w.Keys[by]))
		return err
	}
	head, number := w.spine.State().Roster.Head()
	refused(t, retire("alice", statement.Link{Number: number, Previous: head}), brevet.Refused, "taken by another")
	refused(t, retire("alice", statement.Link{Number: number + 1, Previous: w.Root}), brevet.Refused, "it follows")
	refused(t, retire("bob", statement.Link{Number: number + 1, Previous: head}), brevet.Refused, "0 of the 1 persons")
	if _, now := w.spine.State().Roster.Head(); now != number {
		t.Errorf("the roster has %d statements, not %d", now, number)
	}
}

// TestAnUnsignedCatalogIsNotLookedInto: whoever may not put it in force cannot have the server work at it.
func TestAnUnsignedCatalogIsNotLookedInto(t *testing.T) {
	w := onSQLite(t)
	manifest := []byte("not even a manifest")
	head, number := w.spine.State().Catalog.Head()
	raw := w.signed(statement.Catalog{
		Header: w.Header(time.Hour), Link: statement.Link{Number: number + 1, Previous: head}, Manifest: catalog.Digest(manifest), Message: "mine",
	}, w.Keys["bob"])
	_, err := w.spine.ApplyCatalog(t.Context(), w.as("bob"), raw, manifest)
	refused(t, err, brevet.Refused, "0 of the 1 persons")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.spine.PlanCatalog(t.Context(), w.as("bob"), manifest); brevet.KindOf(err) == brevet.Limited {
		t.Errorf("nobody else plans: %v", err)
	}
	if _, err := w.spine.PlanCatalog(ctx, w.as("alice"), manifest); brevet.KindOf(err) == brevet.Limited {
		t.Errorf("alice administers the catalog, and waits: %v", err)
	}
}

// TestManyAppendAtOnce: of those that would all be next in a chain one is, and the log can still be followed.
func TestManyAppendAtOnce(t *testing.T) {
	each(t, func(w *world) {
		head, number := w.spine.State().Roster.Head()
		var mu sync.Mutex
		good := 0
		var acts []func()
		for range 8 {
			_, key := prooftest.NewKey(w.t)
			raw := w.signed(statement.Enrol{Header: w.Header(time.Hour), Link: statement.Link{Number: number + 1, Previous: head}, Enrolments: []statement.Enrolment{w.Enrolment("grace", "", key, statement.UseRequest)}}, w.Keys["alice"])
			acts = append(acts, func() {
				_, _, err := w.spine.AppendRoster(context.Background(), w.as("alice"), raw)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					good++
				}
			})
		}
		atOnce(acts...)
		if good != 1 {
			w.t.Errorf("%d were next", good)
		}
		w.granted()
	})
}

// TestClockSetBack: no grant lives longer for it, and the jump is told.
func TestClockSetBack(t *testing.T) {
	for name, back := range map[string]func(now time.Time) time.Duration{
		"by an hour": func(time.Time) time.Duration { return time.Hour },
		"to 1970":    func(now time.Time) time.Duration { return now.Sub(time.Unix(60, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			w := onSQLite(t)
			r := w.granted()
			end, by := w.grant(r).To, back(w.clock())
			w.wait(-by)
			waitForEvent(t, w, "clock.jumped")
			_, err := w.spine.Ask(t.Context(), w.as("bob"), w.signed(w.Request("bob", "web-now"), w.Keys["bob"]))
			if now := w.grant(r).To; !now.Equal(end) {
				t.Errorf("the grant ends at %s, and was to end at %s", now, end)
			}
			if grants, listed := w.store.Query(t.Context()).Grants(store.GrantFilter{Open: true}); listed != nil || len(grants) != 1 {
				t.Errorf("with such a clock there are the grants %v, %v; asking said %v", grants, listed, err)
			}
			w.wait(by + time.Hour)
			waitUntil(t, w, r, func(v flow.RequestView) bool { return v.GrantState == brevet.Ending })
		})
	}
}

// TestClockSetBackAtStart: a server that starts with a clock of yesterday takes nothing away for that.
func TestClockSetBackAtStart(t *testing.T) {
	for name, back := range map[string]time.Duration{"by two hours": 2 * time.Hour, "by years": 20 * 365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			w := onSQLite(t)
			live, waiting := w.granted(), w.ask("bob", "web-root")
			w.restart(func() {
				w.wait(-back)
				w.openStore()
				must(t, w.store.Work(t.Context(), func(k *store.Work) error { return k.Enqueue("review", "all", w.clock()) }))
				must(t, w.store.Close())
			})
			for owed := true; owed; {
				if g := w.grant(live); g.State != brevet.Live {
					t.Fatalf("the grant is %s: %s", g.State, g.EndReason)
				}
				size := w.store.Size()
				jobs, err := w.store.Query(t.Context()).Jobs(1)
				must(t, err)
				if owed = len(jobs) > 0; owed {
					ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
					w.store.Wait(ctx, size) // a job that is done wakes nobody
					cancel()
				}
			}
			r, err := w.store.Query(t.Context()).Request(waiting.ID)
			must(t, err)
			if r.State != brevet.Waiting {
				t.Errorf("the request is %s: %s", r.State, r.Why)
			}
		})
	}
}

func waitForEvent(t testing.TB, w *world, kind string) {
	t.Helper()
	for {
		size := w.store.Size()
		events, err := w.store.Query(t.Context()).Search(store.Filter{Kind: kind, Limit: 1})
		must(t, err)
		if len(events) > 0 {
			return
		}
		if _, err := w.store.Wait(t.Context(), size); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAGatewayIsOnlyItself: what is another gateway's it can neither see nor end, and what it says
// of sessions must fit their grants.
func TestAGatewayIsOnlyItself(t *testing.T) {
	w := onSQLite(t)
	ctx, other := t.Context(), brevet.Caller{Machine: "gw-2"}
	r, err := w.approve("carol", w.ask("bob", "web-root"), 0)
	must(t, err)
	session := newSession(w, r)
	must(t, w.spine.BeginSession(ctx, gateway, session))

	answer, err := w.spine.Lookup(ctx, other, w.bobsWant("root"))
	must(t, err)
	if len(answer.Bundles) != 0 {
		t.Error("gw-2 is shown a grant of gw-1")
	}
	refused(t, w.spine.Confirm(ctx, other, flow.Closed{Grant: r.Grant}), brevet.NotFound, "no grant")
	refused(t, w.spine.EndSession(ctx, other, session), brevet.NotFound, "no session")
	_, err = w.spine.PutChunks(ctx, other, session.ID, 0, [][]byte{[]byte("forged")})
	refused(t, err, brevet.NotFound, "no session")
	_, err = w.spine.CutRecording(ctx, other, session.ID, 0, "forged")
	refused(t, err, brevet.NotFound, "no session")
	refused(t, w.spine.FollowRequest(ctx, other, string(r.ID), nil), brevet.NotFound, "no request")
	_, err = w.spine.AskInline(ctx, other, w.signed(bySSH(w), w.Gateways["gw-1"].Statements))
	refused(t, err, brevet.Refused, "for gw-1, and you are gw-2")
	forged := bySSH(w)
	forged.Holder = w.Terms("bob", "web-root", "gw-2").Holder
	_, err = w.spine.AskInline(ctx, other, w.signed(forged, w.Gateways["gw-1"].Statements))
	refused(t, err, brevet.Refused, "only for its own")

	for name, change := range map[string]func(*brevet.Session){
		"another's machine": func(s *brevet.Session) { s.Machine = "gw-2" },
		"another's person":  func(s *brevet.Session) { s.Person = "erin" },
		"another target":    func(s *brevet.Session) { s.Target = "db1" },
		"another login":     func(s *brevet.Session) { s.Login = "postgres" },
		"no kind":           func(s *brevet.Session) { s.Kind = "tunnel" },
	} {
		wrong := newSession(w, r)
		change(&wrong)
		if err := w.spine.BeginSession(ctx, gateway, wrong); err == nil {
			t.Errorf("a session with %s began", name)
		}
	}
}

// TestOthersThingsAreHidden: whoever may not know of something learns nothing of it by its id.
func TestOthersThingsAreHidden(t *testing.T) {
	w := onSQLite(t)
	r, err := w.approve("carol", w.ask("bob", "web-root"), 0)
	must(t, err)
	session := newSession(w, r)
	must(t, w.spine.BeginSession(t.Context(), gateway, session))
	erin := w.as("erin")
	same := func(what string, there, not error) {
		t.Helper()
		if brevet.KindOf(there) != brevet.NotFound || brevet.KindOf(not) != brevet.NotFound {
			t.Errorf("%s: there %v, not there %v", what, there, not)
		}
	}
	none := "00000000000000000000000000"
	_, one := w.spine.Request(t.Context(), erin, string(r.ID))
	_, two := w.spine.Request(t.Context(), erin, "req_"+none)
	same("request", one, two)
	_, _, one = w.spine.ExportGrant(t.Context(), erin, string(r.Grant))
	_, _, two = w.spine.ExportGrant(t.Context(), erin, "grt_"+none)
	same("grant", one, two)
	_, one = w.spine.KillSession(t.Context(), erin, string(session.ID), "", 0)
	_, two = w.spine.KillSession(t.Context(), erin, "ses_"+none, "", 0)
	same("session", one, two)
	_, one = w.spine.PlaySession(t.Context(), erin, string(session.ID), nil)
	_, two = w.spine.PlaySession(t.Context(), erin, "ses_"+none, nil)
	same("recording", one, two)
	_, one = w.spine.Revoke(t.Context(), erin, w.revocation("erin", statement.RevokeGrant, string(r.Grant)), 0)
	_, two = w.spine.Revoke(t.Context(), erin, w.revocation("erin", statement.RevokeGrant, "grt_"+none), 0)
	same("revocation", one, two)
	list, _, err := w.spine.Requests(t.Context(), erin, flow.RequestWant{})
	must(t, err)
	if len(list) != 0 {
		t.Errorf("erin's list has %d requests", len(list))
	}
	_, _, err = w.spine.SearchEvents(t.Context(), erin, store.Filter{})
	refused(t, err, brevet.Refused, "you may not")
	people, err := w.spine.People(t.Context(), erin)
	must(t, err)
	if len(people) != 1 {
		t.Errorf("erin sees %d people", len(people))
	}
}

// TestReadingIsAnEvent: searches and exports of the log leave their own event, before they answer.
func TestReadingIsAnEvent(t *testing.T) {
	w := onSQLite(t)
	events, _, err := w.spine.SearchEvents(t.Context(), w.as("frank"), store.Filter{Kind: "audit.searched"})
	must(t, err)
	if len(events) != 1 || events[0].Actor != "frank" {
		t.Errorf("the search does not find itself: %+v", events)
	}
	_, err = w.spine.ExportLog(t.Context(), w.as("frank"), 0, 0, func([]store.Entry) error { return nil })
	must(t, err)
	waitForEvent(t, w, "audit.exported")
}

// TestARequestIsSpentOnce: what was granted is not granted again, by whatever way it is asked for.
func TestARequestIsSpentOnce(t *testing.T) {
	w := onSQLite(t)
	r := w.granted()
	for _, restart := range []bool{false, true} { // after it, nothing is remembered of who asked
		if restart {
			w.restart(nil)
		}
		size := w.store.Size()
		again, err := w.spine.Ask(t.Context(), w.as("bob"), r.Envelope)
		must(t, err)
		if again.Grant != r.Grant || w.count("grant", r) != 1 || w.store.Size() != size {
			t.Errorf("asked again (after a restart: %t): %s, %d grants, %d events more", restart, again.Grant, w.count("grant", r), w.store.Size()-size)
		}
	}
	ev := proof.NewEvidence(must1(statement.Parse(r.Envelope))(t), nil, claimedOf(t, w, r))
	_, err := w.issuer.Prepare(t.Context(), ev)
	refused(t, err, brevet.Conflict, "spent")
}

// TestWhatIsOverByTheLogStaysOut: while the clock is put back, a statement of the roster that is in date by
// the clock and over by the log is refused. Were it let in, the issuer could follow the log no further.
func TestWhatIsOverByTheLogStaysOut(t *testing.T) {
	w := onSQLite(t)
	w.wait(10 * time.Hour) // so that keys and machines are in date before, too
	w.granted()
	w.wait(-3 * time.Hour)
	head, number := w.spine.State().Roster.Head()
	_, _, err := w.spine.AppendRoster(t.Context(), w.as("alice"), w.signed(statement.Retire{
		Header: w.Header(time.Hour), Link: statement.Link{Number: number + 1, Previous: head}, Person: "frank",
		Key: prooftest.Fingerprint(t, w.Keys["frank"].Key()), Since: w.clock().UnixMicro(), Reason: "left",
	}, w.Keys["alice"]))
	refused(t, err, brevet.Refused, "after its end")
	w.wait(3 * time.Hour)
	w.granted()
}
