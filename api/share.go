package api

import (
	"context"
	"sync"

	"connectrpc.com/connect"

	"github.com/brevet-pim/brevet"
)

// mostStreams is how many streams one person may have open at this server. Each looks into the
// database again and again.
const mostStreams = 100

// shares keeps one person from taking what is there for all. Gateways have no share: each needs few
// streams, and must not be without.
type shares struct {
	mu   sync.Mutex // guards open
	open map[brevet.PersonID]int
}

func newShares() *shares { return &shares{open: map[brevet.PersonID]int{}} }

// WrapStreamingHandler implements connect.Interceptor.
func (s *shares) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		person := callOf(ctx).caller.Person
		if person == "" {
			return next(ctx, conn)
		}
		if !s.take(person) {
			return brevet.Errorf(brevet.Limited, "you have %d streams open, which is the most", mostStreams).WithHint("end some that watch, wait or follow")
		}
		defer s.giveBack(person)
		return next(ctx, conn)
	}
}

// WrapUnary implements connect.Interceptor.
func (s *shares) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc { return next }

// WrapStreamingClient implements connect.Interceptor; a server has no such streams.
func (s *shares) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (s *shares) take(person brevet.PersonID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[person] >= mostStreams {
		return false
	}
	s.open[person]++
	return true
}

func (s *shares) giveBack(person brevet.PersonID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[person]--; s.open[person] == 0 {
		delete(s.open, person)
	}
}
