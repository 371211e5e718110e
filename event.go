package brevet

import "time"

// Event is something that happened. The store writes it with the change that it tells of,
// both or neither; package audit gives its form in the log.
type Event struct {
	ID      EventID
	Kind    string // as docs/reference/events.md lists them: "request", "session.started" …
	Subject string // a statement's id, or the id of what it happened to
	At      time.Time
	Actor   Caller
	About   PersonID // whom it concerns, if that is not the actor
	Outcome string   // "success" or "failure"
	Message string   // one sentence, for a person

	Request       RequestID
	Grant         GrantID
	Session       SessionID
	CorrelationID string // the call or chain of work that it belongs to

	Statement []byte // the signed envelope, for events that are statements
	Detail    any    // what else there is to say: before, after, policies …; marshalled as JSON
}
