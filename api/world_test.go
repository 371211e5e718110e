package api

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/api/dial"
	"github.com/brevet-pim/brevet/identity/enrol"
	"github.com/brevet-pim/brevet/identity/limit"
)

// phoneBook is an Identifier that keeps who is who in a map.
type phoneBook struct {
	mu       sync.Mutex // guards what follows
	tokens   map[string]signedIn
	machines map[[sha256.Size]byte]brevet.MachineID
	asked    int
}

type signedIn struct {
	person brevet.PersonID
	client [sha256.Size]byte
	until  time.Time
}

// Token implements Identifier.
func (p *phoneBook) Token(_ context.Context, digest string, client [sha256.Size]byte, now time.Time) (brevet.PersonID, string, time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	s, ok := p.tokens[digest]
	if !ok || s.client != client || !now.Before(s.until) {
		return "", "", time.Time{}, brevet.Errorf(brevet.Unauthenticated, "this sign-in is not known").WithHint("brevet login")
	}
	return s.person, "SHA256:key-of-" + string(s.person), s.until, nil
}

// Machine implements Identifier.
func (p *phoneBook) Machine(spki []byte) (brevet.MachineID, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, ok := p.machines[sha256.Sum256(spki)]
	return id, ok
}

// forget revokes everything.
func (p *phoneBook) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tokens, p.machines = nil, nil
}

// world is an API on the network, with toys behind it.
type world struct {
	t       *testing.T
	book    *phoneBook
	address string
	pin     dial.Pin
	log     *journal
}

// journal is a log that tests can read.
type journal struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

// Write implements io.Writer.
func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// newWorld serves the services behind the middleware; those that are not given are unimplemented.
func newWorld(t *testing.T, s services, closing <-chan struct{}) *world {
	t.Helper()
	return serve(t, func(m *Middleware) http.Handler { return m.Wrap(s.complete().handler(m.options(closing))) })
}

// serve serves what behind makes of the middleware.
func serve(t *testing.T, behind func(*Middleware) http.Handler) *world {
	t.Helper()
	w := &world{t: t, log: &journal{}, book: &phoneBook{tokens: map[string]signedIn{}, machines: map[[sha256.Size]byte]brevet.MachineID{}}}
	log := slog.New(slog.NewTextHandler(w.log, nil))
	m := &Middleware{Identify: w.book, Clock: time.Now, Log: log, Strangers: limit.New(strangersEvery, strangersBurst)}
	w.listen(behind(m), log)
	return w
}

func (w *world) listen(h http.Handler, log *slog.Logger) {
	w.t.Helper()
	own := newCertificate(w.t, true)
	w.pin = dial.PinOf(own.Leaf)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.address = listener.Addr().String()
	server := Server(h, func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &own, nil }, log)
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(listener, "", "") }()
	w.t.Cleanup(func() {
		_ = server.Close() // the listener is closed either way
		if err := <-ended; err != http.ErrServerClosed {
			w.t.Error(err)
		}
	})
}

func (s services) complete() services {
	if s.auth == nil {
		s.auth = brevetv1connect.UnimplementedAuthServiceHandler{}
	}
	if s.request == nil {
		s.request = brevetv1connect.UnimplementedRequestServiceHandler{}
	}
	if s.grant == nil {
		s.grant = brevetv1connect.UnimplementedGrantServiceHandler{}
	}
	if s.session == nil {
		s.session = brevetv1connect.UnimplementedSessionServiceHandler{}
	}
	if s.audit == nil {
		s.audit = brevetv1connect.UnimplementedAuditServiceHandler{}
	}
	if s.catalog == nil {
		s.catalog = brevetv1connect.UnimplementedCatalogServiceHandler{}
	}
	if s.people == nil {
		s.people = brevetv1connect.UnimplementedPeopleServiceHandler{}
	}
	if s.system == nil {
		s.system = brevetv1connect.UnimplementedSystemServiceHandler{}
	}
	if s.gateway == nil {
		s.gateway = brevetv1connect.UnimplementedGatewayServiceHandler{}
	}
	return s
}

