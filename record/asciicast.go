package record

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/brevet-pim/brevet"
)

// asciicast v2, https://docs.asciinema.org/manual/asciicast/v2/: a header in JSON, then a
// line in JSON for each event. It holds text, so bytes that are not UTF-8 become U+FFFD,
// and times have microseconds: the recording itself stays the truth.

// castHeader is the first line.
type castHeader struct {
	Version   int               `json:"version"`
	Width     int               `json:"width"`
	Height    int               `json:"height"`
	Timestamp int64             `json:"timestamp,omitempty"` // seconds since 1970
	Title     string            `json:"title,omitempty"`
	Env       map[string]string `json:"env,omitempty"`
}

// What a terminal is taken to be where there was none.
const (
	defaultColumns = 80
	defaultRows    = 24
)

// Asciicast writes the recording as asciicast v2. Output passes through a SafeTerminal
// first, since other players hand it to a terminal as it is; raw leaves that out. Standard
// error is output as well; marks become markers ("m").
func Asciicast(w io.Writer, events iter.Seq2[Event, error], raw bool) error {
	out := bufio.NewWriterSize(w, 64<<10)
	c := cast{out: out}
	c.filter = writerFunc(c.keep)
	safe := NewSafeTerminal(c.filter)
	if !raw {
		c.filter = safe
	}
	for e, err := range events {
		if err != nil {
			out.Flush() // what came before it stands
			return err
		}
		if err := c.event(e); err != nil {
			return err
		}
	}
	if !c.begun {
		return brevet.Errorf(brevet.Invalid, "the recording has no start")
	}
	c.text = append(c.text[:0], c.partial...)
	c.partial = nil
	safe.Close() // into memory: what the player's terminal needs to be as it was
	if err := c.output(c.last); err != nil {
		return err
	}
	return out.Flush()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// cast writes one asciicast.
type cast struct {
	out     *bufio.Writer
	filter  io.Writer // ends in keep
	begun   bool
	last    time.Duration
	text    []byte // what passed the filter
	partial []byte // the beginning of a character, whose rest comes with the next output
}

func (c *cast) keep(p []byte) (int, error) {
	c.text = append(c.text, p...)
	return len(p), nil
}

func (c *cast) event(e Event) error {
	if !c.begun && e.Kind != KindStart {
		return brevet.Errorf(brevet.Invalid, "the recording has no start")
	}
	c.last = e.At
	switch e.Kind {
	case KindStart:
		c.begun = true
		return c.header(e)
	case KindStdout, KindStderr:
		c.text = append(c.text[:0], c.partial...)
		c.partial = nil
		c.filter.Write(e.Data) // into memory
		whole := wholeRunes(c.text)
		c.partial = bytes.Clone(c.text[whole:])
		c.text = c.text[:whole]
		return c.output(e.At)
	case KindResize:
		columns, rows, err := e.Size()
		if err != nil || columns == 0 || rows == 0 {
			return err
		}
		return c.line(e.At, "r", fmt.Sprintf("%dx%d", columns, rows))
	case KindMark:
		return c.line(e.At, "m", string(e.Data))
	}
	return nil
}

func (c *cast) header(e Event) error {
	start, err := e.Start()
	if err != nil {
		return err
	}
	h := castHeader{
		Version: 2, Width: start.Columns, Height: start.Rows, Timestamp: start.Time().Unix(),
		Title: fmt.Sprintf("%s: %s on %s as %s", start.Session, start.Person, start.Target, start.Login),
	}
	if h.Width == 0 || h.Height == 0 {
		h.Width, h.Height = defaultColumns, defaultRows
	}
	if start.Term != "" {
		h.Env = map[string]string{"TERM": start.Term}
	}
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	_, err = c.out.Write(append(b, '\n'))
	return err
}

func (c *cast) output(at time.Duration) error {
	if len(c.text) == 0 {
		return nil
	}
	return c.line(at, "o", string(c.text))
}

func (c *cast) line(at time.Duration, code, data string) error {
	quoted, err := json.Marshal(data) // makes U+FFFD of what is not UTF-8
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "[%d.%06d, %q, %s]\n", at/time.Second, at%time.Second/time.Microsecond, code, quoted)
	return err
}

