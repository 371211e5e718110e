package issuer

import (
	"context"
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

const (
	// statusGood is how long the word that a grant is good can be relied on.
	statusGood = time.Minute
	// statusAgain is how long the same word is given again: many gateways and sessions ask at once.
	statusAgain = time.Second
	maxStatuses = 10_000
)

// statuses are those that were signed a moment ago. The zero value has none.
type statuses struct {
	mu sync.Mutex
	of map[brevet.GrantID]signedStatus // guarded by mu
}

type signedStatus struct {
	at     time.Time
	signed []byte
}

func (s *statuses) recall(id brevet.GrantID, now time.Time) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.of[id]
	if age := now.Sub(old.at); !ok || age < 0 || age >= statusAgain {
		return nil, false
	}
	return old.signed, true
}

func (s *statuses) keep(id brevet.GrantID, now time.Time, signed []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil || len(s.of) >= maxStatuses {
		s.of = map[brevet.GrantID]signedStatus{}
	}
	s.of[id] = signedStatus{now, signed}
}

// forget drops all: what is known has changed.
func (s *statuses) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of = nil
}

// Status returns the word that the grant is good for another minute, or until its end. It is
// Refused for a grant that is over, and NotFound for one that this issuer has not given.
func (i *Issuer) Status(ctx context.Context, grant brevet.GrantID) (status []byte, err error) {
	i.giving.RLock()
	defer i.giving.RUnlock()
	k := i.knows()
	if err := k.able(); err != nil {
		return nil, err
	}
	now, err := i.clock.now()
	if err != nil {
		return nil, err
	}
	if signed, ok := i.statuses.recall(grant, now); ok {
		return signed, nil
	}
	given, found, err := givenAs(ctx, i.state.reads, grant)
	switch {
	case err != nil:
		return nil, failed(err)
	case !found:
		return nil, brevet.Errorf(brevet.NotFound, "the issuer knows no grant %s", brevet.Quote(string(grant)))
	}
	good, err := i.good(given, now)
	if err != nil {
		return nil, err
	}
	g := good.Said
	roster, _ := k.state.Roster.Head()
	catalog, _ := k.state.Catalog.Head()
	_, signed, err := i.sign(ctx, statement.Status{
		Header: i.header(now, min(statusGood, time.UnixMicro(g.To).Sub(now))),
		Grant:  grant, Size: k.head.Size, Roster: roster, Catalog: catalog,
	})
	if err != nil {
		return nil, err
	}
	i.statuses.keep(grant, now, signed)
	return signed, nil
}
