package policy

import (
	"fmt"

	"github.com/brevet-pim/brevet"
)

// stagesProblem says why the stages can never all be answered by distinct people other than the
// requester, or returns "".
func (s *Set) stagesProblem(stages []brevet.Stage, requester brevet.PersonID) string {
	return s.stagesProblemAmong(stages, func(p brevet.PersonID) bool { return p != requester && s.isPerson(p) })
}

// stagesProblemAmong is stagesProblem for approvers that are eligible in the caller's sense.
func (s *Set) stagesProblemAmong(stages []brevet.Stage, eligible func(brevet.PersonID) bool) string {
	if len(stages) == 0 {
		return "the role has no approval stages"
	}
	seats := seating{set: s, eligible: eligible, holds: map[brevet.PersonID]seat{}}
	for i, stage := range stages {
		if _, ok := s.groups[stage.Group]; !ok {
			return fmt.Sprintf("there is no group %s", brevet.Quote(string(stage.Group)))
		}
		if stage.Count < 1 {
			return fmt.Sprintf("stage %d asks for nobody", i+1)
		}
		if stage.Count > len(s.groups[stage.Group]) {
			return tooFew(stage)
		}
		for range stage.Count {
			if !seats.fill(seat{i, stage.Group}, map[brevet.PersonID]bool{}) {
				return tooFew(stage)
			}
		}
	}
	return ""
}

func tooFew(stage brevet.Stage) string {
	return fmt.Sprintf("group %s has too few other people who may answer (%d needed)", stage.Group, stage.Count)
}

func (s *Set) isPerson(id brevet.PersonID) bool {
	if s.people == nil {
		return false
	}
	kind, ok := s.people(id)
	return ok && kind == brevet.Person
}

// seat is one answer that a stage needs.
type seat struct {
	stage int
	group brevet.GroupName
}

// seating gives each seat a person of its own (a bipartite matching by augmenting paths): with
// alice in both groups and bo in one, alice must sit where bo cannot.
type seating struct {
	set      *Set
	eligible func(brevet.PersonID) bool
	holds    map[brevet.PersonID]seat
}

// fill finds somebody for the seat, moving others to other seats if need be. It looks at most at
// a few more members than there are seats, however large the group is.
func (t *seating) fill(s seat, tried map[brevet.PersonID]bool) bool {
	for _, p := range t.set.groups[s.group] {
		if tried[p] || !t.eligible(p) {
			continue
		}
		tried[p] = true
		taken, busy := t.holds[p]
		if !busy || t.fill(taken, tried) {
			t.holds[p] = s
			return true
		}
	}
	return false
}
