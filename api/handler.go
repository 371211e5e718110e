package api

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/api/dial"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/identity/limit"
	"github.com/brevet-pim/brevet/identity/signin"
)

// Config is what the API is made of.
type Config struct {
	Spine   *flow.Spine
	Version string   // of this build
	Address string   // host:port that people's machines connect to; one-time codes name it
	Pin     dial.Pin // of the authority of the server's certificate; one-time codes name it
	Log     *slog.Logger
	// Closing is closed when the server begins to stop. Streams end then, since they would
	// outlast it, and other calls are answered. Nil if nothing stops it.
	Closing <-chan struct{}
}

// The budget of calls before sign-in, of one address. A sign-in takes two, and many people may
// share an address; what it bounds is work, not guesses, which have 128 bits against them.
const (
	strangersEvery = 50 * time.Millisecond
	strangersBurst = 200
)

// New returns the API. Serve it with Server, or in one process with anything that shows the
// TLS client certificate.
func New(c Config) http.Handler {
	m := &Middleware{Identify: c.Spine, Clock: c.Spine.Clock, Log: c.Log, Strangers: limit.New(strangersEvery, strangersBurst)}
	return m.Wrap(services{
		auth:    newAuthService(c.Spine, signin.New(c.Spine.Root), c.Version),
		request: &requestService{c.Spine},
		grant:   &grantService{c.Spine},
		session: &sessionService{c.Spine},
		audit:   &auditService{c.Spine},
		catalog: &catalogService{c.Spine},
		people:  &peopleService{c.Spine, c.Address, c.Pin},
		system:  &systemService{c.Spine},
		gateway: &gatewayService{c.Spine},
	}.handler(m.options(c.Closing)))
}

// services are the handlers.
type services struct {
	auth    brevetv1connect.AuthServiceHandler
	request brevetv1connect.RequestServiceHandler
	grant   brevetv1connect.GrantServiceHandler
	session brevetv1connect.SessionServiceHandler
	audit   brevetv1connect.AuditServiceHandler
	catalog brevetv1connect.CatalogServiceHandler
	people  brevetv1connect.PeopleServiceHandler
	system  brevetv1connect.SystemServiceHandler
	gateway brevetv1connect.GatewayServiceHandler
}

// The longest messages that a service reads, in bytes, also after they are unpacked.
const (
	smallMessage    = 64 << 10 // ids, names, a key; a sign-in statement
	signedMessage   = 1 << 20  // an envelope of statement.MaxEnvelope, in base64 too
	chunksMessage   = 4 << 20  // a run of a recording's chunks, see record.Spool
	manifestMessage = 24 << 20 // catalog.MaxTotal, in base64 too
)

// handler returns one handler of all services. It knows exact paths only, so that what is
// authorised by the path is what is called.
func (s services) handler(options connect.HandlerOption) http.Handler {
	routes := map[string]http.Handler{}
	add := func(path string, h http.Handler) { routes[path] = h }
	bounded := func(most int) connect.HandlerOption {
		return connect.WithHandlerOptions(options, connect.WithReadMaxBytes(most))
	}
	add(brevetv1connect.NewAuthServiceHandler(s.auth, bounded(smallMessage)))
	add(brevetv1connect.NewRequestServiceHandler(s.request, bounded(signedMessage)))
	add(brevetv1connect.NewGrantServiceHandler(s.grant, bounded(signedMessage)))
	add(brevetv1connect.NewSessionServiceHandler(s.session, bounded(smallMessage)))
	add(brevetv1connect.NewAuditServiceHandler(s.audit, bounded(smallMessage)))
	add(brevetv1connect.NewCatalogServiceHandler(s.catalog, bounded(manifestMessage)))
	add(brevetv1connect.NewPeopleServiceHandler(s.people, bounded(signedMessage)))
	add(brevetv1connect.NewSystemServiceHandler(s.system, bounded(smallMessage)))
	add(brevetv1connect.NewGatewayServiceHandler(s.gateway, bounded(chunksMessage)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, ok := routes[r.URL.Path[:strings.LastIndexByte(r.URL.Path, '/')+1]]
		if !ok {
			http.NotFound(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// compressFrom is the size in bytes from which an answer is worth packing.
const compressFrom = 16 << 10

func (m *Middleware) options(closing <-chan struct{}) connect.HandlerOption {
	return connect.WithHandlerOptions(
		connect.WithInterceptors(answers{m.Identify, m.Clock, m.Log, closing}, newShares()),
		connect.WithRecover(recovered),
		connect.WithCodec(strictJSON{jsonName}),
		connect.WithCodec(strictJSON{jsonCharsetName}),
		connect.WithCompressMinBytes(compressFrom),
	)
}
