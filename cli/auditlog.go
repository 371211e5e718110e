package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"iter"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/cli/show"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// An export of the log is one message of the API a line (brevet.v1.ExportLogResponse in JSON): each
// with one leaf, in order, and the last with the checkpoint that covers them.

// maxExportLine bounds a line: a leaf's record and statement are 64 KiB each, more in base64.
const maxExportLine = 1 << 20

// exported yields the parts of an export in order; an error ends it.
type exported = iter.Seq2[*brevetv1.ExportLogResponse, error]

// exportLog streams a range of the log from the server.
func (s *session) exportLog(ctx context.Context, from, to int64) exported {
	return func(yield func(*brevetv1.ExportLogResponse, error) bool) {
		enough := errors.New("the reader has enough")
		err := receive(ctx, s, func(ctx context.Context) (*connect.ServerStreamForClient[brevetv1.ExportLogResponse], error) {
			return s.audit.ExportLog(ctx, &brevetv1.ExportLogRequest{From: from, To: to})
		}, func(m *brevetv1.ExportLogResponse) error {
			if !yield(m, nil) {
				return enough
			}
			return nil
		})
		if err != nil && !errors.Is(err, enough) {
			yield(nil, err)
		}
	}
}

// readExport reads an export that was written to a file. It uses the memory of one line.
func readExport(r io.Reader) exported {
	return func(yield func(*brevetv1.ExportLogResponse, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, maxExportLine)
		n := 0
		for lines.Scan() {
			n++
			m := &brevetv1.ExportLogResponse{}
			if err := protojson.Unmarshal(lines.Bytes(), m); err != nil {
				yield(nil, brevet.Errorf(brevet.Invalid, "line %d is not of an export of the log", n).Because(err).
					WithHint("brevet audit export --file FILE writes one"))
				return
			}
			if !yield(m, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(nil, brevet.Errorf(brevet.Invalid, "line %d cannot be read", n+1).Because(err))
		}
	}
}

func (a *app) auditExport() *cobra.Command {
	var from, to int64
	var file string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the log to a file: leaves, records, statements, and the checkpoint that covers them",
		Long: `Write the log, one line of JSON for each event and one for the signed checkpoint. An export from the
beginning can be verified offline: brevet audit verify --file FILE --root FINGERPRINT. That you exported
stands in the log.`,
		Example: `  brevet audit export --file log.jsonl
  brevet audit export --from 1200 | jq -r '.leaves[]?.record | @base64d'`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.online(func(ctx context.Context, s *session, _ []string) error {
			return a.writeOut(file, func(w io.Writer) error { return a.writeExport(w, s.exportLog(ctx, from, to)) })
		}),
	}
	f := cmd.Flags()
	f.Int64Var(&from, "from", 0, "first event, by its place in the log")
	f.Int64Var(&to, "to", 0, "event to end before (else up to the newest checkpoint)")
	f.StringVarP(&file, "file", "f", "-", "file to write; it must not be there yet (- for standard output)")
	return cmd
}

func (a *app) writeExport(w io.Writer, parts exported) error {
	p := a.progress("events")
	defer p.end()
	whole := false
	for m, err := range parts {
		if err != nil {
			return err
		}
		for _, leaf := range m.GetLeaves() {
			if err := show.MessageLine(w, &brevetv1.ExportLogResponse{Leaves: []*brevetv1.Leaf{leaf}}); err != nil {
				return err
			}
			p.add(1)
		}
		if len(m.GetCheckpoint()) == 0 {
			continue
		}
		whole = true
		if err := show.MessageLine(w, &brevetv1.ExportLogResponse{Checkpoint: m.GetCheckpoint()}); err != nil {
			return err
		}
	}
	if !whole {
		return brevet.Errorf(brevet.Unavailable, "the export broke off: the server sent no checkpoint").WithHint("try again")
	}
	return nil
}

