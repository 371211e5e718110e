package issuer

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
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
	entries    []proof.Entry
	manifests  map[string][]byte
	heard      []statement.Envelope
}

func (s *state) read(ctx context.Context) (kept, error) {
	k := kept{manifests: map[string][]byte{}}
	var edge []byte
	var followed, signed int64
	row := s.reads.QueryRowContext(ctx, "select name, root, edge, checkpoint, followed, signed from issuer where id = 1")
	if err := row.Scan(&k.name, &k.root, &edge, &k.checkpoint, &followed, &signed); err != nil {
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

// keptIntents is how long intents that were never used are remembered.
const keptIntents = 24 * time.Hour

// begin remembers the root for good, and forgets intents that cannot be used any more.
func (s *state) begin(ctx context.Context, root statement.ID, now time.Time) error {
	return s.write(ctx, "begin", func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "update issuer set root = $1 where id = 1 and root = ''", root); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "delete from intents where at < $1", now.Add(-keptIntents).UnixMicro())
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
	err = s.reads.QueryRowContext(ctx, "select idx from places where statement = $1", bytesOf(string(id))).Scan(&index)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return index, err == nil, failed(err)
}

// spending is the leaf of the intent that spent a request.
type spending struct {
	index int64
	body  []byte
}

type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func spentBy(ctx context.Context, on queryer, request statement.ID) (by spending, found bool, err error) {
	err = on.QueryRowContext(ctx, "select idx, body from spent where request = $1", bytesOf(string(request))).Scan(&by.index, &by.body)
	if errors.Is(err, sql.ErrNoRows) {
		return spending{}, false, nil
	}
	return by, err == nil, err
}

// preparedFor returns the envelope of the intent that is prepared for the request.
func preparedFor(ctx context.Context, on queryer, request statement.ID) (envelope []byte, found bool, err error) {
	err = on.QueryRowContext(ctx, "select envelope from intents where request = $1", bytesOf(string(request))).Scan(&envelope)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	return envelope, err == nil, err
}

// given is a grant that was signed.
type given struct {
	intent []byte // id
	Result
	rests restsOn
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
	err = row.Scan(&g.intent, &g.Grant, &g.Certificate, &keys)
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
