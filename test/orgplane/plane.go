// Package orgplane is a control plane for tests of gateways: it answers the gateway's API over TLS
// and HTTP/2 for one organisation of package prooftest, so that proofs, chains and recordings are real.
//
// It can be away, lie about the chains, and order what a test wants.
package orgplane

import (
	"context"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/api/failure"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/record"
)

// Plane is the control plane. Its methods may be called while it serves; those of Org may not, so
// they go through Change.
type Plane struct {
	brevetv1connect.UnimplementedGatewayServiceHandler
	Store *record.Store // takes recordings

	mu      sync.Mutex // guards what follows, and org
	org     *prooftest.Org
	changed chan struct{}
	down    bool
	chains  []byte // shown instead of the organisation's
	grants  map[brevet.GrantID]*proof.Bundle

	asked     [][2]int64 // numbers after which chains were fetched
	begun     []*pb.Session
	ended     []*pb.Session
	refused   []*pb.ReportRefusalRequest
	confirmed []*pb.ConfirmRequest
	listens   []*pb.ListenRequest
	frames    [][]byte
	orders    []*pb.ListenResponse
	streams   int // count up when streams are to break
}

// New returns a control plane for the organisation.
func New(org *prooftest.Org, recordings string) *Plane {
	return &Plane{org: org, Store: &record.Store{Dir: recordings}, grants: map[brevet.GrantID]*proof.Bundle{}, changed: make(chan struct{})}
}

// Serve answers the API until the test ends, and returns a client.
func (p *Plane) Serve(t testing.TB) brevetv1connect.GatewayServiceClient {
	t.Helper()
	_, handler := brevetv1connect.NewGatewayServiceHandler(p, connect.WithInterceptors(connect.UnaryInterceptorFunc(p.wire)))
	s := httptest.NewUnstartedServer(handler)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return brevetv1connect.NewGatewayServiceClient(s.Client(), s.URL)
}

// wire refuses everything while the plane is away, and sends errors as the product does.
func (p *Plane) wire(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		if err := p.present(); err != nil {
			return nil, err
		}
		got, err := next(ctx, r)
		return got, failure.Wire(err)
	}
}

func (p *Plane) present() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return failure.Wire(brevet.Errorf(brevet.Unavailable, "the control plane is away"))
	}
	return nil
}

// Change changes something, and wakes who waits for it.
func (p *Plane) Change(f func(*prooftest.Org)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.org.Now = later(p.org.Now, time.Now().UTC().Truncate(time.Second))
	f(p.org)
	p.signal()
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (p *Plane) signal() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Give grants the role to bob or another who has it at once, and returns the grant's id.
func (p *Plane) Give(person brevet.PersonID, role brevet.RoleName) brevet.GrantID {
	var id brevet.GrantID
	p.Change(func(o *prooftest.Org) {
		request := o.Ask(person, role, nil)
		b := o.Give(prooftest.Evidence(request), nil, nil, nil)
		s := o.State()
		v, err := s.Judge(prooftest.Evidence(request), o.Log.Size(), o.Now, nil)
		if err != nil {
			o.T.Fatal(err)
		}
		id = v.ID.Grant()
		p.grants[id] = b
	})
	return id
}

// Bundle returns the proof of a grant with a fresh status, and the chains if they are wanted.
func (p *Plane) Bundle(id brevet.GrantID, chains bool) []byte {
	var raw []byte
	p.Change(func(o *prooftest.Org) { raw = p.bundle(id, chains) })
	return raw
}

func (p *Plane) bundle(id brevet.GrantID, chains bool) []byte {
	b := *p.grants[id]
	if !chains {
		b.Roster, b.Catalog, b.Manifest, b.Revocations = nil, nil, nil, nil
	}
	b.Status = append(b.Status, p.org.Status(id))
	raw, err := b.Marshal()
	if err != nil {
		p.org.T.Fatal(err)
	}
	return raw
}

// Away takes the control plane away, streams as well, or brings it back.
func (p *Plane) Away(away bool) {
	p.Change(func(*prooftest.Org) { p.down, p.streams = away, p.streams+1 })
}

// Show has chains shown that are not the organisation's; nil shows those again.
func (p *Plane) Show(chains []byte) { p.Change(func(*prooftest.Org) { p.chains = chains }) }

// Asked returns after which roster and catalog numbers chains were fetched.
func (p *Plane) Asked() [][2]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

// Order sends an order to whoever listens now, and again to whoever listens later.
func (p *Plane) Order(order *pb.ListenResponse) {
	p.Change(func(*prooftest.Org) { p.orders = append(p.orders, order) })
}

// Heard is what gateways told.
type Heard struct {
	Begun, Ended []*pb.Session
	Refused      []*pb.ReportRefusalRequest
	Confirmed    []*pb.ConfirmRequest
	Listens      []*pb.ListenRequest
	Frames       [][]byte
}

// Until waits until what was heard is enough.
func (p *Plane) Until(t testing.TB, enough func(Heard) bool) Heard {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		p.mu.Lock()
		h := Heard{
			slices.Clone(p.begun), slices.Clone(p.ended), slices.Clone(p.refused),
			slices.Clone(p.confirmed), slices.Clone(p.listens), slices.Clone(p.frames),
		}
		changed := p.changed
		p.mu.Unlock()
		if enough(h) {
			return h
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("waited in vain; heard %+v", h)
		}
	}
}

