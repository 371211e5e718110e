package audit_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet/audit"
)

// rows returns a log of n events as whoever keeps it has them, and its newest checkpoint.
// Every third one is an approval; event 4 was erased, and event 5 says so.
func rows(t testing.TB, n int) ([]audit.Row, audit.Checkpoint) {
	t.Helper()
	var all []audit.Row
	var head audit.Head
	for i := range n {
		name := []string{"approval", "gateway.joined", "gateway.left"}[i%3]
		if i == 5 {
			name = audit.KindErased
		}
		kind, _ := audit.KindOf(name)
		e := full(kind)
		if e.Subject = fmt.Sprint("s", i); i == 5 {
			e.Subject = audit.ErasedSubject(4, 4)
		}
		salt := [audit.SaltSize]byte{byte(i)}
		fields := audit.FieldsOf(e)
		row := audit.Row{Index: int64(i), Salt: salt[:], Body: record(t, e), Statement: e.Statement, Fields: &fields}
		row.Leaf = audit.Leaf{Kind: e.Kind, Subject: e.Subject, Body: audit.BodyHash(salt, row.Body)}
		if i == 4 {
			row.Salt, row.Body, row.Statement, row.Fields = nil, nil, nil, &audit.Fields{ID: e.ID, At: fields.At}
		}
		next, completed := head.Append(row.Leaf.Hash())
		for _, h := range completed {
			row.Hashes = append(row.Hashes, h[:]...)
		}
		head, all = next, append(all, row)
	}
	return all, audit.Checkpoint{Origin: "log.test", Size: head.Size, Root: head.Root()}
}

// walk verifies the rows, and returns what is wrong.
func walk(w *audit.Walk, all []audit.Row, newest audit.Checkpoint) *audit.Problem {
	for _, r := range all {
		if p := w.Next(r); p != nil {
			return p
		}
	}
	return w.End(newest)
}

func TestWalkHolds(t *testing.T) {
	for _, n := range []int{6, 7, 8, 33} {
		all, newest := rows(t, n)
		w := audit.Walk{Saved: newest}
		if p := walk(&w, all, newest); p != nil || w.Erased != 1 || w.Size() != int64(n) {
			t.Errorf("%d events: %v, %+v", n, p, w)
		}
		for i := range all { // whoever keeps no hashes and no fields, as an export
			all[i].Hashes, all[i].Fields = nil, nil
		}
		if p := walk(&audit.Walk{}, all, newest); p != nil {
			t.Errorf("%d bare events: %v", n, p)
		}
	}
}

// TestWalkFindsWhere edits rows whose keeper has no hashes, as an export on paper has none,
// and some whose keeper has.
func TestWalkFindsWhere(t *testing.T) {
	tests := []struct {
		name   string
		edit   func(all []audit.Row) []audit.Row
		first  int64
		last   int64
		says   string
		hashes bool
	}{
		{name: "a body", edit: func(a []audit.Row) []audit.Row { a[3].Body = []byte("{}"); return a }, first: 3, last: 3, says: "its body was changed"},
		{name: "a body with its leaf", first: 0, last: 10, says: "newest checkpoint", edit: rebuilt},
		{name: "a body with its leaf, where hashes are kept", first: 3, last: 3, says: "not the event that was logged", edit: rebuilt, hashes: true},
		{name: "a subtree's hash", first: 0, last: 7, says: "one of them", hashes: true,
			edit: func(a []audit.Row) []audit.Row {
				a[7].Hashes = slices.Clone(a[7].Hashes)
				a[7].Hashes[3*32] ^= 1
				return a
			}},
		{name: "a leaf's kind", edit: func(a []audit.Row) []audit.Row { a[1].Leaf.Kind = "gateway.left"; return a }, first: 1, last: 1, says: "of another event"},
		{name: "a row is missing", edit: func(a []audit.Row) []audit.Row { return slices.Delete(a, 6, 7) }, first: 6, last: 6, says: "event 7 comes next"},
		{name: "a row comes twice", edit: func(a []audit.Row) []audit.Row { return slices.Insert(a, 6, a[5]) }, first: 6, last: 6, says: "event 5 comes next"},
		{name: "the last rows are missing", edit: func(a []audit.Row) []audit.Row { return a[:9] }, first: 9, last: 10, says: "cut"},
		{name: "a row too many", first: 11, last: 11, says: "no checkpoint covers",
			edit: func(a []audit.Row) []audit.Row { r := a[8]; r.Index = 11; return append(a, r) }},
		{name: "an erasure untold", first: 7, last: 7, says: "no event says",
			edit: func(a []audit.Row) []audit.Row {
				a[7].Salt, a[7].Body, a[7].Fields = nil, nil, &audit.Fields{At: a[7].Fields.At}
				return a
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			all, newest := rows(t, 11)
			if !tt.hashes {
				for i := range all {
					all[i].Hashes = nil
				}
			}
			p := walk(&audit.Walk{}, tt.edit(all), newest)
			if p == nil || p.First != tt.first || p.Last != tt.last || !strings.Contains(p.String(), tt.says) {
				t.Errorf("got %v, want %d to %d: %s", p, tt.first, tt.last, tt.says)
			}
		})
	}
}

