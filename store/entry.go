package store

import (
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
)

// Entry is one event as the log keeps it.
type Entry struct {
	Index     int64
	ID        brevet.EventID
	Kind      string
	Subject   string
	At        time.Time
	Actor     string          // person or machine that did it
	About     brevet.PersonID // whom it concerns, if that is not the actor
	Request   brevet.RequestID
	Grant     brevet.GrantID
	Session   brevet.SessionID
	BodyHash  [sha256.Size]byte
	Salt      []byte // nil once erased
	Body      []byte // one line of JSON (audit.Record); nil once erased
	Statement []byte // the envelope as it was signed; nil if the event is none, or once erased
}

// Leaf returns what the log commits to.
func (e Entry) Leaf() audit.Leaf {
	return audit.Leaf{Kind: e.Kind, Subject: e.Subject, Body: e.BodyHash}
}

const selectEntry = "select idx, id, kind, subject, at, actor, about, request_id, grant_id, session_id, body_hash, salt, body, statement from events "

func scanEntry(row scanner) (Entry, error) {
	var e Entry
	var hash []byte
	err := row.Scan(&e.Index, &e.ID, &e.Kind, &e.Subject, instant{&e.At}, &e.Actor, &e.About, &e.Request, &e.Grant, &e.Session,
		&hash, &e.Salt, &e.Body, &e.Statement)
	if err != nil {
		return Entry{}, err
	}
	if len(e.Statement) == 0 {
		e.Statement = nil
	}
	if len(hash) != len(e.BodyHash) {
		return Entry{}, fmt.Errorf("event %d has a hash of %d bytes", e.Index, len(hash))
	}
	copy(e.BodyHash[:], hash)
	return e, nil
}

// Entry returns the event at index.
func (q *Query) Entry(index int64) (Entry, error) {
	return named(q, "event", index, scanEntry, selectEntry+"where idx = $1", index)
}

// Entries returns the events from index on, in order.
func (q *Query) Entries(from int64, limit int) ([]Entry, error) {
	return list(q, scanEntry, selectEntry+"where idx >= $1 order by idx limit $2", from, Page{Limit: limit}.limit())
}

// saidOnce is what the index of statements has; SQLite uses it for queries that say the same.
const saidOnce = "statement is not null and " + seldom

// Statement returns the event of the statement with this id, its envelope among it. Those of a request
// that leads to a grant are found by it: see AskedBy, SpentBy and GivenBy.
func (q *Query) Statement(id string) (Entry, error) {
	return named(q, "statement", id, scanEntry, selectEntry+"where subject = $1 and "+saidOnce, id)
}

// AskedBy returns the event of the statement with this id, by which the request was made.
func (q *Query) AskedBy(id brevet.RequestID, statement string) (Entry, error) {
	return named(q, "statement of the request", id, scanEntry, selectOfRequest, id, "request", statement)
}

// SpentBy returns the event of the intent that spent the request, which the statement with this id made.
func (q *Query) SpentBy(id brevet.RequestID, statement string) (Entry, error) {
	return named(q, "intent for the request", id, scanEntry, selectOfRequest, id, "intent", statement)
}

// GivenBy returns the event of the statement by which the grant was given.
func (q *Query) GivenBy(g brevet.Grant) (Entry, error) {
	return named(q, "statement of the grant", g.ID, scanEntry, selectOfRequest, g.Request, "grant", g.Statement)
}

// selectOfRequest finds a statement among the events of its request, near the first of them.
const selectOfRequest = selectEntry + "where request_id = $1 and request_id <> '' and kind = $2 and subject = $3 order by idx limit 1"

// Statements returns statements of these kinds from an index of the log on, in its order:
// the roster or the catalog chain, say, or every revocation.
func (q *Query) Statements(kinds []string, from int64, limit int) ([]Entry, error) {
	w := where{}
	w.kinds(kinds)
	w.add("idx >= ", from)
	w.text = append(w.text, "statement is not null")
	return list(q, scanEntry, selectEntry+w.String()+" order by idx limit "+w.arg(Page{Limit: limit}.limit()), w.args...)
}

// RequestsIn returns the requests that the events from index on, and before index to, tell of.
func (q *Query) RequestsIn(from, to int64) ([]brevet.RequestID, error) {
	return list(q, value[brevet.RequestID], "select distinct request_id from events where idx >= $1 and idx < $2 and request_id <> ''", from, to)
}

// Filter says which events a search wants. What is empty is not asked for.
type Filter struct {
	Kind    string
	Person  brevet.PersonID // did it, or it concerns them or their request
	Request brevet.RequestID
	Session brevet.SessionID
	Grant   brevet.GrantID
	Subject string    // a statement's id, or of what it happened to
	Text    string    // stands somewhere in the body; ASCII letters in any case
	Since   time.Time // from then on
	Until   time.Time // before then
	Before  int64     // only events of a smaller index; 0: from the newest on, for nothing is before event 0
	Limit   int       // see Page.Limit
}

