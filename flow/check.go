package flow

import (
	"context"
	"fmt"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// stale is after how long without a heartbeat a gateway is worth a look.
const stale = 30 * time.Second

// findings are what Check came upon.
type findings []Finding

func (f *findings) note(level, place, format string, args ...any) {
	*f = append(*f, Finding{level, place, fmt.Sprintf(format, args...)})
}

// Check looks at Brevet's own health. Everybody learns whether it works; what is wrong in detail
// is for those who administer or audit.
func (s *Spine) Check(ctx context.Context, by brevet.Caller) ([]Finding, error) {
	var found findings
	v := s.view()
	s.checkWorking(ctx, &found)
	if !v.inside(by) {
		return found, nil
	}
	s.checkTrust(v, &found)
	return found, s.checkDuties(ctx, by, v, &found)
}

// inside reports whether the caller may know how Brevet itself is.
func (v view) inside(by brevet.Caller) bool {
	return v.audits(by) || v.administers(by, policy.SystemMachines) == nil
}

// checkWorking looks whether anything can be done at all.
func (s *Spine) checkWorking(ctx context.Context, found *findings) {
	if err := s.Store.Ping(ctx); err != nil {
		message, hint := brevet.MessageOf(err)
		found.note("error", "database", "%s: %s", message, hint)
	}
	s.mu.Lock()
	trouble := s.trouble
	s.mu.Unlock()
	if trouble != nil {
		message, _ := brevet.MessageOf(trouble)
		found.note("error", "issuer", "the issuer does not follow the log, so nothing can be given: %s", message)
	}
}

// checkTrust looks at what everything rests on: the root, the issuer's place in the log, the catalog.
func (s *Spine) checkTrust(v view, found *findings) {
	if v.Roster.Root().Threshold == 1 {
		found.note("warning", "root", "one administrator alone can enrol people and change roles; a second founder and a threshold of two would make it safer")
	}
	if behind := s.Store.Size() - v.size; behind > page {
		found.note("warning", "issuer", "the issuer is %d events behind the log", behind)
	}
	compiled, err := v.Catalog.InForce()
	if err != nil {
		message, _ := brevet.MessageOf(err)
		found.note("error", "catalog", "%s", message)
		return
	}
	for _, p := range compiled.Policy.WithPeople(v.InForce(v.size)).Lint(v.canApprove) {
		*found = append(*found, finding(p))
	}
}

// checkDuties looks for what should be going on and is not: gateways, work that is owed, a log that holds.
func (s *Spine) checkDuties(ctx context.Context, by brevet.Caller, v view, found *findings) error {
	machines, err := s.Machines(ctx, by)
	if err != nil {
		return err
	}
	for _, m := range machines {
		if m.Use == string(statement.MachineGateway) && !m.Connected && v.now.Sub(m.SeenAt) > stale {
			found.note("warning", "gateway "+string(m.ID), "it is not connected: nobody gets in through it")
		}
		if links := s.Hub.Links(m.ID); links > 1 {
			found.note("warning", "gateway "+string(m.ID), "it is connected %d times: if that lasts, its folder was copied, and each must have its own (brevet gateway init)", links)
		}
	}
	q := s.Store.Query(ctx)
	jobs, err := q.Jobs(store.MaxPage)
	if err != nil {
		return err
	}
	for _, job := range jobs {
		if job.Attempts >= worrying {
			found.note("warning", job.Kind+" "+job.Subject, "tried %d times: %s", job.Attempts, job.Error)
		}
	}
	mismatch, err := q.Search(store.Filter{Kind: "log.mismatch", Limit: 1})
	if err == nil && len(mismatch) > 0 {
		found.note("error", "log", "%s (event %d); brevet audit search --kind log.mismatch shows all", messageOf(mismatch[0]), mismatch[0].Index)
	}
	return err
}
