package crash_test

import (
	"context"
	"net/http"
	"time"

	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/api/dial"
	"github.com/brevet-pim/brevet/cli/home"
	"github.com/brevet-pim/brevet/statement"
)

// visit is a person's way to the API, signed in.
type visit struct {
	client *http.Client
	token  string

	requests brevetv1connect.RequestServiceClient
	grants   brevetv1connect.GrantServiceClient
	sessions brevetv1connect.SessionServiceClient
	catalog  brevetv1connect.CatalogServiceClient
	people   brevetv1connect.PeopleServiceClient
	audit    brevetv1connect.AuditServiceClient
}

// Do carries a call with the token.
func (v *visit) Do(r *http.Request) (*http.Response, error) {
	if v.token != "" {
		r.Header.Set("Authorization", "Bearer "+v.token)
	}
	return v.client.Do(r)
}

// signIn proves who somebody is, as the command line does.
func (l *life) signIn(ctx context.Context, p person) (*visit, error) {
	certificate, err := home.NewCertificate(time.Now())
	if err != nil {
		return nil, err
	}
	client, err := dial.Client(l.api, l.pin, &certificate)
	if err != nil {
		return nil, err
	}
	v, url := &visit{client: client}, "https://"+l.api
	auth := brevetv1connect.NewAuthServiceClient(v, url)
	challenge, err := auth.GetChallenge(ctx, &pb.GetChallengeRequest{})
	if err != nil {
		return nil, err
	}
	signed := l.sign(statement.SignIn{
		Header: l.header(time.Minute), Person: p.id, Challenge: challenge.GetChallenge(), Client: home.Thumbprint(certificate),
	}, p)
	in, err := auth.SignIn(ctx, &pb.SignInRequest{Statement: signed.raw})
	if err != nil {
		return nil, err
	}
	v.token = in.GetToken()
	v.requests = brevetv1connect.NewRequestServiceClient(v, url)
	v.grants = brevetv1connect.NewGrantServiceClient(v, url)
	v.sessions = brevetv1connect.NewSessionServiceClient(v, url)
	v.catalog = brevetv1connect.NewCatalogServiceClient(v, url)
	v.people = brevetv1connect.NewPeopleServiceClient(v, url)
	v.audit = brevetv1connect.NewAuditServiceClient(v, url)
	return v, nil
}

// signed is a statement as it is handed in.
type signed struct {
	id  statement.ID
	raw []byte
}

func (l *life) sign(p statement.Payload, by person) signed {
	l.t.Helper()
	e, err := statement.New(l.t.Context(), p, by.signer)
	must(l.t, err)
	raw, err := e.Marshal()
	must(l.t, err)
	return signed{e.ID(), raw}
}

func (l *life) header(good time.Duration) statement.Header {
	now := time.Now()
	return statement.NewHeader(l.root, now, now.Add(good))
}
