package record

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"math"
	"time"
)

// A frame is one event in bytes:
//
//	kind (1) | nanoseconds since the event before (uvarint) | length (uvarint) | data
//
// Frames stand one after another: in a chunk behind the time of its first event, and in
// the plain stream of WriteEvents behind a first line.

// maxFrameHeader is the longest that a frame can be without its data.
const maxFrameHeader = 1 + binary.MaxVarintLen64 + binary.MaxVarintLen32

// appendFrame appends the event, which comes at most as early as prev.
func appendFrame(b []byte, e Event, prev time.Duration) []byte {
	b = append(b, byte(e.Kind))
	b = binary.AppendUvarint(b, uint64(max(0, e.At-prev)))
	b = binary.AppendUvarint(b, uint64(len(e.Data)))
	return append(b, e.Data...)
}

// parseFrame reads the event at the head of b, which keeps its data, and returns the rest.
func parseFrame(b []byte, prev time.Duration) (e Event, rest []byte, err error) {
	if len(b) == 0 {
		return Event{}, nil, malformed("an event is cut")
	}
	e.Kind = Kind(b[0])
	delta, rest, err := uvarint(b[1:])
	if err != nil {
		return Event{}, nil, err
	}
	n, rest, err := uvarint(rest)
	if err != nil {
		return Event{}, nil, err
	}
	if n > uint64(len(rest)) {
		return Event{}, nil, malformed("an event claims %d bytes where %d are left", n, len(rest))
	}
	if e.At, err = later(prev, delta); err != nil {
		return Event{}, nil, err
	}
	e.Data = rest[:n:n]
	return e, rest[n:], e.check()
}

// parseFrames yields the events of one chunk's plain bytes, and stops after the first error.
func parseFrames(plain []byte) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		first, rest, err := uvarint(plain)
		if err != nil {
			yield(Event{}, err)
			return
		}
		at, err := later(0, first)
		for err == nil && len(rest) > 0 {
			var e Event
			if e, rest, err = parseFrame(rest, at); err == nil {
				at = e.At
				if !yield(e, nil) {
					return
				}
			}
		}
		if err != nil {
			yield(Event{}, err)
		}
	}
}

// later returns prev and delta nanoseconds, unless no session can last so long.
func later(prev time.Duration, delta uint64) (time.Duration, error) {
	if delta > math.MaxInt64-uint64(prev) {
		return 0, malformed("an event lies centuries after the start")
	}
	return prev + time.Duration(delta), nil
}

// uvarint reads a number in its shortest form, so that every event has one encoding.
func uvarint(b []byte) (n uint64, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || size > 1 && b[size-1] == 0 {
		return 0, nil, malformed("a number is cut, too large or padded")
	}
	return n, b[size:], nil
}

// eventsLine begins the plain stream of events.
const eventsLine = "brevet events 1\n"

// WriteEvents writes events as a plain stream that ReadEvents reads: how a recording that
// was opened travels to the one who may see it.
func WriteEvents(w io.Writer, events iter.Seq2[Event, error]) error {
	out := bufio.NewWriterSize(w, 64<<10)
	out.WriteString(eventsLine) // an error stays and comes again from Flush
	var prev time.Duration
	var frame []byte
	for e, err := range events {
		if err != nil {
			out.Flush() // what came before it stands
			return err
		}
		frame = appendFrame(frame[:0], e, prev)
		prev = e.At
		if _, err := out.Write(frame); err != nil {
			return err
		}
	}
	return out.Flush()
}

// ReadEvents reads what WriteEvents wrote. It uses the memory of one event, at most
// ChunkSize; an event's data is valid until the next one. Whether the stream is whole,
// only its End event says.
func ReadEvents(r io.Reader) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		in := bufio.NewReaderSize(r, 64<<10)
		line := make([]byte, len(eventsLine))
		_, err := io.ReadFull(in, line)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) { // who was to send it says why not
			yield(Event{}, err)
			return
		}
		if err != nil || string(line) != eventsLine {
			yield(Event{}, malformed("this is not a stream of events").Because(err))
			return
		}
		var prev time.Duration
		var data []byte
		for {
			e, err := readFrame(in, prev, &data)
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
			prev = e.At
		}
	}
}

// readFrame reads one event into data, or returns io.EOF where the stream ends between two.
func readFrame(in *bufio.Reader, prev time.Duration, data *[]byte) (Event, error) {
	kind, err := in.ReadByte()
	if err != nil {
		return Event{}, err
	}
	delta, err := binary.ReadUvarint(in)
	if err != nil {
		return Event{}, malformed("an event is cut").Because(notEOF(err))
	}
	n, err := binary.ReadUvarint(in)
	if err != nil {
		return Event{}, malformed("an event is cut").Because(notEOF(err))
	}
	if n > ChunkSize {
		return Event{}, malformed("an event claims %d bytes, more than %d", n, ChunkSize)
	}
	if uint64(cap(*data)) < n {
		*data = make([]byte, n)
	}
	e := Event{Kind: Kind(kind), Data: (*data)[:n]}
	if _, err := io.ReadFull(in, e.Data); err != nil {
		return Event{}, malformed("an event is cut").Because(notEOF(err))
	}
	if e.At, err = later(prev, delta); err != nil {
		return Event{}, err
	}
	return e, e.check()
}

// notEOF keeps the end of the input inside an event from passing for a clean end.
func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
