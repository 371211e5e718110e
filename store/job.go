package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/brevet-pim/brevet"
)

// Job is background work that is owed: it was enqueued with the change that owes it, or when a
// first try failed, is claimed by one worker at a time, and is tried until it is finished. Nothing
// gives it up.
type Job struct {
	ID       string // job_…
	Kind     string // what is to be done: "advance", "revoke" …
	Subject  string // to what
	Due      time.Time
	Attempts int    // how often it was claimed since it was enqueued
	Claimed  string // by whom
	Epoch    int64  // of the claim; an older one may write no more
	Lease    time.Time
	Error    string // of the last attempt

	asked int64 // how often it had been enqueued when it was claimed
}

const jobColumns = "id, kind, subject, due_at, asked, attempts, claimed_by, epoch, lease_until, last_error"

func scanJob(row scanner) (Job, error) {
	var j Job
	err := row.Scan(&j.ID, &j.Kind, &j.Subject, instant{&j.Due}, &j.asked, &j.Attempts, &j.Claimed, &j.Epoch, instant{&j.Lease}, &j.Error)
	return j, err
}

// Enqueue owes the work from the time that it is due. If the same is owed already, it is
// brought forward to the earlier time; if somebody is just at it, it is done once more
// afterwards, since they may not have seen this change.
func (t *Tx) Enqueue(kind, subject string, due time.Time) error {
	return t.enqueue(kind, subject, due)
}

// Enqueue owes work that the rows owe already by their state, so that it is tried soon.
func (w *Work) Enqueue(kind, subject string, due time.Time) error {
	return w.q.enqueue(kind, subject, due)
}

func (q *Query) enqueue(kind, subject string, due time.Time) error {
	if kind == "" || due.IsZero() {
		return brevet.Errorf(brevet.Invalid, "a job without a kind or a time")
	}
	_, err := q.exec(`insert into jobs (id, kind, subject, due_at, asked, attempts, claimed_by, epoch, lease_until, last_error, done_at)
		values ($1, $2, $3, $4, 1, 0, '', 0, 0, '', 0)
		on conflict (kind, subject) where done_at = 0 do update set
			asked = jobs.asked + 1,
			due_at = case when excluded.due_at < jobs.due_at then excluded.due_at else jobs.due_at end`,
		newJobID(due), kind, subject, micros(due))
	return err
}

// Withdraw says that what was enqueued is done, by whoever owed it and with this change. If a
// worker is at it already, it is left to that one, who will find nothing to do.
func (t *Tx) Withdraw(kind, subject string) error {
	_, err := t.exec("delete from jobs where kind = $1 and subject = $2 and done_at = 0 and claimed_by = ''", kind, subject)
	return err
}

func newJobID(at time.Time) string {
	return "job_" + string(brevet.NewEventID(at))[len("evt_"):]
}

// Claim takes up to limit jobs that are due and that nobody holds, the most overdue first,
// for the length of the lease. Nobody else gets them until the lease ends.
func (w *Work) Claim(worker string, now time.Time, lease time.Duration, limit int) ([]Job, error) {
	if worker == "" || lease <= 0 || limit <= 0 {
		return nil, brevet.Errorf(brevet.Invalid, "a claim without a worker, a lease or a limit")
	}
	// The outer conditions are asked again when the row is locked: of two workers that chose
	// the same job on PostgreSQL, the second finds it leased.
	return list(&w.q, scanJob, `update jobs set claimed_by = $1, epoch = epoch + 1, attempts = attempts + 1, lease_until = $2
		where done_at = 0 and lease_until <= $3 and id in
			(select id from jobs where done_at = 0 and due_at <= $3 and lease_until <= $3 order by due_at, id limit $4)
		returning `+jobColumns, worker, micros(now.Add(lease)), micros(now), limit)
}

// Finish writes that the job is done. If it was enqueued again since the claim, it is due
// once more at once.
func (w *Work) Finish(j Job, now time.Time) error {
	n, err := w.q.exec(`update jobs set lease_until = 0, claimed_by = '', last_error = '', attempts = 0,
			done_at = case when asked = $1 then cast($2 as bigint) else 0 end,
			due_at = case when asked = $1 then due_at else cast($2 as bigint) end
		where id = $3 and epoch = $4 and done_at = 0`, j.asked, micros(now), j.ID, j.Epoch)
	return held(n, err, j)
}

// Retry gives the job back, to be tried again at the given time (see Backoff), and says
// what went wrong. If it was enqueued again since the claim, that time rules.
func (w *Work) Retry(j Job, at time.Time, because error) error {
	n, err := w.q.exec(`update jobs set lease_until = 0, claimed_by = '', last_error = $1,
			due_at = case when asked = $2 then cast($3 as bigint) else due_at end
		where id = $4 and epoch = $5 and done_at = 0`, shortened(because), j.asked, micros(at), j.ID, j.Epoch)
	return held(n, err, j)
}

// claim is the key of a context's claimed job.
type claim struct{}

// OnBehalf returns a context whose changes are made on behalf of a claimed job. If another worker has
// taken it over, a change with it is a Conflict and nothing is written: a process that was stopped and
// goes on writes nothing any more. Nobody can take the job over until a change is committed.
func OnBehalf(ctx context.Context, j Job) context.Context { return context.WithValue(ctx, claim{}, j) }

// fence fails unless the claim that the change is made under, if any, still holds.
func (t *Tx) fence(ctx context.Context) error {
	j, ok := ctx.Value(claim{}).(Job)
	if !ok {
		return nil
	}
	n, err := t.exec("update jobs set epoch = epoch where id = $1 and epoch = $2 and done_at = 0", j.ID, j.Epoch)
	return held(n, err, j)
}

func held(n int64, err error, j Job) error {
	if err != nil || n == 1 {
		return err
	}
	return brevet.Errorf(brevet.Conflict, "the %s of %s was taken over by another worker", j.Kind, j.Subject)
}

// maxError bounds what is kept of an error, in bytes.
const maxError = 500

func shortened(err error) string {
	if err == nil {
		err = errors.New("no error was given")
	}
	text := err.Error()
	text = strings.ToValidUTF8(text[:min(len(text), maxError)], "")
	return strings.ReplaceAll(text, "\x00", "") // which PostgreSQL cannot hold
}

// Jobs returns the jobs that are owed, the most overdue first.
func (q *Query) Jobs(limit int) ([]Job, error) {
	return list(q, scanJob, "select "+jobColumns+" from jobs where done_at = 0 order by due_at, id limit $1", Page{Limit: limit}.limit())
}

// NextJob returns when the next job can be claimed, and the zero time if none is owed. A
// worker that sleeps until then, or until Store.Wait wakes it, misses nothing.
func (q *Query) NextJob() (time.Time, error) {
	return one(q, func(row scanner) (at time.Time, err error) { return at, row.Scan(instant{&at}) },
		"select coalesce(min(case when lease_until > due_at then lease_until else due_at end), 0) from jobs where done_at = 0")
}

// Backoff returns how long to wait after so many attempts: a second, doubled each time, a
// minute at most, so that what must not be lost is not late either.
func Backoff(attempts int) time.Duration {
	if attempts < 1 {
		attempts = 1
	}
	return min(time.Second<<min(attempts-1, 10), time.Minute)
}
