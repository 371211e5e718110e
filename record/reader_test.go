package record

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/seal"
)

// recorded returns a recording of five chunks, and how it is known to the log.
func recorded(t testing.TB, id *seal.Identity, session brevet.SessionID, text string) (*memory, Known) {
	t.Helper()
	sink := &memory{}
	c := config(id, sink)
	c.session.ID = session
	w := begin(t, c)
	filler := make([]byte, ChunkSize)
	rand.Read(filler)
	for range 3 {
		w.Output(Stdout, []byte(text))
		w.Output(Stdout, filler)
	}
	if err := w.Close("exit"); err != nil {
		t.Fatal(err)
	}
	if len(sink.chunks) != 5 {
		t.Fatalf("%d chunks", len(sink.chunks))
	}
	return sink, Known{w.Commitment().String(), sink.root.String()}
}

func TestVerifyNamesWhatIsWrong(t *testing.T) {
	id := identity(t)
	good, known := recorded(t, id, testSession, "good")
	twin, _ := recorded(t, id, testSession, "twin") // the same session, written by somebody else
	other, _ := recorded(t, id, "ses_01h00000000000000000000009", "other")

	flip := func(m *memory, index, byteAt int) {
		m.chunks[index] = bytes.Clone(m.chunks[index])
		if byteAt < 0 {
			byteAt += len(m.chunks[index])
		}
		m.chunks[index][byteAt] ^= 1
	}
	tests := []struct {
		name    string
		edit    func(*memory)
		known   Known
		fault   Fault
		chunk   int
		keyless Fault // what is seen without a key; "" is nothing
	}{
		{name: "nothing"},
		{name: "nothing, as the log knows it", known: known},
		{name: "last one taken away", edit: func(m *memory) { m.chunks = m.chunks[:4] }, fault: Cut, chunk: 4, keyless: Cut},
		{name: "all taken away", edit: func(m *memory) { m.chunks = nil }, fault: Cut, chunk: 0, keyless: Cut},
		{name: "one taken away", edit: func(m *memory) { m.chunks[2] = nil }, fault: Missing, chunk: 2, keyless: Missing},
		{name: "first taken away", edit: func(m *memory) { m.chunks[0] = nil }, fault: Missing, chunk: 0, keyless: Missing},
		{name: "gap closed up", edit: func(m *memory) { m.chunks = slices.Delete(m.chunks, 2, 3) }, fault: Reordered, chunk: 2, keyless: Reordered},
		{name: "two changed places", edit: func(m *memory) { m.chunks[1], m.chunks[2] = m.chunks[2], m.chunks[1] }, fault: Reordered, chunk: 1, keyless: Reordered},
		{name: "another recording's", edit: func(m *memory) { m.chunks[2] = other.chunks[2] }, fault: Foreign, chunk: 2, keyless: Foreign},
		{name: "all another recording's", edit: func(m *memory) { m.chunks = other.chunks }, fault: Foreign, chunk: 0, keyless: Foreign},
		{name: "a twin's", edit: func(m *memory) { m.chunks[2] = twin.chunks[2] }, fault: Altered, chunk: 2, keyless: Altered},
		{name: "all a twin's", edit: func(m *memory) { m.chunks = twin.chunks }, known: known, fault: Replaced, keyless: Replaced},
		{name: "end of a twin", edit: func(m *memory) { m.chunks[4] = twin.chunks[4] }, fault: Altered, chunk: 4, keyless: Altered},
		{name: "a bit of the sealed bytes", edit: func(m *memory) { flip(m, 2, -100) }, fault: Altered, chunk: 2, keyless: Altered},
		{name: "a bit of the tag", edit: func(m *memory) { flip(m, 2, -1) }, fault: Altered, chunk: 2, keyless: Altered},
		{name: "a bit of the last", edit: func(m *memory) { flip(m, 4, -1) }, fault: Altered, chunk: 4},
		{name: "a bit of the last, as the log knows it", edit: func(m *memory) { flip(m, 4, -1) }, known: known, fault: Altered, chunk: 4, keyless: Replaced},
		{name: "the link", edit: func(m *memory) { flip(m, 3, 5) }, fault: Altered, chunk: 3, keyless: Altered},
		{name: "the first link", edit: func(m *memory) { flip(m, 0, 5) }, fault: Altered, chunk: 0, keyless: Altered},
		{name: "the magic", edit: func(m *memory) { flip(m, 3, hashLen) }, fault: Altered, chunk: 3, keyless: Altered},
		{name: "the last flag set", edit: func(m *memory) { flip(m, 1, hashLen+len(chunkMagic)) }, fault: Altered, chunk: 1, keyless: Foreign},
		{name: "the last flag taken away", edit: func(m *memory) { flip(m, 4, hashLen+len(chunkMagic)) }, fault: Altered, chunk: 4, keyless: Cut},
		{name: "the previous tag", edit: func(m *memory) { flip(m, 3, hashLen+headLen-10) }, fault: Altered, chunk: 3, keyless: Altered},
		{name: "the count of bytes", edit: func(m *memory) { flip(m, 3, hashLen+headLen-2-gcmTag-3) }, fault: Altered, chunk: 3, keyless: Altered},
		{name: "the wrapped key", edit: func(m *memory) { flip(m, 0, hashLen+headLen+hashLen+1+hashLen+2+5) }, fault: Unopened, chunk: 0, keyless: Altered},
		{name: "the commitment", edit: func(m *memory) { flip(m, 0, hashLen+headLen) }, fault: Unopened, chunk: 0, keyless: Altered},
		{name: "cut short", edit: func(m *memory) { m.chunks[2] = m.chunks[2][:hashLen+headLen+3] }, fault: Altered, chunk: 2, keyless: Altered},
		{name: "cut within the link", edit: func(m *memory) { m.chunks[2] = m.chunks[2][:hashLen-1] }, fault: Altered, chunk: 2, keyless: Altered},
		{name: "a bit, and every link after it", edit: func(m *memory) { flip(m, 2, -100); relink(m) }, fault: Altered, chunk: 2},
		{name: "a bit, and every link after it, as the log knows it", edit: func(m *memory) { flip(m, 2, -100); relink(m) }, known: known, fault: Altered, chunk: 2, keyless: Replaced},
		{name: "a bit of the tag, and every link after it", edit: func(m *memory) { flip(m, 2, -1); relink(m) }, fault: Altered, chunk: 2, keyless: Altered},
		{name: "a twin's, and every link after it", edit: func(m *memory) { m.chunks[2] = twin.chunks[2]; relink(m) }, fault: Altered, chunk: 2, keyless: Altered},
		{name: "empty", edit: func(m *memory) { m.chunks[2] = []byte{} }, fault: Altered, chunk: 2, keyless: Altered},
		{name: "one more", edit: func(m *memory) { m.chunks = append(m.chunks, twin.chunks[4]) }, fault: Foreign, chunk: 5, keyless: Foreign},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := &memory{chunks: slices.Clone(good.chunks)}
			if tt.edit != nil {
				tt.edit(m)
			}
			r := Verify(m, testSession, tt.known, id)
			if tt.fault == "" {
				if r.Problem != nil || !r.Complete || r.Chunks != 5 {
					t.Errorf("report %+v", r)
				}
			} else if r.Problem == nil || r.Complete || r.Problem.Fault != tt.fault {
				t.Errorf("got %v, complete %v; want %s", r.Problem, r.Complete, tt.fault)
			} else if tt.fault != Replaced && r.Problem.Chunk != tt.chunk {
				t.Errorf("got %v, want it of chunk %d", r.Problem, tt.chunk)
			} else if tt.fault != Replaced && tt.fault != Foreign && r.Chunks != tt.chunk {
				t.Errorf("%d sound chunks, want %d", r.Chunks, tt.chunk)
			}
			r = Verify(m, testSession, tt.known)
			switch {
			case tt.keyless == "" && (r.Problem != nil || !r.Complete):
				t.Errorf("without a key: %v", r.Problem)
			case tt.keyless != "" && (r.Problem == nil || r.Problem.Fault != tt.keyless || r.Complete):
				t.Errorf("without a key: got %v, want %s", r.Problem, tt.keyless)
			}
			// Whatever is wrong, no event from behind it comes out.
			events, err := collect(t, m, id)
			if (err == nil) != (tt.fault == "" || tt.fault == Replaced) {
				t.Errorf("events end with %v", err)
			}
			if p, ok := errors.AsType[*Problem](err); ok && p.Fault != Foreign && p.Chunk < 4 && strings.Contains(joined(events, KindEnd), "root") {
				t.Error("the End came out behind a fault")
			}
		})
	}
}

