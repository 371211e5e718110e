package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/store"
	"github.com/brevet-pim/brevet/test/storetest"
)

// change runs fn in a change with one event, and fails the test if that fails.
func change(t testing.TB, s *store.Store, fn func(*store.Tx) error) {
	t.Helper()
	if err := try(t, s, fn); err != nil {
		t.Fatal(err)
	}
}

func try(t testing.TB, s *store.Store, fn func(*store.Tx) error) error {
	t.Helper()
	_, err := s.Change(t.Context(), func(tx *store.Tx) ([]brevet.Event, error) {
		return []brevet.Event{happened("change")}, fn(tx)
	})
	return err
}

func kind(t testing.TB, err error, want brevet.Kind) {
	t.Helper()
	if err == nil || brevet.KindOf(err) != want {
		t.Errorf("got %v (%v), want %v", err, brevet.KindOf(err), want)
	}
}

// request returns the n'th request, asked at a second of its own.
func request(n int) brevet.Request {
	at := day.Add(time.Duration(n) * time.Second)
	digest := [32]byte{byte(n >> 8), byte(n)}
	return brevet.Request{
		ID: brevet.RequestIDOf(at, digest), Statement: fmt.Sprintf("%x", digest), State: brevet.Asked,
		Person: "bob", Role: "web-root", Targets: []brevet.TargetID{"web1", "web2"}, Logins: []string{"root"},
		Duration: 1800, Reason: "disk \"full\"\n%_ ✓", Ticket: "OPS-1", Holder: "gw1", Via: brevet.ViaSSH, Key: "SHA256:abc",
		At: at, Deadline: at.Add(time.Hour), Version: 1,
	}
}

// grantOf returns the grant that the request leads to.
func grantOf(r brevet.Request) brevet.Grant {
	return brevet.Grant{
		ID: r.ID.Grant(), Request: r.ID, Intent: "intent-" + r.Statement, State: brevet.Issuing, Person: r.Person, Role: r.Role,
		Targets: r.Targets, Logins: r.Logins, Holder: r.Holder, From: r.At, To: r.At.Add(30 * time.Minute), Version: 1,
	}
}

func TestRequest(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		r := request(1)
		_, err := s.Change(t.Context(), func(tx *store.Tx) ([]brevet.Event, error) {
			asked := happened("request")
			asked.Kind, asked.Subject, asked.Request, asked.Statement = "request", r.Statement, r.ID, []byte("signed")
			return []brevet.Event{asked}, tx.AddRequest(r)
		})
		if err != nil {
			t.Fatal(err)
		}
		q := s.Query(t.Context())
		for name, get := range map[string]func() (brevet.Request, error){
			"by id":        func() (brevet.Request, error) { return q.Request(r.ID) },
			"by statement": func() (brevet.Request, error) { return q.RequestOf(r.Statement) },
			"by ending":    func() (brevet.Request, error) { return q.FindRequest(string(r.ID)[20:]) },
		} {
			got, err := get()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if diff := cmp.Diff(r, got); diff != "" {
				t.Errorf("%s: (-want +got)\n%s", name, diff)
			}
		}
		_, err = q.Request("req_00000000000000000000000000")
		kind(t, err, brevet.NotFound)
		atOnce := request(2)
		atOnce.State = brevet.Granted
		if err := try(t, s, func(tx *store.Tx) error { return tx.AddRequest(atOnce) }); err != nil {
			t.Fatal(err)
		}
		_, err = q.RequestOf(atOnce.Statement) // nobody is to answer it
		kind(t, err, brevet.NotFound)
		kind(t, try(t, s, func(tx *store.Tx) error { return tx.AddRequest(r) }), brevet.Conflict)

		next := r
		next.State, next.Deadline, next.Why = brevet.Waiting, r.Deadline.Add(time.Hour), "because"
		next.Decision = brevet.Decision{Outcome: brevet.Ask, Reasons: []string{"people must agree"}, Stages: []brevet.Stage{{Group: "sre-leads", Count: 1}, {Group: "security", Count: 2}}}
		change(t, s, func(tx *store.Tx) error {
			got, err := tx.UpdateRequest(next)
			next.Version = 2
			if diff := cmp.Diff(next, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			return err
		})
		for _, tt := range []struct {
			name   string
			groups []brevet.GroupName
			want   int
		}{
			{"first stage", []brevet.GroupName{"sre-leads"}, 1},
			{"second stage, and a group of no use", []brevet.GroupName{"dev", "security"}, 1},
			{"another group", []brevet.GroupName{"dev"}, 0},
			{"no group at all", []brevet.GroupName{}, 0},
			{"whoever", nil, 1},
		} {
			got, err := q.Requests(store.RequestFilter{Groups: tt.groups, State: brevet.Waiting})
			if err != nil || len(got) != tt.want {
				t.Errorf("%s: %d requests, %v; want %d", tt.name, len(got), err, tt.want)
			}
		}
	})
}

