package crash_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/api/dial"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/server"
	"github.com/brevet-pim/brevet/server/config"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/test/testenv"
)

// person is somebody with a key of their own.
type person struct {
	id     brevet.PersonID
	key    ssh.Signer
	signer statement.Signer
}

func newPerson(t testing.TB, id brevet.PersonID) person {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	key, err := ssh.NewSignerFromKey(private)
	must(t, err)
	signer, err := statement.SSHSigner(key)
	must(t, err)
	return person{id, key, signer}
}

// base is an organisation that was founded and whose server has not run yet, with its target.
type base struct {
	dir    string
	kind   string // of database: "" or "postgres"
	root   statement.ID
	pin    dial.Pin
	people map[brevet.PersonID]person
	host   *testenv.Host

	// Of the machines.
	holder  string        // fingerprint of the gateway's holder key
	hostKey ssh.PublicKey // of the gateway

	mu       sync.Mutex // guards copies, and the database that is copied
	copies   int
	database string
}

// found founds an organisation, and starts a target that trusts it.
func found(t *testing.T, kind string) *base {
	t.Helper()
	b := &base{dir: filepath.Join(t.TempDir(), "founded"), kind: kind, people: map[brevet.PersonID]person{}}
	for _, id := range []brevet.PersonID{"alice", "bob", "carol"} {
		b.people[id] = newPerson(t, id)
	}
	c := config.Config{Log: config.Log{Level: "debug"}}
	if kind == "postgres" {
		b.database = testenv.Postgres(t)
		path := filepath.Join(t.TempDir(), "database.url")
		must(t, os.WriteFile(path, []byte(b.database), 0o600))
		c.Database = "file:" + path
	}
	starter, _, err := catalog.Starter(catalog.Start{Admins: []brevet.PersonID{"alice"}, Auditors: []brevet.PersonID{"alice"}})
	must(t, err)
	done, err := server.Found(t.Context(), server.Founding{
		Data: b.dir, Organisation: "Crash", Founder: "alice", Signer: b.people["alice"].signer, Catalog: starter, Config: c,
	})
	must(t, err)
	b.root = done.Root
	b.pin, err = dial.ParsePin(done.Pin)
	must(t, err)
	b.prepareTarget(t)
	return b
}

// prepareTarget reads from a copy's roster which keys the machines have, and starts an sshd that
// trusts the issuer's.
func (b *base) prepareTarget(t *testing.T) {
	t.Helper()
	l := b.begin(t)
	l.up()
	var ca ssh.PublicKey
	for _, m := range l.machines() {
		for _, k := range m.Keys {
			switch k.Use {
			case statement.KeyUserCA:
				ca = publicKey(t, k.Key)
			case statement.KeyHost:
				b.hostKey = publicKey(t, k.Key)
			case statement.KeyHolder:
				var err error
				b.holder, err = statement.Fingerprint(k.Key)
				must(t, err)
			}
		}
	}
	l.server.end(syscall.SIGTERM)
	login := testenv.Login(t)
	b.host = testenv.SSHD(t, testenv.SSHDOptions{UserCA: ca, Principals: map[string][]string{login: {"web1/" + login}}})
}

func publicKey(t testing.TB, k statement.Key) ssh.PublicKey {
	t.Helper()
	parsed, err := k.SSH()
	must(t, err)
	return parsed
}

// begin copies the organisation for one life. Its servers are started with the faults, one after another.
func (b *base) begin(t testing.TB, faults ...string) *life {
	t.Helper()
	l := &life{base: b, t: t, dir: filepath.Join(t.TempDir(), "data"), faults: faults, visits: map[brevet.PersonID]*visit{}}
	must(t, os.CopyFS(l.dir, os.DirFS(b.dir)))
	must(t, os.Chmod(l.dir, 0o700))
	must(t, filepath.WalkDir(l.dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			err = os.Chmod(path, 0o700)
		} else if err == nil {
			err = os.Chmod(path, 0o600)
		}
		return err
	}))
	c, err := config.Read(l.dir)
	must(t, err)
	ports, err := testenv.FreePorts(2)
	must(t, err)
	l.api, l.door = ports[0], ports[1]
	c.Listen, c.Address, c.Gateway.Listen, c.Gateway.Address = l.api, l.api, l.door, l.door
	if b.kind == "postgres" {
		c.Database = "env:DATABASE_URL"
		l.env = []string{"DATABASE_URL=" + b.copyDatabase(t)}
	}
	text, err := c.Text()
	must(t, err)
	must(t, os.WriteFile(filepath.Join(l.dir, config.Name), text, 0o600))
	return l
}

// copyDatabase returns the URL of a copy of the founded database.
func (b *base) copyDatabase(t testing.TB) string {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.copies++
	u, err := url.Parse(b.database)
	must(t, err)
	original := strings.TrimPrefix(u.Path, "/")
	name := fmt.Sprintf("%s_%d", original, b.copies)
	u.Path = "/postgres"
	conn, err := pgconn.Connect(t.Context(), u.String())
	must(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	must(t, conn.Exec(t.Context(), "create database "+name+" template "+original).Close())
	u.Path = "/" + name
	return u.String()
}
