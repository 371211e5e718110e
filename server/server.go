// Package server wires Brevet's parts together: it founds organisations (Found), runs the
// control plane with its issuer and a gateway in one process (Run), and gateways in processes of
// their own (RunGateway).
//
// It owns the data folder: its configuration, its lock, and the sealed keys in it. What the parts
// do is their own; nothing here decides who may do what.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/api"
	"github.com/brevet-pim/brevet/api/dial"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/flow/watch"
	"github.com/brevet-pim/brevet/issuer"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/server/config"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// Options say what to run.
type Options struct {
	Data    string    // the data folder
	Version string    // of this build
	Log     io.Writer // what the process tells of itself
}

// Run runs the control plane of a data folder until ctx ends, then stops in an orderly way:
// sessions are told, calls are answered, and the log says that the server stopped. The first
// part that fails ends all.
//
// A server that cannot tell who may do what does not start: if roster, catalog or the log's head
// were edited in the database, the error says which.
func Run(ctx context.Context, o Options) error {
	lock, err := lockFolder(o.Data)
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, unfinished, err := readFounding(o.Data); err != nil {
		return err
	} else if unfinished {
		return brevet.Errorf(brevet.Conflict, "brevet init was cut off before it was done").WithHint("run it again: brevet init --data %s", o.Data)
	}
	c, err := config.Read(o.Data)
	if err != nil {
		return err
	}
	s := &server{Options: o, config: c, log: newLogger(o.Log, c.Log), closing: make(chan struct{})}
	defer func() { s.close(ctx) }()
	if err := s.open(ctx); err != nil {
		return err
	}
	if err := s.listen(); err != nil {
		return err
	}
	return s.run(ctx)
}

// server is a control plane that is being opened, runs, or is being closed.
type server struct {
	Options
	config config.Config
	log    *slog.Logger

	vault  vault
	store  *store.Store
	issuer *issuer.Issuer
	spine  *flow.Spine
	shown  func(*tls.ClientHelloInfo) (*tls.Certificate, error) // at the API's listeners
	pin    dial.Pin                                             // of what is shown to people

	closing  chan struct{} // closed when the API begins to stop
	outside  net.Listener  // of the API
	memory   *memory       // of the API, for the gateway in this process
	people   net.Listener  // of the gateway; nil if it is off
	tidiedUp []func() error
}

// open opens what the data folder holds, in the order in which the parts rest on each other.
func (s *server) open(ctx context.Context) error {
	v, sealing, err := openVault(s.Data, config.Path(s.Data, s.config.SealKey))
	if err != nil {
		return err
	}
	s.vault = v
	signer, err := logSigner(v, s.config)
	if err != nil {
		return err
	}
	if err := hasDatabase(s.Data, s.config); err != nil {
		return err
	}
	checked := &proof.Memory{}
	if s.store, err = openStore(ctx, s.Data, s.config, signer.Telling(checked.SignedCheckpoint), s.log); err != nil {
		return err
	}
	s.tidiedUp = append(s.tidiedUp, s.store.Close)
	root := statement.ID(s.config.Organisation.Root)
	s.issuer, err = issuer.Open(ctx, issuer.Config{
		Dir: filepath.Join(s.Data, issuerDir), Key: sealing, Root: root, Clock: time.Now, Log: s.log, Memory: checked,
	})
	if err != nil {
		return lost(err)
	}
	s.tidiedUp = append(s.tidiedUp, s.issuer.Close)
	recorder, err := v.identity(recorderFile)
	if err != nil {
		return err
	}
	notices, err := statementSigner(v)
	if err != nil {
		return err
	}
	s.spine = &flow.Spine{
		Store:      s.store,
		Issuer:     s.issuer,
		Root:       root,
		Hub:        &watch.Hub{},
		Recordings: &record.Store{Dir: filepath.Join(s.Data, recordingsDir)},
		Recorder:   recorder,
		Server:     serverName,
		Signer:     notices,
		Memory:     checked,
		LogKey:     signer.Key(),
		Clock:      time.Now,
		Log:        s.log,
		KeepEvents: time.Duration(s.config.KeepDays) * 24 * time.Hour,
	}
	if err := s.spine.Begin(ctx); err != nil {
		return lost(err)
	}
	return s.openCertificate()
}