// TestRequestMoves tries every move on a real row: the table of the vocabulary decides.
func TestRequestMoves(t *testing.T) {
	paths := map[brevet.RequestState][]brevet.RequestState{
		brevet.Asked: {}, brevet.Waiting: {brevet.Waiting}, brevet.Ready: {brevet.Ready},
		brevet.Granted: {brevet.Ready, brevet.Granted}, brevet.Denied: {brevet.Denied},
		brevet.Cancelled: {brevet.Cancelled}, brevet.Lapsed: {brevet.Waiting, brevet.Lapsed},
	}
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		n := 0
		for _, from := range brevet.RequestStates() {
			for _, to := range brevet.RequestStates() {
				n++
				r := request(n)
				change(t, s, func(tx *store.Tx) (err error) {
					if err := tx.AddRequest(r); err != nil {
						return err
					}
					for _, state := range paths[from] {
						r.State = state
						if r, err = tx.UpdateRequest(r); err != nil {
							return err
						}
					}
					return nil
				})
				err := try(t, s, func(tx *store.Tx) error {
					next := r
					next.State = to
					_, err := tx.UpdateRequest(next)
					return err
				})
				may := from.May(to) || from == to && !from.Final()
				if (err == nil) != may {
					t.Errorf("%s → %s: %v, want allowed %v", from, to, err, may)
				}
				if err != nil {
					kind(t, err, brevet.Conflict)
				}
			}
		}
	})
}

func TestVersions(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		r := request(1)
		change(t, s, func(tx *store.Tx) error { return tx.AddRequest(r) })
		r.State = brevet.Waiting
		change(t, s, func(tx *store.Tx) error { _, err := tx.UpdateRequest(r); return err })
		r.State = brevet.Cancelled // decided on what was read before
		kind(t, try(t, s, func(tx *store.Tx) error { _, err := tx.UpdateRequest(r); return err }), brevet.Conflict)
	})
}

func TestStatesAreThoseOfTheVocabulary(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		// A state that the tables lack would fail its foreign key in the moves test; this holds
		// the other direction, and the grant's.
		for i, state := range brevet.GrantStates() {
			r := request(i)
			change(t, s, func(tx *store.Tx) error {
				if err := tx.AddRequest(r); err != nil {
					return err
				}
				g := grantOf(r)
				if err := tx.AddGrant(g); err != nil {
					return err
				}
				var err error
				for _, next := range []brevet.GrantState{brevet.Live, brevet.Ending, brevet.Ended} {
					if i == 0 || err != nil {
						break
					}
					if g.State = next; slices.Index(brevet.GrantStates(), next) <= i {
						g, err = tx.UpdateGrant(g)
						g.State = next
					}
				}
				return err
			})
			got, err := s.Query(t.Context()).Grant(r.ID.Grant())
			if err != nil || got.State != state {
				t.Errorf("grant is %s, %v; want %s", got.State, err, state)
			}
		}
	})
}

