package record

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"iter"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/brevet-pim/brevet"
)

func events(list ...Event) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func startEvent(t testing.TB, s Start) Event {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return Event{Kind: KindStart, Data: b}
}

func sizeEvent(at time.Duration, columns, rows uint64) Event {
	return Event{Kind: KindResize, At: at, Data: binary.AppendUvarint(binary.AppendUvarint(nil, columns), rows)}
}

func output(at time.Duration, text string) Event {
	return Event{Kind: KindStdout, At: at, Data: []byte(text)}
}

// timed notes when what was written.
type timed struct {
	began time.Time
	lines []string
}

func (w *timed) Write(p []byte) (int, error) {
	w.lines = append(w.lines, time.Since(w.began).String()+" "+string(p))
	return len(p), nil
}

func TestPlayKeepsTime(t *testing.T) {
	session := []Event{output(0, "a"), output(2*time.Second, "b"), {Kind: KindStdin, At: 3 * time.Second, Data: []byte("secret")},
		{Kind: KindStderr, At: time.Hour, Data: []byte("c")}, {Kind: KindMark, At: time.Hour, Data: []byte("mark")}, output(time.Hour+time.Second, "d")}
	tests := []struct {
		name    string
		options PlayOptions
		want    []string
	}{
		{"as it was", PlayOptions{}, []string{"0s a", "2s b", "1h0m0s c", "1h0m1s d"}},
		{"twice as fast", PlayOptions{Speed: 2}, []string{"0s a", "1s b", "30m0s c", "30m0.5s d"}},
		{"slowly", PlayOptions{Speed: 0.5}, []string{"0s a", "4s b", "2h0m0s c", "2h0m2s d"}},
		{"short pauses", PlayOptions{MaxIdle: time.Second}, []string{"0s a", "1s b", "3s c", "4s d"}}, // what was typed ends a pause too
		{"short pauses, fast", PlayOptions{MaxIdle: time.Second, Speed: 10}, []string{"0s a", "100ms b", "300ms c", "400ms d"}},
		{"at once", PlayOptions{NoWait: true}, []string{"0s a", "0s b", "0s c", "0s d"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &timed{began: time.Now()}
				if err := Play(t.Context(), w, events(session...), tt.options); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, w.lines); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
			})
		})
	}
}

func TestPlayBadOptions(t *testing.T) {
	for _, o := range []PlayOptions{{Speed: -1}, {Speed: math.NaN()}, {Speed: math.Inf(1)}, {Speed: 0.001}, {Speed: 1e9}, {MaxIdle: -1}} {
		if err := Play(t.Context(), new(bytes.Buffer), events(), o); brevet.KindOf(err) != brevet.Invalid {
			t.Errorf("%+v: got %v, want Invalid", o, err)
		}
	}
}

func TestPlayOfCenturiesEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		far := events(output(0, "a"), output(math.MaxInt64, "b"), output(math.MaxInt64, "c"))
		if err := Play(ctx, new(bytes.Buffer), far, PlayOptions{Speed: 0.01}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestPlayIsSafeUnlessRaw(t *testing.T) {
	hostile := output(0, "a\x1b]52;c;eA==\x07\x1b[31mb")
	tests := []struct {
		raw  bool
		want string
	}{{false, "a\x1b[31mb\x1b[0m"}, {true, "a\x1b]52;c;eA==\x07\x1b[31mb"}}
	for _, tt := range tests {
		var out bytes.Buffer
		if err := Play(t.Context(), &out, events(hostile), PlayOptions{Raw: tt.raw}); err != nil {
			t.Fatal(err)
		}
		if out.String() != tt.want {
			t.Errorf("raw %t: got %q, want %q", tt.raw, out.String(), tt.want)
		}
	}
}

func TestPlayTellsSizes(t *testing.T) {
	var sizes [][2]int
	o := PlayOptions{NoWait: true, Resized: func(c, r int) { sizes = append(sizes, [2]int{c, r}) }}
	if err := Play(t.Context(), new(bytes.Buffer), events(startEvent(t, Start{Columns: 80, Rows: 24}), sizeEvent(1, 132, 50)), o); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][2]int{{80, 24}, {132, 50}}, sizes); diff != "" {
		t.Error(diff)
	}
	sizes = nil
	if err := Play(t.Context(), new(bytes.Buffer), events(startEvent(t, Start{}), Event{Kind: KindStart, Data: []byte("{")}), o); err == nil || len(sizes) > 0 {
		t.Errorf("got %v, sizes %v", err, sizes)
	}
}

// TestPlayShowsWhatIsSound: of a cut recording all that there is, then the problem; and the
// terminal is put back.
func TestPlayShowsWhatIsSound(t *testing.T) {
	problem := &Problem{Session: testSession, Fault: Cut, Chunk: 3}
	cut := func(yield func(Event, error) bool) {
		if yield(output(0, "\x1b[31mlast words"), nil) {
			yield(Event{}, problem)
		}
	}
	var out bytes.Buffer
	err := Play(t.Context(), &out, cut, PlayOptions{})
	if !errors.Is(err, problem) || out.String() != "\x1b[31mlast words\x1b[0m" {
		t.Errorf("got %v, %q", err, out.String())
	}
	if !strings.Contains(err.Error(), "cut after chunk 2: its end is missing") {
		t.Errorf("message %q", err)
	}
	if err := Play(t.Context(), broken{}, events(output(0, "x")), PlayOptions{}); err == nil {
		t.Error("a terminal that hung up is no error")
	}
}

// TestWhoSendsNothingSaysWhy: a refusal in the place of a stream is not taken for a stream that is damaged.
func TestWhoSendsNothingSaysWhy(t *testing.T) {
	why := errors.New("you may not")
	for _, err := range ReadEvents(iotest.ErrReader(why)) {
		if err != why { // and not a cause of something else
			t.Errorf("%v", err)
		}
	}
}
