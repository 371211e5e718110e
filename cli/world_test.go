package cli

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/api/dial"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/cli/home"
	"github.com/brevet-pim/brevet/identity/enrol"
	"github.com/brevet-pim/brevet/statement"
)

// world is an organisation with its founders, alice for one, and a server of its own that tells the truth until a
// test changes what it says. The stories with the real server stand in test/script.
type world struct {
	t       testing.TB
	keys    map[brevet.PersonID]string // files of the founders' keys and of bob's
	key     string                     // alice's
	alice   statement.Signer
	signers []statement.Signer // the founders
	bob     statement.Signer   // enrolled, may ask
	logKey  *audit.Signer
	rows    []*brevetv1.Leaf
	head    audit.Head
	stored  []tlog.Hash // of the tree, in their order
	root    statement.ID
	roster  []statement.Envelope
	catalog *brevetv1.GetCatalogResponse
	applied []*brevetv1.ApplyCatalogRequest
	roles   []*brevetv1.Role
	// What was handed in for the roster.
	appended  [][]byte
	invited   enrol.Code
	signedOut bool
	answers   []*brevetv1.AnswerInvitationRequest

	authority *x509.Certificate
	address   string
	token     enrol.Token
	thumb     string // the certificate that the token is bound to

	// What a lying server does.
	lie func(any)
}

// must returns the first result of a call, and fails the test for its error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// newWorld founds an organisation of alice, and of others if any are named; all of them must sign
// what changes it. Commands run as alice until become says otherwise.
func newWorld(t testing.TB, others ...brevet.PersonID) *world {
	t.Helper()
	w := &world{t: t, token: enrol.NewToken(), lie: func(any) {}, keys: map[brevet.PersonID]string{}}
	for _, founder := range append([]brevet.PersonID{"alice"}, others...) {
		w.keys[founder] = writeKey(t, filepath.Join(t.TempDir(), "id_ed25519"))
		w.signers = append(w.signers, signerOf(t, w.keys[founder]))
	}
	w.key, w.alice = w.keys["alice"], w.signers[0]
	w.keys["bob"] = writeKey(t, filepath.Join(t.TempDir(), "id_ed25519"))
	w.bob = signerOf(t, w.keys["bob"])
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.logKey = must(audit.NewSigner("example.org/brevet", private))(t)
	w.found(private, others)
	w.putCatalog(readFiles(t, smallCatalog))
	w.serve()
	t.Setenv("BREVET_SERVER", "")
	t.Setenv("SSH_AUTH_SOCK", "")
	t.Setenv("HOME", t.TempDir())
	w.become("alice")
	return w
}

// become gives the commands that follow the person's own folder.
func (w *world) become(person brevet.PersonID) {
	w.t.Helper()
	w.t.Setenv("BREVET_HOME", filepath.Join(w.t.TempDir(), "brevet"))
	h := must(home.Open(os.Getenv("BREVET_HOME")))(w.t)
	defer h.Close()
	p := home.Profile{Server: w.address, Root: string(w.root), Pin: dial.PinOf(w.authority).String(), Person: person, Key: w.keys[person]}
	if err := h.SetProfile(p); err != nil {
		w.t.Fatal(err)
	}
}

// smallCatalog is the files of the catalog that a world begins with.
var smallCatalog = map[string]string{
	"groups.yaml": "kind: Group\nname: admins\nmembers: [alice]\n",
	"brevet.cedar": `@id("admins-administer")
permit (principal in Group::"admins", action in [Action::"administer", Action::"audit"], resource);
@id("admins-ask")
permit (principal in Group::"admins", action in [Action::"request", Action::"approve"], resource);
`,
}

func readFiles(t testing.TB, files map[string]string) brevet.Catalog {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	c, problems := catalog.Read(fsys)
	for _, p := range problems {
		t.Log(p)
	}
	return c
}

