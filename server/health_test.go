package server_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet/api/dial"
	"github.com/brevet-pim/brevet/server"
)

// reachable founds an organisation whose server can be asked before its address is told, and a client of it.
func reachable(t *testing.T) (server.Founding, *http.Client) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := founding(t)
	f.Config.Listen, f.Config.Address = l.Addr().String(), l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	done := mustFound(t, f)
	pin, err := dial.ParsePin(done.Pin)
	if err != nil {
		t.Fatal(err)
	}
	client, err := dial.Client(f.Config.Address, pin, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return f, client
}

// TestHealth asks a running server as a load balancer does, and as somebody who is lost.
func TestHealth(t *testing.T) {
	f, client := reachable(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	log := &lines{}
	log.ready = func() {
		defer stop()
		for path, want := range map[string]struct {
			status int
			text   string
		}{
			"/healthz":   {http.StatusOK, "ok\n"},
			"/healthz/":  {http.StatusNotFound, ""},
			"/":          {http.StatusNotFound, ""},
			"/brevet.v1": {http.StatusNotFound, ""},
		} {
			res, err := client.Get("https://" + f.Config.Address + path)
			if err != nil {
				t.Error(err)
				continue
			}
			text, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || res.StatusCode != want.status || want.text != "" && string(text) != want.text {
				t.Errorf("%s: %d %q, %v", path, res.StatusCode, text, err)
			}
			if res.ProtoMajor != 2 {
				t.Errorf("%s: %s, not HTTP/2", path, res.Proto)
			}
		}
	}
	if err := server.Run(ctx, server.Options{Data: f.Data, Version: "test", Log: log}); err != nil {
		t.Fatalf("%v\n%s", err, log.text.String())
	}
}

// TestHealthWithoutItsFile: a server whose database file is taken away is not well, though SQLite goes on.
func TestHealthWithoutItsFile(t *testing.T) {
	f, client := reachable(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	file := filepath.Join(f.Data, "brevet.db")
	asked := func(status int, says string) {
		res, err := client.Get("https://" + f.Config.Address + "/healthz")
		if err != nil {
			t.Error(err)
			return
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != status || !strings.Contains(string(text), says) {
			t.Errorf("%d %q, %v; want %d %q", res.StatusCode, text, err, status, says)
		}
	}
	log := &lines{}
	ask := func() {
		defer stop()
		if err := os.Rename(file, file+".away"); err != nil {
			t.Error(err)
		}
		asked(http.StatusServiceUnavailable, "removed or replaced")
		if err := os.Rename(file+".away", file); err != nil {
			t.Error(err)
		}
		asked(http.StatusOK, "ok")
	}
	log.ready = func() { go ask() } // beside the log, in which the server tells that it is not well
	if err := server.Run(ctx, server.Options{Data: f.Data, Version: "test", Log: log}); err != nil {
		t.Fatalf("%v\n%s", err, log.text.String())
	}
}
