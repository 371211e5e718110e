package record

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/seal"
)

// Source gives the chunks of a recording, each behind its link, by position. A Store's recording is one.
type Source interface {
	// Chunk returns a chunk, valid until the next call, or an error that matches fs.ErrNotExist.
	Chunk(index int) ([]byte, error)
	// Count returns how many positions there are: one more than the last that is taken.
	Count() (int, error)
}

// Fault is what is wrong with a recording.
type Fault string

// The faults.
const (
	Cut       Fault = "cut"        // it stops before its end: the gateway died, or the last chunks were taken away
	Missing   Fault = "missing"    // a chunk is not there, later ones are
	Altered   Fault = "altered"    // a chunk is not as it was sealed
	Reordered Fault = "reordered"  // a chunk stands where another belongs
	Foreign   Fault = "foreign"    // a chunk belongs to another recording
	Replaced  Fault = "replaced"   // this is not the recording that was begun, or closed, by what the log says
	Unopened  Fault = "unopened"   // none of the given keys opens it
	Garbled   Fault = "garbled"    // it opens, and what is inside breaks the rules
	Unread    Fault = "unreadable" // the storage fails
)

// Problem is the error of a recording that is not whole and sound. Everything before the
// chunk is.
type Problem struct {
	Session brevet.SessionID
	Fault   Fault
	Chunk   int // where it shows; with Cut, how many chunks there are
	Cause   error
}

func (p *Problem) Error() string {
	s := fmt.Sprintf("recording %s: ", p.Session)
	switch p.Fault {
	case Cut:
		s += fmt.Sprintf("cut after chunk %d: its end is missing", p.Chunk-1)
		if p.Chunk == 0 {
			s = fmt.Sprintf("recording %s: there is nothing", p.Session)
		}
	case Missing:
		s += fmt.Sprintf("chunk %d is missing", p.Chunk)
	case Altered:
		s += fmt.Sprintf("chunk %d was altered", p.Chunk)
	case Reordered:
		s += fmt.Sprintf("chunk %d stands out of its order", p.Chunk)
	case Foreign:
		s += fmt.Sprintf("chunk %d belongs to another recording", p.Chunk)
	case Replaced:
		s += "it is not the one that the log names"
	case Unopened:
		s += "it does not open"
	case Garbled:
		s += fmt.Sprintf("chunk %d breaks the rules", p.Chunk)
	case Unread:
		s += fmt.Sprintf("chunk %d cannot be read", p.Chunk)
	}
	if p.Cause != nil {
		s += ": " + p.Cause.Error()
	}
	return s
}

func (p *Problem) Unwrap() error { return p.Cause }

// Known is what is known of a recording from elsewhere: the log. Empty fields are not compared.
type Known struct {
	Commitment string // hash of the first chunk, hex, from the session's beginning
	Root       string // hash of the last chunk, hex, from the recording's closing
}

// Report says how a recording stands.
type Report struct {
	Session    brevet.SessionID
	Start      Start         // zero without a key
	End        End           // zero without a key, or if cut
	Chunks     int           // sound ones, from the first on
	Frames     int           // events in them; 0 without a key
	Last       time.Duration // when the last of them was, since the start: where a cut recording ends
	Bytes      int64         // of the sound chunks, without their links
	Commitment string
	Root       string // hash of the last sound chunk
	Complete   bool   // the last chunk is there, and nothing is wrong
	Problem    *Problem
}

// Verify reads the whole recording and reports how it stands. With identities it opens
// every chunk. Without any it follows the chain only, which shows everything but what
// one did who could make the links that follow anew: against that, give Known.
func Verify(src Source, session brevet.SessionID, known Known, identities ...*seal.Identity) Report {
	r := Open(src, session, known, identities...)
	r.keyless = len(identities) == 0
	for range r.Events() { // the report has it all
	}
	return r.Report()
}

// Open begins to read a recording, to see its events.
func Open(src Source, session brevet.SessionID, known Known, identities ...*seal.Identity) *Reading {
	return &Reading{src: src, session: session, known: known, identities: identities, chain: seed(session), next: place{session: session}, report: Report{Session: session}}
}

// Reading goes through one recording once. It may be one that still grows: then it ends where the
// recording did when the reading came there.
type Reading struct {
	src        Source
	session    brevet.SessionID
	known      Known
	identities []*seal.Identity
	keyless    bool

	opener *opener
	chain  Hash  // of the chunk before
	next   place // where the chunk that is looked at belongs
	at     int   // its position
	last   Event
	ended  bool // the End was read
	report Report
}

// Report says how what was read stands. It is whole once Events has come to its end.
func (r *Reading) Report() Report { return r.report }

// Events yields the events, up to the first *Problem: what comes before it is sound. An
// event's data is valid until the next one.
func (r *Reading) Events() iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			more, err := r.chunk(func(e Event) bool {
				r.count(e)
				return yield(e, nil)
			})
			if err != nil {
				r.report.Problem = r.problem(err)
				yield(Event{}, r.report.Problem)
				return
			}
			if !more {
				return
			}
		}
	}
}

// count notes an event that was read.
func (r *Reading) count(e Event) {
	r.report.Frames++
	r.report.Last = e.At
	switch e.Kind {
	case KindStart:
		r.report.Start, _ = e.Start() // parsed before
	case KindEnd:
		r.report.End, _ = e.End()
	}
}

