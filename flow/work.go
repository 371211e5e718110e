package flow

import (
	"context"
	"fmt"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/store"
)

// The kinds of job. Whoever makes work owed tries it at once; the job is for when that fails, or
// the process dies before. Issuing is owed by the state of the rows, and is a job only once it has failed.
const (
	jobIssue = "issue" // a request that is ready, to its grant
	jobEnd   = "end"   // a grant that is ending, until its gateway has confirmed
	// jobReview looks at all grants after a change of roster or catalog. It is done also when whoever
	// made the change has looked already: it costs little, and misses nothing that failed then.
	jobReview = "review"
)

// allGrants is the subject of a review.
const allGrants = "grants"

const (
	// lead is how long whoever enqueued a job has to do it before a worker does.
	lead = 5 * time.Second
	// lease is how long a worker may take for one job.
	lease = 30 * time.Second
	// mostJobs is how many jobs a worker claims at a time.
	mostJobs = 16
	// idle is how long the worker sleeps when nothing is owed.
	idle = 2 * time.Second
	// worrying is the number of attempts after which a failing job is told.
	worrying = 5
)

// work does the jobs that are due until ctx ends.
func (s *Spine) work(ctx context.Context) error {
	worker := string(brevet.NewEventID(s.Clock())) // another name each time the process starts
	var resumed time.Time
	s.reviewNow(ctx, s.self()) // a process before may have died between a change and its look at what was given
	for ctx.Err() == nil {
		if resumed.IsZero() || time.Since(resumed) >= relook {
			resumed = time.Now()
			s.resume(ctx)
		}
		s.writeUrgent(ctx)
		jobs, err := s.claimJobs(ctx, worker)
		if err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "jobs cannot be claimed", "error", err)
		}
		for _, job := range jobs {
			s.do(ctx, job)
		}
		if len(jobs) == mostJobs {
			continue
		}
		select {
		case <-time.After(idle):
		case <-ctx.Done():
		}
	}
	return nil
}

// resume goes on with every request that was left between two states, by a process that died or a
// step that failed, whether or not the database owes a job for it. What somebody has written into
// the rows comes to light here: the issuer judges it by what was signed.
func (s *Spine) resume(ctx context.Context) {
	q := s.Store.Query(ctx)
	ready, err := everyPage(func(p store.Page) ([]brevet.Request, error) {
		return q.Requests(store.RequestFilter{State: brevet.Ready, Page: p})
	}, func(r brevet.Request) string { return string(r.ID) })
	if err != nil {
		s.Log.WarnContext(ctx, "requests that are ready were not resumed", "error", err)
	}
	issuing, err := grantsOf(q, store.GrantFilter{State: brevet.Issuing})
	if err != nil {
		s.Log.WarnContext(ctx, "grants that are being issued were not resumed", "error", err)
	}
	ids := make([]brevet.RequestID, 0, len(ready)+len(issuing))
	for _, r := range ready {
		ids = append(ids, r.ID)
	}
	for _, g := range issuing {
		ids = append(ids, g.Request)
	}
	for n, id := range ids {
		err := s.attempt(ctx, store.Job{Kind: jobIssue, Subject: string(id)})
		if err == nil || ctx.Err() != nil {
			continue
		}
		s.Log.WarnContext(ctx, "a request was not resumed at once", "request", id, "error", err)
		if brevet.KindOf(err) == brevet.Unavailable {
			s.owe(ctx, ids[n:]...) // nor would the others be, and each would keep the worker from its jobs
			return
		}
	}
}

func (s *Spine) claimJobs(ctx context.Context, worker string) (jobs []store.Job, err error) {
	next, err := s.Store.Query(ctx).NextJob() // looking costs no write
	if err != nil || next.IsZero() || next.After(s.Clock()) {
		return nil, err
	}
	err = s.Store.Work(ctx, func(w *store.Work) (err error) {
		jobs, err = w.Claim(worker, s.Clock(), lease, mostJobs)
		return err
	})
	return jobs, err
}

// do does one job, and gives it back if it is not done by that.
func (s *Spine) do(ctx context.Context, job store.Job) {
	err := s.attempt(store.OnBehalf(ctx, job), job)
	now := s.Clock()
	if err == nil {
		err = s.Store.Work(ctx, func(w *store.Work) error { return w.Finish(job, now) })
		if err != nil && brevet.KindOf(err) != brevet.Conflict {
			s.Log.WarnContext(ctx, "a job will be done again", "kind", job.Kind, "subject", job.Subject, "error", err)
		}
		return
	}
	s.Log.WarnContext(ctx, "a job is not done yet", "kind", job.Kind, "subject", job.Subject, "attempts", job.Attempts, "error", err)
	if job.Attempts == worrying {
		s.tell(ctx, s.failure("job.failed", job.Subject, s.self(), fmt.Sprintf("the %s of %s failed %d times", job.Kind, job.Subject, job.Attempts)))
	}
	err = s.Store.Work(ctx, func(w *store.Work) error { return w.Retry(job, now.Add(store.Backoff(job.Attempts)), err) })
	if err != nil && brevet.KindOf(err) != brevet.Conflict {
		s.Log.WarnContext(ctx, "a job comes back only when its lease ends", "kind", job.Kind, "subject", job.Subject, "error", err)
	}
}

// attempt does the job, within its lease.
func (s *Spine) attempt(ctx context.Context, job store.Job) error {
	ctx, cancel := context.WithTimeout(ctx, lease)
	defer cancel()
	switch job.Kind {
	case jobIssue:
		return s.issue(ctx, brevet.RequestID(job.Subject))
	case jobEnd:
		return s.pressOn(ctx, brevet.GrantID(job.Subject))
	case jobReview:
		return s.review(ctx, s.self())
	}
	return brevet.Errorf(brevet.Internal, "no job is called %s", job.Kind)
}

// pressOn reminds the gateway of a grant that is ending. It is done when nothing is left of it.
func (s *Spine) pressOn(ctx context.Context, id brevet.GrantID) error {
	g, err := s.Store.Query(ctx).Grant(id)
	if err != nil || g.State == brevet.Ended {
		return err
	}
	v := s.view()
	if _, ours := v.Roster.Machine(g.Holder, v.size); !ours && v.now.After(g.To) {
		return s.abandon(ctx, g)
	}
	s.Hub.Wake(g.Holder)
	return brevet.Errorf(brevet.Unavailable, "%s has not confirmed the end of %s", g.Holder, id)
}
