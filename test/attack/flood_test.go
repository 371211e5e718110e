package attack_test

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet/test/gatewaytest"
)

// message is one of RFC 4254 that begins with a channel's number.
func message(kind byte, channel uint32, more ...byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, channel), more...)
}

// opening asks for a channel that there is not.
func opening(largest uint32) []byte {
	return append([]byte{msgChannelOpen}, gossh.Marshal(struct {
		Kind                  string
		Ours, Window, Largest uint32
	}{strings.Repeat("x", 1000), 0, 1 << 20, largest})...)
}

func text(s string) []byte { return gossh.Marshal(struct{ Text string }{s}) }

// TestWhatNoClientSends (Q7): somebody who is logged in sends what no protocol allows, without end. That ends
// the connection, or does nothing; it costs the gateway no memory, and the others nothing.
func TestWhatNoClientSends(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	other, err := gossh.Dial("tcp", w.Addr, &gossh.ClientConfig{
		User: w.Login + "%web1", Auth: []gossh.AuthMethod{gossh.PublicKeys(w.Bob)}, HostKeyCallback: gossh.FixedHostKey(w.Server.HostKey.PublicKey()),
	})
	must(t, err)
	defer other.Close()
	many := strings.Repeat("x", 1<<15)
	tests := []struct {
		name    string
		session bool // it is sent to a session that takes nothing in
		packet  func(channel uint32) []byte
		ends    bool // else it does nothing
	}{
		{"answers to no request", false, func(uint32) []byte { return []byte{msgRequestSuccess} }, false},
		{"refusals of no request", false, func(uint32) []byte { return []byte{msgRequestFailure} }, false},
		{"answers to no channel's request", true, func(c uint32) []byte { return message(msgChannelSuccess, c) }, false},
		{"refusals of no channel's request", true, func(c uint32) []byte { return message(msgChannelFailure, c) }, false},
		{"openings that nobody asked for", false, func(uint32) []byte { return message(msgOpenConfirm, 9, make([]byte, 12)...) }, true},
		{"the opening again", true, func(c uint32) []byte { return message(msgOpenConfirm, c, make([]byte, 12)...) }, true},
		{"failures that nobody asked for", true, func(c uint32) []byte { return message(msgOpenFailure, c, make([]byte, 12)...) }, true},
		{"data for no channel", false, func(uint32) []byte { return message(msgChannelData, 9, text("x")...) }, true},
		{"data beyond the window", true, func(c uint32) []byte { return message(msgChannelData, c, text(many)...) }, true},
		{"errors beyond the window", true, func(c uint32) []byte {
			return message(msgExtendedData, c, append([]byte{0, 0, 0, 1}, text(many)...)...)
		}, true},
		{"errors of an unknown kind", true, func(c uint32) []byte {
			return message(msgExtendedData, c, append([]byte{0, 0, 0, 9}, text(many)...)...)
		}, false},
		{"a window that overflows", true, func(c uint32) []byte { return message(msgWindowAdjust, c, 0xff, 0xff, 0xff, 0xff) }, true},
		{"data longer than its packet", true, func(c uint32) []byte { return message(msgChannelData, c, 0xff, 0xff, 0xff, 0xff, 'x') }, true},
		{"short messages", true, func(uint32) []byte { return []byte{msgChannelData, 0} }, true},
		{"unknown messages", false, func(uint32) []byte { return []byte{200, 1, 2, 3} }, false},
		{"messages of the login", false, func(uint32) []byte { return append([]byte{msgUserAuth}, text("root")...) }, false},
		{"an empty message", false, func(uint32) []byte { return nil }, true},
		{"ends again and again", true, func(c uint32) []byte { return message(msgChannelEOF, c) }, false},
		{"requests for no channel", false, func(uint32) []byte { return message(msgChannelRequest, 9, append(text(many[:1000]), 1)...) }, false},
		{"channels of an unknown kind", false, func(uint32) []byte { return opening(1 << 15) }, true},
		{"channels with packets of nothing", false, func(uint32) []byte { return opening(0) }, false},
		{"requests of an unknown kind", false, func(uint32) []byte { return append(append([]byte{msgGlobalRequest}, text("x")...), 1) }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := dialRaw(w, w.Bob)
			must(t, err)
			defer r.conn.Close()
			var channel uint32
			if tt.session {
				channel, err = r.open("sleep 60")
				must(t, err)
			}
			before := heap()
			ended := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, r.conn)
				ended <- err
			}()
			sent := flood(r, tt.packet(channel))
			_ = r.conn.SetReadDeadline(time.Now().Add(patience))
			if tt.ends && sent == floodBytes {
				t.Errorf("all of %d MiB was taken", floodBytes>>20)
			}
			r.conn.Close()
			if err := <-ended; errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection hangs")
			}
			if grown := heap() - before; grown > floodBytes/2 {
				t.Errorf("the gateway keeps %d MiB", grown>>20)
			}
			s, err := other.NewSession()
			must(t, err)
			if out, err := s.Output("echo in"); err != nil || string(out) != "in\n" {
				t.Errorf("another connection: %q, %v", out, err)
			}
		})
	}
}

// floodBytes is how much is sent, unless the gateway ends the connection: many times a channel's window.
const floodBytes = 16 << 20

// flood sends the packet again and again, and returns how many bytes were taken.
func flood(r *raw, payload []byte) (sent int) {
	for sent < floodBytes {
		var burst []byte
		for len(burst) < 1<<18 {
			burst = r.seal(burst, payload)
		}
		n, err := r.conn.Write(burst)
		if sent += n; err != nil {
			return sent
		}
	}
	return floodBytes
}

// heap is what this process, which has the gateway in it, holds.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
