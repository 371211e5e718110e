package gateway

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/statement"
)

// plane is a control plane that knows one grant of bob's.
type plane struct {
	Control // what is not written below is not called

	mu        sync.Mutex // guards what follows
	admission Admission
	away      error
	begun     []brevet.Session
	ended     []brevet.Session
	refused   []Refusal
}

func (p *plane) Lookup(context.Context, Want) (Answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Answer{Person: "bob", Bundles: [][]byte{[]byte("proof")}}, p.away
}

func (p *plane) Verify(context.Context, []byte, Want) (Admission, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.admission, nil
}

func (p *plane) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *plane) Begin(_ context.Context, s brevet.Session) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away == nil {
		p.begun = append(p.begun, s)
	}
	return p.away
}

func (p *plane) End(_ context.Context, s brevet.Session) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away == nil {
		p.ended = append(p.ended, s)
	}
	return p.away
}

func (p *plane) Refused(_ context.Context, r Refusal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away == nil {
		p.refused = append(p.refused, r)
	}
	return p.away
}

func signer(t *testing.T) gossh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := gossh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// start makes a gateway before whom bob holds a grant for so long. It runs until the test ends.
func start(t *testing.T, lasts time.Duration, change func(*Admission)) (*Gateway, *plane) {
	t.Helper()
	holder := signer(t)
	now := time.Now()
	a := Admission{
		Grant: "grt_1", Person: "bob", Target: brevet.Target{ID: "web1"}, Login: "root", From: now, To: now.Add(lasts),
		Role: brevet.Role{Name: "web-root", Recording: brevet.RecordingOff},
		Certificate: &gossh.Certificate{
			Key: holder.PublicKey(), CertType: gossh.UserCert, ValidPrincipals: []string{"web1/root"}, ValidBefore: uint64(now.Add(lasts).Unix()),
		},
	}
	if change != nil {
		change(&a)
	}
	p := &plane{admission: a}
	g := &Gateway{Machine: "gw-1", Control: p, Verifier: p, Holder: holder, Log: slog.New(slog.DiscardHandler)}
	return g, p
}

var want = Want{Target: "web1", Login: "root", Key: "SHA256:x", Source: netip.MustParseAddr("192.0.2.7")}

// begin looks the grant up and opens a session on it.
func begin(t *testing.T, g *Gateway) *Session {
	t.Helper()
	s, err := tryBegin(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tryBegin(ctx context.Context, g *Gateway) (*Session, error) {
	standing, err := g.Lookup(ctx, want)
	if err != nil {
		return nil, err
	}
	if len(standing.Admissions) != 1 {
		return nil, brevet.Errorf(brevet.Refused, "%s", standing.Refusal)
	}
	return g.Begin(ctx, standing.Admissions[0], Use{Kind: "shell", Source: want.Source})
}

// run keeps the gateway running in a bubble, and ends it with the test.
func run(t *testing.T, g *Gateway) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func TestGrantEndsItsSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, p := start(t, 15*time.Minute, nil)
		run(t, g)
		s := begin(t, g)
		p.change(func() { p.away = errors.New("gone") }) // the end needs nobody
		time.Sleep(15*time.Minute - time.Millisecond)
		synctest.Wait()
		if err := s.Context().Err(); err != nil {
			t.Fatalf("over a millisecond early: %v", context.Cause(s.Context()))
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if cause := context.Cause(s.Context()); cause == nil || !strings.Contains(cause.Error(), "your grant ended at") {
			t.Errorf("at the end: %v", cause)
		}
		s.Finish("hung up")
		p.change(func() { p.away = nil })
		if _, err := tryBegin(t.Context(), g); err == nil {
			t.Error("it begins again with the same proof")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(p.ended) != 1 || !strings.Contains(p.ended[0].EndReason, "your grant ended at") {
			t.Errorf("once the control plane is back it hears %+v", p.ended)
		}
	})
}

func TestEndIsTheEarlierOfTwoClocks(t *testing.T) {
	first := time.Now().Round(0)
	to := first.Add(time.Hour)
	tests := []struct {
		name          string
		elapsed, wall time.Duration
		over          bool
	}{
		{"just begun", 0, 0, false},
		{"a moment before", time.Hour - 1, time.Hour - 1, false},
		{"the end", time.Hour, time.Hour, true},
		{"the wall clock was set back an hour", time.Hour, 0, true},
		{"the wall clock was set forward an hour", time.Minute, time.Hour + time.Minute, true},
		{"the machine slept", time.Minute, 2 * time.Hour, true},
		{"the wall clock was set back, before the end", 30 * time.Minute, -30 * time.Minute, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := over(to, first, first.Add(tt.wall), tt.elapsed); got != tt.over {
				t.Errorf("over: %v", got)
			}
		})
	}
}

func TestIdleSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := start(t, time.Hour, func(a *Admission) { a.Role.Limits.Idle = 60 })
		run(t, g)
		s := begin(t, g)
		for range 5 { // either side keeps it up
			time.Sleep(50 * time.Second)
			s.Output(record.Stdout, []byte("x"))
			time.Sleep(50 * time.Second)
			s.Input([]byte("x"))
		}
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if s.Context().Err() != nil {
			t.Fatal("over early")
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if cause := context.Cause(s.Context()); cause == nil || !strings.Contains(cause.Error(), "nothing happened for 1m0s") {
			t.Errorf("it ended with %v", cause)
		}
		s.Finish("")
	})
}

// TestSessionsAreListedWhileTheyEnd is for the race detector: a gateway that comes back to its control plane
// says which sessions it has.
func TestSessionsAreListedWhileTheyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, p := start(t, time.Hour, nil)
		run(t, g)
		s := begin(t, g)
		began, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			close(began)
			for live := g.Sessions(); len(live) > 0; live = g.Sessions() {
				if !live[0].EndedAt.IsZero() || live[0].EndReason != "" {
					t.Errorf("live, and over: %+v", live[0])
				}
			}
		}()
		<-began
		s.Finish("exit 0")
		<-done
		synctest.Wait()
		if len(p.ended) != 1 || p.ended[0].EndReason != "exit 0" || p.ended[0].EndedAt.IsZero() || len(g.Sessions()) != 0 {
			t.Errorf("reported %+v, left %v", p.ended, g.Sessions())
		}
	})
}

// Somebody who keeps a connection open begins new sessions only while the issuer's word is fresh.
func TestOldProofIsProvenAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, p := start(t, time.Hour, nil)
		standing, err := g.Lookup(t.Context(), want)
		if err != nil {
			t.Fatal(err)
		}
		again := func() error {
			s, err := g.Begin(t.Context(), standing.Admissions[0], Use{Source: want.Source})
			if err == nil {
				s.Finish("")
			}
			return err
		}
		time.Sleep(10 * time.Minute)
		if err := again(); err != nil {
			t.Errorf("with a new proof: %v", err)
		}
		p.change(func() { p.admission.Grant = "grt_2" }) // the one before is proven no more
		if err := again(); brevet.KindOf(err) != brevet.Refused {
			t.Errorf("without a proof: %v", err)
		}
		p.change(func() { p.away = errors.New("gone") })
		if err := again(); brevet.KindOf(err) != brevet.Unavailable {
			t.Errorf("without the control plane: %v", err)
		}
		time.Sleep(time.Hour) // the grant's own timer
	})
}

func TestEndsAreRememberedAndConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, p := start(t, time.Hour, nil)
		run(t, g)
		first, second := begin(t, g), begin(t, g)
		go func() {
			<-first.Context().Done()
			time.Sleep(20 * time.Millisecond)
			first.Finish("")
		}()
		closed := g.EndSession(t.Context(), first.ID, "alice ended this session")
		if !closed.All || !slices.Equal(closed.Sessions, []brevet.SessionID{first.ID}) || closed.Took != 20*time.Millisecond || second.Context().Err() != nil {
			t.Errorf("the first session: %+v", closed)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if closed := g.EndGrant(ctx, "grt_1", "drill"); closed.All || len(closed.Sessions) != 0 {
			t.Errorf("the second does not close, and %+v is confirmed", closed)
		}
		second.Finish("")
		if closed := g.EndGrant(t.Context(), "grt_1", "drill"); !closed.All || len(closed.Sessions) != 0 {
			t.Errorf("ordered again: %+v", closed)
		}
		if _, err := tryBegin(t.Context(), g); err == nil || !strings.Contains(err.Error(), "drill") {
			t.Errorf("afterwards: %v", err)
		}
		// An order for a grant that was never used here is kept, too: its proof may come later.
		if closed := g.EndGrant(t.Context(), "grt_9", "drill"); !closed.All {
			t.Errorf("unseen: %+v", closed)
		}
		p.change(func() { p.admission.Grant = "grt_9" })
		if _, err := tryBegin(t.Context(), g); err == nil || !strings.Contains(err.Error(), "drill") {
			t.Errorf("a proof of a grant that ended unseen: %v", err)
		}
		if len(g.Sessions()) != 0 {
			t.Errorf("live: %+v", g.Sessions())
		}
	})
}

func TestGrantsAreForgottenLongAfterTheirEnd(t *testing.T) {
	g, _ := start(t, time.Hour, nil)
	begin(t, g).Finish("")
	g.EndGrant(t.Context(), "grt_1", "used")
	g.EndGrant(t.Context(), "grt_9", "never used here")
	for _, tt := range []struct {
		after time.Duration
		kept  int
	}{{time.Hour + remembered - time.Minute, 2}, {time.Hour + remembered + time.Minute, 1}, {40 * 24 * time.Hour, 0}} {
		g.sweep(time.Now().Add(tt.after))
		if len(g.grants) != tt.kept {
			t.Errorf("%d are kept after %v, want %d", len(g.grants), tt.after, tt.kept)
		}
	}
}

