package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/api/dial"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// resuming is a visitor whose connections are resumed, and who tells so.
func (w *world) resuming(certificate tls.Certificate, token string) (visitor, *connections) {
	w.t.Helper()
	made := &connections{}
	config := dial.Config(w.pin, &certificate, strings.Split(w.address, ":")[0])
	config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	w.t.Cleanup(transport.CloseIdleConnections)
	return visitor{&http.Client{Transport: made.watch(transport)}, w, token}, made
}

// connections counts handshakes.
type connections struct {
	mu            sync.Mutex // guards what follows
	full, resumed int
	forget        func() // closes what is open
}

func (c *connections) watch(t *http.Transport) http.RoundTripper {
	c.forget = t.CloseIdleConnections
	return traced(func(r *http.Request) (*http.Response, error) {
		trace := &httptrace.ClientTrace{TLSHandshakeDone: func(s tls.ConnectionState, err error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if s.DidResume {
				c.resumed++
			} else {
				c.full++
			}
		}}
		return t.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	})
}

type traced func(*http.Request) (*http.Response, error)

func (f traced) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestOldTrustIsOver (Q25): a gateway that is no longer of the roster and a person who is suspended are
// nobody at once, on the connection that they have and on one that their TLS session is resumed in.
func TestOldTrustIsOver(t *testing.T) {
	p := newPlane(t)
	bob := p.login("bob")
	ofBob, ofGateway := certificateOf(t, bob.Client), certificateOf(t, p.gateways["gw-1"].Client)
	person, hisConnections := p.resuming(ofBob, bob.token)
	gateway, itsConnections := p.resuming(ofGateway, "")
	visits := []struct {
		name string
		as   visitor
		to   *connections
		call string
	}{
		{"bob", person, hisConnections, brevetv1connect.AuthServiceWhoAmIProcedure},
		{"gw-1", gateway, itsConnections, brevetv1connect.GatewayServiceGetChainsProcedure},
	}
	for _, v := range visits {
		for n := range 2 {
			if status, answer := v.as.post(v.call, asJSON, "{}"); status != http.StatusOK {
				t.Fatalf("%s: %d %s", v.name, status, answer)
			}
			if n == 0 {
				v.to.forget()
			}
		}
		if v.to.resumed != 1 {
			t.Fatalf("%s: %d full handshakes, %d resumed: this shows nothing", v.name, v.to.full, v.to.resumed)
		}
	}

	alice := p.login("alice")
	p.Now = time.Now().UTC()
	head, number := p.spine.State().Roster.Head()
	m := p.Gateways["gw-1"].Machine
	m.Header, m.Link, m.Keys, m.Addresses = p.header(), statement.Link{Number: number + 1, Previous: head}, []statement.MachineKey{}, []string{}
	m.Targets = brevet.Selector{Labels: map[string]string{}, Names: []brevet.TargetID{}}
	_, err := alice.people().AppendRoster(t.Context(), &pb.AppendRosterRequest{Statement: p.signed(m, p.Keys["alice"])})
	must(t, err)
	suspension := statement.Revocation{Header: p.header(), By: "alice", What: statement.RevokePerson, Subject: "bob", Reason: "left"}
	_, err = alice.people().Suspend(t.Context(), &pb.SuspendRequest{Statement: p.signed(suspension, p.Keys["alice"])})
	must(t, err)

	for _, v := range visits {
		if status, answer := v.as.post(v.call, asJSON, "{}"); status != http.StatusUnauthorized {
			t.Errorf("%s, on the same connection: %d %s", v.name, status, answer)
		}
		v.to.forget()
		if status, answer := v.as.post(v.call, asJSON, "{}"); status != http.StatusUnauthorized {
			t.Errorf("%s, resumed: %d %s", v.name, status, answer)
		}
		if v.to.resumed != 2 {
			t.Errorf("%s: the last connection was not resumed", v.name)
		}
	}
}