// relink makes the links anew, as one would who alters a recording where it is kept.
func relink(m *memory) {
	chain := seed(testSession)
	for i, c := range unlinked(m.chunks) {
		m.chunks[i], chain = link(chain, c)
	}
}

func TestWhoCanOpen(t *testing.T) {
	ana, bo, cy := identity(t), identity(t), identity(t)
	sink := &memory{}
	c := config(ana, sink)
	c.Recipients = append(c.Recipients, bo.Recipient())
	w := begin(t, c)
	w.Output(Stdout, []byte("hello"))
	w.Close("exit")
	for _, id := range []*seal.Identity{ana, bo} {
		if r := Verify(sink, testSession, Known{}, cy, id); !r.Complete {
			t.Errorf("a recipient cannot open: %v", r.Problem)
		}
	}
	r := Verify(sink, testSession, Known{}, cy)
	if r.Problem == nil || r.Problem.Fault != Unopened || r.Frames != 0 {
		t.Errorf("another one opens it: %+v", r)
	}
	for _, err := range Open(sink, testSession, Known{}).Events() {
		if err == nil {
			t.Fatal("an event without a key")
		}
	}
}

// growing is a recording of which a chunk comes after somebody saw that it was not there.
type growing struct {
	*memory
	after int // so many tries
}

