package cli

import (
	"context"
	"crypto/tls"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/api/dial"
	"github.com/brevet-pim/brevet/api/failure"
	"github.com/brevet-pim/brevet/cli/home"
	"github.com/brevet-pim/brevet/identity/enrol"
	"github.com/brevet-pim/brevet/statement"
)

const (
	callTimeout = 30 * time.Second // of a call that is no stream
	// A sign-in is renewed when it has less than this left, so that it outlives the call.
	renewBefore = 10 * time.Second
	// A sign-in statement is used at once or not at all.
	signInLife = time.Minute
)

// api is the generated client, by service.
type api struct {
	auth     brevetv1connect.AuthServiceClient
	requests brevetv1connect.RequestServiceClient
	grants   brevetv1connect.GrantServiceClient
	sessions brevetv1connect.SessionServiceClient
	catalog  brevetv1connect.CatalogServiceClient
	people   brevetv1connect.PeopleServiceClient
	audit    brevetv1connect.AuditServiceClient
	system   brevetv1connect.SystemServiceClient
}

func newAPI(client connect.HTTPClient, address string, options ...connect.ClientOption) *api {
	url := "https://" + address
	return &api{
		auth:     brevetv1connect.NewAuthServiceClient(client, url, options...),
		requests: brevetv1connect.NewRequestServiceClient(client, url, options...),
		grants:   brevetv1connect.NewGrantServiceClient(client, url, options...),
		sessions: brevetv1connect.NewSessionServiceClient(client, url, options...),
		catalog:  brevetv1connect.NewCatalogServiceClient(client, url, options...),
		people:   brevetv1connect.NewPeopleServiceClient(client, url, options...),
		audit:    brevetv1connect.NewAuditServiceClient(client, url, options...),
		system:   brevetv1connect.NewSystemServiceClient(client, url, options...),
	}
}

// session is a connection that is signed in, or will be at its first call. It is what carries
// the API's calls (connect.HTTPClient), each with the token that is good at the time.
type session struct {
	*api
	home    *home.Home
	profile home.Profile
	server  string
	signer  func(context.Context) (statement.Signer, error)

	mu     sync.Mutex // guards what follows
	client *http.Client
	token  enrol.Token
	until  time.Time
}

// connect returns the session of this run.
func (a *app) connect() (*session, error) {
	if a.session != nil {
		return a.session, nil
	}
	h, err := a.folder()
	if err != nil {
		return nil, err
	}
	profile, err := h.Profile()
	if err != nil {
		return nil, err
	}
	server := profile.Server
	for _, s := range []string{a.getenv("BREVET_SERVER"), a.serverFlag} {
		if s != "" {
			server = s
		}
	}
	if err := enrol.CheckAddress(server); err != nil {
		return nil, err
	}
	s := &session{home: h, profile: profile, server: server, signer: a.key}
	s.api = newAPI(s, server, connect.WithInterceptors(calls{s}))
	a.session = s
	return s, nil
}

// online makes what a command runs of a function that needs the server.
func (a *app) online(do func(ctx context.Context, s *session, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		s, err := a.connect()
		if err != nil {
			return err
		}
		return do(cmd.Context(), s, args)
	}
}

// Do sends a call with the session's certificate and token, and to no other host than the
// session's own.
func (s *session) Do(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	client, token := s.client, s.token
	s.mu.Unlock()
	if client == nil || r.URL.Host != s.server {
		return nil, brevet.Errorf(brevet.Internal, "a call to %s was about to leave without a sign-in there", r.URL.Host)
	}
	r.Header.Set("Authorization", "Bearer "+token.Reveal())
	return client.Do(r)
}

// ready signs in unless that has been done and is good for a while.
func (s *session) ready(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil && time.Until(s.until) > renewBefore {
		return nil
	}
	if s.client == nil {
		kept, err := s.home.SignIn()
		if err == nil && kept.Server == s.server && time.Until(kept.Until) > renewBefore {
			return s.use(kept)
		}
	}
	return s.signIn(ctx)
}

// renew signs in again after the server refused a token. Others may have done it meanwhile.
func (s *session) renew(ctx context.Context, refused enrol.Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token != refused {
		return nil
	}
	return s.signIn(ctx)
}

func (s *session) current() enrol.Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token
}

// signIn proves who is asking and keeps what that gives. A sign-in to another server than the
// profile's lasts as long as the command: it is not kept.
func (s *session) signIn(ctx context.Context) error {
	certificate, err := home.NewCertificate(time.Now())
	if err != nil {
		return err
	}
	signer, err := s.signer(ctx)
	if err != nil {
		return err
	}
	in, err := proveSelf(ctx, s.profile, s.server, certificate, signer)
	if err != nil {
		return err
	}
	if s.server == s.profile.Server {
		if err := s.home.SetSignIn(in); err != nil {
			return err
		}
	}
	return s.use(in)
}

