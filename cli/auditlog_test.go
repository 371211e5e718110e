package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
)

// BenchmarkVerifyExport verifies an export of 10,000 events from its file, JSON and all.
func BenchmarkVerifyExport(b *testing.B) {
	w := newWorld(b)
	const events = 10_000
	for range events {
		w.log(brevet.Event{ID: "evt_1", Kind: "audit.searched", Subject: "alice", At: time.Now(), Message: "alice searched the audit log", Outcome: "success"})
	}
	var file bytes.Buffer
	a := &app{err: &bytes.Buffer{}}
	err := a.writeExport(&file, func(yield func(*brevetv1.ExportLogResponse, error) bool) {
		yield(&brevetv1.ExportLogResponse{Leaves: w.rows, Checkpoint: w.checkpoint()}, nil)
	})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(file.Len()))
	for b.Loop() {
		v := &logVerifier{root: w.root, progress: a.progress("events")}
		if _, err := v.run(readExport(bytes.NewReader(file.Bytes()))); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(events*b.N)/b.Elapsed().Seconds(), "events/s")
}

// FuzzReadExport: whatever stands in a file, reading it ends, and an export that verifies is one whose
// lines were written by the program.
func FuzzReadExport(f *testing.F) {
	w := newWorld(f)
	var whole bytes.Buffer
	for _, leaf := range w.rows {
		whole.Write(append(must(protojson.Marshal(&brevetv1.ExportLogResponse{Leaves: []*brevetv1.Leaf{leaf}}))(f), '\n'))
	}
	checkpoint := must(protojson.Marshal(&brevetv1.ExportLogResponse{Checkpoint: w.checkpoint()}))(f)
	f.Add(whole.String() + string(checkpoint))
	f.Add(string(checkpoint))
	f.Add(whole.String())
	f.Add(`{"leaves":[{"index":"-1"}]}`)
	f.Add(`{"leaves":[null]}`)
	f.Fuzz(func(t *testing.T, text string) {
		a := &app{err: &bytes.Buffer{}}
		v := &logVerifier{root: w.root, progress: a.progress("events")}
		newest, err := v.run(readExport(strings.NewReader(text)))
		if err == nil && (newest.Size != w.head.Size || newest.Root != w.head.Root()) {
			t.Errorf("another log verifies: %+v", newest)
		}
	})
}