func TestGrant(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		r := request(1)
		g := grantOf(r)
		change(t, s, func(tx *store.Tx) error {
			if err := tx.AddRequest(r); err != nil {
				return err
			}
			return tx.AddGrant(g)
		})
		q := s.Query(t.Context())
		got, err := q.Grant(g.ID)
		if diff := cmp.Diff(g, got); err != nil || diff != "" {
			t.Fatalf("%v (-want +got)\n%s", err, diff)
		}
		if got, err := q.FindGrant(string(g.ID)[24:]); err != nil || got.ID != g.ID {
			t.Errorf("by its ending: %v, %v", got.ID, err)
		}

		live := g
		live.State, live.Statement = brevet.Live, "statement"
		cred := brevet.Credential{Kind: "ssh-certificate", Serial: 1<<64 - 1, Public: []byte{0, 1, 2}, To: live.To}
		late, endless := cred, cred
		late.To, endless.To = live.To.Add(time.Microsecond), time.Time{}
		for _, wrong := range []brevet.Credential{late, endless, {}} {
			kind(t, try(t, s, func(tx *store.Tx) error { return tx.GiveGrant(live, wrong) }), brevet.Invalid)
		}
		_, err = q.Credential(g.ID)
		kind(t, err, brevet.NotFound)
		change(t, s, func(tx *store.Tx) error { return tx.GiveGrant(live, cred) })
		live.Version++
		kind(t, try(t, s, func(tx *store.Tx) error { return tx.GiveGrant(live, cred) }), brevet.Conflict)
		if got, err := q.Credential(g.ID); err != nil || !cmp.Equal(got, cred) {
			t.Errorf("credential %+v, %v", got, err)
		}
		longer := live
		longer.To = live.To.Add(time.Second)
		kind(t, try(t, s, func(tx *store.Tx) error { _, err := tx.UpdateGrant(longer); return err }), brevet.Conflict)

		for _, tt := range []struct {
			now  time.Time
			want int
		}{{live.To.Add(-time.Microsecond), 0}, {live.To, 1}, {live.To.Add(time.Hour), 1}} {
			due, err := q.GrantsDue(tt.now, 10)
			if err != nil || len(due) != tt.want {
				t.Errorf("due at %v: %d, %v; want %d", tt.now, len(due), err, tt.want)
			}
		}
		if at, err := q.NextEnd(); err != nil || !at.Equal(live.To) {
			t.Errorf("next end %v, %v", at, err)
		}

		change(t, s, func(tx *store.Tx) error {
			live.State, live.EndedAt, live.EndedBy, live.EndReason = brevet.Ending, day.Add(time.Minute), "alice", "enough"
			if live, err = tx.UpdateGrant(live); err != nil {
				return err
			}
			first, err := tx.Confirm(store.Confirmation{Grant: g.ID, Machine: "gw1", At: day.Add(time.Minute)})
			if err != nil {
				return err
			}
			second, err := tx.Confirm(store.Confirmation{Grant: g.ID, Machine: "gw1", At: day.Add(time.Hour)})
			if !first || second {
				t.Errorf("news: %v, %v", first, second)
			}
			return err
		})
		if got, err := q.Confirmations(g.ID); err != nil || len(got) != 1 || !got[0].At.Equal(day.Add(time.Minute)) {
			t.Errorf("confirmations %v, %v", got, err)
		}
		if due, err := q.GrantsDue(live.To, 10); err != nil || len(due) != 0 {
			t.Errorf("an ending grant is due: %v, %v", due, err)
		}
		if at, err := q.NextEnd(); err != nil || !at.IsZero() {
			t.Errorf("next end %v, %v", at, err)
		}
		_, err = q.Credential(g.ID) // erased with the grant's life
		kind(t, err, brevet.NotFound)
	})
}

