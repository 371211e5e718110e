package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/cli/home"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// logCheck is what the command line says of a verification of the log.
type logCheck struct {
	file, root, checkpoint string
	quick                  bool
}

func (a *app) auditVerify() *cobra.Command {
	var c logCheck
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that no event was changed, moved, added or left out since this machine last looked",
		Long: `Check the whole log: every event against its leaf, every leaf against the signed checkpoint, and the
checkpoint against the one that this machine verified last, which is then replaced by the new one.
With --quick only the two checkpoints are compared, by a consistency proof.

With --file an export is checked offline, from the root's fingerprint. It must be of the whole log: one
of a part, by --from or --to, cannot be checked so. With --checkpoint it, or the server's log, must go
on from a checkpoint that was kept elsewhere.`,
		Example: `  brevet audit verify
  brevet audit verify --quick
  brevet audit verify --file log.jsonl --root 5b9ce1f07d22a4c8…
  brevet audit verify --checkpoint /media/usb/checkpoint`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case c.file != "" && c.quick:
				return usage(cmd, "--file and --quick exclude each other")
			case c.file != "":
				return a.verifyExport(c)
			case c.root != "":
				return usage(cmd, "--root is for --file; a server's log is checked from the root that is pinned here")
			}
			return a.verifyLog(cmd.Context(), c)
		},
	}
	a.rootFlag(cmd, &c.root)
	f := cmd.Flags()
	f.StringVarP(&c.file, "file", "f", "", "check this export offline, ask no server (- for standard input)")
	f.StringVar(&c.checkpoint, "checkpoint", "", "file with an earlier checkpoint that the log must go on from (else the one this machine kept)")
	f.BoolVar(&c.quick, "quick", false, "compare checkpoints only, read no event")
	return cmd
}

// maxCheckpoint bounds a signed note with its cosignatures.
const maxCheckpoint = 64 << 10

// verifyExport checks a file. Its own roster says whose signature the checkpoint needs.
func (a *app) verifyExport(c logCheck) error {
	root, err := a.pinnedRoot(c.root)
	if err != nil {
		return err
	}
	in := a.in
	if c.file != "-" {
		f, err := os.Open(c.file)
		if err != nil {
			return brevet.Errorf(brevet.NotFound, "cannot open %s", brevet.Quote(c.file)).Because(err)
		}
		defer f.Close()
		in = f
	}
	v := &logVerifier{root: root, progress: a.progress("events")}
	if c.checkpoint == "" {
		newest, err := v.run(fromFirst(readExport(in)))
		return a.sayLog(err, newest, audit.Checkpoint{}, v.walk.Erased)
	}
	earlier, err := a.readCheckpoint(c.checkpoint)
	if err != nil {
		return err
	}
	// The key of the earlier checkpoint is known only once the roster has been read, so that the file is
	// read twice, and standard input is kept.
	whole, again, err := twice(in)
	if err != nil {
		return err
	}
	if _, err := v.run(fromFirst(readExport(whole))); err != nil {
		return err
	}
	saved, err := v.state.OpenCheckpoint(earlier, latest, nil)
	if err != nil {
		return err
	}
	v = &logVerifier{root: root, walk: audit.Walk{Saved: saved}, progress: a.progress("events")}
	newest, err := v.run(fromFirst(readExport(again)))
	return a.sayLog(err, newest, saved, v.walk.Erased)
}

// readCheckpoint reads a file that somebody named as a checkpoint. One that has not the form of one is
// the wrong file; whose signature it has, the roster says.
func (a *app) readCheckpoint(file string) ([]byte, error) {
	b, err := a.readFile(file, maxCheckpoint)
	if err != nil {
		return nil, err
	}
	var unverified *note.UnverifiedNoteError // what a well-formed note is to whoever has no key
	if _, err := note.Open(b, note.VerifierList()); !errors.As(err, &unverified) || strings.Count(unverified.Note.Text, "\n") != 3 {
		return nil, brevet.Errorf(brevet.Invalid, "%s is not a checkpoint of a log", brevet.Quote(file)).Because(err).
			WithHint("name a copy of one that brevet audit verify kept")
	}
	return b, nil
}

