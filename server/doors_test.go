package server_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet/server"
)

// TestNothingElseIsOpen knocks at every listener for what programs in Go tend to leave open: profiles,
// variables, metrics, traces, and lists of what there is. None answers, with or without TLS.
func TestNothingElseIsOpen(t *testing.T) {
	f := founding(t)
	mustFound(t, f)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	found, ended := make(doorFinder, 1), make(chan error, 1)
	go func() { ended <- server.Run(ctx, server.Options{Data: f.Data, Version: "test", Log: found}) }()
	var doors []string
	select {
	case doors = <-found:
	case err := <-ended:
		t.Fatal(err)
	}
	if status, body := knock(t, "https://"+doors[0]+"/healthz"); status != http.StatusOK || body != "ok\n" {
		t.Errorf("/healthz: %d %q", status, body)
	}
	for _, path := range []string{
		"/", "/metrics", "/debug/pprof/", "/debug/pprof/profile?seconds=1", "/debug/pprof/cmdline", "/debug/vars", "/debug/requests", "/debug/events",
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/healthz/../debug/pprof/", "/.env", "/config.yaml", "/../seal.key",
	} {
		for _, address := range doors {
			for _, scheme := range []string{"http", "https"} {
				if status, body := knock(t, scheme+"://"+address+path); status < 400 {
					t.Errorf("%s at %s://%s answers %d:\n%s", path, scheme, address, status, body)
				}
			}
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

var doorsIn = regexp.MustCompile(`msg=ready .*api=(\S+) ssh=(\S+)`)

// doorFinder reads a server's log until it tells at which addresses it listens.
type doorFinder chan []string

func (f doorFinder) Write(line []byte) (int, error) {
	if m := doorsIn.FindStringSubmatch(string(line)); m != nil {
		f <- m[1:]
	}
	return len(line), nil
}

// knock gets a page as a scanner would, and returns its status, or 600 if what answers is not HTTP.
func knock(t *testing.T, url string) (int, string) {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // it only looks what is open
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(request)
	if err != nil {
		return 600, err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	if err != nil {
		return 600, err.Error()
	}
	return answer.StatusCode, strings.ToValidUTF8(string(body), "?")
}