func TestGrantNeedsAnEnd(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		r := request(1)
		change(t, s, func(tx *store.Tx) error { return tx.AddRequest(r) })
		for name, to := range map[string]time.Time{"none": {}, "at its beginning": r.At, "before it": r.At.Add(-time.Hour)} {
			g := grantOf(r)
			g.To = to
			if err := try(t, s, func(tx *store.Tx) error { return tx.AddGrant(g) }); brevet.KindOf(err) != brevet.Invalid {
				t.Errorf("end %s: %v", name, err)
			}
		}
	})
}

func TestOneGrantARequest(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		r := request(1)
		change(t, s, func(tx *store.Tx) error {
			if err := tx.AddRequest(r); err != nil {
				return err
			}
			return tx.AddGrant(grantOf(r))
		})
		second := grantOf(r)
		second.ID, second.Intent = "grt_00000000000000000000000000", "another"
		kind(t, try(t, s, func(tx *store.Tx) error { return tx.AddGrant(second) }), brevet.Invalid)
	})
}

func TestApprovals(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		r := request(1)
		yes := brevet.Approval{Statement: "s1", Request: r.ID, By: "alice", Stage: 0, Agreed: true, Duration: 900, Comment: "ok", Presence: brevet.TouchPresence, Key: "SHA256:x", At: day}
		no := brevet.Approval{Statement: "s2", Request: r.ID, By: "alice", Stage: -1, At: day.Add(time.Second)}
		change(t, s, func(tx *store.Tx) error {
			if err := tx.AddRequest(r); err != nil {
				return err
			}
			if err := tx.AddApproval(yes); err != nil {
				return err
			}
			return tx.AddApproval(no)
		})
		got, err := s.Query(t.Context()).Approvals(r.ID)
		if diff := cmp.Diff([]brevet.Approval{yes, no}, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got)\n%s", err, diff)
		}
		again := yes
		again.Statement = "s3"
		kind(t, try(t, s, func(tx *store.Tx) error { return tx.AddApproval(again) }), brevet.Conflict)
	})
}

func TestListsArePaged(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		var ids []brevet.RequestID
		for n := range 7 {
			r := request(n)
			if n%2 == 1 {
				r.Person = "carol"
			}
			ids = append(ids, r.ID)
			change(t, s, func(tx *store.Tx) error { return tx.AddRequest(r) })
		}
		for _, newest := range []bool{false, true} {
			var got []brevet.RequestID
			page := store.Page{Limit: 3}
			for {
				list, err := s.Query(t.Context()).Requests(store.RequestFilter{Newest: newest, Open: true, Page: page})
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range list {
					got = append(got, r.ID)
				}
				if len(list) < 3 {
					break
				}
				page.After = string(list[2].ID)
			}
			if newest {
				slices.Reverse(got)
			}
			if diff := cmp.Diff(ids, got); diff != "" {
				t.Errorf("newest %v: (-want +got)\n%s", newest, diff)
			}
		}
		q := s.Query(t.Context())
		if n, err := q.CountOpen("carol"); n != 3 || err != nil {
			t.Errorf("carol has %d open, %v", n, err)
		}
		if n, err := q.CountSince("bob", day.Add(3*time.Second)); n != 2 || err != nil {
			t.Errorf("bob asked %d times, %v", n, err)
		}
		if due, err := q.RequestsDue(day.Add(time.Hour+2*time.Second), 10); len(due) != 3 || err != nil {
			t.Errorf("%d are due, %v", len(due), err)
		}
		_, err := q.FindRequest("0") // how every id of this test ends
		kind(t, err, brevet.Conflict)
		for _, ending := range []string{"", "%", "REQ", "a'b"} {
			if _, err := q.FindRequest(ending); err == nil {
				t.Errorf("found a request by %q", ending)
			}
		}
	})
}

