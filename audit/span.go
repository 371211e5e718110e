package audit

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// KindErased is the kind of event that says that bodies were erased.
const KindErased = "audit.erased"

// ErasedSubject returns the subject of the audit.erased event that tells of the events from
// index first to last. Verification holds erasures against it: a body that is gone without
// such an event was not erased by retention.
func ErasedSubject(first, last int64) string {
	if first == last {
		return strconv.FormatInt(first, 10)
	}
	return strconv.FormatInt(first, 10) + "-" + strconv.FormatInt(last, 10)
}

// span is a run of indexes, both ends in it.
type span struct{ first, last int64 }

// parseSpan reads what ErasedSubject wrote.
func parseSpan(subject string) (span, bool) {
	from, to, several := strings.Cut(subject, "-")
	if !several {
		to = from
	}
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	s := span{first, last}
	return s, err1 == nil && err2 == nil && 0 <= first && first <= last && ErasedSubject(first, last) == subject
}

// extend adds the next index to runs that grow at their end.
func extend(runs []span, index int64) []span {
	if n := len(runs); n > 0 && runs[n-1].last == index-1 {
		runs[n-1].last = index
		return runs
	}
	return append(runs, span{index, index})
}

// uncovered returns the first part of runs, which ascend, that no span of by covers.
func uncovered(runs, by []span) (span, bool) {
	slices.SortFunc(by, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	next, covered := 0, int64(-1) // by[:next] reaches up to covered, from wherever a run begins
	for _, run := range runs {
		at := run.first
		for at <= run.last {
			for next < len(by) && by[next].first <= at {
				covered = max(covered, by[next].last)
				next++
			}
			if covered < at {
				end := run.last
				if next < len(by) {
					end = min(end, by[next].first-1)
				}
				return span{at, end}, true
			}
			at = covered + 1
		}
	}
	return span{}, false
}