// wholeRunes returns how many bytes of b are whole characters, or can never become one.
func wholeRunes(b []byte) int {
	for back := 1; back < utf8.UTFMax && back <= len(b); back++ {
		i := len(b) - back
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}

// The bounds of what ReadAsciicast takes.
const (
	maxCastLine = 2 << 20 // a whole chunk of control characters takes 1.5 MiB
	maxCastTime = 100 * 365 * 24 * time.Hour
)

// ReadAsciicast yields the events of an asciicast v2, to be played. It is bounded in
// memory by one line of 2 MiB, whatever the file claims; an event's data is valid until the next one.
func ReadAsciicast(r io.Reader) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 0, 64<<10), maxCastLine)
		number, begun := 0, false
		var prev time.Duration
		for lines.Scan() {
			number++
			if len(bytes.TrimSpace(lines.Bytes())) == 0 {
				continue
			}
			e, err := castLine(lines.Bytes(), !begun)
			begun = true
			if err == nil && e.At < prev {
				err = errors.New("its time lies before the line before")
			}
			if err != nil {
				yield(Event{}, malformed("line %d is not asciicast v2", number).Because(err))
				return
			}
			prev = e.At
			if e.Kind != 0 && !yield(e, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(Event{}, malformed("line %d cannot be read: it may have %d bytes", number+1, maxCastLine).Because(err))
		} else if !begun {
			yield(Event{}, malformed("the file is empty"))
		}
	}
}

// castLine returns the event of a line, or one without a kind for what is not played.
func castLine(line []byte, first bool) (Event, error) {
	if first {
		return castStart(line)
	}
	var parts [4]json.RawMessage // an array, so that a long list takes no memory
	if err := json.Unmarshal(line, &parts); err != nil {
		return Event{}, err
	}
	if parts[2] == nil || parts[3] != nil {
		return Event{}, errors.New("not three values")
	}
	var code, data string
	if err := errors.Join(json.Unmarshal(parts[1], &code), json.Unmarshal(parts[2], &data)); err != nil {
		return Event{}, err
	}
	at, err := castTime(parts[0])
	if err != nil {
		return Event{}, err
	}
	switch code {
	case "o":
		return Event{Kind: KindStdout, At: at, Data: []byte(data)}, nil
	case "r":
		return castResize(at, data)
	case "m":
		return Event{Kind: KindMark, At: at, Data: []byte(data)}, nil
	}
	return Event{At: at}, nil
}

func castStart(line []byte) (Event, error) {
	var h castHeader
	if err := json.Unmarshal(line, &h); err != nil {
		return Event{}, err
	}
	if h.Version != 2 {
		return Event{}, fmt.Errorf("version %d", h.Version)
	}
	if h.Width < 1 || h.Height < 1 || h.Width > MaxSide || h.Height > MaxSide {
		return Event{}, fmt.Errorf("a terminal of %d by %d characters", h.Width, h.Height)
	}
	if h.Timestamp < 0 || h.Timestamp > math.MaxInt64/int64(time.Second/time.Microsecond) {
		return Event{}, fmt.Errorf("began at %d", h.Timestamp)
	}
	b, err := json.Marshal(Start{Term: h.Env["TERM"], Columns: h.Width, Rows: h.Height, At: time.Unix(h.Timestamp, 0).UnixMicro()})
	return Event{Kind: KindStart, Data: b}, err
}

func castTime(b []byte) (time.Duration, error) {
	seconds, err := strconv.ParseFloat(string(b), 64)
	if err != nil || !(seconds >= 0 && seconds <= maxCastTime.Seconds()) { // NaN is not in there
		return 0, fmt.Errorf("time %.40q", b)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

func castResize(at time.Duration, data string) (Event, error) {
	columns, rows, ok := strings.Cut(data, "x")
	c, err1 := strconv.ParseUint(columns, 10, 32)
	r, err2 := strconv.ParseUint(rows, 10, 32)
	if !ok || err1 != nil || err2 != nil || c > MaxSide || r > MaxSide {
		return Event{}, fmt.Errorf("size %.40q", data)
	}
	return Event{Kind: KindResize, At: at, Data: binary.AppendUvarint(binary.AppendUvarint(nil, c), r)}, nil
}