func TestSession(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		r := request(1)
		one := brevet.Session{ID: "ses_00000000000000000000000001", Grant: r.ID.Grant(), Person: "bob", Target: "web1", Login: "root", Machine: "gw1",
			Source: "192.0.2.1", Kind: "exec", Command: "id", Recorded: true, StartedAt: day}
		two := one
		two.ID, two.Machine = "ses_00000000000000000000000002", "gw2"
		change(t, s, func(tx *store.Tx) error {
			if err := tx.AddRequest(r); err != nil {
				return err
			}
			if err := tx.AddGrant(grantOf(r)); err != nil {
				return err
			}
			if err := tx.AddSession(one); err != nil {
				return err
			}
			return tx.AddSession(two)
		})
		q := s.Query(t.Context())
		if got, err := q.Session(one.ID); err != nil || !cmp.Equal(got, one) {
			t.Errorf("%v %s", err, cmp.Diff(one, got))
		}
		if n, err := q.CountLive(); n != 2 || err != nil {
			t.Errorf("%d live, %v", n, err)
		}
		sealed := brevet.RecordingState{Chunks: 2, Bytes: 300, Root: "root", Complete: true}
		change(t, s, func(tx *store.Tx) error {
			if err := tx.EndSession(one.ID, day.Add(time.Minute), "left"); err != nil {
				return err
			}
			return tx.SetRecording(one.ID, sealed)
		})
		kind(t, try(t, s, func(tx *store.Tx) error { return tx.EndSession(one.ID, day.Add(time.Hour), "revoked") }), brevet.Conflict)
		kind(t, try(t, s, func(tx *store.Tx) error { return tx.SetRecording(one.ID, brevet.RecordingState{}) }), brevet.Conflict)
		kind(t, try(t, s, func(tx *store.Tx) error { return tx.EndSession("ses_none", day, "x") }), brevet.NotFound)
		one.EndedAt, one.EndReason, one.Recording = day.Add(time.Minute), "left", sealed
		if got, err := q.Session(one.ID); err != nil || !cmp.Equal(got, one) {
			t.Errorf("%v %s", err, cmp.Diff(one, got))
		}
		live, err := q.Sessions(store.SessionFilter{Live: true, Grant: r.ID.Grant()})
		if err != nil || len(live) != 1 || live[0].ID != two.ID {
			t.Errorf("live: %v, %v", live, err)
		}

		c := store.Chunk{Session: one.ID, Number: 0, SHA256: "aa", Size: 10}
		for i, want := range []bool{true, false} {
			err := s.Work(t.Context(), func(w *store.Work) error {
				news, err := w.AddChunk(c)
				if news != want {
					t.Errorf("time %d: news %v", i, news)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		c.SHA256 = "bb"
		err = s.Work(t.Context(), func(w *store.Work) error { _, err := w.AddChunk(c); return err })
		kind(t, err, brevet.Conflict)
		if got, err := q.Chunks(one.ID); err != nil || len(got) != 1 || got[0].SHA256 != "aa" {
			t.Errorf("chunks %v, %v", got, err)
		}
	})
}

func TestInvitation(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		i := store.Invitation{Code: "c1", Person: "dan", Kind: brevet.Person, Uses: []string{"request"}, Groups: []brevet.GroupName{"sre"},
			CreatedBy: "alice", CreatedAt: day, ExpiresAt: day.Add(time.Hour)}
		change(t, s, func(tx *store.Tx) error { return tx.AddInvitation(i) })
		q := s.Query(t.Context())
		if got, err := q.Invitation("c1"); err != nil || !cmp.Equal(got, i) {
			t.Errorf("%v %s", err, cmp.Diff(i, got))
		}
		_, err := q.Invitation("c2")
		kind(t, err, brevet.NotFound)
		answer := func(at time.Time) error {
			return try(t, s, func(tx *store.Tx) error { return tx.AnswerInvitation("c1", "ssh-ed25519 AAAA", "sig", at) })
		}
		kind(t, answer(i.ExpiresAt), brevet.Conflict) // too late by nothing
		if err := answer(day.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		kind(t, answer(day.Add(time.Minute)), brevet.Conflict) // used
		if err := s.Work(t.Context(), func(w *store.Work) error {
			n, err := w.MissInvitation("c1")
			if n != 1 {
				t.Errorf("%d misses", n)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		change(t, s, func(tx *store.Tx) error { return tx.CloseInvitation("c1", "statement", day.Add(time.Hour)) })
		kind(t, try(t, s, func(tx *store.Tx) error { return tx.CloseInvitation("c1", "other", day) }), brevet.Conflict)
		if open, err := q.OpenInvitations(10); err != nil || len(open) != 0 {
			t.Errorf("open: %v, %v", open, err)
		}
		endless := i
		endless.Code, endless.ExpiresAt = "c3", time.Time{}
		kind(t, try(t, s, func(tx *store.Tx) error { return tx.AddInvitation(endless) }), brevet.Invalid)
	})
}

func TestToken(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		for _, hash := range []string{"t1", "t2", "t3"} {
			change(t, s, func(tx *store.Tx) error { return tx.AddToken(token(hash)) })
		}
		_, err := s.Query(t.Context()).Token("other")
		kind(t, err, brevet.Unauthenticated)
		change(t, s, func(tx *store.Tx) error {
			if good, err := tx.RevokeToken("t1", day.Add(time.Minute)); err != nil || !good {
				t.Errorf("t1 was good: %v, %v", good, err)
			}
			if good, err := tx.RevokeToken("t1", day.Add(time.Hour)); err != nil || good {
				t.Errorf("t1 was good twice: %v, %v", good, err)
			}
			n, err := tx.RevokeTokens("bob", day.Add(2*time.Minute))
			if n != 2 {
				t.Errorf("%d tokens were good", n)
			}
			return err
		})
		got, err := s.Query(t.Context()).Token("t1")
		if err != nil || !got.RevokedAt.Equal(day.Add(time.Minute)) {
			t.Errorf("%+v, %v", got, err)
		}
		endless := token("t4")
		endless.ExpiresAt = time.Time{}
		kind(t, try(t, s, func(tx *store.Tx) error { return tx.AddToken(endless) }), brevet.Invalid)
	})
}

func TestManifest(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		var digest string
		for range 2 {
			change(t, s, func(tx *store.Tx) (err error) { digest, err = tx.PutManifest([]byte(`{"roles":[]}`)); return err })
		}
		got, err := s.Query(t.Context()).Manifest(digest)
		if err != nil || string(got) != `{"roles":[]}` {
			t.Errorf("%q, %v", got, err)
		}
		_, err = s.Query(t.Context()).Manifest("00")
		kind(t, err, brevet.NotFound)
	})
}

