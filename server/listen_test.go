package server

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
)

func TestCrowdLeavesRoomForOthers(t *testing.T) {
	c := newCrowd(nil)
	c.most, c.mostOfSource = 5, 3
	one, two := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")
	steps := []struct {
		name  string
		enter netip.Prefix
		leave netip.Prefix
		want  bool
	}{
		{name: "first", enter: one, want: true},
		{name: "second", enter: one, want: true},
		{name: "third", enter: one, want: true},
		{name: "one too many of a source", enter: one, want: false},
		{name: "another source", enter: two, want: true},
		{name: "another source again", enter: two, want: true},
		{name: "one too many in all", enter: two, want: false},
		{name: "after one has left", leave: one, enter: two, want: true},
		{name: "full again", enter: one, want: false},
	}
	for _, s := range steps {
		if s.leave.IsValid() {
			c.leave(s.leave)
		}
		if got := c.enter(s.enter); got != s.want {
			t.Errorf("%s: got %v", s.name, got)
		}
	}
}

func TestSourceOf(t *testing.T) {
	tests := []struct {
		name string
		addr net.Addr
		want string
	}{
		{name: "IPv4", addr: &net.TCPAddr{IP: net.ParseIP("192.0.2.7"), Port: 1}, want: "192.0.2.7/32"},
		{name: "IPv4 in IPv6", addr: &net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.7"), Port: 1}, want: "192.0.2.7/32"},
		{name: "a subscriber's IPv6 network", addr: &net.TCPAddr{IP: net.ParseIP("2001:db8:1:2:3:4:5:6"), Port: 1}, want: "2001:db8:1:2::/64"},
		{name: "a zone", addr: &net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, want: "fe80::/64"},
		{name: "no address", addr: inProcess{}, want: "invalid Prefix"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := sourceOf(tt.addr).String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestCrowdClosesWhomItHasNoRoomFor uses real connections: one too many is closed, and room comes back.
func TestCrowdClosesWhomItHasNoRoomFor(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := newCrowd(l)
	c.mostOfSource = 1
	defer c.Close()
	accepted := make(chan net.Conn)
	go func() {
		for {
			conn, err := c.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- conn
		}
	}()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	dial()
	first := <-accepted
	if _, err := dial().Read(make([]byte, 1)); err == nil {
		t.Error("the second connection was not closed")
	}
	if err := errors.Join(first.Close(), nil); err != nil {
		t.Fatal(err)
	}
	_ = first.Close() // twice leaves once
	dial()
	(<-accepted).Close()
}

func TestMemoryCarriesHTTP(t *testing.T) {
	m := newMemory()
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})}
	done := make(chan error)
	go func() { done <- web.Serve(m) }()
	client := &http.Client{Transport: &http.Transport{DialContext: m.dial}}
	for range 3 {
		res, err := client.Get("http://server/")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	client.CloseIdleConnections()
	if err := web.Close(); err != nil {
		t.Fatal(err)
	}
	<-done
	if _, err := m.dial(t.Context(), "", ""); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dialling a closed listener: %v", err)
	}
}