// Lookup implements the API: whoever's key it is has every grant that was given to them.
func (p *Plane) Lookup(_ context.Context, m *pb.LookupRequest) (*pb.LookupResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.org.Now = later(p.org.Now, time.Now().UTC().Truncate(time.Second))
	key, ok := p.org.State().Roster.Key(m.GetKey(), p.org.Log.Size())
	if !ok {
		return &pb.LookupResponse{}, nil
	}
	answer := &pb.LookupResponse{Person: string(key.Person), Refusal: "nothing was given"}
	for id := range p.grants {
		answer.Bundles = append(answer.Bundles, p.bundle(id, false))
	}
	return answer, nil
}

// GetChains implements the API. Statements that the gateway has are shown again.
func (p *Plane) GetChains(_ context.Context, m *pb.GetChainsRequest) (*pb.GetChainsResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, [2]int64{m.GetRosterAfter(), m.GetCatalogAfter()})
	if p.chains != nil {
		return &pb.GetChainsResponse{Bundle: p.chains}, nil
	}
	raw, err := p.org.Chains().Marshal()
	return &pb.GetChainsResponse{Bundle: raw}, err
}

// BeginSession implements the API.
func (p *Plane) BeginSession(_ context.Context, m *pb.BeginSessionRequest) (*pb.BeginSessionResponse, error) {
	p.Change(func(*prooftest.Org) { p.begun = append(p.begun, m.GetSession()) })
	return &pb.BeginSessionResponse{}, nil
}

// EndSession implements the API.
func (p *Plane) EndSession(_ context.Context, m *pb.EndSessionRequest) (*pb.EndSessionResponse, error) {
	p.Change(func(*prooftest.Org) { p.ended = append(p.ended, m.GetSession()) })
	return &pb.EndSessionResponse{}, nil
}

// ReportRefusal implements the API.
func (p *Plane) ReportRefusal(_ context.Context, m *pb.ReportRefusalRequest) (*pb.ReportRefusalResponse, error) {
	p.Change(func(*prooftest.Org) { p.refused = append(p.refused, m) })
	return &pb.ReportRefusalResponse{}, nil
}

// PutChunks implements the API.
func (p *Plane) PutChunks(_ context.Context, m *pb.PutChunksRequest) (*pb.PutChunksResponse, error) {
	_, _, err := p.Store.Put(brevet.SessionID(m.GetSession()), int(m.GetFirst()), m.GetChunks())
	return &pb.PutChunksResponse{}, err
}

// CutRecording implements the API.
func (p *Plane) CutRecording(_ context.Context, m *pb.CutRecordingRequest) (*pb.CutRecordingResponse, error) {
	_, err := p.Store.Cut(brevet.SessionID(m.GetSession()), int(m.GetChunks()), m.GetReason())
	return &pb.CutRecordingResponse{}, err
}

// GetHostCertificate implements the API by refusing: tests that type names use gatewaytest.
func (p *Plane) GetHostCertificate(context.Context, *pb.GetHostCertificateRequest) (*pb.GetHostCertificateResponse, error) {
	return nil, brevet.Errorf(brevet.NotFound, "there is no host authority here")
}

// Listen implements the API: each stream hears every order that is not confirmed.
func (p *Plane) Listen(ctx context.Context, m *pb.ListenRequest, stream *connect.ServerStream[pb.ListenResponse]) error {
	if err := p.present(); err != nil {
		return err
	}
	var mine, sent int
	p.Change(func(*prooftest.Org) { p.listens, mine = append(p.listens, m), p.streams })
	if err := stream.Send(&pb.ListenResponse{Order: &pb.ListenResponse_KeepAlive{KeepAlive: &pb.KeepAlive{}}}); err != nil {
		return err
	}
	for {
		p.mu.Lock()
		orders, broken, changed := p.orders[sent:], p.streams != mine, p.changed
		sent = len(p.orders)
		p.mu.Unlock()
		if broken {
			return failure.Wire(brevet.Errorf(brevet.Unavailable, "the stream broke"))
		}
		for _, order := range orders {
			if err := stream.Send(order); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Confirm implements the API.
func (p *Plane) Confirm(_ context.Context, m *pb.ConfirmRequest) (*pb.ConfirmResponse, error) {
	p.Change(func(*prooftest.Org) { p.confirmed = append(p.confirmed, m) })
	return &pb.ConfirmResponse{}, nil
}

// SendLive implements the API.
func (p *Plane) SendLive(_ context.Context, stream *connect.ClientStream[pb.SendLiveRequest]) (*pb.SendLiveResponse, error) {
	for stream.Receive() {
		m := stream.Msg()
		p.Change(func(*prooftest.Org) {
			frames := m.GetFrames()
			if m.GetEnd() {
				frames = []byte("end")
			}
			p.frames = append(p.frames, frames)
		})
	}
	return &pb.SendLiveResponse{}, stream.Err()
}