// certificateOf is what a client shows.
func certificateOf(t *testing.T, c *http.Client) tls.Certificate {
	t.Helper()
	transport, ok := c.Transport.(*http.Transport)
	if !ok {
		t.Fatalf("the client's transport is a %T", c.Transport)
	}
	return transport.TLSClientConfig.Certificates[0]
}

// TestForwardedAddressesAreNotBelieved (B49): who a call comes from is the peer of its connection,
// whatever its headers say, in what is decided, counted and told.
func TestForwardedAddressesAreNotBelieved(t *testing.T) {
	p := newPlane(t)
	bob := p.login("bob")
	r := p.ask(bob, "web-root")
	envelope, err := statement.Parse(r.GetStatement())
	must(t, err)
	p.Now = time.Now().UTC()
	own := p.Approval("carol", proof.Entry{Envelope: envelope}, 0)
	headers := []http.Header{ // ten: of more, flow would tell no more events
		{"X-Forwarded-For": {"10.0.0.1"}}, {"X-Forwarded-For": {"a"}}, {"X-Forwarded-For": {"::ffff:10.0.0.1, 10.0.0.1"}},
		{"X-Real-Ip": {"10.0.0.1"}}, {"Forwarded": {"for=10.0.0.1"}}, {"True-Client-Ip": {"10.0.0.1"}}, {"X_Forwarded_For": {"10.0.0.1"}},
		{"X-Forwarded-User": {"alice"}}, {"X-Forwarded-Client-Cert": {"Subject=\"CN=gw-1\""}}, {"X-Ssl-Client-Verify": {"SUCCESS"}},
	}
	for _, h := range headers {
		liar := bob
		liar.Client = &http.Client{Transport: traced(func(r *http.Request) (*http.Response, error) {
			for name, values := range h {
				r.Header[name] = values
			}
			return bob.Client.Transport.RoundTrip(r)
		})}
		// An event tells where it came from: bob hands in carol's yes.
		_, err := liar.requests().Approve(t.Context(), &pb.ApproveRequest{Statement: p.signed(own, p.Keys["bob"])})
		code(t, "carol's yes by bob", err, connect.CodePermissionDenied)
		if status, answer := liar.post(brevetv1connect.GatewayServiceGetChainsProcedure, asJSON, "{}"); status != http.StatusUnauthorized {
			t.Errorf("%v makes bob a gateway: %d %s", h, status, answer)
		}
		if status, answer := liar.post(brevetv1connect.AuditServiceSearchEventsProcedure, asJSON, "{}"); status != http.StatusForbidden {
			t.Errorf("%v makes bob an auditor: %d %s", h, status, answer)
		}
	}
	found, err := p.login("frank").audit().SearchEvents(t.Context(), &pb.SearchEventsRequest{Kind: "approval.refused"})
	must(t, err)
	if len(found.GetEvents()) != len(headers) {
		t.Errorf("%d events, want %d", len(found.GetEvents()), len(headers))
	}
	for _, e := range found.GetEvents() {
		if !strings.Contains(e.GetRecord(), `"src_endpoint":{"ip":"127.0.0.1"}`) || strings.Contains(e.GetRecord(), "10.0.0.1") {
			t.Errorf("an event tells of another address: %s", e.GetRecord())
		}
	}
}

