// Package limit keeps one source of traffic from crowding out the others: a budget for
// each network address, in bounded memory.
//
// Budgets belong to addresses and never to the names that somebody claims, so that nobody
// can lock out another person by failing in their name.
package limit

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxSources bounds the memory. When more addresses than this are active, those without a
// budget of their own share one.
const maxSources = 8192

// lookEvery bounds the work: looking through all addresses for each new one would let a crowd
// keep everybody waiting.
const lookEvery = time.Second

// Sources gives each address a budget. The zero value allows nothing; use New.
type Sources struct {
	every time.Duration
	burst int

	mu     sync.Mutex // guards what follows
	seen   map[netip.Prefix]*source
	others *rate.Limiter
	looked time.Time // when it last looked for budgets to forget
}

type source struct {
	limiter *rate.Limiter
	last    time.Time
}

// New returns budgets that refill by one each so often and hold burst at most.
func New(every time.Duration, burst int) *Sources {
	return &Sources{every: every, burst: burst, seen: map[netip.Prefix]*source{}, others: rate.NewLimiter(rate.Every(every), burst)}
}

// Allow spends one of the address's budget and reports whether there was one to spend.
func (s *Sources) Allow(addr netip.Addr, now time.Time) bool {
	return s.limiter(addr, now).AllowN(now, 1)
}

// Left reports whether the address has anything left, and spends nothing.
func (s *Sources) Left(addr netip.Addr, now time.Time) bool {
	return s.limiter(addr, now).TokensAt(now) >= 1
}

func (s *Sources) limiter(addr netip.Addr, now time.Time) *rate.Limiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := network(addr)
	if got, ok := s.seen[key]; ok {
		got.last = now
		return got.limiter
	}
	if len(s.seen) >= maxSources && now.Sub(s.looked) >= lookEvery {
		s.looked = now
		s.forget(now)
	}
	if len(s.seen) >= maxSources {
		return s.others
	}
	fresh := &source{limiter: rate.NewLimiter(rate.Every(s.every), s.burst), last: now}
	s.seen[key] = fresh
	return fresh.limiter
}

// forget drops the addresses whose budget is full again: to forget them changes nothing.
func (s *Sources) forget(now time.Time) {
	full := s.every * time.Duration(s.burst)
	for key, got := range s.seen {
		if now.Sub(got.last) > full {
			delete(s.seen, key)
		}
	}
}

// network is what one party is likely to hold: an IPv4 address, or the /64 of an IPv6 one.
func network(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(addr, bits).Masked()
}