func newCertificate(t *testing.T, server bool) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	if server {
		template.IsCA, template.BasicConstraintsValid = true, true
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// visitor is somebody at the other end of a connection.
type visitor struct {
	*http.Client
	world *world
	token string
}

// Do implements connect.HTTPClient.
func (v visitor) Do(r *http.Request) (*http.Response, error) {
	if v.token != "" {
		r.Header.Set("Authorization", "Bearer "+v.token)
	}
	return v.Client.Do(r)
}

// visit returns somebody with the certificate, or with none.
func (w *world) visit(certificate *tls.Certificate) visitor {
	w.t.Helper()
	client, err := dial.Client(w.address, w.pin, certificate)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(client.CloseIdleConnections)
	return visitor{client, w, ""}
}

// signIn returns somebody with a token that is good for so long.
func (w *world) signIn(person brevet.PersonID, life time.Duration) visitor {
	w.t.Helper()
	certificate, token := newCertificate(w.t, false), enrol.NewToken()
	w.book.mu.Lock()
	w.book.tokens[token.Digest()] = signedIn{person, sha256.Sum256(certificate.Leaf.RawSubjectPublicKeyInfo), time.Now().Add(life)}
	w.book.mu.Unlock()
	v := w.visit(&certificate)
	v.token = token.Reveal()
	return v
}

// gateway returns a gateway of the roster.
func (w *world) gateway(id brevet.MachineID) visitor {
	w.t.Helper()
	certificate := newCertificate(w.t, false)
	w.book.mu.Lock()
	w.book.machines[sha256.Sum256(certificate.Leaf.RawSubjectPublicKeyInfo)] = id
	w.book.mu.Unlock()
	return w.visit(&certificate)
}

func (v visitor) requests(options ...connect.ClientOption) brevetv1connect.RequestServiceClient {
	return brevetv1connect.NewRequestServiceClient(v, "https://"+v.world.address, options...)
}

// post sends a body as curl does, and returns the status and what came back.
func (v visitor) post(procedure, contentType, body string) (int, string) {
	v.world.t.Helper()
	r, err := http.NewRequestWithContext(v.world.t.Context(), http.MethodPost, "https://"+v.world.address+procedure, bytes.NewBufferString(body))
	if err != nil {
		v.world.t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	response, err := v.Do(r)
	if err != nil {
		v.world.t.Fatal(err)
	}
	defer response.Body.Close()
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(response.Body); err != nil {
		v.world.t.Fatal(err)
	}
	return response.StatusCode, answer.String()
}

const asJSON = "application/json"

// requestToy answers two procedures as a test wants.
type requestToy struct {
	brevetv1connect.UnimplementedRequestServiceHandler
	get   func(context.Context, *pb.GetRequestRequest) (*pb.GetRequestResponse, error)
	watch func(context.Context, func(*pb.WatchRequestResponse) error) error
}

// GetRequest implements the procedure.
func (r requestToy) GetRequest(ctx context.Context, m *pb.GetRequestRequest) (*pb.GetRequestResponse, error) {
	return r.get(ctx, m)
}

// WatchRequest implements the procedure.
func (r requestToy) WatchRequest(ctx context.Context, _ *pb.WatchRequestRequest, stream *connect.ServerStream[pb.WatchRequestResponse]) error {
	return r.watch(ctx, sender(ctx, stream))
}

// echo answers with the id that was asked for, by whom, and who they are to the handler.
func echo(ctx context.Context, m *pb.GetRequestRequest) (*pb.GetRequestResponse, error) {
	return &pb.GetRequestResponse{Request: &pb.Request{Id: m.GetId(), Person: callOf(ctx).caller.String(), Via: string(callOf(ctx).caller.Via)}}, nil
}

// withCall returns a context as a handler has it.
func withCall(t *testing.T, by brevet.Caller) context.Context {
	t.Helper()
	return context.WithValue(t.Context(), callKey{}, call{caller: by})
}