// A shutdown waits for the ends of sessions, and reports them.
func TestShutdownReportsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, p := start(t, time.Hour, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); g.Run(ctx) }()
		s := begin(t, g)
		go func() {
			<-s.Context().Done()
			s.Closed()
			time.Sleep(time.Second) // the recording is completed
			s.Finish("")
		}()
		cancel()
		<-done
		if len(p.ended) != 1 || p.ended[0].EndReason != "the gateway is shutting down" {
			t.Errorf("reported %+v", p.ended)
		}
		if _, err := tryBegin(t.Context(), g); brevet.KindOf(err) != brevet.Unavailable {
			t.Errorf("afterwards: %v", err)
		}
		time.Sleep(time.Hour)
	})
}

func TestOnlyWhatWasWantedIsAdmitted(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Admission)
		says   string
	}{
		{"another person's", func(a *Admission) { a.Person = "eve" }, "grant grt_1 is for eve"},
		{"another target", func(a *Admission) { a.Target.ID = "web2" }, "on web2"},
		{"another login", func(a *Admission) { a.Login = "deploy" }, "as deploy"},
		{"over", func(a *Admission) { a.To = time.Now().Add(-time.Second) }, "outlives"},
		{"no certificate", func(a *Admission) { a.Certificate = nil }, "is missing"},
		{"no principal", func(a *Admission) { a.Certificate.ValidPrincipals = nil }, "another target or login"},
		{"any principal", func(a *Admission) { a.Certificate.ValidPrincipals = []string{"*"} }, "another target or login"},
		{"for ever", func(a *Admission) { a.Certificate.ValidBefore = gossh.CertTimeInfinity }, "outlives"},
		{"a command forced", func(a *Admission) { a.Certificate.CriticalOptions = map[string]string{"force-command": "id"} }, "force-command"},
		{"unknown option", func(a *Admission) { a.Certificate.CriticalOptions = map[string]string{"verify-required": ""} }, "verify-required"},
		{"another source", func(a *Admission) { a.Role.SSH.SourceAddresses = []string{"10.0.0.0/8"} }, "may not be used from 192.0.2.7"},
		{"a range that is none", func(a *Admission) { a.Role.SSH.SourceAddresses = []string{"192.0.2.7"} }, "not a range"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, p := start(t, time.Hour, tt.change)
			standing, err := g.Lookup(t.Context(), want)
			if err != nil || len(standing.Admissions) != 0 || !strings.Contains(standing.Refusal, tt.says) {
				t.Errorf("got %+v, %v, want a refusal that says %q", standing, err, tt.says)
			}
			if _, err := g.Begin(t.Context(), p.admission, Use{Source: want.Source}); err == nil {
				t.Error("a session begins without an admission")
			}
		})
	}
}

func TestOffersForOtherThingsAreLeftOut(t *testing.T) {
	g, _ := start(t, time.Hour, nil)
	g.Control = offering{}
	standing, err := g.Lookup(t.Context(), want)
	if err != nil || len(standing.Offers) != 1 || standing.Offers[0].Role != "fits" {
		t.Errorf("got %+v, %v", standing, err)
	}
}

type offering struct{ Control }

func (offering) Lookup(context.Context, Want) (Answer, error) {
	terms := func(target brevet.TargetID, login string) statement.Terms {
		return statement.Terms{Targets: []brevet.TargetID{target}, Logins: []string{login}}
	}
	return Answer{Person: "bob", Offers: []Offer{
		{Role: "elsewhere", Terms: terms("web2", "root")}, {Role: "fits", Terms: terms("web1", "root")}, {Role: "other", Terms: terms("web1", "deploy")},
	}}, nil
}

// A flood of refusals is told of as one number, and a control plane that is away hears it later.
func TestRefusalsAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, p := start(t, time.Hour, nil)
		run(t, g)
		p.change(func() { p.away = brevet.Errorf(brevet.Unavailable, "away") })
		for range 100 {
			g.Refuse(Refusal{What: "direct-tcpip", Person: "bob"})
		}
		g.Refuse(Refusal{What: "host-key", Person: "bob"})
		time.Sleep(time.Minute)
		p.change(func() { p.away = nil })
		time.Sleep(time.Minute)
		g.Refuse(Refusal{What: "direct-tcpip", Person: "bob"})
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(p.refused) != maxReported+2 {
			t.Errorf("%d were reported", len(p.refused))
		}
		if last := p.refused[len(p.refused)-1]; last.Unreported != 100-maxReported || last.Machine != "gw-1" {
			t.Errorf("the last says %+v", last)
		}
	})
}

// A report that is refused for good does not keep the others, nor does one that fails each time.
func TestOneReportDoesNotKeepOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, p := start(t, time.Hour, nil)
		run(t, g)
		tries := 0
		g.report(func(context.Context) error { tries++; return errors.New("a bug of the server") })
		g.report(func(context.Context) error { return brevet.Errorf(brevet.NotFound, "no such session") })
		g.Refuse(Refusal{What: "login"})
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(p.refused) != 1 || tries < 3 {
			t.Errorf("%d reported after %d tries", len(p.refused), tries)
		}
	})
}
