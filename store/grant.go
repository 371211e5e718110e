package store

import (
	"slices"
	"strconv"
	"time"

	"github.com/brevet-pim/brevet"
)

const grantColumns = "id, request_id, statement, intent, state, person, role, targets, logins, holder, starts, ends, ended_at, ended_by, end_reason, closed_at, version"

const selectGrant = "select " + grantColumns + " from grants "

func scanGrant(row scanner) (brevet.Grant, error) {
	var g brevet.Grant
	err := row.Scan(&g.ID, &g.Request, &g.Statement, &g.Intent, &g.State, &g.Person, &g.Role, unpack{&g.Targets}, unpack{&g.Logins},
		&g.Holder, instant{&g.From}, instant{&g.To}, instant{&g.EndedAt}, &g.EndedBy, &g.EndReason, instant{&g.ClosedAt}, &g.Version)
	return g, err
}

// notEnded says that something may be left of a grant, in the words of the index of those.
const notEnded = "state <> 'ended'"

// anyLeft says the same, and names the states, so that they are looked up in the index.
const anyLeft = notEnded + " and state in ('issuing', 'live', 'ending')"

// Grant returns the grant with this id.
func (q *Query) Grant(id brevet.GrantID) (brevet.Grant, error) {
	return named(q, "grant", id, scanGrant, selectGrant+"where id = $1", id)
}

// FindGrant returns the grant whose id ends so. More than one is a Conflict.
func (q *Query) FindGrant(ending string) (brevet.Grant, error) {
	return ends(q, "grant", ending, scanGrant, selectGrant)
}

// GrantFilter says which grants are wanted. What is empty is not asked for.
type GrantFilter struct {
	State  brevet.GrantState
	States []brevet.GrantState // one of them
	Person brevet.PersonID
	Role   brevet.RoleName
	Holder brevet.MachineID
	Open   bool // only those of which something may be left: not ended
	Newest bool // newest first; then After is the oldest id of the page before
	Page
}

// Grants returns the grants that the filter wants, oldest first unless it says otherwise.
func (q *Query) Grants(f GrantFilter) ([]brevet.Grant, error) {
	var w where
	if f.State != "" {
		w.add("state = ", f.State)
	}
	if f.Open {
		w.text = append(w.text, anyLeft)
	}
	if f.State != "" && !f.State.Final() { // so that it is found by the index of those
		w.text = append(w.text, notEnded)
	}
	if len(f.States) > 0 {
		w.in("state", names(f.States))
		if !slices.ContainsFunc(f.States, brevet.GrantState.Final) {
			w.text = append(w.text, notEnded)
		}
	}
	if f.Person != "" {
		w.add("person = ", f.Person)
	}
	if f.Role != "" {
		w.add("role = ", f.Role)
	}
	if f.Holder != "" {
		w.add("holder = ", f.Holder)
	}
	return list(q, scanGrant, selectGrant+w.page(f.Page, f.Newest), w.args...)
}

// GrantsDue returns grants that are issuing or live and whose end has come, the most
// overdue first.
func (q *Query) GrantsDue(now time.Time, limit int) ([]brevet.Grant, error) {
	return list(q, scanGrant, selectGrant+"where "+notEnded+" and state in ('issuing', 'live') and ends <= $1 order by ends limit $2", micros(now), Page{Limit: limit}.limit())
}

// NextEnd returns when the next grant ends, and the zero time if none is issuing or live.
func (q *Query) NextEnd() (time.Time, error) {
	return one(q, func(row scanner) (at time.Time, err error) { return at, row.Scan(instant{&at}) },
		"select coalesce(min(ends), 0) from grants where "+notEnded+" and state in ('issuing', 'live')")
}

// AddGrant writes a new grant, in state issuing and with version 1. A grant must have an end.
func (t *Tx) AddGrant(g brevet.Grant) error {
	if g.State != brevet.Issuing {
		return brevet.Errorf(brevet.Invalid, "a new grant is %s: it must be %s", g.State, brevet.Issuing)
	}
	if !g.To.After(g.From) {
		return brevet.Errorf(brevet.Invalid, "grant %s has no end after its beginning", g.ID)
	}
	if g.ID != g.Request.Grant() { // there is one at most
		return brevet.Errorf(brevet.Invalid, "grant %s is not the one of %s", g.ID, g.Request)
	}
	return t.insert("grant", g.ID, "insert into grants ("+grantColumns+`, credential_kind, credential_serial, credential, credential_ends)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 1, '', '', '', 0)`,
		g.ID, g.Request, g.Statement, g.Intent, g.State, g.Person, g.Role, packed(g.Targets), packed(g.Logins), g.Holder,
		micros(g.From), micros(g.To), micros(g.EndedAt), g.EndedBy, g.EndReason, micros(g.ClosedAt))
}

