package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
)

// head is the one row that says how long the log is, with its newest signed checkpoint.
type head struct {
	tree       audit.Head
	at         time.Time // of the last event
	checkpoint []byte
}

const selectHead = "select edge, at, checkpoint from heads where id = 1"

func scanHead(row scanner) (head, error) {
	var h head
	var edge []byte
	if err := row.Scan(&edge, instant{&h.at}, &h.checkpoint); err != nil {
		return head{}, err
	}
	if err := h.tree.UnmarshalBinary(edge); err != nil {
		return head{}, edited(err)
	}
	return h, nil
}

func (q *Query) head() (head, error) { return q.headBy(selectHead) }

func (q *Query) headBy(query string) (head, error) {
	h, err := one(q, scanHead, query)
	if errors.Is(err, errNone) {
		err = edited(err)
	}
	return h, err
}

// edited says that somebody wrote to the head who was not the log: to go on would be to sign
// their edit.
func edited(because error) error {
	return brevet.Errorf(brevet.Refused, "the log's head is not what its key signed: the database was edited, or log.key is of another log").
		Because(because).WithHint("restore the newest backup, or the log.key that belongs to this database; nothing is written until then")
}

// begin makes the head of an empty log, unless there is one, and verifies the one there is.
// Where there are events, a head that is missing was taken away.
func (s *Store) begin(ctx context.Context) error {
	q := s.Query(ctx)
	events, err := one(q, value[bool], "select exists (select 1 from events)")
	if err == nil && !events {
		err = s.plant(ctx)
	}
	if err != nil {
		return err
	}
	h, err := q.head()
	if err != nil {
		return err
	}
	if err := s.vouch(q, h); err != nil {
		return err
	}
	s.trust(h)
	return nil
}

// plant writes the head of an empty log. Several servers may do so at once.
func (s *Store) plant(ctx context.Context) error {
	edge, err := audit.Head{}.MarshalBinary()
	if err != nil {
		return err
	}
	checkpoint, err := s.log.Sign(audit.Head{})
	if err != nil {
		return err
	}
	_, err = s.writes.ExecContext(ctx, "insert into heads (id, edge, at, checkpoint) values (1, $1, 0, $2) on conflict (id) do nothing", edge, checkpoint)
	return s.dialect.explain(err)
}

// vouch returns nil if the head is what its own checkpoint says, that was signed by our key,
// and its time is that of the last event.
func (s *Store) vouch(q *Query, h head) error {
	c, err := audit.Open(h.checkpoint, s.log.Origin(), s.log.Public())
	if err != nil {
		return edited(err)
	}
	if c.Size != h.tree.Size || c.Root != h.tree.Root() {
		return edited(fmt.Errorf("head %d %s, checkpoint %d %s", h.tree.Size, h.tree.Root(), c.Size, c.Root))
	}
	last, err := one(q, value[int64], "select coalesce(max(at), 0) from events where idx = $1", h.tree.Size-1)
	if err != nil {
		return err
	}
	if last != micros(h.at) {
		return edited(fmt.Errorf("the head says that the last event was at %d, the event says %d", micros(h.at), last))
	}
	return nil
}

// tip is where the log ends, and what a change that fails is taken back to.
type tip struct {
	tree audit.Head
	at   time.Time      // of the last event
	last brevet.EventID // the newest that this batch wrote
	news []audit.Leaf   // all that this batch wrote
}

// openLog is the log while a batch appends to it.
type openLog struct {
	tip
	ctx     context.Context
	tx      *sql.Tx
	dialect dialect
	marked  bool // there is a savepoint
}

// openLog locks the log's head for this transaction and verifies it.
func (s *Store) openLog(ctx context.Context, tx *sql.Tx) (*openLog, error) {
	q := &Query{ctx: ctx, on: tx, dialect: s.dialect}
	h, err := q.headBy(selectHead + s.dialect.forUpdate())
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	known := s.trusted
	s.mu.Unlock()
	if h.tree.Size < known.tree.Size {
		return nil, brevet.Errorf(brevet.Refused, "the log has %d events and had %d: the database was put back or edited", h.tree.Size, known.tree.Size).
			WithHint("stop the server and restore the newest backup; nothing is written until then")
	}
	// What this process signed itself needs no second look.
	if !h.same(known) {
		if err := s.vouch(q, h); err != nil {
			return nil, err
		}
		s.trust(h)
	}
	return &openLog{tip: tip{tree: h.tree, at: h.at}, ctx: ctx, tx: tx, dialect: s.dialect}, nil
}

func (h head) same(as head) bool {
	return bytes.Equal(h.checkpoint, as.checkpoint) && h.tree.Root() == as.tree.Root() && h.tree.Size == as.tree.Size && h.at.Equal(as.at)
}