func (s *session) use(in home.SignIn) error {
	pin, err := dial.ParsePin(s.profile.Pin)
	if err != nil {
		return err
	}
	client, err := dial.Person(s.server, pin, &in.Certificate)
	if err != nil {
		return err
	}
	s.client, s.token, s.until = client, in.Token, in.Until
	return nil
}

// proveSelf signs in at the server: a challenge, a statement that repeats it and names the
// connection's certificate, a token that is good with that certificate only.
func proveSelf(ctx context.Context, p home.Profile, server string, certificate tls.Certificate, signer statement.Signer) (home.SignIn, error) {
	client, err := unsigned(server, p.Pin, &certificate)
	if err != nil {
		return home.SignIn{}, err
	}
	challenge, err := client.auth.GetChallenge(ctx, &brevetv1.GetChallengeRequest{})
	if err != nil {
		return home.SignIn{}, err
	}
	now := time.Now()
	envelope, err := sign(ctx, statement.SignIn{
		Header:    statement.NewHeader(statement.ID(p.Root), now, now.Add(signInLife)),
		Person:    p.Person,
		Challenge: challenge.GetChallenge(),
		Client:    home.Thumbprint(certificate),
	}, signer)
	if err != nil {
		return home.SignIn{}, err
	}
	got, err := client.auth.SignIn(ctx, &brevetv1.SignInRequest{Statement: envelope.bytes})
	if err != nil {
		return home.SignIn{}, err
	}
	token, err := enrol.ParseToken(got.GetToken())
	if err != nil {
		return home.SignIn{}, err
	}
	return home.SignIn{Token: token, Certificate: certificate, Server: server, Until: got.GetUntil().AsTime()}, nil
}

// unsigned returns a client that carries no token: for what can be asked without one.
func unsigned(server, pinHex string, certificate *tls.Certificate) (*api, error) {
	pin, err := dial.ParsePin(pinHex)
	if err != nil {
		return nil, err
	}
	client, err := dial.Person(server, pin, certificate)
	if err != nil {
		return nil, err
	}
	return newAPI(client, server, connect.WithInterceptors(calls{})), nil
}

// calls gives each call its deadline, signs in before it if the session needs that, and turns
// its error into one for people.
type calls struct{ session *session }

// WrapUnary implements connect.Interceptor.
func (c calls) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		if c.session == nil {
			return inTime(ctx, r, next)
		}
		if err := c.session.ready(ctx); err != nil {
			return nil, err
		}
		used := c.session.current()
		response, err := inTime(ctx, r, next)
		if brevet.KindOf(err) != brevet.Unauthenticated {
			return response, err
		}
		if err := c.session.renew(ctx, used); err != nil { // the token was revoked, or the server lost it
			return nil, err
		}
		return inTime(ctx, r, next)
	}
}

// inTime makes one call. A person's passphrase or touch is asked for before, and takes none of its time.
func inTime(ctx context.Context, r connect.AnyRequest, next connect.UnaryFunc) (connect.AnyResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	response, err := next(ctx, r)
	return response, failure.Read(err)
}

// WrapStreamingClient implements connect.Interceptor. Errors of streams come by Receive, see receive.
func (c calls) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements connect.Interceptor.
func (c calls) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// receive opens a stream and hands each message to each, until the stream ends or each returns an
// error. A refused token is renewed once, before anything came.
func receive[M any](ctx context.Context, s *session, open func(context.Context) (*connect.ServerStreamForClient[M], error), each func(*M) error) error {
	ctx, cancel := context.WithCancel(ctx) // lets go of the stream when each has had enough
	defer cancel()
	for again := false; ; again = true {
		if err := s.ready(ctx); err != nil {
			return err
		}
		used := s.current()
		came, err := drain(ctx, open, each)
		if came || again || connect.CodeOf(err) != connect.CodeUnauthenticated {
			return failure.Read(err)
		}
		if err := s.renew(ctx, used); err != nil {
			return err
		}
	}
}

func drain[M any](ctx context.Context, open func(context.Context) (*connect.ServerStreamForClient[M], error), each func(*M) error) (came bool, err error) {
	stream, err := open(ctx)
	if err != nil {
		return false, err
	}
	defer stream.Close()
	for stream.Receive() {
		came = true
		if err := each(stream.Msg()); err != nil {
			return true, err
		}
	}
	return came, stream.Err()
}
