package limit

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func TestOneSourceDoesNotSpendAnothers(t *testing.T) {
	s := New(time.Minute, 5)
	attacker, victim := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i := range 5 {
		if !s.Allow(attacker, start) {
			t.Fatalf("try %d was refused", i+1)
		}
	}
	if s.Allow(attacker, start) {
		t.Error("a sixth try within the minute went through")
	}
	if !s.Allow(victim, start) {
		t.Error("another address has no budget left")
	}
	if !s.Allow(attacker, start.Add(time.Minute)) {
		t.Error("the budget did not refill")
	}
}

func TestAddressesOfOneParty(t *testing.T) {
	for _, tt := range []struct {
		name, a, b string
		same       bool
	}{
		{"mapped IPv4 is the IPv4 address", "192.0.2.1", "::ffff:192.0.2.1", true},
		{"one /64", "2001:db8::1", "2001:db8::ffff", true},
		{"two /64", "2001:db8::1", "2001:db8:0:1::1", false},
		{"zones do not count", "fe80::1%a", "fe80::1%b", true},
		{"two IPv4 addresses", "192.0.2.1", "192.0.2.2", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := New(time.Hour, 1)
			s.Allow(netip.MustParseAddr(tt.a), start)
			if got := !s.Allow(netip.MustParseAddr(tt.b), start); got != tt.same {
				t.Errorf("share a budget: %v, want %v", got, tt.same)
			}
		})
	}
}

func TestMemoryIsBounded(t *testing.T) {
	s := New(time.Minute, 5)
	for i := range 3 * maxSources {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(i))
		s.Allow(netip.AddrFrom4(b), start)
	}
	if len(s.seen) > maxSources {
		t.Errorf("%d sources are remembered", len(s.seen))
	}
	s.Allow(netip.MustParseAddr("203.0.113.9"), start.Add(time.Hour))
	if len(s.seen) > 1 {
		t.Errorf("%d idle sources are still remembered", len(s.seen))
	}
}
