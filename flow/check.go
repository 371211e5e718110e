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

// Check looks at Brevet's own health. Everybody learns whether it works; what is wrong in detail
// is for those who administer or audit.
func (s *Spine) Check(ctx context.Context, by brevet.Caller) ([]Finding, error) {
	var findings []Finding
	note := func(level, place, format string, args ...any) {
		findings = append(findings, Finding{level, place, fmt.Sprintf(format, args...)})
	}
	if err := s.Store.Ping(ctx); err != nil {
		note("error", "database", "the database does not answer: nothing can be changed")
	}
	s.mu.Lock()
	trouble, followed := s.trouble, s.followed
	s.mu.Unlock()
	if trouble != nil {
		message, _ := brevet.MessageOf(trouble)
		note("error", "issuer", "the issuer does not follow the log, so nothing can be given: %s", message)
	}
	v := s.view()
	if !v.audits(by) && v.administers(by, policy.SystemMachines) != nil {
		return findings, nil
	}
	if v.Roster.Root().Threshold == 1 {
		note("warning", "root", "one administrator alone can enrol people and change roles; a second founder and a threshold of two would make it safer")
	}
	if behind := s.Store.Size() - followed; behind > page {
		note("warning", "issuer", "the issuer is %d events behind the log", behind)
	}
	if compiled, err := v.Catalog.InForce(); err != nil {
		message, _ := brevet.MessageOf(err)
		note("error", "catalog", "%s", message)
	} else {
		for _, p := range compiled.Policy.WithPeople(v.InForce(v.size)).Lint(v.canApprove) {
			findings = append(findings, finding(p))
		}
	}
	machines, err := s.Machines(ctx, by)
	if err != nil {
		return findings, err
	}
	for _, m := range machines {
		if m.Use == string(statement.MachineGateway) && !m.Connected && v.now.Sub(m.SeenAt) > stale {
			note("warning", "gateway "+string(m.ID), "it is not connected: nobody gets in through it")
		}
	}
	jobs, err := s.Store.Query(ctx).Jobs(store.MaxPage)
	if err != nil {
		return findings, err
	}
	for _, job := range jobs {
		if job.Attempts >= worrying {
			note("warning", job.Kind+" "+job.Subject, "tried %d times: %s", job.Attempts, job.Error)
		}
	}
	found, err := s.Store.Query(ctx).Search(store.Filter{Kind: "log.mismatch", Limit: 1})
	if err == nil && len(found) > 0 {
		note("error", "log", "%s (event %d); brevet audit verify says more", messageOf(found[0]), found[0].Index)
	}
	return findings, err
}