func TestReadSeesOneMoment(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		log(t, s, "a")
		err := s.Read(t.Context(), func(q *store.Query) error {
			_, before, err := q.Checkpoint()
			if err != nil {
				return err
			}
			log(t, s, "b")
			_, after, err := q.Checkpoint()
			if before != 1 || after != 1 {
				t.Errorf("the log had %d events, then %d", before, after)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// TestWhatIsOpenIsNotHiddenByWhatIsOver: a page of what is open is full of it, however much came after it.
func TestWhatIsOpenIsNotHiddenByWhatIsOver(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		for n := range 13 {
			r := request(n)
			if n > 0 {
				r.State = brevet.Granted
			}
			if err := try(t, s, func(tx *store.Tx) error {
				if err := tx.AddRequest(r); err != nil || n > 1 {
					return err
				}
				return tx.AddGrant(grantOf(r))
			}); err != nil {
				t.Fatal(err)
			}
		}
		q := s.Query(t.Context())
		requests, err := q.Requests(store.RequestFilter{States: []brevet.RequestState{brevet.Asked, brevet.Waiting}, Newest: true, Page: store.Page{Limit: 2}})
		if err != nil || len(requests) != 1 || requests[0].ID != request(0).ID {
			t.Errorf("%+v, %v", requests, err)
		}
		grants, err := q.Grants(store.GrantFilter{States: []brevet.GrantState{brevet.Issuing, brevet.Ended}, Newest: true})
		if err != nil || len(grants) != 2 {
			t.Errorf("%+v, %v", grants, err)
		}
	})
}