// hasDatabase refuses to open, and so to make, a SQLite database that the founding has made already.
func hasDatabase(dir string, c config.Config) error {
	if c.Database != "" {
		return nil
	}
	if _, err := os.Stat(filepath.Join(dir, databaseFile)); errors.Is(err, fs.ErrNotExist) {
		return brevet.Errorf(brevet.NotFound, "the database %s is missing, and the rest of the organisation is here", filepath.Join(dir, databaseFile)).
			Because(err).WithHint(putBack)
	}
	return nil
}

// lost says what to do when something of an organisation that was founded is not there. Founding another
// one is no remedy.
func lost(err error) error {
	if e, ok := errors.AsType[*brevet.Error](err); ok && e.Kind == brevet.NotFound {
		return e.WithHint(putBack)
	}
	return err
}

// openCertificate prepares what the API shows: the authority's certificate to the gateway in this
// process, and to others the same, or the operator's own.
func (s *server) openCertificate() error {
	key, err := s.vault.key(tlsKeyFile)
	if err != nil {
		return err
	}
	own := &certificate{
		authority: s.issuer, machine: serverName, names: namesFor(serverName, s.config.Listen, s.config.Address), key: key, log: s.log,
	}
	if _, err = own.get(nil); err != nil { // what is wrong shows now, and not at the first call
		return err
	}
	s.shown, s.pin = own.get, dial.PinOf(s.issuer.CACertificate())
	if s.config.TLS.Certificate == "" {
		return nil
	}
	operators, pin, err := readCertificate(config.Path(s.Data, s.config.TLS.Certificate), config.Path(s.Data, s.config.TLS.Key))
	if err != nil {
		return err
	}
	s.pin = pin
	s.shown = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == string(serverName) {
			return own.get(hello)
		}
		return operators, nil
	}
	return nil
}

func (s *server) listen() error {
	l, err := listenAt(s.config.Listen, "listen")
	if err != nil {
		return err
	}
	s.outside, s.memory = newCrowd(l), newMemory()
	s.tidiedUp = append(s.tidiedUp, s.outside.Close, s.memory.Close)
	if s.config.Gateway.Off {
		return nil
	}
	if s.people, err = listenAt(s.config.Gateway.Listen, "gateway.listen"); err != nil {
		return err
	}
	s.tidiedUp = append(s.tidiedUp, s.people.Close)
	return nil
}

func listenAt(address, field string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, brevet.Errorf(brevet.Unavailable, "cannot listen at %s: %v", address, errors.Unwrap(err)).Because(err).
			WithHint("choose another address in the configuration: %s", field)
	}
	return l, nil
}

// How long the parts may take to stop.
const (
	callsWithin  = 5 * time.Second
	eventsWithin = 5 * time.Second
)

// run runs the parts. Those in front (the gateway) end first, while those behind them (API and
// spine) still take what they have to say.
func (s *server) run(ctx context.Context) error {
	web := s.web()
	front := newParts(ctx)
	behind := newParts(context.WithoutCancel(ctx))
	behind.Go(s.spine.Run)
	behind.Go(func(context.Context) error { return served(web.ServeTLS(s.outside, "", "")) })
	behind.Go(func(context.Context) error { return served(web.ServeTLS(s.memory, "", "")) })
	if s.people != nil {
		front.Go(s.runGateway)
	}
	front.Go(s.verifyLog)
	front.Go(tidyHeap)
	if err := s.tell(ctx, "server.started", "the server came up"); err != nil {
		front.End(err)
	}
	s.log.InfoContext(ctx, "ready", "version", s.Version, "api", s.outside.Addr().String(), "ssh", s.sshAddress(), "database", s.databaseKind(), "data", s.Data)

	select {
	case <-front.Done():
	case <-behind.Done():
		front.End(nil)
	}
	s.log.InfoContext(ctx, "stopping")
	failed := front.Wait()
	close(s.closing)
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), callsWithin)
	defer cancel()
	if err := web.Shutdown(late); err != nil {
		s.log.WarnContext(ctx, "some calls were cut off", "error", errors.Join(err, web.Close()))
	}
	stopped := s.tell(ctx, "server.stopped", "the server was asked to stop")
	behind.End(nil)
	return errors.Join(failed, behind.Wait(), stopped)
}

