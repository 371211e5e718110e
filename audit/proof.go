package audit

import (
	"golang.org/x/mod/sumdb/tlog"

	"github.com/brevet-pim/brevet"
)

// maxProof is more hashes than any proof in a log of 2^62 leaves has.
const maxProof = 128

// Inclusion builds the proof that the leaf at index stands in the tree of the given size
// (RFC 6962 §2.1.1): at most ⌈log₂ size⌉ hashes of 32 bytes.
func Inclusion(size, index int64, hashes tlog.HashReader) ([]tlog.Hash, error) {
	if index < 0 || index >= size {
		return nil, brevet.Errorf(brevet.NotFound, "a log of %d events has no event %d", size, index)
	}
	return tlog.ProveRecord(size, index, hashes)
}

// VerifyInclusion returns nil if the proof shows that the leaf stands at index in the log
// that the checkpoint describes, and a Refused error otherwise.
func VerifyInclusion(c Checkpoint, index int64, leaf Leaf, proof []tlog.Hash) error {
	if err := leaf.Check(); err != nil {
		return err
	}
	if len(proof) > maxProof {
		return brevet.Errorf(brevet.Invalid, "a proof of %d hashes is too long", len(proof))
	}
	if err := tlog.CheckRecord(proof, c.Size, c.Root, index, leaf.Hash()); err != nil {
		return brevet.Errorf(brevet.Refused, "the log's checkpoint does not hold this %s event at %d", leaf.Kind, index).Because(err)
	}
	return nil
}

// Consistency builds the proof that the tree of size now begins with the tree of size before
// (RFC 6962 §2.1.2). Of an empty tree there is nothing to prove.
func Consistency(now, before int64, hashes tlog.HashReader) ([]tlog.Hash, error) {
	if before < 0 || before > now {
		return nil, brevet.Errorf(brevet.NotFound, "a log of %d events was never %d long", now, before)
	}
	if before == 0 || before == now {
		return nil, nil
	}
	return tlog.ProveTree(now, before, hashes)
}

// VerifyConsistency returns nil if the proof shows that the log of the later checkpoint
// begins with the whole log of the earlier one, and a Refused error otherwise: then the log
// was rewritten, forked or cut.
func VerifyConsistency(later, earlier Checkpoint, proof []tlog.Hash) error {
	refused := brevet.Errorf(brevet.Refused, "the log of %d events does not extend the one of %d that was seen before: it was changed or cut", later.Size, earlier.Size)
	switch {
	case later.Origin != earlier.Origin:
		return brevet.Errorf(brevet.Refused, "the checkpoints are of two logs, %s and %s", brevet.Quote(later.Origin), brevet.Quote(earlier.Origin))
	case len(proof) > maxProof:
		return brevet.Errorf(brevet.Invalid, "a proof of %d hashes is too long", len(proof))
	case later.Size < earlier.Size:
		return refused
	case earlier.Size == 0:
		if earlier.Root != (Head{}).Root() || len(proof) != 0 {
			return refused
		}
		return nil
	}
	if err := tlog.CheckTree(proof, later.Size, later.Root, earlier.Size, earlier.Root); err != nil {
		return refused.Because(err)
	}
	return nil
}
