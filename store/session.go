package store

import (
	"time"

	"github.com/brevet-pim/brevet"
)

const sessionColumns = "id, grant_id, person, target, login, machine, source, kind, command, recorded, started_at, ended_at, end_reason, chunks, bytes, root, complete"

const selectSession = "select " + sessionColumns + " from sessions "

func scanSession(row scanner) (brevet.Session, error) {
	var s brevet.Session
	r := &s.Recording
	err := row.Scan(&s.ID, &s.Grant, &s.Person, &s.Target, &s.Login, &s.Machine, &s.Source, &s.Kind, &s.Command, &s.Recorded,
		instant{&s.StartedAt}, instant{&s.EndedAt}, &s.EndReason, &r.Chunks, &r.Bytes, &r.Root, &r.Complete)
	return s, err
}

// Session returns the session with this id.
func (q *Query) Session(id brevet.SessionID) (brevet.Session, error) {
	return named(q, "session", id, scanSession, selectSession+"where id = $1", id)
}

// FindSession returns the session whose id ends so. More than one is a Conflict.
func (q *Query) FindSession(ending string) (brevet.Session, error) {
	return ends(q, "session", ending, scanSession, selectSession)
}

// SessionFilter says which sessions are wanted. What is empty is not asked for.
type SessionFilter struct {
	Grant   brevet.GrantID
	Person  brevet.PersonID
	Target  brevet.TargetID
	Machine brevet.MachineID
	Live    bool // only those that go on
	Ending  bool // only those that go on and are to end, see Tx.AskEnd
	Newest  bool // newest first; then After is the oldest id of the page before
	Page
}

// Sessions returns the sessions that the filter wants, oldest first unless it says otherwise.
func (q *Query) Sessions(f SessionFilter) ([]brevet.Session, error) {
	var w where
	if f.Grant != "" {
		w.add("grant_id = ", f.Grant)
	}
	if f.Person != "" {
		w.add("person = ", f.Person)
	}
	if f.Target != "" {
		w.add("target = ", f.Target)
	}
	if f.Machine != "" {
		w.add("machine = ", f.Machine)
	}
	if f.Live {
		w.text = append(w.text, "ended_at = 0")
	}
	if f.Ending {
		w.text = append(w.text, "ended_at = 0 and end_reason <> ''")
	}
	return list(q, scanSession, selectSession+w.page(f.Page, f.Newest), w.args...)
}

// CountLive returns how many sessions go on.
func (q *Query) CountLive() (int, error) {
	return one(q, value[int], "select count(*) from sessions where ended_at = 0")
}

// CountLiveBy returns how many sessions go on at each machine that has any.
func (q *Query) CountLiveBy() (map[brevet.MachineID]int, error) {
	counts := map[brevet.MachineID]int{}
	_, err := list(q, func(row scanner) (n int, err error) {
		var machine brevet.MachineID
		err = row.Scan(&machine, &n)
		counts[machine] = n
		return n, err
	}, "select machine, count(*) from sessions where ended_at = 0 group by machine")
	return counts, err
}

// AddSession writes a session that begins. Whether its grant is live, the caller has checked
// in the same change.
func (t *Tx) AddSession(s brevet.Session) error {
	r := s.Recording
	return t.insert("session", s.ID, "insert into sessions ("+sessionColumns+`)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`,
		s.ID, s.Grant, s.Person, s.Target, s.Login, s.Machine, s.Source, s.Kind, s.Command, s.Recorded,
		micros(s.StartedAt), micros(s.EndedAt), s.EndReason, r.Chunks, r.Bytes, r.Root, r.Complete)
}

// EndSession writes that the session ended, and why. One that has ended is a Conflict: the
// first reason stays.
func (t *Tx) EndSession(id brevet.SessionID, at time.Time, reason string) error {
	if at.IsZero() {
		return brevet.Errorf(brevet.Invalid, "session %s ends at no time", id)
	}
	n, err := t.exec("update sessions set ended_at = $1, end_reason = $2 where id = $3 and ended_at = 0", micros(at), reason, id)
	if err != nil || n == 1 {
		return err
	}
	s, err := t.Session(id)
	if err != nil {
		return err
	}
	return brevet.Errorf(brevet.Conflict, "session %s ended at %s already", id, s.EndedAt.Format(time.RFC3339))
}

// AskEnd writes that a session is to end, and why, for its gateway to carry out. The first reason
// stays; one that has ended is a Conflict.
func (t *Tx) AskEnd(id brevet.SessionID, reason string) error {
	if reason == "" {
		return brevet.Errorf(brevet.Invalid, "session %s is to end for no reason", id)
	}
	n, err := t.exec("update sessions set end_reason = case when end_reason = '' then $1 else end_reason end where id = $2 and ended_at = 0", reason, id)
	if err != nil || n == 1 {
		return err
	}
	s, err := t.Session(id)
	if err != nil {
		return err
	}
	return brevet.Errorf(brevet.Conflict, "session %s ended at %s already", id, s.EndedAt.Format(time.RFC3339))
}

// SetRecording writes how the session's recording stands. Of a complete one nothing changes any more.
func (t *Tx) SetRecording(id brevet.SessionID, r brevet.RecordingState) error {
	n, err := t.exec("update sessions set chunks = $1, bytes = $2, root = $3, complete = $4 where id = $5 and complete = $6",
		r.Chunks, r.Bytes, r.Root, r.Complete, id, false)
	if err != nil || n == 1 {
		return err
	}
	if _, err := t.Session(id); err != nil {
		return err
	}
	return brevet.Errorf(brevet.Conflict, "the recording of session %s is complete already", id)
}

// Chunk is one sealed piece of a recording; its bytes are a file.
type Chunk struct {
	Session brevet.SessionID
	Number  int64  // from 0, without a gap
	SHA256  string // of the recording's chain up to this chunk, hex
	Size    int64  // bytes
}

// Chunks returns the chunks of a session that are known, in order.
func (q *Query) Chunks(id brevet.SessionID) ([]Chunk, error) {
	return list(q, scanChunk, "select session_id, number, sha256, size from chunks where session_id = $1 order by number", id)
}

func scanChunk(row scanner) (Chunk, error) {
	var c Chunk
	err := row.Scan(&c.Session, &c.Number, &c.SHA256, &c.Size)
	return c, err
}

// AddChunk makes a chunk known whose bytes are durable, and reports whether it is news. The
// same chunk may come again; another one with its number is a Conflict, and nothing is
// overwritten. It belongs to Work: chunks come every second, and the log holds the
// recording's root when it is sealed.
func (w *Work) AddChunk(c Chunk) (bool, error) {
	n, err := w.q.exec("insert into chunks (session_id, number, sha256, size) values ($1, $2, $3, $4) on conflict (session_id, number) do nothing",
		c.Session, c.Number, c.SHA256, c.Size)
	if err != nil || n == 1 {
		return n == 1, err
	}
	there, err := one(&w.q, scanChunk, "select session_id, number, sha256, size from chunks where session_id = $1 and number = $2", c.Session, c.Number)
	if err != nil {
		return false, err
	}
	if there != c {
		return false, brevet.Errorf(brevet.Conflict, "session %s has another chunk %d already", c.Session, c.Number).
			WithHint("somebody sends chunks of a session that is not theirs, or a gateway restarted its count")
	}
	return false, nil
}
