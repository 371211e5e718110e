package crash_test

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/statement"
)

// life is what the people of an organisation do with it from its first day, and what they know of it.
type life struct {
	*base
	t         testing.TB
	dir       string // the data folder
	api, door string // addresses
	env       []string
	faults    []string // that the next servers are started with, one after another
	visits    map[brevet.PersonID]*visit
	killLater func(*process)

	server  *process
	crashes int
	told    []statement.ID // what was answered, in order: it must never be missing
	saved   []byte         // the newest checkpoint that somebody kept
	stays   []*ssh.Client  // connections of bob that are to end by themselves
}

// patience bounds each wait of a life that hangs. Real seconds are not asserted.
const patience = 90 * time.Second

// live goes the whole way. Each step is repeated, with the same signed bytes, until it is answered, as
// a person would after "the server does not answer".
func (l *life) live() {
	l.up()
	l.enrol("bob", statement.UseRequest)
	l.enrol("carol", statement.UseApprove)
	l.apply()

	unwanted := l.ask(agreed, 1800)
	l.cancel(unwanted)

	first := l.ask(agreed, 1800)
	l.approve(first)
	l.until(first, brevet.Live)
	l.work()
	l.stay()
	l.revoke(first)
	l.until(first, brevet.Ended)
	l.nothing("after the revocation")

	short := l.ask(atOnce, 4)
	l.until(short, brevet.Live, brevet.Ending, brevet.Ended)
	l.until(short, brevet.Ended)
	l.nothing("after its time")

	last := l.ask(atOnce, 1800)
	l.until(last, brevet.Live)
	l.work()
	l.suspend("bob")
	l.until(last, brevet.Ended)
	l.nothing("after the suspension")

	l.settled()
	l.examine(map[request]outcome{
		unwanted: {brevet.Cancelled, ""}, first: {brevet.Granted, "carol"}, short: {brevet.Granted, ""}, last: {brevet.Granted, ""},
	})
}

// up starts the server and waits until it is ready. One that is killed at its start is started again.
func (l *life) up() {
	l.t.Helper()
	for {
		fault := ""
		if len(l.faults) > 0 {
			fault, l.faults = l.faults[0], l.faults[1:]
		}
		l.server = start(l.t, fault, l.env, "server", "--data", l.dir)
		if l.killLater != nil {
			l.killLater(l.server)
			l.killLater = nil
		}
		select {
		case <-l.server.ready:
			return
		case <-l.server.done:
			l.died()
		case <-time.After(patience):
			l.t.Fatalf("the server is not ready:\n%s", l.server.output())
		}
	}
}

func (l *life) died() {
	l.t.Helper()
	if !l.server.killed(l.t) {
		l.t.Fatalf("the server ended:\n%s", l.server.output())
	}
	l.crashes++
}

// killAfter has the first server killed from outside after a while.
func (l *life) killAfter(d time.Duration) {
	l.killLater = func(p *process) {
		timer := time.AfterFunc(d, func() { p.end(syscall.SIGKILL) })
		l.t.Cleanup(func() { timer.Stop() })
	}
}

// do repeats a step until it is answered. After a crash the server is started again, without a fault,
// and what was known before must be there.
func (l *life) do(what string, step func(ctx context.Context) error) {
	l.t.Helper()
	late := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	crashed := l.crashes
	for {
		ctx, cancel := context.WithTimeout(l.t.Context(), 30*time.Second)
		err := step(ctx)
		cancel()
		switch {
		case err == nil, l.crashes > crashed && connect.CodeOf(err) == connect.CodeFailedPrecondition && connect.IsWireError(err):
			l.keepCheckpoint()
			return
		case connect.IsWireError(err) && connect.CodeOf(err) != connect.CodeUnavailable, time.Now().After(late):
			l.t.Fatalf("%s: %v\n%s", what, err, l.server.output())
		}
		select {
		case <-l.server.done:
			l.died()
			l.up()
			l.remembered()
		case <-tick.C:
		}
	}
}

// as returns the person's visit, after they have signed in.
func (l *life) as(ctx context.Context, id brevet.PersonID) (*visit, error) {
	if v := l.visits[id]; v != nil {
		return v, nil
	}
	v, err := l.signIn(ctx, l.people[id])
	if err == nil {
		l.visits[id] = v
	}
	return v, err
}

