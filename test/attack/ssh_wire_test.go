package attack_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/brevet-pim/brevet/test/gatewaytest"
	"github.com/brevet-pim/brevet/test/testenv"
)

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// knock connects to a forwarded port as soon as it is there, asks for the address if it is a SOCKS
// proxy, and returns when the connection is over.
func knock(t *testing.T, ctx context.Context, local string, socks bool, there string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.Dial("tcp", local)
		if err == nil {
			defer c.Close()
			must(t, c.SetDeadline(time.Now().Add(patience)))
			if socks {
				ask(t, c, there)
			}
			if got, err := io.ReadAll(c); errors.Is(err, context.DeadlineExceeded) || strings.Contains(string(got), "SSH-") {
				t.Errorf("through %s came %q, %v", local, got, err)
			}
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("ssh never listened at %s", local)
		}
	}
}

// ask speaks SOCKS 5.
func ask(t *testing.T, c net.Conn, there string) {
	t.Helper()
	host, port, err := net.SplitHostPort(there)
	must(t, err)
	n, err := strconv.ParseUint(port, 10, 16)
	must(t, err)
	request := append([]byte{5, 1, 0, 5, 1, 0, 1}, net.ParseIP(host).To4()...)
	_, err = c.Write(binary.BigEndian.AppendUint16(request, uint16(n)))
	must(t, err)
}

// middleman stands between two SSH peers, before they have keys, and slips a packet in behind the
// first one of one side.
type middleman struct {
	to     string // host:port
	fromTo bool   // slip it to the server; else to the client
	packet []byte // nil: none
}

// start returns the address where the middleman listens.
func (m middleman) start(t *testing.T) string {
	t.Helper()
	l := listen(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go m.carry(c)
		}
	}()
	return l.Addr().String()
}

func (m middleman) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", m.to)
	if err != nil {
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	both.Go(func() {
		m.copy(server, client, m.fromTo)
		server.(*net.TCPConn).CloseWrite()
	})
	both.Go(func() {
		m.copy(client, server, !m.fromTo)
		client.(*net.TCPConn).CloseWrite()
	})
	both.Wait()
}

func (m middleman) copy(to io.Writer, from io.Reader, slip bool) {
	if slip && m.packet != nil {
		one := make([]byte, 1)
		for one[0] != '\n' { // the line that says who is there
			if _, err := io.ReadFull(from, one); err != nil {
				return
			}
			_, _ = to.Write(one)
		}
		var length [4]byte
		if _, err := io.ReadFull(from, length[:]); err != nil {
			return
		}
		_, _ = to.Write(length[:])
		if _, err := io.CopyN(to, from, int64(binary.BigEndian.Uint32(length[:]))); err != nil {
			return
		}
		_, _ = to.Write(m.packet)
	}
	_, _ = io.Copy(to, from) // ends with either
}

// plain frames a payload as SSH does before there are keys.
func plain(payload ...byte) []byte {
	padding := 8 - (5+len(payload))%8 + 8
	packet := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+padding))
	packet = append(append(packet, byte(padding)), payload...)
	return append(packet, make([]byte, padding)...)
}

// Messages of RFC 4253, section 12.
const (
	msgIgnore      = 2
	msgDebug       = 4
	msgServiceCall = 5
	msgExtInfo     = 7
)

// TestNothingIsSlippedInBeforeTheKeys (Q5): CVE-2023-48795 begins with a packet that nobody signed for.
// The gateway ends such a connection, at its own door and towards a target.
func TestNothingIsSlippedInBeforeTheKeys(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	packets := map[string][]byte{
		"ignore": plain(msgIgnore, 0, 0, 0, 0), "debug": plain(msgDebug, 0, 0, 0, 0, 0, 0, 0, 0, 0),
		"ext-info": plain(msgExtInfo, 0, 0, 0, 0), "a call for a service": plain(append([]byte{msgServiceCall, 0, 0, 0, 12}, "ssh-userauth"...)...),
	}
	for _, leg := range []struct {
		name     string
		toServer bool
		via      func(packet []byte) ran
	}{
		{"to the gateway", true, func(packet []byte) ran {
			at := middleman{w.Addr, true, packet}.start(t)
			_, port, _ := net.SplitHostPort(at)
			return stock(t, w, "-p", port, "gw", "echo in")
		}},
		{"from a target", false, func(packet []byte) ran {
			target := w.Target
			target.Address = middleman{w.SSHD.Addr, false, packet}.start(t)
			w.Plane.AddTarget(target)
			defer w.Plane.AddTarget(w.Target)
			return stock(t, w, "gw", "echo in")
		}},
	} {
		t.Run(leg.name, func(t *testing.T) {
			if got := leg.via(nil); got.out != "in\n" {
				t.Fatalf("a middleman who only carries: %+v", got)
			}
			for name, packet := range packets {
				if got := leg.via(packet); got.status != 255 || got.out != "" {
					t.Errorf("%s slipped in: %+v", name, got)
				}
			}
		})
	}
}

// TestTargetsWithoutAuthenticatedCiphers (Q5): towards targets too there is no cipher to truncate.
func TestTargetsWithoutAuthenticatedCiphers(t *testing.T) {
	for _, line := range []string{"Ciphers chacha20-poly1305@openssh.com", "Ciphers aes256-ctr,aes128-cbc"} {
		w := gatewaytest.Start(t, gatewaytest.Options{SSHD: testenv.SSHDOptions{Extra: []string{line}}})
		w.Plane.Grant("bob", "web-root", time.Hour)
		if got := stock(t, w, "gw", "true"); got.status != 255 || strings.Contains(w.SSHD.Log(), "Accepted") {
			t.Errorf("a target with %q: %+v", line, got)
		}
	}
}