// fromFirst refuses an export that begins later, as it can be no proof of what was before. A line that
// cannot be read is no wrong file any more once others could: then something of the export is gone.
func fromFirst(parts exported) exported {
	return func(yield func(*brevetv1.ExportLogResponse, error) bool) {
		begun := false
		for m, err := range parts {
			leaves := m.GetLeaves()
			switch {
			case begun && brevet.KindOf(err) == brevet.Invalid:
				message, _ := brevet.MessageOf(err)
				err = brevet.Errorf(brevet.Refused, "the export is cut or was changed: %s", message).Because(err).
					WithHint("copy it again, or write it anew: brevet audit export --file FILE")
			case !begun && len(leaves) > 0 && leaves[0].GetIndex() > 0:
				err = brevet.Errorf(brevet.Invalid, "this export begins at event %d, and can be verified from the first on only", leaves[0].GetIndex()).
					WithHint("export the whole log: brevet audit export --file FILE, without --from")
			}
			begun = true
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

func (v *logVerifier) run(parts exported) (audit.Checkpoint, error) {
	defer v.progress.end()
	return v.verify(parts)
}

// twice returns two readers of the same bytes.
func twice(in io.Reader) (io.Reader, io.Reader, error) {
	if f, ok := in.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return io.NewSectionReader(f, 0, info.Size()), io.NewSectionReader(f, 0, info.Size()), nil
		}
	}
	b, err := io.ReadAll(in)
	if err != nil {
		return nil, nil, brevet.Errorf(brevet.Unavailable, "cannot read the export").Because(err)
	}
	return bytes.NewReader(b), bytes.NewReader(b), nil
}

// verifyLog checks the server's log and keeps what was seen for the next time.
func (a *app) verifyLog(ctx context.Context, c logCheck) error {
	s, err := a.connect()
	if err != nil {
		return err
	}
	state, err := s.roster(ctx)
	if err != nil {
		return err
	}
	saved, err := a.savedCheckpoint(s.home, state, c.checkpoint)
	if err != nil {
		return err
	}
	if c.quick {
		newest, err := s.compareCheckpoints(ctx, state, saved)
		return a.sayLog(err, newest, saved, 0)
	}
	v := &logVerifier{root: statement.ID(s.profile.Root), walk: audit.Walk{Saved: saved}, progress: a.progress("events")}
	newest, err := v.run(s.exportLog(ctx, 0, 0))
	if err != nil {
		return err
	}
	if err := s.home.Write(home.CheckpointFile, v.newest); err != nil {
		return err
	}
	a.tell("Kept as %s for the next time; a copy elsewhere is proof even against this machine.", s.home.Path(home.CheckpointFile))
	return a.sayLog(nil, newest, saved, v.walk.Erased)
}

// savedCheckpoint returns the checkpoint in the file that was named, or the one that this machine kept;
// the zero one if there is none yet.
func (a *app) savedCheckpoint(h *home.Home, state *proof.State, file string) (audit.Checkpoint, error) {
	var signed []byte
	var err error
	if file != "" {
		signed, err = a.readCheckpoint(file)
	} else if signed, err = h.Read(home.CheckpointFile); brevet.KindOf(err) == brevet.NotFound {
		return audit.Checkpoint{}, nil
	}
	if err != nil {
		return audit.Checkpoint{}, err
	}
	saved, err := state.OpenCheckpoint(signed, latest, nil)
	if err != nil && file == "" {
		return saved, brevet.Errorf(brevet.Refused, "the checkpoint that this machine kept is not signed by a log of the roster").Because(err).
			WithHint("if the log's key was replaced, remove %s; else it is evidence", h.Path(home.CheckpointFile))
	}
	return saved, err
}

// compareCheckpoints gets the newest checkpoint and has the server prove that its log goes on from the
// saved one. It keeps the newest.
func (s *session) compareCheckpoints(ctx context.Context, state *proof.State, saved audit.Checkpoint) (audit.Checkpoint, error) {
	got, err := s.audit.GetCheckpoint(ctx, &brevetv1.GetCheckpointRequest{})
	if err != nil {
		return audit.Checkpoint{}, err
	}
	newest, err := state.OpenCheckpoint(got.GetCheckpoint(), latest, nil)
	if err != nil {
		return audit.Checkpoint{}, err
	}
	if saved.Size > 0 {
		proved, err := s.consistency(ctx, saved.Size, newest.Size)
		if err != nil {
			return audit.Checkpoint{}, err
		}
		if err := audit.VerifyConsistency(newest, saved, proved); err != nil {
			return audit.Checkpoint{}, err
		}
	}
	return newest, s.home.Write(home.CheckpointFile, got.GetCheckpoint())
}

// consistency gets the proof that the log of one size begins with the log of a smaller one. A log that
// has become shorter has none to ask for.
func (s *session) consistency(ctx context.Context, from, to int64) ([]tlog.Hash, error) {
	if to <= from {
		return nil, nil
	}
	got, err := s.audit.GetConsistencyProof(ctx, &brevetv1.GetConsistencyProofRequest{From: from, To: to})
	if err != nil {
		return nil, err
	}
	hashes := make([]tlog.Hash, len(got.GetHashes()))
	for i, h := range got.GetHashes() {
		if len(h) != tlog.HashSize {
			return nil, brevet.Errorf(brevet.Refused, "the consistency proof has a hash of %d bytes", len(h))
		}
		hashes[i] = tlog.Hash(h)
	}
	return hashes, nil
}

// sayLog prints what was verified.
func (a *app) sayLog(err error, newest, saved audit.Checkpoint, erased int64) error {
	if err != nil {
		return err
	}
	fields := map[string]any{"verified": true, "origin": newest.Origin, "size": float64(newest.Size), "root": newest.Root.String(),
		"extends": float64(saved.Size), "erased": float64(erased)}
	return a.printFields(fields, func() error {
		a.good("log %s: %d events, checkpoint signed by the log", newest.Origin, newest.Size)
		if saved.Size > 0 {
			a.good("it goes on from the checkpoint of %d events that was seen before", saved.Size)
		} else {
			a.marked(a.out, string(proof.NotShown), "compared with no earlier checkpoint: what was changed before today does not show")
		}
		if erased > 0 {
			a.marked(a.out, string(proof.NotShown), "the bodies of %d events were erased; their leaves stand", erased)
		}
		return nil
	})
}
