package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
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
	return h, h.tree.UnmarshalBinary(edge)
}

func (q *Query) head() (head, error) { return one(q, scanHead, selectHead) }

// begin makes the head of an empty log, unless there is one, and verifies the one there is.
func (s *Store) begin(ctx context.Context) error {
	edge, err := audit.Head{}.MarshalBinary()
	if err != nil {
		return err
	}
	checkpoint, err := s.log.Sign(audit.Head{})
	if err != nil {
		return err
	}
	if _, err := s.writes.ExecContext(ctx, "insert into heads (id, edge, at, checkpoint) values (1, $1, 0, $2) on conflict (id) do nothing", edge, checkpoint); err != nil {
		return s.dialect.explain(err)
	}
	h, err := s.Query(ctx).head()
	if err != nil {
		return err
	}
	if err := s.vouch(h); err != nil {
		return err
	}
	s.trust(h.tree, h.checkpoint)
	return nil
}

// vouch returns nil if the head is what its own checkpoint says, and that was signed by our
// key. Otherwise somebody edited the head: to go on would be to sign their edit.
func (s *Store) vouch(h head) error {
	c, err := audit.Open(h.checkpoint, s.log.Origin(), s.log.Public())
	if err == nil && (c.Size != h.tree.Size || c.Root != h.tree.Root()) {
		err = fmt.Errorf("head %d %s, checkpoint %d %s", h.tree.Size, h.tree.Root(), c.Size, c.Root)
	}
	if err != nil {
		return brevet.Errorf(brevet.Refused, "the log's head is not what its key signed: the database was edited, or log.key is of another log").
			Because(err).WithHint("brevet audit verify names the first event that does not hold")
	}
	return nil
}

// tip is where the log ends, and what a change that fails is taken back to.
type tip struct {
	tree audit.Head
	at   time.Time      // of the last event
	last brevet.EventID // the newest that this batch wrote
}

// openLog is the log while a batch appends to it.
type openLog struct {
	tip
	ctx    context.Context
	tx     *sql.Tx
	marked bool // there is a savepoint
}

// openLog locks the log's head for this transaction and verifies it.
func (s *Store) openLog(ctx context.Context, tx *sql.Tx) (*openLog, error) {
	q := Query{ctx: ctx, on: tx, dialect: s.dialect}
	h, err := one(&q, scanHead, selectHead+s.dialect.forUpdate())
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	size, known := s.size, s.trusted
	s.mu.Unlock()
	if h.tree.Size < size {
		return nil, brevet.Errorf(brevet.Refused, "the log has %d events and had %d: the database was put back or edited", h.tree.Size, size).
			WithHint("stop the server and restore the newest backup; nothing is written until then")
	}
	// What this process signed itself needs no second look at the signature.
	if !bytes.Equal(h.checkpoint, known.checkpoint) || h.tree.Root() != known.root {
		if err := s.vouch(h); err != nil {
			return nil, err
		}
	}
	return &openLog{tip: tip{tree: h.tree, at: h.at}, ctx: ctx, tx: tx}, nil
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

// append writes the events as the next leaves of the log.
func (l *openLog) append(events []brevet.Event) error {
	end := l.tip
	var rows []any
	for _, e := range events {
		if e.At.Before(end.at) {
			e.At = end.at // the order of the log rules over clocks
		}
		row, err := end.add(e)
		if err != nil {
			return err
		}
		rows = append(rows, row...)
	}
	if _, err := l.tx.ExecContext(l.ctx, insertEvents(len(events)), rows...); err != nil {
		return err
	}
	l.tip = end
	return nil
}

// add makes the event the next leaf and returns its row, in the order of eventColumns.
func (t *tip) add(e brevet.Event) ([]any, error) {
	e.At = e.At.UTC().Truncate(time.Microsecond)
	if e.ID == "" {
		e.ID = brevet.NewEventID(e.At)
	}
	if e.Subject == "" {
		e.Subject = string(e.ID)
	}
	if e.Request == "" && e.Grant != "" {
		e.Request = e.Grant.Request()
	}
	body, err := audit.Record(e)
	if err != nil {
		return nil, err
	}
	var salt [audit.SaltSize]byte
	rand.Read(salt[:]) // never fails (crypto/rand, Go 1.24)
	leaf := audit.Leaf{Kind: e.Kind, Subject: e.Subject, Body: audit.BodyHash(salt, body)}
	if err := leaf.Check(); err != nil {
		return nil, err
	}
	index := t.tree.Size
	var completed []tlog.Hash
	t.tree, completed = t.tree.Append(leaf.Hash())
	t.at, t.last = e.At, e.ID
	return []any{index, e.ID, e.Kind, e.Subject, micros(e.At), e.Actor.String(), e.About, e.Request, e.Grant, e.Session,
		leaf.Body[:], joined(completed), salt[:], string(body), e.Statement}, nil
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
func (l *openLog) seal(by *audit.Signer) ([]byte, error) {
	checkpoint, err := by.Sign(l.tree)
	if err != nil {
		return nil, err
	}
	edge, err := l.tree.MarshalBinary()
	if err != nil {
		return nil, err
	}
	_, err = l.tx.ExecContext(l.ctx, "update heads set edge = $1, at = $2, checkpoint = $3 where id = 1", edge, micros(l.at), checkpoint)
	return checkpoint, err
}