// logVerifier walks the log from its first event. Whom to believe of the checkpoint it learns on the
// way, from the roster that the log itself holds, back to the pinned root.
type logVerifier struct {
	walk     audit.Walk
	root     statement.ID
	state    *proof.State
	newest   []byte // checkpoint, as it was signed
	progress *progress
}

// rosterKinds are the kinds of statement that say who signs checkpoints. A reinstatement makes no sense
// without the revocation that it lifts.
var rosterKinds = map[string]bool{
	string(statement.KindRoot): true, string(statement.KindEnrol): true, string(statement.KindRetire): true,
	string(statement.KindReinstate): true, string(statement.KindMachine): true, string(statement.KindRevocation): true,
}

// verify walks all parts and returns the newest checkpoint, verified.
func (v *logVerifier) verify(parts exported) (audit.Checkpoint, error) {
	for m, err := range parts {
		if err != nil {
			return audit.Checkpoint{}, err
		}
		for _, leaf := range m.GetLeaves() {
			if err := v.next(leaf); err != nil {
				return audit.Checkpoint{}, err
			}
		}
		if len(m.GetCheckpoint()) > 0 {
			v.newest = m.GetCheckpoint()
		}
	}
	if v.newest == nil {
		return audit.Checkpoint{}, brevet.Errorf(brevet.Refused, "there is no checkpoint at the end: what came may be cut short")
	}
	if v.state == nil {
		return audit.Checkpoint{}, brevet.Errorf(brevet.Refused, "the log does not begin with a root")
	}
	newest, err := v.state.OpenCheckpoint(v.newest, latest, nil)
	if err != nil {
		return audit.Checkpoint{}, err
	}
	if p := v.walk.End(newest); p != nil {
		return audit.Checkpoint{}, notTheLog(p)
	}
	return newest, nil
}

func (v *logVerifier) next(leaf *brevetv1.Leaf) error {
	v.progress.add(1)
	if len(leaf.GetBodyHash()) != 32 {
		return brevet.Errorf(brevet.Refused, "event %d: the hash of its body is not 32 bytes", leaf.GetIndex())
	}
	row := audit.Row{
		Index: leaf.GetIndex(), Salt: leaf.GetSalt(), Body: leaf.GetRecord(), Statement: leaf.GetStatement(),
		Leaf: audit.Leaf{Kind: leaf.GetKind(), Subject: leaf.GetSubject(), Body: [32]byte(leaf.GetBodyHash())},
	}
	if len(row.Body) == 0 {
		row.Body = nil // erased
	}
	if p := v.walk.Next(row); p != nil {
		return notTheLog(p)
	}
	if !rosterKinds[leaf.GetKind()] || len(leaf.GetStatement()) == 0 {
		return nil
	}
	return v.learn(row)
}

// learn takes in a roster statement, as its body says that it was logged.
func (v *logVerifier) learn(row audit.Row) error {
	envelope, err := statement.Parse(row.Statement)
	if err != nil {
		return err
	}
	if string(envelope.ID()) != row.Leaf.Subject {
		return brevet.Errorf(brevet.Refused, "event %d: its statement is another one than it was logged for", row.Index)
	}
	if !aboutSomebody(envelope) {
		return nil
	}
	entry := proof.Entry{Index: row.Index, Envelope: envelope}
	if v.state == nil {
		v.state, err = proof.Found(entry, v.root)
		return err
	}
	v.state, err = v.state.Extend(nil, entry)
	return err
}

// aboutSomebody reports whether a statement is of the roster, or a revocation that bears on it: not those
// of requests and grants, of which there are many.
func aboutSomebody(e statement.Envelope) bool {
	if kind, err := e.Kind(); err != nil || kind != statement.KindRevocation {
		return true
	}
	r, err := statement.Open[statement.Revocation](e)
	return err != nil || r.What == statement.RevokePerson || r.What == statement.RevokeKey
}

func notTheLog(p *audit.Problem) error {
	return brevet.Errorf(brevet.Refused, "the log does not hold: %s", p).
		WithHint("keep what you have: this is evidence. Tell the people who run Brevet, by another way")
}