// say has the person hand in a statement, until it is answered.
func (l *life) say(id brevet.PersonID, s signed, hand func(context.Context, *visit) error) {
	l.t.Helper()
	l.do(fmt.Sprintf("%s says %s", id, s.id), func(ctx context.Context) error {
		v, err := l.as(ctx, id)
		if err != nil {
			return err
		}
		return hand(ctx, v)
	})
	l.told = append(l.told, s.id)
}

// ask has the person look at something until they are answered.
func (l *life) look(id brevet.PersonID, look func(context.Context, *visit) error) {
	l.t.Helper()
	l.do(fmt.Sprintf("%s looks", id), func(ctx context.Context) error {
		v, err := l.as(ctx, id)
		if err != nil {
			return err
		}
		return look(ctx, v)
	})
}

// roster returns the statements of the roster.
func (l *life) roster() (all []statement.Envelope) {
	l.t.Helper()
	l.look("alice", func(ctx context.Context, v *visit) error {
		got, err := v.people.GetRoster(ctx, &pb.GetRosterRequest{})
		all = nil
		for _, raw := range got.GetStatements() {
			e, err := statement.Parse(raw)
			must(l.t, err)
			if kind, err := e.Kind(); err == nil && kind != statement.KindRevocation {
				all = append(all, e)
			}
		}
		return err
	})
	return all
}

func (l *life) machines() (all []statement.Machine) {
	l.t.Helper()
	for _, e := range l.roster() {
		if m, err := statement.Open[statement.Machine](e); err == nil {
			all = append(all, m)
		}
	}
	return all
}

// enrol has alice enrol the person's key.
func (l *life) enrol(id brevet.PersonID, use statement.Use) {
	l.t.Helper()
	roster := l.roster()
	p, now := l.people[id], time.Now()
	one := statement.Enrolment{
		Person: id, Kind: brevet.Person, Key: p.signer.Key(), Uses: []statement.Use{use}, From: now.Add(-time.Minute).UnixMicro(), Until: now.AddDate(1, 0, 0).UnixMicro(),
		Code: "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
	}
	var err error
	one.Possession, err = statement.Possession{Org: l.root, Person: id, Key: one.Key, Code: one.Code}.Prove(l.t.Context(), p.signer)
	must(l.t, err)
	s := l.sign(statement.Enrol{
		Header: l.header(time.Hour), Link: statement.Link{Number: int64(len(roster)) + 1, Previous: roster[len(roster)-1].ID()}, Enrolments: []statement.Enrolment{one},
	}, l.people["alice"])
	l.say("alice", s, func(ctx context.Context, v *visit) error {
		_, err := v.people.AppendRoster(ctx, &pb.AppendRosterRequest{Statement: s.raw})
		return err
	})
}

// apply has alice put the catalog in force.
func (l *life) apply() {
	l.t.Helper()
	manifest, digest, err := catalog.Manifest(l.catalogOf())
	must(l.t, err)
	var before *pb.GetCatalogResponse
	l.look("alice", func(ctx context.Context, v *visit) error {
		before, err = v.catalog.GetCatalog(ctx, &pb.GetCatalogRequest{})
		return err
	})
	s := l.sign(statement.Catalog{
		Header: l.header(time.Hour), Link: statement.Link{Number: before.GetNumber() + 1, Previous: statement.ID(before.GetId())}, Manifest: digest, Message: "web1",
	}, l.people["alice"])
	l.say("alice", s, func(ctx context.Context, v *visit) error {
		_, err := v.catalog.ApplyCatalog(ctx, &pb.ApplyCatalogRequest{Statement: s.raw, Manifest: manifest})
		return err
	})
}

// request is one of bob's, as he signed it.
type request struct {
	id        brevet.RequestID
	statement statement.ID
	role      brevet.RoleName
	duration  brevet.Seconds
}

