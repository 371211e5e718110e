package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/api/failure"
	"github.com/brevet-pim/brevet/identity/enrol"
	"github.com/brevet-pim/brevet/identity/limit"
)

// audience says who may call a procedure at all. What they may do with it is decided in flow.
type audience int

const (
	nobody  audience = iota // the zero value, so that a procedure without a row is closed
	anyone                  // before signing in
	people                  // with a token
	machine                 // gateways of the roster
)

// audiences has a row for every service, and for procedures that differ from their service.
var audiences = map[string]audience{
	brevetv1connect.AuthServiceName:    people,
	brevetv1connect.RequestServiceName: people,
	brevetv1connect.GrantServiceName:   people,
	brevetv1connect.SessionServiceName: people,
	brevetv1connect.AuditServiceName:   people,
	brevetv1connect.CatalogServiceName: people,
	brevetv1connect.PeopleServiceName:  people,
	brevetv1connect.SystemServiceName:  people,
	brevetv1connect.GatewayServiceName: machine,

	brevetv1connect.AuthServiceGetServerProcedure:        anyone,
	brevetv1connect.AuthServiceGetChallengeProcedure:     anyone,
	brevetv1connect.AuthServiceSignInProcedure:           anyone,
	brevetv1connect.AuthServiceAnswerInvitationProcedure: anyone,
	// The roster is verified from the root that the client has pinned, so it may be asked for
	// before anybody can sign in against it.
	brevetv1connect.PeopleServiceGetRosterProcedure: anyone,
}

// audienceOf returns who may call the procedure, "/package.Service/Method".
func audienceOf(procedure string) audience {
	if a, ok := audiences[procedure]; ok {
		return a
	}
	service, _, _ := strings.Cut(strings.TrimPrefix(procedure, "/"), "/")
	return audiences[service]
}

// Identifier knows tokens and machines.
type Identifier interface {
	// Token returns whose token of that digest it is, by which key it was got, and its end. It is
	// an Unauthenticated error unless the token is good now, bound to the client's key, and of
	// somebody in force.
	Token(ctx context.Context, digest string, client [sha256.Size]byte, now time.Time) (brevet.PersonID, string, time.Time, error)
	// Machine returns the machine of the roster whose TLS key it is.
	Machine(spki []byte) (brevet.MachineID, bool)
}

// peer is what the connection itself shows.
type peer struct {
	source netip.Addr
	client [sha256.Size]byte // of the TLS client certificate's public key; zero if there is none
	spki   []byte
}

// call is what a handler may ask of the call that it answers.
type call struct {
	peer   peer
	caller brevet.Caller
	token  string // digest
	until  time.Time
	hurry  hurry
}

type callKey struct{}

// callOf returns the call of the context; the middleware has put it there.
func callOf(ctx context.Context) call {
	c, _ := ctx.Value(callKey{}).(call)
	return c
}

// Middleware is what every call passes before a handler sees it: who is calling, whether they
// may call this at all, deadlines, and a net under panics. Calls of strangers have a budget
// by address.
type Middleware struct {
	Identify  Identifier
	Clock     func() time.Time
	Log       *slog.Logger
	Strangers *limit.Sources // budget of calls before sign-in
}

const (
	// readWithin is how long a client may take to say what it wants.
	readWithin = 30 * time.Second
	// writeWithin is how long it may take to take the answer, from the beginning of the call.
	writeWithin = readWithin + answerWithin + 30*time.Second
)

// Wrap returns the handler behind the middleware.
func (m *Middleware) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer m.recovered(w, r)
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		c, err := m.identify(r)
		if err != nil {
			m.refuse(w, r, err)
			return
		}
		if r.Method != http.MethodPost { // an id or a reason has no business in a URL, which others log
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "only POST is understood here, see docs/reference/api.md", http.StatusMethodNotAllowed)
			return
		}
		if forgotten(r.Header.Get("Content-Type")) { // connect's own answer would be empty
			http.Error(w, "send JSON, and say so: Content-Type: application/json, see docs/reference/api.md", http.StatusUnsupportedMediaType)
			return
		}
		c.hurry = hurry{http.NewResponseController(w)}
		c.hurry.read(readWithin)
		c.hurry.write(writeWithin)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callKey{}, c)))
	})
}

// forgotten reports whether nobody said what the body is. curl then says that it is a form.
func forgotten(contentType string) bool {
	return contentType == "" || strings.HasPrefix(contentType, "application/x-www-form-urlencoded")
}

func (m *Middleware) recovered(w http.ResponseWriter, r *http.Request) {
	what := recover()
	if what == nil {
		return
	}
	if err, ok := what.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(what)
	}
	m.Log.ErrorContext(r.Context(), "a call panicked", "procedure", r.URL.Path, "panic", what, "stack", string(debug.Stack()))
	m.refuse(w, r, brevet.Errorf(brevet.Internal, "panic"))
}

