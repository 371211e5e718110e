package ssh

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/brevet-pim/brevet/gateway"
)

// TestDrainGivesUp: whoever stops the process is not made to wait for what does not end, which is cut and logged.
func TestDrainGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &Server{Gateway: &gateway.Gateway{Log: slog.New(slog.NewTextHandler(&log, nil))}}
		ours, theirs := net.Pipe()
		p := &peer{socket: newSocket(ours, &s.buffers, func(error) {})}
		s.add(p)
		stuck := make(chan struct{})
		s.busy.Go(func() { <-stuck })
		start := time.Now()
		s.drain()
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
		if _, err := theirs.Read(make([]byte, 1)); err == nil {
			t.Error("the connection was not cut")
		}
		if !strings.Contains(log.String(), "connections=1") {
			t.Errorf("logged: %s", log.String())
		}
		close(stuck)
	})
}
