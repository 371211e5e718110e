package record

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/brevet-pim/brevet"
)

// noting is an Uploader that only notes how many chunks of each session came.
type noting struct {
	mu   sync.Mutex
	came map[brevet.SessionID]int
}

func (n *noting) Put(_ context.Context, session brevet.SessionID, _ int, chunks [][]byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.came[session] += len(chunks)
	return nil
}

func (n *noting) Cut(context.Context, brevet.SessionID, int, string) error { return nil }

func (n *noting) of(session brevet.SessionID) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.came[session]
}

// mover puts chunks of random data into a Spool, at some pace.
type mover struct {
	session brevet.SessionID
	w       *Writer
	put     int // bytes
}

func move(t *testing.T, c *setup, session brevet.SessionID) *mover {
	t.Helper()
	c.session.ID = session
	return &mover{session: session, w: begin(t, c)}
}

// run moves 64 chunks a second for so many seconds.
func (m *mover) run(t *testing.T, seconds int) {
	t.Helper()
	data := make([]byte, ChunkSize/2)
	rand.Read(data)
	for range seconds * 128 {
		if err := m.w.Output(Stdout, data); err != nil {
			t.Fatal(err)
		}
		m.put += len(data)
		time.Sleep(time.Second / 128)
	}
}

func (m *mover) chunks() int { return m.put / ChunkSize }

// lulled runs f beside a Spool in a bubble, whose Uploader is returned.
func lulled(t *testing.T, f func(t *testing.T, c *setup, s *Spool, came *noting)) {
	synctest.Test(t, func(t *testing.T) {
		came := &noting{came: map[brevet.SessionID]int{}}
		s, err := OpenSpool(t.TempDir(), came)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx) }()
		defer func() { cancel(); <-done }()
		c := onSpool(identity(t), s)
		c.Within = time.Hour // the bubble's clock runs while the disk works
		f(t, c, s, came)
	})
}

const (
	bulk  = brevet.SessionID("ses_01h00000000000000000000001")
	other = brevet.SessionID("ses_01h00000000000000000000002")
)

func TestBurstIsDeliveredInALull(t *testing.T) {
	lulled(t, func(t *testing.T, c *setup, s *Spool, came *noting) {
		m := move(t, c, bulk)
		m.run(t, 3)
		synctest.Wait()
		if n := came.of(bulk); n > m.chunks()/3 {
			t.Errorf("while it moves much, %d of %d chunks were delivered", n, m.chunks())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := came.of(bulk); n < m.chunks() {
			t.Errorf("in a lull, %d of %d chunks were delivered", n, m.chunks())
		}
		m.run(t, 3)
		if err := m.w.Close("exit"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if d := s.Debt(); d != (Debt{}) {
			t.Errorf("its end waits for a lull: debt %+v", d)
		}
	})
}

func TestBurstHoldsUpNothingSmall(t *testing.T) {
	lulled(t, func(t *testing.T, c *setup, _ *Spool, came *noting) {
		small := move(t, c, other)
		m := move(t, c, bulk)
		for i := range 4 {
			small.w.Output(Stdout, []byte("$ \n"))
			m.run(t, 2) // flushed after a second
			synctest.Wait()
			if n, want := came.of(other), i+2; n != want {
				t.Errorf("beside a burst, %d chunks of a quiet session were delivered, want %d", n, want)
			}
		}
		small.w.Close("exit")
		m.w.Close("exit")
	})
}

func TestBurstIsNotHeldForLong(t *testing.T) {
	lulled(t, func(t *testing.T, c *setup, _ *Spool, came *noting) {
		m := move(t, c, bulk)
		m.run(t, 2)
		before := m.chunks()
		m.run(t, int(holdWithin/time.Second))
		synctest.Wait()
		if n := came.of(bulk); n < before {
			t.Errorf("after %v of burst, %d chunks were delivered, where %d had waited so long", holdWithin, n, before)
		}
		m.w.Close("exit")
	})
}

func TestBurstIsHeldOnlyOnRoomyDisks(t *testing.T) {
	now := time.Now()
	d := &delivery{durable: 100, waiting: 1 << 20}
	s := &Spool{open: map[brevet.SessionID]*delivery{bulk: d}}
	s.burst(d, now)
	if !s.held(d) {
		t.Error("a burst is not held")
	}
	d.waiting = holdBytes
	if s.held(d) {
		t.Errorf("%d bytes wait, and more may", d.waiting)
	}
}

func TestGrowthTellsBurstsFromTyping(t *testing.T) {
	tests := []struct {
		name  string
		every time.Duration
		want  bool
	}{
		{"a chunk a second, as whoever types has", time.Second, false},
		{"eight a second", time.Second / 8, false},
		{"a thousand a second", time.Millisecond, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var g growth
			var seen []bool
			for i := range 3 * burstChunks {
				seen = append(seen, g.chunk(time.Unix(0, 0).Add(time.Duration(i)*tt.every)))
			}
			if got := slices.Contains(seen, true); got != tt.want {
				t.Errorf("a burst is seen: %t, want %t", got, tt.want)
			}
		})
	}
}