func (g *growing) Chunk(index int) ([]byte, error) {
	if index == 1 && g.after > 0 {
		g.after--
		return nil, fs.ErrNotExist
	}
	return g.memory.Chunk(index)
}

// TestReadWhileItGrows: a chunk that comes just then is not missing, and what is said of a recording is
// said of what was read of it.
func TestReadWhileItGrows(t *testing.T) {
	id := identity(t)
	sink := &memory{}
	w := begin(t, config(id, sink))
	w.Output(Stdout, []byte("hello"))
	if err := w.Close("exit"); err != nil {
		t.Fatal(err)
	}
	whole := len(sink.chunks)
	if r := Verify(&growing{sink, 1}, testSession, Known{}, id); !r.Complete || r.Chunks != whole {
		t.Errorf("a chunk that comes just then: %d of %d chunks, %v", r.Chunks, whole, r.Problem)
	}
	if r := Verify(&growing{sink, 2}, testSession, Known{}, id); r.Problem == nil || r.Problem.Fault != Missing {
		t.Errorf("a chunk that is not there: %+v", r)
	}

	rest := sink.chunks[1:]
	sink.chunks = sink.chunks[:1:1]
	reading := Open(sink, testSession, Known{}, id)
	frames := 0
	for range reading.Events() {
		frames++
	}
	sink.chunks = append(sink.chunks, rest...)
	if r := reading.Report(); r.Complete || r.Chunks != 1 || r.Frames != frames-1 || r.Problem == nil || r.Problem.Fault != Cut { // the last one is the problem
		t.Errorf("of %d events, then more: %+v", frames, r)
	}
}

