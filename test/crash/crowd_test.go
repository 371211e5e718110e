package crash_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
)

// The crowd: so many connections from each of two addresses to each port.
const (
	crowdOfEach = 1500
	// crowdMemory is how much the whole crowd may cost, in bytes: 6,000 connections of which the
	// server keeps those that it has room for.
	crowdMemory = 200 << 20
)

// TestCrowds: thousands of connections at both ports of a real server that say nothing, or one byte
// after another, or rubbish. Somebody from elsewhere signs in, asks and works all the same, and what
// the crowd costs is bounded.
func TestCrowds(t *testing.T) {
	t.Parallel()
	l, r := prepared(t)
	before := l.resident()
	hurry, stop := context.WithCancel(t.Context())
	var crowd sync.WaitGroup
	for _, from := range []string{"127.0.0.2", "127.0.0.3"} {
		for _, to := range []string{l.api, l.door} {
			for i := range crowdOfEach {
				conn := arrive(t, from, to)
				if conn == nil {
					continue // it is sent away already
				}
				crowd.Go(func() { loiter(hurry, conn, i) })
			}
		}
	}
	defer crowd.Wait()
	defer stop()

	l.visits = map[brevet.PersonID]*visit{} // everybody comes anew
	next := l.ask(agreed, 900)
	l.approve(next)
	l.until(next, brevet.Live)
	l.work()
	grown := l.resident() - before
	t.Logf("the crowd costs %d MiB beside the %d that there were", grown>>20, before>>20)
	if grown > crowdMemory {
		t.Error("that is too much")
	}
	l.revoke(r)
	l.gone("in the crowd")
	stop()
	crowd.Wait()
	l.suspend("bob")
	l.until(next, brevet.Ended)
	l.server.end(syscall.SIGTERM)
	if l.server.killed(t) {
		t.Error("the server was killed")
	}
}

// arrive connects from an address of this machine, or returns nil if nobody lets it.
func arrive(t *testing.T, from, to string) net.Conn {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(t.Context(), "tcp", to)
	if err != nil {
		return nil
	}
	return conn
}

// loiter stays connected in one of the ways of a crowd, until ctx ends or the other end has enough.
func loiter(ctx context.Context, conn net.Conn, i int) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	switch i % 4 {
	case 0: // says nothing
	case 1: // says something in small pieces, that never comes to an end
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for _, b := range []byte("\x16\x03\x01\x40\x00" + "SSH-2.0-slow-and-so-on-without-any-end-at-all") {
			if _, err := conn.Write([]byte{b}); err != nil {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	case 2: // rubbish
		_, _ = conn.Write(make([]byte, 16<<10)) // it may have been sent away
	case 3: // a handshake, and then nothing
		client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}) //nolint:gosec // it wants nothing but to be there
		_ = client.HandshakeContext(ctx)
	}
	_, _ = io.Copy(io.Discard, conn) // until one of both has enough
}

var residentIn = regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB$`)

// resident returns how much memory the server has, in bytes.
func (l *life) resident() int64 {
	l.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.server.cmd.Process.Pid))
	must(l.t, err)
	m := residentIn.FindSubmatch(status)
	if m == nil {
		l.t.Fatalf("no VmRSS in:\n%s", status)
	}
	kib, err := strconv.ParseInt(string(m[1]), 10, 64)
	must(l.t, err)
	return kib << 10
}
