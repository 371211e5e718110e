package crash_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/failure"
	"github.com/brevet-pim/brevet/statement"
)

// limit changes a limit of the running server, as an administrator could, and returns what it was.
func (l *life) limit(resource int, most uint64) (before uint64) {
	l.t.Helper()
	var was unix.Rlimit
	pid := l.server.cmd.Process.Pid
	must(l.t, unix.Prlimit(pid, resource, nil, &was))
	must(l.t, unix.Prlimit(pid, resource, &unix.Rlimit{Cur: most, Max: was.Max}, nil))
	return was.Cur
}

// prepared begins a life up to where bob has a grant at once and is on web1.
func prepared(t *testing.T) (*life, request) {
	t.Helper()
	l := found(t, "").begin(t, "")
	l.up()
	l.enrol("bob", statement.UseRequest)
	l.enrol("carol", statement.UseApprove)
	l.apply()
	r := l.ask(atOnce, 1800)
	l.until(r, brevet.Live)
	l.stay()
	return l, r
}

// starved has alice revoke the grant while the server lacks something, and bob ask for another.
// Bob is cut off all the same, nothing is given, and both are told why.
func (l *life) starved(r request) signed {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	said := statement.Request{Header: l.header(time.Hour), Terms: l.terms(atOnce, 900), Reason: "once more", Via: brevet.ViaCLI}
	_, err := l.visits["bob"].requests.CreateRequest(ctx, &pb.CreateRequestRequest{Statement: l.sign(said, l.people["bob"]).raw})
	l.toldToWait(err)
	s := l.revocation("alice", statement.RevokeGrant, string(r.id.Grant()))
	_, err = l.visits["alice"].grants.RevokeGrant(ctx, &pb.RevokeGrantRequest{Statement: s.raw})
	if message := l.toldToWait(err); !strings.Contains(message, "the gateways end it now") {
		l.t.Errorf("alice is told %q", message)
	}
	return s
}

// toldToWait checks that somebody was told in a sentence that it does not work now, and what to do.
func (l *life) toldToWait(err error) string {
	l.t.Helper()
	message, hint := brevet.MessageOf(failure.Read(err))
	if err == nil || connect.CodeOf(err) != connect.CodeUnavailable || message == "" || hint == "" {
		l.t.Fatalf("%v: %q, %q\n%s", err, message, hint, l.server.output())
	}
	return message
}

// TestDiskFull: no file of the server's may grow, as on a disk that is full. Nothing new is given; who
// is in is cut off by a revocation, though it cannot be written down; and with room it goes on by itself.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	l, r := prepared(t)
	before := l.limit(unix.RLIMIT_FSIZE, 0)
	revocation := l.starved(r)
	l.gone("while the disk was full")

	l.limit(unix.RLIMIT_FSIZE, before)
	l.say("alice", revocation, func(ctx context.Context, v *visit) error { // as the hint says
		_, err := v.grants.RevokeGrant(ctx, &pb.RevokeGrantRequest{Statement: revocation.raw})
		return err
	})
	l.until(r, brevet.Ended)
	next := l.ask(atOnce, 1800)
	l.until(next, brevet.Live)
	l.work()
	l.revoke(next)
	l.until(next, brevet.Ended)
	l.settled()
	l.examine(map[request]outcome{r: {brevet.Granted, ""}, next: {brevet.Granted, ""}})
}

// TestDescriptorsOut: the server may open nothing more. Who has a connection is served, so revoking
// works; who has none waits, and is served once there are descriptors again.
func TestDescriptorsOut(t *testing.T) {
	t.Parallel()
	l, r := prepared(t)
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", l.server.cmd.Process.Pid))
	must(t, err)
	before := l.limit(unix.RLIMIT_NOFILE, uint64(len(open)))
	waiting := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := l.signIn(ctx, l.people["carol"])
		waiting <- err
	}()
	l.revoke(r)
	l.gone("while there were no descriptors")

	l.limit(unix.RLIMIT_NOFILE, before)
	must(t, <-waiting)
	next := l.ask(atOnce, 1800)
	l.until(next, brevet.Live)
	l.work()
	l.server.end(syscall.SIGTERM)
	if l.server.killed(t) {
		t.Error("the server was killed")
	}
}