// rebuilt edits event 3 so that it agrees with itself.
func rebuilt(all []audit.Row) []audit.Row {
	all[3].Body = []byte(strings.Replace(string(all[3].Body), "Success", "Failure", 1))
	all[3].Leaf.Body = audit.BodyHash([audit.SaltSize]byte(all[3].Salt), all[3].Body)
	return all
}

func TestWalkAgainstASavedCheckpoint(t *testing.T) {
	all, newest := rows(t, 11)
	_, saved := rows(t, 8)
	forked := saved
	forked.Root[0] ^= 1
	for _, tt := range []struct {
		name  string
		saved audit.Checkpoint
		says  string
	}{
		{"of this log", saved, ""},
		{"of all of it", newest, ""},
		{"of an empty log", audit.Checkpoint{Root: (audit.Head{}).Root()}, ""},
		{"of another log", forked, "saved checkpoint was made of"},
		{"of a longer one", audit.Checkpoint{Size: 12, Root: saved.Root}, "saved checkpoint has seen"},
	} {
		p := walk(&audit.Walk{Saved: tt.saved}, all, newest)
		if (p == nil) != (tt.says == "") || p != nil && !strings.Contains(p.What, tt.says) {
			t.Errorf("%s: %v, want %q", tt.name, p, tt.says)
		}
	}
}

func TestErasedSubject(t *testing.T) {
	for _, tt := range []struct {
		first, last int64
		want        string
	}{{0, 0, "0"}, {4, 4, "4"}, {4, 1000, "4-1000"}} {
		got := audit.ErasedSubject(tt.first, tt.last)
		first, last, ok := audit.ParseSpan(got)
		if got != tt.want || !ok || first != tt.first || last != tt.last {
			t.Errorf("%d to %d: %q, read as %d to %d, %v", tt.first, tt.last, got, first, last, ok)
		}
		if err := (audit.Leaf{Kind: audit.KindErased, Subject: got}).Check(); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "-", "x", "4-", "-4", "5-4", "4-4", "04", "+4", "4-5-6", "9223372036854775808", "4 - 5"} {
		if first, last, ok := audit.ParseSpan(bad); ok {
			t.Errorf("%q was read as %d to %d", bad, first, last)
		}
	}
}

func TestUncovered(t *testing.T) {
	tests := []struct {
		runs, by    []int64
		first, last int64
		found       bool
	}{
		{runs: nil, by: nil},
		{runs: nil, by: []int64{1, 2}},
		{runs: []int64{1, 2}, by: []int64{1, 2}},
		{runs: []int64{1, 9}, by: []int64{6, 9, 1, 3, 4, 5}},
		{runs: []int64{1, 2, 7, 9}, by: []int64{0, 20}},
		{runs: []int64{1, 9}, by: []int64{1, 9, 2, 3}},
		{runs: []int64{1, 2}, by: nil, first: 1, last: 2, found: true},
		{runs: []int64{1, 9}, by: []int64{1, 3, 6, 9}, first: 4, last: 5, found: true},
		{runs: []int64{1, 9}, by: []int64{3, 9}, first: 1, last: 2, found: true},
		{runs: []int64{1, 9}, by: []int64{1, 8}, first: 9, last: 9, found: true},
		{runs: []int64{1, 2, 7, 9}, by: []int64{1, 2, 10, 12}, first: 7, last: 9, found: true},
		{runs: []int64{5, 5}, by: []int64{0, 3, 4, 4}, first: 5, last: 5, found: true},
	}
	for _, tt := range tests {
		first, last, found := audit.Uncovered(tt.runs, tt.by)
		if found != tt.found || first != tt.first || last != tt.last {
			t.Errorf("%v by %v: %d to %d, %v; want %d to %d, %v", tt.runs, tt.by, first, last, found, tt.first, tt.last, tt.found)
		}
	}
}

// FuzzWalk changes one byte somewhere in a row. Whatever it is, it is found.
func FuzzWalk(f *testing.F) {
	f.Add(uint8(3), uint8(0), uint16(7), uint8(1))
	f.Add(uint8(4), uint8(5), uint16(0), uint8(1))
	f.Fuzz(func(t *testing.T, row, part uint8, at uint16, flip uint8) {
		all, newest := rows(t, 11)
		r := &all[int(row)%len(all)]
		kind, subject := []byte(r.Leaf.Kind), []byte(r.Leaf.Subject)
		bytes := [][]byte{r.Body, r.Salt, r.Statement, r.Hashes, r.Leaf.Body[:], kind, subject}[part%7]
		if len(bytes) == 0 || flip == 0 {
			return
		}
		bytes[int(at)%len(bytes)] ^= flip
		r.Leaf.Kind, r.Leaf.Subject = string(kind), string(subject)
		if p := walk(&audit.Walk{}, all, newest); p == nil {
			t.Errorf("part %d of row %d was changed and nobody noticed", part%7, row)
		}
	})
}

func BenchmarkWalk(b *testing.B) {
	joined, _ := audit.KindOf("gateway.joined")
	e := full(joined)
	fields := audit.FieldsOf(e)
	r := audit.Row{Salt: make([]byte, audit.SaltSize), Body: record(b, e), Fields: &fields}
	r.Leaf = audit.Leaf{Kind: e.Kind, Subject: e.Subject, Body: audit.BodyHash([audit.SaltSize]byte{}, r.Body)}
	var w audit.Walk
	for b.Loop() {
		if p := w.Next(r); p != nil {
			b.Fatal(p)
		}
		r.Index++
	}
}
