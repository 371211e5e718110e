package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net/http"
	"os"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/api/dial"
	"github.com/brevet-pim/brevet/cli/home"
	"github.com/brevet-pim/brevet/identity/enrol"
	"github.com/brevet-pim/brevet/statement"
)

// caller is a person who is signed in at the API, on a connection of their own.
type caller struct {
	person brevet.PersonID
	root   statement.ID
	key    ed25519.PrivateKey
	signer statement.Signer

	auth     brevetv1connect.AuthServiceClient
	requests brevetv1connect.RequestServiceClient
	grants   brevetv1connect.GrantServiceClient
	sessions brevetv1connect.SessionServiceClient
}

// bearer sends each call with the token.
type bearer struct {
	*http.Client
	token enrol.Token
}

func (b bearer) Do(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", "Bearer "+b.token.Reveal())
	return b.Client.Do(r)
}

// caller signs the person in by the command line, and goes on from what that leaves in their folder.
func (org *organisation) caller(ctx context.Context, p person) (*caller, error) {
	if _, err := org.as(ctx, p, "whoami"); err != nil {
		return nil, err
	}
	folder, err := home.Open(p.home)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	profile, err := folder.Profile()
	if err != nil {
		return nil, err
	}
	in, err := folder.SignIn()
	if err != nil {
		return nil, err
	}
	pin, err := dial.ParsePin(profile.Pin)
	if err != nil {
		return nil, err
	}
	client, err := dial.Person(in.Server, pin, &in.Certificate)
	if err != nil {
		return nil, err
	}
	c := &caller{person: profile.Person, root: statement.ID(profile.Root)}
	as, url := bearer{client, in.Token}, "https://"+in.Server
	c.auth, c.requests = brevetv1connect.NewAuthServiceClient(as, url), brevetv1connect.NewRequestServiceClient(as, url)
	c.grants, c.sessions = brevetv1connect.NewGrantServiceClient(as, url), brevetv1connect.NewSessionServiceClient(as, url)
	return c, c.readKey(p.key())
}

func (c *caller) readKey(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	raw, err := ssh.ParseRawPrivateKey(text)
	if err != nil {
		return err
	}
	key, ok := raw.(*ed25519.PrivateKey)
	if !ok {
		return fmt.Errorf("%s holds a %T", path, raw)
	}
	c.key = *key
	signer, err := ssh.NewSignerFromKey(c.key)
	if err != nil {
		return err
	}
	c.signer, err = statement.SSHSigner(signer)
	return err
}

// terms are those of web-root on web1, as the server offers them.
func (c *caller) terms(ctx context.Context) (statement.Terms, error) {
	got, err := c.requests.ListRoles(ctx, &brevetv1.ListRolesRequest{})
	if err != nil {
		return statement.Terms{}, err
	}
	for _, r := range got.GetRoles() {
		if r.GetName() != "web-root" || len(r.GetHolders()) == 0 {
			continue
		}
		holder := r.GetHolders()[0]
		return statement.Terms{
			Person: c.person, Role: "web-root", RoleDigest: r.GetRoleDigest(), Targets: []brevet.TargetID{"web1"}, Logins: r.GetLogins(),
			Duration: 3600, Holder: statement.Holder{Machine: brevet.MachineID(holder.GetMachine()), Key: holder.GetKey()},
		}, nil
	}
	return statement.Terms{}, fmt.Errorf("%s sees no role web-root with a gateway", c.person)
}

// signed returns a request for the terms, signed now.
func (c *caller) signed(ctx context.Context, terms statement.Terms) ([]byte, error) {
	now := time.Now()
	return c.sign(ctx, statement.Request{
		Header: statement.NewHeader(c.root, now, now.Add(time.Hour)), Terms: terms, Reason: "restart nginx, OPS-4711", Via: brevet.ViaCLI,
	})
}

func (c *caller) sign(ctx context.Context, p statement.Payload) ([]byte, error) {
	e, err := statement.New(ctx, p, c.signer)
	if err != nil {
		return nil, err
	}
	return e.Marshal()
}

// ask hands in a signed request and returns the grant that it led to at once.
func (c *caller) ask(ctx context.Context, raw []byte) (brevet.GrantID, error) {
	got, err := c.requests.CreateRequest(ctx, &brevetv1.CreateRequestRequest{Statement: raw})
	if err != nil {
		return "", err
	}
	r := got.GetRequest()
	if r.GetState() != string(brevet.Granted) || r.GetGrant() == "" {
		return "", fmt.Errorf("the request is %s: %s", r.GetState(), r.GetWhy())
	}
	return brevet.GrantID(r.GetGrant()), nil
}

// granted asks for web-root and returns the grant.
func (c *caller) granted(ctx context.Context) (brevet.GrantID, error) {
	terms, err := c.terms(ctx)
	if err != nil {
		return "", err
	}
	raw, err := c.signed(ctx, terms)
	if err != nil {
		return "", err
	}
	return c.ask(ctx, raw)
}