// TestApprovingGoesOnInAFlood (B48): strangers who begin to sign in without end, and clients that open
// calls and give them up, hold back neither an approval nor what it leads to.
func TestApprovingGoesOnInAFlood(t *testing.T) {
	p := newPlane(t)
	bob, carol := p.login("bob"), p.login("carol")
	ctx, stop := context.WithCancel(t.Context())
	var crowd sync.WaitGroup
	defer crowd.Wait()
	defer stop()
	const strangers, callsOfEach = 8, 250
	var mu sync.Mutex
	answered := map[int]int{} // by status
	for n := range strangers {
		stranger := p.visit(nil)
		crowd.Go(func() {
			for range callsOfEach {
				one, giveUp := context.WithCancel(ctx)
				r, err := http.NewRequestWithContext(one, http.MethodPost, bob.url()+brevetv1connect.AuthServiceGetChallengeProcedure, bytes.NewBufferString("{}"))
				if err != nil {
					t.Error(err)
				} else if r.Header.Set("Content-Type", asJSON); n%2 == 0 {
					go giveUp() // the stream is reset, soon after it began
				}
				if response, err := stranger.Client.Do(r); err == nil {
					response.Body.Close()
					mu.Lock()
					answered[response.StatusCode]++
					mu.Unlock()
				}
				giveUp()
			}
		})
	}
	for range 5 {
		r := p.ask(bob, "web-root")
		envelope, err := statement.Parse(r.GetStatement())
		must(t, err)
		p.approve(carol, proof.Entry{Envelope: envelope})
		got, err := bob.requests().GetRequest(t.Context(), &pb.GetRequestRequest{Id: r.GetId()})
		must(t, err)
		if got.GetRequest().GetState() != string(brevet.Granted) {
			t.Errorf("it is %s", got.GetRequest().GetState())
		}
	}
	crowd.Wait()
	if answered[http.StatusTooManyRequests] == 0 || answered[http.StatusOK] > strangersBurst+100 {
		t.Errorf("strangers were answered %v", answered)
	}
}

// TestDeepMessagesAreRefused (B48): nesting is an error, not a stack that grows.
func TestDeepMessagesAreRefused(t *testing.T) {
	w := newWorld(t, services{request: requestToy{get: echo}}, nil)
	bob := w.signIn("bob", time.Hour)
	for name, body := range map[string]string{
		"lists":         `{"id": ` + strings.Repeat("[", 60_000),
		"closed lists":  `{"id": ` + strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000) + "}",
		"objects":       strings.Repeat(`{"id":`, 10_000),
		"unknown lists": `{"x": ` + strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000) + "}",
	} {
		status, answer := bob.post(brevetv1connect.RequestServiceGetRequestProcedure, asJSON, body)
		if status != http.StatusBadRequest && status != http.StatusTooManyRequests {
			t.Errorf("%s: %d %.200s", name, status, answer)
		}
	}
	if status, answer := bob.post(brevetv1connect.RequestServiceGetRequestProcedure, asJSON, `{"id": "req_1"}`); status != http.StatusOK {
		t.Errorf("afterwards: %d %s", status, answer)
	}
}

// TestFieldsThatAreNotTheCallers (B46): every procedure refuses fields that it does not have, doubled ones and
// another's page, and takes from a gateway's word of its session only what is the gateway's to say.
func TestFieldsThatAreNotTheCallers(t *testing.T) {
	p := newPlane(t)
	bob, gateway := p.login("bob"), p.gateways["gw-1"]
	for procedure, method := range procedures(t) {
		if method.IsStreamingClient() {
			continue // its messages are read by the same codec
		}
		as := bob
		if audienceOf(procedure) == machine {
			as = gateway
		}
		for _, body := range []string{`{"approved": true}`, `{"role_": "admin"}`, `{"caller": {"person": "alice"}}`, `{"person": "alice", "person": "bob"}`} {
			status, answer := as.ask(method, procedure, body)
			if !strings.Contains(answer, "invalid_argument") {
				t.Errorf("%s with %s: %d %s", procedure, body, status, answer)
			}
		}
	}
	r := p.ask(bob, "web-now")
	session := p.session(r.GetGrant(), "gw-1")
	session.EndedAt, session.EndReason = session.StartedAt, "forged"
	session.Recording = &pb.Recording{Chunks: 7, Bytes: 7, Root: strings.Repeat("ab", 32), Complete: true}
	session.Watchers = []string{"alice"}
	_, err := gateway.gateway().BeginSession(t.Context(), &pb.BeginSessionRequest{Session: session})
	must(t, err)
	kept, err := p.spine.Store.Query(t.Context()).Session(brevet.SessionID(session.GetId()))
	must(t, err)
	if !kept.EndedAt.IsZero() || kept.EndReason != "" || kept.Recording != (brevet.RecordingState{}) {
		t.Errorf("a session begins as %+v", kept)
	}
}