// mark sets the savepoint that a failing change is taken back to. One round trip ends the
// part before and begins the next.
func (l *openLog) mark() error {
	statement := "savepoint part"
	if l.marked {
		statement = "release savepoint part; savepoint part"
	}
	l.marked = true
	_, err := l.tx.ExecContext(l.ctx, statement)
	return err
}

// maxRows is how many events one statement writes. For one that writes more, SQLite keeps a journal
// of its own, so that it can undo half of it; on PostgreSQL each statement is a round trip.
func (d dialect) maxRows() int {
	if d == onSQLite {
		return 1
	}
	return 8
}

// append writes the events as the next leaves of the log, and returns their bodies.
func (l *openLog) append(events []pending) ([]Body, error) {
	end := l.tip
	bodies := make([]Body, 0, len(events))
	for part := range slices.Chunk(events, l.dialect.maxRows()) {
		var rows []any
		for _, p := range part {
			row, body, err := end.add(p)
			if err != nil {
				return nil, err
			}
			rows, bodies = append(rows, row...), append(bodies, body)
		}
		if err := l.insert(len(part), rows); err != nil {
			return nil, err
		}
	}
	l.tip = end
	return bodies, nil
}

func (l *openLog) insert(n int, rows []any) error {
	_, err := l.tx.ExecContext(l.ctx, insertEvents(n), rows...)
	if err != nil && l.dialect.judge(err) == occupied {
		return brevet.Errorf(brevet.Conflict, "this was said already: the log has the same statement").Because(err)
	}
	return err
}

// pending is an event of which all is written that can be before its place in the log is known.
type pending struct {
	kind      string
	subject   string
	statement []byte
	fields    audit.Fields
	body      audit.Draft
	salt      [audit.SaltSize]byte
}

func prepared(events []brevet.Event) ([]pending, error) {
	all := make([]pending, len(events))
	for i, e := range events {
		var err error
		if all[i], err = prepare(e); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func prepare(e brevet.Event) (pending, error) {
	if e.ID == "" {
		e.ID = brevet.NewEventID(e.At)
	}
	if e.Subject == "" {
		e.Subject = string(e.ID)
	}
	if e.Request == "" && e.Grant != "" {
		e.Request = e.Grant.Request()
	}
	p := pending{kind: e.Kind, subject: e.Subject, statement: e.Statement, fields: audit.FieldsOf(e)}
	if err := (audit.Leaf{Kind: e.Kind, Subject: e.Subject}).Check(); err != nil {
		return pending{}, err
	}
	rand.Read(p.salt[:]) // never fails (crypto/rand, Go 1.24)
	var err error
	p.body, err = audit.NewDraft(e)
	return p, err
}

// add makes the event the next leaf and returns its row, in the order of eventColumns, and its body. The
// order of the log rules over clocks.
func (t *tip) add(p pending) ([]any, Body, error) {
	f := p.fields
	if f.At.Before(t.at) {
		f.At = t.at
	}
	body, err := p.body.At(f.At)
	if err != nil {
		return nil, Body{}, err
	}
	leaf := audit.Leaf{Kind: p.kind, Subject: p.subject, Body: audit.BodyHash(p.salt, body)}
	index := t.tree.Size
	var completed []tlog.Hash
	t.tree, completed = t.tree.Append(leaf.Hash())
	t.at, t.last, t.news = f.At, f.ID, append(t.news, leaf)
	return []any{index, f.ID, p.kind, p.subject, micros(f.At), f.Actor, f.About, f.Request, f.Grant, f.Session,
		leaf.Body[:], joined(completed), p.salt[:], string(body), p.statement}, Body{p.salt[:], body}, nil
}

const eventColumns = "idx, id, kind, subject, at, actor, about, request_id, grant_id, session_id, body_hash, hashes, salt, body, statement"

// insertEvents returns the statement that writes n events at once.
func insertEvents(n int) string {
	columns := strings.Count(eventColumns, ",") + 1
	var b strings.Builder
	b.WriteString("insert into events (" + eventColumns + ") values ")
	for i := range n * columns {
		switch {
		case i == 0:
			b.WriteString("($")
		case i%columns == 0:
			b.WriteString("), ($")
		default:
			b.WriteString(", $")
		}
		b.WriteString(strconv.Itoa(i + 1))
	}
	b.WriteString(")")
	return b.String()
}

func joined(hashes []tlog.Hash) []byte {
	b := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

// seal signs the checkpoint of what the log has become and writes the head.
func (l *openLog) seal(by *audit.Signer) (head, error) {
	checkpoint, err := by.Sign(l.tree)
	if err != nil {
		return head{}, err
	}
	edge, err := l.tree.MarshalBinary()
	if err != nil {
		return head{}, err
	}
	_, err = l.tx.ExecContext(l.ctx, "update heads set edge = $1, at = $2, checkpoint = $3 where id = 1", edge, micros(l.at), checkpoint)
	return head{tree: l.tree, at: l.at, checkpoint: checkpoint}, err
}
