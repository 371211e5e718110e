package flow_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the drivers by which the attacker comes
	_ "modernc.org/sqlite"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// edit is what somebody does who can write every row of the database, while nobody looks.
func (w *world) edit(queries ...string) {
	w.t.Helper()
	driver, name := "sqlite", "file:"+w.database+"?_pragma=busy_timeout(60000)"
	if strings.HasPrefix(w.database, "postgres") {
		driver, name = "pgx", w.database
	}
	db, err := sql.Open(driver, name)
	must(w.t, err)
	defer db.Close()
	for _, q := range queries {
		result, err := db.Exec(q)
		if err != nil {
			w.t.Fatalf("%s: %v", q, err)
		}
		if n, err := result.RowsAffected(); err == nil && n == 0 {
			w.t.Fatalf("%s: changed nothing", q)
		}
	}
}

// TestHostileEdits has rows edited by hand while the server is down. After the restart nothing is
// given by them, and each attempt is seen.
func TestHostileEdits(t *testing.T) {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	tests := []struct {
		name string
		// edit returns the statements of the attacker, for a request that waits and a grant that is live or over.
		edit func(w *world, waiting, given flow.RequestView) []string
		seen string // kind of the event that tells of it
		of   string // about which: waiting or given
	}{
		{"a request that waits is made ready", func(w *world, waiting, _ flow.RequestView) []string {
			return []string{"update requests set state = 'ready' where id = " + quote(string(waiting.ID))}
		}, "issuer.refused", "waiting"},
		{"an approval is made up", func(w *world, waiting, _ flow.RequestView) []string {
			return []string{
				"insert into approvals (statement, request_id, person, stage, agreed, duration, comment, presence, key, at) values (" +
					quote(strings.Repeat("ab", 32)) + ", " + quote(string(waiting.ID)) + ", 'carol', 0, true, 1800, '', 'touch', 'SHA256:x', 1)",
				"update requests set state = 'ready' where id = " + quote(string(waiting.ID)),
			}
		}, "issuer.refused", "waiting"},
		{"the approval of another request is used again", func(w *world, waiting, given flow.RequestView) []string {
			return []string{
				"update approvals set request_id = " + quote(string(waiting.ID)) + " where request_id = " + quote(string(given.ID)),
				"update requests set state = 'ready' where id = " + quote(string(waiting.ID)),
			}
		}, "issuer.refused", "waiting"},
		{"a request asks for more", func(w *world, waiting, _ flow.RequestView) []string {
			return []string{"update requests set state = 'ready', role = 'db-admin', duration = 3600 where id = " + quote(string(waiting.ID))}
		}, "log.mismatch", "waiting"},
		{"a request is somebody else's", func(w *world, waiting, _ flow.RequestView) []string {
			return []string{"update requests set state = 'ready', person = 'frank' where id = " + quote(string(waiting.ID))}
		}, "log.mismatch", "waiting"},
		{"a request is by another key", func(w *world, waiting, _ flow.RequestView) []string {
			return []string{"update requests set state = 'ready', key = 'SHA256:other' where id = " + quote(string(waiting.ID))}
		}, "log.mismatch", "waiting"},
		{"what policy decided is edited", func(w *world, waiting, _ flow.RequestView) []string {
			return []string{"update requests set state = 'ready', decision = replace(decision, '\"ask\"', '\"allow\"') where id = " + quote(string(waiting.ID))}
		}, "issuer.refused", "waiting"},
		{"a grant that is over lives again", func(w *world, _, given flow.RequestView) []string {
			return []string{"update grants set state = 'live' where id = " + quote(string(given.Grant))}
		}, "log.mismatch", "given"},
		{"a grant that is over lives again and longer", func(w *world, _, given flow.RequestView) []string {
			return []string{"update grants set state = 'live', ends = ends + 86400000000 where id = " + quote(string(given.Grant))}
		}, "log.mismatch", "given"},
		{"the revocation is taken out of the log", func(w *world, _, given flow.RequestView) []string {
			return []string{
				"delete from events where kind = 'revocation'",
				"update grants set state = 'live' where id = " + quote(string(given.Grant)),
			}
		}, "log.mismatch", "given"},
		{"a request that was spent is ready again", func(w *world, _, given flow.RequestView) []string {
			id := quote(string(given.Grant))
			return []string{
				"delete from grant_confirmations where grant_id = " + id,
				"delete from grants where id = " + id,
				"delete from events where kind = 'intent'",
				"update requests set state = 'ready' where id = " + quote(string(given.ID)),
			}
		}, "issuer.refused", "given"},
		{"the log's statement of a request is another", func(w *world, waiting, _ flow.RequestView) []string {
			return []string{
				"update events set statement = (select statement from events where kind = 'approval') where subject = " + quote(waiting.Request.Statement),
				"update requests set state = 'ready' where id = " + quote(string(waiting.ID)),
			}
		}, "log.mismatch", "waiting"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(w *world) {
				waiting, given := w.attackable()
				w.restart(func() { w.edit(tt.edit(w, waiting, given)...) })
				w.settled(waiting)
				answer, err := w.spine.Lookup(context.Background(), gateway, w.bobsWant("root"))
				must(w.t, err)
				if len(answer.Bundles) != 0 {
					w.t.Fatal("the gateway is shown a grant")
				}
				before := w.count(tt.seen, given)
				_, err = w.spine.Lookup(context.Background(), gateway, w.bobsWant("root"))
				must(w.t, err)
				if again := w.count(tt.seen, given); again != before {
					w.t.Errorf("whoever tries to get in fills the log: %d events, and then %d", before, again)
				}
				view := map[string]flow.RequestView{"waiting": waiting, "given": given}[tt.of]
				if _, told := w.told(tt.seen, view); !told {
					w.t.Errorf("no %s event tells of it; the request is %s: %q", tt.seen, w.request(view).State, w.request(view).Why)
				}
				if _, err := w.store.Query(context.Background()).Credential(waiting.ID.Grant()); brevet.KindOf(err) != brevet.NotFound {
					w.t.Errorf("a certificate was made: %v", err)
				}
			})
		})
	}
}