func (m *Middleware) refuse(w http.ResponseWriter, r *http.Request, err error) {
	writer := connect.NewErrorWriter()
	if writer.IsSupported(r) {
		_ = writer.Write(w, r, failure.Wire(err)) // the client has gone
		return
	}
	message, _ := brevet.MessageOf(err)
	status := http.StatusUnsupportedMediaType // a browser, or curl without a content type
	if brevet.KindOf(err) == brevet.NotFound {
		status = http.StatusNotFound
	}
	http.Error(w, message, status)
}

// identify finds out who is calling, and refuses whoever may not call this procedure.
func (m *Middleware) identify(r *http.Request) (call, error) {
	now := m.Clock()
	c := call{peer: peerOf(r)}
	c.caller = brevet.Caller{Source: c.peer.source, Via: brevet.ViaAPI}
	if strings.HasPrefix(r.UserAgent(), "brevet/") {
		c.caller.Via = brevet.ViaCLI
	}
	switch audienceOf(r.URL.Path) {
	case anyone:
		return m.identifyStranger(r, c, now)
	case people:
		return m.identifyPerson(r, c, now)
	case machine:
		id, ok := m.Identify.Machine(c.peer.spki)
		if !ok {
			return c, notOfTheRoster()
		}
		c.caller.Machine = id
		return c, nil
	}
	return c, brevet.Errorf(brevet.NotFound, "there is no such procedure")
}

// identifyStranger lets everybody in, within the budget of their address. Who is signed in needs
// none, so strangers next door cannot spend it for them.
func (m *Middleware) identifyStranger(r *http.Request, c call, now time.Time) (call, error) {
	if r.Header.Get("Authorization") != "" {
		if known, err := m.identifyPerson(r, c, now); err == nil {
			return known, nil
		}
	}
	if !m.Strangers.Allow(c.peer.source, now) {
		return c, brevet.Errorf(brevet.Limited, "too many calls from your address before signing in").WithHint("wait a minute")
	}
	return c, nil
}

func (m *Middleware) identifyPerson(r *http.Request, c call, now time.Time) (call, error) {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") { // RFC 9110 section 11.1
		return c, signInAgain("you are not signed in", nil)
	}
	if !c.peer.hasKey() {
		return c, noCertificate()
	}
	token, err := enrol.ParseToken(text)
	if err != nil {
		return c, signInAgain("this is not a token of Brevet's", err)
	}
	person, key, until, err := m.Identify.Token(r.Context(), token.Digest(), c.peer.client, now)
	if err != nil {
		return c, err
	}
	c.caller.Person, c.caller.Key, c.token, c.until = person, key, token.Digest(), until
	return c, nil
}

func noCertificate() error {
	return brevet.Errorf(brevet.Unauthenticated, "a token is bound to a TLS client certificate, and the connection shows none").
		WithHint("with curl: --cert and --key, see docs/reference/api.md")
}

func notOfTheRoster() error {
	return brevet.Errorf(brevet.Unauthenticated, "only gateways of the roster may call this").
		WithHint("an administrator signs that the gateway is ours: brevet machines add FILE")
}

func signInAgain(why string, cause error) error {
	return brevet.Errorf(brevet.Unauthenticated, "%s", why).Because(cause).WithHint("brevet login")
}

// peerOf reads the connection, and no header: nothing that a client writes makes it another.
func peerOf(r *http.Request) peer {
	var p peer
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		p.source = ap.Addr().Unmap()
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		p.spki = r.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo
		p.client = sha256.Sum256(p.spki)
	}
	return p
}

// hasKey reports whether the connection showed a client certificate.
func (p peer) hasKey() bool { return len(p.spki) > 0 }

// hurry sets the deadlines of one call: those of its own stream in HTTP/2, and of the
// connection in HTTP/1.1, where the next call sets them anew. A writer that knows no
// deadlines is not from the network.
type hurry struct{ control *http.ResponseController }

func (h hurry) read(within time.Duration) { h.setRead(time.Now().Add(within)) }

// readAll lifts the deadline for reading: there is no more to read, or it may come at any time.
func (h hurry) readAll() { h.setRead(time.Time{}) }

func (h hurry) write(within time.Duration) { h.setWrite(time.Now().Add(within)) }

// off lifts both deadlines.
func (h hurry) off() {
	h.setRead(time.Time{})
	h.setWrite(time.Time{})
}

func (h hurry) setRead(t time.Time) {
	if h.control != nil {
		_ = h.control.SetReadDeadline(t)
	}
}

func (h hurry) setWrite(t time.Time) {
	if h.control != nil {
		_ = h.control.SetWriteDeadline(t)
	}
}
