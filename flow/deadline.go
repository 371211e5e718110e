package flow

import (
	"context"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

// deadlineOf is until when a request may be answered, if its role lets it wait for so long.
func deadlineOf(said statement.Request, role brevet.Role) time.Time {
	wait := role.Limits.Wait.Duration()
	if wait <= 0 {
		wait = defaultWait
	}
	deadline := time.UnixMicro(said.At).UTC().Add(wait)
	if until := time.UnixMicro(said.Until).UTC(); until.Before(deadline) {
		return until
	}
	return deadline
}

// inTime refuses a yes that comes at the deadline or later, and lets the request lapse if the clock has not
// done so yet. The row's deadline counts only if it is no later than what was signed and the role allow:
// whoever writes a later one into the database gains nothing by it.
func (s *Spine) inTime(ctx context.Context, v view, ev evidence) error {
	compiled, err := v.Catalog.InForce()
	if err != nil {
		return err
	}
	r := ev.row
	if role, _, ok := compiled.Role(ev.request.Role); ok { // without a role the yes is refused for that
		if latest := deadlineOf(ev.request, role); latest.Before(r.Deadline) {
			r.Deadline = latest
		}
	}
	if v.now.Before(r.Deadline) {
		return nil
	}
	if err := s.lapse(ctx, r); err != nil && brevet.KindOf(err) != brevet.Conflict { // a Conflict: somebody was faster
		return err
	}
	r.Why, r.State = whyLapsed(r), brevet.Lapsed
	return notOpen(r)
}

// whyLapsed says why an open request lapses.
func whyLapsed(r brevet.Request) string {
	why := "nobody answered by "
	if r.State == brevet.Ready {
		why = "everybody had agreed, and the issuer had not given it by "
	}
	return why + r.Deadline.UTC().Format("15:04 MST")
}
