package brevet

import "time"

// Approval is one person's yes or no to one exact request.
type Approval struct {
	Statement string // id of the approval or revocation statement, hex
	Request   RequestID
	By        PersonID
	Stage     int // index into the decision's stages; -1 for a no
	Agreed    bool
	Duration  Seconds // agreed to, never longer than asked
	Comment   string
	Presence  Presence
	Key       string
	At        time.Time
}
