package ssh

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/brevet-pim/brevet/gateway"
)

func TestDoorPushesOutTheOldestOfTheCrowd(t *testing.T) {
	d := &door{max: 3}
	var out []string
	enter := func(name, address string) func() {
		return d.enter(netip.MustParseAddr(address), func() { out = append(out, name) })
	}
	enter("alone", "192.0.2.1")
	leave := enter("crowd 1", "2001:db8::1")
	enter("crowd 2", "2001:db8::2") // one subscriber's network
	enter("crowd 3", "2001:db8::3")
	enter("other", "192.0.2.9")
	leave() // was pushed out already
	enter("mapped", "::ffff:192.0.2.1")
	// The third to go is the oldest of any source, since all have one.
	if len(out) != 3 || !slices.Equal(out[:2], []string{"crowd 1", "crowd 2"}) || d.count != 3 {
		t.Errorf("pushed out %q, %d are in", out, d.count)
	}
}

func TestDoorForgetsWhoLeft(t *testing.T) {
	d := &door{max: 10}
	var leaves []func()
	for i := range 1000 {
		leaves = append(leaves, d.enter(netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i%250)), func() {}))
	}
	for _, leave := range leaves {
		leave()
	}
	if d.count != 0 || len(d.waiting) != 0 {
		t.Errorf("%d are in, of %d sources", d.count, len(d.waiting))
	}
}

// A stranger who says nothing, or stops in the middle, is gone after handshakeWithin.
func TestSlowStrangers(t *testing.T) {
	for name, says := range map[string]string{
		"nothing": "", "a greeting": "SSH-2.0-slow\r\n", "half a greeting": "SSH-2", "half a TLS header": "\x16\x03", "HTTP": "GET / HTTP/1.1\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, hostKey := newTestKey(t)
				s := &Server{Gateway: &gateway.Gateway{Log: slog.New(slog.DiscardHandler)}, HostKey: hostKey}
				ours, theirs := net.Pipe()
				start := time.Now()
				done := make(chan struct{})
				go func() {
					defer close(done)
					s.serve(t.Context(), ours, func() {})
				}()
				go func() {
					theirs.Write([]byte(says))
					var b [4096]byte
					for {
						if _, err := theirs.Read(b[:]); err != nil {
							return
						}
					}
				}()
				<-done
				if took := time.Since(start); took > handshakeWithin+speakWithin {
					t.Errorf("closed after %v", took)
				}
				theirs.Close()
			})
		})
	}
}