func writeKey(t testing.TB, file string) string {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block := must(ssh.MarshalPrivateKey(private, "test"))(t)
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func signerOf(t testing.TB, file string) statement.Signer {
	t.Helper()
	return must(statement.FileSigner(t.Context(), file, func(context.Context, string) (brevet.Secret, error) {
		return brevet.Secret{}, brevet.Errorf(brevet.Invalid, "no passphrase")
	}))(t)
}

// found writes root and log machine.
func (w *world) found(logKey ed25519.PrivateKey, others []brevet.PersonID) {
	now := time.Now().Add(-time.Hour)
	founders := []statement.Founder{{Person: "alice", Keys: []statement.Key{w.alice.Key()}}}
	for i, person := range others {
		founders = append(founders, statement.Founder{Person: person, Keys: []statement.Key{w.signers[i+1].Key()}})
	}
	root := statement.Root{
		Header: statement.NewHeader("", now, now.Add(signingLife)), Link: statement.Link{Number: 1}, Name: "Example Ltd", Threshold: int64(len(founders)),
		Founders: founders,
		Log:      statement.Log{Origin: w.logKey.Origin(), Epoch: 1}, Origins: []string{},
	}
	first := must(statement.New(w.t.Context(), root, w.signers...))(w.t)
	w.root = first.ID()
	w.append(first, "root")
	log := statement.Machine{
		Header: statement.NewHeader(w.root, now, now.Add(signingLife)), Link: statement.Link{Number: 2, Previous: w.root},
		Name: "log", Use: statement.MachineLog, Addresses: []string{}, Targets: brevet.Selector{Labels: map[string]string{}, Names: []brevet.TargetID{}},
		Keys: []statement.MachineKey{{Use: statement.KeyCheckpoint, Key: must(statement.MachineKeyOf(logKey.Public()))(w.t)}},
	}
	machine := must(statement.New(w.t.Context(), log, w.signers...))(w.t)
	w.append(machine, "machine")
	enrol := statement.Enrol{
		Header: statement.NewHeader(w.root, now, now.Add(signingLife)), Link: statement.Link{Number: 3, Previous: machine.ID()},
		Enrolments: []statement.Enrolment{w.enrolment(now)},
	}
	w.append(must(statement.New(w.t.Context(), enrol, w.signers...))(w.t), "enrol")
}

// addHostCA has an issuer signed that vouches for SSH host keys.
func (w *world) addHostCA() {
	signer := must(ssh.ParsePrivateKey(must(os.ReadFile(writeKey(w.t, filepath.Join(w.t.TempDir(), "ca"))))(w.t)))(w.t)
	w.addMachine("issuer", statement.MachineIssuer, statement.KeyHostCA, must(statement.SSHKey(signer.PublicKey()))(w.t))
}

// addMachine has a machine with one key signed.
func (w *world) addMachine(name brevet.MachineID, use, keyUse statement.MachineUse, key statement.Key) {
	now := time.Now()
	last := w.roster[len(w.roster)-1]
	m := statement.Machine{
		Header: statement.NewHeader(w.root, now, now.Add(signingLife)), Link: statement.Link{Number: int64(len(w.roster)) + 1, Previous: last.ID()},
		Name: name, Use: use, Addresses: []string{}, Targets: brevet.Selector{Labels: map[string]string{}, Names: []brevet.TargetID{}},
		Keys: []statement.MachineKey{{Use: keyUse, Key: key}},
	}
	if use == statement.MachineGateway {
		m.Targets.Kind, m.Addresses = brevet.SSHHost, []string{"127.0.0.1/32"}
	}
	w.append(must(statement.New(w.t.Context(), m, w.signers...))(w.t), "machine")
}

// enrolment is bob's, who may ask.
func (w *world) enrolment(now time.Time) statement.Enrolment {
	code := strings.Repeat("c0", 32)
	shown := must(statement.Possession{Org: w.root, Person: "bob", Key: w.bob.Key(), Code: code}.Prove(w.t.Context(), w.bob))(w.t)
	return statement.Enrolment{
		Person: "bob", Kind: brevet.Person, Key: w.bob.Key(), Uses: []statement.Use{statement.UseRequest},
		From: now.UnixMicro(), Until: now.Add(24 * time.Hour).UnixMicro(), Code: code, Possession: shown,
	}
}

// append logs a statement.
func (w *world) append(e statement.Envelope, kind string) {
	b := must(e.Marshal())(w.t)
	w.log(brevet.Event{ID: brevet.EventID("evt_x"), Kind: kind, Subject: string(e.ID()), At: time.Now(), Statement: b, Message: kind, Outcome: "success"})
	if rosterKinds[kind] && aboutSomebody(e) {
		w.roster = append(w.roster, e)
	}
}

func (w *world) log(e brevet.Event) {
	body := must(audit.Record(e))(w.t)
	salt := make([]byte, audit.SaltSize)
	rand.Read(salt)
	leaf := audit.Leaf{Kind: e.Kind, Subject: e.Subject, Body: audit.BodyHash([audit.SaltSize]byte(salt), body)}
	w.rows = append(w.rows, &brevetv1.Leaf{Index: w.head.Size, Kind: e.Kind, Subject: e.Subject, BodyHash: leaf.Body[:], Salt: salt, Record: body, Statement: e.Statement})
	head, completed := w.head.Append(leaf.Hash())
	w.head, w.stored = head, append(w.stored, completed...)
}

func (w *world) hashes() tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			out[i] = w.stored[index]
		}
		return out, nil
	})
}