// attackable returns a request of bob's that waits, and one that was granted, used up and revoked.
func (w *world) attackable() (waiting, given flow.RequestView) {
	w.t.Helper()
	given, err := w.approve("carol", w.ask("bob", "web-root"), 0)
	must(w.t, err)
	_, err = w.spine.Revoke(context.Background(), w.as("alice"), w.revocation("alice", statement.RevokeGrant, string(given.Grant)), 0)
	must(w.t, err)
	must(w.t, w.spine.Confirm(context.Background(), gateway, flow.Closed{Grant: given.Grant}))
	return w.ask("bob", "web-root"), given
}

// settled waits until the request is no longer being issued.
func (w *world) settled(r flow.RequestView) {
	w.t.Helper()
	for {
		size := w.store.Size()
		open, err := w.store.Query(context.Background()).Requests(store.RequestFilter{State: brevet.Ready})
		must(w.t, err)
		if len(open) == 0 {
			return
		}
		if _, err := w.store.Wait(context.Background(), size); err != nil {
			w.t.Fatal(err)
		}
	}
}

// TestHostileEditsOfTheChains has what everything rests on edited: then the server does not start,
// and says what was changed.
func TestHostileEditsOfTheChains(t *testing.T) {
	tests := []struct {
		name, query, sentence string
	}{
		{"a role in the catalog", "update manifests set bytes = decode(replace(encode(bytes, 'escape'), '\"count\":1', '\"count\":0'), 'escape')", "was changed in the database"},
		{"a key in the roster", "update events set statement = (select statement from events where kind = 'catalog') where kind = 'enrol' and idx = 1", "was changed in the database"},
		{"a statement of the roster is gone", "delete from events where kind = 'enrol' and idx = 1", ""},
		{"the catalog is gone", "delete from events where kind = 'catalog'", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(w *world) {
				w.stop()
				w.stop = func() {}
				must(w.t, w.store.Close())
				query := tt.query
				if !strings.HasPrefix(w.database, "postgres") {
					query = strings.NewReplacer("decode(replace(encode(bytes, 'escape'), ", "cast(replace(cast(bytes as text), ", "), 'escape')", ") as blob)").Replace(query)
				}
				w.edit(query)
				err := w.tryOpenStore()
				if err == nil {
					err = w.begin()
				}
				refused(w.t, err, brevet.Refused, tt.sentence)
			})
		})
	}
}