// Search returns the events that the filter wants, newest first. The next page begins
// before the index of the last one.
func (q *Query) Search(f Filter) ([]Entry, error) {
	var w where
	if f.Kind != "" {
		w.kinds([]string{f.Kind})
	}
	if f.Person != "" {
		p := w.arg(f.Person)
		w.text = append(w.text, fmt.Sprintf(`((actor = %s and `+seldom+`)
			or (about = %s and about <> '' and about <> actor and request_id = '')
			or (request_id <> '' and request_id in (select id from requests where person = %s)))`, p, p, p))
	}
	if f.Request != "" {
		w.add("request_id <> '' and request_id = ", f.Request)
	}
	if f.Session != "" {
		w.add("session_id <> '' and session_id = ", f.Session)
	}
	if f.Grant != "" {
		w.add("request_id <> '' and request_id = ", f.Grant.Request())
		w.add("grant_id = ", f.Grant)
	}
	if f.Subject != "" {
		w.add("subject = ", f.Subject)
	}
	if f.Text != "" {
		// Both sides are folded by the database, since the two fold more or less than Go does.
		w.text = append(w.text, "lower(body) like lower("+w.arg("%"+escapeLike(audit.SearchText(f.Text))+"%")+`) escape '!'`)
	}
	if !f.Since.IsZero() {
		from, err := q.firstAt(f.Since)
		if err != nil {
			return nil, err
		}
		w.add("idx >= ", from)
		w.add("at >= ", micros(f.Since))
	}
	if !f.Until.IsZero() {
		to, err := q.firstAt(f.Until)
		if err != nil {
			return nil, err
		}
		w.add("idx < ", to)
		w.add("at < ", micros(f.Until))
	}
	if f.Before > 0 {
		w.add("idx < ", f.Before)
	}
	return list(q, scanEntry, selectEntry+w.String()+" order by idx desc limit "+w.arg(Page{Limit: f.Limit}.limit()), w.args...)
}

// firstAt returns the index of the first event that is not before the time, or the size of the log. Events
// do not go back in time, so halving finds it.
func (q *Query) firstAt(t time.Time) (int64, error) {
	size, err := one(q, value[int64], "select coalesce(max(idx), -1) + 1 from events")
	if err != nil {
		return 0, err
	}
	var broken error
	first := sort.Search(int(size), func(i int) bool {
		at, err := one(q, value[int64], "select at from events where idx = $1", i)
		if err != nil && broken == nil && !errors.Is(err, errNone) { // a row that was taken away is for Verify to tell
			broken = err
		}
		return at >= micros(t)
	})
	return int64(first), broken
}

func escapeLike(s string) string {
	return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(s)
}

// where collects the conditions of a query and their arguments.
type where struct {
	text []string
	args []any
}

// arg adds an argument and returns its placeholder.
func (w *where) arg(v any) string {
	w.args = append(w.args, v)
	return fmt.Sprintf("$%d", len(w.args))
}

func (w *where) add(condition string, v any) {
	w.text = append(w.text, condition+w.arg(v))
}

// in adds that the column is one of the values; of none, nothing is.
func (w *where) in(column string, values []string) {
	if len(values) == 0 {
		w.text = append(w.text, "1 = 0")
		return
	}
	marks := make([]string, len(values))
	for i, v := range values {
		marks[i] = w.arg(v)
	}
	w.text = append(w.text, column+" in ("+strings.Join(marks, ", ")+")")
}

// frequent are the kinds that the indexes of kinds and actors do not have; seldom says that it is none of
// them, in their words, so that they are used.
var frequent = []string{"request", "intent", "grant"}

const seldom = "kind <> 'request' and kind <> 'intent' and kind <> 'grant'"

// kinds adds that the event is of one of the kinds.
func (w *where) kinds(kinds []string) {
	w.in("kind", kinds)
	if !slices.ContainsFunc(kinds, func(k string) bool { return slices.Contains(frequent, k) }) {
		w.text = append(w.text, seldom)
	}
}

func (w *where) String() string {
	if len(w.text) == 0 {
		return ""
	}
	return "where " + strings.Join(w.text, " and ")
}

// Checkpoint returns the newest signed checkpoint, and the size of the log that it is of.
func (q *Query) Checkpoint() (signed []byte, size int64, err error) {
	h, err := q.head()
	return h.checkpoint, h.tree.Size, err
}

// News is what the log has from an index on, as of one moment.
type News struct {
	Checkpoint []byte // signed
	Size       int64  // of the log that it is of
	Leaves     []audit.Leaf
}

// News returns the newest checkpoint with the leaves from index on, in order. Of more than limit
// leaves it returns the first.
func (q *Query) News(from int64, limit int) (n News, err error) {
	var edge, hash []byte
	var kind, subject sql.NullString
	_, err = list(q, func(row scanner) (struct{}, error) {
		if err := row.Scan(&edge, &n.Checkpoint, &kind, &subject, &hash); err != nil || !kind.Valid {
			return struct{}{}, err
		}
		leaf, err := leafOf(kind.String, subject.String, hash)
		n.Leaves = append(n.Leaves, leaf)
		return struct{}{}, err
	}, "select h.edge, h.checkpoint, e.kind, e.subject, e.body_hash from heads h left join events e on e.idx >= $1 where h.id = 1 order by e.idx limit $2",
		from, Page{Limit: limit}.limit())
	if err != nil {
		return News{}, err
	}
	var tree audit.Head
	if err := tree.UnmarshalBinary(edge); err != nil {
		return News{}, edited(err)
	}
	n.Size = tree.Size
	return n, nil
}

