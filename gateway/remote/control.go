// Package remote is the control plane as a gateway reaches it: through the API, in the
// server's own process as well. It carries the gateway's questions there, its orders
// back, and its recordings and live views along.
package remote

import (
	"context"
	"fmt"
	"strings"

	gossh "golang.org/x/crypto/ssh"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/api/failure"
	"github.com/brevet-pim/brevet/gateway"
	"github.com/brevet-pim/brevet/statement"
)

// Control is the control plane over its API.
type Control struct {
	Client brevetv1connect.GatewayServiceClient
}

var _ gateway.Control = Control{}

// read is failure.Read, in the words for a person who meets a gateway that the control plane does not know.
func read(err error) error {
	err = failure.Read(err)
	if brevet.KindOf(err) != brevet.Unauthenticated {
		return err
	}
	return brevet.Errorf(brevet.Refused, "this gateway is not, or no longer, one of the organisation's, so nothing new can begin").
		WithHint("ask an administrator").Because(err)
}

// Lookup asks who holds the key and what they may have.
func (c Control) Lookup(ctx context.Context, want gateway.Want) (gateway.Answer, error) {
	got, err := c.Client.Lookup(ctx, &pb.LookupRequest{
		Target:   string(want.Target),
		Login:    want.Login,
		Key:      want.Key,
		Presence: string(want.Presence),
		Source:   want.Source.String(),
	})
	if err != nil {
		return gateway.Answer{}, read(err)
	}
	answer := gateway.Answer{
		Person:  brevet.PersonID(got.GetPerson()),
		Bundles: got.GetBundles(),
		Pending: brevet.RequestID(got.GetPending()),
		Refusal: got.GetRefusal(),
	}
	for _, r := range got.GetOffers() {
		answer.Offers = append(answer.Offers, offer(answer.Person, r))
	}
	return answer, nil
}

func offer(person brevet.PersonID, r *pb.Role) gateway.Offer {
	targets := make([]brevet.TargetID, len(r.GetTargets()))
	for i, t := range r.GetTargets() {
		targets[i] = brevet.TargetID(t)
	}
	return gateway.Offer{
		Role: brevet.RoleName(r.GetName()),
		Terms: statement.Terms{
			Person:     person,
			Role:       brevet.RoleName(r.GetName()),
			RoleDigest: r.GetRoleDigest(),
			Targets:    targets,
			Logins:     r.GetLogins(),
			Duration:   brevet.Seconds(r.GetLongestSeconds()),
		},
		Needs:         r.GetNeeds(),
		AtOnce:        r.GetOutcome() == string(brevet.Allow),
		AsksReason:    r.GetAsksReason(),
		TicketPattern: r.GetTicketPattern(),
		Sensitivity:   brevet.Sensitivity(r.GetSensitivity()),
		Recorded:      r.GetRecorded(),
	}
}

// Ask files a request.
func (c Control) Ask(ctx context.Context, request statement.Envelope) (brevet.RequestID, error) {
	raw, err := request.Marshal()
	if err != nil {
		return "", err
	}
	got, err := c.Client.CreateInlineRequest(ctx, &pb.CreateInlineRequestRequest{Statement: raw})
	if err != nil {
		return "", read(err)
	}
	return brevet.RequestID(got.GetId()), nil
}

// Follow waits for a request, telling of each change.
func (c Control) Follow(ctx context.Context, id brevet.RequestID, tell func(gateway.Progress) error) error {
	ctx, cancel := context.WithCancel(ctx) // ends the stream, however this returns
	defer cancel()
	stream, err := c.Client.FollowRequest(ctx, &pb.FollowRequestRequest{Id: string(id)})
	if err != nil {
		return read(err)
	}
	defer stream.Close() // nothing to learn from it any more
	for stream.Receive() {
		m := stream.Msg()
		state := brevet.RequestState(m.GetState())
		switch {
		case m.GetLive():
			return nil
		case state.Final() && state != brevet.Granted:
			return brevet.Errorf(brevet.Refused, "%s", m.GetSentence())
		}
		if err := tell(gateway.Progress{State: state, Sentence: m.GetSentence()}); err != nil {
			return err
		}
	}
	if err := stream.Err(); err != nil {
		return read(err)
	}
	return brevet.Errorf(brevet.Unavailable, "the control plane stopped telling how %s stands", id).
		WithHint("connect again: the request is still there")
}

// Begin records that a session begins.
func (c Control) Begin(ctx context.Context, s brevet.Session) error {
	_, err := c.Client.BeginSession(ctx, &pb.BeginSessionRequest{Session: view(s)})
	return read(err)
}

// End records that it ended.
func (c Control) End(ctx context.Context, s brevet.Session) error {
	_, err := c.Client.EndSession(ctx, &pb.EndSessionRequest{Session: view(s)})
	return failure.Read(err)
}

// Refused records something that was not let through.
func (c Control) Refused(ctx context.Context, r gateway.Refusal) error {
	_, err := c.Client.ReportRefusal(ctx, &pb.ReportRefusalRequest{
		Person: string(r.Person),
		Key:    r.Key,
		Target: string(r.Target),
		Login:  r.Login,
		Source: r.Source.String(),
		Grant:  string(r.Grant),
		What:   words(r.What, maxWord),
		Why:    words(r.Why, maxSentence),
		At:     timestamppb.New(r.At),
		Count:  int32(r.Unreported),
	})
	return failure.Read(err)
}

// HostCertificate returns a certificate for a name that people type.
func (c Control) HostCertificate(ctx context.Context, name string, key gossh.PublicKey) (*gossh.Certificate, error) {
	line := strings.TrimSpace(string(gossh.MarshalAuthorizedKey(key)))
	got, err := c.Client.GetHostCertificate(ctx, &pb.GetHostCertificateRequest{Name: name, PublicKey: line})
	if err != nil {
		return nil, failure.Read(err)
	}
	pub, _, _, _, err := gossh.ParseAuthorizedKey([]byte(got.GetCertificate()))
	if err != nil {
		return nil, fmt.Errorf("read the host certificate of %s: %w", name, err)
	}
	cert, ok := pub.(*gossh.Certificate)
	if !ok {
		return nil, brevet.Errorf(brevet.Internal, "the host certificate of %s is a plain key", name)
	}
	return cert, nil
}

func view(s brevet.Session) *pb.Session {
	v := &pb.Session{
		Id:        string(s.ID),
		Grant:     string(s.Grant),
		Person:    string(s.Person),
		Target:    string(s.Target),
		Login:     s.Login,
		Machine:   string(s.Machine),
		Source:    s.Source,
		Kind:      s.Kind,
		Command:   command(s.Command),
		Recorded:  s.Recorded,
		StartedAt: timestamppb.New(s.StartedAt),
		EndReason: words(s.EndReason, maxSentence),
		Recording: &pb.Recording{
			Chunks:   int32(s.Recording.Chunks),
			Bytes:    s.Recording.Bytes,
			Complete: s.Recording.Complete,
		},
	}
	if !s.EndedAt.IsZero() {
		v.EndedAt = timestamppb.New(s.EndedAt)
	}
	return v
}