func (w *world) checkpoint() []byte { return must(w.logKey.Sign(w.head))(w.t) }

func (w *world) putCatalog(c brevet.Catalog) {
	manifest, sum, err := catalog.Manifest(c)
	if err != nil {
		w.t.Fatal(err)
	}
	link := statement.Link{Number: 1}
	if w.catalog != nil {
		link = statement.Link{Number: w.catalog.GetNumber() + 1, Previous: statement.ID(w.catalog.GetId())}
	}
	now := time.Now()
	e := must(statement.New(w.t.Context(), statement.Catalog{
		Header: statement.NewHeader(w.root, now, now.Add(signingLife)), Link: link, Manifest: sum,
	}, w.signers...))(w.t)
	w.append(e, "catalog")
	w.catalog = &brevetv1.GetCatalogResponse{Statement: must(e.Marshal())(w.t), Manifest: manifest, Id: string(e.ID()), Number: link.Number}
}

// serve starts the server, known by the pin of its only certificate.
func (w *world) serve() {
	certificate := serverCertificate(w.t)
	w.authority = certificate.Leaf
	mux := http.NewServeMux()
	mux.Handle(brevetv1connect.NewAuthServiceHandler(authPart{world: w}))
	mux.Handle(brevetv1connect.NewPeopleServiceHandler(peoplePart{world: w}))
	mux.Handle(brevetv1connect.NewCatalogServiceHandler(catalogPart{world: w}))
	mux.Handle(brevetv1connect.NewAuditServiceHandler(auditPart{world: w}))
	mux.Handle(brevetv1connect.NewRequestServiceHandler(requestPart{world: w}))
	mux.Handle(brevetv1connect.NewGrantServiceHandler(grantPart{world: w}))
	mux.Handle(brevetv1connect.NewSystemServiceHandler(systemPart{world: w}))
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(rw, r.WithContext(context.WithValue(r.Context(), requestKey{}, r)))
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // connections that a command leaves open end with the server
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS13}
	s.StartTLS()
	w.t.Cleanup(s.Close)
	w.address = s.Listener.Addr().String()
}

func serverCertificate(t testing.TB) tls.Certificate {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))(t)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: must(x509.ParseCertificate(der))(t)}
}

// requestKey leads to the HTTP request in a test's context.
type requestKey struct{}

func (w *world) known(ctx context.Context) error {
	r := ctx.Value(requestKey{}).(*http.Request)
	if r.Header.Get("Authorization") != "Bearer "+w.token.Reveal() || thumbOf(r) != w.thumb {
		return connectError(brevet.Unauthenticated, "sign in")
	}
	return nil
}

func thumbOf(r *http.Request) string {
	if len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	return home.Thumbprint(tls.Certificate{Leaf: r.TLS.PeerCertificates[0]})
}

// ran is what a command left behind.
type ran struct {
	out, err string
	status   int
}

func run(t *testing.T, in string, args ...string) ran {
	t.Helper()
	var out, errs bytes.Buffer
	root := New("v0.0.0-test")
	root.SetArgs(args)
	root.SetIn(strings.NewReader(in))
	root.SetOut(&out)
	root.SetErr(&errs)
	err := root.ExecuteContext(t.Context())
	Report(&errs, err)
	return ran{out.String(), errs.String(), Status(err)}
}

// want fails the test unless the command ended with the status and both outputs have the text.
func (r ran) want(t *testing.T, status int, texts ...string) {
	t.Helper()
	if r.status != status {
		t.Errorf("ended with %d, want %d", r.status, status)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.err, text) {
			t.Errorf("does not say %q", text)
		}
	}
	if t.Failed() {
		t.Fatalf("it said\n%s--- and told\n%s", r.out, r.err)
	}
}

func stamp() *timestamppb.Timestamp { return timestamppb.Now() }

// rebuilt returns head and hashes of the rows that are left.
func (w *world) rebuilt() (audit.Head, []tlog.Hash) {
	var head audit.Head
	var stored []tlog.Hash
	for _, row := range w.rows {
		next, completed := head.Append(audit.Leaf{Kind: row.GetKind(), Subject: row.GetSubject(), Body: [32]byte(row.GetBodyHash())}.Hash())
		head, stored = next, append(stored, completed...)
	}
	return head, stored
}