// hostile makes chunks as a gateway would that has been taken over: well sealed, with
// whatever inside.
func hostile(t testing.TB, id *seal.Identity, last bool, plains ...[]byte) *memory {
	t.Helper()
	s, err := newSealer(testSession, []seal.Recipient{id.Recipient()}, &pools{})
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{}
	for i, plain := range plains {
		if err := m.Put(t.Context(), uint32(i), s.seal(nil, plain, last && i == len(plains)-1)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func frames(events ...Event) []byte {
	b := binary.AppendUvarint(nil, uint64(events[0].At))
	prev := events[0].At
	for _, e := range events {
		b = appendFrame(b, e, prev)
		prev = e.At
	}
	return b
}

func TestHostileRecordings(t *testing.T) {
	id := identity(t)
	start := Event{Kind: KindStart, Data: []byte(`{"session":"` + string(testSession) + `"}`)}
	resize := func(columns, rows uint64) Event {
		return Event{Kind: KindResize, Data: binary.AppendUvarint(binary.AppendUvarint(nil, columns), rows)}
	}
	out := Event{Kind: KindStdout, Data: []byte("x")}
	tests := []struct {
		name   string
		plains [][]byte
		last   bool
	}{
		{"no start", [][]byte{frames(out)}, false},
		{"two starts", [][]byte{frames(start, start)}, false},
		{"start of another session", [][]byte{frames(Event{Kind: KindStart, Data: []byte(`{"session":"ses_01h00000000000000000000009"}`)})}, false},
		{"start is not JSON", [][]byte{frames(Event{Kind: KindStart, Data: []byte(`{`)})}, false},
		{"terminal of a billion columns", [][]byte{frames(Event{Kind: KindStart, Data: []byte(`{"session":"` + string(testSession) + `","columns":1000000000,"rows":24}`)})}, false},
		{"resized to a billion columns", [][]byte{frames(start, resize(1e9, 24))}, false},
		{"resized with three numbers", [][]byte{frames(start, Event{Kind: KindResize, Data: []byte{1, 2, 3}})}, false},
		{"an unknown kind", [][]byte{frames(start, Event{Kind: '?'})}, false},
		{"length beyond the chunk", [][]byte{append(frames(start), 'o', 0, 0xff, 0xff, 0xff, 0xff, 0x0f)}, false},
		{"time beyond all", [][]byte{append(frames(start), 'o', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0)}, false},
		{"time goes back", [][]byte{frames(Event{Kind: KindStart, At: 10, Data: start.Data}), frames(out)}, false},
		{"a padded number", [][]byte{append(frames(start), 'o', 0x80, 0x00, 0)}, false},
		{"an empty chunk", [][]byte{frames(start), {}}, false},
		{"last without an End", [][]byte{frames(start), frames(out)}, true},
		{"an End that counts wrong", [][]byte{frames(start, Event{Kind: KindEnd, Data: []byte(`{"chunks":7}`)})}, true},
		{"an exit of 2^40", [][]byte{frames(start, Event{Kind: KindExit, Data: binary.AppendUvarint(nil, 1<<40)})}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := hostile(t, id, tt.last, tt.plains...)
			r := Verify(m, testSession, Known{}, id)
			if r.Complete || r.Problem == nil || r.Problem.Fault != Garbled {
				t.Errorf("got %v", r.Problem)
			}
		})
	}
}

// A chunk that would become enormous is refused before the memory is taken.
func TestDecompressionBomb(t *testing.T) {
	id := identity(t)
	e, _ := zstd.NewWriter(nil)
	bomb := e.EncodeAll(make([]byte, 64<<20), nil)
	m := hostile(t, id, false, []byte("placeholder that is long enough to be compressed: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"))
	s, _ := newSealer(testSession, []seal.Recipient{id.Recipient()}, &pools{})
	h := head{zstd: true, place: s.place, preamble: s.preamble}
	ad := h.append(nil)
	nonce := nonceOf(0)
	chunk := s.aead.Seal(bytes.Clone(ad), nonce[:], bomb, ad)
	m.chunks[0], _ = link(seed(testSession), chunk)

	if r := Verify(m, testSession, Known{}, id); r.Problem == nil || r.Problem.Fault != Altered {
		t.Errorf("got %v", r.Problem)
	}
	if len(bomb) > MaxChunk {
		t.Fatalf("the bomb has %d bytes and would be refused for that", len(bomb))
	}
	var o opener
	o.aead = s.aead
	parsed, sealed, err := parseHead(chunk)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := o.open(chunk, parsed, sealed); err == nil || len(plain) > ChunkSize {
		t.Errorf("%d bytes, %v", len(plain), err)
	}
}

// The data key is committed to: two recipients cannot be shown two recordings.
func TestTwoKeysInOneRecording(t *testing.T) {
	ana, bo := identity(t), identity(t)
	s, _ := newSealer(testSession, []seal.Recipient{ana.Recipient(), bo.Recipient()}, &pools{})
	forBo, _ := bo.Recipient().Wrap(wrapContext(testSession), bytes.Repeat([]byte{1}, dataKeyLen))
	copy(s.preamble[len(s.preamble)-len(forBo):], forBo)
	m := &memory{}
	m.Put(t.Context(), 0, s.seal(nil, frames(Event{Kind: KindStart, Data: []byte(`{"session":"` + string(testSession) + `"}`)}), false))
	if r := Verify(m, testSession, Known{}, bo); r.Problem == nil || r.Problem.Fault != Unopened || !strings.Contains(r.Problem.Error(), "committed") {
		t.Errorf("got %v", r.Problem)
	}
	if r := Verify(m, testSession, Known{}, ana); r.Problem == nil || r.Problem.Fault != Cut {
		t.Errorf("got %v", r.Problem)
	}
}

func TestEventsTravel(t *testing.T) {
	id := identity(t)
	m, _ := recorded(t, id, testSession, "\xff\x00 text")
	var stream bytes.Buffer
	if err := WriteEvents(&stream, Open(m, testSession, Known{}, id).Events()); err != nil {
		t.Fatal(err)
	}
	want, _ := collect(t, m, id)
	i := 0
	for e, err := range ReadEvents(bytes.NewReader(stream.Bytes())) {
		if err != nil || e.Kind != want[i].Kind || e.At != want[i].At || !bytes.Equal(e.Data, want[i].Data) {
			t.Fatalf("event %d: %v, %v", i, e.Kind, err)
		}
		i++
	}
	if i != len(want) {
		t.Errorf("%d events of %d", i, len(want))
	}
	last := error(nil)
	for _, err := range ReadEvents(bytes.NewReader(stream.Bytes()[:stream.Len()-1])) {
		last = err
	}
	if last == nil {
		t.Error("a cut stream ends without an error")
	}
	m.chunks = m.chunks[:2]
	stream.Reset()
	if err := WriteEvents(&stream, Open(m, testSession, Known{}, id).Events()); err == nil {
		t.Error("a cut recording travels without an error")
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(frames(Event{Kind: KindStart, Data: []byte(`{"session":"x"}`)}, Event{Kind: KindStdout, At: 5, Data: []byte("hello")}))
	f.Add(frames(Event{Kind: KindResize, Data: []byte{80, 24}}, Event{Kind: KindExit, Data: []byte{0}}))
	f.Add([]byte{0x80, 0x80, 'o', 0xff})
	f.Fuzz(func(t *testing.T, plain []byte) {
		var events []Event
		for e, err := range parseFrames(plain) {
			if err != nil {
				return
			}
			events = append(events, e)
		}
		if len(events) == 0 {
			return
		}
		// What parses has one encoding.
		prev, rest, _ := uvarint(plain)
		var again []byte
		last := int64(prev)
		for _, e := range events {
			again = append(again, byte(e.Kind))
			again = binary.AppendUvarint(again, uint64(int64(e.At)-last))
			again = binary.AppendUvarint(again, uint64(len(e.Data)))
			again = append(again, e.Data...)
			last = int64(e.At)
		}
		if !bytes.Equal(again, rest) {
			t.Fatalf("%x became %x", rest, again)
		}
	})
}

func FuzzReadEvents(f *testing.F) {
	var b bytes.Buffer
	WriteEvents(&b, func(yield func(Event, error) bool) {
		yield(Event{Kind: KindStdout, At: 7, Data: []byte("x")}, nil)
	})
	f.Add(b.Bytes())
	f.Add([]byte(eventsLine + "o\x00\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for e := range ReadEvents(bytes.NewReader(b)) {
			if len(e.Data) > ChunkSize {
				t.Fatal("an event beyond its bound")
			}
		}
	})
}

func FuzzChunk(f *testing.F) {
	h := head{place: place{session: testSession}, preamble: []byte("p")}
	f.Add(append(h.append(nil), make([]byte, 40)...))
	h = head{place: place{testSession, 3, 1 << 40, tag{1, 2}}, last: true, zstd: true}
	f.Add(append(h.append(nil), make([]byte, 16)...))
	f.Fuzz(func(t *testing.T, chunk []byte) {
		h, sealed, err := parseHead(chunk)
		if err != nil {
			return
		}
		if again := append(h.append(nil), sealed...); !bytes.Equal(again, chunk) {
			t.Fatal("a chunk has two encodings")
		}
		parsePreamble(h.preamble)
		linked, _ := link(seed(h.session), chunk)
		Verify(&memory{chunks: [][]byte{linked}}, h.session, Known{})
		Verify(&memory{chunks: [][]byte{chunk}}, h.session, Known{})
	})
}
