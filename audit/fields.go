package audit

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/brevet-pim/brevet"
)

// Fields is what a body says that whoever keeps the log keeps beside it as well, to search
// by. The leaf does not cover them, the body does: a row whose fields are not those of its
// body was edited.
type Fields struct {
	ID      brevet.EventID
	At      time.Time       // UTC, whole microseconds
	Actor   string          // person or machine that did it
	About   brevet.PersonID // whom it concerns, "" if that is the actor
	Request brevet.RequestID
	Grant   brevet.GrantID
	Session brevet.SessionID
}

// FieldsOf returns the fields of an event, as its Record has them.
func FieldsOf(e brevet.Event) Fields {
	f := Fields{
		ID:      text[brevet.EventID](e.ID),
		At:      e.At.UTC().Truncate(time.Microsecond),
		Actor:   text[string](e.Actor.String()),
		About:   text[brevet.PersonID](e.About),
		Request: text[brevet.RequestID](e.Request),
		Grant:   text[brevet.GrantID](e.Grant),
		Session: text[brevet.SessionID](e.Session),
	}
	if e.Actor.Machine == "" && string(f.About) == f.Actor {
		f.About = ""
	}
	return f
}

// text returns s as a body has it: valid UTF-8 of a bounded length.
func text[T, S ~string](s S) T { return T(clip(string(s), maxText)) }

// erased reports whether nothing is left of the fields but the event's id and time.
func (f Fields) erased() bool { return f == Fields{ID: f.ID, At: f.At} }

// said is what a body says of its event and a Walk compares.
type said struct {
	Fields
	kind, subject string
	envelope      string // SHA-256 of the statement's bytes, hex; "" if the event is none
}

func readBody(body []byte) (said, error) {
	var r record
	if err := json.Unmarshal(body, &r); err != nil {
		return said{}, fmt.Errorf("read an event's body: %w", err)
	}
	at, err := time.Parse(timeLayout, r.TimeDT)
	if err != nil {
		return said{}, fmt.Errorf("read an event's time: %w", err)
	}
	ours := r.Unmapped.Brevet
	s := said{
		Fields: Fields{ID: brevet.EventID(r.Metadata.UID), At: at, Request: brevet.RequestID(ours.Request),
			Grant: brevet.GrantID(ours.Grant), Session: brevet.SessionID(ours.Session)},
		kind: ours.Kind, subject: ours.Subject, envelope: ours.Envelope,
	}
	var actor user
	if r.Actor.User != nil {
		actor = *r.Actor.User
	}
	s.Actor = actor.Name
	if r.User != nil && (r.User.Name != actor.Name || r.User.TypeID != actor.TypeID) {
		s.About = brevet.PersonID(r.User.Name)
	}
	return s, nil
}

// SearchText returns s as it stands inside a body's JSON strings, for a search by text.
func SearchText(s string) string {
	quoted, err := json.Marshal(s)
	if err != nil {
		return s // a string always marshals
	}
	return strings.TrimSuffix(strings.TrimPrefix(string(inert(quoted)), `"`), `"`)
}
