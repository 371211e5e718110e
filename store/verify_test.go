package store_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/store"
	"github.com/brevet-pim/brevet/test/storetest"
)

// byHand opens the database as somebody with its password would.
func byHand(t testing.TB, database string) *sql.DB {
	t.Helper()
	driver := "sqlite"
	if isPostgres(database) {
		driver = "pgx"
	}
	db, err := sql.Open(driver, database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func isPostgres(database string) bool { return strings.HasPrefix(database, "postgres") }

func do(t testing.TB, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// Where things stand in the log that the edits are made to. It has as many events as make a
// tree with several subtrees.
const (
	plainEvent  = 2  // a machine's, without a statement
	signedEvent = 4  // a statement of a person, about a request
	erasedEvent = 6  // another, of which event 7 says that it was erased
	logSize     = 11 // the last one is a statement as well
)

// fill writes that log and returns the checkpoint of its first ten events.
func fill(t testing.TB, s *store.Store) (saved []byte) {
	t.Helper()
	log(t, s, "m0", "m1", "m2", "m3")
	for _, subject := range []string{"statement4", "statement5", "statement6"} {
		add(t, s, said(subject))
	}
	_, err := s.Change(t.Context(), func(tx *store.Tx) ([]brevet.Event, error) {
		e := happened(audit.ErasedSubject(erasedEvent, erasedEvent))
		e.Kind = audit.KindErased
		return []brevet.Event{e}, tx.Erase(erasedEvent)
	})
	if err != nil {
		t.Fatal(err)
	}
	saved = log(t, s, "m8", "m9").Checkpoint
	add(t, s, said("statement10"))
	if s.Size() != logSize {
		t.Fatalf("the log has %d events", s.Size())
	}
	return saved
}

// said returns an event with all that one can have.
func said(subject string) brevet.Event {
	r := request(1)
	return brevet.Event{
		Kind: "approval", Subject: subject, At: day.Add(time.Minute), Outcome: "success", Message: "Alice agreed.",
		Actor: brevet.Caller{Person: "alice", Key: "SHA256:abc"}, About: "bob",
		Request: r.ID, Grant: r.ID.Grant(), Session: "ses_00000000000000000000000001", Statement: []byte("envelope of " + subject),
	}
}

func add(t testing.TB, s *store.Store, events ...brevet.Event) store.Commit {
	t.Helper()
	c, err := s.Change(t.Context(), func(*store.Tx) ([]brevet.Event, error) { return events, nil })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// edit is one thing that somebody does to the tables by hand.
type edit struct {
	name       string
	statements []string // $1 is other
	other      any      // a value to put in
	at         int64    // where the problem must be found, if it can be told; -1 if not
}

// rewrite sets a column of an event to another value.
func rewrite(index int64, column string, value any) edit {
	return edit{name: fmt.Sprintf("%s of event %d becomes %.20v", column, index, value), at: index, other: value,
		statements: []string{fmt.Sprintf("update events set %s = $1 where idx = %d", column, index)}}
}

func write(name string, at int64, statements ...string) edit {
	return edit{name: name, at: at, statements: statements}
}

func edits() []edit {
	hash := sha256.Sum256([]byte("another"))
	all := []edit{
		rewrite(plainEvent, "id", "evt_another"),
		rewrite(plainEvent, "kind", "gateway.left"),
		rewrite(plainEvent, "kind", "no kind\n"),
		rewrite(plainEvent, "subject", "gw2"),
		rewrite(plainEvent, "at", day.Add(time.Second).UnixMicro()),
		rewrite(plainEvent, "at", day.Add(-time.Second).UnixMicro()),
		rewrite(plainEvent, "actor", "mallory"),
		rewrite(plainEvent, "about", "mallory"),
		rewrite(plainEvent, "request_id", string(request(9).ID)),
		rewrite(plainEvent, "grant_id", string(request(9).ID.Grant())),
		rewrite(plainEvent, "session_id", "ses_x"),
		rewrite(plainEvent, "body_hash", hash[:]),
		rewrite(plainEvent, "body_hash", []byte{}),
		rewrite(plainEvent, "hashes", hash[:]),
		rewrite(plainEvent, "hashes", []byte{}),
		rewrite(plainEvent, "salt", hash[:audit.SaltSize]),
		rewrite(plainEvent, "salt", []byte{}),
		rewrite(plainEvent, "salt", nil),
		rewrite(plainEvent, "body", "{}"),
		rewrite(plainEvent, "body", ""),
		rewrite(plainEvent, "body", nil),
		rewrite(plainEvent, "statement", []byte("a statement where there was none")),
		write("a longer hash of the body", plainEvent, "update events set body_hash = body_hash || hashes where idx = 2"),
		write("another letter in the body", plainEvent, "update events set body = replace(body, 'gateway', 'gatewax') where idx = 2"),
		write("an outcome turned round", plainEvent, "update events set body = replace(body, 'Success', 'Failure') where idx = 2"),

		rewrite(signedEvent, "actor", "mallory"),
		rewrite(signedEvent, "about", ""),
		rewrite(signedEvent, "request_id", ""),
		rewrite(signedEvent, "grant_id", ""),
		rewrite(signedEvent, "session_id", ""),
		rewrite(signedEvent, "statement", []byte("envelope of statement5")),
		rewrite(signedEvent, "statement", []byte{}),
		rewrite(signedEvent, "statement", nil),
		rewrite(logSize-1, "statement", []byte("the newest, forged")),

		write("an erasure that nobody told of", signedEvent, `update events set body = null, salt = null, statement = null,
			actor = '', about = '', request_id = '', grant_id = '', session_id = '' where idx = 4`),
		rewrite(erasedEvent, "actor", "mallory"),
		rewrite(erasedEvent, "request_id", string(request(9).ID)),
		rewrite(erasedEvent, "statement", []byte("back again")),
		rewrite(erasedEvent, "salt", hash[:audit.SaltSize]),
		rewrite(erasedEvent, "body", "{}"),
		rewrite(erasedEvent, "subject", "another"),
		rewrite(erasedEvent, "body_hash", hash[:]),
		rewrite(erasedEvent, "at", day.UnixMicro()),

		write("the first event is deleted", 0, "delete from events where idx = 0"),
		write("one in the middle is deleted", 5, "delete from events where idx = 5"),
		write("one in the middle is deleted, the others close up", 5, "delete from events where idx = 5",
			"update events set idx = idx + 1000 where idx > 5", "update events set idx = idx - 1001 where idx > 1000"),
		write("the last event is deleted", logSize-1, "delete from events where idx = 10"),
		write("all events are deleted", 0, "delete from events"),
		write("an event is put at the end", logSize, copyOf("11")),
		write("an event is put before the first", logSize, copyOf("-1")),
		write("an event is put in between", 3, "update events set idx = idx + 1000 where idx >= 3",
			"update events set idx = idx - 999 where idx >= 1000", copyOf("3")),
		write("two events change places", 1, "update events set idx = 1001 where idx = 1",
			"update events set idx = 1 where idx = 3", "update events set idx = 3 where idx = 1001"),
		write("two events change all but their hashes", 1, swapped("body"), swapped("salt"), swapped("body_hash"), swapped("subject")),
		write("two statements change places", 4, strings.NewReplacer("1", "4", "3", "5").Replace(swapped("statement"))),

		{name: "the head's edge", other: append([]byte{0, 0, 0, 0, 0, 0, 0, 1}, hash[:]...), at: -1, statements: []string{"update heads set edge = $1"}},
		{name: "the head's edge is cut", other: []byte{1}, at: -1, statements: []string{"update heads set edge = $1"}},
		{name: "the head's time", other: day.Add(1000 * time.Hour).UnixMicro(), at: -1, statements: []string{"update heads set at = $1"}},
		{name: "the checkpoint", other: []byte("no checkpoint"), at: -1, statements: []string{"update heads set checkpoint = $1"}},
		{name: "the checkpoint is empty", other: []byte{}, at: -1, statements: []string{"update heads set checkpoint = $1"}},
		write("the head is deleted", -1, "delete from heads"),
		write("the head is renamed", -1, "update heads set id = 2"),
		write("head and events are deleted", -1, "delete from heads", "delete from events"),
	}
	return all
}

// copyOf inserts a copy of an event at another index.
func copyOf(index string) string {
	return `insert into events select ` + index + `, 'evt_copy', kind, 'copy', at, actor, about, request_id, grant_id, session_id, body_hash, hashes,
		salt, body, statement from events where idx = 2`
}

// swapped exchanges a column of events 1 and 3.
func swapped(column string) string {
	return fmt.Sprintf(`update events set %[1]s = case idx when 1 then (select e.%[1]s from events e where e.idx = 3)
		else (select e.%[1]s from events e where e.idx = 1) end where idx in (1, 3)`, column)
}

// TestEveryEditIsFound makes each edit on a log that holds, and puts it right again.
func TestEveryEditIsFound(t *testing.T) {
	storetest.EachDatabase(t, func(t *testing.T, database string) {
		s := storetest.Open(t, database)
		saved := fill(t, s)
		holds(t, s, saved)
		db := byHand(t, database)
		do(t, db, "create table kept_events as select * from events")
		do(t, db, "create table kept_heads as select * from heads")
		edited := map[string]bool{}
		for _, e := range edits() {
			for _, column := range columns(t, db) {
				if strings.HasPrefix(e.name, column+" of") {
					edited[column] = true
				}
			}
			t.Run(e.name, func(t *testing.T) {
				for _, statement := range e.statements {
					if strings.Contains(statement, "$1") {
						do(t, db, statement, e.other)
					} else {
						do(t, db, statement)
					}
				}
				found := verify(t, s, nil)
				if found.Problem == nil {
					t.Fatal("it was not found")
				}
				if p := found.Problem; e.at >= 0 && (e.at < p.First || e.at > p.Last) {
					t.Errorf("it was found elsewhere: %v", p)
				}
				do(t, db, "delete from events")
				do(t, db, "insert into events select * from kept_events")
				do(t, db, "delete from heads")
				do(t, db, "insert into heads select * from kept_heads")
			})
		}
		for _, column := range columns(t, db) {
			if !edited[column] && column != "idx" { // which the deletions and swaps edit
				t.Errorf("no edit of column %s was tried", column)
			}
		}
		holds(t, s, saved)
	})
}

func columns(t *testing.T, db *sql.DB) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "select * from events where idx is null")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestRewrittenLog plays somebody who edits an event and then makes everything agree again
// that can be computed: leaves, tree and head. Only the signature is out of their reach; and
// if they stole the log's key, whoever kept a checkpoint still knows.
func TestRewrittenLog(t *testing.T) {
	storetest.EachDatabase(t, func(t *testing.T, database string) {
		s := storetest.Open(t, database)
		saved := fill(t, s)
		db := byHand(t, database)
		head := recompute(t, s, db)
		edge, err := head.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		do(t, db, "update heads set edge = $1", edge)
		if v := verify(t, s, nil); v.Problem == nil {
			t.Error("a rewritten log under the old checkpoint holds")
		}
		_, err = s.Change(t.Context(), func(*store.Tx) ([]brevet.Event, error) { return []brevet.Event{happened("x")}, nil })
		kind(t, err, brevet.Refused)
		if _, err := store.Open(t.Context(), store.Config{Database: other(t, s, database), Log: storetest.Signer(t)}); brevet.KindOf(err) != brevet.Refused {
			t.Errorf("a server starts on it: %v", err)
		}
		stolen, err := storetest.Signer(t).Sign(head)
		if err != nil {
			t.Fatal(err)
		}
		do(t, db, "update heads set checkpoint = $1", stolen)
		s = storetest.Open(t, database)
		holds(t, s, nil) // by itself it cannot be told
		if v := verify(t, s, saved); v.Problem == nil || v.Problem.Last > 9 {
			t.Errorf("against a checkpoint that was kept: %v", v.Problem)
		}
	})
}

// other closes s, so that its database can be opened by another server.
func other(t *testing.T, s *store.Store, database string) string {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return database
}

// recompute edits event 2 and writes all hashes anew.
func recompute(t *testing.T, s *store.Store, db *sql.DB) audit.Head {
	t.Helper()
	entries, err := s.Query(t.Context()).Entries(0, store.MaxPage)
	if err != nil {
		t.Fatal(err)
	}
	var head audit.Head
	for i, e := range entries {
		if i == plainEvent {
			e.Body = []byte(strings.Replace(string(e.Body), "Success", "Failure", 1))
			e.BodyHash = audit.BodyHash([audit.SaltSize]byte(e.Salt), e.Body)
			do(t, db, "update events set body = $1, body_hash = $2 where idx = $3", string(e.Body), e.BodyHash[:], i)
		}
		var completed []tlog.Hash
		head, completed = head.Append(e.Leaf().Hash())
		var hashes []byte
		for _, h := range completed {
			hashes = append(hashes, h[:]...)
		}
		do(t, db, "update events set hashes = $1 where idx = $2", hashes, i)
	}
	return head
}

// TestLogPutBack plays somebody who puts back an older state, which agrees with itself.
func TestLogPutBack(t *testing.T) {
	storetest.EachDatabase(t, func(t *testing.T, database string) {
		s := storetest.Open(t, database)
		log(t, s, "a", "b", "c")
		db := byHand(t, database)
		do(t, db, "create table kept_heads as select * from heads")
		saved := log(t, s, "d", "e").Checkpoint
		do(t, db, "delete from events where idx > 2")
		do(t, db, "delete from heads")
		do(t, db, "insert into heads select * from kept_heads")
		if v := verify(t, s, saved); v.Problem == nil || v.Problem.First != 3 || v.Problem.Last != 4 {
			t.Errorf("found %v", v.Problem)
		}
		_, err := s.Change(t.Context(), func(*store.Tx) ([]brevet.Event, error) { return []brevet.Event{happened("x")}, nil })
		kind(t, err, brevet.Refused) // the server that saw more writes nothing
	})
}

func TestSavedCheckpoints(t *testing.T) {
	stranger, err := audit.NewSigner(storetest.Origin, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := audit.NewSigner("log.elsewhere", ed25519.NewKeyFromSeed([]byte("a seed for tests, of thirty-two.")))
	if err != nil {
		t.Fatal(err)
	}
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		saved := fill(t, s)
		for name, by := range map[string]*audit.Signer{"of another key": stranger, "of another log": elsewhere} {
			forged, err := by.Sign(audit.Head{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.VerifyLog(t.Context(), store.Verification{Saved: forged}); brevet.KindOf(err) != brevet.Refused {
				t.Errorf("%s: %v", name, err)
			}
		}
		for name, text := range map[string][]byte{"cut": saved[:len(saved)-9], "empty": {}, "of a bit less": slices.Replace(slices.Clone(saved), 10, 11, 'x')} {
			if _, err := s.VerifyLog(t.Context(), store.Verification{Saved: text}); err == nil {
				t.Errorf("a checkpoint that is %s verifies", name)
			}
		}
		var heard []int64
		v, err := s.VerifyLog(t.Context(), store.Verification{Saved: saved, Progress: func(done, of int64) { heard = append(heard, done, of) }})
		if err != nil || v.Problem != nil || v.Events != logSize || v.Erased != 1 || v.Checkpoint.Size != logSize {
			t.Errorf("%+v, %v", v, err)
		}
		if !slices.Equal(heard, []int64{logSize, logSize}) {
			t.Errorf("progress %v", heard)
		}
	})
}
