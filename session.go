package brevet

import "time"

// Session is one use of a grant through a gateway.
type Session struct {
	ID        SessionID
	Grant     GrantID
	Person    PersonID
	Target    TargetID
	Login     string
	Machine   MachineID // the gateway
	Source    string    // the person's address, as the gateway saw it
	Kind      string    // shell or exec
	Command   string    // of an exec
	Recorded  bool
	StartedAt time.Time
	EndedAt   time.Time // zero while live
	EndReason string
	Recording RecordingState
}

// RecordingState tells how a session's recording stands.
type RecordingState struct {
	Chunks   int
	Bytes    int64
	Root     string // hash of the whole, hex, once it is complete where it is kept
	Complete bool   // the end event is there and agrees
}
