package issuer

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
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
	err := s.each(ctx, fmt.Sprintf("select statement from grants order by rowid desc limit %d", maxGave), func(rows *sql.Rows) error {
		var id []byte
		err := rows.Scan(&id)
		s.gave.Keep(statement.ID(hex.EncodeToString(id)), struct{}{}, maxGave)
		return err
	})
	if err != nil {
		return kept{}, err
	}
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
	err = s.each(ctx, "select idx, envelope, not_before from entries order by idx", func(rows *sql.Rows) error {
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

// nowhere is the place of what is not in the log.
const nowhere = -1

// place is where a request or an approval stands, and what spent the request.
type place struct {
	index int64
	spent int64  // place of the first intent for it
	body  []byte // hash of the body of that leaf
}

func (p place) write(ctx context.Context, tx *sql.Tx, id statement.ID) error {
	body := p.body
	if body == nil {
		body = []byte{}
	}
	_, err := tx.ExecContext(ctx, `insert into places (statement, idx, spent, body) values ($1, $2, $3, $4) on conflict (statement) do update set
		idx = case when places.idx = -1 then excluded.idx else places.idx end,
		body = case when places.spent = -1 then excluded.body else places.body end,
		spent = case when places.spent = -1 then excluded.spent else places.spent end`,
		bytesOf(string(id)), p.index, p.spent, body)
	return err
}

// coming is what leaves say that were followed and are on their way into the database. The first leaf of
// a subject counts, so what the database has goes before this.
type coming map[statement.ID]*place

// intents reports whether there is an intent among the leaves.
func (c coming) intents() bool {
	for _, at := range c {
		if at.spent != nowhere {
			return true
		}
	}
	return false
}

// before returns the place as the database has it, with what is coming.
func (c *coming) before(id statement.ID, known place) place {
	if c == nil || (*c)[id] == nil {
		return known
	}
	at := (*c)[id]
	if known.index == nowhere {
		known.index = at.index
	}
	if known.spent == nowhere {
		known.spent, known.body = at.spent, at.body
	}
	return known
}

// placeOf returns where the request or the approval stands.
func (s *state) placeOf(ctx context.Context, id statement.ID) (place, error) {
	coming := s.coming.Load() // first: what leaves it meanwhile is in the database
	known := place{index: nowhere, spent: nowhere}
	err := s.reads.QueryRowContext(ctx, "select idx, spent, body from places where statement = $1", bytesOf(string(id))).Scan(&known.index, &known.spent, &known.body)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return place{}, failed(err)
	}
	return coming.before(id, known), nil
}

// standing is how a request stands: where, and what was given for it, if anything.
type standing struct {
	place
	given *given
}

// gaveBefore reports whether a grant that is not among the last ones is in the database: one whose intent was
// used late, before a restart. It walks through all that was given, and is as good as never asked.
func (s *state) gaveBefore(ctx context.Context, id statement.ID) (bool, error) {
	var found bool
	err := s.reads.QueryRowContext(ctx, "select exists (select 1 from grants where statement = $1)", bytesOf(string(id))).Scan(&found)
	return found, failed(err)
}

// standingSoon returns how a request stands, as if the database had nothing of it if all is coming. So it never
// returns a grant that was given before: making.write finds that, or other places, and keeps nothing then.
func (s *state) standingSoon(ctx context.Context, request statement.ID) (standing, error) {
	if c := s.coming.Load(); c != nil {
		if at := (*c)[request]; at != nil && at.index != nowhere && at.spent != nowhere {
			return standing{place: *at}, nil
		}
	}
	return s.standingOf(ctx, request)
}

// standingOf returns how the request stands.
func (s *state) standingOf(ctx context.Context, request statement.ID) (standing, error) {
	coming := s.coming.Load() // first: what leaves it meanwhile is in the database
	known := place{index: nowhere, spent: nowhere}
	var index, spent sql.NullInt64
	var g given
	var keys []byte
	err := s.reads.QueryRowContext(ctx, `select p.idx, p.spent, p.body, g.intent, g.envelope, g.certificate, g.keys from (select $1 as id) as r
		left join places p on p.statement = r.id left join grants g on g.spent = p.spent`,
		bytesOf(string(request))).Scan(&index, &spent, &known.body, &g.intent, &g.envelope, &g.certificate, &keys)
	if err != nil {
		return standing{}, failed(err)
	}
	if index.Valid {
		known.index, known.spent = index.Int64, spent.Int64
	}
	st := standing{place: coming.before(request, known)}
	if g.intent != nil {
		st.given = &g
		err = json.Unmarshal(keys, &g.rests)
	}
	return st, failed(err)
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

func givenAs(ctx context.Context, on queryer, id brevet.GrantID) (given, bool, error) {
	return scanGiven(on.QueryRowContext(ctx, selectGiven+"id = $1", id))
}