func (l *life) terms(role brevet.RoleName, duration brevet.Seconds) statement.Terms {
	l.t.Helper()
	roles := l.catalogOf().Roles
	digest, err := catalog.RoleDigest(roles[slices.IndexFunc(roles, func(r brevet.Role) bool { return r.Name == role })])
	must(l.t, err)
	return statement.Terms{
		Person: "bob", Role: role, RoleDigest: digest, Targets: []brevet.TargetID{"web1"}, Logins: []string{l.host.Login}, Duration: duration,
		Holder: statement.Holder{Machine: "gw-1", Key: l.holder},
	}
}

// ask has bob ask for a role.
func (l *life) ask(role brevet.RoleName, duration brevet.Seconds) request {
	l.t.Helper()
	said := statement.Request{Header: l.header(time.Hour), Terms: l.terms(role, duration), Reason: "restart nginx", Via: brevet.ViaCLI}
	s := l.sign(said, l.people["bob"])
	e, err := statement.Parse(s.raw)
	must(l.t, err)
	l.say("bob", s, func(ctx context.Context, v *visit) error {
		_, err := v.requests.CreateRequest(ctx, &pb.CreateRequestRequest{Statement: s.raw})
		return err
	})
	return request{e.RequestID(said), s.id, role, duration}
}

// approve has carol agree to it.
func (l *life) approve(r request) {
	l.t.Helper()
	s := l.sign(statement.Approval{Header: l.header(time.Hour), Request: r.statement, By: "carol", Terms: l.terms(r.role, r.duration)}, l.people["carol"])
	l.say("carol", s, func(ctx context.Context, v *visit) error {
		_, err := v.requests.Approve(ctx, &pb.ApproveRequest{Statement: s.raw})
		return err
	})
}

func (l *life) revocation(by brevet.PersonID, what, subject string) signed {
	return l.sign(statement.Revocation{Header: l.header(time.Hour), By: string(by), What: what, Subject: subject, Reason: "enough"}, l.people[by])
}

// cancel has bob take his request back.
func (l *life) cancel(r request) {
	l.t.Helper()
	s := l.revocation("bob", statement.RevokeRequest, string(r.statement))
	l.say("bob", s, func(ctx context.Context, v *visit) error {
		_, err := v.requests.Refuse(ctx, &pb.RefuseRequest{Statement: s.raw})
		return err
	})
}

// revoke has alice take the grant back.
func (l *life) revoke(r request) {
	l.t.Helper()
	s := l.revocation("alice", statement.RevokeGrant, string(r.id.Grant()))
	l.say("alice", s, func(ctx context.Context, v *visit) error {
		_, err := v.grants.RevokeGrant(ctx, &pb.RevokeGrantRequest{Statement: s.raw})
		return err
	})
}

// suspend has alice suspend somebody.
func (l *life) suspend(id brevet.PersonID) {
	l.t.Helper()
	s := l.revocation("alice", statement.RevokePerson, string(id))
	l.say("alice", s, func(ctx context.Context, v *visit) error {
		_, err := v.people.Suspend(ctx, &pb.SuspendRequest{Statement: s.raw})
		return err
	})
}

// until looks until the grant of a request is in one of the states. Nobody helps it to get there.
func (l *life) until(r request, states ...brevet.GrantState) {
	l.t.Helper()
	late := time.Now().Add(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var g *pb.Grant
		l.look("alice", func(ctx context.Context, v *visit) error {
			got, err := v.grants.ListGrants(ctx, &pb.ListGrantsRequest{})
			for _, one := range got.GetGrants() {
				if one.GetRequest() == string(r.id) {
					g = one
				}
			}
			return err
		})
		if g != nil && slices.Contains(states, brevet.GrantState(g.GetState())) {
			return
		}
		if time.Now().After(late) {
			l.t.Fatalf("the grant of %s is not %v but %v\n%s", r.id, states, g, l.server.output())
		}
		<-tick.C
	}
}

// keepCheckpoint keeps the newest checkpoint, as somebody might who wants to see later that nothing
// was taken back.
func (l *life) keepCheckpoint() {
	v := l.visits["alice"]
	if v == nil {
		return
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), 30*time.Second)
	defer cancel()
	if got, err := v.audit.GetCheckpoint(ctx, &pb.GetCheckpointRequest{}); err == nil {
		l.saved = got.GetCheckpoint()
	}
}
