package issuer

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// kept is what the state remembers of the world across restarts.
type kept struct {
	name       brevet.MachineID
	root       statement.ID
	head       audit.Head
	checkpoint []byte
	followed   time.Time
	signed     time.Time
	forgotten  int64
	entries    []proof.Entry
	manifests  map[string][]byte
	heard      []statement.Envelope
}

func (s *state) read(ctx context.Context) (kept, error) {
	k := kept{manifests: map[string][]byte{}}
	var edge []byte
	var followed, signed int64
	row := s.reads.QueryRowContext(ctx, "select name, root, edge, checkpoint, followed, signed, forgotten from issuer where id = 1")
	if err := row.Scan(&k.name, &k.root, &edge, &k.checkpoint, &followed, &signed, &k.forgotten); err != nil {
		return kept{}, err
	}
	if err := k.head.UnmarshalBinary(edge); err != nil {
		return kept{}, err
	}
	k.followed, k.signed = time.UnixMicro(followed).UTC(), time.UnixMicro(signed).UTC()
	err := s.each(ctx, "select idx, envelope, not_before from entries order by idx", func(rows *sql.Rows) error {
		e := proof.Entry{}
		envelope, err := scanEnvelope(rows, &e.Index, &e.NotBefore)
		e.Envelope = envelope
		k.entries = append(k.entries, e)
		return err
	})
	if err != nil {
		return kept{}, err
	}
	err = s.each(ctx, "select digest, body from manifests", func(rows *sql.Rows) error {
		var digest string
		var body []byte
		err := rows.Scan(&digest, &body)
		k.manifests[digest] = body
		return err
	})
	if err != nil {
		return kept{}, err
	}
	return k, s.each(ctx, "select 0, envelope, 0 from heard", func(rows *sql.Rows) error {
		var none int64
		e, err := scanEnvelope(rows, &none, &none)
		k.heard = append(k.heard, e)
		return err
	})
}

// each calls scan for each row.
func (s *state) each(ctx context.Context, query string, scan func(*sql.Rows) error) error {
	rows, err := s.reads.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func scanEnvelope(rows *sql.Rows, before, after *int64) (statement.Envelope, error) {
	var b []byte
	if err := rows.Scan(before, &b, after); err != nil {
		return statement.Envelope{}, err
	}
	return statement.Parse(b)
}

// begin remembers the root for good.
func (s *state) begin(ctx context.Context, root statement.ID) error {
	return s.write(ctx, "begin", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "update issuer set root = $1 where id = 1 and root = ''", root)
		return err
	})
}

// bytesOf returns the 32 bytes that a statement's id is the hex of, or nil if it is none.
func bytesOf(id string) []byte {
	b, err := hex.DecodeString(id)
	if err != nil || len(b) != 32 || hex.EncodeToString(b) != id {
		return nil
	}
	return b
}

// placeOf returns the index of the first leaf of the request or approval, and false if there is none.
func (s *state) placeOf(ctx context.Context, id statement.ID) (index int64, found bool, err error) {
	coming := s.coming.Load() // first: what leaves it meanwhile is in the database
	err = s.reads.QueryRowContext(ctx, "select idx from places where statement = $1", bytesOf(string(id))).Scan(&index)
	if errors.Is(err, sql.ErrNoRows) {
		index, found = coming.place(id)
		return index, found, nil
	}
	return index, err == nil, failed(err)
}

// spending is the leaf of the intent that spent a request.
type spending struct {
	index int64
	body  []byte
}

// standing is how a request stands.
type standing struct {
	place int64     // of its first leaf; -1: it is not in the log
	spent *spending // the first intent for it in the log, if any
	given *given    // what came of it, if anything
}

// standingOf returns how the request stands.
func (s *state) standingOf(ctx context.Context, request statement.ID) (standing, error) {
	coming := s.coming.Load() // first: what leaves it meanwhile is in the database
	var place, spentAt sql.NullInt64
	var by spending
	var g given
	var keys []byte
	err := s.reads.QueryRowContext(ctx, `select p.idx, s.idx, s.body, g.intent, g.envelope, g.certificate, g.keys from (select $1 as id) as r
		left join places p on p.statement = r.id left join spent s on s.request = r.id left join grants g on g.request = r.id`,
		bytesOf(string(request))).Scan(&place, &spentAt, &by.body, &g.intent, &g.envelope, &g.certificate, &keys)
	if err != nil {
		return standing{}, failed(err)
	}
	st := standing{place: -1}
	if place.Valid {
		st.place = place.Int64
	} else if index, found := coming.place(request); found {
		st.place = index
	}
	if spentAt.Valid {
		by.index = spentAt.Int64
		st.spent = &by
	} else if by, found := coming.spending(request); found {
		st.spent = &by
	}
	if g.intent != nil {
		st.given = &g
		return st, failed(json.Unmarshal(keys, &g.rests))
	}
	return st, nil
}

// gave remembers the last grants that were given, by the ids of their statements: it saves looking for them
// in the database.
type gave struct {
	mu       sync.Mutex
	now, old map[statement.ID]bool // guarded by mu
}

const maxGave = 1 << 12

func (g *gave) keep(id statement.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now == nil || len(g.now) >= maxGave {
		g.now, g.old = map[statement.ID]bool{}, g.now
	}
	g.now[id] = true
}

func (g *gave) has(id statement.ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now[id] || g.old[id]
}

// coming is what leaves say that were followed and are on their way into the database. The first leaf of
// a subject counts, so the database does before this.
type coming struct {
	places map[statement.ID]int64
	spent  map[statement.ID]spending
}

func (c *coming) place(id statement.ID) (index int64, found bool) {
	if c != nil {
		index, found = c.places[id]
	}
	return index, found
}

func (c *coming) spending(request statement.ID) (by spending, found bool) {
	if c != nil {
		by, found = c.spent[request]
	}
	return by, found
}

type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// given is a grant that was signed.
type given struct {
	intent      []byte // id
	envelope    []byte // of the grant
	certificate []byte
	rests       restsOn
}

// restsOn are the keys of people that a grant rests on, and when they signed. If one is retired
// later and what it signed then is suspect, the grant is over.
type restsOn []signature

type signature struct {
	Key string `json:"key"` // fingerprint
	At  int64  `json:"at"`  // microseconds
}

const selectGiven = "select intent, envelope, certificate, keys from grants where "

func scanGiven(row *sql.Row) (g given, found bool, err error) {
	var keys []byte
	err = row.Scan(&g.intent, &g.envelope, &g.certificate, &keys)
	if errors.Is(err, sql.ErrNoRows) {
		return given{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal(keys, &g.rests)
	}
	return g, err == nil, err
}

func givenFor(ctx context.Context, on queryer, request statement.ID) (given, bool, error) {
	return scanGiven(on.QueryRowContext(ctx, selectGiven+"request = $1", bytesOf(string(request))))
}

func givenAs(ctx context.Context, on queryer, id brevet.GrantID) (given, bool, error) {
	return scanGiven(on.QueryRowContext(ctx, selectGiven+"id = $1", id))
}
