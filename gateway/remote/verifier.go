package remote

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/api/failure"
	"github.com/brevet-pim/brevet/gateway"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// Verifier proves grants back to the pinned root. The control plane carries the proofs and is
// believed in nothing: not in what they say, not in that there is nothing newer, and after a
// restart not in that the chains end where they did before.
type Verifier struct {
	client  brevetv1connect.GatewayServiceClient
	machine brevet.MachineID
	root    statement.ID
	log     *slog.Logger
	file    headsFile

	catching sync.Mutex // held while chains are fetched, so that a crowd fetches once

	mu     sync.Mutex // guards what follows
	chains *proof.Verifier
	heads  heads
}

var _ gateway.Verifier = (*Verifier)(nil)

// OpenVerifier returns the verifier of a gateway. It believes the root with the id, and keeps in
// the file at path how far it has seen the chains.
func OpenVerifier(client brevetv1connect.GatewayServiceClient, machine brevet.MachineID, root statement.ID, path string, log *slog.Logger) (*Verifier, error) {
	v := &Verifier{client: client, machine: machine, root: root, log: log, file: headsFile(path)}
	var err error
	v.heads, err = v.file.read()
	if err != nil {
		return nil, err
	}
	if v.heads.Root != "" && v.heads.Root != root {
		return nil, brevet.Errorf(brevet.Refused, "%s is of another organisation than the pinned root", path).
			WithHint("give this gateway a folder of its own, or move the file away if the organisation was founded anew on purpose")
	}
	v.heads.Root = root
	return v, nil
}

// Verify implements gateway.Verifier. Chains that the gateway lacks are fetched.
func (v *Verifier) Verify(ctx context.Context, bundle []byte, want gateway.Want) (gateway.Admission, error) {
	chains := v.held()
	if chains == nil {
		if err := v.CatchUp(ctx); err != nil {
			return gateway.Admission{}, err
		}
		chains = v.held()
	}
	admission, err := v.verify(chains, bundle, want)
	if err != nil && behind(chains, bundle) {
		if err := v.CatchUp(ctx); err != nil {
			return gateway.Admission{}, err
		}
		admission, err = v.verify(v.held(), bundle, want)
	}
	if err != nil {
		v.alarm(ctx, err)
		return gateway.Admission{}, err
	}
	return admission, nil
}

func (v *Verifier) held() *proof.Verifier {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.chains
}

// State returns what the chains that were shown add up to; nil before the first CatchUp.
func (v *Verifier) State() *proof.State {
	if chains := v.held(); chains != nil {
		return chains.State()
	}
	return nil
}

func (v *Verifier) verify(chains *proof.Verifier, bundle []byte, want gateway.Want) (gateway.Admission, error) {
	a, err := chains.Verify(bundle, proof.Want{
		Gateway: v.machine, Target: want.Target, Login: want.Login,
		Key: want.Key, Presence: want.Presence, Source: want.Source, Now: time.Now(),
	})
	if err != nil {
		return gateway.Admission{}, err
	}
	if err := v.keep(chains); err != nil { // the bundle may have brought newer chains
		return gateway.Admission{}, err
	}
	return gateway.Admission{
		Grant: a.Grant.ID, Person: a.Person, Target: a.Target, Login: a.Login,
		From: a.From, To: a.To, Role: a.Role, Certificate: a.Certificate,
	}, nil
}

// behind reports whether the issuer, by its status in the bundle, knows chains that are not held.
// Nothing is believed of it here: at worst the chains are fetched once more.
func behind(chains *proof.Verifier, bundle []byte) bool {
	b, err := proof.Parse(bundle)
	if err != nil || len(b.Status) != 1 {
		return false
	}
	status, err := statement.Open[statement.Status](b.Status[0])
	state := chains.State()
	return err == nil && (!state.Roster.Knows(status.Roster) || !state.Catalog.Knows(status.Catalog))
}

// catchUpWithin bounds how long chains may take to come.
const catchUpWithin = 20 * time.Second

// CatchUp fetches what there is of the chains after what is held, and verifies it. The first time
// it fetches them from the root on, and they must lead through the heads that an earlier process saw.
func (v *Verifier) CatchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, catchUpWithin)
	defer cancel()
	before := v.State()
	v.catching.Lock()
	defer v.catching.Unlock()
	if v.State() != before {
		return nil // somebody else just did
	}
	chains := v.held()
	first := chains == nil
	if first {
		chains = proof.NewVerifier(v.root)
	}
	if err := v.fetch(ctx, chains); err != nil {
		v.alarm(ctx, err)
		return err
	}
	if first {
		if err := v.follows(chains.State()); err != nil {
			v.alarm(ctx, err)
			return err
		}
	}
	return v.keep(chains)
}

func (v *Verifier) fetch(ctx context.Context, chains *proof.Verifier) error {
	roster, catalog := chains.Heads()
	got, err := v.client.GetChains(ctx, &pb.GetChainsRequest{RosterAfter: roster, CatalogAfter: catalog})
	if err != nil {
		return failure.Read(err)
	}
	bundle, err := proof.Parse(got.GetBundle())
	if err != nil {
		return err
	}
	return chains.Extend(bundle)
}

// errRolledBack is the cause of a refusal that is worth an alarm: what was in force is gone.
var errRolledBack = errors.New("a chain was rolled back")

// follows checks that the chains lead through the heads that were seen before.
func (v *Verifier) follows(s *proof.State) error {
	v.mu.Lock()
	seen := v.heads
	v.mu.Unlock()
	for _, chain := range []struct {
		name  string
		head  head
		knows func(statement.ID) bool
	}{{"roster", seen.Roster, s.Roster.Knows}, {"catalog", seen.Catalog, s.Catalog.Knows}} {
		if chain.head.ID != "" && !chain.knows(chain.head.ID) {
			return brevet.Errorf(brevet.Refused, "the %s that the control plane shows does not lead through number %d, which this gateway saw before", chain.name, chain.head.Number).
				WithHint("the control plane was set back or is not the real one; nothing new is opened until it shows the rest").Because(errRolledBack)
		}
	}
	return nil
}

// keep adopts the chains and makes durable how far they go, before anything rests on them.
func (v *Verifier) keep(chains *proof.Verifier) error {
	now := headsOf(v.root, chains.State())
	v.mu.Lock()
	defer v.mu.Unlock()
	if now.Roster.Number > v.heads.Roster.Number || now.Catalog.Number > v.heads.Catalog.Number {
		if err := v.file.write(now); err != nil {
			return brevet.Errorf(brevet.Unavailable, "the gateway cannot write down which roster and catalog it saw, so it opens nothing new").
				WithHint("look at the gateway's disk").Because(err)
		}
		v.heads = now
	}
	v.chains = chains
	return nil
}

// alarm makes noise of what is more than a mistake.
func (v *Verifier) alarm(ctx context.Context, err error) {
	if errors.Is(err, proof.ErrFork) || errors.Is(err, errRolledBack) {
		v.log.ErrorContext(ctx, "the control plane shows chains that contradict what was seen before", "error", err)
	}
}
