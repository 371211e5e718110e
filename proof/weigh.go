package proof

import (
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

// Weighed is how far a request has come.
type Weighed struct {
	// Verdict has everything but Terms and Targets, which are empty until nothing is missing.
	Verdict
	Stages     []Progress   // of Decision.Stages; empty unless people must agree
	PassedOver []PassedOver // approvals that do not count
	// Missing is why nothing may be given yet, as Judge says it: policy refuses, a stage lacks an
	// approval, or the approvals have nothing in common. Nil: it may be given.
	Missing error
}

// Progress is how far a stage has come.
type Progress struct {
	brevet.Stage
	Counted  int // approvals, each by another person
	Complete bool
}

// PassedOver is an approval that does not count, and why not.
type PassedOver struct {
	ID  statement.ID
	Why string
}

// Refused reports whether policy says no, so that no approval could help.
func (w *Weighed) Refused() bool {
	return len(w.Decision.Errors) > 0 || w.Decision.Outcome != brevet.Allow && w.Decision.Outcome != brevet.Ask
}

// Weigh says how far the request has come, as things stand before the place at and at the time now.
// It makes the checks that Judge makes. What policy says and which approvals are missing is its
// answer; an error, which is Refused, is for a request that is not acceptable at all: its signature,
// key, organisation, holder, time, role or targets.
//
// A request that is not in the log yet is given the place that it would get, the log's size, and
// weighed before the place after that: Entry.Index = size, at = size + 1. See Pending.
func (s *State) Weigh(ev Evidence, at int64, now time.Time, memory *Memory) (*Weighed, error) {
	j, err := s.weigh(ev, at, now, memory)
	if err != nil {
		return nil, err
	}
	w := &Weighed{PassedOver: j.passedOver, Missing: j.refusal()}
	for _, check := range []func() error{j.enough, j.terms} {
		if w.Missing == nil {
			w.Missing = check()
		}
	}
	w.Verdict = *j.verdict
	for i, counted := range j.counted {
		stage := w.Decision.Stages[i]
		w.Stages = append(w.Stages, Progress{stage, counted, stage.Count >= 1 && counted >= stage.Count})
	}
	return w, nil
}

// weigh judges as far as counting the approvals.
func (s *State) weigh(ev Evidence, at int64, now time.Time, memory *Memory) (*judge, error) {
	j := &judge{state: s, evidence: ev, at: at, now: now, memory: memory, verdict: &Verdict{}}
	if err := j.acceptable(); err != nil {
		return nil, err
	}
	j.decide()
	if j.refusal() != nil {
		return j, nil
	}
	return j, j.count()
}

// Pending returns the entry of a statement that is about to be appended to a log of the size. It
// is in force before the place size + 1.
func Pending(e statement.Envelope, size int64) Entry { return Entry{Index: size, Envelope: e} }

// CheckApproval says whether the approval, which is about to be appended to a log of the size,
// would count for the request of the evidence, beside the approvals that are there. The error,
// which is Refused, says why not.
func (s *State) CheckApproval(ev Evidence, approval statement.Envelope, size int64, now time.Time, memory *Memory) (Approval, error) {
	j, err := s.weigh(ev, size+1, now, memory)
	if err != nil {
		return Approval{}, err
	}
	if err := j.refusal(); err != nil {
		return Approval{}, err
	}
	if j.verdict.Decision.Outcome == brevet.Allow {
		return Approval{}, refuse("nobody need agree to this request")
	}
	a, err := j.approval(Pending(approval, size))
	if err != nil {
		return Approval{}, err
	}
	return a, j.first(a.By)
}
