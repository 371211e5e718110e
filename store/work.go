package store

import (
	"context"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/fault"
)

// Work is the door to what is no noun and has no events: leases of jobs, heartbeats,
// counters, chunks as they come. It reaches no other table.
type Work struct{ q Query }

// Work runs fn in a transaction of its own. It may run again if another transaction was in
// the way. A database that does not answer is Unavailable, and nothing was changed. If the
// answer to the commit is lost the error is Internal, for nobody looks whether it was done.
func (s *Store) Work(ctx context.Context, fn func(*Work) error) error {
	began := time.Now()
	for try := 1; ; try++ {
		err := s.work(ctx, fn)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || !s.dialect.worthTrying(err, try, time.Since(began)) {
			if ctx.Err() == nil && s.dialect.fatal(err) {
				s.wrote(&s.ailing.work, s.dialect.explain(err))
			}
			return s.dialect.explain(err)
		}
		time.Sleep(time.Duration(try) * time.Millisecond)
	}
}

func (s *Store) work(ctx context.Context, fn func(*Work) error) error {
	if err := s.file.there(); err != nil {
		return err
	}
	tx, err := s.writes.BeginTx(ctx, s.dialect.isolation())
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var broken error
	err = fn(&Work{Query{ctx: ctx, on: tx, dialect: s.dialect, broken: &broken}})
	if broken != nil && (err == nil || s.dialect.fatal(broken)) {
		return broken
	}
	if err != nil {
		return err
	}
	fault.Point("store.work.commit")
	if err := tx.Commit(); err != nil {
		if v := s.dialect.judge(err); v == cut || v == away {
			return &unknown{err}
		}
		return err
	}
	fault.Point("store.work.committed")
	s.wrote(&s.ailing.work, nil)
	s.tellWritten()
	return nil
}

// Count counts one more attempt under the name and returns how many there were in the
// window of the given length that it falls into. A window begins with its first attempt.
func (w *Work) Count(name string, now time.Time, window time.Duration) (int, error) {
	return one(&w.q, value[int], `insert into attempts (name, since, count) values ($1, $2, 1)
		on conflict (name) do update set
			count = case when attempts.since > $3 then attempts.count + 1 else 1 end,
			since = case when attempts.since > $3 then attempts.since else excluded.since end
		returning count`, name, micros(now), micros(now.Add(-window)))
}

// Tidy removes what is of no use any more: counters that began, jobs that were done and
// tokens that expired before then. It returns how many rows went, at most limit of each.
func (w *Work) Tidy(before time.Time, limit int) (int64, error) {
	var gone int64
	for _, statement := range []string{
		"delete from attempts where name in (select name from attempts where since < $1 order by since limit $2)",
		"delete from jobs where id in (select id from jobs where done_at <> 0 and done_at < $1 order by done_at limit $2)",
		"delete from tokens where hash in (select hash from tokens where expires_at < $1 order by expires_at limit $2)",
	} {
		n, err := w.q.exec(statement, micros(before), limit)
		if err != nil {
			return gone, err
		}
		gone += n
	}
	return gone, nil
}

// Heartbeat is what a machine last said of itself.
type Heartbeat struct {
	Machine  brevet.MachineID
	Instance string // of the process, so that a restart is seen
	Version  string
	Address  string
	Sessions int // live ones
	At       time.Time
}

// Beat writes a heartbeat over the one before. One that is older changes nothing.
func (w *Work) Beat(h Heartbeat) error {
	_, err := w.q.exec(`insert into machines_seen (machine, instance, version, address, sessions, seen_at) values ($1, $2, $3, $4, $5, $6)
		on conflict (machine) do update set instance = excluded.instance, version = excluded.version, address = excluded.address,
			sessions = excluded.sessions, seen_at = excluded.seen_at
		where excluded.seen_at >= machines_seen.seen_at`,
		h.Machine, h.Instance, h.Version, h.Address, h.Sessions, micros(h.At))
	return err
}

// Heartbeats returns the last heartbeat of every machine, by name.
func (q *Query) Heartbeats() ([]Heartbeat, error) {
	return list(q, func(row scanner) (h Heartbeat, err error) {
		err = row.Scan(&h.Machine, &h.Instance, &h.Version, &h.Address, &h.Sessions, instant{&h.At})
		return h, err
	}, "select machine, instance, version, address, sessions, seen_at from machines_seen order by machine")
}