// GiveGrant makes a grant live that is issuing, as it was given, and keeps the credential that its
// holder uses, which must end, and not after the grant. A grant that has been moved since it was read
// is a Conflict.
func (t *Tx) GiveGrant(g brevet.Grant, c brevet.Credential) error {
	switch {
	case !g.To.After(g.From):
		return brevet.Errorf(brevet.Invalid, "grant %s has no end after its beginning", g.ID)
	case c.Kind == "":
		return brevet.Errorf(brevet.Invalid, "grant %s is given without a credential", g.ID)
	case c.To.IsZero() || c.To.After(g.To):
		return brevet.Errorf(brevet.Invalid, "the credential of grant %s ends at %s, after the grant's end at %s", g.ID, c.To.Format(time.RFC3339), g.To.Format(time.RFC3339))
	}
	n, err := t.exec(`update grants set state = $1, statement = $2, starts = $3, ends = $4, version = version + 1,
		credential_kind = $5, credential_serial = $6, credential = $7, credential_ends = $8 where id = $9 and version = $10 and state = $11`,
		brevet.Live, g.Statement, micros(g.From), micros(g.To),
		c.Kind, strconv.FormatUint(c.Serial, 10), c.Public, micros(c.To), g.ID, g.Version, brevet.Issuing)
	if err == nil && n != 1 {
		err = changedMeanwhile("grant", g.ID)
	}
	return err
}

// UpdateGrant writes what may change of a grant: state, statement, its beginning and end
// while it is issuing, and how it ended. The end never moves later once the grant is live. What is
// not live has no credential any more: it is erased.
// It returns the grant with its new version. If the row has another version than g, or may
// not go from its state to g's (brevet.GrantState.May), it is a Conflict.
func (t *Tx) UpdateGrant(g brevet.Grant) (brevet.Grant, error) {
	now, err := t.Grant(g.ID)
	if err != nil {
		return brevet.Grant{}, err
	}
	if err := mayMove("grant", g.ID, now.Version, g.Version, now.State, g.State); err != nil {
		return brevet.Grant{}, err
	}
	if now.State != brevet.Issuing && g.To.After(now.To) || !g.To.After(g.From) {
		return brevet.Grant{}, brevet.Errorf(brevet.Conflict, "grant %s ends at %s and cannot end at %s", g.ID, now.To.Format(time.RFC3339), g.To.Format(time.RFC3339))
	}
	erased := ""
	if g.State != brevet.Live {
		erased = ", credential_kind = '', credential_serial = '', credential = '', credential_ends = 0"
	}
	n, err := t.exec(`update grants set state = $1, statement = $2, starts = $3, ends = $4, ended_at = $5, ended_by = $6, end_reason = $7,
		closed_at = $8, version = version + 1`+erased+` where id = $9 and version = $10`,
		g.State, g.Statement, micros(g.From), micros(g.To), micros(g.EndedAt), g.EndedBy, g.EndReason, micros(g.ClosedAt), g.ID, g.Version)
	if err != nil {
		return brevet.Grant{}, err
	}
	if n != 1 {
		return brevet.Grant{}, changedMeanwhile("grant", g.ID)
	}
	now.State, now.Statement, now.From, now.To, now.Version = g.State, g.Statement, g.From, g.To, now.Version+1
	now.EndedAt, now.EndedBy, now.EndReason, now.ClosedAt = g.EndedAt, g.EndedBy, g.EndReason, g.ClosedAt
	return now, nil
}

// Confirmation says that nothing of a grant is left with one enforcement point.
type Confirmation struct {
	Grant   brevet.GrantID
	Machine brevet.MachineID
	At      time.Time
}

// Confirmations returns who confirmed the end of the grant, in the order in which they did.
func (q *Query) Confirmations(id brevet.GrantID) ([]Confirmation, error) {
	return list(q, func(row scanner) (c Confirmation, err error) {
		err = row.Scan(&c.Grant, &c.Machine, instant{&c.At})
		return c, err
	}, "select grant_id, machine, confirmed_at from grant_confirmations where grant_id = $1 order by confirmed_at, machine", id)
}

// Confirm writes a confirmation, and reports whether it is news. One that was there keeps its time.
func (t *Tx) Confirm(c Confirmation) (bool, error) {
	n, err := t.exec("insert into grant_confirmations (grant_id, machine, confirmed_at) values ($1, $2, $3) on conflict (grant_id, machine) do nothing",
		c.Grant, c.Machine, micros(c.At))
	return n == 1, err
}

// Credential returns the credential of a grant. Once it is erased there is none.
func (q *Query) Credential(id brevet.GrantID) (brevet.Credential, error) {
	return named(q, "credential of grant", id, func(row scanner) (c brevet.Credential, err error) {
		var serial string
		if err := row.Scan(&c.Kind, &serial, &c.Public, instant{&c.To}); err != nil {
			return c, err
		}
		c.Serial, err = strconv.ParseUint(serial, 10, 64)
		return c, err
	}, "select credential_kind, credential_serial, credential, credential_ends from grants where id = $1 and credential_kind <> ''", id)
}

// Manifest returns the bytes with this digest (SHA-256, hex): a catalog's manifest.
func (q *Query) Manifest(digest string) ([]byte, error) {
	b, err := named(q, "manifest", digest, value[[]byte], "select bytes from manifests where digest = $1", digest)
	if err != nil {
		return nil, err
	}
	if digestOf(b) != digest {
		return nil, brevet.Errorf(brevet.Refused, "the manifest %s was changed in the database", digest)
	}
	return b, nil
}

// PutManifest keeps the bytes and returns their digest. The same bytes are kept once.
func (t *Tx) PutManifest(b []byte) (string, error) {
	digest := digestOf(b)
	_, err := t.exec("insert into manifests (digest, bytes) values ($1, $2) on conflict (digest) do nothing", digest, b)
	return digest, err
}