// Leaves returns the leaves from index on, in order: what the issuer replays.
func (q *Query) Leaves(from int64, limit int) ([]audit.Leaf, error) {
	return list(q, scanLeaf, "select kind, subject, body_hash from events where idx >= $1 order by idx limit $2", from, Page{Limit: limit}.limit())
}

func scanLeaf(row scanner) (audit.Leaf, error) {
	var kind, subject string
	var hash []byte
	if err := row.Scan(&kind, &subject, &hash); err != nil {
		return audit.Leaf{}, err
	}
	return leafOf(kind, subject, hash)
}

func leafOf(kind, subject string, hash []byte) (audit.Leaf, error) {
	l := audit.Leaf{Kind: kind, Subject: subject}
	if len(hash) != len(l.Body) {
		return audit.Leaf{}, fmt.Errorf("a leaf has a hash of %d bytes", len(hash))
	}
	copy(l.Body[:], hash)
	return l, nil
}

// Inclusion returns the proof that the event at index stands in the log of the given size
// (audit.VerifyInclusion).
func (q *Query) Inclusion(size, index int64) ([]tlog.Hash, error) {
	return audit.Inclusion(size, index, tlog.HashReaderFunc(q.hashes))
}

// Consistency returns the proof that the log of size now begins with the log of size before
// (audit.VerifyConsistency).
func (q *Query) Consistency(now, before int64) ([]tlog.Hash, error) {
	return audit.Consistency(now, before, tlog.HashReaderFunc(q.hashes))
}

// hashes reads nodes of the tree: each stands in the row of the leaf that completes it.
func (q *Query) hashes(stored []int64) ([]tlog.Hash, error) {
	if len(stored) == 0 {
		return nil, nil
	}
	var w where
	marks := make([]string, len(stored))
	for i, at := range stored {
		leaf, _ := audit.StoredAt(at)
		marks[i] = w.arg(leaf)
	}
	rows, err := list(q, scanHashes, "select idx, hashes from events where idx in ("+strings.Join(marks, ", ")+")", w.args...)
	if err != nil {
		return nil, err
	}
	byLeaf := make(map[int64][]byte, len(rows))
	for _, r := range rows {
		byLeaf[r.index] = r.hashes
	}
	found := make([]tlog.Hash, len(stored))
	for i, at := range stored {
		leaf, level := audit.StoredAt(at)
		hashes := byLeaf[leaf]
		if len(hashes) < (level+1)*tlog.HashSize {
			return nil, brevet.Errorf(brevet.NotFound, "the log has no event %d", leaf)
		}
		copy(found[i][:], hashes[level*tlog.HashSize:])
	}
	return found, nil
}

type hashRow struct {
	index  int64
	hashes []byte
}

func scanHashes(row scanner) (hashRow, error) {
	var r hashRow
	err := row.Scan(&r.index, &r.hashes)
	return r, err
}

// Erasable returns the indexes of events before the given time, oldest first, whose bodies
// may be erased and are still there.
func (q *Query) Erasable(before time.Time, limit int) ([]int64, error) {
	w := where{}
	w.add("at < ", micros(before))
	w.text = append(w.text, "body is not null")
	for _, k := range audit.Kinds {
		if k.Lasting {
			w.add("kind <> ", k.Name)
		}
	}
	return list(q, value[int64], "select idx from events "+w.String()+" order by idx limit "+w.arg(Page{Limit: limit}.limit()), w.args...)
}

// Erase removes the body of the event at index for good, with its statement and all that
// names people; its leaf, id and time stay, and the log still verifies if the same change
// says so in an event of kind audit.erased (audit.ErasedSubject). An event of a lasting kind
// is a Conflict: keys, catalog and revocations rest on it. One that was erased is a Conflict too.
func (t *Tx) Erase(index int64) error {
	e, err := t.Entry(index)
	if err != nil {
		return err
	}
	if kind, _ := audit.KindOf(e.Kind); kind.Lasting {
		return brevet.Errorf(brevet.Conflict, "event %d is a %s: what is in force rests on it, so it is never erased", index, e.Kind)
	}
	// A statement becomes empty and not null: one that was erased cannot be said again.
	n, err := t.exec(`update events set salt = null, body = null, actor = '', about = '', request_id = '', grant_id = '', session_id = '',
		statement = substr(statement, 1, 0) where idx = $1 and body is not null`, index)
	if err == nil && n != 1 {
		err = brevet.Errorf(brevet.Conflict, "event %d was erased already", index)
	}
	return err
}
