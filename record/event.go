// Package record owns recordings: what happened in a session, byte for byte, sealed so
// that only the recorder's key opens it, and chained so that nothing can be changed,
// taken out or cut off unnoticed.
//
//   - A Writer, in the gateway, turns what it is given into sealed chunks (writer.go,
//     chunk.go) and hands them to a Sink.
//   - A Spool is that sink on the gateway's disk, and delivers to the control plane
//     later, also after a crash (spool.go).
//   - A Store keeps chunks in the control plane, which checks the chain without any key
//     (store.go).
//   - Events opens a recording again and Verify says what is wrong with it (reader.go);
//     Play shows it, Asciicast exports it (play.go, asciicast.go), through a
//     SafeTerminal, since recorded output is hostile.
//   - A Hub shows a session to watchers while it lives (hub.go).
//
// What is typed at a terminal is not recorded, since it holds passwords.
package record

import (
	"encoding/json"
	"time"

	"github.com/brevet-pim/brevet"
)

// Kind is the kind of an event: one byte in front of its frame.
type Kind byte

// The kinds of event. A recording begins with KindStart and ends with KindEnd; without
// that it is cut.
const (
	KindStart   Kind = 'S' // a Start in JSON
	KindCommand Kind = 'c' // the command of an exec, or a part of it where the one before was full
	KindEnv     Kind = 'v' // NAME=value that the client set
	KindResize  Kind = 'r' // columns and rows, two uvarints: see Event.Size
	KindStdout  Kind = 'o'
	KindStderr  Kind = 'e'
	KindStdin   Kind = 'i' // of an exec only
	KindMark    Kind = 'm' // a sentence of the recorder, as when a stream passed its limit
	KindExit    Kind = 'x' // exit status, one uvarint: see Event.Status
	KindSignal  Kind = 'k' // name of the signal that ended the command, without SIG
	KindEnd     Kind = 'E' // an End in JSON
)

func (k Kind) String() string {
	switch k {
	case KindStart:
		return "start"
	case KindCommand:
		return "command"
	case KindEnv:
		return "env"
	case KindResize:
		return "resize"
	case KindStdout:
		return "stdout"
	case KindStderr:
		return "stderr"
	case KindStdin:
		return "stdin"
	case KindMark:
		return "mark"
	case KindExit:
		return "exit"
	case KindSignal:
		return "signal"
	case KindEnd:
		return "end"
	}
	return "unknown"
}

// Stream is one of the three streams of a session.
type Stream int

// The streams.
const (
	Stdin Stream = iota
	Stdout
	Stderr
	streams
)

// Kind returns the kind of event that carries bytes of the stream.
func (s Stream) Kind() Kind { return [streams]Kind{KindStdin, KindStdout, KindStderr}[s] }

func (s Stream) String() string { return s.Kind().String() }

// MaxSide is the largest width and height of a terminal, in characters. A Writer and a Hub
// clamp to it; a recording that claims more is refused.
const MaxSide = 4096

// Event is something that happened in a session.
type Event struct {
	Kind Kind
	At   time.Duration // since the session's start, by the monotonic clock
	Data []byte
}

// Start is what a recording says of its session.
type Start struct {
	Session brevet.SessionID `json:"session"`
	Grant   brevet.GrantID   `json:"grant"`
	Person  brevet.PersonID  `json:"person"`
	Target  brevet.TargetID  `json:"target"`
	Login   string           `json:"login"`
	Machine brevet.MachineID `json:"machine"` // the gateway that records
	Source  string           `json:"source"`
	Kind    string           `json:"kind"`    // shell or exec
	Term    string           `json:"term"`    // TERM of the terminal, or "" without one
	Columns int              `json:"columns"` // 0 without a terminal
	Rows    int              `json:"rows"`
	At      int64            `json:"at"` // wall clock, microseconds since 1970 UTC
}

// Time returns the wall clock at the session's start.
func (s Start) Time() time.Time { return time.UnixMicro(s.At) }

// Count is what passed on a stream, and what of it is recorded, in bytes. They differ
// where a stream passed its limit.
type Count struct {
	Seen     int64 `json:"seen"`
	Recorded int64 `json:"recorded"`
}

// End closes a recording. Root is of the chain of seals, which binds every chunk before the one
// that the End stands in, and that one is known by its own seal, so a recording with its End is whole.
type End struct {
	Reason string `json:"reason"`
	Chunks int    `json:"chunks"` // with the one that it stands in
	Root   string `json:"root"`   // tag of the chunk before that one, hex
	Stdin  Count  `json:"stdin"`
	Stdout Count  `json:"stdout"`
	Stderr Count  `json:"stderr"`
}

// Start returns the session's data of a KindStart event.
func (e Event) Start() (Start, error) { return decodeJSON[Start](e, KindStart) }

// End returns the closing data of a KindEnd event.
func (e Event) End() (End, error) { return decodeJSON[End](e, KindEnd) }

// Size returns the terminal's size of a KindResize event.
func (e Event) Size() (columns, rows int, err error) {
	c, rest, err := uvarint(e.Data)
	if err != nil {
		return 0, 0, err
	}
	r, rest, err := uvarint(rest)
	if err != nil || e.Kind != KindResize || len(rest) != 0 {
		return 0, 0, malformed("a resize event is not two numbers")
	}
	if c > MaxSide || r > MaxSide {
		return 0, 0, malformed("a terminal of %d by %d characters is out of bounds", c, r)
	}
	return int(c), int(r), nil
}

// Status returns the exit status of a KindExit event.
func (e Event) Status() (uint32, error) {
	n, rest, err := uvarint(e.Data)
	if err != nil || e.Kind != KindExit || len(rest) != 0 || n > 1<<32-1 {
		return 0, malformed("an exit event is not a status")
	}
	return uint32(n), nil
}

// check returns an error unless the event's data is as its kind demands.
func (e Event) check() error {
	switch e.Kind {
	case KindStart:
		s, err := e.Start()
		if err == nil && (s.Columns < 0 || s.Rows < 0 || s.Columns > MaxSide || s.Rows > MaxSide) {
			err = malformed("a terminal of %d by %d characters is out of bounds", s.Columns, s.Rows)
		}
		return err
	case KindEnd:
		_, err := e.End()
		return err
	case KindResize:
		_, _, err := e.Size()
		return err
	case KindExit:
		_, err := e.Status()
		return err
	case KindCommand, KindEnv, KindStdout, KindStderr, KindStdin, KindMark, KindSignal:
		return nil
	}
	return malformed("there is no kind of event 0x%02x; a newer Brevet may have written it", byte(e.Kind))
}

func decodeJSON[T any](e Event, want Kind) (v T, err error) {
	if e.Kind != want {
		return v, malformed("this is no %v event", want)
	}
	if err := json.Unmarshal(e.Data, &v); err != nil {
		return v, malformed("a %v event does not parse", want).Because(err)
	}
	return v, nil
}

// malformed is an error of a parser: the input is not what Brevet writes.
func malformed(format string, args ...any) *brevet.Error {
	return brevet.Errorf(brevet.Invalid, format, args...)
}