func served(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// web is the API's server, with the one path that is no part of the API.
func (s *server) web() *http.Server {
	calls := api.New(api.Config{
		Spine: s.spine, Version: s.Version, Address: s.config.Address, Pin: s.pin, Log: s.log, Closing: s.closing,
	})
	return api.Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			s.health(w, r)
			return
		}
		calls.ServeHTTP(w, r)
	}), s.shown, s.log)
}

// health answers load balancers: whether the server can do its work, and nothing else.
func (s *server) health(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if err := s.store.Ping(r.Context()); err != nil {
		s.log.WarnContext(r.Context(), "not healthy", "error", err)
		message, _ := brevet.MessageOf(err)
		http.Error(w, message, http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ok\n") // whoever asked has gone
}

// tell writes an event of the server's own life.
func (s *server) tell(ctx context.Context, kind, message string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), eventsWithin) // also while stopping
	defer cancel()
	now := time.Now()
	_, err := s.store.Change(ctx, func(*store.Tx) ([]brevet.Event, error) {
		return []brevet.Event{{
			ID: brevet.NewEventID(now), Kind: kind, Subject: string(serverName), At: now, Actor: brevet.Caller{Machine: serverName},
			Outcome: "success", Message: message, Detail: map[string]string{"version": s.Version},
		}}, nil
	})
	return err
}

// verifyLog recomputes the whole log once, beside the work: what was edited while the server
// was down is known soon after it is up.
func (s *server) verifyLog(ctx context.Context) error {
	found, err := s.store.VerifyLog(ctx, store.Verification{})
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.log.ErrorContext(ctx, "the log was not verified", "error", err)
	case found.Problem != nil:
		s.log.ErrorContext(ctx, "the log does not hold", "first", found.Problem.First, "last", found.Problem.Last, "problem", found.Problem.What)
		if err := s.tell(ctx, "log.mismatch", found.Problem.String()); err != nil {
			s.log.ErrorContext(ctx, "the log takes no more events", "error", err)
		}
	default:
		s.log.InfoContext(ctx, "the log holds", "events", found.Events)
	}
	<-ctx.Done() // a part that returns ends the others
	return nil
}

func (s *server) sshAddress() string {
	if s.people == nil {
		return "off"
	}
	return s.people.Addr().String()
}

func (s *server) databaseKind() string {
	if s.config.Database == "" {
		return "SQLite"
	}
	return "PostgreSQL"
}

// close closes what was opened, the last first.
func (s *server) close(ctx context.Context) {
	for i := len(s.tidiedUp) - 1; i >= 0; i-- {
		if err := s.tidiedUp[i](); err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.WarnContext(ctx, "closing", "error", err)
		}
	}
}

// parts run side by side. The first that returns ends the others.
type parts struct {
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu   sync.Mutex // guards errs
	errs []error
}

func newParts(ctx context.Context) *parts {
	ctx, cancel := context.WithCancel(ctx)
	return &parts{ctx: ctx, cancel: cancel}
}

// Go runs a part.
func (p *parts) Go(run func(context.Context) error) {
	p.group.Go(func() { p.End(run(p.ctx)) })
}

// End ends all parts, for a reason or for none.
func (p *parts) End(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if why != nil {
		p.errs = append(p.errs, why)
	}
	p.cancel()
}

// Done is closed when the parts are to end.
func (p *parts) Done() <-chan struct{} { return p.ctx.Done() }

// Wait waits for all, and returns why they ended.
func (p *parts) Wait() error {
	p.group.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.errs...)
}
