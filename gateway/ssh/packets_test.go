package ssh

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
)

// newWire returns the two ends of a connection without any buffer, packets on the one.
func newWire(t *testing.T, ahead bool) (*packets, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	p := newPackets(near, &buffers{}, ahead)
	p.joining.Store(true)
	return p, far
}

// packet returns the writes that golang.org/x/crypto/ssh makes of a packet of random bytes.
func packet(size int) (whole []byte, writes [][]byte) {
	whole = make([]byte, size)
	for i := range whole {
		whole[i] = byte(rand.Uint32())
	}
	if size <= bufioSize {
		return whole, [][]byte{whole}
	}
	return whole, [][]byte{whole[:bufioSize], whole[bufioSize:]}
}

// TestPacketsStayInOrder writes packets of all sizes, and small ones between large ones.
func TestPacketsStayInOrder(t *testing.T) {
	for _, ahead := range []bool{false, true} {
		t.Run(fmt.Sprintf("ahead %t", ahead), func(t *testing.T) { testOrder(t, ahead) })
	}
}

func testOrder(t *testing.T, ahead bool) {
	p, far := newWire(t, ahead)
	var want []byte
	var all [][]byte
	for n := range 400 {
		size := 20 + rand.IntN(100)
		if n%3 > 0 {
			size = bufioSize + 1 + rand.IntN(34_000-bufioSize)
		}
		whole, writes := packet(size)
		want, all = append(want, whole...), append(all, writes...)
	}
	go func() {
		for _, w := range all {
			if _, err := p.Write(w); err != nil {
				t.Error(err)
			}
		}
	}()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(far, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("other bytes came, or in another order")
	}
}

func (c *packets) waits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writing || c.queue != nil
}

// TestASmallPacketIsWrittenAtOnce: whoever wrote it knows that it is on its way.
func TestASmallPacketIsWrittenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, far := newWire(t, true)
		written := false
		go func() {
			p.Write([]byte("a keystroke"))
			written = true
		}()
		synctest.Wait()
		if written {
			t.Error("Write returned and nobody had read")
		}
		far.Read(make([]byte, 100))
		synctest.Wait()
		if !written || p.waits() {
			t.Errorf("written: %v, something waits: %v", written, p.waits())
		}
	})
}

// TestALargePacketIsOneWrite, of the two that it comes in; not ahead, it is written when Write returns.
func TestALargePacketIsOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, far := newWire(t, false)
		whole, writes := packet(32 << 10)
		written := 0
		go func() {
			for _, w := range writes {
				p.Write(w)
				written++
			}
		}()
		synctest.Wait()
		if written != 1 {
			t.Errorf("%d of two writes returned and nobody had read", written)
		}
		if n, err := far.Read(make([]byte, bigRead)); n != len(whole) {
			t.Errorf("%d bytes came at once, want %d: %v", n, len(whole), err)
		}
		synctest.Wait()
		if written != 2 || p.waits() {
			t.Errorf("%d writes returned, something waits: %v", written, p.waits())
		}
	})
}

// TestAPeerThatDoesNotRead holds up whoever writes to it, once no more may wait; what was written meanwhile
// comes in few pieces.
func TestAPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, far := newWire(t, true)
		taken := 0
		go func() {
			for range 50 {
				_, writes := packet(32 << 10)
				for _, w := range writes {
					n, err := p.Write(w)
					if taken += n; err != nil {
						return
					}
				}
			}
		}()
		synctest.Wait()
		if most := 2 * mostQueued; taken == 0 || taken > most { // what waits, and what is being written
			t.Errorf("%d bytes were taken for a peer that reads none, want at most %d", taken, most)
		}
		b := make([]byte, bigRead)
		far.Read(b) // the first one
		synctest.Wait()
		if n, err := far.Read(b); err != nil || n < mostQueued/2 {
			t.Errorf("%d bytes came at once: %v", n, err)
		}
		far.Close()
		synctest.Wait()
		if _, err := p.Write([]byte("more")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("after the peer is gone: %v", err)
		}
	})
}

// TestAnIdleConnectionHoldsNothing: when all is written, no buffer is borrowed for it and nobody writes.
func TestAnIdleConnectionHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, far := newWire(t, true)
		go io.Copy(io.Discard, far)
		for range 20 {
			_, writes := packet(32 << 10)
			for _, w := range writes {
				p.Write(w)
			}
		}
		synctest.Wait()
		if p.queue != nil || p.writing {
			t.Error("something is still held")
		}
	})
}