// errFault carries a fault to where the position is known.
type errFault struct {
	fault Fault
	cause error
}

func (e errFault) Error() string {
	if e.cause == nil {
		return string(e.fault)
	}
	return string(e.fault) + ": " + e.cause.Error()
}

func (e errFault) Unwrap() error { return e.cause }

func (r *Reading) problem(err error) *Problem {
	p := &Problem{Session: r.session, Chunk: r.at, Fault: Unread, Cause: err}
	if f, ok := errors.AsType[errFault](err); ok {
		p.Fault, p.Cause = f.fault, f.cause
	}
	return p
}

// chunk reads the next chunk and yields its events. It reports whether there may be more.
func (r *Reading) chunk(yield func(Event) bool) (more bool, err error) {
	raw, err := r.take()
	if err != nil {
		return false, err
	}
	chunk, h, sealed, err := r.place(raw)
	if err != nil {
		return false, err
	}
	if !r.keyless {
		plain, err := r.unseal(chunk, h, sealed)
		if err != nil {
			return false, err
		}
		for e, err := range parseFrames(plain) {
			if err == nil {
				err = r.rule(e, h)
			}
			if err != nil {
				return false, errFault{Garbled, err}
			}
			if !yield(e) {
				return false, nil
			}
		}
		if h.last != r.ended {
			return false, errFault{Garbled, errors.New("the last chunk and the End event do not agree")}
		}
	}
	return !h.last, r.accept(raw, chunk, h)
}

// take returns the chunk that is looked at, or says what it means that it is not there.
func (r *Reading) take() ([]byte, error) {
	raw, err := r.src.Chunk(r.at)
	if !errors.Is(err, fs.ErrNotExist) {
		return raw, err
	}
	count, err := r.src.Count()
	switch {
	case err != nil:
		return nil, err
	case count <= r.at:
		return nil, errFault{Cut, nil}
	}
	if raw, err = r.src.Chunk(r.at); errors.Is(err, fs.ErrNotExist) { // else it has come just now
		err = errFault{Missing, nil}
	}
	return raw, err
}

// place parses the clear part and finds out whether the chunk stands where it belongs.
func (r *Reading) place(raw []byte) (chunk []byte, h head, sealed []byte, err error) {
	chain, chunk, err := unlink(raw)
	if err == nil {
		h, sealed, err = parseHead(chunk)
	}
	switch {
	case err != nil:
		return nil, h, nil, errFault{Altered, err}
	case h.session != r.session:
		return nil, h, nil, errFault{Foreign, fmt.Errorf("it names %s", h.session)}
	case h.index != r.next.index:
		return nil, h, nil, errFault{Reordered, fmt.Errorf("it is chunk %d", h.index)}
	}
	if chain == r.chain && r.next.takes(h) {
		return chunk, h, sealed, nil
	}
	// Which of the two chunks is wrong, a seal tells; the one before has opened.
	if r.keyless && r.at > 0 {
		r.at--
		r.report.Chunks, r.report.Root = r.at, ""
		return nil, h, nil, errFault{Altered, errors.New("the next chunk does not follow it")}
	}
	return nil, h, nil, errFault{Altered, errors.New("it does not follow the chunk before")}
}

func (r *Reading) unseal(chunk []byte, h head, sealed []byte) ([]byte, error) {
	if r.opener == nil {
		o, err := newOpener(h, r.identities)
		if err != nil {
			return nil, errFault{Unopened, err}
		}
		r.opener = o
	}
	plain, err := r.opener.open(chunk, h, sealed)
	if err != nil {
		return nil, errFault{Altered, err}
	}
	return plain, nil
}

// rule checks what an event may be after the one before.
func (r *Reading) rule(e Event, h head) error {
	switch {
	case r.ended:
		return errors.New("something follows the End")
	case (r.last.Kind == 0) != (e.Kind == KindStart):
		return errors.New("the Start is not the one first event")
	case e.At < r.last.At:
		return errors.New("an event comes before the one before it")
	}
	if e.Kind == KindStart {
		if start, _ := e.Start(); start.Session != r.session {
			return fmt.Errorf("its Start is of %s", brevet.Quote(string(start.Session)))
		}
	}
	if e.Kind == KindEnd {
		r.ended = true
		end, _ := e.End()
		if !h.last || end.Chunks != r.at+1 || end.Root != r.next.tag.String() {
			return errors.New("the End counts other chunks than there are")
		}
	}
	r.last = Event{Kind: e.Kind, At: e.At}
	return nil
}

// accept counts a sound chunk.
func (r *Reading) accept(raw, chunk []byte, h head) error {
	r.chain = sha256.Sum256(raw)
	r.next.after(chunk)
	if r.at == 0 {
		r.report.Commitment = r.chain.String()
		if r.known.Commitment != "" && r.known.Commitment != r.report.Commitment {
			return errFault{Replaced, nil}
		}
	}
	r.at++
	r.report.Chunks = r.at
	r.report.Bytes += int64(len(chunk))
	r.report.Root = r.chain.String()
	if !h.last {
		return nil
	}
	if count, err := r.src.Count(); err != nil || count != r.at {
		return errFault{Foreign, errors.Join(errors.New("it comes after the last one"), err)}
	}
	if r.known.Root != "" && r.known.Root != r.report.Root {
		return errFault{Replaced, nil}
	}
	r.report.Complete = true
	return nil
}
